"""`svs models` and `svs fetch`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from svs.config import paths
from svs.data import spleeter_weights
from tests.helpers.command import assert_refused, below, project, svs


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A project without nets, of a user who has none."""
    monkeypatch.setattr(paths, "user_data", lambda: tmp_path / "user")
    monkeypatch.setenv("SVS_WEIGHTS", str(tmp_path / "cache"))
    return project(tmp_path / "home")


def net(folder: Path, **card: object) -> Path:
    """What a training leaves, as far as the list looks into it."""
    folder.mkdir(parents=True)
    for name in ("model.keras", "model.onnx"):
        (folder / name).write_bytes(bytes(1_500_000))
    content = {"val_loss": 0.25, "best_epoch": 3, "epochs": 4, "excerpts": {"train": 480, "valid": 64}, **card}
    (folder / "model.json").write_text(json.dumps(content))
    return folder


def listed(home: Path) -> dict[str, tuple[str, str]]:
    """The two lines of each network, by its name."""
    lines = svs("models", "list", "--project", home).out.splitlines()
    return {first.split()[0]: (first, second) for first, second in zip(lines[::2], lines[1::2], strict=True)}


def test_what_is_missing_comes_with_what_to_do(home):
    found = listed(home)
    assert {"spleeter", "openunmix", "cnn_separator", "unet_separator", "vad"} <= found.keys()
    assert [name for name, (first, _) in found.items() if " ready " in first] == ["spleeter_finetuned"]
    assert "MUSDB18" in found["spleeter_finetuned"][1], "it comes with svs, and says what it learnt from"
    assert "`svs models fetch spleeter` downloads it" in found["spleeter"][1]
    assert "`dvc repro train_vad` trains it" in found["vad"][1]


def test_each_place_and_what_a_net_was_trained_on(home, tmp_path):
    net(home / "models/cnn_separator")
    net(tmp_path / "user/models/vad", trained_on="ten songs of ours (CC0)")
    found = listed(home)
    first, second = found["cnn_separator"]
    assert " ready " in first and "3.0 MB" in first and first.endswith(str(home / "models/cnn_separator"))
    assert second.strip() == "trained here: 4 epochs of 480 excerpts"
    assert found["vad"][0].endswith(str(tmp_path / "user/models/vad"))
    assert found["vad"][1].strip() == "ten songs of ours (CC0)"


def test_the_path_of_a_net_and_of_one_that_is_missing(home):
    net(home / "models/cnn_separator")
    ran = svs("models", "path", "cnn_separator", "--project", home)
    assert (ran.code, ran.out) == (0, f"{home / 'models/cnn_separator'}\n")
    assert_refused(svs("models", "path", "vad", "--project", home), "vad: not in .*dvc repro train_vad", 5)
    assert_refused(svs("models", "path", "spleeter", "--project", home), "svs models fetch spleeter", 6)
    assert_refused(svs("models", "path", "nothing", "--project", home), "nothing: no network has that name", 2)


def test_an_exported_net_serves_another_project(home, tmp_path):
    net(home / "models/cnn_separator")
    other = project(tmp_path / "other")
    out = other / "models/cnn_separator"
    ran = svs("models", "export", "cnn_separator", out, "--project", home)
    assert ran.code == 0 and "model.keras" in ran.out
    assert " ready " in listed(other)["cnn_separator"][0]
    for name in below(home / "models/cnn_separator"):
        assert (out / name).read_bytes() == (home / "models/cnn_separator" / name).read_bytes()
    before = below(other)
    assert_refused(svs("models", "export", "vad", other / "x", "--project", home), "vad: not in", 5)
    assert_refused(svs("models", "export", "cnn_separator", out, "--project", home), "is there already")
    assert below(other) == before


def test_a_net_is_exported_in_8_bits_with_a_card_that_says_so(home, tmp_path):
    from onnx import TensorProto, load_model, numpy_helper

    from svs.networks.graph import Graph

    folder, weights = (
        net(home / "models/cnn_separator", trained_on="songs"),
        np.linspace(-1, 2, 240_000).reshape(300, 800),
    )
    made = Graph()
    product = made.node("MatMul", "input", made.array(weights.astype(np.float32)))
    (folder / "model.onnx").write_bytes(made.serialized({"input": (1, 300)}, product, (1, 800)))
    said = ("--8-bits", "--trained-on", "ten songs of ours (CC0)")
    ran = svs("models", "export", "cnn_separator", tmp_path / "small", "--project", home, *said)
    assert ran.code == 0 and sorted(below(tmp_path / "small")) == ["model.json", "model.onnx"]
    card = json.loads((tmp_path / "small/model.json").read_text())
    assert (card["weights"], card["trained_on"], card["epochs"]) == ("8 bits", "ten songs of ours (CC0)", 4)
    kept = {each.name: each for each in load_model(tmp_path / "small/model.onnx").graph.initializer}
    whole, step = (numpy_helper.to_array(each) for each in kept.values())
    assert next(iter(kept.values())).data_type == TensorProto.INT8
    np.testing.assert_allclose(whole * step, weights, atol=2 / 127 / 2 * 1.001)
    assert_refused(
        svs("models", "export", "openunmix", tmp_path / "x", "--project", home, "--8-bits"), "openunmix: ", 6
    )


def test_weights_that_are_at_hand_are_found_and_not_fetched_again(home, published_weights):
    """`svs fetch` before a journey; offline, as the tests are."""
    place = home / "models/weights/spleeter"
    place.mkdir(parents=True)
    shutil.copy(published_weights / spleeter_weights.KEPT, place)
    ran = svs("fetch", "--project", home)
    assert ran.code == 0 and ran.out == f"spleeter: {place / spleeter_weights.KEPT} (78.7 MB)\n"
    assert svs("models", "fetch", "spleeter", "--project", home).out == ran.out
    assert " ready " in listed(home)["spleeter"][0]


def test_what_can_not_be_fetched_says_why(home):
    assert_refused(svs("fetch", "--project", home), "spleeter: its weights are neither in .*SVS_OFFLINE is set", 6)
    assert_refused(svs("fetch", "openunmix", "--project", home), "openunmix: .*SVS_OFFLINE is set", 6)
    assert_refused(svs("fetch", "vad", "--project", home), "vad: it is published nowhere; .*trains it", 2)
