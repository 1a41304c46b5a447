"""CNN_separator: the dissertation's smaller net, which predicts the mask of the centre frame.

3,246,353 parameters for excerpts of 2049 x 9 and a label of one frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from svs.networks import Network

if TYPE_CHECKING:
    import keras


def build(bins: int, width: int, label_width: int, *, input_gain: float, seed: int) -> keras.Model:
    """See `svs.networks.build`.  The last convolution has twice the deep net's filters; no batch normalisation."""
    from svs.networks.layers import Stack  # Keras takes seconds to import

    return (
        Stack(bins, width, input_gain, seed)
        .conv(32, (12, 3))
        .conv(16, (12, 3))
        .pool((12, 1))
        .dropout(0.25)
        .conv(64, (12, 3))
        .conv(32, (12, 3))
        .pool((12, 1))
        .dropout(0.25)
        .flatten()
        .dense(512)
        .dropout(0.5)
        .output((bins, label_width), "cnn_separator")
    )


NETWORKS = {
    "cnn_separator": Network(
        build,
        "CNN that predicts the centre frame of the ideal binary mask, trained here",
        dissertation_val_loss=0.4397,
        recommended=1,
    )
}
