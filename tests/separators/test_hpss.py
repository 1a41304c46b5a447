"""Harmonic/percussive median filtering."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import scipy.ndimage
import scipy.signal

from svs import separators
from svs.dsp.masks import median_rows
from tests.helpers.separation import glide, sdr


@pytest.mark.parametrize("part", ["harmonic", "percussive"])
@pytest.mark.parametrize("margin", [1.0, 2.0])
@pytest.mark.parametrize("frames, bins, shape", [(31, 31, (300, 90)), (17, 5, (40, 7)), (8, 31, (9, 2))])
def test_median_filtering_is_librosas(settings, song, part, margin, frames, bins, shape):
    spectrum = np.abs(librosa.stft(song["mixture"][:, 0])[: shape[0], 60 : 60 + shape[1]])
    options = separators.options("hpss", settings).harmonic.model_copy(
        update={"frames": frames, "bins": bins, "margin": margin}
    )
    expected = librosa.decompose.hpss(
        spectrum, kernel_size=(frames, bins), power=options.power, margin=margin, mask=True
    )[part == "percussive"]
    np.testing.assert_array_equal(options.mask(spectrum, part), expected)
    np.testing.assert_array_equal(
        median_rows(spectrum, frames), scipy.ndimage.median_filter(spectrum, (1, frames), mode="reflect")
    )


def test_a_steady_tone_and_a_click_are_accompaniment_and_a_wavering_voice_is_kept(built):
    rate, seconds = 44100, 5
    time = np.arange(seconds * rate) / rate
    tone = 0.1 * np.sin(2 * np.pi * 700 * time)
    click = np.zeros_like(time)
    click[rate // 2 :: rate] = 0.9
    voice = 2 * glide(seconds, rate)

    def kept(name, audio):
        """Energy in dB that the vocals keep (away from the ends, where a tone begins and is no longer steady)."""
        estimate = built(name).vocals(audio[:, None].astype(np.float32), rate)[rate:-rate, 0]
        return 10 * np.log10((np.sum(estimate**2) + 1e-9) / np.sum(audio[rate:-rate] ** 2))

    assert kept("two_stage", tone) < -20 and kept("two_stage", click) < -20
    assert kept("two_stage", voice) > -4
    assert kept("harmonic", tone) > -1 and kept("harmonic", click) < -20
    mixed = (tone + click + voice)[:, None].astype(np.float32)
    vocals = built("two_stage").vocals(mixed, rate)
    inner = slice(rate, -rate)
    assert sdr(voice[inner, None], vocals[inner]) > sdr(voice[inner, None], mixed[inner]) + 6
