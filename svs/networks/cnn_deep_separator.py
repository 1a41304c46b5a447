"""CNN_deep_separator: the dissertation's larger net, which predicts the mask of all frames of the excerpt.

14,733,961 parameters for excerpts of 2049 x 9.  It is first trained as an autoencoder of vocals.  The training on masks
starts from all of those weights.

`cnn_deep_separator_valid` has convolutions that are VALID in time (see `cnn_separator`) and predicts the centre frame:
2,654,849 parameters.  It starts from random weights, because those of the autoencoder have other shapes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from svs.networks import Network

if TYPE_CHECKING:
    import keras


def build(bins: int, width: int, label_width: int, *, input_gain: float, seed: int, valid: bool = False) -> keras.Model:
    """See `svs.networks.build`.  Batch normalisation after convolutions 2, 3 and 4.

    If `valid`, each of the four convolutions takes two columns, so `width` is at least 9.
    """
    from svs.networks.layers import Stack  # Keras takes seconds to import

    return (
        Stack(bins, width, input_gain, seed, valid_in_time=valid)
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
        .output((bins, label_width), "cnn_deep_separator_valid" if valid else "cnn_deep_separator")
    )


NETWORKS = {
    "cnn_deep_separator": Network(
        build,
        "deeper CNN, pretrained as an autoencoder, predicting nine frames, trained here",
        dissertation_val_loss=0.4285,
    ),
    "cnn_deep_separator_valid": Network(
        lambda *shape, **options: build(*shape, **options, valid=True),
        "cnn_deep_separator without padding in time, predicting the centre frame",
    ),
}
