"""Reading a store: errors, the frames of excerpts, and the defaults that `svs extract` keeps."""

import pytest
import zarr

from svs.errors import DataError
from svs.features.store import DrawDefaults, Spectrograms, Stems


@pytest.mark.parametrize("what", ["nothing", "empty folder", "a store without an index"])
def test_a_missing_store_is_a_data_error(tmp_path, what):
    path = tmp_path / "excerpts.zarr" / "masks"
    if what == "empty folder":
        path.mkdir(parents=True)
    elif what == "a store without an index":
        zarr.open_group(path, mode="w")
    with pytest.raises(DataError, match="dvc repro extract"):
        Spectrograms(path)


def test_a_store_without_stems_says_how_to_get_them(tmp_path):
    with pytest.raises(DataError, match="add MIX to extract.modes"):
        Stems(tmp_path / "excerpts.zarr" / "stems")


def test_frames_after_the_start_point(tmp_path):
    representation = {"sample_rate": 1000, "hop_length": 100}
    index = {
        "SVS": [["a", "train", 5, 14, 1], ["a", "train", 20, 21, 1], ["b", "train", 3, 9, 1], ["c", "valid", 5, 9, 1]]
    }
    zarr.open_group(tmp_path, mode="w").attrs.put({"representation": representation, "index": index})
    spectrograms = Spectrograms(tmp_path)
    assert spectrograms.available("SVS", "train", 0.0) == {"a": 12, "b": 7}
    assert spectrograms.available("SVS", "train", 1.0) == {"a": 7, "b": 0}  # from frame 10 on


def test_silent_tracks_have_no_say_in_the_level_and_a_store_without_levels_is_refused(tmp_path):
    root = zarr.open_group(tmp_path, mode="w")
    for track, level in {"a": 0.1, "b": 0.0, "c": 0.3, "d": 0.9}.items():
        root.create_group(track).attrs["level"] = level
    rows = [[track, "valid" if track == "d" else "train", 5, 9, 1] for track in "abcd"]
    index = {"SVS": rows, "DAE": rows[1:2], "VAD": [*rows, ["e", "valid", 5, 9, 1]]}
    root.attrs.put({"representation": {}, "index": index})
    spectrograms = Spectrograms(tmp_path)
    assert spectrograms.level("SVS", "train") == pytest.approx(0.2)
    assert spectrograms.level("DAE", "train") == 0.0
    root.create_group("e")
    assert spectrograms.level("VAD", "train") == pytest.approx(0.2)
    with pytest.raises(DataError, match="expected the level of each track, .* earlier version .*; extract it again"):
        spectrograms.level("VAD", "valid")


def test_draw_defaults_are_kept(tmp_path):
    zarr.open_group(tmp_path, mode="w").attrs.put({"representation": {}})
    assert DrawDefaults.load(tmp_path) is None
    defaults = DrawDefaults("SVS", 16, 3, 0.2, 9)
    defaults.save(tmp_path)
    assert DrawDefaults.load(tmp_path) == defaults
    zarr.open_group(tmp_path, mode="a").attrs["draw"] = {"mode": "SVS"}
    with pytest.raises(DataError, match="expected a store made by"):
        DrawDefaults.load(tmp_path)
