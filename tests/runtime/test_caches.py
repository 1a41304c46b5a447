"""Caches of libraries where their own folders can't be written to."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from numba.core.caching import UserProvidedCacheLocator

from svs.runtime import caches
from tests.helpers import REPOSITORY
from tests.helpers.command import below, music, really, wav

VARIABLES = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "NUMBA_CACHE_DIR", "MPLCONFIGDIR")


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A folder for temporary files of one's own."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(caches.tempfile, "tempdir", str(tmp_path / "temporary"))
    caches._temporary.cache_clear()
    yield tmp_path / "temporary"
    caches._temporary.cache_clear()


@pytest.fixture
def bare(monkeypatch, tmp_path, temporary):
    """No variables; librosa lies in a folder of its own."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    installed = tmp_path / "site" / "librosa"
    (installed / "util").mkdir(parents=True)
    (installed / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
    monkeypatch.delitem(sys.modules, "librosa", raising=False)
    return tmp_path


def provided() -> set[str]:
    caches._temporary.cache_clear()
    before = dict(os.environ)
    caches.provide()
    changed = {name for name in VARIABLES if os.environ.get(name) != before.get(name)}
    assert all(Path(os.environ[name]).is_dir() for name in changed)
    for name in changed:
        os.environ.pop(name)
    os.environ.update(before)
    return changed


def test_nothing_is_changed_where_all_can_be_written(bare):
    assert provided() == set()
    assert below(bare) == ["site/librosa/__init__.py"]  # nor made


@pytest.mark.parametrize("home", ["/proc/nonexistent", "/dev/null", "/sys/kernel"])
def test_a_home_that_cannot_be_written_to(bare, home, monkeypatch):
    monkeypatch.setenv("HOME", home)
    assert provided() == {"MPLCONFIGDIR"}  # numba writes beside librosa
    (bare / "site/librosa/util/__pycache__").touch()  # until it can't
    assert provided() == {"MPLCONFIGDIR", "NUMBA_CACHE_DIR"}
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(bare / name))
    assert provided() == set()


def test_a_named_folder_counts_if_it_can_be_written_to(bare, monkeypatch):
    for name in ("NUMBA_CACHE_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, str(bare / "new" / "folder"))
    assert provided() == set()
    for name in ("NUMBA_CACHE_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, "/dev/null/folder")
    assert provided() == {"NUMBA_CACHE_DIR", "MPLCONFIGDIR"}


def test_a_user_without_a_home(bare, monkeypatch):
    """As a container has, whose user has a number and no name."""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: os.environ.get("HOME", "~") + path.removeprefix("~"))
    assert provided() == {"HOME"}


def test_no_folder_for_temporary_files(bare, monkeypatch):
    monkeypatch.setenv("HOME", "/dev/null")
    monkeypatch.setattr(caches.tempfile, "tempdir", "/dev/null")
    assert provided() == set()  # the command will say what to do


def a_link(place):
    place.with_name("elsewhere").mkdir(mode=0o700)
    place.symlink_to("elsewhere")


def open_to_all(place):
    place.mkdir()
    place.chmod(0o777)


@pytest.mark.parametrize("trap", [a_link, open_to_all, lambda place: place.touch(mode=0o600)])
def test_nobody_else_can_put_code_into_the_folder(trap, temporary):
    usual = caches._temporary()
    assert Path(usual).parent == temporary and os.stat(usual).st_mode & 0o777 == 0o700
    caches._temporary.cache_clear()
    assert caches._temporary() == usual  # kept for the next run
    Path(usual).rmdir()
    trap(Path(usual))
    caches._temporary.cache_clear()
    assert caches._temporary() != usual and os.stat(caches._temporary()).st_mode & 0o777 == 0o700


def compiled(folder):
    """Put what numba has compiled already, if it has, where it will look for it: to compile takes 15 s."""
    utils = Path(find_spec("librosa").origin).parent / "util" / "utils.py"
    folder = folder / UserProvidedCacheLocator.get_suitable_cache_subpath(str(utils))
    folder.mkdir(parents=True)
    for path in (utils.parent / "__pycache__").glob("*.nb?"):
        shutil.copy(path, folder)


def test_methods_and_pictures_with_nothing_writable_but_the_output(tmp_path, temporary):
    """Really: neither the home nor the folders of numba and matplotlib can be written to."""
    wav(tmp_path / "a.wav", music(0.3))
    ours = temporary / f"svs-caches-{os.getuid()}"
    ours.mkdir(mode=0o700)
    compiled(ours)
    environment = {"HOME": "/proc/nonexistent", "NUMBA_CACHE_DIR": "/dev/null/x", "MPLCONFIGDIR": "/dev/null/y"}
    environment |= {"XDG_CACHE_HOME": "", "XDG_CONFIG_HOME": "", "KERAS_HOME": "/dev/null/z", "TMPDIR": str(temporary)}
    methods = ["hpss", "repet_sim"]
    ran = really("separate", "a.wav", "-m", ",".join(methods), "-o", "out", cwd=tmp_path, env=environment)
    assert ran.code == 0 and ran.out == ""
    told = [line for line in ran.err.replace("\r", "\n").splitlines() if line.strip() and "|" not in line]
    assert told == [f"out/a/{method}" for method in methods]
    assert all((tmp_path / "out/a" / method / "spectrogram.png").is_file() for method in methods)
    assert [path.name for path in temporary.iterdir()] == [ours.name]
    assert list(ours.glob("fontlist*")) and list(ours.glob("util*/*.nbi"))


def test_onnx_runtime_reports_nothing(monkeypatch, tmp_path):
    """Its telemetry keeps a number of the machine in the user's cache folder, and sends it from there."""
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    for name in ("HOME", "XDG_CACHE_HOME", "TMPDIR"):
        monkeypatch.setenv(name, str(tmp_path))
    subprocess.run([sys.executable, "-c", "import svs.networks.inference"], check=True, cwd=REPOSITORY)
    assert below(tmp_path) == []
