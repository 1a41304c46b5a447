"""Training: the right loss from the right start, the best weights kept, the same bytes always, even after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import zarr

from svs import networks
from svs.config.schema import Draw, ExcerptTraining
from svs.data.dataset import Dataset
from svs.errors import ModelError
from svs.features import extraction
from svs.features.store import Spectrograms
from svs.networks import archive, inference, streaming
from svs.runtime.files import Scratch
from svs.training import loop, on_excerpts
from svs.training.excerpts import VALID, Batches
from tests.helpers import REPOSITORY

# So small a step that no float32 weight moves: training looks, but does not touch.
STILL = 1e-30
FEW = Draw(per_track=8, valid_per_track=4, start_point=0.0, stop_point=None)


@pytest.fixture(scope="module")
def store(tiny_set, small, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("training")
    extraction.extract(Dataset(*tiny_set), small.extract, root / "store", Scratch(root, "extract", "a"))
    return root / "store"


def options(**changes) -> ExcerptTraining:
    base = dict(
        epochs=3,
        batch_size=16,
        learning_rate=1e-3,
        label_smoothing=0.02,
        input_gain=100.0,
        patience=100,
        label_width=1,
        excerpts=Draw(per_track=40, valid_per_track=16, start_point=0.0, stop_point=None),
    )
    return ExcerptTraining(**(base | changes))


def train(store: Path, root: Path, changes: dict | None = None, *, name="cnn_separator", mode="SVS", seed=1, **more):
    group = store / ("vad" if mode == "VAD" else "masks")
    return on_excerpts.train(name, group, mode, options(**(changes or {})), seed, Scratch(root, name, "a"), **more)


def losses(curve: Path) -> np.ndarray:
    """Rows of epoch, loss, validation loss."""
    assert curve.read_text().splitlines()[0] == "epoch,loss,val_loss"
    return np.loadtxt(curve, delimiter=",", skiprows=1, ndmin=2)


def cross_entropy(logits: np.ndarray, label: np.ndarray, smoothing: float) -> float:
    """Mean binary cross entropy in nats, written out."""
    target = smoothing + (1 - 2 * smoothing) * label.astype(np.float64)
    logits = logits.astype(np.float64)
    return float(np.mean(np.logaddexp(0, logits) - target * logits))


def validation_loss(model: keras.Model, group: Path, mode: str, settings: ExcerptTraining, seed: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        draw, size, label = settings.excerpts, settings.batch_size, settings.label_width
        made = Batches(group, mode, VALID, draw, size, label, seed, Path(folder))
        x, y = zip(*(made[index] for index in range(len(made))), strict=True)
    return cross_entropy(model.predict_on_batch(np.concatenate(x)), np.concatenate(y), settings.label_smoothing)


# The loss


def test_entropy_floor():
    assert on_excerpts.entropy_floor(0) == 0
    assert on_excerpts.entropy_floor(0.02) == pytest.approx(0.0980, abs=5e-5)
    # The lowest that any logit reaches against a label of that smoothing.
    logits = np.linspace(-12, 12, 100_001)
    for smoothing in (0.02, 0.1, 0.3):
        lowest = min(cross_entropy(np.array([logit]), np.ones(1), smoothing) for logit in logits[::20])
        assert on_excerpts.entropy_floor(smoothing) == pytest.approx(lowest, abs=1e-5)
        assert cross_entropy(np.array([np.log((1 - smoothing) / smoothing)]), np.ones(1), smoothing) == pytest.approx(
            on_excerpts.entropy_floor(smoothing)
        )


@pytest.mark.parametrize(
    "smoothing, logit, expected",
    [
        (0.02, np.log(0.98 / 0.02), 0.09804),  # perfect: the floor
        (0.02, -np.log(0.98 / 0.02), 3.83419),  # perfectly inverted labels
        (0.0, np.log(0.98 / 0.02), 0.02020),
    ],
)
def test_labels_are_smoothed_and_vocals_are_one(tmp_path, smoothing, logit, expected):
    """A net that says one number everywhere, against a mask that is vocals everywhere."""
    root = zarr.open_group(tmp_path / "masks", mode="w")
    for track in "ab":
        root.require_group(track).attrs["level"] = 0.1
        root.require_group(track).create_array("mixture", data=np.full((40, 257), 0.01, np.float32))
        root.require_group(track).create_array("mask", data=np.ones((40, 257), bool))
    root.attrs.put(
        {
            "index": {"SVS": [["a", "train", 4, 35, 1], ["b", "valid", 4, 35, 1]]},
            "representation": {
                "sample_rate": 8000,
                "frame_size": 512,
                "win_length": 512,
                "hop_length": 256,
                "width": 9,
            },
        }
    )
    net = networks.build("cnn_separator", 257, 9, 1, input_gain=100.0, seed=0)
    weights = [np.zeros_like(weight) for weight in net.get_weights()]
    weights[-1][:] = logit
    net.set_weights(weights)
    archive.save(tmp_path / "start", net, {})
    _, card = train(
        tmp_path,
        tmp_path,
        {"learning_rate": STILL, "epochs": 1, "label_smoothing": smoothing, "excerpts": FEW},
        initial=tmp_path / "start",
    )
    assert card["val_loss"] == pytest.approx(expected, abs=2e-5)
    assert card["loss"] == pytest.approx(expected, abs=2e-5)
    assert card["val_loss_floor"] == pytest.approx(on_excerpts.entropy_floor(smoothing))


# What training does


@pytest.mark.parametrize(
    "name, mode, label_width",
    [
        ("cnn_separator", "SVS", 1),
        ("vad", "VAD", None),
        pytest.param("cnn_deep_separator", "SVS", 9, marks=pytest.mark.slow),
        pytest.param("cnn_deep_separator", "DAE", None, marks=pytest.mark.slow),
    ],
)
def test_the_loss_falls(store, tmp_path, name, mode, label_width):
    changes = {"label_width": label_width, "epochs": 4, "label_smoothing": 0.02 if mode == "SVS" else 0.0}
    model, card = train(store, tmp_path, changes, name=name, mode=mode, curve=tmp_path / "curve.csv")
    rows = losses(tmp_path / "curve.csv")
    assert rows[:, 0].tolist() == [1, 2, 3, 4]
    assert rows[-1, 1] < rows[0, 1]
    assert card["val_loss"] == pytest.approx(rows[:, 2].min(), abs=1e-6)
    assert card["best_epoch"] == 1 + rows[:, 2].argmin()
    assert card["level"] == Spectrograms(store / ("vad" if mode == "VAD" else "masks")).level(mode, "train") > 0.01
    assert card["loss"] == pytest.approx(rows[card["best_epoch"] - 1, 1], abs=1e-6)
    assert (card["model"], card["mode"], card["epochs"]) == (name, mode, 4)
    assert card["parameters"] == sum(weight.size for weight in model.get_weights())
    assert card["label_width"] == (label_width or (25 if mode == "VAD" else 9))
    assert card["representation"] == {
        "sample_rate": 22050,
        "frame_size": 512,
        "win_length": 512,
        "hop_length": 256,
        "width": 25 if mode == "VAD" else 9,
    }
    assert card["excerpts"] == {"train": 80, "valid": 16}
    assert (card["val_loss_floor"] is not None) == (mode == "SVS")


def test_the_returned_weights_are_those_of_the_best_epoch(store, tmp_path):
    """At a wild learning rate the last epochs are not the best; patience makes sure that they come."""
    changes = {"learning_rate": 0.05, "epochs": 30, "patience": 2}
    model, card = train(store, tmp_path, changes, curve=tmp_path / "curve.csv")
    rows = losses(tmp_path / "curve.csv")
    assert card["best_epoch"] == card["epochs"] - 2 == len(rows) - 2
    assert rows[-1, 2] > card["val_loss"]
    ours = validation_loss(model, store / "masks", "SVS", options(**changes), 1)
    assert ours == pytest.approx(rows[:, 2].min(), rel=1e-4)
    assert ours != pytest.approx(rows[-1, 2], rel=1e-3)


def test_early_stopping_by_patience_also_across_a_resume(store, tmp_path):
    """Nothing is learned, so the first epoch stays the best and the third after it is the last."""
    lazy = {"learning_rate": STILL, "patience": 3, "epochs": 20, "excerpts": FEW}
    _, whole = train(store, tmp_path / "whole", lazy, curve=tmp_path / "whole.csv")
    assert (whole["best_epoch"], whole["epochs"]) == (1, 4)
    _, first = train(store, tmp_path / "resumed", lazy | {"epochs": 2}, curve=tmp_path / "resumed.csv")
    assert first["epochs"] == 2
    _, resumed = train(store, tmp_path / "resumed", lazy, curve=tmp_path / "resumed.csv")
    assert resumed == whole
    assert (tmp_path / "resumed.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    # Once more: it had stopped, so there is nothing to do.
    _, again = train(store, tmp_path / "resumed", lazy, curve=tmp_path / "resumed.csv")
    assert again == whole


@pytest.mark.slow
@pytest.mark.timeout(1800)  # some processors emulate float16
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains_the_same_net(store, tmp_path, precision):
    """About the same loss; a net that says nothing of it and is read without Keras; interrupted, the same losses."""
    slow = {"epochs": 3, "learning_rate": 3e-4}  # at larger steps the rounding grows within these few
    changes = slow | {"precision": precision}
    plain, plain_card = train(store, tmp_path / "plain", slow)
    model, card = train(store, tmp_path / "whole", changes, curve=tmp_path / "whole.csv")
    assert keras.config.dtype_policy().name == "float32"
    assert card["precision"] == precision and "precision" not in plain_card
    # Another rounding, so it really computed with other numbers; but the same training.
    assert card["val_loss"] != plain_card["val_loss"]
    assert card["val_loss"] == pytest.approx(plain_card["val_loss"], rel=0.03)
    assert model.get_config() == plain.get_config()
    assert {weight.dtype for weight in model.get_weights()} == {np.dtype(np.float32)}
    ours = validation_loss(model, store / "masks", "SVS", options(**changes), 1)
    assert ours == pytest.approx(card["val_loss"], rel=0.01)
    archive.save(tmp_path / "saved", model, card)
    assert streaming.Evaluation(inference.read(tmp_path / "saved")[0]).window == (257, 9)
    # Interrupted after an epoch: the scale of the loss goes on as well.
    train(store, tmp_path / "resumed", changes | {"epochs": 1}, curve=tmp_path / "resumed.csv")
    train(store, tmp_path / "resumed", changes, curve=tmp_path / "resumed.csv")
    assert (tmp_path / "resumed.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_loss_that_is_not_finite_is_a_model_error(store, tmp_path):
    with pytest.raises(ModelError, match="epoch 1: the loss is .*(nan|inf).*lower the learning rate"):
        train(store, tmp_path, {"input_gain": 1e30}, curve=tmp_path / "curve.csv")
    assert not (tmp_path / "curve.csv").exists()


def test_weights_that_are_not_finite_are_a_model_error_and_not_kept(tmp_path):
    # ReLU can hide them: a loss says nothing of a net whose layers are all dead.
    net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    net.compile("adam", "mse")
    net.optimizer.build(net.trainable_variables)
    checkpoint = loop.Checkpoint(tmp_path / "state.npz", 1, tmp_path / "curve.csv", None)
    checkpoint.set_model(net)
    checkpoint.on_epoch_end(0, {"loss": 2.0, "val_loss": 2.0})
    before = (tmp_path / "state.npz").read_bytes()
    net.layers[0].bias.assign([np.nan])
    with pytest.raises(ModelError, match="epoch 2: .*weights that are not finite.*after epoch 1"):
        checkpoint.on_epoch_end(1, {"loss": 1.0, "val_loss": 1.0})
    assert (tmp_path / "state.npz").read_bytes() == before


# What training starts from


@pytest.fixture(scope="module")
def autoencoder(store, tmp_path_factory):
    root = tmp_path_factory.mktemp("autoencoder")
    changes = {"label_width": None, "epochs": 1, "label_smoothing": 0.0}
    model, card = train(store, root, changes, name="cnn_deep_separator", mode="DAE")
    archive.save(root / "autoencoder", model, card)
    return root / "autoencoder", model


def test_all_weights_of_the_autoencoder_start_the_training(store, autoencoder, tmp_path):
    folder, source = autoencoder
    model, _ = train(
        store,
        tmp_path,
        {"label_width": 9, "epochs": 1, "learning_rate": STILL, "excerpts": FEW},
        name="cnn_deep_separator",
        initial=folder,
        seed=99,
    )
    assert len(model.trainable_weights) == 7 * 2 + 3 * 2
    for ours, theirs in zip(model.trainable_weights, source.trainable_weights, strict=True):
        # Biases and kernels are where the autoencoder left them: STILL moves a weight by 1e-30.
        np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=0, atol=1e-20)
    assert model.layers[-2].name == "logits"
    np.testing.assert_array_equal(np.asarray(model.layers[-2].kernel), np.asarray(source.layers[-2].kernel))
    other, _ = train(
        store,
        tmp_path / "fresh",
        {"label_width": 9, "epochs": 1, "learning_rate": STILL, "excerpts": FEW},
        name="cnn_deep_separator",
        seed=99,
    )
    assert not np.allclose(np.asarray(other.layers[-2].kernel), np.asarray(source.layers[-2].kernel))


def test_the_optimiser_is_fresh(store, autoencoder, tmp_path):
    """Adam's first step is the learning rate, whatever the gradient: old moments would give another."""
    folder, source = autoencoder
    rate = 1e-4
    model, _ = train(
        store,
        tmp_path,
        {"label_width": 9, "epochs": 1, "learning_rate": rate, "excerpts": FEW},
        name="cnn_deep_separator",
        initial=folder,
    )
    assert int(model.optimizer.iterations) == 1 and float(model.optimizer.learning_rate) == pytest.approx(rate)
    step = np.abs(np.asarray(model.layers[-2].kernel) - np.asarray(source.layers[-2].kernel))
    assert step.max() == pytest.approx(rate, rel=0.02)
    assert np.median(step[step > 0]) == pytest.approx(rate, rel=0.1)


def test_a_start_of_another_shape_is_refused(store, autoencoder, tmp_path):
    with pytest.raises(ModelError, match="other shapes"):
        train(store, tmp_path, {"label_width": 1, "epochs": 1}, name="cnn_deep_separator", initial=autoencoder[0])
    with pytest.raises(ModelError, match="other shapes"):
        train(store, tmp_path, {"label_width": 9, "epochs": 1}, name="cnn_separator", initial=autoencoder[0])


def test_a_missing_or_damaged_start_is_refused(store, tmp_path):
    with pytest.raises(ModelError, match="no such model"):
        train(store, tmp_path, initial=tmp_path / "nowhere")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / archive.MODEL).write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(ModelError, match="train it again"):
        train(store, tmp_path, initial=tmp_path / "broken")


def test_metrics_of_a_card():
    card = {
        "model": "cnn_deep_separator",
        "mode": "SVS",
        "val_loss": 0.5,
        "loss": 0.4,
        "best_epoch": 2,
        "epochs": 3,
        "val_loss_floor": 0.098,
        "parameters": 1234,
        "excerpts": {"train": 60, "valid": 32},
        "representation": {"sample_rate": 44100},
    }
    size = {"parameters": 1234, "excerpts": {"train": 60, "valid": 32}}
    assert loop.metrics(card) == size | {
        "val_loss": 0.5,
        "loss": 0.4,
        "best_epoch": 2,
        "epochs": 3,
        "val_loss_floor": 0.098,
        "val_loss_of_the_dissertation": 0.4285,
    }
    assert loop.metrics(card | {"mode": "DAE", "val_loss_floor": None}) == size | {
        "val_loss": 0.5,
        "loss": 0.4,
        "best_epoch": 2,
        "epochs": 3,
    }


# The same bytes, whatever happens

RUN = """
import json, sys
from pathlib import Path
from svs.training import on_excerpts
from svs.runtime.files import Scratch
from svs.networks import archive
from svs.config.schema import ExcerptTraining
name, mode, store, root, options, seed, initial = sys.argv[1:]
root = Path(root)
model, card = on_excerpts.train(name, Path(store), mode, ExcerptTraining.model_validate_json(options), int(seed),
                             Scratch(root, "scratch", "a"), curve=root / "curve.csv", logs=root / "logs",
                             initial=Path(initial) if initial else None)
archive.save(root / "model", model, card)
"""


def start(
    store: Path, root: Path, settings: ExcerptTraining, *, seed=1, name="cnn_deep_separator", initial=""
) -> subprocess.Popen:
    root.mkdir(exist_ok=True)
    command = [
        sys.executable,
        "-c",
        RUN,
        name,
        "SVS",
        store / "masks",
        root,
        settings.model_dump_json(),
        str(seed),
        str(initial),
    ]
    with open(root / "stderr", "ab") as errors:
        return subprocess.Popen(
            list(map(str, command)), cwd=REPOSITORY, stderr=errors, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        )


def finish(process: subprocess.Popen, root: Path) -> dict[str, bytes]:
    assert process.wait() == 0, (root / "stderr").read_text()[-3000:]
    return {name: (root / name).read_bytes() for name in ("model/model.keras", "model/model.json", "curve.csv")}


def state(root: Path) -> dict:
    with np.load(root / "scratch" / "a" / "state.npz") as content:
        return dict(zip(("loss", "val_loss"), content["losses"].T.tolist(), strict=True))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_training_resumes_to_the_same_bytes(store, autoencoder, tmp_path):
    """Killed in the middle of an epoch and run again: the same model, card and curve as one that was left alone.

    The deep net, from the autoencoder: dropout, batch normalisation and Adam have state of their own.
    """
    settings = options(epochs=4, label_width=9)
    left_alone, killed = tmp_path / "left_alone", tmp_path / "killed"
    process = start(store, killed, settings, initial=autoencoder[0])
    file = killed / "scratch" / "a" / "state.npz"
    while not file.exists():
        assert process.poll() is None, (killed / "stderr").read_text()[-3000:]
        time.sleep(0.01)
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    before = state(killed)
    assert 1 <= len(before["val_loss"]) < 4 and not (killed / "model").exists()
    expected = finish(start(store, left_alone, settings, initial=autoencoder[0]), left_alone)
    came = finish(start(store, killed, settings, initial=autoencoder[0]), killed)
    done = len(before["val_loss"])
    after = state(killed)
    assert after["val_loss"][:done] == before["val_loss"] and len(after["val_loss"]) == 4
    assert [name for name in expected if expected[name] != came[name]] == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_processes_train_the_same_bytes_and_another_seed_others(store, tmp_path):
    settings = options(epochs=2)
    runs = {}
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        runs[folder] = finish(
            start(store, tmp_path / folder, settings, seed=seed, name="cnn_separator"), tmp_path / folder
        )
    assert runs["a"] == runs["b"]
    assert all(runs["a"][name] != runs["c"][name] for name in runs["a"])
