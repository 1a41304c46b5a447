"""Chunks: no seams, no growth of memory, and estimates that sum to the mixture."""

from __future__ import annotations

import tracemalloc

import keras
import numpy as np
import pytest

from svs.audio.convert import resample
from svs.audio.sources import ArraySource, WavSource
from svs.config.schema import Representation
from svs.errors import DataError
from svs.networks import archive
from svs.separators.chunking import chunks, separate_to
from svs.separators.cnn import CNNSeparator
from svs.separators.mixture import Mixture
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
def nets(tmp_path_factory):
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
def test_networks_have_no_seams(nets, song, ours, rate, width, changes):
    whole, chunked = whole_and_chunked(CNNSeparator("net", nets[ours, width], cnn_options(**changes)), song, rate)
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
def test_wiener_differs_from_chunk_to_chunk_but_little(nets, song, iterations):
    """Spatial covariances are of the chunk: the one option whose estimate depends on how long a chunk is."""
    separator = CNNSeparator("net", nets[44100, 9], cnn_options(wiener=iterations))
    whole, chunked = whole_and_chunked(separator, song, 44100, 2.0)
    ratio = 10 * np.log10(np.sum((whole - chunked) ** 2) / np.sum(whole**2))
    assert -60 < ratio < -15, f"chunked and whole differ by {ratio:.1f} dB"
    # No clicks where chunks meet: the largest step between samples is not larger than in the whole estimate.
    assert np.abs(np.diff(chunked, axis=0)).max() < 1.1 * np.abs(np.diff(whole, axis=0)).max()


def test_written_estimates_sum_to_the_mixture(nets, song, tmp_path):
    given = sources(song, 44100)
    mixture = given.pop("mixture")
    expected = mixture.read(0, mixture.samples)
    for name, separator in (
        ("network", CNNSeparator("net", nets[22050, 9], cnn_options(hop=3, hpss=True, wiener=1))),
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
