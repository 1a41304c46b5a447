"""Chunks: no seams, no growth of memory, estimates that sum to the mixture; rate, level and ends of nets."""

from __future__ import annotations

import tracemalloc
from copy import copy
from itertools import product

import keras
import numpy as np
import pytest

from svs.audio.convert import resample
from svs.audio.sources import ArraySource, WavSource
from svs.config.schema import Representation
from svs.dsp.continuation import continuation
from svs.errors import DataError
from svs.networks import archive
from svs.separators.chunking import chunks, separate_to
from svs.separators.cnn import CNNSeparator
from svs.separators.mixture import Mixture
from svs.separators.unet_separator import UNetSeparator
from tests.helpers.separation import (
    METHODS,
    Endless,
    cnn_options,
    oracle_ibm,
    separated,
)

REPRESENTATIONS = {
    22050: Representation(sample_rate=22050, frame_size=512, win_length=512, hop_length=256),
    44100: Representation(sample_rate=44100, frame_size=1024, win_length=512, hop_length=256),
}


@pytest.fixture(scope="module")
def small_nets(tmp_path_factory):
    """Small nets (two convolutions) of label width 1 and 9 at both rates, whose masks take all values."""
    root = tmp_path_factory.mktemp("nets")
    folders = {}
    for rate, representation in REPRESENTATIONS.items():
        for width in (1, 9):
            bins = representation.frame_size // 2 + 1
            source = keras.Input((bins, 9, 1))
            hidden = keras.layers.Conv2D(
                4,
                (5, 9),
                padding="same",
                activation="relu",
                kernel_initializer=keras.initializers.GlorotNormal(rate + width),
            )(keras.layers.Rescaling(300.0)(source))
            out = keras.layers.Conv2D(
                1,
                (5, 1 if width == 9 else 9),
                padding="same" if width == 9 else "valid",
                kernel_initializer=keras.initializers.GlorotNormal(width),
            )(hidden)
            if width == 1:
                out = keras.layers.ZeroPadding2D((2, 0))(out)
            net = keras.Model(source, keras.layers.Reshape((bins, width))(out))
            folders[rate, width] = root / f"{rate}-{width}"
            archive.save(
                folders[rate, width],
                net,
                {"representation": {**representation.model_dump(), "width": 9}, "label_width": width},
            )
    return folders


def sources(song, rate) -> dict[str, ArraySource]:
    return {name: ArraySource(resample(audio, 44100, rate), rate) for name, audio in song.items()}


def whole_and_chunked(separator, song, rate, chunk=1.7) -> tuple[np.ndarray, np.ndarray]:
    given = sources(song, rate)
    mixture = given.pop("mixture")
    true = given if separator.needs_references else None
    pieces = list(chunks(separator, mixture, chunk, true))
    assert len(pieces) >= 2
    np.testing.assert_array_equal(np.concatenate([mixed for mixed, _ in pieces]), mixture.read(0, mixture.samples))
    audio = {name: source.read(0, source.samples) for name, source in (true or {}).items()}
    whole = separated(separator, mixture.read(0, mixture.samples), rate, audio)
    chunked = np.concatenate([vocals for _, vocals in pieces])
    assert chunked.shape == whole.shape and chunked.dtype == np.float32
    return whole, chunked


def assert_same(whole, chunked):
    assert np.abs(whole).max() > 0.05
    np.testing.assert_allclose(chunked, whole, atol=1e-5)


@pytest.mark.parametrize(
    "ours, rate, width, changes",
    [
        *(
            (22050, 44100, width, changes)
            for width, changes in (
                (1, {}),
                (1, {"gate": 0.0}),
                (1, {"mask": "hard"}),
                (1, {"channels": "each"}),
                (1, {"hpss": True}),
                (9, {}),
                (9, {"hop": 2}),
                (9, {"hop": 3}),
                (9, {"hop": 9}),
                (9, {"hop": 3, "hpss": True, "channels": "each"}),
            )
        ),
        (44100, 44100, 1, {"gate": 0.0}),
        (44100, 44100, 9, {"hop": 3}),
        (44100, 44100, 9, {"hop": 9, "hpss": True}),
        (22050, 48000, 1, {}),
        (22050, 48000, 9, {"hop": 2}),
        (22050, 48000, 9, {"hop": 9}),
    ],
    ids=lambda value: " ".join(f"{key}={item}" for key, item in value.items()) if isinstance(value, dict) else None,
)
def test_networks_have_no_seams(small_nets, song, ours, rate, width, changes):
    whole, chunked = whole_and_chunked(CNNSeparator("net", small_nets[ours, width], cnn_options(**changes)), song, rate)
    assert_same(whole, chunked)
    assert np.abs(whole - resample(song["mixture"], 44100, rate)).max() > 1e-3


@pytest.mark.parametrize("ours, rate", [(22050, 44100), (44100, 44100), (22050, 48000)])
@pytest.mark.parametrize("channels, chunk", [("shared", 0.5), ("each", 1.7)])
def test_oracle_has_no_seams(song, ours, rate, channels, chunk):
    whole, chunked = whole_and_chunked(oracle_ibm(REPRESENTATIONS[ours], channels), song, rate, chunk)
    assert_same(whole, chunked)


def test_floor_has_no_seams(song):
    whole, chunked = whole_and_chunked(Mixture(0.25), song, 44100)
    np.testing.assert_array_equal(whole, chunked)


@pytest.mark.parametrize("iterations", [1, 2])
def test_wiener_differs_from_chunk_to_chunk_but_little(small_nets, song, iterations):
    """Spatial covariances are of the chunk: the one option whose estimate depends on how long a chunk is."""
    separator = CNNSeparator("net", small_nets[44100, 9], cnn_options(wiener=iterations))
    whole, chunked = whole_and_chunked(separator, song, 44100, 2.0)
    ratio = 10 * np.log10(np.sum((whole - chunked) ** 2) / np.sum(whole**2))
    assert -60 < ratio < -15, f"chunked and whole differ by {ratio:.1f} dB"
    # No clicks where chunks meet: the largest step between samples is not larger than in the whole estimate.
    assert np.abs(np.diff(chunked, axis=0)).max() < 1.1 * np.abs(np.diff(whole, axis=0)).max()


def test_written_estimates_sum_to_the_mixture(small_nets, song, tmp_path):
    given = sources(song, 44100)
    mixture = given.pop("mixture")
    expected = mixture.read(0, mixture.samples)
    for name, separator in (
        ("network", CNNSeparator("net", small_nets[22050, 9], cnn_options(hop=3, hpss=True, wiener=1))),
        ("oracle", oracle_ibm(REPRESENTATIONS[22050], "each")),
        ("floor", Mixture(0.25)),
    ):
        folder = tmp_path / name
        separate_to(folder, separator, mixture, 2.0, given if separator.needs_references else None)
        assert sorted(item.name for item in folder.iterdir()) == ["accompaniment.wav", "vocals.wav"]
        written = [WavSource(folder / f"{target}.wav") for target in ("vocals", "accompaniment")]
        assert [source.samples for source in written] == [mixture.samples] * 2
        total = sum(source.read(0, source.samples) for source in written)
        np.testing.assert_allclose(total, expected, atol=2e-7)


def test_an_interrupted_separation_leaves_nothing(song, tmp_path):
    class Broken(ArraySource):
        def read(self, start, stop):
            if start > 44100:
                raise DataError("the disk is gone")
            return super().read(start, stop)

    with pytest.raises(DataError, match="gone"):
        separate_to(tmp_path / "out" / "song", Mixture(0.25), Broken(song["mixture"], 44100), 1.0)
    assert list((tmp_path / "out").iterdir()) == []


def test_impossible_recordings(song):
    empty = ArraySource(np.zeros((0, 2), np.float32), 44100)
    with pytest.raises(DataError, match="no audio"):
        list(chunks(Mixture(0.25), empty, 2.0))
    oracle = oracle_ibm(REPRESENTATIONS[44100], "shared")
    for references in (None, {}):
        with pytest.raises(DataError, match="oracle_ibm needs the true stems"):
            list(chunks(oracle, ArraySource(song["mixture"], 44100), 2.0, references))


@pytest.mark.parametrize("samples", [1, 255, 44100, 88200, 88201])
def test_any_length(song, samples):
    given = {name: ArraySource(audio[:samples], 44100) for name, audio in song.items()}
    mixture = given.pop("mixture")
    pieces = list(chunks(oracle_ibm(REPRESENTATIONS[22050], "shared"), mixture, 1.0, given))
    assert sum(len(vocals) for _, vocals in pieces) == samples
    assert all(len(mixed) == len(vocals) > 0 for mixed, vocals in pieces)


def test_a_mono_recording(song):
    given = {name: ArraySource(audio[:, :1], 44100) for name, audio in song.items()}
    mixture = given.pop("mixture")
    pieces = list(chunks(oracle_ibm(REPRESENTATIONS[22050], "shared"), mixture, 2.0, given))
    assert {vocals.shape[1] for _, vocals in pieces} == {1}


@pytest.mark.parametrize("method", ["floor", "oracle"])
def test_memory_does_not_grow_with_the_recording(tmp_path, method):
    """The oracle works at another rate than the recording, at another level, and beyond its ends."""
    small = Representation(sample_rate=8820, frame_size=256, win_length=256, hop_length=128)
    separator = Mixture(0.25) if method == "floor" else oracle_ibm(small, "shared")
    separator.continued, separator.level = method == "oracle", 0.2

    def peak(minutes: float) -> int:
        references = {"vocals": Endless(60 * minutes, 1), "accompaniment": Endless(60 * minutes, 2)}
        tracemalloc.start()
        folder = tmp_path / str(minutes)
        separate_to(folder, separator, Endless(60 * minutes, 3), 10.0, references if method == "oracle" else None)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert WavSource(folder / "vocals.wav").samples == round(minutes * 60 * 8000)
        return most

    peak(0.2)  # whatever is loaded once
    short, long = peak(2), peak(20)
    assert long < 1.2 * short
    assert short < 20 * 60 * 8000 * 4 / 2, "not even half of the long recording"


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
    audio = {key: source.read(0, source.samples) for key, source in (true or {}).items()}
    whole = separated(separator, mixture.read(0, mixture.samples), rate, audio)
    chunked = np.concatenate(pieces)
    assert chunked.shape == whole.shape and chunked.dtype == whole.dtype == np.float32
    assert np.abs(whole).max() > 0.02
    np.testing.assert_allclose(chunked, whole, atol=1e-5)


# Nets: the same in chunks, at the ends as inside a song, shifted in time, at any gain

NETS = ("cnn", "cnn of nine frames", "unet")
RATES = (44100, 16000, 48000, 22050, 8000, 32000, 96000)


@pytest.fixture(scope="module")
def net(nets, unet):
    """A net by name; with a level it hears every recording at that."""
    built = {
        "cnn with a gate": CNNSeparator("net", nets[1], cnn_options()),
        "cnn": CNNSeparator("net", nets[1], cnn_options(gate=0.0)),
        "cnn of nine frames": CNNSeparator("net", nets[9], cnn_options(gate=0.0, hop=9, channels="each")),
        "unet": UNetSeparator("unet_separator", unet),
    }

    def make(name, level=None):
        separator = copy(built[name])
        separator.level = level
        return separator

    return make


@pytest.mark.parametrize("name, rate", [*(("unet", rate) for rate in RATES), *product(NETS[:2], RATES[::2])])
def test_chunks_are_as_the_whole_at_every_rate(net, song, name, rate):
    audio = resample(song["mixture"], 44100, rate)[rate : 5 * rate // 2 + 77]
    whole = separated(net(name, 0.1), audio, rate)
    np.testing.assert_allclose(separated(net(name, 0.1), audio, rate, chunk=0.6), whole, atol=1e-5)
    assert np.abs(whole).max() > 0.02 and np.abs(audio - whole).max() > 0.02


def edges(came, expected, rate):
    """Level of the first and of the last 30 ms beside that which is expected."""
    length = round(0.03 * rate)
    for edge in (slice(0, length), slice(-length, None)):
        yield np.linalg.norm(came[edge]) / np.linalg.norm(expected[edge])


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
@pytest.mark.parametrize("name", NETS)
def test_the_ends_are_as_inside_a_song_that_goes_on_like_that(net, song, name, rate):
    """For each number of frames over a multiple of those that are pooled, in one chunk and in two."""
    audio, separator = resample(song["mixture"], 44100, rate)[rate : 3 * rate // 2], net(name)
    # The longer song begins before by a multiple of the net's frames, as nearly as the rate allows.
    step = separator.alignment(rate) / separator.sample_rate * rate
    more = round(np.ceil(0.2 * rate / step) * step)
    for over in range(8) if name == "unet" else (0, 3):
        piece = audio[: len(audio) - round(over * 256 * rate / 44100) - 77]
        before, after = continuation(piece[::-1], more, rate)[::-1], continuation(piece, more, rate)
        expected = separated(separator, np.concatenate([before, piece, after]), rate)[more : more + len(piece)]
        for chunk in (10.0, 0.3):
            came = separated(separator, piece, rate, chunk=chunk)
            assert [*edges(came, expected, rate)] == pytest.approx([1, 1], rel=0.05)


def test_the_ends_of_passages_are_as_in_the_song(net, song):
    """What really follows is unknown, so the level at an end varies by some dB; but it is not lower or higher."""
    audio, separator, ratios = song["mixture"], net("unet"), []
    whole = separated(separator, audio, 44100)
    for number in range(16):  # the number of frames over a multiple of eight is 0 to 7, twice
        first = 44100 + number * 8 * 1024
        last = first + 44100 // 2048 * 2048 + number * 256 + 99
        ratios.append([*edges(separated(separator, audio[first:last], 44100), whole[first:last], 44100)])
    assert [*np.median(ratios, axis=0)] == pytest.approx([1, 1], rel=0.05), ratios
    assert np.min(ratios) > 0.5 and np.max(ratios) < 2


@pytest.mark.parametrize("name", NETS)
def test_a_shift_by_whole_frames_shifts_the_estimate(net, song, name):
    audio, separator = song["mixture"][44100:132300], net(name)
    step, context = separator.alignment(44100) * 44100 // separator.sample_rate, 30000
    shift = 5 * step
    whole, part = separated(separator, audio, 44100), separated(separator, audio[shift:], 44100)
    np.testing.assert_allclose(part[context:], whole[shift + context :], atol=1e-5)
    # Silence before a song changes neither the level nor, after the sound of its beginning, the estimate.
    quiet = np.concatenate([np.zeros((4410 * step // np.gcd(4410, step), 2), np.float32), audio])
    came = separated(net(name, 0.1), quiet, 44100)[len(quiet) - len(audio) :]
    np.testing.assert_allclose(came[context:], separated(net(name, 0.1), audio, 44100)[context:], atol=1e-4)


@pytest.mark.parametrize("gain", [0.01, 0.3, 10.0])
@pytest.mark.parametrize("name", [*NETS, "cnn with a gate"])
def test_a_net_hears_a_recording_at_any_gain_alike(net, excerpt, name, gain):
    audio, separator = excerpt["mixture"], net(name, 0.1)
    expected = separated(separator, audio, 44100)
    came = separated(separator, np.float32(gain) * audio, 44100, chunk=0.7)
    np.testing.assert_allclose(came / gain, expected, atol=1e-4)
    unknown = separated(net(name), np.float32(gain) * audio, 44100)  # as a net of an earlier version
    assert np.abs(unknown / gain - expected).max() > 1e-3


@pytest.mark.parametrize("name", NETS)
def test_a_net_leaves_silence_alone(net, name):
    assert not separated(net(name, 0.1), np.zeros((30000, 2), np.float32), 48000).any()
