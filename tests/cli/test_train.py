"""`svs train` as a person calls it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from svs import networks
from svs.audio.sources import WavSource
from svs.cli import train as cli_train
from svs.config import project as config_project
from svs.data.dataset import Dataset
from svs.errors import DataError, SettingsError
from svs.networks import archive
from svs.runtime import files
from tests.helpers import REPOSITORY
from tests.helpers.command import call, project, wav

pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture(scope="module")
def trained(home, extracted) -> Path:
    """A model of two epochs."""
    out = home / "models" / "CNN_separator"
    assert call("train", "CNN_separator", extracted[0], "SVS", "-e", 2, "-b", 8, "--project", home) == 0
    return out


@pytest.mark.parametrize(
    ("given", "name", "mode", "label", "network"),
    [
        (None, "CNN_separator", "SVS", None, "cnn_separator"),
        (None, "mine", "SVS", 1, "cnn_separator"),
        (None, "mine", "SVS", 9, "cnn_deep_separator"),
        (None, "mine", "DAE", 9, "cnn_deep_separator"),
        (None, "mine", "VAD", None, "vad"),
        ("cnn_separator", "mine", "SVS", 9, "cnn_separator"),
        (None, "cnn_deep_separator", "SVS", 1, "cnn_deep_separator"),
        (None, "mine", "MIX", None, "unet_separator"),
    ],
)
def test_which_network(given, name, mode, label, network):
    assert cli_train._network(given, name, mode, label) == network


@pytest.mark.parametrize(
    ("given", "name", "mode"),
    [
        ("nope", "a", "SVS"),
        ("vad", "a", "SVS"),
        (None, "vad", "SVS"),
        ("cnn_separator", "a", "VAD"),
        ("unet_separator", "a", "SVS"),
        ("cnn_separator", "a", "MIX"),
        (None, "vad", "MIX"),
    ],
)
def test_which_network_not(given, name, mode):
    with pytest.raises(SettingsError):
        cli_train._network(given, name, mode, 1)


SMALL_NET = {
    "frames": 32,
    "representation.frame_size": 1024,
    "representation.win_length": 1024,
    "representation.hop_length": 512,
    "network.channels": 6,
    "network.growth": 2,
    "network.levels": 1,  # most of a test's time is what TensorFlow needs to prepare the step
}


SMALL_MIX = [word for key, value in SMALL_NET.items() for word in ("-S", f"train.unet_separator.{key}={value}")]


@pytest.mark.slow
def test_training_on_mixtures_is_the_stage_and_is_used(stems, settings, tmp_path, monkeypatch, capsys):
    from svs.training.on_mixtures import train_on_mixes

    home = project(tmp_path / "home")
    begun = {"epochs": 2, "batch_size": 4, "mixes": 12}  # five sets of two, in whole batches
    words = ["train", "unet_separator", stems, "MIX", "-e", 2, "-b", 4, *SMALL_MIX, "--project", home]
    assert call(*words) == 0
    said = capsys.readouterr().out
    assert "unet_separator, mode MIX; validation loss -" in said
    assert "use it: svs separate SONG -m unet_separator\n" in said
    out = home / "models" / "unet_separator"
    assert sorted(os.listdir(out)) == ["curve.csv", "metrics.json", "model.json", "model.keras", "model.onnx"]

    options = project_options(home, SMALL_MIX[1::2], begun)
    model, card = train_on_mixes(
        "unet_separator", stems / "stems", options, settings.seed, files.Scratch(tmp_path, "work", "1")
    )
    archive.save(tmp_path / "stage", model, card)
    for name in ("model.keras", "model.json"):
        assert (out / name).read_bytes() == (tmp_path / "stage" / name).read_bytes()

    # It is a start, for a net of its size.
    again = [tmp_path / "again", "-q", "--init", out]
    assert call(*words[:1], "unet_separator", stems, "MIX", "-e", 1, *SMALL_MIX, "--project", home, "-o", *again) == 0
    card = json.loads((tmp_path / "again/model.json").read_text())
    assert card["start"]["name"] == str(out) and card["start"]["model"] == "unet_separator"
    assert json.loads((tmp_path / "again/metrics.json").read_text())["loss"] < begun_loss(out) - 0.1
    other = ["-S", "train.unet_separator.network.channels=8", "-o", tmp_path / "other", "-q", "--init", out]
    assert call("train", "unet_separator", stems, "MIX", *SMALL_MIX, "--project", home, *other) == 5
    assert "have other shapes than unet_separator's" in capsys.readouterr().err

    monkeypatch.chdir(tmp_path)
    song = tmp_path / "song.wav"
    wav(song, np.random.default_rng(0).normal(0, 0.1, (44100, 2)).astype(np.float32), 44100)
    assert call("separate", song, "--no-picture", "--project", home, "-o", "out", "-m", "unet_separator") == 0
    assert os.listdir("out/song") == ["unet_separator"]


def begun_loss(folder) -> float:
    """Training loss of the first epoch."""
    return float((folder / "curve.csv").read_text().splitlines()[1].split(",")[1])


def project_options(home, overrides, more):
    given = [*overrides, *(f"train.unet_separator.{key}={value}" for key, value in more.items())]
    return networks.training("unet_separator", config_project.find_project(home, given).settings)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--mixes", "3", "-b", "2"], 2, "mixes 3: expected a multiple of the batch_size, 2"),
        (["-ow", "1"], 2, "--label-width: mode MIX"),
        (["--init", "x"], 5, "x: expected a folder with model.keras"),
        (["-S", "train.unet_separator.start=spleeter"], 5, "start: expected the folder of a trained network, found no"),
        (["-n", "cnn_separator"], 2, "can't be trained in mode MIX, which has spleeter_finetuned, unet_separator"),
        (["-S", "train.unet_separator.frames=4000"], 3, "as long as a passage"),
    ],
)
def test_training_on_mixtures_refuses_the_impossible(words, code, said, stems, home, tmp_path, capsys):
    assert call("train", "mine", stems, "MIX", "-o", tmp_path / "m", "--project", home, "-q", *words) == code
    assert said in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_the_other_modes_have_no_mixtures(extracted, stems, home, tmp_path, capsys):
    rest = ["-o", tmp_path / "m", "--project", home, "-q"]
    assert call("train", "mine", extracted[0], "SVS", "--mixes", 3, *rest) == 2
    assert "--mixes: mode SVS has no mixtures" in capsys.readouterr().err
    for where, mode in ((extracted[0], "MIX"), (stems, "SVS")):
        assert call("train", "mine", where, mode, *rest) == 3
        assert f"expected a store for mode {mode}, found none; make one: svs extract" in capsys.readouterr().err


def test_an_option_wins_over_set_over_the_store_over_params(extracted, home, tmp_path, monkeypatch):
    seen = []

    def begin(out, network, mode, training, seed, **_):
        seen.append((network, training, seed))
        raise DataError("all that matters here is known")

    monkeypatch.setattr(cli_train, "scratch_beside", begin)

    def train(*words):
        assert call("train", "mine", extracted[0], "SVS", "-o", tmp_path / "m", "--project", home, "-q", *words) == 3
        return seen[-1]

    network, training, seed = train()
    assert network == "cnn_deep_separator"  # its label is 3 frames wide
    assert (training.excerpts.per_track, training.excerpts.valid_per_track) == (16, 3)
    assert (training.excerpts.start_point, training.label_width) == (0.2, 3)
    profile = yaml.safe_load((REPOSITORY / "params.yaml").read_text())["profiles"]["tiny"]
    assert (training.epochs, seed) == (profile["train"]["excerpts"]["epochs"], 20)
    changed = ["-S", "train.cnn_deep_separator.excerpts.per_track=5", "-S", "train.cnn_deep_separator.epochs=5"]
    assert train(*changed)[1].excerpts.per_track == 5
    assert train(*changed)[1].epochs == 5
    assert train(*changed, "-e", 3)[1].epochs == 3
    network, training, seed = train("-b", 7, "-ow", 1, "--learning-rate", 0.25, "--seed", 3)
    assert (network, training.batch_size, training.label_width, training.learning_rate, seed) == (
        "cnn_separator",
        7,
        1,
        0.25,
        3,
    )


def test_an_interrupted_training_does_not_go_on_from_another_start(extracted, home, tmp_path, monkeypatch):
    """Wherever the command is called: a relative --init is that of the working directory, not of the project."""
    seen = []

    def begin(*_, inputs, **__):
        seen.append(files.fingerprint(inputs=inputs, code=()))
        raise DataError("all that matters here is known")

    monkeypatch.setattr(cli_train, "scratch_beside", begin)
    monkeypatch.chdir(tmp_path)
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.keras").write_text(name)
        assert call("train", "mine", extracted[0], "SVS", "--project", home, "-q", "--init", name) == 3
    assert seen[0] != seen[1]


def test_overrides_win_over_the_profile(home):
    found = config_project.find_project(
        home, ["train.cnn_separator.epochs=3", "profile=full", "score.passage.start=2.5"]
    )
    assert found.settings.profile == "full"
    assert networks.training("cnn_separator", found.settings).epochs == 3
    assert found.settings.score.passage.start == 2.5
    with pytest.raises(SettingsError, match="nope"):
        config_project.find_project(home, ["profile=nope"])


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["a", "STORE", "NOPE"], 2, "'MODE': 'NOPE' is not one of 'svs'"),
        (["a", "STORE", "DAE"], 3, "it was made for SVS"),
        (["a", "STORE", "VAD"], 3, "svs extract DATA OUT ITERATIONS VAD"),
        (["a", "nowhere", "SVS"], 3, "found none"),
        (["a/b", "STORE", "SVS"], 2, "--output"),
        (["a", "STORE", "SVS", "-n", "nope"], 2, "the network nope can't be trained in mode SVS, which has cnn"),
        (["a", "STORE", "SVS", "-ow", "7"], 2, "--label-width 7"),
        (["a", "STORE", "SVS", "--init", "nowhere"], 5, "model.keras"),
        (["a", "STORE", "SVS", "--learning-rate", "7"], 2, "learning_rate"),
    ],
)
def test_train_refuses_the_impossible(words, code, said, extracted, home, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [extracted[0] if word == "STORE" else word for word in words]
    assert call("train", *words, "--project", home) == code
    error = capsys.readouterr().err
    assert said in error and error.startswith("error: ") and error.count("\n") == 1
    assert not (home / "models" / "a").exists() and not list(tmp_path.iterdir())


def test_train_leaves_a_model_that_separates(trained, extracted, home, tiny_set, tmp_path, capsys):
    assert sorted(item.name for item in trained.iterdir()) == [
        "curve.csv",
        "metrics.json",
        "model.json",
        "model.keras",
        "model.onnx",
    ]
    card = json.loads((trained / "model.json").read_text())
    assert (card["label_width"], card["epochs"], card["excerpts"]["train"]) == (3, 2, 32)
    assert len(pd.read_csv(trained / "curve.csv")) == 2
    assert [item.name for item in trained.parent.iterdir()] == [trained.name], "scratch is left"
    # A second time: refused, and what is there stays.
    assert call("train", "CNN_separator", extracted[0], "SVS", "--project", home) == 3
    capsys.readouterr()
    assert (
        call(
            "score",
            "cnn_separator",
            "--musdb",
            tiny_set[0],
            "-o",
            tmp_path / "out",
            "--project",
            home,
            "-S",
            f"methods.cnn_separator.needs={trained}",
        )
        == 0
    )
    assert "cnn_separator" in capsys.readouterr().out
    with Dataset(*tiny_set).open(tiny_set[1].split("test")[0], ("mixture",)) as sources:
        mixture = sources["mixture"].read(0, sources["mixture"].samples)
    place = next((tmp_path / "out" / "cnn_separator" / "test").iterdir())
    parts = [WavSource(place / f"{name}.wav").read(0, len(mixture)) for name in ("vocals", "accompaniment")]
    np.testing.assert_allclose(sum(parts), mixture, atol=1e-6)
    assert np.abs(parts[0]).max() > 0


@pytest.mark.slow
def test_train_from_an_autoencoder(tiny_set, home, tmp_path, capsys):
    wanted = ["-f", 512, "-H", 256, "-w", 512, "-sr", 22050, "-iw", 3, "--project", home, "-q"]
    assert call("extract", tiny_set[0], tmp_path / "ae", 4, "DAE", *wanted) == 0
    assert call("extract", tiny_set[0], tmp_path / "svs", 4, "SVS", *wanted) == 0
    once = ["-e", 1, "-b", 4, "--project", home]
    assert call("train", "ae", tmp_path / "ae", "DAE", *once, "-o", tmp_path / "m" / "ae") == 0
    assert "--init" in capsys.readouterr().out
    assert (
        call(
            "train",
            "deep",
            tmp_path / "svs",
            "SVS",
            *once,
            "-o",
            tmp_path / "m" / "deep",
            "--init",
            tmp_path / "m" / "ae",
        )
        == 0
    )
    # Of another shape: refused, and nothing appears.
    assert (
        call(
            "train",
            "flat",
            tmp_path / "svs",
            "SVS",
            *once,
            "-n",
            "cnn_separator",
            "-o",
            tmp_path / "m" / "flat",
            "--init",
            tmp_path / "m" / "ae",
        )
        == 5
    )
    assert not (tmp_path / "m" / "flat").exists()


def _training(extracted: Path, home: Path, out: Path) -> list[str]:
    return [
        sys.executable,
        "-m",
        "svs.cli",
        "train",
        "killed",
        str(extracted),
        "SVS",
        "-n",
        "cnn_separator",
        "-e",
        "8",
        "-b",
        "4",
        "-o",
        str(out),
        "--project",
        str(home),
    ]


def _begun(command: list[str], out: Path, how: signal.Signals) -> subprocess.Popen:
    """Start a training and end it after its first epoch."""
    process = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    deadline = time.monotonic() + 240
    while not list(out.parent.glob(f".{out.name}.partial/*/state.npz")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(how)
    return process


@pytest.fixture(scope="module")
def whole(extracted, home, tmp_path_factory) -> Path:
    """A training that nobody ended."""
    out = tmp_path_factory.mktemp("whole") / "model"
    assert subprocess.run(_training(extracted[0], home, out), cwd=REPOSITORY, capture_output=True).returncode == 0
    return out


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_training_that_was_ended_goes_on(how, whole, extracted, home, tmp_path):
    out = tmp_path / "killed"
    process = _begun(_training(extracted[0], home, out), out, how)
    _, error = process.communicate(timeout=120)
    assert process.returncode == (-signal.SIGKILL if how == signal.SIGKILL else 130), error
    assert not out.exists()
    if how == signal.SIGINT:
        assert "interrupted: run again to continue" in error
        assert "Traceback" not in error
    again = subprocess.run(_training(extracted[0], home, out), cwd=REPOSITORY, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "continuing after epoch" in again.stderr
    for name in ("model.keras", "model.json", "curve.csv", "metrics.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    assert [item.name for item in tmp_path.iterdir()] == ["killed"], "scratch is left"
