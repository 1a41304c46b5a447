"""The look that all figures share, and how a figure is saved.

Every figure is drawn from tables and files alone and carries no date or random
id, so the same input gives the same bytes.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import matplotlib
from matplotlib import font_manager

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from svs.runtime.files import written

INK, MUTED, GRID = "#1b1f24", "#6e7781", "#e6e8eb"
OURS, PRETRAINED, LIMIT, THEIRS = "#2f6fb2", "#a98bd0", "#c9ced6", "#e0b36a"
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


def boxplot(rows: Any, **options: Any) -> None:
    """`seaborn.boxplot`, which fails where there is no value to draw."""
    import seaborn as sns

    if rows[options["x"]].notna().any():
        sns.boxplot(rows, **options)


def finish_boxes(axis: plt.Axes, title: str, label: str, pad: float | None = None) -> None:
    """Give an axis of horizontal boxes its title, the label of its values, and a grid."""
    axis.set_title(title, loc="left", pad=pad)
    axis.set_xlabel(label)
    axis.set_ylabel("")
    axis.grid(axis="x", color=GRID, linewidth=0.8)
    axis.set_axisbelow(True)


def share_legend(
    figure: plt.Figure, place: Literal["outside upper right", "outside lower center"], columns: int = 2
) -> None:
    """Put the legend of the first axis, which is that of all axes, outside them."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    for axis in figure.axes:
        if legend := axis.get_legend():
            legend.remove()
    figure.legend(handles, labels, loc=place, ncols=columns, frameon=False)


def headline(figure: plt.Figure, title: str) -> None:
    """The title of a whole figure, in fonts of this machine where the usual one lacks its characters."""
    others = {"fontfamily": [*plt.rcParams["font.family"], *fonts]} if (fonts := _stand_ins(title)) else {}
    figure.suptitle(drawable(title), x=0.01, ha="left", fontweight="bold", **others)


def save(figure: plt.Figure, path: Path) -> None:
    """Write a figure (PNG or SVG by its suffix) without dates, whole or not at all, and close it."""
    metadata = {"Date": None, "Creator": None} if path.suffix == ".svg" else {"Software": None}
    # matplotlib reads the salt of an SVG's ids when it writes the file.
    with written(path) as temporary, plt.rc_context({"svg.hashsalt": STYLE["svg.hashsalt"]}):
        figure.savefig(temporary, metadata=metadata, bbox_inches="tight", facecolor="white")
    plt.close(figure)


def literal(text: str) -> str:
    """A text that is drawn as it is: a dollar sign would begin a formula."""
    return text.replace("$", r"\$")


def drawable(title: str) -> str:
    """A title that can be drawn: as it is, but what no font has becomes an ellipsis."""
    left_out = _undrawable(title) - {sign for signs in _stand_ins(title).values() for sign in signs}
    signs = re.sub("\0+", "\N{HORIZONTAL ELLIPSIS}", "".join("\0" if sign in left_out else sign for sign in title))
    return literal(signs)[:120]


def _undrawable(title: str) -> set[str]:
    """Characters of a title that the usual font lacks."""
    kinds = (font_manager.FontProperties(weight=weight) for weight in ("normal", "bold"))
    fonts = [font_manager.get_font(font_manager.findfont(kind)) for kind in kinds]
    return {sign for sign in title if not all(font.get_char_index(ord(sign)) for font in fonts)}


@lru_cache
def _stand_ins(title: str) -> dict[str, set[str]]:
    """Fonts of this machine that have characters of a title that the usual one lacks, and these characters."""
    missing, found = _undrawable(title), {}
    for entry in sorted(font_manager.fontManager.ttflist, key=lambda entry: entry.fname):
        if not missing:
            break
        try:
            font = font_manager.get_font(entry.fname)
        except (OSError, RuntimeError):  # removed since the list was made, or of a kind that can't be drawn
            continue
        has = {sign for sign in missing if sign.isprintable() and font.get_char_index(ord(sign))}
        if has and font.scalable and "Last Resort" not in entry.name:  # that one has a box for everything
            found[entry.name] = has
            missing = missing - has
    return found
