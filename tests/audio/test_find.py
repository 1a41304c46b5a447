"""Finding recordings by files, folders and patterns."""

import pytest

from svs.audio import find
from svs.errors import DataError


@pytest.fixture
def music(tmp_path, monkeypatch):
    names = [
        "b.mp3",
        "a.WAV",
        "notes.txt",
        "song [live].mp3",
        ".hidden.mp3",
        "album/2.flac",
        "album/1.flac",
        "album/cover.jpg",
        "album/cd 2/x.opus",
        ".trash/gone.mp3",
        "empty/readme.md",
        "film.mkv",
        "odd.xyz",
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "broken.mp3").symlink_to("nowhere")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["b.mp3"], ["b.mp3"]),
        (["notes.txt"], ["notes.txt"]),  # named, so meant; whether it sounds is told when it is opened
        (["b.mp3", "a.WAV", "./b.mp3", "b.mp3"], ["a.WAV", "b.mp3"]),
        (["album"], ["album/1.flac", "album/2.flac", "album/cd 2/x.opus"]),
        (["album", "album/*.flac"], ["album/1.flac", "album/2.flac", "album/cd 2/x.opus"]),
        (["*.mp3"], ["b.mp3", "song [live].mp3"]),
        (["song [live].mp3"], ["song [live].mp3"]),
        (["**/*.flac"], ["album/1.flac", "album/2.flac"]),
        (["*.xyz"], ["odd.xyz"]),
        (["[ab].*"], ["a.WAV", "b.mp3"]),
        (["*"], ["a.WAV", "album/1.flac", "album/2.flac", "album/cd 2/x.opus", "b.mp3", "film.mkv", "song [live].mp3"]),
        (
            ["**"],
            ["a.WAV", "album/1.flac", "album/2.flac", "album/cd 2/x.opus", "b.mp3", "film.mkv", "song [live].mp3"],
        ),
        (["."], ["a.WAV", "album/1.flac", "album/2.flac", "album/cd 2/x.opus", "b.mp3", "film.mkv", "song [live].mp3"]),
    ],
)
def test_find(arguments, expected, music):
    assert [str(path) for path in find.find_recordings(arguments)] == expected
    absolute = find.find_recordings([music / argument for argument in arguments])
    assert [str(path.relative_to(music)) for path in absolute] == expected


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["missing.mp3"], r"missing\.mp3: .*there is no such file"),
        (["b.mp3", "missing.mp3"], r"missing\.mp3: .*there is no such file"),
        (["broken.mp3"], "there is no such file"),
        (["empty"], "empty: expected a folder of recordings, there is none in it"),
        (["*.ogg"], r"\*\.ogg: .*the pattern matches none"),
        (["empty/*"], r"empty/\*: .*the pattern matches none"),
        (["nul\0"], "there is no such file"),
        (["line\nbreak"], r"line\\nbreak: "),
        ([""], "got an empty name"),
        ([], "got none; name at least one"),
    ],
)
def test_what_is_not_found(arguments, match, music):
    with pytest.raises(DataError, match=match) as caught:
        find.find_recordings(arguments)
    assert "\n" not in str(caught.value)
