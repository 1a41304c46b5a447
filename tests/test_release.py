"""The workflow of a release: who may write, and what its own steps say of a tag that does not fit."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tomllib
import yaml

import svs
from tests.helpers import REPOSITORY

JOBS = yaml.safe_load((REPOSITORY / ".github/workflows/release.yml").read_text())["jobs"]
SCRIPTS = {step.get("name"): step["run"] for job in JOBS.values() for step in job["steps"] if "run" in step}


def run(name: str, folder: Path, tag: str) -> subprocess.CompletedProcess:
    words = ["bash", "-e", "-o", "pipefail", "-c", SCRIPTS[name]]
    environment = {**os.environ, "TAG": tag, "PATH": f"{folder}/programs{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, env=environment)


def test_the_jobs_that_may_write_run_no_code_of_the_repository():
    uses = {name: [step["uses"] for step in job["steps"] if "uses" in step] for name, job in JOBS.items()}
    assert {name: job.get("permissions") for name, job in JOBS.items()} == {
        "wheel": None,
        "publish": {"contents": "write"},
        "image": None,
        "publish-image": {"packages": "write"},
    }
    assert not any("checkout" in one for one in uses["publish"] + uses["publish-image"])
    assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", one) for one in sum(uses.values(), []))


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_scripts(script):
    assert "${{" not in script, "a tag's name must not become part of a script"
    shellcheck = Path(sys.executable).parent / "shellcheck"
    done = subprocess.run([shellcheck, "--shell", "bash", "-"], input=script, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_notes_are_those_of_the_version(tmp_path):
    (tmp_path / "dist").mkdir()
    (tmp_path / "CHANGELOG.md").write_text(
        "# Changelog\n\n## Unreleased\n\nnew\n\n## 0.1.10\n\nten\n\n## 0.1.1 - 2026\n\n### Added\n\none\n"
    )
    assert run("Notes", tmp_path, "v0.1.1").returncode == 0
    assert (tmp_path / "dist/notes.md").read_text() == "\n### Added\n\none\n"
    done = run("Notes", tmp_path, "v0.1.2")
    assert done.returncode == 1 and "no section '## 0.1.2'" in done.stdout


@pytest.mark.parametrize(("tag", "code"), [("v0.3.0", 0), ("v0.4.0", 1)])
def test_a_tag_of_another_version_is_refused(tmp_path, tag, code):
    (tmp_path / "programs").mkdir()
    python = tmp_path / "programs/python"  # what it is asked for: a wheel of the version in svs/__init__.py
    python.write_text("#!/bin/sh\nmkdir -p dist && touch dist/svs-0.3.0-py3-none-any.whl\n")
    python.chmod(0o755)
    done = run("Build", tmp_path, tag)
    assert done.returncode == code, done.stderr
    assert ("the tag is v0.4.0" in done.stdout) == bool(code)


def test_one_version_everywhere():
    """Builds read it from the package, so a clone without tags, a shallow one and an archive have it."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"] and "version" not in project["project"]
    assert project["tool"]["hatch"]["version"] == {"path": "svs/__init__.py"}
    assert svs.__version__ == yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())["version"]


def test_the_image_goes_under_the_version_to_the_registry_of_the_repository(tmp_path):
    (tmp_path / "programs").mkdir()
    docker = tmp_path / "programs/docker"
    docker.write_text('#!/bin/sh\necho "$@" >> calls\n[ "$1" != login ] || cat >> calls\n')
    docker.chmod(0o755)
    words = ["bash", "-e", "-o", "pipefail", "-c", SCRIPTS["Push"]]
    told = {"GITHUB_REPOSITORY": "Music/SVS", "GITHUB_ACTOR": "me", "TOKEN": "secret", "TAG": "v0.3.0"}
    environment = {**os.environ, **told, "PATH": f"{tmp_path}/programs{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(words, cwd=tmp_path, check=True, env=environment)
    calls = (tmp_path / "calls").read_text()
    assert "tag svs ghcr.io/music/svs:0.3.0\n" in calls and calls.endswith("secretpush ghcr.io/music/svs:0.3.0\n")
