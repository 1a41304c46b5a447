"""Exact sharing: a CNN of excerpts over a whole spectrogram, with each overlap of its windows computed once.

Windows of `width` frames start every `hop` frames.  A *column* is one frame of all windows: a tensor whose time axis is
the number of the window.  Two columns of the input that are a multiple of `hop` apart are one tensor, seen at two
shifts.  A convolution gives column j from the columns around j.  Where two columns have the same tensors around them,
at the same distances, their results are again one tensor at two shifts, and are computed once.  Only the columns that
the padding in time reaches differ from their neighbours.

A kernel is a sum over its frames (*taps*).  The product of a tensor with a tap is shared too: each sum that needs it
takes it at its own shift.  The dense layers take all columns of a window.  If `hop` is 1, only the centre frame of the
output is computed.

All this is one ONNX graph over a block of windows, made from the graph of one window (`svs.networks.export`).  The
mask is that of window after window, except for rounding.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, partial

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import helper, numpy_helper

from svs.networks.graph import Graph, Shape
from svs.networks.inference import Net
from svs.networks.windows import averaged

_CHAIN = re.compile(
    r"(Mul )?Transpose ((Pad )?Conv (BatchNormalization )?(LeakyRelu )?(MaxPool )?)+"
    r"Transpose Flatten (Gemm (BatchNormalization )?(LeakyRelu )?)+Reshape Identity"
)
_END = 2**62  # of a slice to the end


class Unshareable(Exception):
    """The network is not a chain of the nodes known here.  `svs.networks.windows.predictions` takes any network."""


@dataclass(eq=False)
class _Layer:
    """A convolution or a dense layer, with the pooling and the LeakyReLU after it; batch normalisation is folded in.

    `kernel` is (channels out, channels in, bins, frames) or (units in, units out).  `padding` are the zeros before and
    after the bins, and before and after the frames.  `pool` bins become one.  A slope of 1 is no LeakyReLU.
    """

    kernel: np.ndarray
    bias: np.ndarray
    padding: list[list[int]] = field(default_factory=list)
    pool: int = 1
    slope: float = 1.0


def _read(graph: onnx.GraphProto) -> Iterator[tuple[str, dict, list[np.ndarray]]]:
    """Kind, attributes and constants of each node."""
    constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    for node in graph.node:
        attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        yield node.op_type, attributes, [constants[name] for name in node.input if name in constants]


def _network(model: bytes) -> tuple[tuple[int, int], int, list[_Layer]]:
    """Bins and frames of a window, the frames that the network predicts, and its layers; raises Unshareable."""
    try:
        graph = onnx.load_from_string(model).graph
    except DecodeError as error:
        raise Unshareable(str(error)) from None
    chain = list(_read(graph))
    if not _CHAIN.fullmatch(order := " ".join(kind for kind, *_ in chain)):
        raise Unshareable(f"nodes {order[:200]}")
    layers, gain = list[_Layer](), np.ones((), np.float32)
    padding = [0, 0]  # zeros before and after the bins, of the convolution to come
    for kind, attributes, arrays in chain:
        match kind, attributes, arrays:
            case "Mul", _, [gain]:
                pass
            case "Pad", _, [sides] if not sides[[0, 1, 3, 4, 5, 7]].any():
                padding = sides[[2, 6]].tolist()
            case "Conv", {"strides": [1, 1], "dilations": [1, 1], "group": 1}, [kernel, bias]:
                below, before, above, after = attributes.get("pads", [0, 0, 0, 0])
                layers.append(_Layer(kernel, bias, [[padding[0] + below, padding[1] + above], [before, after]]))
                padding = [0, 0]
            case "Gemm", _, [kernel, bias]:
                layers.append(_Layer(kernel, bias))
            case "BatchNormalization", {"epsilon": epsilon}, _:
                scale, shift, mean, variance = (array.astype(np.float64) for array in arrays)
                last, factor = layers[-1], scale / np.sqrt(variance + epsilon)
                shape = (-1, 1, 1, 1) if last.kernel.ndim == 4 else (-1,)
                last.kernel, last.bias = last.kernel * factor.reshape(shape), (last.bias - mean) * factor + shift
            case "LeakyRelu", {"alpha": slope}, _:
                layers[-1].slope = slope
            case "MaxPool", {"kernel_shape": [size, 1], "strides": [step, 1], "auto_pad": b"VALID"}, _ if size == step:
                layers[-1].pool = size  # before the LeakyReLU, which is monotone
            case (("Transpose" | "Flatten" | "Reshape" | "Identity"), _, _):
                pass
            case _:
                raise Unshareable(f"{kind} with {attributes}")
    layers[0].kernel = layers[0].kernel * gain
    taken, given = (
        [size.dim_value for size in each[0].type.tensor_type.shape.dim] for each in (graph.input, graph.output)
    )
    return (taken[1], taken[2]), given[2], layers


@dataclass(eq=False)
class _Node:
    """A tensor over windows: a product with a tap, a sum of products, or (without a layer) frames of the input.

    `inputs` are other nodes and the windows by which each is shifted.  `needs` are the shifts of its users: a block of
    windows needs the node from the least to the largest.
    """

    layer: _Layer | None = None
    tap: int | None = None
    inputs: tuple[tuple[_Node, int], ...] = ()
    needs: set[int] = field(default_factory=set)


class Evaluation:
    """A network of excerpts for whole spectrograms.

    Parameters
    ----------
    model : bytes
        ONNX, as `svs.networks.inference.read` gives it.
    hop : int
        Frames between windows, at most as many as the network predicts.
    device : str
        As of `svs.networks.inference.Net`.

    Raises
    ------
    Unshareable
        It is another kind of network.
    UnavailableError
        As of `svs.networks.inference.Net`.
    """

    def __init__(self, model: bytes, hop: int = 1, device: str = "auto"):
        window, label_width, layers = _network(model)
        self.window, self._hop, self._label_width, output = window, hop, label_width, layers[-1]
        if hop == 1:
            centre, self._label_width = slice(label_width // 2, None, label_width), 1
            output.kernel, output.bias = output.kernel[:, centre], output.bias[centre]
        self._frames = [_Node() for _ in range(hop)]
        self._columns = [(self._frames[column % hop], column // hop) for column in range(window[1])]
        self._nodes: dict[tuple, _Node] = {}  # each after its inputs
        self._dense = [layer for layer in layers if layer.kernel.ndim == 2]
        for layer in layers[: -len(self._dense)]:
            self._convolve(layer)
        for node, shift in self._columns:
            node.needs.add(shift)
        for node in reversed(self._nodes.values()):
            for source, shift in node.inputs:
                source.needs.update(need + shift for need in node.needs)
        self._net = Net(self._graph(), device)

    def _convolve(self, layer: _Layer) -> None:
        """Replace the columns by those after the layer."""
        before, after = layer.padding[1]
        padded, taps = [None] * before + self._columns + [None] * after, layer.kernel.shape[3]
        self._columns = []
        for start in range(len(padded) - taps + 1):
            around = enumerate(padded[start : start + taps])
            products = [self._shared(layer, tap, [column]) for tap, column in around if column]
            self._columns.append(self._shared(layer, None, products))

    def _shared(self, layer: _Layer, tap: int | None, inputs: list[tuple[_Node, int]]) -> tuple[_Node, int]:
        """The result as a column.  Inputs that are all shifted by the same number give one node."""
        base = min(shift for _, shift in inputs)
        key = layer, tap, tuple((node, shift - base) for node, shift in inputs)
        return self._nodes.setdefault(key, _Node(*key)), base

    def _graph(self) -> bytes:
        """From the frames of a block, a tensor (1, 1, windows and more, bins) for each of a hop, to probabilities."""
        graph, size = Graph(), (self.window[0], self._label_width)
        kernel = cache(lambda layer, tap: graph.array(layer.kernel[..., tap][:, :, None]))
        bias = cache(lambda layer: graph.array(layer.bias))
        tensors = {node: f"frames{offset}" for offset, node in enumerate(self._frames)}  # (1, channels, windows, bins)

        def taken(node: _Node, shifts: set[int]) -> str:
            first, last = min(shifts) - min(node.needs), max(shifts) - max(node.needs)
            ends = [graph.array([each]) for each in (first, last or _END, 2)]
            return graph.node("Slice", tensors[node], *ends) if first or last else tensors[node]

        def activated(layer: _Layer, tensor: str) -> str:
            return tensor if layer.slope == 1.0 else graph.node("LeakyRelu", tensor, alpha=layer.slope)

        def total(layer: _Layer, product: str, *others: str) -> str:
            for other in others:
                product = graph.node("Add", product, other)
            pool = [1, layer.pool]
            return activated(layer, graph.node("MaxPool", product, kernel_shape=pool, strides=pool))

        for node in self._nodes.values():
            inputs = [taken(source, {need + shift for need in node.needs}) for source, shift in node.inputs]
            layer = node.layer
            assert layer is not None  # only frames of the input have none
            if node.tap is None:
                tensors[node] = total(layer, *inputs)
            else:
                (below, above), (own, _) = layer.padding
                # A sum has one product with the tap of its own column, which brings the bias.
                arrays = [kernel(layer, node.tap), *([bias(layer)] if node.tap == own else [])]
                tensors[node] = graph.node("Conv", *inputs, *arrays, pads=[0, below, 0, above])
        # As Keras flattens them: bins, columns, channels.
        columns = graph.node("Concat", *(taken(node, {shift}) for node, shift in self._columns), axis=0)
        units = graph.node("Flatten", graph.node("Transpose", columns, perm=[2, 3, 0, 1]))
        for layer in self._dense:
            units = activated(layer, graph.node("Gemm", units, graph.array(layer.kernel), bias(layer)))
        probabilities = graph.node("Reshape", graph.node("Sigmoid", units), graph.array([0, *size]))
        frames: dict[str, Shape] = {tensors[node]: (1, 1, None, size[0]) for node in self._frames}
        return graph.serialized(frames, probabilities, (None, *size))

    def __call__(self, spectrum: np.ndarray, block: int) -> np.ndarray:
        """Probabilities of all frames.

        Parameters
        ----------
        spectrum : float32 (bins, frames)
            Either end is padded with silence.
        block : int
            Windows that a core computes at a time: more take more memory.

        Returns
        -------
        float32 (bins, frames)
            The network's output through the sigmoid, averaged where windows overlap.
        """
        (bins, frames), hop, width = spectrum.shape, self._hop, self.window[1]
        windows, before = -(-frames // hop), width // 2 - hop // 2
        padded = np.pad(spectrum.T, ((before, (windows - 1) * hop + width - before - frames), (0, 0)))
        blocks = (range(first, min(first + block, windows)) for first in range(0, windows, block))
        predicted = self._net.each(partial(self._block, padded), blocks)
        return averaged(predicted, (bins, frames), self._label_width)

    def _block(self, padded: np.ndarray, windows: range) -> tuple[np.ndarray, np.ndarray]:
        """Centre frames (windows,) and probabilities (windows, bins, frames of the label)."""
        inputs, hop = [], self._hop
        for offset, node in enumerate(self._frames):
            first, last = windows.start + min(node.needs), windows.stop + max(node.needs) - 1
            inputs.append(padded[first * hop + offset : last * hop + offset + 1 : hop][None, None])
        return np.array(windows) * hop + hop // 2, self._net(*inputs)
