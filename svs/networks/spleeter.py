"""Spleeter's network for two stems: a U-Net each, over magnitudes of 512 frames and 1024 bins (Hennequin et al. 2020).

Six convolutions halve time and frequency, six transposed ones double them.  A skip is the output of a convolution
before its batch normalisation; the sixth goes on without normalisation and activation.  Dropout, which upstream has
after the first three transposed convolutions, plays no part in inference.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from svs.runtime.process import quietly

with quietly():
    import keras

FRAMES, BINS = 512, 1024  # that it sees at a time; bins from 0 Hz up
_FILTERS = (16, 32, 64, 128, 256, 512)
_EPSILON = 1e-3  # of batch normalisation: Keras's default


def build(weights: Mapping[str, Mapping[str, np.ndarray]]) -> keras.Model:
    """The network with its weights, compiled for prediction.

    Parameters
    ----------
    weights : mapping of str to mapping of str to float32 array
        By stem, then by name: the arrays of `svs.data.spleeter_weights.load`.

    Returns
    -------
    keras.Model
        From magnitudes (n, 512, 1024, 2) to a list of the stems' magnitudes, each of that shape.

    Raises
    ------
    ValueError
        An array has another shape.
    """
    mixture = keras.Input((FRAMES, BINS, 2), name="magnitude")
    model = keras.Model(mixture, [_u_net(mixture, stem, arrays) for stem, arrays in weights.items()], name="spleeter")
    # As a graph: layer by layer, Keras would keep the output of every layer until the last one is done.
    model.compile(jit_compile=False)
    return model


def _u_net(mixture: keras.KerasTensor, stem: str, arrays: Mapping[str, np.ndarray]) -> keras.KerasTensor:
    """Magnitudes of a stem: the mixture's, times a mask."""

    def applied(layer: keras.Layer, name: str, x: keras.KerasTensor) -> keras.KerasTensor:
        y = layer(x)
        parts = ("weight", "bias", "running_mean", "running_var")[: len(layer.weights)]
        found = [arrays[f"{name}.{part}"] for part in parts]
        layer.set_weights([array.transpose(2, 3, 1, 0) if array.ndim == 4 else array for array in found])
        return y

    def normalised(name: str, x: keras.KerasTensor) -> keras.KerasTensor:
        return applied(keras.layers.BatchNormalization(epsilon=_EPSILON, name=f"{stem}_{name}"), name, x)

    x = mixture
    skips: list[keras.KerasTensor] = []
    for level, filters in enumerate(_FILTERS, 1):
        if skips:
            x = keras.layers.LeakyReLU(0.2)(normalised(f"down{level - 1}_act.0", x))
        convolution = keras.layers.Conv2D(filters, 5, 2, "same", name=f"{stem}_down{level}")
        x = applied(convolution, f"down{level}_conv.1", x)
        skips.append(x)
    skips.pop()
    for level, filters in enumerate((*_FILTERS[-2::-1], 1), 1):
        transposed = keras.layers.Conv2DTranspose(filters, 5, 2, "same", activation="relu", name=f"{stem}_up{level}")
        x = normalised(f"up{level}.3", applied(transposed, f"up{level}.0", x))
        if skips:
            x = keras.layers.Concatenate()([skips.pop(), x])
    mask = keras.layers.Conv2D(2, 4, padding="same", dilation_rate=2, activation="sigmoid", name=f"{stem}_mask")
    return keras.layers.Multiply(name=stem)([applied(mask, "up7.0", x), mixture])
