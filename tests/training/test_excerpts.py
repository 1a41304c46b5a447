"""Excerpts: cut where they should be, drawn as they should be, and never the whole store in memory."""

from __future__ import annotations

import itertools
import tracemalloc
from collections import Counter

import numpy as np
import pytest
import zarr

from svs.config.schema import Draw
from svs.data.dataset import Dataset, Manifest
from svs.errors import DataError
from svs.features import extraction
from svs.features.store import Spectrograms
from svs.runtime.files import Scratch
from svs.training import excerpts
from svs.training.excerpts import TRAIN, VALID, Batches, draw


@pytest.fixture(scope="module")
def path(tiny_set, small, tmp_path_factory):
    folder, manifest = tiny_set
    root = tmp_path_factory.mktemp("excerpts")
    extraction.extract(Dataset(folder, manifest), small.extract, root / "store", Scratch(root, "extract", "a"))
    return root / "store"


def drawing(per_track=30, valid=20, start=0.0, stop=None) -> Draw:
    return Draw(per_track=per_track, valid_per_track=valid, start_point=start, stop_point=stop)


@pytest.fixture
def batches(path, tmp_path):
    """Makes batches of the store, whose excerpts are gathered anew each time."""
    numbers = itertools.count()

    def make(mode="SVS", split=TRAIN, settings=None, batch_size=16, label_width=9, seed=5) -> Batches:
        group, folder = path / ("vad" if mode == "VAD" else "masks"), tmp_path / str(next(numbers))
        return Batches(group, mode, split, settings or drawing(), batch_size, label_width, seed, folder)

    return make


def epoch(made: Batches) -> tuple[np.ndarray, np.ndarray]:
    x, y = zip(*(made[index] for index in range(len(made))), strict=True)
    return np.concatenate(x), np.concatenate(y)


# What an excerpt is


@pytest.mark.parametrize("label_width", [1, 3, 9])
def test_an_excerpt_is_a_slice_of_the_track_and_its_label_the_centre_of_the_mask(path, label_width, batches):
    made = batches(split=VALID, label_width=label_width)
    spectrograms = Spectrograms(path / "masks")
    x, y = epoch(made)
    places = draw(spectrograms, "SVS", VALID, drawing(), 5)
    assert x.shape == (20, 257, 9, 1) and y.shape == (20, 257, label_width)
    assert x.dtype == y.dtype == np.float32
    wholes = {
        track: [spectrograms.array(track, name)[:].astype(np.float32) for name in ("mixture", "mask")]
        for track, _, _ in places
    }
    for (track, centre, _), came, label in zip(places, x, y, strict=True):
        mixture, mask = wholes[track]
        reach = label_width // 2
        for column in range(9):
            np.testing.assert_array_equal(came[:, column, 0], mixture[centre - 4 + column])
        for column in range(label_width):
            np.testing.assert_array_equal(label[:, column], mask[centre - reach + column])
    assert set(np.unique(y)) == {0.0, 1.0}


def test_autoencoder_excerpts_are_their_own_target(path, batches):
    spectrograms = Spectrograms(path / "masks")
    x, y = epoch(batches("DAE", VALID, label_width=None))
    for (track, centre, _), came, target in zip(draw(spectrograms, "DAE", VALID, drawing(), 5), x, y, strict=True):
        expected = spectrograms.array(track, "vocals")[:].astype(np.float32)[centre - 4 : centre + 5].T
        np.testing.assert_array_equal(came[..., 0], expected)
        np.testing.assert_array_equal(target, expected)
        assert came.max() > 0


def test_autoencoder_targets_are_clipped_and_inputs_are_not(tmp_path):
    root = zarr.open_group(tmp_path / "masks", mode="w")
    loud = np.linspace(0, 3, 20 * 33, dtype=np.float32).reshape(20, 33)
    root.require_group("a").create_array("vocals", data=loud)
    root.attrs.put(
        {
            "representation": {"sample_rate": 8000, "frame_size": 64, "win_length": 64, "hop_length": 32, "width": 9},
            "index": {"DAE": [["a", "valid", 4, 15, 1]]},
        }
    )
    x, y = epoch(Batches(tmp_path / "masks", "DAE", VALID, drawing(), 4, None, 0, tmp_path))
    assert x.max() > 2 and y.max() == 1
    np.testing.assert_array_equal(y, np.minimum(x[..., 0], 1))


def test_voice_activity_excerpts_carry_the_label_of_their_centre(path, batches):
    spectrograms = Spectrograms(path / "vad")
    made = batches("VAD", VALID, drawing(valid=100))
    x, y = epoch(made)
    assert x.shape == (100, 257, 25, 1) and y.shape == (100, 1)
    for (track, centre, label), came, target in zip(
        draw(spectrograms, "VAD", VALID, drawing(valid=100), 5), x, y, strict=True
    ):
        assert target[0] == label == spectrograms.array(track, "label")[centre]
        expected = spectrograms.array(track, "mixture")[centre - 12 : centre + 13].astype(np.float32).T
        np.testing.assert_array_equal(came[..., 0], expected)
    assert set(y[:, 0]) == {0.0, 1.0}


@pytest.mark.parametrize("label_width", [2, 11])
def test_an_impossible_label_is_refused(label_width, batches):
    with pytest.raises(DataError, match=f"label_width {label_width}"):
        batches(label_width=label_width)


# Which excerpts are drawn


@pytest.mark.parametrize("mode, group", [("SVS", "masks"), ("DAE", "masks"), ("VAD", "vad")])
def test_drawing_has_no_duplicates_and_honours_the_number(tiny_set, path, mode, group):
    spectrograms = Spectrograms(path / group)
    for split, count in ((TRAIN, 30), (VALID, 20)):
        chosen = draw(spectrograms, mode, split, drawing(), 1)
        assert len(set(chosen)) == len(chosen)
        names = {track.name for track in tiny_set[1].split(split)}
        assert Counter(track for track, _, _ in chosen) == dict.fromkeys(names, count)
        for track, centre, label in chosen:
            assert any(
                run.track == track and run.first <= centre <= run.last and run.label == label
                for run in spectrograms.runs(mode, split)
            )


def test_a_short_track_gives_all_it_has(path):
    spectrograms = Spectrograms(path / "masks")
    chosen = draw(spectrograms, "SVS", TRAIN, drawing(per_track=10_000), 1)
    assert sorted(chosen) == sorted(
        (run.track, frame, run.label)
        for run in spectrograms.runs("SVS", TRAIN)
        for frame in range(run.first, run.last + 1)
    )


def test_drawing_reaches_the_whole_passage_and_nothing_outside_it(path):
    spectrograms = Spectrograms(path / "masks")
    seconds = np.array([centre for _, centre, _ in draw(spectrograms, "SVS", TRAIN, drawing(10_000, 1, 1.0, 2.0), 1)])
    seconds = seconds * 256 / 22050
    assert 1.0 - 0.006 <= seconds.min() < 1.02 and 1.98 < seconds.max() <= 2.0 + 0.006  # half a hop is 5.8 ms
    everywhere = np.array([centre for _, centre, _ in draw(spectrograms, "SVS", TRAIN, drawing(100), 1)]) * 256 / 22050
    assert everywhere.min() < 0.5 and everywhere.max() > 2.5


def test_an_empty_passage_is_a_data_error(path):
    with pytest.raises(DataError, match="100.0 s"):
        draw(Spectrograms(path / "masks"), "SVS", TRAIN, drawing(start=100.0), 1)


def test_drawing_depends_on_the_seed_alone(path):
    first, again, other = (draw(Spectrograms(path / "masks"), "SVS", TRAIN, drawing(), seed) for seed in (3, 3, 4))
    assert first == again != other


def test_one_more_track_leaves_the_draws_of_the_others_alone(tiny_set, small, path, tmp_path):
    folder, manifest = tiny_set
    fewer = Manifest("tiny", [track for track in manifest.tracks if track != manifest.split("train")[0]])
    extraction.extract(Dataset(folder, fewer), small.extract, tmp_path / "store", Scratch(tmp_path, "extract", "a"))
    left = draw(Spectrograms(tmp_path / "store" / "masks"), "SVS", TRAIN, drawing(), 8)
    both = draw(Spectrograms(path / "masks"), "SVS", TRAIN, drawing(), 8)
    assert len(left) == 30 and len(both) == 60
    assert left == [place for place in both if place[0] == left[0][0]]


# Epochs


def keys(made: Batches) -> list[bytes]:
    x, y = epoch(made)
    return [excerpt.tobytes() + target.tobytes() for excerpt, target in zip(x, y, strict=True)]


def test_epochs_hold_the_same_excerpts_in_another_order(batches):
    made = batches()
    assert made.excerpts == 60 and len(made) == 4
    assert [len(made[index][0]) for index in range(4)] == [16, 16, 16, 12]
    first = keys(made)
    made.epoch = 1
    second = keys(made)
    assert first != second and sorted(first) == sorted(second) and len(set(first)) == 60
    made.epoch = 0
    assert keys(made) == first
    resumed = batches()
    resumed.epoch = 1
    assert keys(resumed) == second, "the order depends on more than seed and epoch"
    assert sorted(keys(batches(seed=6))) != sorted(first)


@pytest.mark.parametrize("mode", ["SVS", "DAE", "VAD"])
def test_the_reader_shuffles_as_one_does_in_memory(batches, mode, monkeypatch):
    """All excerpts loaded, and permuted as a whole by the epoch's generator: the same batches, bit for bit."""
    made = batches(mode, label_width=9 if mode == "SVS" else None)
    with monkeypatch.context() as patch:
        # In the order in which they were drawn, which is that of an epoch that isn't shuffled.
        patch.setattr(made, "order", lambda: np.arange(made.excerpts))
        x, y = epoch(made)
    for number in (0, 3):
        made.epoch = number
        order = np.random.default_rng([5, 2, number]).permutation(len(x))
        assert sorted(order) == list(range(made.excerpts)) and not np.array_equal(order, np.arange(len(x)))
        for index in range(len(made)):
            chosen = order[16 * index : 16 * (index + 1)]
            came_x, came_y = made[index]
            np.testing.assert_array_equal(came_x, x[chosen])
            np.testing.assert_array_equal(came_y, y[chosen])


def test_validation_is_not_shuffled(batches):
    made = batches(split=VALID)
    first = keys(made)
    made.epoch = 7
    assert keys(made) == first


# Cut once, read often


@pytest.mark.parametrize("mode, label_width", [("SVS", 1), ("SVS", 9), ("DAE", 3), ("VAD", 1)])
def test_excerpts_do_not_depend_on_how_much_is_cut_at_a_time(batches, mode, label_width, monkeypatch):
    for split in (TRAIN, VALID):
        wide = batches(mode, split, label_width=label_width)
        with monkeypatch.context() as patch:
            patch.setattr(excerpts, "_SLAB", 7)
            narrow = batches(mode, split, label_width=label_width)
        for number in (0, 3):
            wide.epoch = narrow.epoch = number
            for ours, theirs in zip(epoch(narrow), epoch(wide), strict=True):
                assert ours.dtype == theirs.dtype == np.float32
                np.testing.assert_array_equal(ours, theirs)


def test_an_interrupted_training_does_not_gather_again(path, tmp_path, monkeypatch):
    plain, _ = epoch(Batches(path / "masks", "SVS", TRAIN, drawing(), 16, 9, 5, tmp_path))
    monkeypatch.setattr(excerpts, "written", None)
    again = Batches(path / "masks", "SVS", TRAIN, drawing(), 16, 9, 5, tmp_path)
    np.testing.assert_array_equal(epoch(again)[0], plain)


def test_gathering_does_not_load_the_store(tmp_path):
    """Memory depends on a piece of a track, not on the tracks: four times as long takes no more."""
    peaks = []
    for frames in (2000, 8000):
        store = zarr.open_group(tmp_path / str(frames), mode="w")
        group = store.require_group("a")
        for name, dtype in (("mixture", np.float16), ("mask", bool)):
            array = group.create_array(
                name, shape=(frames, 1025), dtype=dtype, chunks=(250, 1025), shards=(frames, 1025)
            )
            array[:] = 1
        store.attrs.put(
            {
                "representation": {
                    "sample_rate": 44100,
                    "frame_size": 2048,
                    "win_length": 2048,
                    "hop_length": 512,
                    "width": 9,
                },
                "index": {"SVS": [["a", "train", 4, frames - 5, 0]]},
            }
        )
        tracemalloc.start()
        made = Batches(tmp_path / str(frames), "SVS", TRAIN, drawing(per_track=frames), 16, 9, 5, tmp_path / "cut")
        made[len(made) // 2]
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        (tmp_path / "cut" / "SVS-train-9.bin").unlink()
    assert peaks[1] < 1.3 * peaks[0] < 30e6
