"""Audio beyond its end: partials go on in their phase, at their level, and any audio has a continuation."""

from __future__ import annotations

import numpy as np
import pytest

from svs.dsp.continuation import continuation, reach


def tones(rate: int) -> np.ndarray:
    """A steady sound of four partials: float32 (1 s, 2), another phase in each channel."""
    time = np.arange(rate)[:, None] / rate
    partials = ((0.3, 220.0), (0.2, 331.7), (0.1, 1234.5), (0.02, 3500.1))
    return sum(share * np.sin(2 * np.pi * hertz * time + [hertz, 1.0]) for share, hertz in partials).astype(np.float32)


@pytest.mark.parametrize("rate", [8000, 44100, 96000])
@pytest.mark.parametrize("share", [0.6, 0.61, 0.75])
def test_a_steady_sound_goes_on(rate, share):
    """Its mirror image has another phase: over the first 10 ms the error is that of another sound."""
    audio, length = tones(rate), round(0.01 * rate)
    end = round(share * rate)
    came, true = continuation(audio[:end], rate // 4, rate), audio[end : end + length]
    assert came.shape == (rate // 4, 2) and came.dtype == np.float32

    def error(audio):
        return 10 * np.log10(np.sum((audio[:length] - true) ** 2) / np.sum(true**2))

    assert error(came) < -20 < -10 < error(audio[:end][::-1])


def test_later_it_is_the_mirror_image():
    audio = tones(8000)
    came = continuation(audio[:5000], 7000, 8000)
    np.testing.assert_array_equal(came[1000:5000], audio[:5000][::-1][1000:5000])
    np.testing.assert_array_equal(came[5000:], audio[:2000])  # and, of a short recording, the mirror image of that
    np.testing.assert_array_equal(continuation(audio[:5000], 3000, 8000), came[:3000])


def test_it_depends_on_no_more_than_it_says():
    noise = np.random.default_rng(0).normal(0, 0.1, (20000, 1)).astype(np.float32)
    for samples in (100, 5000):
        expected = continuation(noise, samples, 8000)
        np.testing.assert_array_equal(continuation(noise[-reach(samples, 8000) :], samples, 8000), expected)
        assert np.abs(continuation(noise[-samples // 2 :], samples, 8000) - expected).max() > 0.01


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("samples", [1, 2, 3, 7, 300])
@pytest.mark.parametrize("kind", ["noise", "silence", "a click", "a constant"])
def test_any_audio_has_a_continuation_that_is_not_louder(samples, kind):
    audio = np.random.default_rng(samples).normal(0, 0.1, (samples, 3)).astype(np.float32)
    if kind != "noise":
        audio[:] = kind == "a constant"
    audio[samples // 2] += kind == "a click"
    came = continuation(audio, 5000, 44100)
    assert np.isfinite(came).all() and np.abs(came).max() <= np.abs(audio).max() * 1.0001
    assert kind != "silence" or not came.any()


@pytest.mark.parametrize("gain", [1e-3, 100.0])
def test_it_scales_with_the_audio(gain):
    audio = np.random.default_rng(3).normal(0, 0.1, (9000, 2)).astype(np.float32)
    came = continuation(np.float32(gain) * audio, 6000, 44100) / gain
    np.testing.assert_allclose(came, continuation(audio, 6000, 44100), atol=1e-6)
