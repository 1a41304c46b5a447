"""The look that all figures share, and how a figure is saved."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib import font_manager

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from svs.runtime.files import written

INK, MUTED, OURS, LIMIT, THEIRS = "#1b1f24", "#6e7781", "#2f6fb2", "#c9ced6", "#e0b36a"
STYLE = {
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


def save(figure: plt.Figure, path: Path) -> None:
    """Write a figure (PNG or SVG by its suffix) without dates, whole or not at all, and close it."""
    metadata = {"Date": None, "Creator": None} if path.suffix == ".svg" else {"Software": None}
    # The salt of an SVG's ids counts when it is written, not when it is drawn.
    with written(path) as temporary, plt.rc_context({"svg.hashsalt": STYLE["svg.hashsalt"]}):
        figure.savefig(temporary, metadata=metadata, bbox_inches="tight", facecolor="white")
    plt.close(figure)


def drawable(title: str) -> str:
    """A title as text that the font can draw: a dollar sign would begin a formula, an emoji has no glyph."""
    font = font_manager.get_font(font_manager.findfont(font_manager.FontProperties()))
    signs = "".join(sign if font.get_char_index(ord(sign)) else "\N{WHITE SQUARE}" for sign in title)
    return signs.replace("$", r"\$")[:120]
