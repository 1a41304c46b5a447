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
layers, of whose last only the centre frame is computed.  Where convolutions are
VALID in time there is no padding, and one kind.

A net that predicts several frames may slide by more than one (*hop*).  A kind
that is one column of the window is then computed of every hop-th frame only; one
of several columns of every frame, as long as that is less work.  All frames of
the label are computed, and averaged where windows overlap.

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
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import torch
from torch.nn import functional

from svs.files import read_json
from svs.running import cores

_MODEL, _CARD = "model.keras", "model.json"      # as in `svs.models.archive`, which imports Keras
_WEIGHTS = {"Conv2D": "conv2d", "Dense": "dense", "BatchNormalization": "batch_normalization"}
_UNWEIGHTED = ("InputLayer", "Rescaling", "ZeroPadding2D", "LeakyReLU", "MaxPooling2D", "Dropout", "Flatten", "Reshape")


PART = 512               # frames that go through on one core; about 12 more are computed of each


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
    """The network and card that `svs.models.archive.save` wrote, the network ready for whole spectrograms.

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


def described(layers: Sequence[Layer], label_width: int, *, centre: bool = True) \
        -> tuple[tuple[int, int], list[Convolution], list[Dense]]:
    """What the layers compute: bins and frames of a window, convolutions, dense layers.

    Rescaling is in the first kernel, batch normalisation in the kernel before
    it; the last dense layer has the units of the centre frame alone, or those of
    all frames of the label, frame after frame.

    Raises
    ------
    Unshareable
        A layer, an option or an order that is none of `svs.models.layers.Stack`.
    """
    convolutions: list[Convolution] = []
    dense: list[Dense] = []
    window, gain, flat, shape = None, 1.0, False, None
    foldable = False         # the last layer was linear, and batch normalisation can go into it
    padding = None           # of the ZeroPadding2D that is to be followed by its convolution
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
                if padding not in (None, [[(kernel.shape[0] - 1) // 2, kernel.shape[0] // 2], [0, 0]]) or \
                        any(other.same != same for other in convolutions):
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


def kinds_of_columns(width: int, left: int, right: int, least: int = 1) -> list[int]:
    """For each column of a window, the number of its kind, where padding has reached `left` and `right` columns in.

    A kind of fewer than `least` columns is taken apart.
    """
    places = [(min(column, left), min(width - 1 - column, right)) for column in range(width)]
    alike = Counter(places)
    seen: dict[tuple[int, ...], int] = {}
    return [seen.setdefault(place if alike[place] >= least else (*place, column), len(seen))
            for column, place in enumerate(places)]


@dataclass(frozen=True)
class Columns:
    """What is known of each column of a window, somewhere in the network.

    A kind of several columns has a row for every frame.  A kind of one column has
    one for every window: the row of window k, which begins `hop` k frames
    into the stream, is k plus the column's `delay`.

    Attributes
    ----------
    kinds : tuple of int
        The kind of each column.
    lag : int
        Frames that these rows are behind the input's.
    hop : int
        Frames between windows.
    """

    kinds: tuple[int, ...]
    lag: int
    hop: int

    def step(self, kind: int) -> int:
        """Frames between the rows of a kind."""
        return 1 if self.kinds.count(kind) > 1 else self.hop

    def phase(self, column: int) -> int:
        """The first frame of the stream, after multiples of the hop, that is this column of a window."""
        return (column + self.lag) % self.hop

    def delay(self, column: int) -> int:
        """Windows after which a window's column is there."""
        return (column + self.lag) // self.hop


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

    def __init__(self, window: tuple[int, int], convolutions: Sequence[Convolution], dense: Sequence[Dense],
                 hop: int = 1):
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.window = self._bins, self._width = bins, width = window
        self._hop = hop
        self._label_width = len(dense[-1].bias) // bins
        if not hop <= self._label_width <= width:
            raise ValueError(f"windows of {width} frames, {self._label_width} of them predicted, every {hop} frames")
        left = right = 0
        before = Columns((0,) * width, 0, hop)
        self._layers: list[_First | _Later] = []
        self.multiply_adds = 0.0
        for index, convolution in enumerate(convolutions):
            if convolution.same:
                left, right = left + convolution.left, right + convolution.lag
            else:
                width -= convolution.frames - 1
            following = convolutions[index + 1] if index + 1 < len(convolutions) else None
            # At the end each window takes its own columns, so more than one frame apart no two are one kind.
            least = hop if following or hop == 1 else width + 1
            columns = Columns(tuple(kinds_of_columns(width, left, right, least)), before.lag + convolution.lag, hop)
            groups = _groups(columns, following)
            kind = _Later if index else _First
            self._layers.append(kind(convolution, bins, before, columns, groups, self._device))
            self.multiply_adds += self._layers[-1].multiply_adds(bins)
            bins //= convolution.pool
            before = columns
        self._columns = columns
        self._shape = (max(columns.kinds) + 1, bins, convolutions[-1].kernel.shape[-1])
        self._dense = []
        for index, layer in enumerate(dense):
            kernel = layer.kernel
            if index == 0:       # Keras flattens (bins, columns, channels), here columns come first
                kernel = kernel.reshape(bins, width, -1, kernel.shape[-1]).swapaxes(0, 1).reshape(kernel.shape)
            self.multiply_adds += kernel.size / hop
            self._dense.append((self._given(layer.bias), self._given(kernel), layer.slope))

    def _given(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)

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
        length = max(1, PART // self._hop) * self._hop
        starts = range(0, max(frames, 1), length)

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
        worker = copy.copy(self)       # shares the weights; what is kept between blocks is its own
        worker._layers = [copy.copy(layer) for layer in self._layers]
        hop, reach = self._hop, self._label_width // 2
        # Window k is centred on frame k hop + hop // 2: all that reach into the part, but none beyond the song.
        begin = max(0, -(-(first - reach - hop // 2) // hop))
        end = min(-(-spectrum.shape[1] // hop), (last - 1 + reach - hop // 2) // hop + 1)
        origin = begin * hop + hop // 2 - reach      # the first frame that a window predicts; may lie before the part
        total = torch.zeros((max(0, end - begin) * hop + self._label_width, self._bins), device=self._device)
        count = np.zeros(len(total), dtype=np.float32)
        done = -self._columns.delay(len(self._columns.kinds) - 1)      # the first rows are of windows before the first
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
        """Logits (windows, units) of windows [begin, end), after those of some that come before.

        As many come before as the last column is late (`Columns.delay`).
        """
        for layer in self._layers:
            layer.reset()
        hop, columns = self._hop, self._columns
        delays = [columns.delay(column) - columns.delay(0) for column in range(len(columns.kinds))]
        total = (max(0, end - begin) + columns.delay(len(columns.kinds) - 1)) * hop
        start = begin * hop + hop // 2 - self._width // 2      # of the stream, in frames of the spectrum
        past = torch.zeros((delays[-1], *self._shape), device=self._device)
        block = -(-block // hop) * hop
        for first in range(0, total, block):
            taken = np.zeros((min(block, total - first), self._bins), dtype=np.float32)
            here = start + first
            part = spectrum[:, max(0, here):max(0, here + len(taken))].T
            before = max(0, -here)
            taken[before:before + len(part)] = part
            groups = [torch.from_numpy(taken).to(self._device)]
            for layer in self._layers:
                groups = layer(groups)
            rows = torch.cat([past, groups[0]])
            windows = len(groups[0])
            past = rows[windows:].clone()
            values = torch.stack([rows[delay:delay + windows, kind]
                                  for delay, kind in zip(delays, columns.kinds, strict=True)], 1).flatten(1)
            for bias, kernel, slope in self._dense:
                values = _rectified(torch.addmm(bias, values, kernel), slope)
            yield values


def _exact() -> torch.backends.ContextProp:
    """On a GPU: no 19-bit products (1e-3 off), and the same sums in each run."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)


def _rectified(values: torch.Tensor, slope: float) -> torch.Tensor:
    return values if slope == 1.0 else functional.leaky_relu_(values, slope)


def _taps(columns: Columns, kind: int, following: Convolution) -> tuple[int, ...]:
    """Taps of the following kernel with which columns of a kind are multiplied."""
    width, frames, left = len(columns.kinds), following.frames, following.left
    results = width if following.same else width - frames + 1
    own = [column for column, other in enumerate(columns.kinds) if other == kind]
    return tuple(tap for tap in range(frames) if any(0 <= column + left - tap < results for column in own))


def _groups(columns: Columns, following: Convolution | None) -> list[list[int]]:
    """Kinds with rows for the same frames that the following convolution multiplies with the same taps, together."""
    found: dict[tuple, list[int]] = {}
    for kind in dict.fromkeys(columns.kinds):
        taps = _taps(columns, kind, following) if following else ()
        found.setdefault((columns.step(kind), taps), []).append(kind)
    return list(found.values())


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

    def __init__(self, convolution: Convolution, bins: int, before: Columns, columns: Columns,
                 groups: list[list[int]], device: torch.device):
        self._height, self._frames, _, self._channels = convolution.kernel.shape
        self._bins, self._groups, self._device = bins, groups, device
        self._pad = ((self._height - 1) // 2, self._height // 2)
        self._slope, self._pool = convolution.slope, convolution.pool
        self._bias = torch.from_numpy(convolution.bias).to(device)
        kernel = torch.from_numpy(convolution.kernel[:, :, 0]).transpose(0, 1).reshape(-1, self._channels).to(device)
        self._parts = {}
        for kind in columns.kinds:
            column, step = columns.kinds.index(kind), columns.step(kind)
            inside = [tap for tap in range(self._frames)
                      if 0 <= column + tap - convolution.left < len(before.kinds)]
            part = slice(inside[0] * self._height, (inside[-1] + 1) * self._height)
            self._parts[kind] = (slice(columns.phase(column) if step > 1 else 0, None, step), part, kernel[part])

    def multiply_adds(self, bins: int) -> float:
        return bins * sum(kernel.numel() / rows.step for rows, _, kernel in self._parts.values())

    def reset(self) -> None:
        self._past = torch.zeros((self._frames - 1, self._bins), device=self._device)

    def __call__(self, groups: list[torch.Tensor]) -> list[torch.Tensor]:
        """From [(frames, bins)] to the groups' (rows, kinds, bins, channels)."""
        frames = len(groups[0])
        taken = torch.cat([self._past, groups[0]])
        self._past = taken[frames:].clone()
        padded = functional.pad(taken, self._pad)
        # For each frame and bin what the kernel covers: (frames x bins, frames of the kernel x its bins).
        covered = padded.unfold(1, self._height, 1).unfold(0, self._frames, 1).transpose(2, 3)
        covered = covered.reshape(frames, self._bins, -1)
        return [torch.stack([self._kind(covered, kind) for kind in group], 1) if len(group) > 1
                else self._kind(covered, group[0])[:, None] for group in self._groups]

    def _kind(self, covered: torch.Tensor, kind: int) -> torch.Tensor:
        rows, part, kernel = self._parts[kind]
        chosen = covered[rows, :, part]
        out = torch.addmm(self._bias, chosen.flatten(0, 1), kernel).unflatten(0, chosen.shape[:2])
        if self._pool > 1:
            out = _pooled(out[:, :self._bins // self._pool * self._pool], self._pool)
        return _rectified(out, self._slope)


class _Later:
    """Another convolution: products of each kind of frame with the taps that need it, and their sums."""

    def __init__(self, convolution: Convolution, bins: int, before: Columns, columns: Columns,
                 groups: list[list[int]], device: torch.device):
        height, frames, _, self._channels = convolution.kernel.shape
        self._slope, self._pool, self._device = convolution.slope, convolution.pool, device
        self._pad = height // 2                      # the larger side; one row too many where the other is smaller
        self._skipped = height // 2 - (height - 1) // 2
        self._bins = bins // self._pool * self._pool
        left = convolution.left
        kernel = torch.from_numpy(convolution.kernel).permute(3, 2, 0, 1).to(device)       # out, in, bins, frames
        bias = torch.from_numpy(convolution.bias).to(device)
        self._kernels, place = [], {}
        self._inputs = [(len(group), before.step(group[0])) for group in _groups(before, convolution)]
        for number, group in enumerate(_groups(before, convolution)):
            taps = _taps(before, group[0], convolution)
            stacked = torch.cat([kernel[..., tap] for tap in taps])[..., None]
            # Every column is in the middle of its own sum, and brings the bias.
            biases = torch.cat([bias if tap == left else torch.zeros_like(bias) for tap in taps])
            self._kernels.append((stacked.contiguous(memory_format=torch.channels_last), biases))
            place |= {(kind, tap): (number, index, slice(slot * self._channels, (slot + 1) * self._channels))
                      for index, kind in enumerate(group) for slot, tap in enumerate(taps)}
        # Of each kind: what it is the sum of, which rows of that, and by how many rows of its own it comes later.
        self._sums, self._steps = [], [columns.step(group[0]) for group in groups]
        for group, step in zip(groups, self._steps, strict=True):
            sums = []
            for kind in group:
                column, terms = columns.kinds.index(kind), []
                for tap in range(frames):
                    if not 0 <= (source := column + tap - left) < len(before.kinds):
                        continue
                    each = before.step(before.kinds[source])
                    start = before.phase(source) if each < step else 0
                    shift = frames - 1 - tap if step == 1 else columns.delay(column) - before.delay(source)
                    terms.append((*place[before.kinds[source], tap], slice(start, None, step // each), shift))
                sums.append(terms)
            self._sums.append(sums)
        self._late = [max(shift for terms in sums for *_, shift in terms) for sums in self._sums]

    def multiply_adds(self, bins: int) -> float:
        return bins * sum(kinds / step * kernel.numel() for (kinds, step), (kernel, _) in
                          zip(self._inputs, self._kernels, strict=True))

    def reset(self) -> None:
        self._pending = [torch.zeros((late, len(group), self._bins, self._channels), device=self._device)
                         for late, group in zip(self._late, self._sums, strict=True)]

    def __call__(self, groups: list[torch.Tensor]) -> list[torch.Tensor]:
        """From groups of (rows, kinds, bins, channels) to the next layer's."""
        products = [self._products(group, *kernel) for group, kernel in zip(groups, self._kernels, strict=True)]
        frames = len(products[0]) * self._inputs[0][1]
        results = []
        for number, (kinds, step, late) in enumerate(zip(self._sums, self._steps, self._late, strict=True)):
            rows = frames // step
            total = torch.empty((rows + late, len(kinds), self._bins, self._channels), device=self._device)
            total[:late] = self._pending[number]
            total[max(late, rows):] = 0
            for index, terms in enumerate(kinds):
                _add_late(total[:, index], [(products[group][chosen, kind, :, channels], shift)
                                            for group, kind, channels, chosen, shift in terms], late)
            self._pending[number] = total[rows:].clone()
            total = total[:rows]
            results.append(_rectified(_pooled(total, self._pool) if self._pool > 1 else total, self._slope))
        return results

    def _products(self, group: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """(rows, kinds, bins, taps x channels) of one group."""
        image = group.flatten(0, 1).permute(0, 2, 1)[..., None]
        out = functional.conv2d(image, kernel, bias, padding=(self._pad, 0))
        out = out.squeeze(3).permute(0, 2, 1)[:, self._skipped:self._skipped + self._bins]
        return out.unflatten(0, group.shape[:2])
