"""Folders in MUSDB18's layout, and folders that are not."""

import re

import pytest

from svs.data import inspection
from svs.errors import DataError
from tests.helpers.datasets import empty_subsets, inspected, write_stem, write_track


def no_folder(root):
    pass


def a_file(root):
    root.write_text("x")


def nothing(root):
    root.mkdir()


def other_things(root):
    (root / "songs").mkdir(parents=True)
    (root / "readme.txt").write_text("x")


def no_tracks(root):
    empty_subsets(root)
    (root / "train" / "notes.txt").write_text("x")


def both_kinds(root):
    empty_subsets(root)
    write_track(root, "train", "a", samples=50)
    write_stem(root, "test", "b")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (no_folder, r"expected a folder that holds a data set; there is no such folder"),
        (a_file, r"expected a folder that holds a data set; there is no such folder"),
        (nothing, r"expected a folder that holds train/ and test/.*found nothing"),
        (other_things, r"expected a folder that holds train/ and test/.*found readme\.txt, songs"),
        (no_tracks, r"no tracks; expected train/\*\.stem\.mp4 or train/<track>/mixture\.wav"),
        (both_kinds, r"\.stem\.mp4 files and wav folders together; musdb reads one kind: separate them"),
    ],
)
@pytest.mark.parametrize("action", ["error", "skip"])
def test_folders_that_are_no_data_set(download, here, make, says, action):
    make(download.path)
    with pytest.raises(DataError, match=says) as caught:
        inspected(download.model_copy(update={"on_bad_track": action}))
    assert str(caught.value).startswith(f"{download.path}: ")
    assert "\n" not in str(caught.value)


JUNK_FILES = [".DS_Store", "._a.stem.mp4", "Thumbs.db", "desktop.ini", "README.md", "checksums.md5", "cover.jpg"]
JUNK_FOLDERS = [".@__thumb", "@eaDir", "#recycle", "lost+found", "__MACOSX", ".Trash-1000", "$RECYCLE.BIN"]


def litter(root):
    """What disks and file managers leave in a data set, some of it with tracks inside."""
    for subset in ("train", "test"):
        for name in JUNK_FILES:
            (root / subset / name).write_bytes(b"\0\5\26\7")
        for name in JUNK_FOLDERS:
            (root / subset / name / "a.stem.mp4").mkdir(parents=True)
            (root / subset / name / "mixture.wav").touch()


def test_a_set_without_test_tracks(download, here):
    write_track(download.path, "train", "a", samples=50)
    manifest = inspected(download)
    with pytest.raises(DataError, match="no test track among the 1 usable ones"):
        manifest.require("test")


@pytest.mark.parametrize(("layout", "kind"), [("musdb18", "wav"), ("musdb18hq", "stem")])
def test_a_layout_that_is_named_wrongly(download, here, layout, kind):
    empty_subsets(download.path)
    write_track(download.path, "train", "a") if kind == "wav" else write_stem(download.path, "train", "a")
    with pytest.raises(DataError, match="that is layout musdb18" + ("hq" if kind == "wav" else "$")):
        inspected(download.model_copy(update={"layout": layout}))


@pytest.mark.parametrize("kind", ["wav", "stem"])
def test_what_systems_leave_is_skipped_and_counted(download, here, previews, caplog, kind):
    caplog.set_level("INFO", logger="svs")
    for subset in ("train", "test"):
        if kind == "wav":
            write_track(download.path, subset, f"a {subset} song", samples=50)
        else:
            write_stem(download.path, subset, f"a {subset} song", sorted((previews / subset).glob("*.stem.mp4"))[0])
    litter(download.path)
    assert [track.name for track in inspected(download).tracks] == ["a train song", "a test song"]
    (line,) = [record.getMessage() for record in caplog.records if "no tracks" in record.getMessage()]
    count = 2 * (len(JUNK_FILES) + len(JUNK_FOLDERS))
    assert line.startswith(f"{download.path}: skipped {count} entries that are no tracks: ")
    assert [song.name for song in inspection.list_test_songs(download, 1, download.path)] == ["a test song"]


def a_link_to_nowhere(folder):
    (folder / "x.stem.mp4").symlink_to("/nowhere/x.stem.mp4")


LOOK_ALIKE = {
    "x.stem.mp4": (a_link_to_nowhere, "this is a link to nothing called x.stem.mp4"),
    "y.stem.mp4": (lambda folder: (folder / "y.stem.mp4").mkdir(), "this is a folder called y.stem.mp4"),
    "z.stem.mp4.part": (lambda folder: (folder / "z.stem.mp4.part").touch(), "this is a file called z.stem.mp4.part"),
    "song.wav": (lambda folder: (folder / "song.wav").touch(), "this is a file called song.wav"),
    "film.mp4": (lambda folder: (folder / "film.mp4").touch(), "this is a file called film.mp4"),
    "s.STEM.MP4": (lambda folder: (folder / "s.STEM.MP4").touch(), "this is a file called s.STEM.MP4"),
    "empty": (lambda folder: (folder / "empty").mkdir(), "missing mixture.wav, drums.wav, bass.wav, other.wav, voc"),
}


@pytest.mark.parametrize("name", LOOK_ALIKE)
def test_what_looks_like_a_track_and_is_none(download, here, caplog, name):
    write_track(download.path, "train", "a", samples=50)
    (download.path / "test").mkdir()
    make, says = LOOK_ALIKE[name]
    make(download.path / "train")
    with pytest.raises(DataError, match=re.escape(says)) as caught:
        inspected(download)
    assert str(caught.value).startswith(f"track train/{name}: ")
    assert [track.name for track in inspected(download.model_copy(update={"on_bad_track": "skip"})).tracks] == ["a"]
    assert f"left out train/{name}: " in caplog.text and says in caplog.text


def test_an_empty_folder_among_stems_is_a_bad_track(download, here, previews):
    """And no reason to say that both kinds are there."""
    write_stem(download.path, "train", "a", sorted((previews / "train").glob("*.stem.mp4"))[0])
    (download.path / "train" / "artwork").mkdir()
    (download.path / "test").mkdir()
    with pytest.raises(DataError, match="track train/artwork: missing mixture.wav"):
        inspected(download)
