"""CNN_separator with convolutions that are VALID in time: nine frames become one column, without padding.

1,411,345 parameters for excerpts of 2049 x 9 and a label of one frame.  Over a whole spectrogram, each layer is
computed once for each frame, which takes a ninth of the arithmetic of windows.
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
        .output((bins, label_width), "cnn_separator_valid")
    )


NETWORKS = {"cnn_separator_valid": Network(build, "cnn_separator without padding in time: an eighth of the work")}
