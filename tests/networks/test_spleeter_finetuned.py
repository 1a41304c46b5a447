"""Spleeter's networks in Keras: the same as Deezer's, trained on from any weights, exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from svs import networks
from svs.config import paths, project
from svs.data import spleeter_weights
from svs.data.dataset import Dataset
from svs.errors import SettingsError, UnavailableError
from svs.features import extraction
from svs.networks import archive, export, inference, quantisation, spleeter, spleeter_finetuned
from svs.networks.inference import Net
from svs.networks.spleeter_finetuned import Options, Size
from svs.runtime.files import Scratch
from svs.training import on_mixtures
from tests.helpers import REPOSITORY
from tests.helpers.spleeter import random_weights, save_npz

RNG = np.random.default_rng(5)
# Magnitudes of a segment as ours, which spleeter has 2048 times as large.
HEARD = np.exp(RNG.normal(-9, 2, (1, spleeter.FRAMES, spleeter.BINS, 2))).astype(np.float32)


def untrained(**changes):
    return spleeter_finetuned.build(
        spleeter.BINS, Size(**{"dropout": 0.25, "statistics": "frozen"} | changes), None, None, seed=3
    )


def expit(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


@pytest.fixture(scope="module")
def weights() -> spleeter_weights.Weights:
    return random_weights()


@pytest.fixture(scope="module")
def home(weights, tmp_path_factory) -> Path:
    """A project in which the user supplied weights of spleeter."""
    home = tmp_path_factory.mktemp("home")
    folder = home / paths.WEIGHTS / "spleeter"
    folder.mkdir(parents=True)
    save_npz(folder / spleeter_weights.KEPT, weights)
    return home


@pytest.fixture(scope="module")
def net(home):
    """The network with these weights, and what its card says of them."""
    model = untrained()
    return model, spleeter_finetuned.from_spleeter(model, home / paths.WEIGHTS / "spleeter")


def test_the_mask_is_that_of_spleeters_networks(net, weights):
    """With an exponent of 1, wherever spleeter's stems are not both nothing."""
    model, card = net
    stems = Net(spleeter.graph(weights))(np.ascontiguousarray(2048 * HEARD.transpose(0, 3, 1, 2)))
    total = stems.sum(axis=0)
    heard = total > 1e-6
    expected = np.where(heard, stems[0] / np.maximum(total, 1e-6), 0)
    logits = model.predict_on_batch(HEARD)[0].transpose(2, 0, 1)
    assert heard.mean() > 0.5 and np.ptp(np.quantile(expected[heard], [0.1, 0.9])) > 0.2
    np.testing.assert_allclose(expit(logits)[heard], expected[heard], atol=1e-4)
    assert card["sha256"] == spleeter_weights.digest(weights) and "Deezer" in card["license"]


def test_the_exported_network_says_the_same_of_passages_of_any_length(net):
    model, _ = net
    exported = Net(export.of_keras(model))
    for frames in (64, 128):
        heard = HEARD[:, :frames]
        np.testing.assert_allclose(expit(exported(heard)), expit(model.predict_on_batch(heard)), atol=1e-4)


def test_8_bits_change_little_and_take_a_fourth(net):
    model, _ = net
    whole = export.of_keras(model)
    small = quantisation.in_8_bits(whole)
    assert len(small) < 0.27 * len(whole) and small == quantisation.in_8_bits(whole)
    masks = [expit(Net(each)(HEARD[:, :64])) for each in (whole, small)]
    assert 0 < np.abs(masks[1] - masks[0]).mean() < 0.01


def test_a_weight_is_at_most_half_a_step_off(net):
    import onnx
    from onnx import numpy_helper

    before = onnx.load_model_from_string(export.of_keras(net[0])).graph
    after = onnx.load_model_from_string(quantisation.in_8_bits(export.of_keras(net[0]))).graph
    kept = {each.name: numpy_helper.to_array(each) for each in after.initializer}
    makers = {node.output[0]: node for node in after.node if node.op_type == "DequantizeLinear"}
    convolutions = 0
    for each in before.initializer:
        weight = numpy_helper.to_array(each)
        if each.name in kept:
            assert weight.size <= 110_000
            np.testing.assert_array_equal(kept[each.name], weight)
            continue
        node = makers[each.name]
        whole, step = (kept[name] for name in node.input)
        shape = [1] * weight.ndim
        shape[node.attribute[0].i] = -1
        assert np.abs(whole).max() == 127 and whole.dtype == np.int8
        assert (np.abs(whole * step.reshape(shape) - weight) <= 0.501 * step.reshape(shape)).all()
        convolutions += 1
    assert convolutions == 2 * 6


@pytest.fixture(scope="module")
def store(tiny_set, small, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("stems")
    extract = small.extract.model_copy(update={"modes": ("MIX",)})
    extraction.extract(Dataset(*tiny_set), extract, root / "store", Scratch(root, "extract", "a"))
    return root / "store" / "stems"


def options(**changes) -> Options:
    given = project.find_project(REPOSITORY, ["profile=tiny"]).settings.train["spleeter_finetuned"]
    return Options(**given | {"epochs": 1, "mixes": 2, "batch_size": 2, "frames": 64, "warm_up": 0} | changes)


def train(store: Path, home: Path, root: Path, **changes):
    root.mkdir(exist_ok=True)
    return on_mixtures.train_on_mixes(
        "spleeter_finetuned", store, options(**changes), 1, Scratch(root, "net", "a"), home=home
    )


def by_layer(model) -> dict[str, list[np.ndarray]]:
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights and layer.get_weights()}


@pytest.mark.slow
def test_a_training_starts_from_the_weights_and_leaves_their_statistics(store, home, net, tmp_path):
    model, card = train(store, home, tmp_path / "a", learning_rate=1e-4)
    before, after = by_layer(net[0]), by_layer(model)
    assert before.keys() == after.keys()
    for name, arrays in after.items():
        old = before[name]
        if len(arrays) == 4:  # batch normalisation
            for one, two in zip(arrays, old, strict=True):
                np.testing.assert_array_equal(one, two)
            continue
        moved = np.abs(arrays[0] - old[0]).max()
        assert 0 < moved < 1.1e-4, f"{name}: a step of Adam is at most the learning rate"
    assert card["start"] == net[1] and (card["bins"], card["frames_multiple"]) == (1024, 64)
    # What was trained is a start in its turn, and its card says where it began.
    archive.save(home / "models" / "first", model, card)
    again, card = train(store, home, tmp_path / "b", start="models/first", learning_rate=1e-6)
    assert (
        max(np.abs(one - two).max() for one, two in zip(model.get_weights(), again.get_weights(), strict=True)) < 2e-6
    )
    assert card["start"]["name"] == "models/first" and card["start"]["start"] == net[1]


@pytest.mark.slow
def test_an_interrupted_training_ends_with_the_same_bytes(store, home, tmp_path, monkeypatch):
    def stop(self, epoch, logs=None):
        kept(self, epoch, logs)
        raise KeyboardInterrupt

    kept = on_mixtures.loop.Checkpoint.on_epoch_end
    archive.save(tmp_path / "whole", *train(store, home, tmp_path / "a", epochs=2))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(on_mixtures.loop.Checkpoint, "on_epoch_end", stop)
        train(store, home, tmp_path / "b", epochs=2)
    archive.save(tmp_path / "resumed", *train(store, home, tmp_path / "b", epochs=2))
    for name in ("model.onnx", "model.keras", "model.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "resumed" / name).read_bytes()


def test_without_weights_the_training_says_what_to_do(store, tmp_path, monkeypatch):
    monkeypatch.setenv("SVS_OFFLINE", "1")
    monkeypatch.setenv("SVS_WEIGHTS", str(tmp_path / "cache"))
    with pytest.raises(UnavailableError, match="spleeter: its weights are neither in .*SVS_OFFLINE is set"):
        train(store, tmp_path, tmp_path / "a")


@pytest.mark.parametrize(
    "laid, told",
    [
        ("frames=100", "multiple of 64"),
        ("representation.win_length=2048", "frames of 4096"),
        ("network.statistics=none", "frozen"),
        ("network.dropout=1", "dropout"),
    ],
)
def test_impossible_settings_are_named(laid, told):
    with pytest.raises(SettingsError, match=f"spleeter_finetuned.*{told}"):
        networks.validate(project.find_project(REPOSITORY, [f"train.spleeter_finetuned.{laid}"]).settings)


@pytest.mark.parametrize("statistics, same", [("frozen", True), ("batch", False)])
def test_statistics_of_a_batch_are_a_choice(statistics, same):
    model = untrained(dropout=0.0, statistics=statistics)
    heard = HEARD[:, :64]
    plain, training = (np.asarray(model(heard, training=training)) for training in (False, True))
    assert np.array_equal(plain, training) == same


def test_the_network_in_the_package_is_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "user_data", lambda: tmp_path / "user")
    folder = project.find_model(tmp_path, Path("svs/models/spleeter_finetuned"))
    net, card = inference.load(folder)
    assert (folder / "model.onnx").stat().st_size < 21e6 and card["weights"] == "8 bits"
    assert np.isfinite(net(HEARD[:, :64])).all()
    assert "Deezer" in card["start"]["license"] and "MUSDB18" in card["trained_on"]
