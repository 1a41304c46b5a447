"""Networks as ONNX: they say what Keras and torch say, the same bytes each time, on the devices that there are."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import onnxruntime
import pytest
import stempeg
from scipy.special import expit

from svs import networks, separators
from svs.config.project import find_project
from svs.config.schema import Representation
from svs.dsp.stft import log_magnitude, magnitude, stft
from svs.errors import ModelError, UnavailableError
from svs.networks import archive, export, inference, unet_separator
from svs.separators.unet_separator import UNetSeparator
from tests.helpers import REPOSITORY
from tests.helpers.command import music, project
from tests.helpers.separation import save_net

SMALL = Representation(sample_rate=44100, frame_size=512, win_length=512, hop_length=128)


@pytest.fixture(scope="module")
def heard() -> np.ndarray:
    """Magnitudes of a real song in stereo: float32 (2, 257, 400)."""
    audio, _ = stempeg.read_stems(stempeg.example_stem_path(), stem_id=0)
    return magnitude(stft(audio.T.astype(np.float32), SMALL), SMALL)[..., 1000:1400]


def deviates(model: keras.Model, given: np.ndarray) -> float:
    """The largest deviation of probabilities from those of Keras."""
    expected = expit(np.asarray(model(given), np.float64))
    assert expected.std() > 0.01, "the net says next to nothing"
    return float(np.abs(expit(inference.Net(export.of_keras(model))(given)) - expected).max())


@pytest.mark.parametrize("name", [name for name, network in networks.networks().items() if not network.on_mixtures])
def test_networks_of_excerpts_say_what_keras_says(name, heard):
    width = 25 if name == "vad" else 9
    model = networks.build(name, 257, width, 1 if "deep" not in name else 9, input_gain=100.0, seed=1)
    rng = np.random.default_rng(0)
    *weights, last, bias = model.get_weights()
    if name != "vad":
        weights = [weight if weight.ndim > 1 else rng.uniform(0.5, 1.5, weight.shape) for weight in weights]
    model.set_weights([*weights, last * (30 if name == "vad" else 1), bias])
    windows = np.lib.stride_tricks.sliding_window_view(heard[0], width, axis=1)[:, ::40].transpose(1, 0, 2)
    assert deviates(model, np.ascontiguousarray(windows[..., None])) < 1e-4


@pytest.mark.parametrize("members", [(1, 0), (0, 1), (2, 1)])
def test_the_u_net_says_what_keras_says(members, heard):
    full_band = unet_separator.FullBand(ensemble=members[1], channels=24, bottleneck=12, blocks=3)
    size = unet_separator.Size(
        ensemble=members[0], max_frequency=20000.0, fold=4, channels=6, growth=3, levels=3, blocks=1, convolutions=2,
        bottleneck=8, dropout=0.1, full_band=full_band,
    )  # fmt: skip
    given = log_magnitude(heard[:, :256].transpose(2, 1, 0))[None]
    model = unet_separator.build(256, size, given.mean((0, 1, 3)), given.std((0, 1, 3)), seed=2)
    model.set_weights([weight * 1.1 if weight.ndim > 1 else weight for weight in model.get_weights()])
    assert deviates(model, given) < 1e-4
    assert deviates(model, np.ascontiguousarray(given[:, :64])) < 1e-4, "any number of frames"


LAYERS = keras.layers
KINDS = {
    "strides": [LAYERS.Conv2D(3, (5, 4), strides=2, padding="same", activation="elu")],
    "strides, valid": [LAYERS.Conv2D(3, (5, 4), strides=(3, 2), use_bias=False, activation="tanh")],
    "dilation": [LAYERS.Conv2D(3, 3, dilation_rate=(3, 2), padding="same", activation="relu")],
    "groups": [LAYERS.Conv2D(4, 3, padding="same"), LAYERS.Conv2D(6, 3, groups=2)],
    "transposed": [LAYERS.Conv2DTranspose(3, 5, strides=2, padding="same")],
    "transposed, even": [LAYERS.Conv2DTranspose(3, (4, 2), strides=(2, 1), padding="same", use_bias=False)],
    "transposed, valid": [LAYERS.Conv2DTranspose(3, (5, 3), strides=2)],
    "transposed, gaps": [LAYERS.Conv2DTranspose(3, 2, strides=3), LAYERS.Conv2DTranspose(2, 1, strides=2)],
    "pool": [LAYERS.MaxPooling2D((3, 2), padding="same"), LAYERS.MaxPooling2D((2, 2), strides=1)],
    "norms": [
        LAYERS.BatchNormalization(),
        LAYERS.BatchNormalization(axis=2, scale=False),
        LAYERS.BatchNormalization(axis=1, center=False, epsilon=0.1),
    ],
    "standardised": [LAYERS.Normalization(axis=2, mean=np.arange(6.0), variance=1 + np.arange(6.0))],
    "rescaled": [LAYERS.Rescaling(3.0, offset=-0.5), LAYERS.LeakyReLU(0.1)],
    "padded": [LAYERS.Conv2D(2, 1), LAYERS.ZeroPadding2D(((1, 2), (3, 0)))],
    "permuted": [LAYERS.Permute((3, 1, 2)), LAYERS.Dense(5, use_bias=False), LAYERS.Permute((2, 3, 1))],
    "over time": [LAYERS.Reshape((-1, 12)), LAYERS.Conv1D(4, 3, dilation_rate=2, padding="same"), LAYERS.Flatten()],
    "nothing": [LAYERS.GaussianNoise(0.5), LAYERS.Dropout(0.5), LAYERS.SpatialDropout2D(0.5)],
    "sigmoid": [LAYERS.Dense(3, activation="sigmoid"), LAYERS.Activation("tanh"), LAYERS.Activation("linear")],
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_layer_is_that_of_keras(kind):
    tensor = source = keras.Input((9, 6, 2))
    for layer in KINDS[kind]:
        tensor = type(layer).from_config(layer.get_config())(tensor)
    model, rng = keras.Model(source, tensor), np.random.default_rng(0)
    model.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in model.get_weights()])
    given = rng.normal(0, 1, (3, 9, 6, 2)).astype(np.float32)
    came = inference.Net(export.of_keras(model))(given)
    np.testing.assert_allclose(came, np.asarray(model(given, training=False)), rtol=1e-4, atol=1e-5)


def test_branches_and_a_layer_used_twice():
    source, shared = keras.Input((9, 6, 2)), LAYERS.Conv2D(2, 3, padding="same", activation="relu")
    once = shared(source)
    total = LAYERS.Add()([shared(once), source, once])
    model = keras.Model(source, LAYERS.Concatenate(axis=2)([total, source, once]))
    given = np.random.default_rng(0).normal(0, 1, (3, 9, 6, 2)).astype(np.float32)
    np.testing.assert_allclose(inference.Net(export.of_keras(model))(given), np.asarray(model(given)), atol=1e-5)


@pytest.mark.parametrize("layer", [LAYERS.GRU(3, return_sequences=True), LAYERS.Dense(3, activation="softmax")])
def test_an_unknown_layer_is_an_error_before_the_training(layer):
    model = keras.Sequential([keras.Input((9, 6)), layer])
    with pytest.raises(ModelError, match=f"{layer.name}.*has no form in ONNX here; expected Activation, "):
        archive.require_exportable(model)


def test_a_module_of_torch():
    import torch

    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Flatten(),
        torch.nn.Linear(90, 8),
        torch.nn.BatchNorm1d(8),
        torch.nn.Dropout(0.5),
        torch.nn.Linear(8, 6),
    )
    module(torch.rand(16, 10, 9, 1))  # moves the running means
    exported = export.of_torch(module, (10, 9, 1))
    assert module.training and exported == export.of_torch(module, (10, 9, 1))
    given = np.random.default_rng(0).uniform(0, 1, (5, 10, 9, 1)).astype(np.float32)
    expected = module.eval()(torch.from_numpy(given)).detach().numpy()
    np.testing.assert_allclose(inference.Net(exported)(given), expected, atol=1e-6)


# What runs them


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A project with small nets of each kind."""
    folder = project(tmp_path_factory.mktemp("project"))
    net = networks.build("cnn_separator", 257, 9, 1, input_gain=100.0, seed=1)
    save_net(folder / "models" / "cnn_separator", net, 1, SMALL)
    full_band = unet_separator.FullBand(ensemble=1, channels=8, bottleneck=8, blocks=2)
    size = unet_separator.Size(
        ensemble=1, max_frequency=20000.0, fold=4, channels=6, growth=2, levels=2, blocks=1, convolutions=1,
        bottleneck=8, dropout=0.0, full_band=full_band,
    )  # fmt: skip
    unet = unet_separator.build(256, size, np.full(256, -8.0), np.full(256, 2.0), seed=2)
    card = {"representation": SMALL.model_dump(), "bins": 256, "frames_multiple": 4, "context": size.context}
    archive.save(folder / "models" / "unet_separator", unet, card)
    vad = networks.build("vad", 257, 25, 1, seed=4)
    kept = {"sample_rate": 22050, "frame_size": 512, "win_length": 512, "hop_length": 256, "width": 25}
    archive.save(folder / "models" / "vad", vad, {"representation": kept})
    return folder


def test_threads_share_a_net_and_the_bytes_do_not_depend_on_their_number(home, monkeypatch):
    audio = music(30.0)
    separator = UNetSeparator("unet_separator", home / "models" / "unet_separator")
    first = separator.vocals(audio, 44100)
    with ThreadPoolExecutor(3) as pool:
        for came in pool.map(lambda _: separator.vocals(audio, 44100), range(3)):
            np.testing.assert_array_equal(came, first)
    monkeypatch.setattr(inference, "cores", lambda: 1)
    again = UNetSeparator("unet_separator", home / "models" / "unet_separator").vocals(audio, 44100)
    np.testing.assert_array_equal(again, first)


def test_devices(home, monkeypatch):
    there = inference.devices()
    assert there[-1] == "cpu" and set(there) <= {"cuda", "migraphx", "directml", "coreml", "cpu"}
    found = find_project(home)
    for name in ("cnn_separator", "unet_separator"):
        for device in ("auto", *there):
            separators.build(name, found.settings, home, device)
        with pytest.raises(UnavailableError, match=r"device tpu: expected one of auto, .*cpu$"):
            separators.build(name, found.settings, home, "tpu")
    # A provider that is installed, on a machine without its device.
    listed = ["CUDAExecutionProvider", *onnxruntime.get_available_providers()]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: listed)
    if "cuda" not in there:
        assert inference.devices()[0] == "cuda"
        model, _ = inference.read(home / "models" / "vad")
        assert inference.Net(model).device == "cpu"
        with pytest.raises(UnavailableError, match="device cuda: it does not start here; use one of .*cpu"):
            inference.Net(model, "cuda")


@pytest.mark.parametrize("damage", ["older", "missing", "empty", "half", "text"])
def test_a_model_that_cannot_run(home, tmp_path, damage):
    there = home / "models" / "cnn_separator"
    for name in (archive.MODEL, archive.CARD):
        (tmp_path / name).write_bytes((there / name).read_bytes())
    whole = (there / archive.ONNX).read_bytes()
    contents = {"empty": b"", "half": whole[: len(whole) // 2], "text": b"version https://git-lfs\n"}
    if damage in contents:
        (tmp_path / archive.ONNX).write_bytes(contents[damage])
    elif damage == "missing":
        (tmp_path / archive.MODEL).unlink()
    found = find_project(home).settings
    wiring = found.methods["cnn_separator"].model_copy(update={"needs": tmp_path})
    settings = found.model_copy(update={"methods": {"cnn_separator": wiring}})
    with pytest.raises(ModelError, match="model.onnx: .*train it") as error:
        separators.build("cnn_separator", settings, home)
    assert ("an older svs trained" in str(error.value)) == (damage == "older")


WITHOUT = """
import sys
from pathlib import Path
import numpy as np
import svs
from svs.audio.sources import ArraySource
from svs.config.project import find_project
from svs.vad.detector import Detector
home, audio = Path(sys.argv[1]), np.random.default_rng(0).normal(0, 0.1, (44100, 2)).astype(np.float32)
for method in ("cnn_separator", "unet_separator"):
    assert np.abs(svs.separate(audio, 44100, method=method, project=home)["vocals"]).max() > 0
assert len(Detector(find_project(home)).listen(ArraySource(audio, 44100)).probability) > 80
import svs.vad.evaluate
found = {"tensorflow", "keras", "torch", "h5py"} & set(sys.modules)
assert not found, found
"""


def test_it_needs_neither_keras_nor_tensorflow_nor_torch(home):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, home], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
