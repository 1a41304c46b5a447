"""What the methods share that take repetition for accompaniment: a voice over a loop, reach, medians, peaks."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from svs.config.schema import Representation
from svs.separators import repet_sim, repetition
from svs.separators.chunking import separate_to
from tests.helpers.separation import Endless, glide, sdr

RATE = 22050
REPETITION = ("authors", "librosa", "knn_median")
FEW = examples(deadline=None, max_examples=40, database=None, derandomize=True)


@pytest.fixture(scope="module")
def loop():
    """Two channels of a loop of 1.4 s (three chords, three drums) played twelve times, and a gliding voice."""
    generator = np.random.default_rng(1)
    period = 60 * 512  # whole hops: what repeats repeats in the spectrogram as well
    time = np.arange(period) / RATE
    bar = np.zeros((period, 2))
    for index, root in enumerate((110.0, 146.8, 98.0)):
        tone = sum(
            np.sin(2 * np.pi * root * ratio * harmonic * time) / harmonic
            for ratio in (1, 1.26, 1.5)
            for harmonic in range(1, 9)
        )
        since = time - index * 0.45
        envelope = np.exp(-1.5 * np.abs(since - 0.1)) * (since >= 0) * (since < 0.5)
        bar += 0.08 * (tone * envelope)[:, None] * np.array([1.0, 0.6])
        hit = generator.normal(size=period) * np.exp(-40 * np.abs(since)) * (since >= 0)
        bar += 0.2 * hit[:, None] * np.array([0.7, 1.0])
    accompaniment = np.tile(bar, (12, 1)).astype(np.float32)
    vocals = np.repeat(glide(len(accompaniment) / RATE)[: len(accompaniment), None], 2, axis=1).astype(np.float32)
    return {"vocals": vocals, "accompaniment": accompaniment, "mixture": vocals + accompaniment}


@pytest.fixture(scope="module")
def estimates(built, loop):
    """What each method finds in the loop with the voice."""
    return {name: built(name).vocals(loop["mixture"], RATE) for name in REPETITION}


@pytest.mark.parametrize("name, gain", [("authors", 9), ("librosa", 8), ("knn_median", 10)])
def test_a_voice_over_a_loop_is_recovered(loop, estimates, name, gain):
    mixture, vocals, estimate = loop["mixture"], loop["vocals"], estimates[name]
    before = sdr(vocals, mixture)
    assert before < -6
    assert sdr(vocals, estimate) > before + gain
    # Had foreground and background changed places, the rest would be nearer the voice.
    assert sdr(vocals, mixture - estimate) < sdr(vocals, estimate) - 8
    assert sdr(loop["accompaniment"], mixture - estimate) > sdr(loop["accompaniment"], estimate) + 8


@pytest.mark.parametrize(
    "name, options, below",
    [
        ("authors", {}, -40),
        ("knn_median", {"neighbours": 15}, -40),
        ("knn_median", {}, -15),
        ("librosa", {}, -15),
        ("librosa", {"librosa": {"keep": "nearest"}}, -25),
    ],
    ids=str,
)
def test_a_loop_alone_has_no_vocals(built, loop, name, options, below):
    """Where a method takes more neighbours than the twelve that are the same, others leave a little."""
    estimate = built(name, **options).vocals(loop["accompaniment"], RATE)
    assert 10 * np.log10(np.sum(estimate**2) / np.sum(loop["accompaniment"] ** 2)) < below


@pytest.mark.parametrize("name", REPETITION)
def test_other_frames_than_the_similar_ones_would_not_do(built, loop, estimates, name, monkeypatch):
    separator = built(name)
    generator = np.random.default_rng(0)

    def anything(spectrum, first, last, reach, representation):
        return [generator.choice(len(spectrum), 20, replace=False) for _ in range(first, last)]

    monkeypatch.setattr(separator, "similar", anything)
    assert sdr(loop["vocals"], separator.vocals(loop["mixture"], RATE)) < sdr(loop["vocals"], estimates[name]) - 1.5


def test_likeness_is_of_shape_for_repet_and_of_distance_for_neighbours(built):
    """Frames of three shapes in turn, each shape louder every time."""
    shapes = np.eye(3, 40, dtype=np.float32) + 0.05
    kinds = np.arange(60) % 3
    levels = (1 + np.arange(60) // 3 * 0.5).astype(np.float32)
    frames = shapes[kinds] * levels[:, None]
    ours = Representation(sample_rate=RATE, frame_size=512, win_length=512, hop_length=256)

    def chosen(separator, frame=30):
        return separator.similar(frames, frame, frame + 1, 60, ours)[0]

    repet = built("authors", authors={"distance": 2 * 256 / RATE})
    assert set(kinds[chosen(repet)]) == {0} and len(chosen(repet)) == 20
    assert len(chosen(built("authors", authors={"distance": 2 * 256 / RATE, "number": 7}))) == 7
    assert set(kinds[chosen(built("authors", authors={"distance": 1e-9, "threshold": 0.99}))]) == {0}
    assert 30 in chosen(repet)
    near = built("librosa", librosa={"width": 3.5 * 256 / RATE, "keep": "nearest"})
    assert set(kinds[chosen(near)][:15]) == {0} and np.all(np.abs(chosen(near) - 30) >= 3)
    neighbours = chosen(built("knn_median", neighbours=5))
    assert sorted(neighbours) == [24, 27, 30, 33, 36] and neighbours[0] == 30


@pytest.mark.parametrize("name", REPETITION)
def test_only_what_is_wanted_is_worked_on(built, song, name, monkeypatch):
    separator = built(name)
    whole = separator.vocals(song["mixture"], 44100)
    worked = []
    real = repetition.median
    monkeypatch.setattr(repetition, "median", lambda values: (worked.append(len(values)), real(values))[1])
    wanted = slice(100_001, 150_000)
    part = separator.vocals(song["mixture"], 44100, wanted=wanted)
    assert part.shape == whole.shape and np.all(np.isfinite(part))
    np.testing.assert_allclose(part[wanted], whole[wanted], atol=1e-6)
    assert 0 < len(worked) < 0.3 * len(song["mixture"]) / separator.alignment(44100)


@pytest.mark.parametrize("name", REPETITION)
def test_memory_does_not_grow_with_the_recording(built, tmp_path, name):
    separator = built(name, reach=2.0)

    def peak(seconds: float) -> int:
        tracemalloc.start()
        separate_to(tmp_path / str(seconds), separator, Endless(seconds), 3.0)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(4)  # whatever is loaded once
    assert peak(36) < 1.2 * peak(12)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 96000, 192000])
def test_windows_last_as_long_at_every_rate(built, rate):
    for name, seconds in (("authors", 0.04), ("librosa", 0.093), ("knn_median", 0.093)):
        ours = built(name).representation(rate)
        lasts = ours.frame_size / rate
        assert seconds <= lasts < 2 * seconds if name == "authors" else 0.7 < lasts / seconds < 1.42
        assert ours.sample_rate == rate and built(name).alignment(rate) == ours.hop_length
        context = built(name, reach=2.0).context(rate)
        assert context % ours.hop_length == 0 and context >= 2 * rate


@FEW
@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(1, 3)),
        elements=st.floats(-4, 4, width=16),
    )
)
def test_median_is_numpys(values):
    before = values.copy()
    np.testing.assert_array_equal(repetition.median(values), np.median(values, axis=0))
    np.testing.assert_array_equal(values, before)


@FEW
@given(arrays.arrays(np.float64, 12, elements=st.sampled_from([-np.inf, 0.0, 0.5, 0.75, 1.0])), st.integers(1, 14))
def test_peaks_are_greater_than_all_within_distance(values, distance):
    came = repet_sim.peaks(values, distance)
    for place in range(12):
        others = [values[other] for other in range(12) if 0 < abs(other - place) <= distance]
        assert came[place] == (values[place] > max(others, default=-np.inf))
