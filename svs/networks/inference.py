"""Trained networks on ONNX Runtime: the one runtime of everything that separates or scores.

Results are float32 and the same in every run on one device: the graph runs layer by layer, each on all cores.  This
module imports neither Keras nor TensorFlow nor torch.
"""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from svs.errors import UnavailableError
from svs.runtime.parallel import cores

# Devices and ONNX Runtime's providers for them, the fastest first.
_PROVIDERS = {
    "cuda": "CUDAExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
_OPTIONS = {"cuda": {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}}  # no 19-bit products, no timing


def devices() -> tuple[str, ...]:
    """Devices that the installed ONNX Runtime can use, the fastest first; `cpu` is always the last."""
    there = onnxruntime.get_available_providers()
    return tuple(device for device, provider in _PROVIDERS.items() if provider in there)


def session(model: bytes | Path, device: str = "auto") -> onnxruntime.InferenceSession:
    """A network, ready to run.

    Parameters
    ----------
    model : bytes or Path
        ONNX.
    device : str
        One of `devices`; "auto" is the first of them.

    Raises
    ------
    UnavailableError
        The device is not among them, or fails to start.
    """
    if device != "auto" and device not in devices():
        raise UnavailableError(f"device {device}: expected one of {', '.join(('auto', *devices()))}")
    wanted = devices()[0] if device == "auto" else device
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    chosen = [(_PROVIDERS[name], _OPTIONS.get(name, {})) for name in dict.fromkeys((wanted, "cpu"))]
    made = onnxruntime.InferenceSession(model if isinstance(model, bytes) else str(model), options, providers=chosen)
    if device != "auto" and made.get_providers()[0] != _PROVIDERS[device]:
        raise UnavailableError(f"device {device}: it failed to start; use another: {', '.join(devices()[1:])}")
    return made
