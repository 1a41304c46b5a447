"""Spleeter's network for two stems: a U-Net each, over magnitudes of 512 frames and 1024 bins (Hennequin et al. 2020).

Six convolutions halve time and frequency, six transposed ones double them.  A skip is the output of a convolution
before its batch normalisation; the sixth goes on without normalisation and activation.  Dropout, which upstream has
after the first three transposed convolutions, plays no part in inference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from svs.networks.graph import Graph

FRAMES, BINS = 512, 1024  # that it sees at a time; bins from 0 Hz up
FILTERS = (16, 32, 64, 128, 256, 512)
EPSILON = 1e-3  # of batch normalisation
_HALVED = {"strides": [2, 2], "pads": [1, 1, 2, 2]}  # as TensorFlow pads a kernel of 5


def graph(weights: Mapping[str, Mapping[str, np.ndarray]]) -> bytes:
    """The network with its weights, as ONNX.

    Parameters
    ----------
    weights : mapping of str to mapping of str to float32 array
        By stem, then by name: the arrays of `svs.data.spleeter_weights.load`.

    Returns
    -------
    bytes
        From magnitudes (1, 2, 512, 1024) to those of each stem: (stems, 2, 512, 1024).

    Raises
    ------
    ValueError
        An array has another shape.
    """
    from svs.networks.graph import Graph  # the registry of networks, which reads the sizes, needs no onnx

    made = Graph()
    stems = [_u_net(made, arrays) for arrays in weights.values()]
    shape = (2, FRAMES, BINS)
    return made.serialized({"mixture": (1, *shape)}, made.node("Concat", *stems, axis=0), (len(stems), *shape))


def _u_net(made: Graph, arrays: Mapping[str, np.ndarray]) -> str:
    """Magnitudes of a stem: the mixture's, times a mask."""

    def constants(name: str, *shapes: tuple[int, ...]) -> list[str]:
        parts = ("weight", "bias", "running_mean", "running_var")
        found = [arrays[f"{name}.{part}"] for part in parts[: len(shapes)]]
        if [array.shape for array in found] != list(shapes):
            raise ValueError(f"{name}: expected shapes {shapes}, got {[array.shape for array in found]}")
        return [made.array(array) for array in found]

    def normalised(name: str, x: str, channels: int) -> str:
        return made.node("BatchNormalization", x, *constants(name, *[(channels,)] * 4), epsilon=EPSILON)

    x, channels = "mixture", 2
    skips: list[tuple[str, int]] = []
    for level, filters in enumerate(FILTERS, 1):
        if skips:
            x = made.node("LeakyRelu", normalised(f"down{level - 1}_act.0", x, channels), alpha=0.2)
        x = made.node("Conv", x, *constants(f"down{level}_conv.1", (filters, channels, 5, 5), (filters,)), **_HALVED)
        channels = filters
        skips.append((x, channels))
    skips.pop()
    for level, filters in enumerate((*FILTERS[-2::-1], 1), 1):
        # The convolution that halves, the other way: (n - 1) * 2 + 5 less what is cut are 2 n.
        kernel = constants(f"up{level}.0", (channels, filters, 5, 5), (filters,))
        x = made.node("Relu", made.node("ConvTranspose", x, *kernel, **_HALVED))
        x, channels = normalised(f"up{level}.3", x, filters), filters
        if skips:
            skip, more = skips.pop()
            x, channels = made.node("Concat", skip, x, axis=1), channels + more
    mask = made.node("Conv", x, *constants("up7.0", (2, 1, 4, 4), (2,)), dilations=[2, 2], pads=[3] * 4)
    # ONNX Runtime's own sigmoid has an absolute error of 1e-7: too much for the ratio of two small ones.
    decay = made.node("Exp", made.node("Neg", mask))
    return made.node("Div", "mixture", made.node("Add", decay, made.array(np.float32(1))))
