"""Windows of a spectrogram through a network, in batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit

if TYPE_CHECKING:
    import keras


def predictions(model: keras.Model, spectrum: np.ndarray, width: int, centres: np.ndarray,
                batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Probabilities that a network gives for windows around chosen frames.

    Parameters
    ----------
    model : keras.Model
        From (n, bins, width, 1) magnitudes to logits.
    spectrum : float32 (bins, frames)
        Either end is padded with silence.
    width : int
        Frames of a window, odd.
    centres : int (windows,)
        Centre frames.
    batch_size : int
        Windows predicted at a time.

    Yields
    ------
    centres : int (n,)
    probabilities : float32 (n, ...)
        The model's output through the sigmoid.
    """
    padded = np.pad(spectrum, ((0, 0), (width // 2, width // 2)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, width, axis=1)      # bins, frames, width
    for first in range(0, len(centres), batch_size):
        chosen = centres[first:first + batch_size]
        # Batches of one size: another would be compiled anew.
        batch = np.zeros((batch_size, *windows.shape[::2], 1), dtype=np.float32)
        batch[:len(chosen), ..., 0] = windows[:, chosen].transpose(1, 0, 2)
        yield chosen, expit(np.asarray(model.predict_on_batch(batch))[:len(chosen)])
