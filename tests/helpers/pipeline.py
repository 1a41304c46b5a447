"""A small run of the whole pipeline through DVC, for the tests of it: a clone, and what one asks of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from tests.helpers import REPOSITORY, shared

# The default profile, made small enough for tests: the same stages on fewer, shorter tracks
# and spectrograms of 257 bins.
SMALL = {
    "extract": {
        name: {"sample_rate": 22050, "frame_size": 512, "win_length": 512, "hop_length": 256}
        for name in ("masks", "vad")
    },
    "train": {
        "unet_separator": {
            "frames": 32,
            "representation": {"frame_size": 1024, "win_length": 1024, "hop_length": 512},
            "network": {
                "channels": 6,
                "growth": 2,
                "levels": 2,
                "full_band": {"ensemble": 1, "channels": 24, "bottleneck": 8, "blocks": 3},
            },
        }
    },
    "profiles": {
        "tiny": {
            "download": {
                "tiny": {
                    "train": 2,
                    "valid": 1,
                    "test": 2,
                    "train_seconds": 3.0,
                    "test_seconds": 2.5,
                    "real_song": False,
                }
            },
            "noisy": {"voice": {"seconds": 2.0, "noises": ["pink"], "snrs": [0.0]}, "respiratory": {"seconds": 2.0}},
            "pretrain": {"epochs": 2, "batch_size": 8, "excerpts": {"per_track": 16, "valid_per_track": 8}},
            "train": {
                model: {"epochs": 3, "batch_size": 8, "excerpts": {"per_track": 24, "valid_per_track": 8}}
                for model in ("excerpts",)
            }
            | {"unet_separator": {"epochs": 2, "mixes": 8}},
            "vad": {"epochs": 2, "batch_size": 8, "excerpts": {"per_track": 24, "valid_per_track": 8}},
        }
    },
}

# What of wiring.yaml the run of the whole pipeline has, one of each sort; `make repro` runs the rest.
WIRED = {
    "methods": (
        "cnn_separator",
        "cnn_deep_separator",
        "spleeter",
        "repet_sim",
        "hpss",
        "oracle_ibm",
        "oracle_irm",
        "mixture",
    ),
    "models": ("cnn_separator", "cnn_deep_separator"),
    "enhancers": ("mixture", "oracle_irm", "wiener_noise"),
}


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DVC_NO_ANALYTICS": "1",
        "PYTHONUNBUFFERED": "1",
        "SVS_LOG": "INFO",
    }


# The report names the commit: the same files shall be the same commit in every clone.
DATES = {"GIT_AUTHOR_DATE": "2020-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2020-01-01T00:00:00Z"}


def call(workspace: Path, *command: str, check: bool = True, **variables: str) -> subprocess.CompletedProcess:
    done = subprocess.run(command, cwd=workspace, env=environment() | variables, capture_output=True, text=True)
    if check and done.returncode:
        pytest.fail(f"{' '.join(command)} exited with {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done


def dvc(workspace: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
    return call(workspace, "dvc", *arguments, check=check)


def changed_parameters(workspace: Path, changes: dict) -> None:
    """Lay `changes` (nested) over the workspace's params.yaml; methods and models over its wiring.yaml."""
    from svs.config.schema import WIRED, merge

    wired = {key: value for key, value in changes.items() if key in WIRED}
    for name, laid in (
        ("params.yaml", {key: changes[key] for key in changes.keys() - wired.keys()}),
        ("wiring.yaml", wired),
    ):
        path = workspace / name
        if laid:
            path.write_text(yaml.safe_dump(merge(yaml.safe_load(path.read_text()), laid), sort_keys=False))


def clone(folder: Path, wired: dict[str, tuple[str, ...]] | None = None) -> Path:
    """The repository's files, as they are now, in a repository of their own, without any output.

    `wired` names what is left of each group of wiring.yaml, by default everything.
    """
    listed = (
        subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=REPOSITORY, check=True, capture_output=True
        )
        .stdout.decode()
        .split("\0")
    )
    for name in filter(None, listed):
        if name == "dvc.lock" or name.startswith(("metrics/", "plots/", "docs/")) or not (REPOSITORY / name).is_file():
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, folder / name)
    changed_parameters(folder, SMALL)
    if wired:
        wiring = yaml.safe_load((folder / "wiring.yaml").read_text())
        wiring |= {group: {name: wiring[group][name] for name in names} for group, names in wired.items()}
        (folder / "wiring.yaml").write_text(yaml.safe_dump(wiring, sort_keys=False))
    for command in (["git", "init", "-q"], ["git", "add", "-A"]):
        call(folder, *command)
    commit(folder, "start")
    return folder


def commit(workspace: Path, message: str) -> None:
    call(workspace, "git", "add", "-A")
    call(
        workspace,
        "git",
        "-c",
        "user.name=test",
        "-c",
        "user.email=test@example.org",
        "commit",
        "-q",
        "-m",
        message,
        **DATES,
    )


def ran(done: subprocess.CompletedProcess) -> list[str]:
    """Stages that a `dvc repro` ran."""
    return [line.split("'")[1] for line in done.stdout.splitlines() if line.startswith("Running stage")]


def hashes(workspace: Path, lock: str | None = None) -> dict[str, dict[str, str]]:
    """Of every stage in dvc.lock, or in the text of one, the hash of every output."""
    stages = yaml.safe_load(lock or (workspace / "dvc.lock").read_text())["stages"]
    return {name: {out["path"]: out["md5"] for out in stage.get("outs", [])} for name, stage in stages.items()}


# The commit of the run from nothing, whatever a test does to the clone afterwards.
FINISHED = "finished"


def run_once(tests: pytest.TempPathFactory) -> Path:
    """A clone in which the whole pipeline has run once, committed: the same for all workers of this run of tests."""
    folder = shared(tests) / "pipeline"
    with FileLock(f"{folder}.lock"):
        if not folder.exists() or call(folder, "git", "tag", "-l", FINISHED).stdout == "":
            shutil.rmtree(folder, ignore_errors=True)
            done = dvc(clone(folder, WIRED), "repro")
            assert len(ran(done)) == len(hashes(folder)) >= 16
            commit(folder, "run")
            call(folder, "git", "tag", FINISHED)
    return folder


def finished_hashes(folder: Path) -> dict[str, dict[str, str]]:
    """The hashes of `run_once`."""
    return hashes(folder, call(folder, "git", "show", f"{FINISHED}:dvc.lock").stdout)


def back(workspace: Path) -> None:
    """The clone as it is committed, outputs and all, from DVC's cache."""
    call(workspace, "git", "checkout", "-q", "-f", "--", ".")
    call(workspace, "git", "clean", "-fdq")
    dvc(workspace, "checkout", "--quiet", "--force")
