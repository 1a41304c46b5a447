"""CNN_deep_separator with convolutions that are VALID in time, predicting the mask of the centre frame.

2,654,849 parameters for excerpts of 2049 x 9 and a label of one frame.  It starts from random weights, because those of
the autoencoder have other shapes.  Over a whole spectrogram, each layer is computed once for each frame, which takes a
ninth of the arithmetic of windows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from svs.networks import Network

if TYPE_CHECKING:
    import keras


def build(bins: int, width: int, label_width: int, *, input_gain: float, seed: int) -> keras.Model:
    """See `svs.networks.build`.  `width` is at least 9: each of the four convolutions takes two columns."""
    from svs.networks.layers import Stack  # Keras takes seconds to import

    return (
        Stack(bins, width, input_gain, seed, valid_in_time=True)
        .conv(32, (12, 3))
        .conv(16, (12, 3), normalised=True)
        .pool((12, 1))
        .conv(64, (12, 3), normalised=True)
        .conv(16, (12, 3), normalised=True)
        .pool((12, 1))
        .flatten()
        .dense(2048)
        .dropout(0.5)
        .dense(512)
        .dropout(0.5)
        .output((bins, label_width), "cnn_deep_separator_valid")
    )


NETWORKS = {
    "cnn_deep_separator_valid": Network(
        build, "cnn_deep_separator without padding in time, predicting the centre frame"
    )
}
