"""Networks by name.

A network is one file in this folder: what its training takes (its size and its defaults), `build`, and `NETWORKS`,
which names what it offers.  Every such file is found by itself.  A line in `wiring.yaml` gives it a training in the
pipeline.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from svs.config.schema import ExcerptTraining, MixtureTraining, Settings, merge, parsed
from svs.errors import ModelError, SettingsError

if TYPE_CHECKING:
    import keras

# Not networks, but what is done with them; they import Keras or torch.
_TOOLS = ("archive", "layers", "streaming", "windows")


@dataclass(frozen=True)
class Network:
    """A network as the registry knows it.

    Parameters
    ----------
    build : callable
        Of a network of excerpts: `build` below.  Of one of mixtures: from its bins, its size, mean and deviation of the
        log magnitudes (`svs.networks.unet_separator.build`).
    about : str
        What the method that separates by it is, in a few words; empty for a network that predicts no mask.
    training : a subclass of `ExcerptTraining` or `MixtureTraining`
        What its training takes.
    defaults : mapping
        Of its training on excerpts: laid over the group `train.excerpts` of params.yaml, below `train.NAME`.
    recommended : int
        As of `svs.separators.base.Method`.
    dissertation_val_loss : float, optional
        Validation loss in nats that the dissertation reports, on another split (excerpts of the same songs).
    """

    build: Callable[..., keras.Model]
    about: str = ""
    training: type[ExcerptTraining] | type[MixtureTraining] = ExcerptTraining
    defaults: Mapping[str, Any] = field(default_factory=dict)
    dissertation_val_loss: float | None = None
    recommended: int = 0

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
    """The network of a name.

    Raises
    ------
    ModelError
        There is none.
    """
    if name not in networks():
        raise ModelError(f"{name}: no such network; expected one of {', '.join(networks())}")
    return networks()[name]


def training(name: str, settings: Settings) -> Any:
    """What the training of a network takes, validated.

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
    """Check what all trainings take, so that a mistake is told before anything runs.

    Raises
    ------
    ModelError, SettingsError
        As `training`.
    """
    for name in settings.train:
        if name != "excerpts":
            training(name, settings)


def dissertation_val_losses() -> dict[str, float]:
    """Validation losses in nats that the dissertation reports, by network."""
    return {
        name: network.dissertation_val_loss
        for name, network in networks().items()
        if network.dissertation_val_loss is not None
    }


def build(name: str, bins: int, width: int, label_width: int, *, input_gain: float = 1.0, seed: int = 0) -> keras.Model:
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
        Of initial weights and dropout.

    Returns
    -------
    keras.Model
        Its output are logits: (n, bins, label_width), or (n, 1) for `vad`.

    Raises
    ------
    ModelError
        There is no network of that name.
    """
    return find_network(name).build(bins, width, label_width, input_gain=input_gain, seed=seed)
