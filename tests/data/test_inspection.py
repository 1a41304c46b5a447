"""Inspection: musdb's splits, every broken track named, and the stage that does it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import musdb
import numpy as np
import pytest
import yaml

from svs.data.dataset import Manifest
from svs.errors import DataError
from tests.helpers import REPOSITORY
from tests.helpers.datasets import (
    BAD,
    BAD_STEMS,
    BAD_WAVS,
    assert_same_as_musdb,
    cut_stem,
    empty_subsets,
    inspected,
    listed,
    missing_stem,
    no_bytes,
    not_a_number,
    rewrite,
    write_stem,
    write_track,
)

OFFICIAL = yaml.safe_load((Path(musdb.__path__[0]) / "configs" / "mus.yaml").read_text())["validation_tracks"]
PREVIEWED = {"A Classic Education - NightOwl": "train", "ANiMAL - Rockshow": "valid", "Music Delta - Rock": "unused"}


def test_previews_have_musdbs_samples_and_splits(download, previews):
    names = {name: split for name, split in PREVIEWED.items() if (previews / "train" / f"{name}.stem.mp4").is_file()}
    for name in names:
        write_stem(download.path, "train", name, previews / "train" / f"{name}.stem.mp4")
    test = sorted((previews / "test").glob("*.stem.mp4"))[0]
    write_stem(download.path, "test", test.name.removesuffix(".stem.mp4"), test)
    manifest = inspected(download)
    assert {track.name: track.split for track in manifest.tracks if track.subset == "train"} == names
    assert [track.name for track in manifest.split("test")] == [test.name.removesuffix(".stem.mp4")]
    assert_same_as_musdb(download.path, manifest, manifest.split("test"))


@pytest.mark.slow
def test_all_previews_are_split_as_musdb_does(download, previews):
    manifest = inspected(download.model_copy(update={"path": previews}))
    present = {
        subset: {item.name.removesuffix(".stem.mp4") for item in (previews / subset).glob("*.stem.mp4")}
        for subset in ("train", "test")
    }
    unused = {name for name in present["train"] if name.startswith("Music Delta")}
    expected = {
        "valid": present["train"] & set(OFFICIAL),
        "unused": unused,
        "test": present["test"],
        "train": present["train"] - set(OFFICIAL) - unused,
    }
    for split, names in expected.items():
        assert {track.name for track in manifest.split(split)} == names
    if len(present["train"]) == 94:
        assert [len(expected[split]) for split in ("train", "valid", "unused")] == [73, 14, 7]
    valid = musdb.DB(root=os.fspath(previews), subsets=["train"], split="valid")
    assert {track.name for track in valid} == expected["valid"]


def splits(manifest):
    return {track.name: track.split for track in manifest.tracks}


def test_musdbs_validation_tracks_and_exclusions(download, here):
    kinds = {
        "ANiMAL - Rockshow": "valid",
        "Young Griffo - Pennies": "valid",
        "Music Delta - Rock": "unused",
        "The Music Delta": "train",
        "b": "train",
    }
    for name in kinds:
        write_track(download.path, "train", name)
    write_track(download.path, "test", "Music Delta - Gospel")  # excluded from training only
    assert splits(inspected(download)) == {**kinds, "Music Delta - Gospel": "test"}


def test_the_sets_own_validation_tracks_come_first(download, here):
    for name in ("ANiMAL - Rockshow", "a", "b"):
        write_track(download.path, "train", name)
    (download.path / "test").mkdir()
    assert splits(inspected(listed(download, "b"))) == {"ANiMAL - Rockshow": "train", "a": "train", "b": "valid"}


def test_validation_is_drawn_by_the_seed_where_nobody_names_it(download, here):
    for number in range(10):
        write_track(download.path, "train", f"track {number}", samples=50)
    write_track(download.path, "test", "test")
    drawn = {
        seed: frozenset(name for name, split in splits(inspected(download, seed=seed)).items() if split == "valid")
        for seed in range(6)
    }
    assert {len(names) for names in drawn.values()} == {2}  # 0.2 of 10
    assert len(set(drawn.values())) > 1
    again = splits(inspected(download, seed=3))
    assert {name for name, split in again.items() if split == "valid"} == drawn[3]
    assert again["test"] == "test"


def test_a_small_set_has_one_validation_track(download, here):
    for name in ("a", "b"):
        write_track(download.path, "train", name, samples=50)
    (download.path / "test").mkdir()
    assert sorted(splits(inspected(download)).values()) == ["train", "valid"]


@pytest.mark.parametrize("name", BAD)
def test_a_bad_track_ends_the_run_with_one_line(download, name):
    make, says = BAD[name]
    empty_subsets(download.path)
    make(download.path, name)
    with pytest.raises(DataError) as caught:
        inspected(download)
    message = str(caught.value)
    assert message.startswith(f"track train/{name}: ")
    assert says in message
    assert message.endswith("repair or remove it, or set download.on_bad_track: skip to leave it out")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("bad", "good"), [(BAD_WAVS, write_track), (BAD_STEMS, lambda root, subset, name: write_stem(root, subset, name))]
)
def test_bad_tracks_are_left_out_with_a_warning_each(download, here, caplog, bad, good):
    empty_subsets(download.path)
    good(download.path, "train", "a good one")
    good(download.path, "test", "z good one")
    for name, (make, _) in bad.items():
        make(download.path, name)
    manifest = inspected(download.model_copy(update={"on_bad_track": "skip"}))
    assert [track.name for track in manifest.tracks] == ["a good one", "z good one"]
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == len(bad)
    for name, (_, says) in bad.items():
        (line,) = [warning for warning in warnings if warning.startswith(f"left out train/{name}: ")]
        assert says in line and "\n" not in line


def test_a_set_without_one_usable_track(download, here):
    empty_subsets(download.path)
    no_bytes(download.path, "a")
    with pytest.raises(DataError, match="no track is usable; see the warnings above"):
        inspected(download.model_copy(update={"on_bad_track": "skip"}))


@pytest.mark.parametrize("action", ["error", "skip", "keep"])
def test_silent_vocals(download, here, caplog, action):
    write_track(download.path, "train", "sung")
    write_track(download.path, "train", "instrumental", silent=True)
    (download.path / "test").mkdir()
    # on_bad_track is set against it: the two switches don't touch each other.
    choices = {"on_silent_vocals": action, "on_bad_track": "skip" if action == "error" else "error"}
    download = download.model_copy(update=choices)
    if action == "error":
        with pytest.raises(
            DataError, match="track train/instrumental: its vocals are silent; .*set download.on_silent_vocals: skip"
        ):
            inspected(download)
        return
    kept = {track.name: track.silent_vocals for track in inspected(download).tracks}
    assert kept == ({"instrumental": True, "sung": False} if action == "keep" else {"sung": False})
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "instrumental" in warning and "its vocals are silent" in warning
    assert warning.startswith("left out") == (action == "skip")


@pytest.mark.parametrize(("peak", "silent"), [(3, True), (4, False)])
def test_vocals_below_80_decibels_are_silent(download, here, peak, silent):
    """-80 dBFS is 3.3 steps of 16 bits."""
    folder = write_track(download.path, "train", "a")
    (download.path / "test").mkdir()
    audio = np.zeros((2000, 2), dtype=np.int16)
    audio[777, 1] = -peak
    rewrite(folder, "vocals", audio)
    assert inspected(download).tracks[0].silent_vocals is silent


@pytest.fixture
def copy(tmp_path):
    """The repository's code and a params.yaml to change."""
    for name in ("stages", "svs"):
        shutil.copytree(REPOSITORY / name, tmp_path / "copy" / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "copy"


def run_download(copy, root, **options):
    raw = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    raw["profile"] = "sample"
    raw["profiles"]["sample"]["download"] = {"dataset": "sample", "path": str(root), **options}
    (copy / "params.yaml").write_text(yaml.safe_dump(raw))
    return subprocess.run(
        [sys.executable, "-m", "stages.download"], cwd=copy, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize(
    ("make", "says", "code"),
    [
        (lambda root: None, "there is no such folder", 3),
        (lambda root: (empty_subsets(root), cut_stem(root, "cut")), "track train/cut: ", 3),
        (lambda root: (empty_subsets(root), not_a_number(root, "nan")), "track train/nan: drums holds NaN", 3),
    ],
)
def test_the_stage_says_one_line_and_writes_nothing(copy, tmp_path, make, says, code):
    make(tmp_path / "set")
    done = run_download(copy, tmp_path / "set")
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert says in error
    assert done.stderr.splitlines()[-1] == error
    assert not (copy / "data" / "manifest.json").exists()


def test_the_stage_refuses_a_misspelt_key(copy, tmp_path):
    done = run_download(copy, tmp_path, on_bad_trak="skip")
    assert done.returncode == 2
    assert done.stderr == ("error: params.yaml, profile sample: download.on_bad_trak: there is no such parameter\n")


def test_the_stage_leaves_out_what_is_bad_when_told_to(copy, tmp_path):
    root = tmp_path / "set"
    for name in ("a", "b"):
        write_track(root, "train", name)
    write_track(root, "test", "another")  # whose samples are others: they come from the length of the name
    missing_stem(root, "bad")
    done = run_download(copy, root, on_bad_track="skip")
    assert done.returncode == 0, done.stderr
    assert "left out train/bad: missing bass.wav" in done.stderr.splitlines()
    assert "sample: 1 train, 1 valid, 1 test, 0 unused tracks, 0 s" in done.stderr
    manifest = Manifest.load(copy / "data" / "manifest.json")
    assert [track.name for track in manifest.tracks] == ["a", "b", "another"]
