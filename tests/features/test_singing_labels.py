"""Voice activity labels from levels."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from svs.audio.sources import ArraySource
from svs.dsp.stft import frames
from svs.features.singing_labels import SILENT, SINGING, UNSURE, labels, levels

FEW = examples(deadline=None, max_examples=40, database=None, derandomize=True)
RATE = 44100


@pytest.fixture(scope="session")
def vad(settings):
    return settings.extract.vad


def by_hand(audio, rate, settings):
    """RMS in dBFS of the samples within half a window of every frame's centre, one frame at a time."""
    half = settings.level_window * rate / 2
    count = frames(round(len(audio) * settings.sample_rate / rate), settings)
    found = np.empty(count)
    for frame in range(count):
        centre = frame * settings.hop_length * rate / settings.sample_rate
        start, stop = (min(max(round(edge), 0), len(audio)) for edge in (centre - half, centre + half))
        power = np.mean(np.square(audio[start:stop].astype(np.float64))) if stop > start else 0.0
        found[frame] = 10 * math.log10(power) if power > 1e-14 else -math.inf
    return found


# -- levels


@pytest.mark.parametrize("rate", [44100, 22050, 48000])
@pytest.mark.parametrize("decibels", [0.0, -20.0, -60.0])
def test_the_level_of_a_sine_is_its_rms(vad, rate, decibels):
    sine = 10 ** (decibels / 20) * math.sqrt(2) * np.sin(2 * np.pi * 1000 * np.arange(rate) / rate)
    level = levels(ArraySource(np.stack([sine, sine], axis=1), rate), vad)
    assert level.dtype == np.float32
    assert len(level) == frames(round(len(sine) * vad.sample_rate / rate), vad)
    np.testing.assert_allclose(level[5:-5], decibels, atol=0.02)


def test_channels_are_averaged_in_power(vad):
    sine = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    one = levels(ArraySource(np.stack([sine, 0 * sine], axis=1), RATE), vad)
    np.testing.assert_allclose(one[5:-5], -6.02, atol=0.03)  # half the power of a sine (-3.01 dB)
    against = levels(ArraySource(np.stack([sine, -sine], axis=1), RATE), vad)
    np.testing.assert_allclose(against[5:-5], -3.01, atol=0.03)  # not a mean of samples, which would cancel


@pytest.mark.parametrize("samples", [1, 100, RATE])
def test_silence_has_no_level(vad, samples):
    level = levels(ArraySource(np.zeros((samples, 2)), RATE), vad)
    assert len(level) >= 1 and np.all(level == -np.inf)


def test_silence_after_sound_is_silence(vad):
    audio = np.random.default_rng(0).uniform(-1, 1, (3 * RATE, 2))
    audio[RATE : 2 * RATE] = 0
    level = levels(ArraySource(audio, RATE), vad)
    second = vad.sample_rate / vad.hop_length
    assert np.all(level[math.ceil(1.05 * second) : math.floor(1.95 * second)] == -np.inf)
    assert np.all(level[: math.floor(0.95 * second)] > -6)


@FEW
@given(samples=st.integers(1, 20_000), rate=st.sampled_from([22050, 44100, 48000]), seed=st.integers(0, 9))
def test_levels_are_what_they_say(vad, samples, rate, seed):
    audio = np.random.default_rng(seed).normal(0, 0.1, (samples, 1)).astype(np.float32)
    np.testing.assert_allclose(levels(ArraySource(audio, rate), vad), by_hand(audio, rate, vad), atol=1e-3)


def test_more_frames_than_a_block(vad):
    """Blocks of 4096 frames meet without a seam."""
    fine = vad.model_copy(update={"hop_length": 8})
    audio = np.random.default_rng(1).normal(0, 0.1, (100_000, 1)).astype(np.float32)
    audio[30_000:36_000] = 0
    level = levels(ArraySource(audio, 44100), fine)
    assert len(level) == 6251
    expected = by_hand(audio, 44100, fine)
    near = slice(4000, 4200)
    np.testing.assert_allclose(level[near], expected[near], atol=1e-3)
    np.testing.assert_allclose(level, expected, atol=1e-3)


# -- labels: the loud level of these is -10 dBFS, so the threshold is -50


def track(*runs):
    """Levels: (frames, dB) after one another; the first run is long enough to be the loud level."""
    return np.concatenate([np.full(count, level, dtype=np.float32) for count, level in runs])


def test_forty_decibels_below_the_loud_level(vad):
    given_levels = track((200, -10), (100, -44), (100, -56), (100, -53), (100, -47), (100, -np.inf))
    np.testing.assert_array_equal(
        labels(given_levels, vad),
        np.repeat([SINGING, SINGING, SILENT, UNSURE, UNSURE, SILENT], [200, 100, 100, 100, 100, 100]),
    )


def test_the_floor_of_60_decibels(vad):
    """In a quiet track (-25 dBFS) 40 dB below would be -65; nobody sings below -60."""
    given_levels = track((200, -25), (100, -54), (100, -66), (100, -61))
    np.testing.assert_array_equal(
        labels(given_levels, vad), np.repeat([SINGING, SINGING, SILENT, UNSURE], [200, 100, 100, 100])
    )


@pytest.mark.parametrize(("distance", "label"), [(4.9, UNSURE), (5.1, None)])
def test_the_margin_is_5_decibels_on_either_side(vad, distance, label):
    given_levels = track((200, -10), (100, -50 + distance), (100, -50 - distance))
    found = labels(given_levels, vad)
    assert set(found[200:300]) == {SINGING if label is None else label}
    assert set(found[300:]) == {SILENT if label is None else label}


def test_the_loud_level_is_the_95th_percentile(vad):
    """A shout of 4 % of the track does not raise the threshold; one of 6 % does."""
    quiet = (1000, -35.0)
    for shout, label in ((40, SINGING), (64, SILENT)):
        given_levels = track(quiet, (shout, 15.0))
        assert set(labels(given_levels, vad.model_copy(update={"margin": 0.0}))[:900]) == {label}, shout


def test_a_blip_is_smoothed_away_and_a_phrase_stays(vad):
    second = vad.sample_rate / vad.hop_length
    blip, phrase = round(0.05 * second), round(0.6 * second)
    loud = (400, -10)
    found = labels(track(loud, (100, -90), (blip, -10), (100, -90)), vad)
    assert set(found[400:]) == {SILENT}
    found = labels(track(loud, (blip, -90), loud), vad)  # nor does a short breath end the singing
    assert set(found) == {SINGING}
    found = labels(track(loud, (100, -90), (phrase, -10), (100, -90)), vad)
    np.testing.assert_array_equal(found, np.repeat([1, 0, 1, 0], [400, 100, phrase, 100]))
    unsmoothed = labels(track(loud, (100, -90), (blip, -10)), vad.model_copy(update={"smoothing": 0.0}))
    assert set(unsmoothed[-blip:]) == {SINGING}


def test_what_fills_half_of_the_smoothing_window_stays(vad):
    """0.4 s are 35 frames: 17 of them are outvoted, 18 are not."""
    for count, label in ((17, SILENT), (18, SINGING)):
        found = labels(track((400, -10), (100, -90), (count, -10), (100, -90)), vad)
        assert set(found[500 : 500 + count]) == {label}


def test_a_silent_stem_has_no_singing(vad):
    found = labels(np.full(50, -np.inf, dtype=np.float32), vad)
    assert found.dtype == np.int8 and set(found) == {SILENT}


@pytest.mark.filterwarnings("error")
def test_a_stem_that_is_mostly_silent(vad):
    """One phrase in a silent track: its label stays, and nothing is warned of."""
    found = labels(track((3000, -np.inf), (100, -20), (500, -np.inf)), vad)
    np.testing.assert_array_equal(found, np.repeat([0, 1, 0], [3000, 100, 500]))
