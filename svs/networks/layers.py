"""The layers of the dissertation's networks (Lin et al. 2018 and the dissertation).

Kernels are (frequency x time), with stride 1 and SAME padding.  Pooling is over frequency only.  Initial weights are
Glorot (Xavier) normal.  Ours, not the dissertation's: a stack that is VALID in time does not pad the time axis, so each
convolution loses columns.  Then a column depends on its own frames alone, and overlapping windows share everything
(`svs.networks.streaming`).
"""

from __future__ import annotations

from math import prod
from typing import Any

import keras

SLOPE = 0.3  # of LeakyReLU: the default of Keras 2, as in the dissertation


class Stack:
    """Layers added one after another, each initialised from its own seed.

    Parameters
    ----------
    bins, width : int
        Shape of an excerpt.
    input_gain : float
        Factor on the magnitudes before the first layer.
    seed : int
    valid_in_time : bool
        Convolutions are padded over frequency only.
    """

    def __init__(self, bins: int, width: int, input_gain: float, seed: int, *, valid_in_time: bool = False):
        self._seed, self._layers, self._valid = seed, 0, valid_in_time
        self.input = keras.Input((bins, width, 1), name="magnitude")
        self._tensor = self.input if input_gain == 1.0 else keras.layers.Rescaling(input_gain, name="gain")(self.input)

    def _add(self, kind: type[keras.Layer], *arguments: Any, name: str = "", **options: Any) -> Stack:
        if not name:
            # Keras numbers the layers of a process, so a second net would have other names and other bytes.
            self._layers += 1
            name = f"{kind.__name__.lower()}_{self._layers}"
        self._tensor = kind(*arguments, name=name, **options)(self._tensor)
        return self

    def _next_seed(self) -> int:
        self._seed += 1
        return self._seed

    def conv(self, filters: int, kernel: tuple[int, int], *, normalised: bool = False) -> Stack:
        if self._valid:
            # Pads the frequency axis as SAME does.
            self._add(keras.layers.ZeroPadding2D, (((kernel[0] - 1) // 2, kernel[0] // 2), (0, 0)))
        weights = keras.initializers.GlorotNormal(self._next_seed())
        padding = "valid" if self._valid else "same"
        self._add(keras.layers.Conv2D, filters, kernel, padding=padding, kernel_initializer=weights)
        if normalised:
            self._add(keras.layers.BatchNormalization)
        return self._add(keras.layers.LeakyReLU, SLOPE)

    def pool(self, size: tuple[int, int]) -> Stack:
        return self._add(keras.layers.MaxPooling2D, size)

    def dropout(self, rate: float) -> Stack:
        return self._add(keras.layers.Dropout, rate, seed=self._next_seed())

    def flatten(self) -> Stack:
        return self._add(keras.layers.Flatten)

    def dense(self, units: int, name: str = "") -> Stack:
        weights = keras.initializers.GlorotNormal(self._next_seed())
        self._add(keras.layers.Dense, units, name=name, kernel_initializer=weights)
        return self if name else self._add(keras.layers.LeakyReLU, SLOPE)

    def output(self, shape: tuple[int, ...], name: str) -> keras.Model:
        """The model, with logits of `shape` as its output."""
        self.dense(prod(shape), "logits")
        if len(shape) > 1:
            self._add(keras.layers.Reshape, shape, name="mask_logits")
        return keras.Model(self.input, self._tensor, name=name)
