"""`svs fetch --from`: trained networks of another repository, through DVC."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from svs.runtime import extras
from svs.services.repositories import artifact, split
from tests.helpers import REPOSITORY
from tests.helpers.command import Ran, assert_refused, below, project, svs
from tests.helpers.pipeline import call, commit, dvc

NETS = ("vad", "cnn_separator")


def release(folder: Path, content: str) -> None:
    """A commit in which both networks are trained, and hold `content`."""
    card = {"trained_on": content, "val_loss": 0.25, "best_epoch": 3, "epochs": 4}
    for name in NETS:
        (folder / "models" / name).mkdir(parents=True, exist_ok=True)
        for file in ("model.keras", "model.onnx"):
            (folder / "models" / name / file).write_text(content + name)
        (folder / "models" / name / "model.json").write_text(json.dumps(card))
    dvc(folder, "add", "-q", *(f"models/{name}" for name in NETS))
    commit(folder, content)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare repository: version v1.0.0 of `vad`, then a tag `later`, then a last commit; their remote is a folder."""
    work = tmp_path_factory.mktemp("work")
    call(work, "git", "init", "-q")
    dvc(work, "init", "-q")
    (work / ".dvc/config").write_text(
        f"[core]\n    remote = store\n['remote \"store\"']\n    url = {tmp_path_factory.mktemp('remote')}\n"
    )
    (work / "dvc.yaml").write_text("artifacts:\n  vad:\n    path: models/vad\n    type: model\n")
    for content, tag in (("first", "vad@v1.0.0"), ("second", "later")):
        release(work, content)
        call(work, "git", "-c", "user.name=t", "-c", "user.email=t@example.org", "tag", "-a", tag, "-m", tag)
        dvc(work, "push", "-q")
    release(work, "third")  # not pushed
    bare = tmp_path_factory.mktemp("bare") / "repository.git"
    call(work, "git", "clone", "-q", "--bare", str(work), str(bare))
    return bare


def fetch(*words, **environment) -> Ran:
    """`svs fetch` in a process of its own: within this one, DVC would use pytest's streams after these are closed."""
    command = [sys.executable, "-m", "svs.cli", "fetch", *map(str, words)]
    done = subprocess.run(command, cwd=REPOSITORY, env={**os.environ, **environment}, capture_output=True, text=True)
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def home(tmp_path) -> Path:
    return project(tmp_path / "home")


@pytest.mark.parametrize(
    ("name", "revision", "content"),
    [
        ("vad", "", "first"),
        pytest.param("vad", "@v1.0.0", "first", marks=pytest.mark.slow),
        pytest.param("vad", "@later", "second", marks=pytest.mark.slow),
        ("cnn_separator", "@later", "second"),
    ],
)
def test_a_network_of_a_version_or_of_a_revision(home, published, tmp_path, name, revision, content):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    ran = fetch(name, "--from", f"{published}{revision}", "--project", home, TMPDIR=str(temporary))
    assert ran.code == 0, ran.err
    assert not [path.name for path in temporary.iterdir() if "dvc" in path.name], "a clone of the repository"
    assert ran.out.startswith(f"{name}: {home / 'models' / name} (")
    assert (home / "models" / name / "model.onnx").read_text() == content + name
    assert content in svs("models", "list", "--project", home).out
    if not revision:
        before = below(home)
        again = fetch(name, "--from", published, "--project", home)
        assert_refused(again, f"models/{name}: is there already", 3)
        assert below(home) == before


@pytest.mark.parametrize(
    ("words", "reason", "code"),
    [
        (["vad", "--from", "{}@v9.0.0"], "vad of v9.0.0 can't be fetched .*v9.0.0", 4),
        (["unet_separator", "--from", "{}@later"], "unet_separator of later can't be fetched", 4),
        (
            ["cnn_separator", "--from", "{}"],
            "cnn_separator of HEAD can't be fetched .*a remote that holds its outputs",
            4,
        ),
        (["vad", "--from", "{}-elsewhere"], "vad of HEAD can't be fetched", 4),
        (["spleeter", "--from", "{}"], "spleeter: its authors publish its weights", 2),
        (["vda", "--from", "{}"], "vda: no network has that name", 2),
        (["--from", "{}"], "--from .*: name the networks", 2),
    ],
)
def test_what_can_not_be_fetched_leaves_nothing(home, published, words, reason, code):
    before = below(home)
    assert_refused(fetch(*(word.format(published) for word in words), "--project", home), reason, code)
    assert below(home) == before


def test_without_dvc_it_says_what_to_install(home, published, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda module: None)
    assert_refused(
        svs("fetch", "vad", "--from", published, "--project", home), r"dvc .*pip install 'svs\[pipeline\]'", 6
    )


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("https://example.org/svs.git@v1.0.0", ("https://example.org/svs.git", "v1.0.0")),
        ("git@example.org:music/svs.git", ("git@example.org:music/svs.git", None)),
        ("git@example.org:music/svs.git@main", ("git@example.org:music/svs.git", "main")),
        ("https://me@example.org/svs", ("https://me@example.org/svs", None)),
        ("../svs", ("../svs", None)),
    ],
)
def test_repository_and_revision(source, parts):
    assert split(source) == parts


def test_every_trained_network_is_an_artifact():
    artifacts = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["artifacts"]
    models = yaml.safe_load((REPOSITORY / "wiring.yaml").read_text())["models"]
    expected = {artifact(name): f"models/{name}" for name in (*models, "autoencoder", "vad")}
    assert {name: one["path"] for name, one in artifacts.items()} == expected
    assert all(one["type"] == "model" and one["desc"] and one["labels"] for one in artifacts.values())
