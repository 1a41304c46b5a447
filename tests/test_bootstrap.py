"""tools/bootstrap.sh on machines where something is missing and can't be installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helpers import REPOSITORY

NEEDED = ("sh", "cat", "cksum", "dirname", "id", "printf", "rm", "ln", "chmod", "env")


@pytest.fixture
def bare(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A checkout with the setup script alone, and a PATH with nothing but the shell's own tools."""
    (tmp_path / "tools").mkdir()
    shutil.copy(REPOSITORY / "tools/bootstrap.sh", tmp_path / "tools")
    shutil.copy(REPOSITORY / "requirements.txt", tmp_path)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in NEEDED:
        found = shutil.which(name)
        if found:
            (programs / name).symlink_to(found)
    return tmp_path, {"PATH": str(programs), "HOME": str(tmp_path)}


def setup(folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess:
    return subprocess.run(["sh", "tools/bootstrap.sh"], cwd=folder, env=environment, capture_output=True, text=True)


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_without_python_it_says_what_to_install_and_stops(bare):
    folder, environment = bare
    done = setup(folder, environment)
    assert done.returncode == 1
    assert "Python 3.11 is missing" in done.stderr and "apt-get install python3.11 python3.11-venv" in done.stderr
    assert not (folder / ".venv").exists()


def test_another_python_is_not_taken(bare):
    folder, environment = bare
    script(folder / "bin/python3", "exit 1")  # any program that is not Python 3.11
    done = setup(folder, environment)
    assert done.returncode == 1 and "Python 3.11 is missing" in done.stderr


def test_without_venv_it_says_what_to_install_and_leaves_no_half_environment(bare):
    folder, environment = bare
    script(folder / "bin/python3.11", 'case "$1" in -m) exit 1;; esac')
    done = setup(folder, environment)
    assert done.returncode == 1
    assert "venv module is missing" in done.stderr and "python3.11-venv" in done.stderr
    assert not (folder / ".venv").exists()


def test_without_ffmpeg_it_says_what_to_install_and_stops(bare):
    folder, environment = bare
    script(folder / "bin/python3.11", "exit 0")
    script(folder / ".venv/bin/python", "exit 0")  # a pip that reports success and brings nothing
    done = setup(folder, environment)
    assert done.returncode == 1
    assert "ffmpeg and ffprobe are missing" in done.stderr and "apt-get install ffmpeg" in done.stderr
    assert not (folder / ".venv/.svs-complete").exists(), "an unfinished setup must not pass for a finished one"


def test_complete_environment_is_left_alone_and_a_new_lock_is_installed(bare):
    folder, environment = bare
    log = folder / "pip.log"
    script(folder / "bin/python3.11", "exit 0")
    script(folder / ".venv/bin/python", f'printf "%s\\n" "$*" >> {log}')
    for program in ("ffmpeg", "ffprobe"):
        script(folder / "bin" / program, "exit 0")
    assert setup(folder, environment).returncode == 0
    assert "install --disable-pip-version-check --no-compile --quiet -r requirements.txt" in log.read_text()
    log.write_text("")
    assert setup(folder, environment).returncode == 0
    assert "install" not in log.read_text()
    with open(folder / "requirements.txt", "a") as lock:
        lock.write("another==1.0\n")
    assert setup(folder, environment).returncode == 0
    assert "install" in log.read_text()


def test_the_lock_fits_every_direct_dependency_and_names_no_local_build():
    import tomllib
    from packaging.requirements import Requirement

    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    locked = {
        line.split("==")[0].replace("_", "-").lower(): line
        for line in (REPOSITORY / "requirements.txt").read_text().splitlines()
        if "==" in line and not line.startswith(" ")
    }
    # `pesq` is compiled where it is installed, so the lock leaves it out.
    extras = [lines for extra, lines in project["optional-dependencies"].items() if extra != "pesq"]
    wanted = [Requirement(line) for lines in (project["dependencies"], *extras) for line in lines]
    for requirement in (each for each in wanted if each.name != "svs"):
        line = locked.get(requirement.name.lower(), "")
        assert requirement.specifier.contains(line.partition(" ;")[0].partition("==")[2]), (
            f"{requirement} is {line}; run `make lock`"
        )
    assert not any("+" in line for line in locked.values()), "a local version (+cpu) installs from one index only"
    assert os.access(REPOSITORY / "tools/bootstrap.sh", os.X_OK)
