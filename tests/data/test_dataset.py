"""Opening a data set: the samples of the real musdb reader, and a manifest that holds."""

import json
import shutil

import pytest
import soundfile

from svs.data import songs as data_songs
from svs.data.dataset import Dataset, Manifest, Track
from svs.errors import DataError
from tests.helpers.datasets import (
    RATE,
    assert_same_as_musdb,
    empty_subsets,
    inspected,
    text_stem,
    write_stem,
    write_track,
)


def test_wav_samples_are_those_of_musdb(tiny_set):
    folder, manifest = tiny_set
    assert_same_as_musdb(folder, manifest, [manifest.split("train", "valid")[0], manifest.split("test")[0]])


def test_a_stem_file_has_the_samples_of_musdb(download, tmp_path, here):
    empty_subsets(download.path)
    write_stem(download.path, "train", "The Easton Ellises - Falcon 69")
    manifest = inspected(download)
    assert_same_as_musdb(download.path, manifest, manifest.tracks)


def test_only_what_is_asked_for_is_decoded(tiny_set):
    folder, manifest = tiny_set
    with Dataset(folder, manifest).open(manifest.tracks[0], ["vocals"]) as sources:
        assert list(sources) == ["vocals"]


def test_a_manifest_is_loaded_as_it_was_saved(tiny_set, tmp_path):
    _, manifest = tiny_set
    manifest.save(tmp_path / "manifest.json")
    loaded = Manifest.load(tmp_path / "manifest.json")
    assert loaded.dataset == manifest.dataset and loaded.tracks == manifest.tracks
    loaded.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "manifest.json").read_bytes()
    rows = json.loads((tmp_path / "manifest.json").read_text())["tracks"]
    assert [row["seconds"] for row in rows] == [round(track.samples / RATE, 3) for track in manifest.tracks]
    assert not any(str(value).startswith("/") for row in rows for value in row.values())


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        '{"dataset": "tiny"}',
        '{"dataset": "tiny", "tracks": [{"name": "a"}]}',
        '{"dataset": "tiny", "tracks": [{"nome": "a"}]}',
        "[]",
    ],
)
def test_a_manifest_of_another_form_is_refused(tmp_path, content):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(DataError, match=r"manifest\.json: .*dvc repro"):
        Manifest.load(tmp_path / "manifest.json")


def test_no_manifest(tmp_path):
    with pytest.raises(DataError, match=r"manifest\.json: no such file; run `dvc repro` first"):
        Manifest.load(tmp_path / "manifest.json")


def test_a_track_that_changed_is_refused(download, here):
    folder = write_track(download.path, "train", "a")
    (download.path / "test").mkdir()
    manifest = inspected(download)
    audio, rate = soundfile.read(folder / "bass.wav", dtype="int16")
    audio[1234, 1] ^= 1  # the smallest change there is
    soundfile.write(folder / "bass.wav", audio, rate, subtype="PCM_16")
    with (
        pytest.raises(DataError, match=r"train/a: changed since the manifest was written; run `dvc repro --force"),
        Dataset(download.path, manifest).open(manifest.tracks[0]),
    ):
        pass


@pytest.mark.parametrize("gone", ["vocals.wav", None])
def test_a_track_that_is_gone_is_refused(download, here, gone):
    folder = write_track(download.path, "train", "a")
    (download.path / "test").mkdir()
    manifest = inspected(download)
    if gone:
        (folder / gone).unlink()
    else:
        shutil.rmtree(folder)
    with (
        pytest.raises(
            DataError, match="train/a: the track is in the manifest, but its files are missing; restore them"
        ),
        Dataset(download.path, manifest).open(manifest.tracks[0]),
    ):
        pass


def test_no_litter_is_left_by_decoding(download, here, tmp_path, monkeypatch):
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    monkeypatch.setattr(data_songs.tempfile, "tempdir", str(scratch))
    empty_subsets(download.path)
    write_stem(download.path, "train", "good")
    text_stem(download.path, "text")
    manifest = inspected(download.model_copy(update={"on_bad_track": "skip"}))
    with Dataset(download.path, manifest).open(manifest.tracks[0], ["vocals"]):
        assert len(list(scratch.iterdir())) == 1
    assert list(scratch.iterdir()) == []


def test_a_track_knows_its_seconds():
    assert Track("a", "train", 66150, RATE, 2, "", False).seconds == 1.5


def test_a_manifest_without_a_split_that_is_needed_is_refused(tiny_set):
    _, manifest = tiny_set
    manifest.require("train", "valid", "test")
    without = Manifest("tiny", manifest.split("train", "valid"))
    with pytest.raises(DataError, match="no test track among the 3 usable ones; training needs at least two"):
        without.require("train", "valid", "test")
