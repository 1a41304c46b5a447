"""docs/masks.ipynb: its cells run from top to bottom, and what it says of its masks is true."""

from __future__ import annotations

import json
import sys
from types import ModuleType

import numpy as np
import pytest

from tests.helpers import REPOSITORY

pytestmark = pytest.mark.slow
CELLS = json.loads((REPOSITORY / "docs/masks.ipynb").read_text(encoding="utf-8"))["cells"]


@pytest.fixture(scope="module")
def ran():
    """The names of the notebook after its last cell, and the (audio, rate) that it played."""
    matplotlib = pytest.importorskip("matplotlib", reason="no matplotlib: it comes with the pipeline")
    pytest.importorskip("stempeg", reason="no stempeg: it comes with the pipeline")
    played: list[tuple[np.ndarray, int]] = []
    display = ModuleType("IPython.display")  # only a notebook has it
    display.Audio = lambda audio, rate: (audio, rate)
    display.display = played.append
    matplotlib.use("agg")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "IPython.display", display)
        names: dict = {}
        for cell in CELLS:
            if cell["cell_type"] == "code":
                assert cell["outputs"] == [], "commit it without outputs: they are audio"
                exec(compile("".join(cell["source"]), f"docs/masks.ipynb, {cell['id']}", "exec"), names)
    return names, played


def test_what_it_plays_can_be_heard(ran):
    names, played = ran
    assert len(played) == 4
    for audio, rate in played:
        assert rate == 44100 and audio.shape == names["mixture"].shape
        assert np.isfinite(audio).all() and np.abs(audio).max() > 0.01


def test_a_gate_trades_interference_for_vocals(ran):
    rows = ran[0]["rows"]
    gated = np.array([row[:, 0] for name, row in rows.items() if "gate" in name])  # SDR, ISR, SIR, SAR of the vocals
    assert (np.diff(gated[:, 2]) > 0).all() and (np.diff(gated[:, 1]) < 0).all()
    assert 0 < gated[:, 0].argmax() < len(gated) - 1
    assert rows["binary mask"][0, 0] > rows["repet_sim"][0, 0] + 2
