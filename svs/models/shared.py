"""A trained network over a whole spectrogram, at what its overlapping windows have in common.

Where a window slides by one frame, neighbouring windows hold the same frames
at other columns.  With SAME padding in time, what a convolution makes of a
column depends on the frame, and on how far the column lies from the window's
edges, as long as the padding reaches it: on its *kind*.  With kernels of three
frames the nine columns of a window are of 3 kinds after the first
convolution, 5 after the second, 7 and 9 after the third and fourth.  So every
layer is computed once for each frame and kind.  A kernel is a sum over its
columns (*taps*), and the product of a frame with one tap serves every kind that
uses it; the sums are cheap.  Then each window gathers its columns for the dense
layers, of whose last only the centre frame is computed.

Batch normalisation is folded into the convolution before it, and pooling comes
before the LeakyReLU: both leave the function as it is, so that the logits are
those of window after window, but for the rounding of sums in another order.

The spectrogram goes through in blocks of frames.  What two blocks share is
kept between them, so a block's size decides on memory and speed alone.  On the
CPU parts of the spectrogram go through side by side, each on one core: threads
that share every product wait for one another several times in a millisecond.
Parts are of one length whatever the number of cores, so that the bytes are too.

Computed with torch, on the GPU that torch finds, otherwise on the CPU: there
its convolutions run at the speed of a matrix product.  Weights and layers come
from the `.keras` file alone, and are read without Keras, whose import takes
seconds and half a gigabyte.
"""

from __future__ import annotations

import copy
import json
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import h5py
import numpy as np
import torch
from torch.nn import functional

from svs.files import read_json
from svs.running import cores

_MODEL, _CARD = "model.keras", "model.json"      # as in `svs.models.archive`, which imports Keras
_WEIGHTS = {"Conv2D": "conv2d", "Dense": "dense", "BatchNormalization": "batch_normalization"}
_UNWEIGHTED = ("InputLayer", "Rescaling", "LeakyReLU", "MaxPooling2D", "Dropout", "Flatten", "Reshape")


PART = 512               # frames that go through on one core; 12 more are computed at either end


class Unshareable(Exception):
    """The network is not of the family that is evaluated here; `svs.windows` takes any."""


@dataclass
class Layer:
    """A layer of a `.keras` file: its class, its config, its weights in Keras' order."""

    kind: str
    config: dict
    weights: list[np.ndarray] = field(default_factory=list)


@dataclass
class Convolution:
    """A convolution with what follows it, up to the next.

    Attributes
    ----------
    kernel : float32 (bins, frames, channels in, channels out)
        Batch normalisation is folded in.
    bias : float32 (channels out,)
    slope : float
        Of the LeakyReLU; 1 where there is none.
    pool : int
        Bins that are pooled into one.
    """

    kernel: np.ndarray
    bias: np.ndarray
    slope: float = 1.0
    pool: int = 1


@dataclass
class Dense:
    """kernel : float32 (units in, units out); bias : float32 (units out,); slope : as of `Convolution`."""

    kernel: np.ndarray
    bias: np.ndarray
    slope: float = 1.0


def load(folder: Path) -> tuple[Evaluation, dict]:
    """The network and card that `svs.models.archive.save` wrote, the network ready for whole spectrograms.

    Raises
    ------
    Unshareable
        It is another kind of network, or not a readable file.
    DataError
        The card is missing or damaged.
    """
    layers = read(Path(folder) / _MODEL)
    card = read_json(Path(folder) / _CARD)
    return Evaluation(*described(layers, int(card["label_width"]))), card


def read(path: Path) -> list[Layer]:
    """Layers of a `.keras` file, in the order in which they follow one another.

    Raises
    ------
    Unshareable
        The layers are no chain, one is of a class that `described` doesn't
        know, or the file is missing, damaged or of another layout.
    """
    try:
        with zipfile.ZipFile(path) as packed:
            config = json.loads(packed.read("config.json"))["config"]
            layers = [Layer(entry["class_name"], entry["config"]) for entry in _chain(config)]
            with packed.open("model.weights.h5") as stream, h5py.File(stream) as stored:
                _fill(layers, stored["layers"])
    except (OSError, zipfile.BadZipFile, KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise Unshareable(f"{path}: {error}") from None
    return layers


def _chain(config: dict) -> list[dict]:
    """Entries of the layers, where each takes what the last one gives."""
    before = None
    for entry in config["layers"]:
        taken = [argument["config"]["keras_history"] for node in entry["inbound_nodes"] for argument in node["args"]]
        if taken != ([] if before is None else [[before, 0, 0]]):
            raise Unshareable(f"{entry['name']} takes {taken}")
        before = entry["name"]
    first = config["layers"][0]["name"]
    if config["input_layers"] not in ([first, 0, 0], [[first, 0, 0]]) or \
            config["output_layers"] not in ([before, 0, 0], [[before, 0, 0]]):
        raise Unshareable("several inputs or outputs")
    return config["layers"]


def _fill(layers: list[Layer], stored: h5py.Group) -> None:
    """Give the layers their weights: Keras numbers the layers of a class in their order."""
    counts = dict.fromkeys(_WEIGHTS, 0)
    for layer in layers:
        if layer.kind in _WEIGHTS:
            number, counts[layer.kind] = counts[layer.kind], counts[layer.kind] + 1
            arrays = stored[_WEIGHTS[layer.kind] + (f"_{number}" if number else "")]["vars"]
            layer.weights = [np.asarray(arrays[str(index)], dtype=np.float32) for index in range(len(arrays))]
        elif layer.kind not in _UNWEIGHTED:
            raise Unshareable(f"a layer {layer.kind}")


def described(layers: Sequence[Layer], label_width: int) -> tuple[tuple[int, int], list[Convolution], list[Dense]]:
    """What the layers compute of the centre frame: bins and frames of a window, convolutions, dense layers.

    Rescaling is in the first kernel, batch normalisation in the kernel before
    it; the last dense layer has the units of the centre frame alone.

    Raises
    ------
    Unshareable
        A layer, an option or an order that is none of `svs.models.layers.Stack`.
    """
    convolutions: list[Convolution] = []
    dense: list[Dense] = []
    window, gain, flat, shape = None, 1.0, False, None
    foldable = False         # the last layer was linear, and batch normalisation can go into it
    for layer in layers:
        config = layer.config
        _expect(layer, dtype=None, activation="linear", data_format="channels_last", groups=1)
        last = dense[-1] if dense else convolutions[-1] if convolutions else None
        if shape is not None:
            raise Unshareable(f"{layer.kind} after the output's shape")
        match layer.kind:
            case "InputLayer" if window is None and len(config["batch_shape"]) == 4 and config["batch_shape"][3] == 1:
                window = tuple(config["batch_shape"][1:3])
            case "Rescaling" if last is None and config["offset"] == 0 and isinstance(config["scale"], (int, float)):
                gain *= config["scale"]
            case "Conv2D" if not flat:
                _expect(layer, strides=1, padding="same", dilation_rate=1)
                kernel, bias = _kernel_and_bias(layer, 4)
                convolutions.append(Convolution(kernel if convolutions else kernel * np.float32(gain), bias))
            case "BatchNormalization" if foldable:
                _expect(layer, axis=-1)
                _fold(layer, last)
            case "LeakyReLU" if last is not None and last.slope == 1.0 and 0 <= config["negative_slope"] < 1:
                last.slope = float(config["negative_slope"])
            case "MaxPooling2D" if convolutions and not flat:
                size, frames = config["pool_size"]
                _expect(layer, strides=None, padding="valid")
                if frames != 1 or config["strides"] not in (None, [size, 1], (size, 1)) or last.pool != 1:
                    raise Unshareable(f"pooling over {config['pool_size']}")
                last.pool = size
            case "Flatten" if convolutions and not flat:
                flat = True
            case "Dense" if flat:
                dense.append(Dense(*_kernel_and_bias(layer, 2)))
            case "Reshape" if dense:
                shape = tuple(config["target_shape"])
            case "Dropout":
                pass
            case _:
                raise Unshareable(f"a layer {layer.kind} in this place")
        foldable = layer.kind in ("Conv2D", "Dense")
    bins, width = window
    if shape != (bins, label_width) or width % 2 == 0:
        raise Unshareable(f"an output of {shape}")
    centre = dense[-1]
    if centre.kernel.shape[1] != bins * label_width:
        raise Unshareable(f"an output of {centre.kernel.shape[1]} units")
    centre.kernel = np.ascontiguousarray(centre.kernel.reshape(-1, bins, label_width)[..., label_width // 2])
    centre.bias = np.ascontiguousarray(centre.bias.reshape(bins, label_width)[:, label_width // 2])
    return window, convolutions, dense


def _expect(layer: Layer, **options: object) -> None:
    """Refuse a layer whose option, if it has one of that name, is another."""
    for name, wanted in options.items():
        value = layer.config.get(name, wanted)
        if name == "dtype":
            policy = value if isinstance(value, (str, type(None))) else value["config"]["name"]
            fits = policy in (None, "float32")
        else:
            values = value if isinstance(value, (list, tuple)) else [value]
            fits = wanted is None or all(each == wanted for each in values)
        if not fits:
            raise Unshareable(f"{layer.kind} with {name} {value}")


def _kernel_and_bias(layer: Layer, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    kernel, *bias = layer.weights
    sizes = (*layer.config.get("kernel_size", ()), kernel.shape[-2] if kernel.ndim > 1 else None,
             layer.config.get("filters", layer.config.get("units")))
    if kernel.ndim != dimensions or kernel.shape != sizes or len(bias) != bool(layer.config["use_bias"]):
        raise Unshareable(f"{layer.kind} with weights {[weight.shape for weight in layer.weights]}")
    return kernel, bias[0] if bias else np.zeros(kernel.shape[-1], dtype=np.float32)


def _fold(layer: Layer, into: Convolution | Dense) -> None:
    weights = [weight.astype(np.float64) for weight in layer.weights]
    scale = weights.pop(0) if layer.config["scale"] else 1.0
    shift = weights.pop(0) if layer.config["center"] else 0.0
    mean, variance = weights
    factor = scale / np.sqrt(variance + layer.config["epsilon"])
    into.kernel = (into.kernel * factor).astype(np.float32)
    into.bias = ((into.bias - mean) * factor + shift).astype(np.float32)


def kinds_of_columns(width: int, left: int, right: int) -> list[int]:
    """For each column of a window, the number of its kind, where padding has reached `left` and `right` columns in."""
    seen: dict[tuple[int, int], int] = {}
    return [seen.setdefault((min(column, left), min(width - 1 - column, right)), len(seen)) for column in range(width)]


class Evaluation:
    """A network of convolutions and dense layers over whole spectrograms.

    Parameters
    ----------
    window : int, int
        Bins and frames of a window.
    convolutions : list of Convolution
        At least one.
    dense : list of Dense
        The last has one unit for each bin of the centre frame.

    Attributes
    ----------
    window : int, int
    multiply_adds : int
        Products of a weight with a number, for each frame.
    """

    def __init__(self, window: tuple[int, int], convolutions: Sequence[Convolution], dense: Sequence[Dense]):
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.window = self._bins, self._width = bins, width = window
        self._lag = 0            # frames by which the last convolution's output is behind the input
        left = right = 0
        kinds = kinds_of_columns(width, 0, 0)
        self._layers: list[_First | _Later] = []
        self.multiply_adds = 0
        for index, convolution in enumerate(convolutions):
            frames = convolution.kernel.shape[1]
            left, right = left + (frames - 1) // 2, right + frames // 2
            before, kinds = kinds, kinds_of_columns(width, left, right)
            following = convolutions[index + 1].kernel.shape[1] if index + 1 < len(convolutions) else None
            groups = _groups(kinds, following)
            kind = _Later if index else _First
            self._layers.append(kind(convolution, bins, before, kinds, groups, self._device))
            self.multiply_adds += self._layers[-1].multiply_adds(bins)
            bins //= convolution.pool
        self._lag, self._kinds = right, kinds
        self._shape = (max(kinds) + 1, bins, convolutions[-1].kernel.shape[-1])
        self._dense = []
        for index, layer in enumerate(dense):
            kernel = layer.kernel
            if index == 0:       # Keras flattens (bins, columns, channels), here columns come first
                kernel = kernel.reshape(bins, width, -1, kernel.shape[-1]).swapaxes(0, 1).reshape(kernel.shape)
            self.multiply_adds += kernel.size
            self._dense.append((self._given(layer.bias), self._given(kernel), layer.slope))

    def _given(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)

    def __call__(self, spectrum: np.ndarray, block: int) -> np.ndarray:
        """Probabilities of the centre frames of all windows.

        Parameters
        ----------
        spectrum : float32 (bins, frames)
            Either end is padded with silence.
        block : int
            Frames that go through the network at a time.

        Returns
        -------
        float32 (bins, frames)
            The network's output through the sigmoid.
        """
        frames = spectrum.shape[1]
        if self._device.type == "cuda":
            with _exact():
                return self._part(spectrum, block)
        around = self._width // 2

        def part(first: int) -> np.ndarray:
            last = min(first + PART, frames)
            begin, end = max(0, first - around), min(frames, last + around)
            return self._part(spectrum[:, begin:end], block)[:, first - begin:last - begin]

        starts = range(0, max(frames, 1), PART)
        before, workers = torch.get_num_threads(), min(cores(), len(starts))
        try:
            with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                return np.concatenate(list(pool.map(part, starts)), axis=1)
        finally:
            torch.set_num_threads(before)

    def _part(self, spectrum: np.ndarray, block: int) -> np.ndarray:
        """`__call__` in one go."""
        worker = copy.copy(self)       # shares the weights; what is kept between blocks is its own
        worker._layers = [copy.copy(layer) for layer in self._layers]
        frames = spectrum.shape[1]
        probability = np.empty((self._bins, frames), dtype=np.float32)
        # The first windows end `lag + width - 1` frames after the input begins.
        done = -(self._lag + self._width - 1)
        with torch.inference_mode():
            for logits in worker._blocks(spectrum, block):
                first, done = done, done + len(logits)
                if done > 0:
                    kept = torch.sigmoid(logits[max(0, -first):]).T
                    probability[:, max(0, first):done] = kept.cpu().numpy()
        return probability

    def _blocks(self, spectrum: np.ndarray, block: int) -> Iterator[torch.Tensor]:
        """Logits (n, bins), `lag + width - 1` frames late: the first are of windows before the first frame."""
        for layer in self._layers:
            layer.reset()
        before = self._width // 2
        total = spectrum.shape[1] + self._width - 1 + self._lag
        past = torch.zeros((self._width - 1, *self._shape), device=self._device)
        for first in range(0, total, block):
            taken = np.zeros((min(block, total - first), self._bins), dtype=np.float32)
            part = spectrum[:, max(0, first - before):max(0, first - before + len(taken))].T
            start = max(0, before - first)
            taken[start:start + len(part)] = part
            groups = [torch.from_numpy(taken).to(self._device)]
            for layer in self._layers:
                groups = layer(groups)
            columns = torch.cat([past, groups[0]])
            past = columns[-(self._width - 1):].clone() if self._width > 1 else past
            # The window whose first column is row i has its column c in row i + c.
            values = torch.stack([columns[column:column + len(taken), kind]
                                  for column, kind in enumerate(self._kinds)], 1).flatten(1)
            for bias, kernel, slope in self._dense:
                values = _rectified(torch.addmm(bias, values, kernel), slope)
            yield values


def _exact() -> torch.backends.ContextProp:
    """On a GPU: no 19-bit products (1e-3 off), and the same sums in each run."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)


def _rectified(values: torch.Tensor, slope: float) -> torch.Tensor:
    return values if slope == 1.0 else functional.leaky_relu_(values, slope)


def _taps(kinds: list[int], kind: int, frames: int) -> tuple[int, ...]:
    """Taps of a kernel of so many frames with which columns of a kind are multiplied."""
    left = (frames - 1) // 2
    columns = [column for column, other in enumerate(kinds) if other == kind]
    return tuple(tap for tap in range(frames) if any(0 <= column + left - tap < len(kinds) for column in columns))


def _groups(kinds: list[int], frames: int | None) -> list[list[int]]:
    """Kinds that the next convolution (of so many frames) multiplies with the same taps, together."""
    each = list(dict.fromkeys(kinds))
    if frames is None:
        return [each]
    return [list(group) for _, group in groupby(each, lambda kind: _taps(kinds, kind, frames))]


def _add_late(total: torch.Tensor, terms: list[tuple[torch.Tensor, int]], late: int) -> None:
    """Add terms of n frames, each so many frames late, to the n + `late` frames of `total`.

    Its first `late` frames hold what came before, the last hold zeros; what
    is between is overwritten.
    """
    frames = len(total) - late
    if frames <= late:
        for term, shift in terms:
            total[shift:shift + frames] += term
        return
    # Where all terms meet: two at a time, without a pass over zeros.
    middle = total[late:frames]
    parts = [term[late - shift:frames - shift] for term, shift in terms]
    if len(parts) > 1:
        torch.add(parts[0], parts[1], out=middle)
    else:
        middle.copy_(parts[0])
    for part in parts[2:]:
        middle += part
    for term, shift in terms:
        total[shift:late] += term[:late - shift]
        total[frames:frames + shift] += term[frames - shift:]


def _pooled(values: torch.Tensor, size: int) -> torch.Tensor:
    """Maxima of `size` bins of (..., bins, channels): halved again and again, which reads memory in long runs."""
    values = values.unflatten(-2, (-1, size))
    while (left := values.shape[-2]) > 1:
        half = left // 2
        most = torch.maximum(values[..., :half, :], values[..., half:2 * half, :])
        if left % 2:
            torch.maximum(most[..., :1, :], values[..., -1:, :], out=most[..., :1, :])
        values = most
    return values.squeeze(-2)


class _First:
    """The first convolution, of frames that are all of one kind: each kind of column has its own part of the kernel."""

    def __init__(self, convolution: Convolution, bins: int, before: list[int], kinds: list[int],
                 groups: list[list[int]], device: torch.device):
        self._height, self._frames, _, self._channels = convolution.kernel.shape
        self._bins, self._groups, self._device = bins, groups, device
        self._pad = ((self._height - 1) // 2, self._height // 2)
        self._slope, self._pool = convolution.slope, convolution.pool
        self._bias = torch.from_numpy(convolution.bias).to(device)
        kernel = torch.from_numpy(convolution.kernel[:, :, 0]).transpose(0, 1).reshape(-1, self._channels).to(device)
        left, width = (self._frames - 1) // 2, len(kinds)
        self._parts = {}
        for kind in kinds:
            inside = [tap for tap in range(self._frames) if 0 <= kinds.index(kind) + tap - left < width]
            part = slice(inside[0] * self._height, (inside[-1] + 1) * self._height)
            self._parts[kind] = (part, kernel[part])

    def multiply_adds(self, bins: int) -> int:
        return bins * sum(kernel.numel() for _, kernel in self._parts.values())

    def reset(self) -> None:
        self._past = torch.zeros((self._frames - 1, self._bins), device=self._device)

    def __call__(self, groups: list[torch.Tensor]) -> list[torch.Tensor]:
        """From [(frames, bins)] to the groups' (frames, kinds, bins, channels)."""
        frames = len(groups[0])
        taken = torch.cat([self._past, groups[0]])
        self._past = taken[frames:].clone()
        padded = functional.pad(taken, self._pad)
        # For each frame and bin what the kernel covers: (frames x bins, frames of the kernel x its bins).
        covered = padded.unfold(1, self._height, 1).unfold(0, self._frames, 1).transpose(2, 3)
        covered = covered.reshape(frames * self._bins, -1)
        return [torch.stack([self._kind(covered, kind, frames) for kind in group], 1) if len(group) > 1
                else self._kind(covered, group[0], frames)[:, None] for group in self._groups]

    def _kind(self, covered: torch.Tensor, kind: int, frames: int) -> torch.Tensor:
        part, kernel = self._parts[kind]
        out = torch.addmm(self._bias, covered[:, part], kernel).unflatten(0, (frames, self._bins))
        if self._pool > 1:
            out = _pooled(out[:, :self._bins // self._pool * self._pool], self._pool)
        return _rectified(out, self._slope)


class _Later:
    """Another convolution: products of each kind of frame with the taps that need it, and their sums."""

    def __init__(self, convolution: Convolution, bins: int, before: list[int], kinds: list[int],
                 groups: list[list[int]], device: torch.device):
        height, self._frames, _, self._channels = convolution.kernel.shape
        self._slope, self._pool, self._device = convolution.slope, convolution.pool, device
        self._pad = height // 2                      # the larger side; one row too many where the other is smaller
        self._skipped = height // 2 - (height - 1) // 2
        self._bins = bins // self._pool * self._pool
        left, width = (self._frames - 1) // 2, len(kinds)
        kernel = torch.from_numpy(convolution.kernel).permute(3, 2, 0, 1).to(device)       # out, in, bins, frames
        bias = torch.from_numpy(convolution.bias).to(device)
        self._inputs = _groups(before, self._frames)
        self._kernels, place = [], {}
        for number, group in enumerate(self._inputs):
            taps = _taps(before, group[0], self._frames)
            stacked = torch.cat([kernel[..., tap] for tap in taps])[..., None]
            # Every column is in the middle of its own sum, and brings the bias.
            biases = torch.cat([bias if tap == left else torch.zeros_like(bias) for tap in taps])
            self._kernels.append((stacked.contiguous(memory_format=torch.channels_last), biases))
            place |= {(kind, tap): (number, index, slice(slot * self._channels, (slot + 1) * self._channels))
                      for index, kind in enumerate(group) for slot, tap in enumerate(taps)}
        # Of each kind: what it is the sum of, and by how many frames that comes later.
        self._sums = []
        for group in groups:
            columns = [kinds.index(kind) for kind in group]
            self._sums.append([[(*place[before[column + tap - left], tap], self._frames - 1 - tap)
                                for tap in range(self._frames) if 0 <= column + tap - left < width]
                               for column in columns])

    def multiply_adds(self, bins: int) -> int:
        return bins * sum(len(kinds) * kernel.numel() for kinds, (kernel, _) in
                          zip(self._inputs, self._kernels, strict=True))

    def reset(self) -> None:
        self._pending = [torch.zeros((self._frames - 1, len(group), self._bins, self._channels), device=self._device)
                         for group in self._sums]

    def __call__(self, groups: list[torch.Tensor]) -> list[torch.Tensor]:
        """From groups of (frames, kinds, bins, channels) to the next layer's."""
        products = [self._products(group, *kernel) for group, kernel in zip(groups, self._kernels, strict=True)]
        frames, late = len(products[0]), self._frames - 1
        results = []
        for number, kinds in enumerate(self._sums):
            total = torch.empty((frames + late, len(kinds), self._bins, self._channels), device=self._device)
            total[:late] = self._pending[number]
            total[max(late, frames):] = 0
            for index, terms in enumerate(kinds):
                _add_late(total[:, index], [(products[group][:, kind, :, channels], shift)
                                            for group, kind, channels, shift in terms], late)
            self._pending[number] = total[frames:].clone()
            total = total[:frames]
            results.append(_rectified(_pooled(total, self._pool) if self._pool > 1 else total, self._slope))
        return results

    def _products(self, group: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """(frames, kinds, bins, taps x channels) of one group."""
        image = group.flatten(0, 1).permute(0, 2, 1)[..., None]
        out = functional.conv2d(image, kernel, bias, padding=(self._pad, 0))
        out = out.squeeze(3).permute(0, 2, 1)[:, self._skipped:self._skipped + self._bins]
        return out.unflatten(0, group.shape[:2])
