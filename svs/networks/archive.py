"""Trained networks on disk: a folder with `model.onnx` to run, `model.keras` to train on, and `model.json`."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from svs import networks
from svs.errors import ModelError
from svs.networks import CARD, MODEL, ONNX, export
from svs.runtime.files import fingerprint, read_json, write_json, written
from svs.runtime.process import quietly

with quietly():
    import keras

_DATE = (1980, 1, 1, 0, 0, 0)  # of every member of the archive: the earliest date of the zip format


def save(folder: Path, model: keras.Model, card: dict) -> None:
    """Write `model.onnx`, `model.keras` and `model.json` into a folder that appears whole.

    The archive is packed again without dates, so that equal weights give equal bytes.
    """
    with written(folder) as temporary:
        temporary.mkdir()
        (temporary / ONNX).write_bytes(exported(model))
        raw = temporary / "raw.keras"
        # Without the optimiser and its state.
        bare = type(model).from_config(model.get_config())  # clone_model would compile it again
        bare.set_weights(model.get_weights())
        bare.save(raw)
        with zipfile.ZipFile(raw) as old, zipfile.ZipFile(temporary / MODEL, "w") as new:
            for name in sorted(old.namelist()):
                content = old.read(name)
                if name == "metadata.json":
                    content = json.dumps({"keras_version": keras.__version__, "date_saved": ""}).encode()
                new.writestr(zipfile.ZipInfo(name, _DATE), content)
        raw.unlink()
        write_json(temporary / CARD, card)


def exported(model: keras.Model) -> bytes:
    """A network as ONNX; the same weights give the same bytes."""
    for layer in model.layers:
        if isinstance(layer, TorchNetwork):
            return export.of_torch(layer.module, model.input_shape[1:])
    return export.of_keras(model)


def require_exportable(model: keras.Model) -> None:
    """Raise ModelError if a network has a layer without a form in ONNX: before its training, not after it."""
    if not any(isinstance(layer, TorchNetwork) for layer in model.layers):
        export.require_known(model)


def load(folder: Path) -> tuple[keras.Model, dict]:
    """The network to train on, and the card, that `save` wrote; `svs.networks.inference` has the network to run.

    Raises
    ------
    ModelError
        A file is missing or damaged, or belongs to a network of torch that no longer exists, or to another backend.
    """
    path = Path(folder) / MODEL
    if not path.is_file():
        raise ModelError(f"{path}: no such model; train it with `dvc repro`")
    try:
        model = keras.models.load_model(path, compile=False)
    except (ValueError, TypeError, OSError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"{path}: not a model that Keras {keras.__version__} can load on {keras.config.backend()} "
            f"({' '.join(str(error).split())[:200]}); train it again"
        ) from None
    return model, read_json(Path(folder) / CARD)


def untrained(name: str, **arguments: Any) -> keras.Model:
    """An untrained network of excerpts as a model of Keras; see `svs.networks.build` for the arguments."""
    if networks.find_network(name).backend != "torch":
        return networks.build(name, **arguments)
    magnitude = keras.Input((arguments["bins"], arguments["width"], 1), name="magnitude")
    return keras.Model(magnitude, TorchNetwork(name, arguments)(magnitude), name=name)


@keras.saving.register_keras_serializable("svs")
class TorchNetwork(keras.layers.TorchModuleWrapper):
    """A network of torch as the layer that Keras trains and saves, on the torch backend.

    The file keeps its name and the arguments of its `build`, so no pickle is loaded.  It also keeps a fingerprint of
    its code, so that DVC separates again after the code has changed.
    """

    def __init__(self, network: str, arguments: dict, code: str = "", name: str = "module"):
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(arguments["seed"])  # of the initial weights
            module = networks.build(network, **arguments)
        shape = (None, arguments["bins"], arguments["label_width"])
        super().__init__(module, name=name, output_shape=shape, dtype="float32")
        self._network, self._arguments = network, arguments

    def _track_module_parameters(self) -> None:
        super()._track_module_parameters()
        for buffer in self.module.buffers():  # Keras leaves out the running means of batch normalisation
            dtype = str(buffer.dtype).removeprefix("torch.")
            self._track_variable(keras.Variable(buffer, trainable=False, dtype=dtype))

    def get_config(self) -> dict[str, Any]:
        code = fingerprint(code=[networks.find_network(self._network).build.__module__])
        return {"network": self._network, "arguments": dict(self._arguments), "code": code, "name": self.name}
