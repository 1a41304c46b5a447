"""A trained network over a whole spectrogram, at what its overlapping windows have in common.

Where a window slides by one frame, neighbouring windows hold the same frames
at other columns.  With SAME padding in time, what a convolution makes of a
column depends on the frame, and on how far the column lies from the window's
edges, as long as the padding reaches it.  The columns that it does not reach are
alike: they are computed once for each frame, as a *stream*.  With kernels of
three frames that leaves two columns of a window after the first convolution, then
four, six and eight, which are computed for each window.  A kernel is a sum over
its columns (*taps*), and the product of the stream with one tap serves the next
stream and every column that uses it.  Then each window gathers its columns for the
dense layers, of whose last only the centre frame is computed.  Where
convolutions are VALID in time there is no padding, and all is stream.

A net that predicts several frames may slide by more than one (*hop*).  Columns
that are alike are a stream as long as that is less work than computing each of
them once a window.  All frames of the label are computed, and averaged where
windows overlap.

Batch normalisation is folded into the convolution before it, and pooling comes
before the LeakyReLU: both leave the function as it is, so that the logits are
those of window after window, but for the rounding of sums in another order.

The spectrogram goes through in blocks of frames.  What two blocks share is
kept between them, so a block's size decides on memory and speed alone.  On the
CPU parts of the spectrogram go through side by side, each on one core: threads
that share every product wait for one another several times in a millisecond.
Parts are of one length whatever the number of cores, so that the bytes are too.

Computed with torch, on the GPU that torch finds, otherwise on the CPU.  There
it is oneDNN that convolves, at nearly the speed that the core has; what would
cost more than it should are passes over memory, so

- each tap's products lie in one piece, and are added up in long runs;
- what is used once is added up by the convolution itself, where the sum is;
- the first convolution computes four bins at a time, as channels;
- memory is kept from block to block.

Weights and layers come from the `.keras` file alone, and are read without Keras,
whose import takes seconds and half a gigabyte.
"""

from __future__ import annotations

import copy
import json
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import h5py
import numpy as np
import torch
from torch.nn import functional

from svs.runtime.files import read_json
from svs.runtime.parallel import cores

_MODEL, _CARD = "model.keras", "model.json"  # as in `svs.networks.archive`, which imports Keras
_WEIGHTS = {"Conv2D": "conv2d", "Dense": "dense", "BatchNormalization": "batch_normalization"}
_UNWEIGHTED = ("InputLayer", "Rescaling", "ZeroPadding2D", "LeakyReLU", "MaxPooling2D", "Dropout", "Flatten", "Reshape")


PART = 512  # frames at most that go through on one core; about 8 more are computed of each
_TILE = 4  # bins that the first convolution computes at a time
# Of torch's build for this processor; there are other builds, and processors.
_ONEDNN = torch.backends.mkldnn.is_available() and all(
    hasattr(torch.ops.mkldnn, name)
    for name in (
        "_convolution_pointwise",
        "_convolution_pointwise_",
        "_reorder_convolution_weight",
        "_linear_pointwise",
        "_reorder_linear_weight",
    )
)


class Unshareable(Exception):
    """The network is not of the family that is evaluated here; `svs.networks.archive` takes any."""


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
    same : bool
        Whether the window is padded in time, so that it keeps its columns.
    """

    kernel: np.ndarray
    bias: np.ndarray
    slope: float = 1.0
    pool: int = 1
    same: bool = True

    @property
    def frames(self) -> int:
        return self.kernel.shape[1]

    @property
    def left(self) -> int:
        """Columns that come before its own in what a column is made of."""
        return (self.frames - 1) // 2 if self.same else 0

    @property
    def lag(self) -> int:
        """Columns that come after its own: frames that a stream must wait for."""
        return self.frames - 1 - self.left


@dataclass
class Dense:
    """kernel : float32 (units in, units out); bias : float32 (units out,); slope : as of `Convolution`."""

    kernel: np.ndarray
    bias: np.ndarray
    slope: float = 1.0


def load(folder: Path, hop: int = 1) -> tuple[Evaluation, dict]:
    """The network and card that `svs.networks.archive.save` wrote, the network ready for whole spectrograms.

    Parameters
    ----------
    folder : Path
    hop : int
        Frames between windows, at most those that the network predicts.

    Raises
    ------
    Unshareable
        It is another kind of network, not a readable file, or predicts fewer frames than the hop.
    DataError
        The card is missing or damaged.
    """
    layers = read(Path(folder) / _MODEL)
    card = read_json(Path(folder) / _CARD)
    if hop > int(card["label_width"]):
        raise Unshareable(f"every {hop} frames {card['label_width']} are predicted")
    return Evaluation(*described(layers, int(card["label_width"]), centre=hop == 1), hop), card


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
    if config["input_layers"] not in ([first, 0, 0], [[first, 0, 0]]) or config["output_layers"] not in (
        [before, 0, 0],
        [[before, 0, 0]],
    ):
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


def described(
    layers: Sequence[Layer], label_width: int, *, centre: bool = True
) -> tuple[tuple[int, int], list[Convolution], list[Dense]]:
    """What the layers compute: bins and frames of a window, convolutions, dense layers.

    Rescaling is in the first kernel, batch normalisation in the kernel before
    it; the last dense layer has the units of the centre frame alone, or those of
    all frames of the label, frame after frame.

    Raises
    ------
    Unshareable
        A layer, an option or an order that is none of `svs.networks.layers.Stack`.
    """
    convolutions: list[Convolution] = []
    dense: list[Dense] = []
    window, gain, flat, shape = None, 1.0, False, None
    foldable = False  # the last layer was linear, and batch normalisation can go into it
    padding = None  # of the ZeroPadding2D that is to be followed by its convolution
    for layer in layers:
        config = layer.config
        _expect(layer, dtype=None, activation="linear", data_format="channels_last", groups=1)
        last = dense[-1] if dense else convolutions[-1] if convolutions else None
        if shape is not None:
            raise Unshareable(f"{layer.kind} after the output's shape")
        if padding is not None and layer.kind != "Conv2D":
            raise Unshareable(f"{layer.kind} between a padding and its convolution")
        match layer.kind:
            case "InputLayer" if window is None and len(config["batch_shape"]) == 4 and config["batch_shape"][3] == 1:
                window = tuple(config["batch_shape"][1:3])
            case "Rescaling" if last is None and config["offset"] == 0 and isinstance(config["scale"], (int, float)):
                gain *= config["scale"]
            case "ZeroPadding2D" if not flat:
                padding = [list(sides) for sides in config["padding"]]
            case "Conv2D" if not flat:
                _expect(layer, strides=1, padding="same" if padding is None else "valid", dilation_rate=1)
                kernel, bias = _kernel_and_bias(layer, 4)
                same = padding is None
                # Over frequency as SAME pads it, over time not at all, and all of them alike.
                if padding not in (None, [[(kernel.shape[0] - 1) // 2, kernel.shape[0] // 2], [0, 0]]) or any(
                    other.same != same for other in convolutions
                ):
                    raise Unshareable(f"a padding of {padding} before a kernel of {kernel.shape[:2]}")
                padding = None
                convolutions.append(Convolution(kernel if convolutions else kernel * np.float32(gain), bias, same=same))
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
    output = dense[-1]
    if output.kernel.shape[1] != bins * label_width:
        raise Unshareable(f"an output of {output.kernel.shape[1]} units")
    kept = slice(label_width // 2, label_width // 2 + 1) if centre else slice(None)
    kernel = output.kernel.reshape(-1, bins, label_width)[..., kept]
    output.kernel = np.ascontiguousarray(kernel.swapaxes(1, 2).reshape(len(kernel), -1))
    output.bias = np.ascontiguousarray(output.bias.reshape(bins, label_width)[:, kept].T.reshape(-1))
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
    sizes = (
        *layer.config.get("kernel_size", ()),
        kernel.shape[-2] if kernel.ndim > 1 else None,
        layer.config.get("filters", layer.config.get("units")),
    )
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


@dataclass(frozen=True)
class Columns:
    """What is known of a window's columns, somewhere in the network.

    Attributes
    ----------
    width : int
        Columns that a window has here.
    stream : range
        Those that are alike, and have one row for every frame; may be empty.
        The others have a row for every window.
    lag : int
        Frames that the stream's rows are behind the input's.
    """

    width: int
    stream: range
    lag: int

    @property
    def runs(self) -> list[range]:
        """Neighbours among the other columns."""
        sides = (range(self.stream.start), range(self.stream.stop, self.width)) if self.stream else (range(self.width),)
        return [side for side in sides if side]


def columns_of(width: int, convolutions: Sequence[Convolution], hop: int = 1) -> list[Columns]:
    """Columns of a window of `width` frames, and what they are after each convolution.

    Columns that no padding has reached are alike.  Computing each once a frame is
    less work than once a window where they are at least as many as the hop; at
    the end every window takes its own, so there they are no stream unless windows
    are one frame apart.
    """
    found, left, right = [Columns(width, range(width), 0)], 0, 0
    for index, convolution in enumerate(convolutions):
        if convolution.same:
            left, right = left + convolution.left, right + convolution.lag
        else:
            width -= convolution.frames - 1
        alike = range(left, width - right)
        if len(alike) < hop or not found[-1].stream or (hop > 1 and index == len(convolutions) - 1):
            alike = range(0)
        found.append(Columns(width, alike, found[-1].lag + convolution.lag))
    return found


def rows_of(bins: int, convolutions: Sequence[Convolution]) -> list[int]:
    """Bins that each convolution needs of what it takes, beginning with the lowest.

    Those above the last that is pooled are not needed; one bin of zeros may be
    needed above all (`_Kernel` pads both sides alike).
    """
    taken = [bins]
    for convolution in convolutions:
        taken.append(taken[-1] // convolution.pool)
    needed = [taken[-1]]
    for there, convolution in zip(taken[-2::-1], convolutions[::-1], strict=True):
        height = len(convolution.kernel)
        most = there // convolution.pool * convolution.pool
        made = min(needed[-1] * convolution.pool, most)
        needed.append(max(min(there, made + height // 2), made + 1 - height % 2))
    return needed[::-1]


class Evaluation:
    """A network of convolutions and dense layers over whole spectrograms.

    Parameters
    ----------
    window : int, int
        Bins and frames of a window.
    convolutions : list of Convolution
        At least one.
    dense : list of Dense
        The last has one unit for each bin of each frame that is wanted of a
        window: the centre frame, or an odd number of frames around it.
    hop : int
        Frames between windows, at most as many as are wanted of each.

    Attributes
    ----------
    window : int, int
    multiply_adds : float
        Products of a weight with a number, for each frame.
    """

    def __init__(
        self, window: tuple[int, int], convolutions: Sequence[Convolution], dense: Sequence[Dense], hop: int = 1
    ):
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.window = self._bins, self._width = bins, width = window
        self._hop = hop
        self._label_width = len(dense[-1].bias) // bins
        if not hop <= self._label_width <= width:
            raise ValueError(f"windows of {width} frames, {self._label_width} of them predicted, every {hop} frames")
        # A window is done when its last frame is there: so many windows later than those that begin with the block.
        self._delay = -(-width // hop) - 1
        columns, rows = columns_of(width, convolutions, hop), rows_of(bins, convolutions)
        self._columns = columns[-1]
        self._layers: list[_First | _Later] = []
        for convolution, before, after, needed in zip(convolutions, columns, columns[1:], rows[1:], strict=False):
            numbers = _Bins(bins, self._layers[-1].rows if self._layers else bins, needed)
            place = before, after, hop, self._delay * hop, self._device
            if self._layers:
                again = self._layers[0].again if len(self._layers) == 1 else 0
                self._layers.append(_Later(convolution, numbers, *place, again))
            else:
                # Its rows are large: those that sums over several frames share with the last block's are sooner
                # computed again than put before the others.
                alone = len(convolutions) > 1 and not after.runs and not columns[2].runs
                self._layers.append(_First(convolution, numbers, *place, convolutions[1].frames - 1 if alone else 0))
            bins //= convolution.pool
        channels = convolutions[-1].kernel.shape[-1]
        self._shape = self._layers[-1].rows, bins, channels
        self._dense = []
        for index, layer in enumerate(dense):
            kernel = layer.kernel
            if index == 0:  # Keras flattens (bins, columns, channels), here columns come first
                kernel = kernel.reshape(bins, -1, channels, kernel.shape[-1]).swapaxes(0, 1).reshape(kernel.shape)
            self._dense.append(_Units(kernel, layer.bias, layer.slope, self._device))
        self.multiply_adds = (
            sum(layer.multiply_adds for layer in self._layers) + sum(layer.kernel.size for layer in dense) / hop
        )

    def __call__(self, spectrum: np.ndarray, block: int) -> np.ndarray:
        """Probabilities of all frames.

        Parameters
        ----------
        spectrum : float32 (bins, frames)
            Either end is padded with silence.
        block : int
            Frames that go through the network at a time (rounded up to whole hops).

        Returns
        -------
        float32 (bins, frames)
            The network's output through the sigmoid, averaged where windows overlap.
        """
        frames = spectrum.shape[1]
        if self._device.type == "cuda":
            with _exact():
                return self._part(spectrum, 0, frames, block)
        # An even number of parts keeps two cores busy to the end.
        parts = max(1, -(-frames // PART))
        length = -(-frames // ((parts + parts % 2 * (parts > 1)) * self._hop)) * self._hop
        starts = range(0, max(frames, 1), max(length, self._hop))

        def part(first: int) -> np.ndarray:
            return self._part(spectrum, first, min(first + length, frames), block)

        before, workers = torch.get_num_threads(), min(cores(), len(starts))
        try:
            with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                return np.concatenate(list(pool.map(part, starts)), axis=1)
        finally:
            torch.set_num_threads(before)

    def _part(self, spectrum: np.ndarray, first: int, last: int, block: int) -> np.ndarray:
        """Frames [first, last) of what `__call__` returns; `first` is a multiple of the hop."""
        worker = copy.copy(self)  # shares the weights; what is kept between blocks is its own
        worker._layers = [copy.copy(layer) for layer in self._layers]
        hop, reach = self._hop, self._label_width // 2
        # Window k is centred on frame k hop + hop // 2: all that reach into the part, but none beyond the song.
        begin = max(0, -(-(first - reach - hop // 2) // hop))
        end = min(-(-spectrum.shape[1] // hop), (last - 1 + reach - hop // 2) // hop + 1)
        origin = begin * hop + hop // 2 - reach  # the first frame that a window predicts; may lie before the part
        total = torch.zeros((max(0, end - begin) * hop + self._label_width, self._bins), device=self._device)
        count = np.zeros(len(total), dtype=np.float32)
        done = -self._delay  # the first rows are of windows before the first
        with torch.inference_mode():
            for logits in worker._blocks(spectrum, begin, end, block):
                kept, done = max(0, -done), done + len(logits)
                if done <= 0:
                    continue
                mask = torch.sigmoid(logits[kept:]).unflatten(1, (self._label_width, self._bins))
                for offset in range(self._label_width):
                    rows = slice((done - len(mask)) * hop + offset, done * hop + offset, hop)
                    total[rows] += mask[:, offset]
                    count[rows] += 1
        wanted = slice(first - origin, last - origin)
        return (total[wanted].cpu().numpy() / count[wanted, None]).T

    def _blocks(self, spectrum: np.ndarray, begin: int, end: int, block: int) -> Iterator[torch.Tensor]:
        """Logits (windows, units) of windows [begin, end), after those of `_delay` windows that come before."""
        block = -(-block // self._hop) * self._hop
        for layer in self._layers:
            layer.reset(block)
        hop, columns, history = self._hop, self._columns, self._layers[0].history
        total = (max(0, end - begin) + self._delay) * hop
        start = begin * hop + hop // 2 - self._width // 2 - history  # in frames of the spectrum
        # Of the stream's columns, if there is a stream: rows that come before the block's.
        late = self._delay * hop - columns.lag - columns.stream.start if columns.stream else 0
        rows, bins, channels = self._shape
        past = torch.zeros((late, rows, channels), device=self._device)
        for first in range(0, total, block):
            taken = np.zeros((history + min(block, total - first), self._bins), dtype=np.float32)
            here = start + first
            part = spectrum[:, max(0, here) : max(0, here + len(taken))].T
            before = max(0, -here)
            taken[before : before + len(part)] = part
            frames = len(taken) - history
            found = torch.from_numpy(taken).to(self._device)
            for layer in self._layers:
                found = layer(found)
            stream, runs = found
            pieces = [column for run in runs for column in run]
            if stream is not None:
                stream = torch.cat([past, stream]) if late else stream
                past = stream[frames:]
                pieces[columns.stream.start : columns.stream.start] = [
                    stream[place : place + frames] for place in range(len(columns.stream))
                ]
            values = torch.stack([piece[:, :bins] for piece in pieces], 1).flatten(1)
            for layer in self._dense:
                values = layer(values)
            yield values


def _exact() -> torch.backends.ContextProp:
    """On a GPU: no 19-bit products (1e-3 off), and the same sums in each run."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)


def _rectified(values: torch.Tensor, slope: float) -> torch.Tensor:
    return values if slope == 1.0 else functional.leaky_relu_(values, slope)


def _pooled(values: torch.Tensor, size: int) -> torch.Tensor:
    """Maxima of `size` bins of (..., bins, channels): halved again and again, which reads memory in long runs."""
    values = values.unflatten(-2, (-1, size))
    while (left := values.shape[-2]) > 1:
        half = left // 2
        most = torch.maximum(values[..., :half, :], values[..., half : 2 * half, :])
        if left % 2:
            torch.maximum(most[..., :1, :], values[..., -1:, :], out=most[..., :1, :])
        values = most
    return values.squeeze(-2)


class _Kernel:
    """A convolution over time and frequency with weights as its device wants them, and no more than that.

    torch's own compiler calls these operators of oneDNN: weights are put into
    their order once instead of at each call, a LeakyReLU or a sum with what is
    there costs no further pass over the memory.

    Parameters
    ----------
    weights : float32 (channels out, channels in, frames, bins)
        Frequency is padded by (bins - 1) // 2 on either side, time is not.
    bias : float32 (channels out,), optional
    device : torch.device
    step : int
        Frames between results.
    """

    def __init__(self, weights: np.ndarray, bias: np.ndarray | None, device: torch.device, step: int = 1):
        height = weights.shape[3]
        self._bias = None if bias is None else _given(bias, device)
        self._sides = [step, 1], [0, (height - 1) // 2]
        self._weights = _given(weights, device)
        self._packed = device.type == "cpu" and _ONEDNN
        if self._packed:
            step_, pad = self._sides
            self._weights = torch.ops.mkldnn._reorder_convolution_weight(
                self._weights, pad, step_, [1, 1], 1, [16, weights.shape[1], weights.shape[2], 256]
            )
        self._numbers = weights.size

    def __call__(self, rows: torch.Tensor, slope: float = 1.0) -> torch.Tensor:
        """From (n, frames, bins, channels in) to (n, frames, bins, channels out), through a LeakyReLU."""
        image, (step, pad) = rows.permute(0, 3, 1, 2), self._sides
        if self._packed:
            activation = ("none", []) if slope == 1.0 else ("leaky_relu", [slope])
            out = torch.ops.mkldnn._convolution_pointwise(
                image, self._weights, self._bias, pad, step, [1, 1], 1, *activation, ""
            )
        else:
            out = _rectified(functional.conv2d(image, self._weights, self._bias, step, pad), slope)
        return out.permute(0, 2, 3, 1)

    def add_to(self, total: torch.Tensor, rows: torch.Tensor) -> None:
        """Add what a call would give to (n, frames, bins, channels out)."""
        step, pad = self._sides
        if self._packed:
            torch.ops.mkldnn._convolution_pointwise_.binary(
                total.permute(0, 3, 1, 2),
                rows.permute(0, 3, 1, 2),
                self._weights,
                self._bias,
                pad,
                step,
                [1, 1],
                1,
                "add",
                1.0,
                None,
                [],
                None,
            )
        else:
            total += self(rows)


class _Units:
    """A dense layer and its LeakyReLU."""

    def __init__(self, kernel: np.ndarray, bias: np.ndarray, slope: float, device: torch.device):
        self._bias, self._slope = _given(bias, device), slope
        self._packed = device.type == "cpu" and _ONEDNN
        self._kernel = _given(kernel.T, device)
        if self._packed:
            self._kernel = torch.ops.mkldnn._reorder_linear_weight(self._kernel, 16)

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        if self._packed:
            activation = ("none", []) if self._slope == 1.0 else ("leaky_relu", [self._slope])
            return torch.ops.mkldnn._linear_pointwise(values, self._kernel, self._bias, *activation, "")
        return _rectified(functional.linear(values, self._kernel, self._bias), self._slope)


def _given(array: np.ndarray, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)


@dataclass(frozen=True)
class _Bins:
    """Bins of what a convolution takes: how many there are, how many rows come, how many are needed after it."""

    there: int
    rows: int
    needed: int


class _Convolved:
    """What both kinds of layers have in common: where in a window they are, and what follows their sums."""

    def __init__(self, convolution: Convolution, bins: _Bins, before: Columns, after: Columns, made: int):
        self._before, self._after, self._pool, self._slope = before, after, convolution.pool, convolution.slope
        self._there = bins.there // convolution.pool
        self._pooled = min(bins.needed, self._there) * convolution.pool
        self._needed = bins.needed
        self.rows = max(bins.needed, self._pooled // convolution.pool if convolution.pool > 1 else made)

    def _finished(self, values: torch.Tensor, slope: float) -> torch.Tensor:
        """Pooling and LeakyReLU of (..., bins, channels); bins that are none are zeros."""
        if self._pool > 1:
            values = _pooled(values[..., : self._pooled, :], self._pool)
        values = _rectified(values, slope)
        if values.shape[-2] > self._there:
            values[..., self._there :, :] = 0
        missing = self._needed - values.shape[-2]
        return functional.pad(values, (0, 0, 0, missing)) if missing > 0 else values


class _First(_Convolved):
    """The first convolution, of magnitudes.

    Channels in are `_TILE` neighbouring bins and what the kernel covers of their
    neighbours, channels out are those of the `_TILE` bins: with one channel in,
    there would be too little to multiply at a time.
    """

    def __init__(
        self,
        convolution: Convolution,
        bins: _Bins,
        before: Columns,
        after: Columns,
        hop: int,
        delay: int,
        device: torch.device,
        again: int,
    ):
        height, frames, _, self._channels = convolution.kernel.shape
        made = min(bins.needed, bins.there // convolution.pool) * convolution.pool
        self._tiles = -(-made // _TILE)
        super().__init__(convolution, bins, before, after, self._tiles * _TILE)
        self._wide = -(-(height + _TILE - 1) // 4) * 4  # a multiple of 4, because odd numbers are slow
        below = (height - 1) // 2
        self._sides = below, max(0, self._tiles * _TILE + self._wide - below - bins.there)
        kernel = np.zeros((_TILE, self._channels, self._wide, frames, 1), dtype=np.float32)
        for place in range(_TILE):
            kernel[place, :, place : place + height, :, 0] = convolution.kernel[:, :, 0].transpose(2, 0, 1)
        kernel, bias = kernel.reshape(-1, self._wide, frames, 1), np.tile(convolution.bias, _TILE)
        # Frames that are needed before a block's own.
        self.history, self.again = max(delay, frames - 1 + again), again
        self._stream = _Kernel(kernel, bias, device) if after.stream else None
        self._start = self.history - frames + 1 - again
        # Of each other column: its first frame, frames from the first window's to the last's, its part of the kernel.
        self._columns, kernels = [], {}
        for run in after.runs:
            self._columns.append([])
            for column in run:
                first = max(0, convolution.left - column)
                part = first, min(frames, before.width - column + convolution.left)
                if part not in kernels:
                    kernels[part] = _Kernel(kernel[:, :, slice(*part)], bias, device, hop)
                start = self.history - delay + column + first - convolution.left
                self._columns[-1].append((start, part[1] - first - hop, kernels[part]))
        taps = (frames if after.stream else 0) + sum(
            length + hop for run in self._columns for _, length, _ in run
        ) / hop
        self.multiply_adds = self._tiles * _TILE * self._channels * self._wide * taps

    def reset(self, frames: int) -> None:
        """Nothing is kept between blocks."""

    def __call__(self, taken: torch.Tensor) -> tuple[torch.Tensor | None, list[torch.Tensor]]:
        """From (history and frames, bins) to the stream (frames, bins, channels) and runs (columns, windows, ...)."""
        frames = len(taken) - self.history
        image = functional.pad(taken, self._sides).unfold(1, self._wide, _TILE)[None, :, : self._tiles].contiguous()
        stream = self._convolved(image[:, self._start :], self._stream) if self._stream else None
        runs = [
            [self._convolved(image[:, start : start + frames + length], kernel) for start, length, kernel in columns]
            for columns in self._columns
        ]
        return stream, [torch.stack(run) if len(run) > 1 else run[0][None] for run in runs]

    def _convolved(self, image: torch.Tensor, kernel: _Kernel) -> torch.Tensor:
        out = kernel(image, self._slope)[0]
        return self._finished(out.reshape(len(out), -1, self._channels), 1.0)


class _Later(_Convolved):
    """Another convolution.

    The stream is multiplied with each column of the kernel (*tap*) once, and
    the products are added up: those of the next stream, and those of the columns
    beside it.  What columns of a window add to the columns after them, the
    convolution itself adds there.  Without such columns, it adds up all.
    """

    def __init__(
        self,
        convolution: Convolution,
        bins: _Bins,
        before: Columns,
        after: Columns,
        hop: int,
        delay: int,
        device: torch.device,
        again: int,
    ):
        height, frames, inputs, self._channels = convolution.kernel.shape
        self._made = bins.rows - 1 + height % 2
        super().__init__(convolution, bins, before, after, self._made)
        self._hop, self._device, left = hop, device, convolution.left
        kernel = convolution.kernel.transpose(3, 2, 1, 0)
        self._whole = None
        work = self._made * kernel.size / frames  # of one tap
        if not before.runs and not after.runs:
            self._whole, self._inputs = _Kernel(kernel, convolution.bias, device), inputs
            self._late = frames - 1 - again
            self._rows = bins.rows
            self.multiply_adds = work * frames
            return
        # Every column is in the middle of its own sum, and brings the bias.
        self._taps = [
            _Kernel(kernel[:, :, tap : tap + 1], convolution.bias if tap == left else None, device)
            for tap in range(frames)
        ]
        # What the next stream and each column are the sum of: taps, and by how many rows the first is late.
        self._sum = [(tap, frames - 1 - tap) for tap in range(frames)] if after.stream else []
        self._sums = [
            [
                [
                    (tap, delay - before.lag - column - tap + left)
                    for tap in range(frames)
                    if column + tap - left in before.stream
                ]
                for column in run
            ]
            for run in after.runs
        ]
        uses = [*self._sum, *(use for run in self._sums for column in run for use in column)]
        self._kept = {tap: max(0, *(late for other, late in uses if other == tap)) for tap in sorted(dict(uses))}
        # Which columns of which run a tap adds to which.
        self._moves = []
        for source, taken in enumerate(before.runs):
            for target, given in enumerate(after.runs):
                for tap in range(frames):
                    first = max(taken.start, given.start + tap - left)
                    last = min(taken.stop, given.stop + tap - left)
                    if first < last:
                        place = first - tap + left - given.start
                        self._moves.append(
                            (
                                source,
                                slice(first - taken.start, last - taken.start),
                                tap,
                                target,
                                slice(place, place + last - first),
                            )
                        )
        self.multiply_adds = work * (
            len(self._kept) + sum(chosen.stop - chosen.start for _, chosen, *_ in self._moves) / hop
        )

    def reset(self, frames: int) -> None:
        """Nothing has come yet; blocks are of so many frames at most."""
        if self._whole:
            self._past = torch.zeros((self._late, self._rows, self._inputs), device=self._device)
            self._room = self._empty((self._late + frames if self._late else 0, self._rows, self._inputs))
            return
        size = self._made, self._channels
        self._past = {tap: torch.zeros((late, *size), device=self._device) for tap, late in self._kept.items()}
        # Memory that is given back at each block would be fetched and cleared again by the system.
        self._products = {tap: self._empty((late + frames, *size)) for tap, late in self._kept.items()}
        self._room = self._empty((frames, *size) if self._sum else (0,))
        self._rooms = [self._empty((len(columns), frames // self._hop, *size)) for columns in self._sums]

    def _empty(self, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.empty(shape, device=self._device)

    def __call__(
        self, found: tuple[torch.Tensor | None, list[torch.Tensor]]
    ) -> tuple[torch.Tensor | None, list[torch.Tensor]]:
        """Stream and runs, as `_First` gives them; both are gone at the next call."""
        stream, runs = found
        if self._whole:
            if self._late:
                rows = torch.cat([self._past, stream], out=self._room[: self._late + len(stream)])
                self._past, stream = rows[len(stream) :].clone(), rows
            return self._finished(self._whole(stream[None], self._slope)[0], 1.0), []
        frames = runs[0].shape[1] * self._hop if stream is None else len(stream)
        for tap in self._kept:
            self._multiply(tap, stream)

        def term(tap: int, late: int, step: int) -> torch.Tensor:
            first = self._kept[tap] - late
            return self._products[tap][first : first + frames : step]

        total, totals = None, []
        if self._sum:
            total = self._room[:frames]
            _add([term(tap, late, 1) for tap, late in self._sum], total)
            total = self._finished(total, self._slope)
        for columns, room in zip(self._sums, self._rooms, strict=True):
            shape = len(columns), frames // self._hop, *room.shape[2:]
            sums = room.flatten()[: prod(shape)].view(shape)
            for column, uses in zip(sums, columns, strict=True):
                _add([term(tap, late, self._hop) for tap, late in uses], column)
            totals.append(sums)
        for source, chosen, tap, target, place in self._moves:
            self._taps[tap].add_to(
                totals[target][place].flatten(0, 1)[:, None], runs[source][chosen].flatten(0, 1)[:, None]
            )
        return total, [self._finished(sums, self._slope) for sums in totals]

    def _multiply(self, tap: int, stream: torch.Tensor) -> None:
        """Products of the stream, after those that are kept for the sums of this block."""
        late, product = self._kept[tap], self._products[tap]
        product[:late] = self._past[tap]
        product[late : late + len(stream)] = 0
        self._taps[tap].add_to(product[late : late + len(stream), None], stream[:, None])
        self._past[tap] = product[len(stream) : len(stream) + late].clone()


def _add(terms: list[torch.Tensor], total: torch.Tensor) -> None:
    """Put the sum there, without a pass over zeros."""
    if len(terms) > 1:
        torch.add(terms[0], terms[1], out=total)
        for term in terms[2:]:
            total += term
    elif terms:
        total.copy_(terms[0])
    else:
        total.zero_()
