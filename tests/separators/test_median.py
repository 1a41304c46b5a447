"""Separators that need no training: REPET-SIM, nearest neighbours, median filtering, and the ratio mask's oracle."""

from __future__ import annotations

import tracemalloc

import librosa
import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from svs import separators
from svs.audio.convert import resample
from svs.audio.sources import ArraySource, WavSource
from svs.config.schema import Representation
from svs.data import musdb
from svs.data.synthetic import write_stempeg_song
from svs.dsp.masks import ideal_binary_mask, ideal_ratio_mask
from svs.separators import hpss, repetition
from svs.separators.chunking import chunks, separate_to
from svs.separators.mixture import Mixture
from svs.separators.oracles import oracle_ibm
from svs.separators.repet_sim import RepetSim, RepetSimLibrosaVariant
from svs.stems import ACCOMPANIMENT

METHODS = {
    "authors": ("repet_sim", "authors"),
    "librosa": ("repet_sim", "librosa"),
    "knn_median": ("knn_median", None),
    "two_stage": ("hpss", "two_stage"),
    "harmonic": ("hpss", "harmonic"),
    "oracle_irm": ("oracle_irm", None),
}
REPETITION = ("authors", "librosa", "knn_median")
BLIND = [name for name in METHODS if name != "oracle_irm"]
FEW = examples(deadline=None, max_examples=40, database=None, derandomize=True)
MAGNITUDES = arrays.arrays(np.float32, (4, 5), elements=st.floats(0, 4, width=32))


@pytest.fixture(scope="module")
def built(settings):
    """`built(name, authors={"distance": 0.3}, reach=2.0)`: a method with some of its options changed."""

    def build(name, **changes):
        method, variant = METHODS[name]
        options = settings.model_dump()
        group = options["separate"][method]
        if variant:
            group["variant"] = variant
        for key, value in changes.items():
            group[key] = {**group[key], **value} if isinstance(value, dict) else value
        return separators.build(method, type(settings).model_validate(options))

    return build


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    """The real song that stempeg ships (6 s): float32 (samples, 2) by name."""
    folder = tmp_path_factory.mktemp("song") / "song"
    write_stempeg_song(folder)
    audio = {name: WavSource(folder / f"{name}.wav") for name in ("mixture", "vocals", *ACCOMPANIMENT)}
    audio = {name: source.read(0, source.samples) for name, source in audio.items()}
    audio["accompaniment"] = sum(audio[name] for name in ACCOMPANIMENT)
    return {name: audio[name] for name in ("mixture", "vocals", "accompaniment")}


RATE = 22050


def glide(seconds: float, rate: int = RATE, seed: int = 3) -> np.ndarray:
    """A voice that never holds still: twelve harmonics of a pitch that wanders, with vibrato."""
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    corners = generator.uniform(np.log(180), np.log(500), round(seconds * 2) + 2)
    pitch = np.exp(np.interp(time * 2, np.arange(len(corners)), corners) + 0.03 * np.sin(2 * np.pi * 5.5 * time))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    return sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 13)) * 0.05


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


def sdr(true: np.ndarray, estimate: np.ndarray) -> float:
    return 10 * np.log10(np.sum(true.astype(float) ** 2) / np.sum((true - estimate.astype(float)) ** 2))


# What repeats


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


# The papers and codes that they follow


def slow_repet_sim(audio: np.ndarray, rate: int, spacing=1.0, most=100, lowest=100.0) -> np.ndarray:
    """REPET-SIM frame by frame, from the description: the background of (samples, channels), all in float64."""
    size = 1
    while size < 0.04 * rate:
        size *= 2
    hop, samples = size // 2, len(audio)
    window = scipy.signal.windows.hamming(size, sym=False)
    count = -(-samples // hop) + 1
    spectra = []
    for channel in audio.T.astype(np.float64):
        long = np.concatenate([np.zeros(hop), channel, np.zeros(size + hop)])
        spectra.append([np.fft.fft(window * long[frame * hop : frame * hop + size]) for frame in range(count)])
    spectra = np.array(spectra)[..., : hop + 1]  # channels, frames, bins
    magnitudes = np.abs(spectra)
    mean = magnitudes.mean(axis=0)
    direction = [frame / np.linalg.norm(frame) for frame in mean]
    gap = round(spacing * rate / hop)
    background = np.zeros((len(spectra), (count + 1) * hop))
    for frame in range(count):
        alike = [float(direction[frame] @ other) for other in direction]
        maxima = [
            index
            for index in range(count)
            if all(
                alike[index] > alike[other]
                for other in range(max(0, index - gap), min(count, index + gap + 1))
                if other != index
            )
        ]
        maxima = sorted(maxima, key=lambda index: -alike[index])[:most]
        for channel in range(len(spectra)):
            present = magnitudes[channel, frame]
            model = np.minimum(np.median([magnitudes[channel, index] for index in maxima], axis=0), present)
            mask = (model + 2.0**-52) / (present + 2.0**-52)
            mask[1 : round(lowest * size / rate) + 1] = 1
            half = mask * spectra[channel, frame]
            background[channel, frame * hop : frame * hop + size] += np.fft.irfft(half)
    return background[:, hop : hop + samples].T / (window[0] + window[hop])


@pytest.mark.parametrize("rate, spacing, most", [(16000, 1.0, 100), (22050, 0.3, 4)])
def test_authors_variant_equals_a_plain_implementation(built, song, rate, spacing, most):
    mixture = resample(song["mixture"], 44100, rate)[rate : 5 * rate + 77]  # it begins with silence
    separator = built("authors", authors={"distance": spacing, "number": most})
    expected = mixture - slow_repet_sim(mixture, rate, spacing, most)
    np.testing.assert_allclose(separator.vocals(mixture, rate), expected, atol=1e-5)
    assert np.abs(expected).max() > 0.02


@pytest.mark.parametrize("keep, mode", [("earliest", "connectivity"), ("nearest", "distance")])
def test_librosa_variant_equals_librosa_on_a_song_within_reach(built, song, keep, mode):
    """The vocal separation example, with librosa's own search for neighbours over the whole spectrogram."""
    audio = resample(song["mixture"], 44100, RATE).mean(axis=1)
    full = librosa.stft(audio, pad_mode="constant")
    magnitudes = np.abs(full).astype(np.float64)
    width = int(librosa.time_to_frames(2, sr=RATE, hop_length=512))
    model = librosa.decompose.nn_filter(magnitudes, aggregate=np.median, metric="cosine", width=width, mode=mode)
    model = np.minimum(magnitudes, model)
    mask = librosa.util.softmask(magnitudes - model, 10 * model, power=2)
    expected = librosa.istft(full * mask, length=len(audio))
    separator = built("librosa", librosa={"keep": keep})
    assert separator.representation(RATE) == Representation(
        sample_rate=RATE, frame_size=2048, win_length=2048, hop_length=512
    )
    np.testing.assert_allclose(separator.vocals(audio[:, None], RATE)[:, 0], expected, atol=1e-5)
    assert np.abs(expected).max() > 0.02


def test_neighbours_are_those_of_a_sorted_list(built, song):
    spectrum = np.abs(librosa.stft(song["mixture"][:, 0], n_fft=1024, hop_length=1024))[:300].T.copy()
    ours = Representation(sample_rate=44100, frame_size=2048, win_length=2048, hop_length=1024)
    came = built("knn_median", neighbours=12).similar(spectrum, 3, 150, 20, ours)
    for frame, chosen in zip(range(3, 150), came, strict=True):
        near = [other for other in range(len(spectrum)) if abs(other - frame) <= 20]
        distance = {other: float(np.sum((spectrum[frame].astype(float) - spectrum[other]) ** 2)) for other in near}
        assert set(chosen) == set(sorted(near, key=distance.get)[:12])


def test_gaussian_mask(built):
    separator = built("knn_median", tolerance=0.5)
    mixture = np.array([1.0, np.e**0.5, 1.0, 0.0, 0.0, 3.0], dtype=np.float32)
    model = np.array([1.0, 1.0, 7.0, 0.0, 5.0, 0.0], dtype=np.float32)
    expected = [0, 1 - np.exp(-0.5), 0, 0, 0, 1]
    np.testing.assert_allclose(separator.share(mixture, model), expected, atol=1e-6)


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
    np.testing.assert_array_equal(hpss.mask(spectrum, options, part), expected)
    np.testing.assert_array_equal(
        hpss.median_rows(spectrum, frames), scipy.ndimage.median_filter(spectrum, (1, frames), mode="reflect")
    )


# Median filtering


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


def test_bins_up_to_the_cutoff_are_accompaniment(built):
    time = np.arange(3 * 44100) / 44100
    bass = (0.3 * np.sin(2 * np.pi * 60 * time) * (1 + np.sin(9 * time)))[:, None].astype(np.float32)
    for name in ("authors", "knn_median", "two_stage", "harmonic"):
        assert np.sum(built(name).vocals(bass, 44100) ** 2) < 1e-2 * np.sum(bass**2), name
    assert np.sum(built("harmonic", cutoff=0.0).vocals(bass, 44100) ** 2) > 0.5 * np.sum(bass**2)


# The ratio mask


def test_ratio_oracle_of_energies_beats_the_binary_one_and_that_of_magnitudes(built, song):
    """On this song the ratio of magnitudes trails the binary mask by 0.1 to 0.3 dB (over the previews it leads)."""
    true = {name: song[name] for name in ("vocals", "accompaniment")}
    for channels in ("shared", "each"):
        binary = oracle_ibm(built("oracle_irm").representation, channels).vocals(song["mixture"], 44100, true)
        for name in true:

            def score(vocals, name=name):
                return sdr(song[name], vocals if name == "vocals" else song["mixture"] - vocals)

            ratio = [
                score(built("oracle_irm", channels=channels, power=power).vocals(song["mixture"], 44100, true))
                for power in (1.0, 2.0)
            ]
            assert ratio[1] > score(binary) and ratio[1] > ratio[0], (channels, name)
    assert built("oracle_irm").needs_references


@FEW
@given(MAGNITUDES, MAGNITUDES, st.sampled_from([0.5, 1.0, 2.0, 4.0]))
def test_ratio_mask(vocals, accompaniment, power):
    mask = ideal_ratio_mask(vocals, accompaniment, power)
    assert mask.dtype == np.float32 and mask.min() >= 0 and mask.max() <= 1
    sound = (vocals > 0) | (accompaniment > 0)
    np.testing.assert_allclose((mask + ideal_ratio_mask(accompaniment, vocals, power))[sound], 1, atol=1e-6)
    assert not mask[~sound].any()
    np.testing.assert_array_equal(mask[sound] > 0.5, (ideal_binary_mask(vocals, accompaniment) & (mask != 0.5))[sound])
    turned = ideal_ratio_mask(2 * vocals * np.array([1, -1, 1j, -1j, 1]), 2 * accompaniment, power)
    np.testing.assert_allclose(turned, mask, atol=1e-6)
    with np.errstate(all="ignore"):
        plain = vocals.astype(float) ** power / (vocals.astype(float) ** power + accompaniment.astype(float) ** power)
    usual = sound & np.isfinite(plain) & (np.maximum(vocals, accompaniment) > 1e-6)
    np.testing.assert_allclose(mask[usual], plain[usual], atol=1e-5)


# Chunks

NARROW = {
    "authors": {"reach": 1.3, "authors": {"distance": 0.2, "number": 5}},
    "librosa": {"reach": 1.3, "librosa": {"width": 0.3}},
    "knn_median": {"reach": 1.3, "neighbours": 20},
    "two_stage": {},
    "harmonic": {},
    "oracle_irm": {},
}


@pytest.mark.parametrize(
    "name, rate, chunk",
    [
        *((name, 44100, 1.0) for name in METHODS),
        ("authors", 22050, 0.7),
        ("librosa", 22050, 0.7),
        ("knn_median", 48000, 1.5),
        ("two_stage", 16000, 1.0),
        ("authors", 8000, 1.0),
    ],
)
def test_chunks_leave_no_seams(built, song, name, rate, chunk):
    separator = built(name, **NARROW[name])
    given = {key: ArraySource(resample(audio, 44100, rate), rate) for key, audio in song.items()}
    mixture = given.pop("mixture")
    true = given if separator.needs_references else None
    pieces = [vocals for _, vocals in chunks(separator, mixture, chunk, true)]
    assert len(pieces) >= 4
    whole = separator.vocals(
        mixture.read(0, mixture.samples), rate, {key: source.read(0, source.samples) for key, source in given.items()}
    )
    chunked = np.concatenate(pieces)
    assert chunked.shape == whole.shape and chunked.dtype == whole.dtype == np.float32
    assert np.abs(whole).max() > 0.02
    np.testing.assert_allclose(chunked, whole, atol=1e-5)


@pytest.mark.parametrize("name", REPETITION)
def test_only_what_is_wanted_is_worked_on(built, song, name, monkeypatch):
    separator = built(name)
    whole = separator.vocals(song["mixture"], 44100)
    worked = []
    real = repetition.repeating
    monkeypatch.setattr(
        repetition,
        "repeating",
        lambda magnitudes, similar, first: (worked.append(len(similar)), real(magnitudes, similar, first))[1],
    )
    wanted = slice(100_001, 150_000)
    part = separator.vocals(song["mixture"], 44100, wanted=wanted)
    assert part.shape == whole.shape and np.all(np.isfinite(part))
    np.testing.assert_allclose(part[wanted], whole[wanted], atol=1e-6)
    assert worked[0] < 0.3 * len(song["mixture"]) / separator.alignment(44100)


class Endless:
    """A recording of any length that is nowhere: noise, the same wherever it is read."""

    rate, channels = 8000, 1

    def __init__(self, seconds: float):
        self.samples = round(seconds * self.rate)
        self._second = np.random.default_rng(3).normal(0, 0.1, (11_111, 1)).astype(np.float32)

    def read(self, start: int, stop: int) -> np.ndarray:
        return self._second[np.arange(start, stop) % len(self._second)]


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


# Odd input


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    "rate, channels, samples",
    [
        (8000, 1, 160),
        (11025, 6, 221),
        (44100, 2, 882),
        (192000, 2, 3840),
        (44100, 1, 1),
        (8000, 2, 7777),
        (48000, 6, 30_000),
        (96000, 1, 50_000),
        (192000, 3, 70_000),
    ],
)
def test_any_rate_length_and_number_of_channels(built, name, rate, channels, samples):
    if name == "oracle_irm" and samples < 5000:
        pytest.skip("MaskSeparator's own transform warns of a recording shorter than a window")
    separator = built(name)
    generator = np.random.default_rng(samples)
    noise = generator.normal(0, 0.1, (samples, channels)).astype(np.float32)
    half = noise.copy()
    half[samples // 2 :] = 0
    half[:, 0] = 0
    for mixture in (np.zeros_like(noise), noise, half):
        true = {"vocals": mixture / 4, "accompaniment": mixture * 3 / 4}
        vocals = separator.vocals(mixture, rate, true if separator.needs_references else None)
        assert vocals.shape == mixture.shape and vocals.dtype == np.float32
        assert np.all(np.isfinite(vocals))
        assert np.sum(vocals**2) <= 1.01 * np.sum(mixture**2)
        assert mixture.any() or not vocals.any()


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 96000, 192000])
def test_windows_last_as_long_at_every_rate(built, rate):
    for name, seconds in (("authors", 0.04), ("librosa", 0.093), ("knn_median", 0.093)):
        ours = built(name).representation(rate)
        lasts = ours.frame_size / rate
        assert seconds <= lasts < 2 * seconds if name == "authors" else 0.7 < lasts / seconds < 1.42
        assert ours.sample_rate == rate and built(name).alignment(rate) == ours.hop_length
        context = built(name, reach=2.0).context(rate)
        assert context % ours.hop_length == 0 and context >= 2 * rate


# Helpers


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
@given(arrays.arrays(np.float64, (2, 12), elements=st.sampled_from([-np.inf, 0.0, 0.5, 0.75, 1.0])), st.integers(1, 14))
def test_peaks_are_greater_than_all_within_distance(values, distance):
    came = repetition.peaks(values, distance)
    for row in range(2):
        for column in range(12):
            others = [values[row, other] for other in range(12) if 0 < abs(other - column) <= distance]
            assert came[row, column] == (values[row, column] > max(others, default=-np.inf))


# Real music


def test_vocals_of_real_music_are_above_the_floor(built, previews, tmp_path):
    """On three test previews; librosa's margin costs it the floor's quarter, but not the mixture as it is."""
    names = ("Angels In Amplifiers - I'm Alright", "Girls Under Glass - We Feel Alright", "Secretariat - Over The Top")
    values = {name: [] for name in (*BLIND, "floor", "mixture")}
    for track in names:
        (tmp_path / track).mkdir()
        files = musdb.decode_stems(previews / "test" / f"{track}.stem.mp4", ("mixture", "vocals"), tmp_path / track)
        mixture, vocals = (WavSource(files[name]).read(0, 5 * 44100) for name in ("mixture", "vocals"))
        for name in BLIND:
            values[name].append(sdr(vocals, built(name).vocals(mixture, 44100)))
        values["floor"].append(sdr(vocals, Mixture(0.25).vocals(mixture, 44100)))
        values["mixture"].append(sdr(vocals, mixture))
    medians = {name: np.median(value) for name, value in values.items()}
    for name in ("authors", "knn_median", "two_stage"):
        assert medians[name] > medians["floor"] + 0.5, medians
    for name in ("librosa", "harmonic"):
        assert medians[name] > medians["mixture"] + 3, medians


def test_the_default_variants(settings):
    assert isinstance(separators.build("repet_sim", settings), RepetSim)
    options = separators.options("repet_sim", settings).model_copy(update={"variant": "librosa"})
    changed = settings.model_copy(update={"separate": settings.separate.model_copy(update={"repet_sim": options})})
    assert isinstance(separators.build("repet_sim", changed), RepetSimLibrosaVariant)
