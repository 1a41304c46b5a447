"""CNN_deep_separator: the dissertation's larger net, which predicts the mask of all frames of the excerpt.

14,733,961 parameters for excerpts of 2049 x 9.  It is first trained as an autoencoder of vocals.  The training on masks
starts from all of those weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from svs.networks import Network

if TYPE_CHECKING:
    import keras


def build(bins: int, width: int, label_width: int, *, input_gain: float, seed: int) -> keras.Model:
    """See `svs.networks.build`.  Batch normalisation after convolutions 2, 3 and 4."""
    from svs.networks.layers import Stack  # Keras takes seconds to import

    return (
        Stack(bins, width, input_gain, seed)
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
        .output((bins, label_width), "cnn_deep_separator")
    )


NETWORKS = {
    "cnn_deep_separator": Network(
        build,
        "deeper CNN, pretrained as an autoencoder, predicting nine frames, trained here",
        dissertation_val_loss=0.4285,
    )
}
