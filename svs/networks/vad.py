"""The dissertation's voice activity net: it says whether somebody sings in the centre frame of 0.29 s."""

from __future__ import annotations

from typing import TYPE_CHECKING

from svs.networks import Network

if TYPE_CHECKING:
    import keras


def build(bins: int, width: int, label_width: int, *, input_gain: float, seed: int) -> keras.Model:
    """See `svs.networks.build`; the output is one logit, whatever `label_width`."""
    from svs.networks.layers import Stack  # Keras takes seconds to import

    return (
        Stack(bins, width, input_gain, seed)
        .conv(16, (3, 3))
        .conv(16, (3, 3))
        .pool((3, 3))
        .dropout(0.25)
        .conv(16, (3, 3))
        .conv(16, (3, 3))
        .pool((3, 3))
        .dropout(0.25)
        .flatten()
        .dense(64)
        .dropout(0.5)
        .output((1,), "vad")
    )


NETWORKS = {"vad": Network(build)}
