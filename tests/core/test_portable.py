"""The core without what only POSIX has, and without the packages of the extras."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import PureWindowsPath

import numpy as np
import pytest

from svs.services import output
from tests.helpers import REPOSITORY
from tests.helpers.command import Ran, music, read, wav, whole

EXTRAS = ("dask", "distributed", "dvc", "gradio", "grimp", "h5py", "jinja2", "keras", "librosa", "matplotlib", "musdb")
EXTRAS += ("museval", "openunmix", "pandas", "seaborn", "sklearn", "stempeg", "tensorflow", "torch", "zarr")
# Run `svs` with modules that can't be imported, and without some attributes of modules.
_MASKED = """
import os, signal, sys
from importlib.machinery import PathFinder
sys.path.insert(0, sys.argv[1])
class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, *rest):
        return None if name.partition(".")[0] in {modules} else super().find_spec(name, *rest)
sys.meta_path[sys.meta_path.index(PathFinder)] = Without
for name in {modules}:
    sys.modules.pop(name, None)
if {posix}:
    for name in ("SIGHUP", "SIGKILL", "SIGQUIT", "pthread_sigmask"):
        delattr(signal, name)
    for name in ("sched_getaffinity", "fork", "killpg"):
        delattr(os, name)
from svs.cli import main
main(sys.argv[2:])
"""


def masked(*words: object, modules: tuple[str, ...], posix: bool = False, cwd: object) -> Ran:
    """Run the command in a process where some modules are missing."""
    code = _MASKED.format(modules=modules, posix=posix)
    command = [sys.executable, "-c", code, str(REPOSITORY), *map(str, words)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def song(tmp_path):
    audio = music(3)
    wav(tmp_path / "song.wav", audio)
    return audio


@pytest.mark.skipif(sys.platform == "win32", reason="masks what Windows lacks anyway")
def test_the_core_runs_without_what_only_posix_has(song, tmp_path):
    modules = ("fcntl", "grp", "pwd", "resource", "termios", "tty")
    ran = masked("separate", "song.wav", "-m", "hpss,mixture", modules=modules, posix=True, cwd=tmp_path)
    assert ran.code == 0, ran.err
    for method in ("hpss", "mixture"):
        vocals = whole(tmp_path / "separated/song" / method, read(tmp_path / "song.wav")[0], 44100)
        assert np.abs(vocals).max() > 0
    assert not list((tmp_path / "separated").glob(".*")), "no lock stays"


@pytest.mark.parametrize(
    "words", [["--help"], ["methods"], ["doctor"], ["models", "list"], ["separate", "song.wav", "-m", "hpss,repet_sim"]]
)
def test_the_core_needs_no_package_of_an_extra(words, song, tmp_path):
    ran = masked(*words, modules=EXTRAS, cwd=tmp_path)
    assert ran.code == (words == ["doctor"] and "missing:" in ran.out), ran.err


@pytest.mark.parametrize(
    ("words", "package", "extra"),
    [
        (["app", "--no-open"], "gradio", "app"),
        (["separate", "song.wav", "-m", "mixture", "--picture"], "matplotlib", "pictures"),
        (["separate", "song.wav", "-m", "mixture", "--reference", "song.wav"], "pandas", "pipeline"),
        (["vad", "song.wav", "--picture"], "matplotlib", "pictures"),
        (["extract", ".", "store", "1", "SVS"], "zarr", "pipeline"),
        (["gate", "--against", "HEAD"], "pandas", "pipeline"),
    ],
)
def test_a_command_whose_extra_is_missing_says_which(words, package, extra, song, tmp_path):
    ran = masked(*words, modules=(package,), cwd=tmp_path)
    assert ran.err == f"error: {package} is not installed; pip install 'svs[{extra}]' installs it\n"
    assert ran.code == 6 and not (tmp_path / "separated").exists()


@pytest.mark.parametrize(
    ("path", "name"),
    [(r"C:\Music\A Song.mp3", "A Song"), (r"D:\a.b.flac", "a.b"), (r"\\server\share\x.wav", "x")],
)
def test_a_path_with_a_drive_gives_a_name_without_one(path, name):
    found = list(output._names(PureWindowsPath(path)))
    assert found[0] == name
    assert not [each for each in found if set(each) & set('\\/:*?"<>|')]


def test_a_name_whose_bytes_are_no_text():
    assert output.readable(b"caf\xe9.wav".decode(errors="surrogateescape")) == "caf\ufffd.wav"


def test_doctor_tells_machines_what_each_extra_lacks(tmp_path):
    ran = masked("doctor", "--json", modules=(), cwd=tmp_path)
    checks = {check["name"]: check for check in json.loads(ran.out)["checks"]}
    assert {"numpy", "matplotlib", "gradio", "tensorflow"} <= checks.keys()
    assert checks["numpy"]["needed"] and not checks["gradio"]["needed"]
