"""Output folders: requests and their results, names of folders, one run at a time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from svs.errors import DataError, SettingsError
from svs.runtime.files import sha256, write_json
from svs.services import output
from svs.services.output import is_answered


def test_a_result_answers_the_same_request(tmp_path):
    folder, wanted = tmp_path / "song", {"start": 0.0, "model": None}
    assert not is_answered(folder, "request.json", wanted, False)
    write_json(folder / "request.json", {**wanted, "notes": []})
    assert is_answered(folder, "request.json", wanted, False)
    assert not is_answered(folder, "request.json", wanted, True)
    with pytest.raises(DataError, match=r"another request \(its start differs\); use --overwrite"):
        is_answered(folder, "request.json", {**wanted, "start": 1.0}, False)
    with pytest.raises(DataError, match=r"\(its start, model differ\)"):
        is_answered(folder, "request.json", {"start": 1.0, "model": "a"}, False)
    assert not is_answered(folder, "request.json", {**wanted, "start": 1.0}, True)
    (folder / "request.json").unlink()
    for overwrite in (False, True):
        with pytest.raises(DataError, match="found something else; go away"):
            is_answered(folder, "request.json", wanted, overwrite, "go away")


# -- names of folders


@pytest.mark.parametrize(
    "paths, names",
    [
        (["a.mp3", "b/c d.wav"], ["a", "c d"]),
        (["a.mp3", "a.wav"], ["a.mp3", "a.wav"]),
        (["x/a.mp3", "y/a.mp3", "b.mp3"], ["x - a.mp3", "y - a.mp3", "b"]),
        (["z/x/a.mp3", "w/x/a.mp3"], ["z - x - a.mp3", "w - x - a.mp3"]),
        (["x/a.mp3", "x/a.wav", "y/a.wav"], ["a.mp3", "x - a.wav", "y - a.wav"]),
        (["a.mp3", "x/A.wav"], ["a.mp3", "A.wav"]),  # one folder where case doesn't count
        (["x/\u00e9.mp3", "y/e\u0301.mp3"], ["x - \u00e9.mp3", "y - e\u0301.mp3"]),  # nor the spelling
        ([".hidden", "...wav", "..wav", "no suffix"], [".hidden", "...wav", "..wav", "no suffix"]),
    ],
)
def test_names_of_songs(paths, names, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert output.song_names([Path(path) for path in paths]) == names
    assert output.song_names([tmp_path / path for path in paths]) == names


def test_long_names_stay_apart_and_fit(tmp_path):
    ends = ["a" * 250, "a" * 249 + "b", "歌" * 83, "歌" * 82 + "é"]
    names = output.song_names([tmp_path / f"{end}.wav" for end in ends])
    assert len(set(names)) == 4 and all(len(name.encode()) <= 200 for name in names)
    for name in names:
        (tmp_path / name).mkdir()


RESULTS = {  # what is in the output: its folder, and the recording that its results are of
    "song": "song.wav",
    "x - a.mp3": "x/a.mp3",
    "twin": "x/twin.wav",
    "talk": None,  # of `svs vad`, which tells only the checksum
}


@pytest.mark.parametrize(
    "paths, names",
    [
        (["song.wav"], ["song"]),
        (["song.wav", "song.mp3"], ["song", "song.mp3"]),
        (["song.mp3"], ["song.mp3"]),  # its short name is taken
        (["y/song.wav"], ["song"]),  # another song of that name: an error, when it is separated
        (["y/song.wav", "song.wav"], ["song.wav", "song"]),
        (["x/a.mp3"], ["x - a.mp3"]),
        (["x/a.mp3", "y/a.mp3"], ["x - a.mp3", "a"]),
        (["x/twin.wav", "y/twin.wav"], ["twin", "twin.wav"]),  # the same bytes
        (["talk.wav", "talk.mp3"], ["talk", "talk.mp3"]),
        (["new.wav", "new.mp3"], ["new.wav", "new.mp3"]),
    ],
)
def test_a_song_keeps_the_name_of_its_results(paths, names, tmp_path, monkeypatch):
    """Whatever else is named beside it."""
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out"
    for path in {*paths, "song.wav", "x/a.mp3", "x/twin.wav", "talk.wav"}:
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_text("twin" if "twin" in path else path)
    for name, path in RESULTS.items():
        if path is None:
            write_json(out / name / "vad.json", {"sha256": sha256([Path("talk.wav")])})
        else:
            song = {"file": Path(path).name, "sha256": sha256([Path(path)])}
            write_json(out / name / "hpss" / "result.json", {"song": song})
    assert output.song_names(list(map(Path, paths)), out) == names


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"song": 3}', '{"song": {"file": 3}}'])
def test_a_damaged_result_is_nobodys(content, tmp_path):
    (tmp_path / "out/a/hpss").mkdir(parents=True)
    (tmp_path / "out/a/hpss/result.json").write_text(content)
    (tmp_path / "a.wav").touch()
    assert output.song_names([tmp_path / "a.wav"], tmp_path / "out") == ["a"]


# -- one run at a time


def test_only_one_run_at_a_time(tmp_path):
    folder = tmp_path / "deep" / "out"
    with output.only_one(folder):
        assert folder.is_dir() and os.listdir(folder) == [".lock"]
        with pytest.raises(DataError, match="another run of svs is writing there"), output.only_one(folder):
            pass
        with output.only_one(tmp_path / "other"):
            pass
        (folder / "result").touch()
    with output.only_one(folder):
        pass
    assert os.listdir(folder) == ["result"]


def test_an_output_in_which_nothing_came_goes_away_again(tmp_path):
    with pytest.raises(ZeroDivisionError), output.only_one(tmp_path / "new"):
        1 / 0  # noqa: B018
    (tmp_path / "old").mkdir()
    with output.only_one(tmp_path / "old"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_a_dash_is_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="-o -: expected a folder"), output.only_one(Path("-")):
        pass
    assert list(tmp_path.iterdir()) == []
