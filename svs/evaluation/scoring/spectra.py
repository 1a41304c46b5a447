"""The multi-resolution STFT distance: how far the magnitudes of two spectrograms are apart."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import fft

# FFT, hop and Hann window in samples (Yamamoto, Song, Kim: Parallel WaveGAN, ICASSP 2020); auraloss has the same.
RESOLUTIONS = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))
_FLOOR = np.float32(1e-8)  # of power, as in auraloss: silence has a logarithm
_BATCH = 2048  # frames at a time


def mr_stft(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Mean over `RESOLUTIONS` of spectral convergence plus the mean absolute difference of the log magnitudes (nats).

    Spectral convergence is the Frobenius norm of the difference of the magnitudes, over that of the reference (Arik et
    al., IEEE SPL 26(1), 2019).

    Parameters
    ----------
    reference, estimate : float (samples, channels)

    Returns
    -------
    float
        Not negative, 0 where both are equal; lower is better.  Defined for silence, whose magnitude counts as 1e-4.
    """
    return float(np.mean([_distance(reference, estimate, *resolution) for resolution in RESOLUTIONS]))


def _distance(reference: np.ndarray, estimate: np.ndarray, size: int, hop: int, length: int) -> float:
    difference = energy = logarithms = 0.0
    count = 0
    for true, other in zip(*(_magnitudes(audio, size, hop, length) for audio in (reference, estimate)), strict=True):
        difference += float(np.square(true - other).sum(dtype=np.float64))
        energy += float(np.square(true).sum(dtype=np.float64))
        logarithms += float(np.abs(np.log(true / other)).sum(dtype=np.float64))
        count += true.size
    return (difference / energy) ** 0.5 + logarithms / count


def _magnitudes(audio: np.ndarray, size: int, hop: int, length: int) -> Iterator[np.ndarray]:
    """Magnitudes of some frames at a time, float32 (frames, bins), a channel after the other.

    Frames are centred at multiples of the hop; the signal is mirrored beyond its ends.
    """
    window = np.hanning(length + 1)[:-1].astype(np.float32)
    margin = (size - length) // 2  # of zeros around the window in an FFT, which move no magnitude
    for channel in audio.T.astype(np.float32):
        mirrored = np.pad(channel, size // 2, mode="reflect" if len(channel) > 1 else "edge")
        starts = margin + hop * np.arange(1 + len(channel) // hop)
        frames = np.lib.stride_tricks.sliding_window_view(mirrored, length)
        for first in range(0, len(starts), _BATCH):
            spectra = fft.rfft(frames[starts[first : first + _BATCH]] * window, size)
            power = np.square(spectra.real) + np.square(spectra.imag)
            yield np.sqrt(np.maximum(power, _FLOOR))
