"""The level of a recording: what counts, and that it scales with the recording."""

from __future__ import annotations

import numpy as np
import pytest

from svs.audio.level import gain, level
from svs.audio.sources import ArraySource

RATE = 8000


def song(seconds: float = 10.0) -> np.ndarray:
    """Noise whose loudness changes by 6 dB: float32 (samples, 2)."""
    noise = np.random.default_rng(0).normal(0, 0.1, (round(seconds * RATE), 2))
    return (noise * np.where(np.arange(len(noise)) // RATE % 2, 1.0, 0.5)[:, None]).astype(np.float32)


def at(audio: np.ndarray) -> float:
    return level(ArraySource(audio, RATE))


def test_it_is_the_root_mean_square_where_nothing_is_quiet():
    assert at(song()) == pytest.approx(np.sqrt(np.mean(np.square(song(), dtype=np.float64))), rel=1e-9)


@pytest.mark.parametrize("hiss", [0.0, 1e-4, 1e-2])
@pytest.mark.parametrize("where", ["before", "after", "inside"])
def test_silence_and_what_is_far_below_do_not_count(hiss, where):
    """A break as long as the song, of which the 0.1 s across its edges count."""
    rest = np.random.default_rng(1).normal(0, 1, (10 * RATE + 123, 2)).astype(np.float32) * np.float32(hiss)
    parts = {"before": [rest, song()], "after": [song(), rest], "inside": [song()[:39999], rest, song()[39999:]]}
    assert at(np.concatenate(parts[where])) == pytest.approx(at(song()), rel=0.02)


@pytest.mark.parametrize("factor", [1e-4, 0.01, 0.3, 10.0])
def test_it_scales_with_the_recording(factor):
    audio = np.concatenate([song(), 0.3 * song(), 0.1 * song()])
    assert at(np.float32(factor) * audio) == pytest.approx(np.float32(factor) * at(audio), rel=1e-6)


def test_channels_and_lengths():
    mono = song()[:, :1]
    assert at(mono.repeat(3, axis=1)) == pytest.approx(at(mono))
    assert at(np.full((1, 1), -0.5)) == at(np.full((801, 2), 0.5)) == 0.5


def test_the_gain_to_a_wanted_level():
    source = ArraySource(song(), RATE)
    assert gain(source, 0.2) * level(source) == pytest.approx(0.2)
    assert gain(source, None) == gain(source, 0.0) == 1.0
    for silent in (0.0, 1e-12):
        assert gain(ArraySource(np.full((900, 2), silent), RATE), 0.2) == 1.0
