"""Trained networks on disk: a folder with `model.keras` and `model.json`."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from svs import networks
from svs.errors import ModelError
from svs.networks import CARD, MODEL
from svs.runtime.files import fingerprint, read_json, write_json, written
from svs.runtime.process import quietly

with quietly():
    import keras

if TYPE_CHECKING:
    import torch

_DATE = (1980, 1, 1, 0, 0, 0)  # of every member of the archive: the earliest date of the zip format


def save(folder: Path, model: keras.Model, card: dict) -> None:
    """Write `model.keras` and `model.json` into a folder that appears whole.

    The archive is packed again without dates, so that equal weights give equal bytes.
    """
    with written(folder) as temporary:
        temporary.mkdir()
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


def load(folder: Path) -> tuple[Any, dict]:
    """The network and card that `save` wrote.

    Returns
    -------
    model : keras.Model or TorchModel
    card : dict

    Raises
    ------
    ModelError
        A file is missing or damaged, or belongs to a network of torch that no longer exists.
    """
    path = Path(folder) / MODEL
    if not path.is_file():
        raise ModelError(f"{path}: no such model; train it with `dvc repro`")
    try:
        with zipfile.ZipFile(path) as archive:
            layers = json.loads(archive.read("config.json"))["config"].get("layers", [])
            made = [layer["config"] for layer in layers if layer["class_name"] == TorchNetwork.__name__]
            if made:
                weights = h5py.File(io.BytesIO(archive.read("model.weights.h5")))
                model = TorchModel(made[0]["network"], made[0]["arguments"], weights)
            else:
                model = keras.models.load_model(path, compile=False)
    except (ValueError, OSError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"{path}: not a model that Keras {keras.__version__} can load "
            f"({' '.join(str(error).split())[:200]}); train it again"
        ) from None
    return model, read_json(Path(folder) / CARD)


def untrained(name: str, **arguments: Any) -> keras.Model:
    """An untrained network of excerpts as a model of Keras; see `svs.networks.build` for the arguments."""
    if networks.find_network(name).backend != "torch":
        return networks.build(name, **arguments)
    magnitude = keras.Input((arguments["bins"], arguments["width"], 1), name="magnitude")
    return keras.Model(magnitude, TorchNetwork(name, arguments)(magnitude), name=name)


def _module(name: str, arguments: dict) -> torch.nn.Module:
    """A network of torch, its initial weights drawn from the seed among the arguments."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(arguments["seed"])
        return networks.build(name, **arguments)


@keras.saving.register_keras_serializable("svs")
class TorchNetwork(keras.layers.TorchModuleWrapper):
    """A network of torch as the layer that Keras trains and saves, on the torch backend.

    The file keeps its name and the arguments of its `build`, so no pickle is loaded.  It also keeps a fingerprint of
    its code, so that DVC separates again after the code has changed.
    """

    def __init__(self, network: str, arguments: dict, code: str = "", name: str = "module"):
        shape = (None, arguments["bins"], arguments["label_width"])
        super().__init__(_module(network, arguments), name=name, output_shape=shape, dtype="float32")
        self._network, self._arguments = network, arguments

    def _track_module_parameters(self) -> None:
        super()._track_module_parameters()
        for buffer in self.module.buffers():  # Keras leaves out the running means of batch normalisation
            dtype = str(buffer.dtype).removeprefix("torch.")
            self._track_variable(keras.Variable(buffer, trainable=False, dtype=dtype))

    def get_config(self) -> dict[str, Any]:
        code = fingerprint(code=[networks.find_network(self._network).build.__module__])
        return {"network": self._network, "arguments": dict(self._arguments), "code": code, "name": self.name}


class TorchModel:
    """A trained network of torch for inference on the CPU, whatever backend Keras has.

    Parameters
    ----------
    network : str
        The name of the network.
    arguments : dict
        Of its `build`.
    weights : h5py.File
        Of a `.keras` file: the arrays of the module's `state_dict`.
    """

    def __init__(self, network: str, arguments: dict, weights: h5py.File):
        import torch

        self._module = _module(network, arguments)
        state = weights["layers/torch_network/vars"]
        self._module.load_state_dict({name: torch.from_numpy(np.asarray(state[name])) for name in state})
        self._module.eval()
        self.input_shape = (None, arguments["bins"], arguments["width"], 1)

    def get_weights(self) -> list[np.ndarray]:
        """The arrays in the order of `TorchNetwork`: parameters, then buffers."""
        return [value.detach().numpy() for value in (*self._module.parameters(), *self._module.buffers())]

    def predict_on_batch(self, batch: np.ndarray) -> np.ndarray:
        """Logits of a batch, as `keras.Model.predict_on_batch`."""
        import torch

        with torch.inference_mode():
            return self._module(torch.from_numpy(batch)).numpy()
