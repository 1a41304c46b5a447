"""Folders in MUSDB18's layout, and folders that are not."""

import pytest

from svs.errors import DataError
from tests.helpers.datasets import empty_subsets, inspected, write_stem, write_track


def no_folder(root):
    pass


def a_file(root):
    root.write_text("x")


def nothing(root):
    root.mkdir()


def only_train(root):
    write_track(root, "train", "a", samples=50)


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
        (no_folder, r"expected a folder that holds train/ and test/.*there is no such folder"),
        (a_file, r"expected a folder that holds train/ and test/.*there is no such folder"),
        (nothing, r"expected a folder that holds train/ and test/.*found nothing"),
        (only_train, r"expected a folder that holds train/ and test/.*found train"),
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
