"""Drawn networks: a box for each layer, and the shapes that Keras computes."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from svs import networks as network_registry
from svs.config import schema
from svs.errors import DataError
from svs.figures import networks
from tests.helpers import REPOSITORY


@pytest.mark.parametrize(
    ("name", "boxes"),
    [
        ("cnn_separator", "CCPDCCPDEDE"),
        ("cnn_deep_separator", "CCNPCNCNPEDEDE"),
        ("vad", "CCPDCCPDEDE"),
        ("cnn_deep_separator_valid", "CCNPCNCNPEDEDE"),
    ],
)
def test_a_network_has_one_box_for_each_visible_layer(tmp_path, name, boxes):
    from svs.networks import archive, build

    model = build(name, 257, 9, 1, input_gain=100.0)
    archive.save(tmp_path / name, model, {})
    axis = networks.network(tmp_path / name / "model.keras").axes[0]
    kinds = {"C": "Conv2D", "P": "MaxPooling2D", "D": "Dropout", "E": "Dense", "N": "BatchNormalization"}
    drawn = [
        next(
            (
                kind
                for kind, colour in networks.COLOURS.items()
                if matplotlib.colors.to_rgba(colour) == box.get_facecolor()
            ),
            None,
        )
        for box in sorted(axis.patches, key=lambda box: box.get_x())
    ]
    assert drawn == [None, *(kinds[letter] for letter in boxes), None]  # between input and mask
    visible = [type(layer).__name__ for layer in model.layers if type(layer).__name__ in kinds.values()]
    assert drawn[1:-1] == visible
    # The shapes below are those that Keras computes.
    shown = [item.get_text() for item in axis.texts if item.get_rotation() == 28]
    real = [
        "×".join(map(str, layer.output.shape[1:])) for layer in model.layers if type(layer).__name__ in kinds.values()
    ]
    assert shown[0] == "257×9×1"
    assert shown[1:-1] == real
    assert shown[-1] == "×".join(map(str, model.output_shape[1:]))
    assert name in axis.get_title(loc="left")


@pytest.mark.parametrize(("u_nets", "full_band"), [(1, 0), (0, 1), (2, 3)])
def test_of_a_net_of_passages_one_member_of_each_kind_is_drawn(tmp_path, u_nets, full_band):
    from svs.networks import archive, unet_separator

    size = network_registry.training("unet_separator", schema.load(REPOSITORY / "params.yaml")).network
    size = size.model_copy(
        update={
            "ensemble": u_nets,
            "channels": 6,
            "growth": 2,
            "levels": 2,
            "full_band": size.full_band.model_copy(
                update={"ensemble": full_band, "channels": 24, "bottleneck": 8, "blocks": 3}
            ),
        }
    )
    archive.save(tmp_path / "net", unet_separator.build(320, size, np.zeros(320), np.ones(320), seed=1), {})
    axis = networks.network(tmp_path / "net" / "model.keras").axes[0]
    levels, blocks = 5 * bool(u_nets), 5 * bool(full_band)  # down twice and up again; first, three blocks, last
    assert len(axis.patches) == levels + blocks
    assert len({(box.get_x(), box.get_y()) for box in axis.patches}) == levels + blocks
    (low, high), (left, right) = axis.get_ylim(), axis.get_xlim()
    assert all(
        low < box.get_y()
        and box.get_y() + box.get_height() < high
        and left < box.get_x()
        and box.get_x() + box.get_width() < right
        for box in axis.patches
    )
    said = [text.get_text() for text in axis.texts]
    assert said.count("80 bins × 6") == said.count("40 bins × 8") == 2 * bool(u_nets)
    assert said.count("20 bins × 10") == bool(u_nets)
    assert said.count("24 channels") == 4 * bool(full_band) and said.count("640 channels") == bool(full_band)
    assert sum("conv 3 frames, 8,\n4 apart" in text for text in said) == bool(full_band)
    title = axis.get_title(loc="left")
    assert ("the mask is the mean of 5 (U-Nets: 2, full-band nets: 3)" in title) == (u_nets + full_band > 1)


def saved(folder, *layers) -> Path:
    """A `.keras` archive of a description alone."""
    with zipfile.ZipFile(folder / "model.keras", "w") as archive:
        archive.writestr("config.json", json.dumps({"config": {"layers": layers}}))
    return folder / "model.keras"


def test_a_network_of_passages_of_any_length_has_no_picture(tmp_path):
    """That of spleeter_finetuned: the stage goes on without it."""
    shape = {"config": {"batch_shape": [None, None, 1024, 2]}, "class_name": "InputLayer"}
    assert networks.network(saved(tmp_path, shape, {"class_name": "Conv2D", "config": {}})) is None


def test_a_network_of_torch_is_one_box_with_its_mask(tmp_path):
    shape = {"config": {"batch_shape": [None, 257, 9, 1]}, "class_name": "InputLayer"}
    torch = {"class_name": "TorchNetwork", "config": {"arguments": {"bins": 257, "width": 9, "label_width": 1}}}
    axis = networks.network(saved(tmp_path, shape, torch)).axes[0]
    shown = [item.get_text() for item in axis.texts if item.get_rotation() == 28]
    assert len(axis.patches) == 3 and shown == ["257×9×1", "257×1", "257×1"]


def test_what_is_no_network(tmp_path):
    (tmp_path / "text.keras").write_text("no archive")
    for name in ("text", "missing"):
        with pytest.raises(DataError, match=rf"{name}\.keras: expected a \.keras archive .*train it with `dvc repro`"):
            networks.network(tmp_path / f"{name}.keras")
