"""The look that all figures share, and how a figure is saved.

Every figure is drawn from tables and files alone and carries no date or random
id, so the same input gives the same bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import matplotlib
from matplotlib import font_manager

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from svs.runtime.files import written

INK, MUTED, GRID = "#1b1f24", "#6e7781", "#e6e8eb"
OURS, LIMIT, THEIRS = "#2f6fb2", "#c9ced6", "#e0b36a"
STYLE: dict[str, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.edgecolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.hashsalt": "svs",
    "svg.fonttype": "path",
    "figure.dpi": 110,
}
# Options of seaborn's boxplot and stripplot.
BOX: dict[str, Any] = {"fliersize": 0, "linewidth": 1.1, "linecolor": INK}
POINTS: dict[str, Any] = {"alpha": 0.55, "jitter": False}

styled = plt.style.context(STYLE)  # decorates every function that draws a figure


def finish_boxes(axis: plt.Axes, title: str, label: str, pad: float | None = None) -> None:
    """Give an axis of horizontal boxes its title, the label of its values, and a grid."""
    axis.set_title(title, loc="left", pad=pad)
    axis.set_xlabel(label)
    axis.set_ylabel("")
    axis.grid(axis="x", color=GRID, linewidth=0.8)
    axis.set_axisbelow(True)


def share_legend(
    figure: plt.Figure, axis: plt.Axes, place: Literal["outside upper right", "outside lower center"]
) -> None:
    """Move the legend of one axis to a place outside all axes."""
    handles, labels = axis.get_legend_handles_labels()
    if legend := axis.get_legend():
        legend.remove()
    figure.legend(handles, labels, loc=place, ncols=2, frameon=False)


def headline(figure: plt.Figure, title: str) -> None:
    """The title of a whole figure."""
    figure.suptitle(drawable(title), x=0.01, ha="left", fontweight="bold")


def save(figure: plt.Figure, path: Path) -> None:
    """Write a figure (PNG or SVG by its suffix) without dates, whole or not at all, and close it."""
    metadata = {"Date": None, "Creator": None} if path.suffix == ".svg" else {"Software": None}
    # matplotlib reads the salt of an SVG's ids when it writes the file.
    with written(path) as temporary, plt.rc_context({"svg.hashsalt": STYLE["svg.hashsalt"]}):
        figure.savefig(temporary, metadata=metadata, bbox_inches="tight", facecolor="white")
    plt.close(figure)


def drawable(title: str) -> str:
    """A title that the font can draw: a dollar sign would begin a formula, an emoji has no glyph."""
    font = font_manager.get_font(font_manager.findfont(font_manager.FontProperties()))
    signs = "".join(sign if font.get_char_index(ord(sign)) else "\N{WHITE SQUARE}" for sign in title)
    return signs.replace("$", r"\$")[:120]
