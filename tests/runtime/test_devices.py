"""Training on two virtual CPUs: the losses of one, resumable, and no trace in what is saved."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from svs.config.schema import Draw
from svs.data.dataset import Dataset
from svs.errors import SettingsError
from svs.features import extraction
from svs.runtime import devices
from svs.runtime.files import Scratch
from svs.training import loop
from svs.training.excerpts import TRAIN, VALID, Batches
from tests.helpers import REPOSITORY


@pytest.fixture(scope="module")
def store(tiny_set, small, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("devices")
    extraction.extract(Dataset(*tiny_set), small.extract, root / "store", Scratch(root, "extract", "a"))
    return root / "store"


# In a process of its own: how many devices there are is settled when TensorFlow starts.
RUN = """
import logging, sys
from pathlib import Path
import tensorflow as tf
logging.basicConfig(level="INFO")
number, name, dropout, epochs, valid, store, root = sys.argv[1:]
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * int(number))
from svs.networks import archive, layers
if dropout == "without":
    layers.Stack.dropout = lambda self, rate: self
from svs.config.schema import Draw, ExcerptTraining
from svs.runtime.files import Scratch
from svs.training import on_excerpts
root = Path(root)
settings = ExcerptTraining(epochs=int(epochs), batch_size=16, learning_rate=1e-3, label_smoothing=0.02,
                           input_gain=100.0, patience=100, label_width=1,
                    excerpts=Draw(per_track=20, valid_per_track=int(valid), start_point=0.0,
                                  stop_point=None))
model, card = on_excerpts.train(name, Path(store) / "masks", "SVS", settings, 1, Scratch(root, "scratch", "a"),
                             curve=root / "curve.csv")
archive.save(root / "model", model, card)
"""


def trained(
    store: Path, root: Path, number: int, name: str, dropout: str, epochs: int = 2, valid: int = 16, **variables: str
):
    """Losses of the epochs, and the config of the saved net."""
    root.mkdir(exist_ok=True)
    command = [sys.executable, "-c", RUN, str(number), name, dropout, str(epochs), str(valid), str(store), str(root)]
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **variables},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (" devices, " in done.stderr) == ("SVS_DEVICES" in variables)
    model = keras.models.load_model(root / "model" / "model.keras", compile=False)
    return np.loadtxt(root / "curve.csv", delimiter=",", skiprows=1, ndmin=2), json.dumps(model.get_config())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cnn_separator", "cnn_deep_separator"])
def test_two_devices_have_the_losses_of_one(store, tmp_path, name):
    """Without dropout, whose draws differ; 40 excerpts, so that the third batch is smaller."""
    one, plain = trained(store, tmp_path / "one", 1, name, "without")
    two, config = trained(store, tmp_path / "two", 2, name, "without", SVS_DEVICES="all")
    np.testing.assert_allclose(two[:, 1:], one[:, 1:], rtol=1e-3)
    assert config == plain


@pytest.mark.slow
def test_an_interrupted_training_on_two_devices_goes_on(store, tmp_path):
    # One of 17 validation excerpts can't be shared.
    whole, _ = trained(store, tmp_path / "whole", 2, "cnn_separator", "with", 2, 17, SVS_DEVICES="2")
    trained(store, tmp_path / "parts", 2, "cnn_separator", "with", 1, 17, SVS_DEVICES="2")
    parts, _ = trained(store, tmp_path / "parts", 2, "cnn_separator", "with", 2, 17, SVS_DEVICES="2")
    np.testing.assert_allclose(parts, whole, rtol=1e-5)
    one, _ = trained(store, tmp_path / "one", 2, "cnn_separator", "with", 2)
    np.testing.assert_allclose(whole, one, rtol=0.05)


@pytest.mark.parametrize(
    "value, words",
    [
        ("many", "expected a number of devices"),
        ("0", "expected a number"),
        ("-1", "expected a number"),
        ("64", "TensorFlow sees 1 .*at most so many"),
    ],
)
def test_a_number_that_is_none_is_refused(monkeypatch, value, words):
    monkeypatch.setenv(devices.VARIABLE, value)
    if keras.backend.backend() != "tensorflow":
        words = "expected a number|TensorFlow backend"
    with pytest.raises(SettingsError, match=words):
        devices.strategy(16)


@pytest.mark.parametrize("value", [None, "", "1", "all"])
def test_one_device_is_as_it_was(monkeypatch, value):
    if value is None:
        monkeypatch.delenv(devices.VARIABLE, raising=False)
    else:
        monkeypatch.setenv(devices.VARIABLE, value)
    assert devices.strategy(16) is None


def test_every_batch_can_be_shared(store, tmp_path):
    draw = Draw(per_track=21, valid_per_track=17, start_point=0.0, stop_point=None)
    for split, total in ((TRAIN, 42), (VALID, 17)):
        made = Batches(store / "masks", "SVS", split, draw, 12, 1, 1, tmp_path, share=3)
        made.epoch = 1
        sizes = [len(made[index][0]) for index in range(len(made))]
        assert all(size % 3 == 0 for size in sizes) and sum(sizes) == total // 3 * 3


@pytest.mark.parametrize(
    "told, emulated",
    [
        ("processor\t: 0\nflags\t\t: fpu avx512f avx512_vnni\n", True),
        ("processor\t: 0\nflags\t\t: fpu avx512f avx512_bf16\n", False),
        ("processor\t: 0\nflags\t\t: fpu amx_tile amx_bf16\n", False),
        ("processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\n", False),
        ("processor\t: 0\nFeatures\t: fp asimd\n", True),
        ("processor\t: 0\nmodel name\t: says nothing\n", False),
        (None, False),
    ],
)
def test_bfloat16_without_instructions_for_it_is_told(tmp_path, monkeypatch, caplog, told, emulated):
    if told is not None:
        (tmp_path / "cpuinfo").write_text(told)
    monkeypatch.setattr(devices, "_PROCESSOR", tmp_path / "cpuinfo")
    # The tests' machine may have a GPU, which is asked after the processor.
    monkeypatch.setattr("tensorflow.config.list_physical_devices", lambda kind: [])
    assert devices.emulates_bfloat16() is emulated
    for precision in ("float32", "mixed_bfloat16"):
        with loop.computing_in(precision):
            pass
    assert ["float32 would train faster" in record.message for record in caplog.records] == [True] * emulated


def test_bfloat16_on_a_gpu_is_not_warned_of(tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text("flags\t: fpu avx512f\n")
    monkeypatch.setattr(devices, "_PROCESSOR", tmp_path / "cpuinfo")
    monkeypatch.setattr("tensorflow.config.list_physical_devices", lambda kind: ["one"] if kind == "GPU" else [])
    assert not devices.emulates_bfloat16()
