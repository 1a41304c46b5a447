"""The pipeline as DVC runs it: a second clone gives the same bytes, although killed in the middle of any stage.

Beside `test_pipeline` in a file of its own, so that two workers share what takes longest.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.pipeline import (
    WIRED,
    call,
    changed_parameters,
    clone,
    dvc,
    environment,
    finished_hashes,
    hashes,
    ran,
    run_once,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # of which the run from nothing takes most


def logged(path: Path, text: str) -> bool:
    return path.exists() and text in path.read_text(errors="replace")


# Stages, and the sign (a glob in the clone) that one is in the middle of its work.
MIDDLE = [
    ("download", "data/musdb/.tiny.*/tiny/train/*01"),
    ("extract", ".cache/extract/*/tracks/*/runs.npz"),
    ("pretrain", ".cache/pretrain/*/state.npz"),
    ("train@cnn_separator", ".cache/train-cnn_separator/*/state.npz"),
    ("train@cnn_deep_separator", ".cache/train-cnn_deep_separator/*/state.npz"),
    ("train_vad", ".cache/train-vad/*/state.npz"),
    ("separate@oracle_ibm", ".cache/separate-oracle_ibm/*/test/*"),
    ("score@mixture", ".cache/score-mixture/*/bsseval/test/*.json"),
    ("pictures", "plots/tracks/*.png"),
]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second clone, in which the run was killed in the middle of each of those stages and started again."""
    workspace = clone(tmp_path_factory.mktemp("killed"), WIRED)
    for stage, sign in MIDDLE:
        log = workspace.parent / f"{workspace.name}-{stage}.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                ["dvc", "repro"],
                cwd=workspace,
                env=environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + 300
        while not (logged(log, f"Running stage '{stage}'") and any(workspace.glob(sign))):
            assert process.poll() is None, f"{stage} was over before it could be killed:\n{log.read_text()[-2000:]}"
            assert time.monotonic() < deadline, f"no sign of {stage}:\n{log.read_text()[-2000:]}"
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        done = hashes(workspace) if (workspace / "dvc.lock").exists() else {}
        assert stage not in done, f"{stage} had finished; the kill came too late to mean anything"
    return workspace


def test_a_second_clone_killed_in_any_stage_ends_with_the_same_bytes(killed, tmp_path_factory):
    final = dvc(killed, "repro")
    assert "pictures" in ran(final) and set(ran(final)) <= {"pictures", "plots", "report"}, "a finished stage ran again"
    assert hashes(killed) == finished_hashes(run_once(tmp_path_factory))
    assert not list(killed.rglob("*.unfinished"))


def test_a_resumed_training_continues_after_the_epochs_done(killed, tmp_path):
    """The log of a training that is started again says which epoch it goes on from."""
    workspace = clone(tmp_path)
    shutil.copytree(killed / "data", workspace / "data", dirs_exist_ok=True)
    log = tmp_path.parent / f"{tmp_path.name}.log"
    changed_parameters(workspace, {"profiles": {"tiny": {"train": {"cnn_separator": {"epochs": 40}}}}})
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "stages.train", "cnn_separator"],
            cwd=workspace,
            env=environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    while not logged(log, "epoch 2:"):
        assert process.poll() is None, log.read_text()[-2000:]
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (workspace / "models/cnn_separator").exists()
    again = call(workspace, sys.executable, "-m", "stages.train", "cnn_separator")
    assert "continuing after epoch" in again.stderr
    assert (workspace / "models/cnn_separator/model.keras").exists()
