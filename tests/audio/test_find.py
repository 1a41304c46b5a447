"""Finding recordings by files, folders and patterns."""

import re

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
        "Thumbs.db",
        "@eaDir/b.mp3/SYNO.mp3",
        "album/__MACOSX/1.flac",
        "album/._1.flac",
        "album/desktop.ini",
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
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
    found, errors = find.find_recordings(arguments)
    assert ([str(path) for path in found], errors) == (expected, [])
    absolute, errors = find.find_recordings([music / argument for argument in arguments])
    assert not errors
    assert [str(path.relative_to(music)) for path in absolute] == expected


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["missing.mp3"], r"missing\.mp3: .*there is no such file"),
        (["missing.mp3", "b.mp3"], r"missing\.mp3: .*there is no such file"),
        (["broken.mp3"], "broken.mp3: .* this is a link to nowhere, which is not there"),
        (["self.mp3"], "self.mp3: .* this is a link to self.mp3"),
        (["full"], "full/gone.mp3: .* this is a link to /nowhere/gone.mp3"),
        (["empty"], "empty: expected a folder of recordings, there is none in it"),
        (["*.ogg"], r"\*\.ogg: .*the pattern matches none"),
        (["empty/*"], r"empty/\*: .*the pattern matches none"),
        (["https://example.org/a.mp3"], "https://example.org/a.mp3: .* this is a URL; download it first"),
        (["https://youtu.be/watch?v=a[1]"], "this is a URL; download it first"),
        (["rtsp://example.org"], "this is a URL"),
        (["www.example.org/watch?v=1"], "this is a URL"),
        (["file:///home/a.mp3"], "this is a URL; name it by its path"),
        (["nul\0"], "there is no such file"),
        (["line\nbreak"], r"line\\nbreak: "),
        ([""], "got an empty name"),
    ],
)
def test_what_is_not_found(arguments, match, music):
    (music / "broken.mp3").symlink_to("nowhere")
    (music / "self.mp3").symlink_to("self.mp3")
    (music / "full").mkdir()
    (music / "full" / "a.mp3").touch()
    (music / "full" / "gone.mp3").symlink_to("/nowhere/gone.mp3")
    found, (error,) = find.find_recordings(arguments)
    assert re.search(match, str(error)) and "\n" not in str(error)
    assert list(map(str, found)) == {"b.mp3": ["b.mp3"], "full": ["full/a.mp3"]}.get(arguments[-1], [])


def test_nothing_named():
    with pytest.raises(DataError, match="got none; name at least one"):
        find.find_recordings([])


@pytest.mark.parametrize("arguments", [["top"], ["top/**/*.mp3"], ["top/**"], ["top", "top/in/up/a.mp3"]])
def test_links_to_folders_are_followed_once(arguments, tmp_path, monkeypatch):
    """Two loops: to try all paths through them would take for ever."""
    monkeypatch.chdir(tmp_path)
    for name in ("top/a.mp3", "top/in/b.mp3", "elsewhere/deep/c.mp3"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "top/in/up").symlink_to("..")
    (tmp_path / "top/here").symlink_to(".")
    (tmp_path / "top/disk").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "top/disk again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/deep/back").symlink_to(tmp_path / "top")
    (tmp_path / "top/link.mp3").symlink_to("a.mp3")  # a name of its own
    found, errors = find.find_recordings(arguments)
    assert not errors
    assert sorted(path.name for path in found) == ["a.mp3", "b.mp3", "c.mp3", "link.mp3"]
