"""Networks by name.  A new one is one file here with `build`, and one line in the registry."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from svs.errors import ModelError

if TYPE_CHECKING:
    import keras

REGISTRY = ("cnn_separator", "cnn_deep_separator", "cnn_separator_valid", "cnn_deep_separator_valid", "vad")


# Validation losses that the dissertation reports, on another split (excerpts of the same songs), in nats.
DISSERTATION_VAL_LOSS = {"cnn_deep_separator": 0.4285, "cnn_separator": 0.4397}

# Networks of passages, which are trained on mixtures (`svs.training.on_mixtures`).
ON_MIXES = ("unet_separator",)


def build(name: str, bins: int, width: int, label_width: int, *, input_gain: float = 1.0, seed: int = 0) -> keras.Model:
    """An untrained network.

    Parameters
    ----------
    name : str
        One of `REGISTRY`.
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
    if name not in REGISTRY:
        raise ModelError(f"{name}: no such network; expected one of {', '.join(REGISTRY)}")
    return import_module(f"svs.networks.{name}").build(bins, width, label_width, input_gain=input_gain, seed=seed)


def on_mixes(name: str) -> ModuleType:
    """The module of a network of `ON_MIXES`: its `build`, `context` and `frames_multiple`.

    Raises
    ------
    ModelError
        There is no network of that name.
    """
    if name not in ON_MIXES:
        raise ModelError(f"{name}: no such network of passages; expected one of {', '.join(ON_MIXES)}")
    return import_module(f"svs.networks.{name}")
