"""Saved figures: the same bytes from the same input, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import matplotlib.pyplot as plt
import pytest

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
