"""Fixtures of the tests of audio: a real song, and the same song in every format."""

import numpy as np
import pytest
import soundfile

from svs.audio import sources
from tests.helpers.audio import EXAMPLE, HEALTHY
from tests.helpers.command import RATE, ffmpeg


@pytest.fixture(scope="session")
def song(tmp_path_factory):
    """Two loud seconds of a real song: a 16-bit wav, and its samples."""
    path = tmp_path_factory.mktemp("song") / "song.wav"
    ffmpeg(
        "-i",
        EXAMPLE,
        "-map",
        "0:a:0",
        "-af",
        f"atrim=start_sample={3 * RATE}:end_sample={5 * RATE}",
        "-c:a",
        "pcm_s16le",
        path,
    )
    audio, rate = soundfile.read(path, dtype="float32")
    assert audio.shape == (2 * RATE, 2) and rate == RATE and np.abs(audio).max() > 0.1
    return path, audio


@pytest.fixture(scope="session")
def healthy(song, tmp_path_factory):
    """The song in every format; a 20 ms piece of it beside, named short-."""
    folder = tmp_path_factory.mktemp("healthy")
    outputs = []
    for name, (options, _) in HEALTHY.items():
        outputs += ["-map", "0", *options, folder / name]
        outputs += ["-map", "0", "-af", "atrim=end_sample=882", *options, folder / f"short-{name}"]
    ffmpeg("-i", song[0], *outputs)
    return folder


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(sources, "BLOCK", 65536)  # bytes, so that a song of two seconds has many blocks
