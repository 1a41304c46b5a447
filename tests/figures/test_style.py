"""Saved figures: the same bytes from the same input, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import matplotlib.pyplot as plt
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager

from svs.figures import scores as figure_scores
from svs.figures import style
from tests.helpers import REPOSITORY
from tests.helpers.figures import MEDIANS, scores

SCRIPT = """
import sys
from pathlib import Path
from svs.config import schema
from svs.figures import scores, spectrograms, style, training
from tests.helpers import figures as t
folder = Path(sys.argv[1])
picture = schema.load().plots
for suffix in ("png", "svg"):
    style.save(scores.sdr_boxplot(t.scores(), "a note"), folder / f"box.{suffix}")
style.save(training.training_curves({"a": t.curve(3, 2, 1)}, {"a": 2.0}), folder / "curve.svg")
style.save(spectrograms.separation_picture("a song", t.tone(440), t.tone(880), {"ours": t.tone(300)}, picture),
           folder / "picture.png")
"""


def test_the_same_input_is_the_same_bytes_in_every_process(tmp_path):
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(tmp_path / seed)],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        for seed in ("1", "2")
    ]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    found = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        found.append({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())})
        for path in folder.glob("*.svg"):
            text = path.read_text()
            assert "<dc:date>" not in text and "<svg" in text
        for path in folder.glob("*.png"):
            assert path.read_bytes().startswith(b"\x89PNG") and b"Software" not in path.read_bytes()
    assert len(found[0]) == 4
    assert found[0] == found[1]


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_other_input_is_other_bytes(tmp_path, suffix):
    style.save(figure_scores.sdr_boxplot(scores(), "a note"), tmp_path / f"a.{suffix}")
    style.save(figure_scores.sdr_boxplot(scores({**MEDIANS, "ours": 3.5}), "a note"), tmp_path / f"b.{suffix}")
    assert (tmp_path / f"a.{suffix}").read_bytes() != (tmp_path / f"b.{suffix}").read_bytes()


def test_saving_closes_the_figure_and_leaves_no_litter(tmp_path):
    figure, _ = plt.subplots()
    style.save(figure, tmp_path / "new" / "a.png")
    assert not plt.fignum_exists(figure.number)
    assert [item.name for item in (tmp_path / "new").iterdir()] == ["a.png"]


@pytest.fixture
def only_usual(monkeypatch):
    """No fonts but the usual ones, whatever this machine has."""
    usual = [entry for entry in font_manager.fontManager.ttflist if entry.name.startswith("DejaVu")]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", usual)
    style._stand_ins.cache_clear()
    yield
    style._stand_ins.cache_clear()


def a_font(path, signs):
    """A font with a square for each of some characters."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 700), (700, 700), (700, 0)):
        pen.lineTo(corner)
    pen.closePath()
    names = [".notdef", *(f"u{ord(sign):x}" for sign in signs)]
    made = FontBuilder(1000, isTTF=True)
    made.setupGlyphOrder(names)
    made.setupCharacterMap({ord(sign): f"u{ord(sign):x}" for sign in signs})
    made.setupGlyf(dict.fromkeys(names, pen.glyph()))
    made.setupHorizontalMetrics(dict.fromkeys(names, (800, 0)))
    made.setupHorizontalHeader(ascent=800, descent=-200)
    made.setupNameTable({"familyName": "Some Squares", "styleName": "Regular"})
    made.setupOS2()
    made.setupPost()
    made.save(path)
    return path


TITLES = {
    "plain": "plain",
    "Ça ira ñ": "Ça ira ñ",
    "cash $x$": r"cash \$x\$",
    "歌う人: hpss": "…: hpss",
    "a 歌 b 🎤🎤 c": "a … b … c",
    "tab\there": "tab…here",
}


@pytest.mark.parametrize("title", TITLES)
@pytest.mark.filterwarnings("error")
def test_a_title_without_a_font_has_no_boxes(title, tmp_path, only_usual):
    figure = plt.figure()
    style.headline(figure, title)
    assert figure.get_suptitle() == TITLES[title] == style.drawable(title)
    style.save(figure, tmp_path / "a.png")  # matplotlib warns of a missing glyph


@pytest.mark.filterwarnings("error")
def test_a_title_is_drawn_in_a_font_of_the_machine_that_has_it(tmp_path, only_usual):
    font_manager.fontManager.addfont(a_font(tmp_path / "squares.ttf", "歌人"))
    figure = plt.figure()
    style.headline(figure, "a 歌 う 人 b")
    assert figure.get_suptitle() == "a 歌 … 人 b"
    style.save(figure, tmp_path / "a.png")
