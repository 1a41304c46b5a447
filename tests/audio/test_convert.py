"""Audio arrays at another rate, in mono, and passages in samples."""

import numpy as np
import pytest

from svs.audio.convert import mono, passage, resample
from svs.audio.sources import ArraySource

RATE = 44100


def noise(samples, channels=2, seed=0):
    return np.random.default_rng(seed).uniform(-1.5, 1.5, (samples, channels)).astype(np.float32)


def test_mono_is_the_mean():
    audio = noise(100, 3)
    single = mono(audio)
    assert single.shape == (100,) and single.dtype == np.float32
    np.testing.assert_allclose(single, (audio[:, 0] + audio[:, 1] + audio[:, 2]) / 3, atol=1e-6)


@pytest.mark.parametrize(("rate", "new_rate"), [(44100, 22050), (22050, 16000), (48000, 44100)])
@pytest.mark.parametrize("channels", [1, 2])
def test_resample_there_and_back(rate, new_rate, channels):
    """Sines below half of the lower rate come back; their level and pitch stay."""
    time_axis = np.arange(rate) / rate
    audio = np.stack([np.sin(2 * np.pi * hertz * time_axis) for hertz in (440, 3000)][:channels], axis=1)
    audio = audio.astype(np.float32)
    there = resample(audio, rate, new_rate)
    assert there.dtype == np.float32 and there.shape == (new_rate, channels)
    assert np.argmax(np.abs(np.fft.rfft(there[:, 0]))) == 440
    back = resample(there, new_rate, rate)
    assert back.shape == audio.shape
    edge = rate // 20
    np.testing.assert_allclose(back[edge:-edge], audio[edge:-edge], atol=2e-3)


def test_resample_removes_what_the_new_rate_cannot_hold():
    audio = np.sin(2 * np.pi * 15_000 * np.arange(RATE) / RATE).astype(np.float32)[:, None]
    assert np.abs(resample(audio, RATE, 22050)[2000:-2000]).max() < 1e-3


def test_resample_to_the_same_rate_is_nothing():
    audio = noise(10)
    assert resample(audio, RATE, RATE) is audio


@pytest.mark.parametrize(
    ("start", "duration", "expected"),
    [
        (0.0, None, (0, 1000)),
        (2.5, None, (250, 1000)),
        (2.5, 1.0, (250, 350)),
        (9.5, 5.0, (950, 1000)),
        (10.0, None, (1000, 1000)),
        (30.0, 60.0, (1000, 1000)),
        (0.0, 0.004, (0, 0)),
        (0.006, 0.006, (1, 2)),
    ],
)
def test_passage(start, duration, expected):
    assert passage(ArraySource(np.zeros(1000), 100), start, duration) == expected
