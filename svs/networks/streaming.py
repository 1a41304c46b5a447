"""Exact sharing: a CNN of excerpts over a whole spectrogram, with each overlap of its windows computed once.

Windows of `width` frames start every `hop` frames.  A *column* is one frame of all windows: a tensor whose time axis is
the number of the window.  Two columns of the input that are a multiple of `hop` apart are one tensor, seen at two
shifts.  A convolution gives column j from the columns around j.  Where two columns have the same tensors around them,
at the same distances, their results are again one tensor at two shifts, and are computed once.  Only the columns that
the padding in time reaches differ from their neighbours.

A kernel is a sum over its frames (*taps*).  The product of a tensor with a tap is shared too: each sum that needs it
takes it at its own shift.  The dense layers take all columns of a window.  If `hop` is 1, only the centre frame of the
output is computed.

The mask is that of `Model.predict`, window after window, except for rounding.  The weights come from the `.keras` file
without Keras, whose import takes seconds and half a gigabyte.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import h5py
import numpy as np
import torch
from torch.nn import functional

from svs.networks import CARD, MODEL
from svs.networks.windows import averaged
from svs.runtime.files import read_json
from svs.runtime.parallel import cores

_STORED = {"Conv2D": "conv2d", "Dense": "dense", "BatchNormalization": "batch_normalization"}
_DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
_CHAIN = re.compile(
    r"InputLayer (Rescaling )?((ZeroPadding2D )?Conv2D (BatchNormalization )?(LeakyReLU )?(MaxPooling2D )?)+"
    r"Flatten (Dense (BatchNormalization )?(LeakyReLU )?)+Reshape"
)


class Unshareable(Exception):
    """The network is not a chain of the layers known here.  `svs.networks.windows.predictions` takes any network."""


@dataclass(eq=False)
class _Layer:
    """A convolution or a dense layer, with the pooling and the LeakyReLU after it; batch normalisation is folded in.

    `kernel` is (bins, frames, channels in, channels out) or (units in, units out).  `padding` are the zeros before and
    after the bins, and before and after the frames.  `pool` bins become one.  A slope of 1 is no LeakyReLU.
    """

    kernel: np.ndarray
    bias: np.ndarray
    padding: list[list[int]] = field(default_factory=list)
    pool: int = 1
    slope: float = 1.0

    @cached_property
    def weights(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Kernel, output channels first, and bias, as torch takes them."""
        return _tensor(self.kernel.T), _tensor(self.bias)

    def product(self, tap: int, column: torch.Tensor) -> torch.Tensor:
        """From (1, channels in, windows, bins) to (1, channels out, windows, bins): what a column adds to a sum."""
        # torch pads both sides alike.  A sum has one product with the tap of its own column, which brings the bias.
        (below, above), (own, _) = self.padding
        most = max(below, above)
        kernel, bias = self.weights
        kernel = kernel[:, :, tap : tap + 1].contiguous(memory_format=torch.channels_last)
        product = functional.conv2d(column, kernel, bias if tap == own else None, padding=(0, most))
        return product[..., most - below : product.shape[3] - (most - above)]

    def total(self, first: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        """The sum of products, pooled, through the LeakyReLU."""
        # Other sums take the same products: only what is made here is changed in place.
        total = torch.add(first, others[0]) if others else first.clone()
        for other in others[1:]:
            total += other
        if self.pool > 1:
            total = functional.max_pool2d(total, (1, self.pool))
        return functional.leaky_relu_(total, self.slope)


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).to(_DEVICE)


def load(folder: Path, hop: int = 1) -> tuple[Evaluation, dict]:
    """The network and card that `svs.networks.archive.save` wrote, the network ready for whole spectrograms.

    Parameters
    ----------
    folder : Path
    hop : int
        Frames between windows, at most as many as the network predicts.

    Raises
    ------
    Unshareable
        It is another kind of network, or not a readable file.
    DataError
        The card is missing or damaged.
    """
    path = Path(folder) / MODEL
    try:
        window, label_width, layers = _network(path)
    except (OSError, zipfile.BadZipFile, KeyError, IndexError, TypeError, ValueError) as error:
        raise Unshareable(f"{path}: {error}") from None
    return Evaluation(window, label_width, layers, hop), read_json(Path(folder) / CARD)


def _read(path: Path) -> Iterator[tuple[str, dict, list[np.ndarray]]]:
    """Class, config and weights of each layer of a `.keras` file, in the order of the chain."""
    counts = dict.fromkeys(_STORED, 0)
    with zipfile.ZipFile(path) as packed, packed.open("model.weights.h5") as stream, h5py.File(stream) as stored:
        for entry in json.loads(packed.read("config.json"))["config"]["layers"]:
            kind, weights = entry["class_name"], []
            if kind in _STORED:  # Keras numbers the layers of a class
                arrays = stored["layers"][_STORED[kind] + (f"_{counts[kind]}" if counts[kind] else "")]["vars"]
                weights = [arrays[str(index)][()] for index in range(len(arrays))]
                counts[kind] += 1
            yield kind, entry["config"], weights


def _network(path: Path) -> tuple[tuple[int, int], int, list[_Layer]]:
    """Bins and frames of a window, the frames that the network predicts, and its layers."""
    chain = [layer for layer in _read(path) if layer[0] != "Dropout"]
    if not _CHAIN.fullmatch(order := " ".join(kind for kind, *_ in chain)):
        raise Unshareable(f"layers {order}")
    layers, gain, padding = [], 1.0, [0, 0]  # zeros before and after the bins, of the convolution to come
    for kind, config, weights in chain:
        match kind, config:
            case "Rescaling", {"scale": gain, "offset": 0}:
                pass
            case "ZeroPadding2D", {"padding": [padding, [0, 0]]}:
                pass
            case "Conv2D", {"strides": [1, 1], "dilation_rate": [1, 1], "activation": "linear", "padding": "valid"}:
                kernel, bias = weights
                layers.append(_Layer(kernel, bias, [padding, [0, 0]]))
                padding = [0, 0]
            case "Conv2D", {"strides": [1, 1], "dilation_rate": [1, 1], "activation": "linear"} if padding == [0, 0]:
                kernel, bias = weights
                layers.append(_Layer(kernel, bias, [[(size - 1) // 2, size // 2] for size in kernel.shape[:2]]))
            case "Dense", {"activation": "linear"}:
                kernel, bias = weights
                layers.append(_Layer(kernel, bias))
            case "BatchNormalization", {"axis": -1, "epsilon": epsilon}:
                scale, shift, mean, variance = (weight.astype(np.float64) for weight in weights)
                last, factor = layers[-1], scale / np.sqrt(variance + epsilon)
                last.kernel, last.bias = last.kernel * factor, (last.bias - mean) * factor + shift
            case "LeakyReLU", {"negative_slope": slope}:
                layers[-1].slope = slope
            case "MaxPooling2D", {"pool_size": [size, 1], "strides": [step, 1], "padding": "valid"} if size == step:
                layers[-1].pool = size  # before the LeakyReLU, which is monotone
            case "InputLayer", {"batch_shape": [_, *window, 1]}:
                pass
            case "Reshape", {"target_shape": [_, label_width]}:
                pass
            case "Flatten", _:
                pass
            case _:
                raise Unshareable(f"{kind} with {config}")
    layers[0].kernel = layers[0].kernel * np.float32(gain)
    return tuple(window), label_width, layers


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
    ends: list[_Node] = field(default_factory=list)  # inputs that no later node takes


class Evaluation:
    """A network that `load` made, for whole spectrograms: on the GPU that torch finds, otherwise on all cores."""

    def __init__(self, window: tuple[int, int], label_width: int, layers: list[_Layer], hop: int):
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
                if not source.needs:
                    node.ends.append(source)
                source.needs.update(need + shift for need in node.needs)

    def _convolve(self, layer: _Layer) -> None:
        """Replace the columns by those after the layer."""
        before, after = layer.padding[1]
        padded, taps = [None] * before + self._columns + [None] * after, layer.kernel.shape[1]
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
        workers, threads = cores() if _DEVICE == "cpu" else 1, torch.get_num_threads()
        try:
            with (
                # Threads that share each product wait for one another: each computes its own blocks.
                ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool,
                # On a GPU: no 19-bit products (1e-3 off), and the same sums in each run.
                torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
            ):
                predicted = pool.map(partial(self._block, padded), blocks)
                return averaged(predicted, (bins, frames), self._label_width)
        finally:
            torch.set_num_threads(threads)

    @torch.inference_mode()
    def _block(self, padded: np.ndarray, windows: range) -> tuple[np.ndarray, np.ndarray]:
        """Centre frames (windows,) and probabilities (windows, bins, frames of the label)."""
        values, hop = {}, self._hop
        for offset, node in enumerate(self._frames):
            first, last = windows.start + min(node.needs), windows.stop + max(node.needs) - 1
            values[node] = _tensor(padded[first * hop + offset : last * hop + offset + 1 : hop])[None, None]

        def taken(node: _Node, shifts: set[int]) -> torch.Tensor:
            start = min(node.needs)
            return values[node][:, :, min(shifts) - start : max(shifts) - start + len(windows)]

        for node in self._nodes.values():
            inputs = [taken(source, {need + shift for need in node.needs}) for source, shift in node.inputs]
            assert node.layer is not None  # only frames of the input have none
            values[node] = node.layer.total(*inputs) if node.tap is None else node.layer.product(node.tap, *inputs)
            for source in node.ends:
                del values[source]
        # As Keras flattens them: bins, columns, channels.
        columns = [taken(node, {shift})[0].permute(1, 2, 0) for node, shift in self._columns]
        units = torch.stack(columns, dim=2).flatten(1)
        for layer in self._dense:
            units = functional.leaky_relu_(functional.linear(units, *layer.weights), layer.slope)
        probabilities = torch.sigmoid(units).unflatten(1, (-1, self._label_width)).cpu().numpy()
        return np.array(windows) * hop + hop // 2, probabilities
