"""The networks: the dissertation's layers, parameters and cost, the same everywhere, and their archive."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from math import prod

import keras
import numpy as np
import pytest

from svs import networks
from svs.errors import DataError, ModelError
from svs.networks import archive
from tests.helpers import REPOSITORY

BINS, WIDTH = 2049, 9
SHAPES = {
    "cnn_deep_separator": (BINS, WIDTH, 9),
    "cnn_separator": (BINS, WIDTH, 1),
    "cnn_deep_separator_valid": (BINS, WIDTH, 1),
    "cnn_separator_valid": (BINS, WIDTH, 1),
    "vad": (513, 25, 1),
}


@pytest.fixture(scope="module")
def nets():
    return {name: networks.build(name, *shape, input_gain=100.0, seed=1) for name, shape in SHAPES.items()}


def describe(model: keras.Model) -> list[tuple]:
    """The layers as plain facts: kind, size and output shape."""
    layers = []
    for layer in model.layers:
        shape = tuple(layer.output.shape[1:])
        match layer:
            case keras.layers.Conv2D():
                assert layer.strides == (1, 1) and layer.use_bias
                assert layer.padding == ("valid" if model.name.endswith("_valid") else "same")
                assert layer.activation is keras.activations.linear
                layers.append(("conv", layer.filters, layer.kernel_size, shape))
            case keras.layers.ZeroPadding2D():
                layers.append(("pad", layer.padding))
            case keras.layers.MaxPooling2D():
                assert layer.padding == "valid" and layer.strides == layer.pool_size
                layers.append(("pool", layer.pool_size, shape))
            case keras.layers.Dense():
                assert layer.activation is keras.activations.linear and layer.use_bias
                layers.append(("dense", layer.units))
            case keras.layers.LeakyReLU():
                assert layer.negative_slope == pytest.approx(0.3)
                layers.append(("leaky",))
            case keras.layers.Dropout():
                layers.append(("dropout", layer.rate))
            case keras.layers.BatchNormalization():
                layers.append(("norm",))
            case keras.layers.Rescaling():
                layers.append(("gain", float(layer.scale), float(layer.offset)))
            case keras.layers.InputLayer() | keras.layers.Flatten() | keras.layers.Reshape():
                layers.append((type(layer).__name__, shape))
            case _:
                raise AssertionError(f"a layer that the dissertation has not: {layer}")
    return layers


def test_cnn_deep_separator_layer_by_layer(nets):
    high, middle, low = (2049, 9), (170, 9), (14, 9)
    assert describe(nets["cnn_deep_separator"]) == [
        ("InputLayer", (2049, 9, 1)),
        ("gain", 100.0, 0.0),
        ("conv", 32, (12, 3), (*high, 32)),
        ("leaky",),
        ("conv", 16, (12, 3), (*high, 16)),
        ("norm",),
        ("leaky",),
        ("pool", (12, 1), (*middle, 16)),
        ("conv", 64, (12, 3), (*middle, 64)),
        ("norm",),
        ("leaky",),
        ("conv", 16, (12, 3), (*middle, 16)),
        ("norm",),
        ("leaky",),
        ("pool", (12, 1), (*low, 16)),
        ("Flatten", (2016,)),
        ("dense", 2048),
        ("leaky",),
        ("dropout", 0.5),
        ("dense", 512),
        ("leaky",),
        ("dropout", 0.5),
        ("dense", 18441),
        ("Reshape", (2049, 9)),  # logits: no sigmoid, no LeakyReLU
    ]


def test_cnn_separator_layer_by_layer(nets):
    high, middle, low = (2049, 9), (170, 9), (14, 9)
    assert describe(nets["cnn_separator"]) == [
        ("InputLayer", (2049, 9, 1)),
        ("gain", 100.0, 0.0),
        ("conv", 32, (12, 3), (*high, 32)),
        ("leaky",),
        ("conv", 16, (12, 3), (*high, 16)),
        ("leaky",),
        ("pool", (12, 1), (*middle, 16)),
        ("dropout", 0.25),
        ("conv", 64, (12, 3), (*middle, 64)),
        ("leaky",),
        ("conv", 32, (12, 3), (*middle, 32)),
        ("leaky",),
        ("pool", (12, 1), (*low, 32)),
        ("dropout", 0.25),
        ("Flatten", (4032,)),
        ("dense", 512),
        ("leaky",),
        ("dropout", 0.5),
        ("dense", 2049),
        ("Reshape", (2049, 1)),
    ]


@pytest.mark.parametrize("name", ["cnn_separator", "cnn_deep_separator"])
def test_a_valid_net_is_the_seeds_less_the_padding_in_time(name, nets):
    """The same layers, but that each convolution takes two columns, and the label is the centre frame."""
    frequency, width, expected = ((5, 6), (0, 0)), 9, []
    for layer in describe(nets[name]):
        if layer[0] == "conv":
            expected.append(("pad", frequency))
            width -= 2
        if layer[0] == "conv" or layer[0] == "pool":
            *what, (height, _, *channels) = layer
            layer = (*what, (height, width, *channels))
        layer = ("Flatten", (layer[1][0] // 9,)) if layer[0] == "Flatten" else layer
        centre = {("dense", 18441): ("dense", 2049), ("Reshape", (2049, 9)): ("Reshape", (2049, 1))}
        expected.append(centre.get(layer, layer))
    assert describe(nets[f"{name}_valid"]) == expected
    assert width == 1


def test_a_valid_net_sees_nothing_but_its_frames():
    """Of longer excerpts the first nine frames' column is that of nine frames: no padding enters."""
    net = networks.build("cnn_separator_valid", 257, 9, 1, seed=2)
    longer = networks.build("cnn_separator_valid", 257, 12, 1, seed=2)
    place = next(i for i, layer in enumerate(net.layers) if isinstance(layer, keras.layers.Flatten)) - 1
    short, long = (keras.Model(each.inputs, each.layers[place].output) for each in (net, longer))
    x = np.random.default_rng(0).uniform(0, 1, (1, 257, 12, 1)).astype(np.float32)
    every = np.asarray(long(x))
    for first in range(4):
        np.testing.assert_allclose(
            np.asarray(short(x[:, :, first : first + 9]))[:, :, 0], every[:, :, first], atol=1e-5
        )


def test_vad_layer_by_layer(nets):
    assert describe(nets["vad"]) == [
        ("InputLayer", (513, 25, 1)),
        ("gain", 100.0, 0.0),
        ("conv", 16, (3, 3), (513, 25, 16)),
        ("leaky",),
        ("conv", 16, (3, 3), (513, 25, 16)),
        ("leaky",),
        ("pool", (3, 3), (171, 8, 16)),
        ("dropout", 0.25),
        ("conv", 16, (3, 3), (171, 8, 16)),
        ("leaky",),
        ("conv", 16, (3, 3), (171, 8, 16)),
        ("leaky",),
        ("pool", (3, 3), (57, 2, 16)),
        ("dropout", 0.25),
        ("Flatten", (1824,)),
        ("dense", 64),
        ("leaky",),
        ("dropout", 0.5),
        ("dense", 1),
    ]


def test_parameters(nets):
    assert nets["cnn_deep_separator"].count_params() == 14_733_961
    assert nets["cnn_separator"].count_params() == 3_246_353
    assert nets["cnn_deep_separator_valid"].count_params() == 2_654_849
    assert nets["cnn_separator_valid"].count_params() == 1_411_345
    # Four convolutions, then 57 x 2 x 16 = 1824 inputs of 64 units, then one unit.
    assert nets["vad"].count_params() == (9 * 16 + 16) + 3 * (9 * 16 * 16 + 16) + (1824 * 64 + 64) + (64 + 1)
    norms = [layer for layer in nets["cnn_deep_separator"].layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert sum(layer.count_params() for layer in norms) == 4 * (16 + 64 + 16) == 384
    assert nets["cnn_separator"].count_params() == sum(
        prod(weight.shape) for weight in nets["cnn_separator"].trainable_weights
    )


@pytest.mark.parametrize("name, millions", [("cnn_deep_separator", 488.6), ("cnn_separator", 533.5)])
def test_multiply_adds_of_a_window(nets, name, millions):
    """From the kernels' shapes: every weight of a convolution is used once at every place of its output."""
    total = 0
    for layer in nets[name].layers:
        if isinstance(layer, keras.layers.Conv2D):
            total += prod(layer.kernel.shape) * prod(layer.output.shape[1:3])
        elif isinstance(layer, keras.layers.Dense):
            total += prod(layer.kernel.shape)
    assert total / 1e6 == pytest.approx(millions, abs=0.05)


def test_initial_weights_are_glorot_normal(nets):
    for name, net in nets.items():
        for layer in net.layers:
            if not isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)):
                continue
            kernel = np.asarray(layer.kernel)
            field = prod(kernel.shape[:-2])
            deviation = np.sqrt(2 / (field * (kernel.shape[-2] + kernel.shape[-1])))
            if kernel.size > 2000:
                assert kernel.std() == pytest.approx(deviation, rel=0.1), (name, layer.name)
                # Truncated normal: at most two deviations of the untruncated one (0.88 of it is left); a uniform
                # distribution of that variance would end at 1.73.
                assert 2.0 < np.abs(kernel).max() / deviation < 2.3, (name, layer.name)
            assert not np.any(np.asarray(layer.bias))


def test_same_seed_same_weights():
    first, again, other = (networks.build("cnn_separator", 257, 9, 1, seed=seed).get_weights() for seed in (4, 4, 5))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    kernels = [index for index, weight in enumerate(first) if weight.ndim > 1]
    assert not any(np.array_equal(first[index], other[index]) for index in kernels)
    # Two layers of one shape don't start from the same numbers.
    net = networks.build("vad", 257, 25, 1, seed=4)
    kernels = [weight for weight in net.get_weights() if weight.shape == (3, 3, 16, 16)]
    assert len(kernels) == 3 and len({kernel.tobytes() for kernel in kernels}) == 3


def test_input_gain_multiplies_the_input():
    x = np.random.default_rng(0).uniform(0, 0.01, (2, 257, 9, 1)).astype(np.float32)
    plain = networks.build("cnn_separator", 257, 9, 1, seed=4)
    gained = networks.build("cnn_separator", 257, 9, 1, input_gain=100.0, seed=4)
    np.testing.assert_allclose(np.asarray(gained(x)), np.asarray(plain(100 * x)), rtol=1e-4, atol=1e-5)
    assert not np.allclose(np.asarray(gained(x)), np.asarray(plain(x)), atol=1e-3)


@pytest.mark.parametrize(
    "name, label_width, shape",
    [
        ("cnn_separator", 1, (3, 257, 1)),
        ("cnn_separator", 3, (3, 257, 3)),
        ("cnn_deep_separator", 9, (3, 257, 9)),
        ("vad", 25, (3, 1)),
    ],
)
def test_output_is_logits_of_the_label_s_shape(name, label_width, shape):
    width = 25 if name == "vad" else 9
    net = networks.build(name, 257, width, label_width, seed=2)
    out = np.asarray(net(np.random.default_rng(0).normal(0, 30, (3, 257, width, 1)).astype(np.float32)))
    assert out.shape == shape
    assert out.min() < -0.5 and out.max() > 1.5 or name == "vad"  # neither cut at 0 nor at 1


def test_an_unknown_network_is_refused():
    with pytest.raises(ModelError, match="unet.*cnn_separator"):
        networks.build("unet", 257, 9, 1)


def test_a_process_has_one_backend(monkeypatch):
    """This process runs Keras on its default backend, so it can't train a network of torch."""
    monkeypatch.setattr(networks, "networks", lambda: {"net": networks.Network(print, backend="torch")})
    with pytest.raises(ModelError, match="net: expected Keras on the backend torch.* in a process of its own"):
        networks.choose_backend("net")


# The archive


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A small deep net (it has every kind of layer) with random batch norm terms, and where it is saved."""
    net = networks.build("cnn_deep_separator", 257, 9, 9, input_gain=100.0, seed=3)
    random = np.random.default_rng(1)
    net.set_weights(
        [weight if weight.ndim > 1 else random.uniform(0.5, 1.5, weight.shape) for weight in net.get_weights()]
    )
    folder = tmp_path_factory.mktemp("saved") / "net"
    archive.save(folder, net, {"answer": 42})
    return folder, net


def window() -> np.ndarray:
    return np.abs(np.random.default_rng(5).normal(0, 0.01, (4, 257, 9, 1))).astype(np.float32)


def test_what_is_loaded_is_what_was_saved(saved):
    folder, net = saved
    loaded, card = archive.load(folder)
    assert card == {"answer": 42}
    assert describe(loaded) == describe(net)
    for ours, theirs in zip(net.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(np.asarray(loaded(window())), np.asarray(net(window())))


def test_the_archive_has_no_date_and_no_optimiser(saved, tmp_path):
    folder, net = saved
    with zipfile.ZipFile(folder / archive.MODEL) as packed:
        assert {item.date_time for item in packed.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert json.loads(packed.read("metadata.json"))["date_saved"] == ""
        assert not json.loads(packed.read("config.json")).get("compile_config")
    trained = networks.build("cnn_deep_separator", 257, 9, 9, input_gain=100.0, seed=8)
    trained.compile("adam", "binary_crossentropy")
    trained.optimizer.build(trained.trainable_variables)
    trained.set_weights(net.get_weights())
    archive.save(tmp_path / "net", trained, {"answer": 42})
    old, new = (np.asarray(archive.load(place)[0](window())) for place in (folder, tmp_path / "net"))
    np.testing.assert_array_equal(old, new)
    sizes = [(place / archive.MODEL).stat().st_size for place in (folder, tmp_path / "net")]
    assert abs(sizes[0] - sizes[1]) < 1000, "Adam's moments are two more copies of the weights"


def test_the_same_weights_are_the_same_bytes_whatever_was_built_before(saved, tmp_path):
    folder, net = saved
    networks.build("vad", 257, 25, 1)
    twin = networks.build("cnn_deep_separator", 257, 9, 9, input_gain=100.0, seed=3)
    twin.set_weights(net.get_weights())
    archive.save(tmp_path / "twin", twin, {"answer": 42})
    for name in (archive.ONNX, archive.MODEL, archive.CARD):
        assert (tmp_path / "twin" / name).read_bytes() == (folder / name).read_bytes()


def test_saving_over_a_model_replaces_it_whole(saved, tmp_path):
    _, net = saved
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "debris").write_text("of another version")
    archive.save(tmp_path / "net", net, {})
    assert sorted(file.name for file in (tmp_path / "net").iterdir()) == ["model.json", "model.keras", "model.onnx"]


@pytest.mark.parametrize("damage", ["missing", "empty", "half", "text", "no weights"])
def test_a_damaged_model_is_a_model_error(saved, tmp_path, damage):
    path = tmp_path / archive.MODEL
    whole = (saved[0] / archive.MODEL).read_bytes()
    (tmp_path / archive.CARD).write_text("{}")
    if damage in ("empty", "half", "text"):
        path.write_bytes({"empty": b"", "half": whole[: len(whole) // 2], "text": b"version https://git-lfs\n"}[damage])
    elif damage == "no weights":
        with zipfile.ZipFile(saved[0] / archive.MODEL) as old, zipfile.ZipFile(path, "w") as new:
            for name in old.namelist():
                if "weights" not in name:
                    new.writestr(name, old.read(name))
    with pytest.raises(ModelError, match="model.keras"):
        archive.load(tmp_path)


@pytest.mark.parametrize("card", [None, "", "{"])
def test_a_damaged_card_is_an_error_of_ours(saved, tmp_path, card):
    (tmp_path / archive.MODEL).write_bytes((saved[0] / archive.MODEL).read_bytes())
    if card is not None:
        (tmp_path / archive.CARD).write_text(card)
    with pytest.raises((ModelError, DataError), match="model.json"):
        archive.load(tmp_path)


# Another backend

TORCH = """
import sys
from pathlib import Path
import numpy as np
import keras
from svs.networks import archive
from svs.training.excerpts import Batches
from svs.training.on_excerpts import train
from svs.runtime.files import Scratch
from svs.config.schema import Draw, ExcerptTraining as Training
net, store, root = map(Path, sys.argv[1:])
assert keras.backend.backend() == "torch" and "tensorflow" not in sys.modules
model, card = archive.load(net)
np.save(root / "out.npy", model.predict_on_batch(np.load(root / "in.npy")))
read, batch = [], Batches.__getitem__
def reading(self, index):
    if self._shuffled:
        read.append((self.epoch, index, len(self)))
    return batch(self, index)
Batches.__getitem__ = reading
options = Training(epochs=3, batch_size=4, learning_rate=1e-3, label_smoothing=0.02, input_gain=100.0, patience=9,
                   label_width=9, excerpts=Draw(per_track=8, valid_per_track=4, start_point=0.0, stop_point=None))
trained, card = train("cnn_deep_separator", store, "SVS", options, 1, Scratch(root, "torch", "a"), initial=net)
assert np.isfinite(card["val_loss"]) and card["epochs"] == 3
# Keras looks at the first batch, and then every epoch has its own batches, each once: none of another epoch's order.
count = read[0][2]
every = [(epoch, index, count) for epoch in range(3) for index in range(count)]
assert count > 2 and read == [(0, 0, count), *every], read
moved = [np.abs(a - b).max() for a, b in zip(model.get_weights(), trained.get_weights(), strict=True)]
assert min(moved) > 0, moved
archive.save(root / "trained", trained, card)
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_same_model_runs_and_trains_on_torch(saved, tiny_set, small, tmp_path):
    from svs.data.dataset import Dataset
    from svs.features import extraction
    from svs.runtime.files import Scratch

    folder, net = saved
    extract = small.extract.model_copy(update={"modes": ("SVS",)})
    extraction.extract(Dataset(*tiny_set), extract, tmp_path / "store", Scratch(tmp_path, "extract", "a"))
    np.save(tmp_path / "in.npy", window())
    done = subprocess.run(
        [sys.executable, "-c", TORCH, folder, tmp_path / "store" / "masks", tmp_path],
        cwd=REPOSITORY,
        env={**os.environ, "KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    ours = net.predict_on_batch(window())
    assert np.abs(ours).max() > 0.1
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), ours, atol=1e-4)
    # And back: what torch trained is loaded here.
    back, _ = archive.load(tmp_path / "trained")
    assert np.all(np.isfinite(back.predict_on_batch(window())))
