"""Short-time Fourier transforms and their magnitudes.

Frame t of a signal is centred on sample t * hop (librosa's `center=True`,
zero padding).  A signal of n samples has 1 + n // hop frames.  Magnitudes are
divided by the sum of the window, so a full-scale sine has 0.5 (Lin et al.
2018); complex spectrograms are left unscaled.
"""

from __future__ import annotations

import warnings

import librosa
import numpy as np

from svs.settings import Representation


def frames(samples: int, representation: Representation) -> int:
    """Number of frames of a signal of `samples` samples."""
    return 1 + samples // representation.hop_length


def stft(audio: np.ndarray, representation: Representation) -> np.ndarray:
    """Complex spectrogram of real audio.

    Parameters
    ----------
    audio : float32 (samples,) or (channels, samples)

    Returns
    -------
    complex64 (..., bins, frames)
    """
    audio = np.asarray(audio, dtype=np.float32)
    with warnings.catch_warnings():
        # A signal shorter than the window is padded like any other; nothing to warn of.
        warnings.filterwarnings("ignore", "n_fft=.* is too large", UserWarning)
        return _stft(audio, representation)


def _stft(audio: np.ndarray, representation: Representation) -> np.ndarray:
    return librosa.stft(audio, n_fft=representation.frame_size,
                        hop_length=representation.hop_length, win_length=representation.win_length,
                        window="hann", center=True, pad_mode="constant")


def istft(spectrogram: np.ndarray, representation: Representation, samples: int) -> np.ndarray:
    """Audio of `samples` samples from a complex spectrogram (..., bins, frames)."""
    return librosa.istft(spectrogram, n_fft=representation.frame_size, hop_length=representation.hop_length,
                         win_length=representation.win_length, window="hann", center=True, length=samples)


def window_sum(representation: Representation) -> float:
    """Sum of the Hann window: what magnitudes are divided by."""
    return float(librosa.filters.get_window("hann", representation.win_length, fftbins=True).sum())


def magnitude(spectrogram: np.ndarray, representation: Representation) -> np.ndarray:
    """Scaled magnitudes (a full-scale sine is 0.5) of a complex spectrogram."""
    return np.abs(spectrogram) * np.float32(1 / window_sum(representation))


def blocks(samples: int, representation: Representation, frames_per_block: int):
    """Cut a signal into blocks whose frames equal those of the whole signal.

    Yields
    ------
    first, last : int
        Frames [first, last) of the whole signal that the block gives.
    start, stop : int
        Samples to read (`start` is a multiple of the hop).
    skip : int
        Frames of the block's own STFT before `first`.
    """
    total = frames(samples, representation)
    hop = representation.hop_length
    margin = -(-representation.frame_size // 2 // hop)
    for first in range(0, total, frames_per_block):
        last = min(first + frames_per_block, total)
        skip = min(margin, first)
        start = (first - skip) * hop
        stop = samples if last == total else min((last - 1 + margin) * hop + 1, samples)
        yield first, last, start, stop, skip
