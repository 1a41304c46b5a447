"""Trained networks, drawn as chains of layers."""

from __future__ import annotations

import json
import math
import re
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from svs.errors import DataError
from svs.figures.style import INK, MUTED, styled

COLOURS = {
    "Conv2D": "#2f6fb2",
    "BatchNormalization": "#7fa8d1",
    "MaxPooling2D": "#d98b2b",
    "Dropout": "#b9bec6",
    "Dense": "#3b8f6b",
}


def network(model: Path) -> plt.Figure | None:
    """A trained network, a `.keras` file, as a chain of its layers, or the U of a U-Net, with the shapes between them.

    None for other networks that see passages of any length (spleeter's), which have no picture.
    Reads the description in the archive, so Keras is not imported.

    Raises
    ------
    DataError
        The file is missing or is no `.keras` archive.
    """
    try:
        with zipfile.ZipFile(model) as archive:
            layers = json.loads(archive.read("config.json"))["config"]["layers"]
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{model}: expected a .keras archive ({error}); train it with `dvc repro`") from None
    if members := _members(layers):
        return _passage_net(model.parent.name, layers, members)
    if None in layers[0]["config"]["batch_shape"][1:]:
        return None
    return _chain(model.parent.name, _steps(layers))


def _steps(layers: Sequence[dict]) -> list[tuple[str, str, Sequence[int]]]:
    """Text, kind and output shape of input, visible layers and output."""
    shape: Sequence[int] = layers[0]["config"]["batch_shape"][1:]
    steps = [("input", "", shape)]
    for layer in layers[1:]:
        kind, config = layer["class_name"], layer["config"]
        text = ""
        if kind == "Conv2D":
            lost = [size - 1 if config["padding"] == "valid" else 0 for size in config["kernel_size"]]
            shape = [shape[0] - lost[0], shape[1] - lost[1], config["filters"]]
            text = f"conv\n{_by(config['kernel_size'])}"
        elif kind == "ZeroPadding2D":
            shape = [shape[0] + sum(config["padding"][0]), shape[1] + sum(config["padding"][1]), shape[2]]
        elif kind == "MaxPooling2D":
            shape = [shape[0] // config["pool_size"][0], shape[1] // config["pool_size"][1], shape[2]]
            text = f"pool\n{_by(config['pool_size'])}"
        elif kind == "Dense":
            shape, text = [config["units"]], "dense"
        elif kind == "Dropout":
            text = f"dropout\n{config['rate']:g}"
        elif kind == "BatchNormalization":
            text = "batch\nnorm"
        elif kind == "Reshape":
            shape = config["target_shape"]
        elif kind == "TorchNetwork":
            shape, text = [config["arguments"][key] for key in ("bins", "label_width")], "torch"
        if text:
            steps.append((text, kind, shape))
    return [*steps, ("mask\n(sigmoid)", "", shape)]


def _by(sizes: Sequence[int]) -> str:
    return "×".join(map(str, sizes))


@styled
def _chain(name: str, steps: Sequence[tuple[str, str, Sequence[int]]]) -> plt.Figure:
    figure, axis = plt.subplots(figsize=(0.92 * len(steps), 2.9))
    for position, (text, kind, size) in enumerate(steps):
        # The height shows the number of values that a layer returns, on a logarithmic scale.
        height = 0.25 + 0.12 * math.log10(math.prod(size))
        _box(axis, position, 0, (0.72, height), COLOURS.get(kind, "#ffffff"))
        dark = kind in ("Conv2D", "Dense")
        axis.text(position, 0, text, ha="center", va="center", fontsize=7.8, color="white" if dark else INK)
        tilted: dict[str, Any] = {"rotation": 28, "rotation_mode": "anchor"}
        axis.text(position, -0.62, _by(size), ha="center", va="top", fontsize=7.5, color=MUTED, **tilted)
        if position:
            _arrow(axis, (position - 0.37, 0), (position - 0.63, 0))
    title = f"{name}   (LeakyReLU 0.3 after every convolution and hidden dense layer)"
    _finish(axis, (-0.6, len(steps) - 0.4), (-1.05, 0.62), title)
    return figure


def _box(axis: plt.Axes, x: float, y: float, size: tuple[float, float], colour: str) -> None:
    corner = (x - size[0] / 2, y - size[1] / 2)
    axis.add_patch(plt.Rectangle(corner, *size, facecolor=colour, edgecolor=INK, linewidth=0.8))


def _arrow(axis: plt.Axes, end: tuple[float, float], start: tuple[float, float], **look: Any) -> None:
    axis.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 0.8} | look)


def _finish(axis: plt.Axes, x: tuple[float, float], y: tuple[float, float], title: str) -> None:
    axis.set_xlim(*x)
    axis.set_ylim(*y)
    axis.axis("off")
    axis.set_title(title, loc="left", fontsize=9.5)


def _members(layers: Sequence[dict]) -> dict[str, list[dict]]:
    """Layers of each member of an ensemble of `svs.networks.unet_separator`, in the order in which they were made."""
    members: dict[str, list[tuple[int, dict]]] = {}
    for layer in layers:
        if named := re.fullmatch(r"((?:unet|fullband)\d+)_\w*?_?(\d+)", layer["config"].get("name", "")):
            members.setdefault(named[1], []).append((int(named[2]), layer))
    return {name: [layer for _, layer in sorted(found, key=itemgetter(0))] for name, found in members.items()}


@styled
def _passage_net(name: str, layers: Sequence[dict], members: Mapping[str, Sequence[dict]]) -> plt.Figure:
    """The first U-Net, with its levels from left to right and its skips, and beneath it the first full-band net."""
    bins = layers[0]["config"]["batch_shape"][2]
    folded = next(layer["config"]["target_shape"] for layer in layers if layer["class_name"] == "Reshape")
    levels = _u_net(members.get("unet1", []))
    blocks = _full_band(members.get("fullband1", []))
    depth = max((level for level, _, _ in levels), default=-1)
    height, width = depth + 1 + 1.25 * bool(blocks), max(len(levels), len(blocks))
    figure, axis = plt.subplots(figsize=(1.75 * width + 0.6, 1.55 * height))

    boxes: list[tuple[int, float, list[str], str]] = [
        (x, -level, lines, f"{folded[1] >> level} bins × {size}") for x, (level, size, lines) in enumerate(levels)
    ]
    boxes += [(x, -depth - 1.25, lines, above) for x, (lines, above) in enumerate(blocks)]
    for (_, before, _, _), (x, y, lines, above) in zip([boxes[0], *boxes], boxes, strict=False):
        _box(axis, x, y, (0.86, 0.72), COLOURS["Conv2D"])
        axis.text(x, y, "\n".join(lines), ha="center", va="center", fontsize=6.4, color="white")
        axis.text(x, y + 0.39, above, ha="center", va="bottom", fontsize=7.2, color=MUTED)
        if x:
            _arrow(axis, (x - 0.44, y), (x - 0.57, before))
    for position in range(len(levels) // 2):
        at = 0.2 - levels[position][0]
        ends = (len(levels) - 1 - position - 0.45, at), (position + 0.45, at)
        _arrow(axis, *ends, color=MUTED, linestyle="--")
    title = (
        f"{name}   (stereo log magnitudes of {bins} bins, {bins // folded[1]} neighbours folded into "
        "channels; dashed: skips that are added)"
    )
    if len(members) > 1:
        kinds = Counter(member.rstrip("0123456789") for member in members)
        both = f"U-Nets: {kinds['unet']}, full-band nets: {kinds['fullband']}"
        title += f"\none of each kind: the mask is the mean of {len(members)} ({both})"
    _finish(axis, (-0.6, width - 0.4), (0.5 - height, 0.68), title)
    return figure


def _u_net(layers: Sequence[dict]) -> list[tuple[int, int, list[str]]]:
    """The boxes of a U-Net from left to right: level, channels, and one line for each layer in it."""
    level, places = 0, []
    for layer in layers:
        kind, config = layer["class_name"], layer["config"]
        if kind == "Conv2DTranspose" or kind == "Conv2D" and tuple(config["strides"]) == (2, 2):
            level += 1 if kind == "Conv2D" else -1
            places.append((level, config["filters"], ["up 2×2" if kind == "Conv2DTranspose" else "down 2×2"]))
        elif kind == "Conv2D":
            if not places:
                places.append((0, config["filters"], []))
            places[-1][2].append(f"conv {_by(config['kernel_size'])}, {config['filters']}")
        elif kind == "Dense":
            places[-1][2].append(f"dense {config['units']} (frequency)")
    return places


def _full_band(layers: Sequence[dict]) -> list[tuple[list[str], str]]:
    """The boxes of a full-band net from left to right: one line for each layer, and the output."""
    places: list[tuple[list[str], str]] = []
    lines: list[str] = []
    for layer in layers:
        kind, config = layer["class_name"], layer["config"]
        if kind == "Dense":
            lines.append(f"dense {config['units']}")
            if not places or config["activation"] == "linear":  # the first one, and the last of a block
                places.append((lines, f"{config['units']} channels"))
                lines = []
        elif kind == "Conv1D":
            lines.append(f"conv {config['kernel_size'][0]} frames, {config['filters']},")
            lines.append(f"{config['dilation_rate'][0]} apart")
    return places
