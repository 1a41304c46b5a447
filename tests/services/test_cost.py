"""`svs summary --measure`: what methods cost on this machine, on the longest test track of a project."""

from __future__ import annotations

import os
import re
import signal
import sys

import numpy as np
import pytest

from svs.config import paths, schema
from svs.config.project import Project
from svs.data.dataset import Manifest
from svs.errors import DataError, ModelError, SVSError
from svs.runtime.files import read_json
from svs.services import cost
from tests.helpers.command import project as parameters
from tests.helpers.command import svs
from tests.helpers.pipeline import changed_parameters


@pytest.fixture
def project(tiny_set, settings, tmp_path) -> Project:
    """A project with the generated data set."""
    folder, manifest = tiny_set
    (tmp_path / paths.DATASETS).mkdir(parents=True)
    (tmp_path / paths.DATASETS / "tiny").symlink_to(folder)
    manifest.save(tmp_path / paths.MANIFEST)
    return Project(tmp_path, settings)


def test_speed_and_memory_of_a_method_and_of_an_oracle(project):
    light, oracle = (cost.of_method(project, method, 2.0) for method in ("mixture", "oracle_irm"))
    assert light.speed > oracle.speed > 0.5
    assert 30 < light.memory < oracle.memory + 50 < 2000
    assert np.isfinite([*light, *oracle]).all()


def test_audio_that_is_gone_is_made_again_in_the_project(project, tiny_set, monkeypatch):
    """Wherever the command is called."""
    (project.path(paths.DATASETS) / "tiny").unlink()
    stamp = read_json(tiny_set[0] / "generated.json")["settings"]
    tiny = {key: stamp[key] for key in project.settings.download.tiny.model_dump()}
    parameters(project.home)
    changed_parameters(project.home, {"seed": stamp["seed"], "profiles": {"tiny": {"download": {"tiny": tiny}}}})
    elsewhere = project.path("elsewhere")
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    here = Project(project.home, schema.load(project.path("params.yaml")))
    assert cost.of_method(here, "mixture", 2.0).speed > 1
    assert (project.path(paths.DATASETS) / "tiny" / "test").is_dir() and not list(elsewhere.iterdir())


def test_a_method_that_can_t_run_says_why(project):
    with pytest.raises(ModelError, match="unet_separator"):
        cost.of_method(project, "unet_separator", 2.0)


def killed(*_) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_a_method_whose_process_is_killed(project, monkeypatch):
    """As the system does where memory runs out; the other methods are measured all the same."""
    monkeypatch.setattr(cost, "_measured", killed)
    with pytest.raises(SVSError, match=r"mixture: its process died \(killed for want of memory\?\)"):
        cost.of_method(project, "mixture", 2.0)


def test_without_a_test_track_there_is_nothing_to_measure(project):
    manifest = Manifest.load(project.path(paths.MANIFEST))
    Manifest(manifest.dataset, manifest.split("train")).save(project.path(paths.MANIFEST))
    with pytest.raises(DataError, match="no test track to measure on"):
        cost.of_method(project, "mixture", 2.0)


def test_the_command_measures_and_names_what_it_can_t(project):
    (project.home / "wiring.yaml").write_text("methods: {}\nmodels: {}\nenhancers: {}\n")
    (project.home / "params.yaml").write_text("seed: 20\n")
    (project.home / "metrics").mkdir()
    rows = [
        f"{method},a,{target},1,1,1,1,3,0"
        for method in ("mixture", "unet_separator")
        for target in ("vocals", "accompaniment")
    ]
    head = "method,track,target,SDR,ISR,SIR,SAR,frames,silent"
    (project.home / "metrics/scores.csv").write_text("\n".join([head, *rows]) + "\n")
    found = svs("summary", "--project", project.home, "--measure", "--seconds", "2")
    assert found.code == 0 and "unet_separator" in found.err
    header, mixture, net = found.out.splitlines()
    assert re.search(r"x real time +MB +trained on$", header)
    speed, memory = map(float, mixture.split()[-3:-1])
    assert speed > 1 and memory > 30
    assert net.split()[-3:] == ["–", "–", "–"]
