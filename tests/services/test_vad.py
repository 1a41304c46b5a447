"""Results of voice activity detection on disk."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from svs.errors import DataError
from svs.services import vad
from svs.services.output import is_answered
from svs.vad.activity import Activity


def activity(probability):
    """Frames 0.1 s apart."""
    seconds = 0.1 * len(probability)
    return Activity(np.arange(len(probability)) * 0.1, np.array(probability, np.float32), 0.5, 1, seconds)


def test_segments_are_kept_for_the_request_that_they_answer(tmp_path):
    detector = SimpleNamespace(threshold=0.5, fingerprint="a model")
    (tmp_path / "a.wav").write_bytes(b"x")
    wanted = vad.request(tmp_path / "a.wav", 10.0, None, None, detector)
    folder = tmp_path / "out" / "a"
    vad.save(folder, activity([1, 0, 0.5, 0.75, 0]), wanted)
    assert (folder / "segments.csv").read_text() == (
        "start,end,probability\n10.000,10.050,1.0000\n10.150,10.350,0.6250\n"
    )
    assert is_answered(folder, vad.REQUEST, wanted, overwrite=False)
    with pytest.raises(DataError, match="its threshold, start differ.*--overwrite|its start, threshold differ"):
        is_answered(folder, vad.REQUEST, {**wanted, "start": 0.0, "threshold": 0.1}, overwrite=False)
    vad.save(folder, activity([0, 0]), wanted)
    assert (folder / "segments.csv").read_text() == "start,end,probability\n"
    (folder / "vad.json").unlink()
    with pytest.raises(DataError, match="found something else"):  # somebody's own file of that name
        is_answered(folder, vad.REQUEST, wanted, overwrite=False)
