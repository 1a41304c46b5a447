"""Trained networks on ONNX Runtime, which runs everything that separates or scores.

This module imports neither Keras nor TensorFlow nor torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnxruntime

from svs.errors import ModelError, UnavailableError
from svs.networks import CARD, MODEL, ONNX
from svs.runtime.files import read_json
from svs.runtime.parallel import cores

# Devices and ONNX Runtime's providers for them, the fastest first.
_PROVIDERS = {
    "cuda": "CUDAExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
# No products of 19 bits, and no choice of algorithms by their speed: it differs from run to run.
_OPTIONS = {"cuda": {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}}

T = TypeVar("T")
U = TypeVar("U")


def devices() -> tuple[str, ...]:
    """Devices that the installed ONNX Runtime can use, the fastest first; `cpu` is the last."""
    there = onnxruntime.get_available_providers()
    return tuple(device for device, provider in _PROVIDERS.items() if provider in there)


def check_device(device: str) -> None:
    """Raise UnavailableError unless `device` is "auto" or one of `devices`."""
    if device not in (there := ("auto", *devices())):
        raise UnavailableError(f"device {device}: expected one of {', '.join(there)}")


class Net:
    """A network that is ready to run: float32 arrays in, one float32 array out.  Threads may share it.

    A call takes one core, and `each` takes all of them, which is faster: threads that share each product wait for one
    another.

    Parameters
    ----------
    model : bytes
        ONNX, with one output.
    device : str
        One of `devices`; "auto" is the first of them that starts.

    Raises
    ------
    ModelError
        The bytes are no network.
    UnavailableError
        There is no such device, or it does not start.
    """

    def __init__(self, model: bytes, device: str = "auto"):
        check_device(device)
        there = devices()
        wanted = there[0] if device == "auto" else device
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.use_deterministic_compute = True
        options.add_session_config_entry("session.disable_quant_qdq", "1")  # weights kept in 8 bits: float32 at once
        options.log_severity_level = 4  # its errors are raised too
        providers = [(_PROVIDERS[name], _OPTIONS.get(name, {})) for name in dict.fromkeys((wanted, "cpu"))]
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=providers)
        except Exception as error:  # its exceptions have no common class
            raise ModelError(" ".join(str(error).split())[:200]) from None
        self.device = next(name for name in there if _PROVIDERS[name] == self._session.get_providers()[0])
        if device not in ("auto", self.device):
            raise UnavailableError(f"device {device}: it does not start here; use one of {', '.join(there[1:])}")
        self._inputs = [each.name for each in self._session.get_inputs()]
        self.input_shape = tuple(self._session.get_inputs()[0].shape)  # sizes that are free are names or None

    def __call__(self, *arrays: np.ndarray) -> np.ndarray:
        return self._session.run(None, dict(zip(self._inputs, arrays, strict=True)))[0]

    def each(self, function: Callable[[T], U], items: Iterable[T]) -> Iterator[U]:
        """`function` of every item, in order, on all cores; a function that calls the network."""
        with ThreadPoolExecutor(cores() if self.device == "cpu" else 1) as pool:
            yield from pool.map(function, items)


def read(folder: Path) -> tuple[bytes, dict]:
    """The network, as ONNX, and the card that `svs.networks.archive.save` wrote.

    Raises
    ------
    ModelError
        The network is missing.
    DataError
        The card is missing or damaged.
    """
    path = Path(folder) / ONNX
    if not path.is_file():
        older = f" beside {MODEL}, which an older svs trained" if path.with_name(MODEL).is_file() else ""
        raise ModelError(f"{path}: no such model{older}; train it with `dvc repro`")
    return path.read_bytes(), read_json(Path(folder) / CARD)


def load(folder: Path, device: str = "auto") -> tuple[Net, dict]:
    """The network, ready to run, and the card that `svs.networks.archive.save` wrote.

    Raises
    ------
    ModelError
        The network is missing or damaged.
    DataError
        The card is missing or damaged.
    UnavailableError
        As of `Net`.
    """
    model, card = read(folder)
    try:
        return Net(model, device), card
    except ModelError as error:
        raise ModelError(
            f"{Path(folder) / ONNX}: not a model that ONNX Runtime {onnxruntime.__version__} can load ({error}); "
            "train it again"
        ) from None
