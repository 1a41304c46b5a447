"""Windows of a spectrogram through a network, in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from scipy.special import expit

from svs.networks.inference import Net


def predictions(
    net: Net, spectrum: np.ndarray, width: int, centres: np.ndarray, batch_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Probabilities that a network gives for windows around chosen frames.

    Parameters
    ----------
    net : svs.networks.inference.Net
        From (n, bins, width, 1) magnitudes to logits.
    spectrum : float32 (bins, frames)
        Both ends are padded with silence.
    width : int
        Frames of a window, odd.
    centres : int (windows,)
        Centre frames.
    batch_size : int
        Windows that a core predicts at a time.

    Yields
    ------
    centres : int (n,)
    probabilities : float32 (n, ...)
        The network's output through the sigmoid.
    """
    padded = np.pad(spectrum, ((0, 0), (width // 2, width // 2)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, width, axis=1)  # bins, frames, width

    def batch(first: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = centres[first : first + batch_size]
        return chosen, expit(net(np.ascontiguousarray(windows[:, chosen].transpose(1, 0, 2)[..., None], np.float32)))

    yield from net.each(batch, range(0, len(centres), batch_size))


def averaged(
    predicted: Iterable[tuple[np.ndarray, np.ndarray]], shape: tuple[int, int], label_width: int
) -> np.ndarray:
    """The mean of all that windows predict of each frame.

    Parameters
    ----------
    predicted : iterable of int (n,), float32 (n, bins, label_width)
        Centre frames and predictions of windows, as from `predictions`.
    shape : int, int
        Bins and frames of the result.  Predictions may reach over either end.
    label_width : int
        Frames that a window predicts, odd; at least as many as the hop.

    Returns
    -------
    float32 (bins, frames)
    """
    bins, frames = shape
    total = np.zeros((frames + 2 * label_width, bins), dtype=np.float32)
    count = np.zeros((len(total), 1), dtype=np.float32)
    for centres, probability in predicted:
        for column in range(label_width):
            total[centres + column] += probability[..., column]  # row r is frame r - label_width // 2
            count[centres + column] += 1
    kept = slice(label_width // 2, label_width // 2 + frames)
    return (total[kept] / count[kept]).T
