"""Projects and stores for the tests of the commands."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import REPOSITORY
from tests.helpers.command import SMALL_STORE, project


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def alone(monkeypatch):
    """Tracks one after another in this process (a worker takes seconds to start), and the log as it was."""
    monkeypatch.setattr("svs.runtime.parallel.cores", lambda: 1)
    log = logging.getLogger("svs")
    before = log.level
    yield
    log.setLevel(before)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A project of its own: models and logs land there."""
    return project(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def extracted(home, tiny_set, tmp_path_factory) -> tuple[Path, str]:
    """A small store, and what `svs extract` said."""
    out = tmp_path_factory.mktemp("stores") / "svs_16"
    done = subprocess.run(
        [sys.executable, "-m", "svs.cli", "extract", tiny_set[0], out, "16", "svs", *SMALL_STORE, "--project", home],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return out, done.stdout


@pytest.fixture(scope="module")
def stems(home, tiny_set, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("stems") / "mix"
    done = subprocess.run(
        [sys.executable, "-m", "svs.cli", "extract", tiny_set[0], out, "5", "mix", "--project", home],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "the stems of 2 training songs at 44100 Hz (mode MIX)" in done.stdout
    assert "5 sets of 2 mixtures in every epoch, and 1 other songs as they are for validation" in done.stdout
    return out
