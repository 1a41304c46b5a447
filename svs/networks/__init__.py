"""Networks by name.

A network is one file in this folder.  It holds `build`, the options of its training (its size and defaults), and
`NETWORKS`, which names the networks of the file.  The registry finds every such file by itself.  A line in
`wiring.yaml` adds a training to the pipeline (docs/adding.md).
"""

from __future__ import annotations

import os
import pkgutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any

from svs.config.schema import ExcerptTraining, MixtureTraining, Settings, merge, parsed
from svs.errors import ModelError, SettingsError

# The files of a trained network (`svs.networks.archive`): what runs, what is trained on, what it was trained on.
ONNX, MODEL, CARD = "model.onnx", "model.keras", "model.json"

# Not networks to train, but modules that networks are built, kept and evaluated with, and the network of others.  Some
# import Keras or onnx.
_TOOLS = ("archive", "export", "graph", "inference", "layers", "quantisation", "spleeter", "streaming", "windows")


@dataclass(frozen=True)
class Network:
    """A network as the registry knows it.

    Parameters
    ----------
    build : callable
        A network of excerpts: `build` below.  A network of mixtures: `svs.networks.unet_separator.build`.
    about : str
        The separation method that uses the network, in a few words.  Empty: the network predicts no mask.
    training : a subclass of `ExcerptTraining` or `MixtureTraining`
        The options of its training.
    defaults : mapping
        Options of a training on excerpts, laid over the group `train.excerpts` of params.yaml; `train.NAME` is laid
        over both.
    recommended : int
        As of `svs.separators.method.Method`.
    dissertation_val_loss : float, optional
        Validation loss in nats that the dissertation reports, on another split (excerpts of the same songs).
    backend : {"", "torch"}
        "torch": `build` gives a `torch.nn.Module` of excerpts, and Keras trains it on its torch backend.  Empty:
        `build` gives a `keras.Model`, which any backend trains.
    weights : mapping of str to callable
        Published weights that a training may start from, by name.  The callable gets the network and a folder of the
        user that may hold them, sets the network's weights, and returns their name, checksum and licence for the card.
    """

    build: Callable[..., Any]
    about: str = ""
    training: type[ExcerptTraining] | type[MixtureTraining] = ExcerptTraining
    defaults: Mapping[str, Any] = field(default_factory=dict)
    dissertation_val_loss: float | None = None
    recommended: int = 0
    backend: str = ""
    weights: Mapping[str, Callable[..., dict[str, str]]] = field(default_factory=dict)

    @property
    def on_mixtures(self) -> bool:
        """Whether it is trained on mixtures, not on excerpts."""
        return issubclass(self.training, MixtureTraining)


@cache
def networks() -> dict[str, Network]:
    """Every network, by name."""
    found: dict[str, Network] = {}
    for module in pkgutil.iter_modules(__path__):
        if module.name not in _TOOLS:
            found |= import_module(f"{__name__}.{module.name}").NETWORKS
    return found


def find_network(name: str) -> Network:
    """The network of a name; raises ModelError if there is none."""
    if name not in networks():
        raise ModelError(f"{name}: no such network; expected one of {', '.join(networks())}")
    return networks()[name]


def choose_backend(name: str) -> None:
    """Choose the Keras backend that trains a network.  A process has one backend, so call this before it imports Keras.

    Raises
    ------
    ModelError
        There is no network of that name, or Keras already runs on another backend.
    """
    wanted = find_network(name).backend
    if wanted and "keras" in sys.modules and sys.modules["keras"].config.backend() != wanted:
        raise ModelError(
            f"{name}: expected Keras on the backend {wanted}, this process runs it on "
            f"{sys.modules['keras'].config.backend()}; train it in a process of its own"
        )
    if wanted:
        os.environ["KERAS_BACKEND"] = wanted


def training(name: str, settings: Settings) -> Any:
    """The options of a network's training, validated.

    Raises
    ------
    ModelError
        There is no network of that name.
    SettingsError
        A parameter is unknown, missing or impossible.
    """
    network, given = find_network(name), settings.train.get(name, {})
    if not network.on_mixtures and isinstance(given, dict):
        given = merge(merge(settings.train.get("excerpts", {}), dict(network.defaults)), given)
    found = parsed(network.training, f"train.{name}", given)
    width = found.label_width if isinstance(found, ExcerptTraining) else None
    if width is not None and (width > settings.extract.masks.width or width % 2 == 0):
        raise SettingsError(
            f"train.{name}.label_width: expected an odd number of frames up to the excerpt's "
            f"{settings.extract.masks.width} (extract.masks.width), got {width}"
        )
    return found


def validate(settings: Settings) -> None:
    """Check the options of all trainings, so that a mistake shows before anything runs; raises as `training`."""
    for name in settings.train:
        if name != "excerpts":
            training(name, settings)


def build(name: str, bins: int, width: int, label_width: int, *, input_gain: float = 1.0, seed: int = 0) -> Any:
    """An untrained network of excerpts.

    Parameters
    ----------
    name : str
        One of `networks`.
    bins, width : int
        Shape of an excerpt: the input is (n, bins, width, 1), magnitudes.
    label_width : int
        Frames of the output.
    input_gain : float
        Factor on the magnitudes before the first layer.
    seed : int
        Seeds the initial weights and dropout.

    Returns
    -------
    keras.Model or torch.nn.Module
        Its outputs are logits: (n, bins, label_width), or (n, 1) for `vad`.

    Raises
    ------
    ModelError
        There is no network of that name.
    """
    return find_network(name).build(bins, width, label_width, input_gain=input_gain, seed=seed)
