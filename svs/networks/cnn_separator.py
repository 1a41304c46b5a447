"""CNN_separator: the dissertation's smaller net, which predicts the mask of the centre frame.

3,246,353 parameters for excerpts of 2049 x 9 and a label of one frame.  `cnn_separator_valid` has 1,411,345: its
convolutions are VALID in time, so nine frames become one column, without padding.  Over a whole spectrogram, each of
its layers is computed once for each frame, which takes a ninth of the arithmetic of windows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from svs.networks import Network

if TYPE_CHECKING:
    import keras


def build(bins: int, width: int, label_width: int, *, input_gain: float, seed: int, valid: bool = False) -> keras.Model:
    """See `svs.networks.build`.  The last convolution has twice the deep net's filters; no batch normalisation.

    If `valid`, each of the four convolutions takes two columns, so `width` is at least 9.
    """
    from svs.networks.layers import Stack  # Keras takes seconds to import

    return (
        Stack(bins, width, input_gain, seed, valid_in_time=valid)
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
        .output((bins, label_width), "cnn_separator_valid" if valid else "cnn_separator")
    )


NETWORKS = {
    "cnn_separator": Network(
        build,
        "CNN that predicts the centre frame of the ideal binary mask, trained here",
        dissertation_val_loss=0.4397,
        recommended=1,
    ),
    "cnn_separator_valid": Network(
        lambda *shape, **options: build(*shape, **options, valid=True),
        "cnn_separator without padding in time: an eighth of the work",
    ),
}
