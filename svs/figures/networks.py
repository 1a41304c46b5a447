"""Trained networks, drawn as chains of layers."""

from __future__ import annotations

import json
import re
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from svs.errors import DataError
from svs.figures.style import INK, MUTED, STYLE

_HIDDEN = ("InputLayer", "LeakyReLU", "Flatten", "Reshape", "Rescaling", "ZeroPadding2D")
_COLOURS = {
    "Conv2D": "#2f6fb2",
    "BatchNormalization": "#7fa8d1",
    "MaxPooling2D": "#d98b2b",
    "Dropout": "#b9bec6",
    "Dense": "#3b8f6b",
}


def network(model: Path) -> plt.Figure:
    """A trained network as a chain of its layers, or the U of a U-Net, with the shapes between them.

    Reads the archive's own description, so Keras is not imported.

    Parameters
    ----------
    model : Path
        A `.keras` file.
    """
    try:
        with zipfile.ZipFile(model) as archive:
            layers = json.loads(archive.read("config.json"))["config"]["layers"]
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{model}: expected a .keras archive ({error}); train it with `dvc repro`") from None
    if members := _members(layers):
        return _passage_net(model.parent.name, layers, members)
    steps = []
    shape: Sequence[int] = layers[0]["config"]["batch_shape"][1:]
    steps.append(("input", "", "Input", shape))
    for layer in layers[1:]:
        kind, config = layer["class_name"], layer["config"]
        if kind == "Conv2D":
            lost = [size - 1 if config["padding"] == "valid" else 0 for size in config["kernel_size"]]
            shape = [size - less for size, less in zip(shape[:2], lost, strict=True)] + [config["filters"]]
            text = f"conv\n{config['kernel_size'][0]}×{config['kernel_size'][1]}"
        elif kind == "ZeroPadding2D":
            shape = [size + sum(more) for size, more in zip(shape[:2], config["padding"], strict=True)] + [shape[2]]
        elif kind == "MaxPooling2D":
            shape = [size // pool for size, pool in zip(shape[:2], config["pool_size"], strict=True)] + [shape[2]]
            text = f"pool\n{config['pool_size'][0]}×{config['pool_size'][1]}"
        elif kind == "Dense":
            shape, text = [config["units"]], "dense"
        elif kind == "Dropout":
            text = f"dropout\n{config['rate']:g}"
        elif kind == "BatchNormalization":
            text = "batch\nnorm"
        elif kind == "Flatten":
            shape = [int(np.prod(shape))]
        elif kind == "Reshape":
            shape = config["target_shape"]
        if kind not in _HIDDEN:
            steps.append((text, kind, "", shape))
    steps.append(("mask\n(sigmoid)", "", "Output", shape))
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(0.92 * len(steps), 2.9))
        for position, (text, kind, _, size) in enumerate(steps):
            # Height stands for the values that a layer gives, on a logarithmic scale.
            height = 0.25 + 0.12 * np.log10(np.prod(size))
            colour = _COLOURS.get(kind, "#ffffff")
            axis.add_patch(
                plt.Rectangle(
                    (position - 0.36, -height / 2), 0.72, height, facecolor=colour, edgecolor=INK, linewidth=0.8
                )
            )
            dark = kind in ("Conv2D", "Dense")
            axis.text(position, 0, text, ha="center", va="center", fontsize=7.8, color="white" if dark else INK)
            axis.text(
                position,
                -0.62,
                "×".join(map(str, size)),
                ha="center",
                va="top",
                fontsize=7.5,
                color=MUTED,
                rotation=28,
                rotation_mode="anchor",
            )
            if position:
                axis.annotate(
                    "",
                    (position - 0.37, 0),
                    (position - 0.63, 0),
                    arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 0.8},
                )
        axis.set_xlim(-0.6, len(steps) - 0.4)
        axis.set_ylim(-1.05, 0.62)
        axis.axis("off")
        axis.set_title(
            f"{model.parent.name}   (LeakyReLU 0.3 after every convolution and hidden dense layer)",
            loc="left",
            fontsize=9.5,
        )
    return figure


def _members(layers: Sequence[dict]) -> dict[str, list[dict]]:
    """Layers of each member of a net of `svs.networks.unet_separator`, in the order that they were made in."""
    members: dict[str, list[tuple[int, dict]]] = {}
    for layer in layers:
        if named := re.fullmatch(r"((?:unet|fullband)\d+)_\w*?_?(\d+)", layer["config"].get("name", "")):
            members.setdefault(named[1], []).append((int(named[2]), layer))
    return {member: [layer for _, layer in sorted(members[member], key=itemgetter(0))] for member in sorted(members)}


def _passage_net(name: str, layers: Sequence[dict], members: Mapping[str, Sequence[dict]]) -> plt.Figure:
    """The first U-Net, with its levels from left to right and its skips, and beneath it the first full-band net."""
    bins = layers[0]["config"]["batch_shape"][2]
    folded = next(layer["config"]["target_shape"] for layer in layers if layer["class_name"] == "Reshape")
    levels = _u_net(members.get("unet1", []))
    blocks = _full_band(members.get("fullband1", []))
    depth = max((level for level, _, _ in levels), default=-1)
    height = depth + 1 + 1.25 * bool(blocks)
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(1.75 * max(len(levels), len(blocks)) + 0.6, 1.55 * height))

        def box(position: int, at: float, lines: list[str], above: str) -> None:
            axis.add_patch(
                plt.Rectangle(
                    (position - 0.43, at - 0.36), 0.86, 0.72, facecolor=_COLOURS["Conv2D"], edgecolor=INK, linewidth=0.8
                )
            )
            axis.text(position, at, "\n".join(lines), ha="center", va="center", fontsize=6.4, color="white")
            axis.text(position, at + 0.39, above, ha="center", va="bottom", fontsize=7.2, color=MUTED)

        def arrow(end: tuple[float, float], start: tuple[float, float], **style: Any) -> None:
            axis.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 0.8} | style)

        for position, (level, channels, lines) in enumerate(levels):
            box(position, -level, lines, f"{folded[1] >> level} bins × {channels}")
            if position:
                arrow((position - 0.44, -level), (position - 0.57, -levels[position - 1][0]))
        for position in range(len(levels) // 2):
            at = 0.2 - levels[position][0]
            arrow((len(levels) - 1 - position - 0.45, at), (position + 0.45, at), color=MUTED, linestyle="--")
        for position, (lines, above) in enumerate(blocks):
            box(position, -depth - 1.25, lines, above)
            if position:
                arrow((position - 0.44, -depth - 1.25), (position - 0.57, -depth - 1.25))
        axis.set_xlim(-0.6, max(len(levels), len(blocks)) - 0.4)
        axis.set_ylim(0.5 - height, 0.68)
        axis.axis("off")
        kinds = Counter(member.rstrip("0123456789") for member in members)
        more = (
            ""
            if len(members) == 1
            else (
                f"\none of each kind: the mask is the mean of {len(members)} "
                f"(U-Nets: {kinds['unet']}, full-band nets: {kinds['fullband']})"
            )
        )
        axis.set_title(
            f"{name}   (stereo log magnitudes of {bins} bins, {bins // folded[1]} neighbours folded into "
            f"channels; dashed: skips that are added){more}",
            loc="left",
            fontsize=9.5,
        )
    return figure


def _u_net(layers: Sequence[dict]) -> list[tuple[int, int, list[str]]]:
    """A U-Net's places from left to right: level, channels, lines of what is done there."""
    level, places = 0, []
    for layer in layers:
        kind, config = layer["class_name"], layer["config"]
        if kind == "Conv2DTranspose" or kind == "Conv2D" and tuple(config["strides"]) == (2, 2):
            level += 1 if kind == "Conv2D" else -1
            places.append((level, config["filters"], ["up 2×2" if kind == "Conv2DTranspose" else "down 2×2"]))
        elif kind == "Conv2D":
            if not places:
                places.append((0, config["filters"], []))
            places[-1][2].append(f"conv {config['kernel_size'][0]}×{config['kernel_size'][1]}, {config['filters']}")
        elif kind == "Dense":
            places[-1][2].append(f"dense {config['units']} (frequency)")
    return places


def _full_band(layers: Sequence[dict]) -> list[tuple[list[str], str]]:
    """A full-band net's places from left to right: lines of what is done there, and what comes out."""
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
