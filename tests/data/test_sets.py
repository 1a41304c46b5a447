"""Several data sets at once: their manifest, their audio, the check for leaks across them, and their weights."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
import soundfile

from svs import networks
from svs.config import schema
from svs.config.schema import Download
from svs.data import inspection
from svs.data.dataset import Dataset, Manifest
from svs.errors import DataError, SettingsError
from svs.features import extraction
from svs.features.store import Spectrograms, Stems
from svs.runtime.files import Scratch
from svs.training import excerpts
from svs.training.mixtures import Mixes
from tests.helpers import REPOSITORY

RATES = {"ours": 22050, "theirs": 16000, "choir": 22050}  # Hz, of the sets
SEEDS = iter(range(10**6))


def song(folder, seconds=1.0, rate=22050, seed=None, suffix="wav"):
    """A song of vocals and band; returns the vocals."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(next(SEEDS) if seed is None else seed)
    vocals, band = random.integers(-3000, 3000, (2, round(seconds * rate))).astype(np.int16)
    soundfile.write(folder / f"vocals.{suffix}", vocals, rate, subtype="PCM_16")
    soundfile.write(folder / "band.wav", band, rate, subtype="PCM_16")
    return vocals.astype(np.float32) / 32768


@pytest.fixture
def sets(settings, tmp_path):
    """Settings of three sets, the last one to train on alone; folders get songs by `song`."""
    raw = settings.download.model_dump() | {"dataset": "ours", "path": tmp_path / "ours", "tiny": None}
    raw["layout"] = "folders"
    raw["sets"] = {name: {"path": tmp_path / name, "layout": "folders"} for name in ("theirs", "choir")}
    raw["sets"]["choir"]["split"] = {"by": "train"}
    return Download.model_validate(raw)


def filled(sets, seconds=1.0) -> Download:
    """The settings, with songs in every folder; `One` is a training song of two sets."""
    for name, splits in {"ours": ("train", "valid", "test"), "theirs": ("train", "test"), "choir": ("test",)}.items():
        for split in splits:
            song(sets.path.parent / name / split / f"{name} {split}", seconds, RATES[name])
    for name in ("theirs", "ours"):
        song(sets.path.parent / name / "train" / "One", seconds, RATES[name])
    return sets


def inspected(sets) -> Manifest:
    return inspection.inspect_each(sets, 1, {one.dataset: one.path for one in sets.each()})


def opened(sets, manifest) -> Dataset:
    return Dataset(sets.path, manifest, {one.dataset: one.path for one in sets.each()[1:]})


def test_every_set_gives_its_tracks(sets, here, tmp_path):
    manifest = inspected(filled(sets))
    manifest.require("train", "valid", "test")
    manifest.refuse_leaks()
    assert {name: {track.name: track.split for track in tracks} for name, tracks in manifest.datasets.items()} == {
        "ours": {"ours train": "train", "ours valid": "valid", "ours test": "test", "One": "train"},
        "theirs": {"theirs test": "test", "theirs train": "valid", "One (theirs)": "train"},  # drawn from two
        "choir": {"choir test": "train"},  # its own test song: it is said to be trained on
    }
    assert {track.subset for track in manifest.split("test")} == {"ours/test", "theirs/test"}
    manifest.save(tmp_path / "manifest.json")
    loaded = Manifest.load(tmp_path / "manifest.json")
    assert loaded.tracks == manifest.tracks and loaded.dataset == "ours, theirs, choir"
    for track in loaded.tracks:
        folder = sets.path.parent / track.dataset
        (vocals,) = folder.glob(f"*/{track.name.removesuffix(' (theirs)')}/vocals.wav")
        expected, rate = soundfile.read(vocals, dtype="float32")
        for data in (opened(sets, loaded), opened(sets, loaded).bare()):
            with data.open(track, ["vocals"]) as sources:
                assert (sources["vocals"].rate, track.rate) == (rate, RATES[track.dataset])
                np.testing.assert_array_equal(sources["vocals"].read(0, track.samples)[:, 0], expected)


def test_the_manifest_of_one_set_says_nothing_of_sets(sets, here, tmp_path):
    filled(sets)
    alone = sets.each()[0]
    inspected(alone).save(tmp_path / "each.json")
    inspection.inspect(alone, 1, alone.path).save(tmp_path / "one.json")
    assert (tmp_path / "each.json").read_bytes() == (tmp_path / "one.json").read_bytes()
    assert not any("dataset" in row for row in json.loads((tmp_path / "one.json").read_text())["tracks"])
    assert {track.subset for track in Manifest.load(tmp_path / "one.json").tracks} == {"train", "test"}


@pytest.mark.parametrize("scored", ["theirs", "ours"])
def test_test_tracks_of_a_set_that_is_not_scored_are_left_out(sets, here, scored):
    everything = inspected(filled(sets))
    found = inspected(sets.model_copy(update={"scored": (scored,)}))
    assert [track.name for track in found.split("test")] == [f"{scored} test"]
    kept = [track for track in everything.tracks if track.split != "test" or track.dataset == scored]
    assert found.tracks == kept, "the training tracks stay as they are"


def test_a_set_that_is_not_trained_on_leaves_the_training_as_it_is(sets, here):
    alone = [track.name for track in inspected(filled(sets).each()[0]).tracks if track.split != "test"]
    found = inspected(sets.model_copy(update={"trained": ("ours",)}))
    assert [track.name for track in found.tracks if track.split != "test"] == alone
    assert [track.name for track in found.split("test")] == ["ours test", "theirs test"]


def test_the_same_music_in_two_sets_is_refused(sets, here):
    """Between other stems, in another format and under another name."""
    filled(sets)
    song(sets.path / "test" / "heard", seed=5)
    song(sets.path.parent / "choir" / "a" / "unheard", seed=5, suffix="flac")
    soundfile.write(sets.path.parent / "choir" / "a" / "unheard" / "band.wav", np.ones(22050, np.int16), 22050)
    with pytest.raises(DataError, match="unheard has the decoded vocals of heard: .* must not be trained on"):
        inspected(sets).refuse_leaks()
    inspected(sets.model_copy(update={"scored": ("theirs",)})).refuse_leaks()


def test_the_same_name_on_both_sides_is_refused(sets, here):
    """Data sets share songs in other encodings, whose samples differ."""
    filled(sets)
    song(sets.path.parent / "choir" / "ours test")
    with pytest.raises(DataError, match="ours test has the name of ours test"):
        inspected(sets).refuse_leaks()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"scored": ["choir", "nobody"]},
            r"scored \['choir', 'nobody'\]: expected one or more of tiny, choir, or null",
        ),
        ({"trained": "nobody"}, r"trained \['nobody'\]: expected one or more of tiny, choir, or null for all"),
        ({"scored": []}, "expected one or more of tiny, choir"),
        ({"sets": {"choir": {"split": {"by": "train"}}}}, "dataset choir needs a `path` or an `archive`"),
        ({"sets": {"tiny": {"path": "/songs"}}}, "expected other names than that of the first, tiny"),
        ({"sets": {"a/b": {"path": "/songs"}}}, r"download\.sets\.a/b"),
        ({"sets": {"choir": {"path": "/songs", "split": {"by": "singer"}}}}, r"download\.sets\.choir\.split\.by"),
        (
            {"sets": {"choir": {"path": "/songs", "weight": 2}}},
            "download.sets.choir.weight: there is no such parameter",
        ),
    ],
)
def test_impossible_sets_are_refused(change, says):
    raw = schema.read(REPOSITORY / "params.yaml")
    given = {"download": {"sets": {"choir": {"path": "/songs"}}, **change}}
    with pytest.raises(SettingsError, match=says):
        schema.resolve(raw, given)


def test_one_set_is_named_without_a_list():
    raw = schema.read(REPOSITORY / "params.yaml")
    download = schema.resolve(raw, {"download": {"sets": {"choir": {"path": "/songs"}}, "scored": "choir"}}).download
    assert download.scored == ("choir",) and [download.keeps(name, "test") for name in ("tiny", "choir")] == [
        False,
        True,
    ]
    (tiny, choir) = download.each()
    assert (choir.dataset, choir.layout, choir.split.by, choir.sets) == ("choir", "auto", "own", {})
    assert choir.split.test_fraction == tiny.split.test_fraction and tiny.layout == download.layout


# Weights


@pytest.fixture
def store(sets, here, small, tmp_path):
    data = opened(sets, inspected(filled(sets, seconds=2.0)))
    extraction.extract(data, small.extract, tmp_path / "store", Scratch(tmp_path, "extract", "a"))
    return tmp_path / "store"


def drawn(store, **weights) -> Counter:
    """Training excerpts by data set."""
    settings = schema.Draw(per_track=20, valid_per_track=5, start_point=0.0, stop_point=None, weights=weights)
    spectrograms = Spectrograms(store / "masks")
    found = excerpts.draw(spectrograms, "SVS", "train", settings, 3)
    return Counter({"One": "ours", "One (theirs)": "theirs"}.get(track, track.split()[0]) for track, *_ in found)


def test_weights_multiply_the_excerpts_of_a_set(store):
    even = drawn(store)
    assert even["ours"] == 40 and even["choir"] == 20 and even["theirs"] > 0
    assert drawn(store, choir=0.5, theirs=0) == {"ours": 40, "choir": 10}
    assert drawn(store, choir=1.0) == even


def mixture_training(settings, **weights):
    given = settings.train["unet_separator"] | {"epochs": 1, "mixes": 400, "frames": 16, "weights": weights}
    given["representation"] = {"sample_rate": 44100, "frame_size": 1024, "win_length": 1024, "hop_length": 512}
    return networks.training(
        "unet_separator", settings.model_copy(update={"train": settings.train | {"unet_separator": given}})
    )


def test_weights_say_how_often_songs_are_mixed(store, settings):
    stems = Stems(store / "stems")

    def counted(**weights) -> Counter:
        mixes = Mixes(stems, ("train",), mixture_training(settings, **weights), 7)
        random = np.random.default_rng(1)
        return Counter(mixes._place(random)[0] for _ in range(4000))

    even, uneven = counted(), counted(ours=0.5, theirs=0)
    assert set(even) == set(stems.tracks("train"))
    assert max(even.values()) / min(even.values()) < 1.2
    assert set(uneven) == {"ours train", "One", "choir test"}
    for name, share in (("ours train", 0.25), ("One", 0.25), ("choir test", 0.5)):
        assert uneven[name] / 4000 == pytest.approx(share, abs=0.03)
    with pytest.raises(DataError, match="expected one above 0; no song would be drawn"):
        counted(ours=0, theirs=0, choir=0)


def test_a_weight_of_a_set_that_is_not_trained_on_is_refused(store, sets, small, tmp_path):
    with pytest.raises(DataError, match="weights name nobody, but its tracks come from choir, ours, theirs"):
        drawn(store, nobody=2.0)
    alone = inspection.inspect(sets.each()[0], 1, sets.path)
    extraction.extract(Dataset(sets.path, alone), small.extract, tmp_path / "alone", Scratch(tmp_path, "extract", "b"))
    with pytest.raises(DataError, match="its tracks come from one data set alone"):
        drawn(tmp_path / "alone", ours=2.0)
