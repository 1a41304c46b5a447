"""Short-time Fourier transforms and their magnitudes.

Frame t of a signal is centred on sample t * hop (librosa's `center=True`,
zero padding).  A signal of n samples has 1 + n // hop frames.  Magnitudes are
divided by the sum of the window, so that of a full-scale sine is 0.5 (Lin et
al. 2018).  Complex spectrograms are not scaled.
"""

from __future__ import annotations

import numpy as np
from scipy import fft

from svs.config.schema import Representation

HANN, HAMMING = 0.5, 0.54

_BLOCK = 32  # frames transformed at a time, so that they fit the processor's cache

_FLOOR = 1e-5  # added to magnitudes before their logarithm is taken


def frames(samples: int, representation: Representation) -> int:
    """Number of frames of a signal of `samples` samples."""
    return 1 + samples // representation.hop_length


def stft(audio: np.ndarray, representation: Representation, alpha: float = HANN) -> np.ndarray:
    """Complex spectrogram of real audio.

    Parameters
    ----------
    audio : float32 (samples,) or (channels, samples)
    representation : Representation
    alpha : float
        Parameter of the window alpha - (1 - alpha) cos: `HANN` or `HAMMING`.

    Returns
    -------
    complex64 (..., bins, frames)
    """
    size = representation.frame_size
    audio = np.asarray(audio, dtype=np.float32)
    padded = np.pad(audio, [(0, 0)] * (audio.ndim - 1) + [(size // 2, size // 2)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, size, axis=-1)[..., :: representation.hop_length, :]
    window = _window(representation, alpha)
    spectrum = np.empty((*windows.shape[:-1], representation.bins), dtype=np.complex64)
    for first in range(0, windows.shape[-2], _BLOCK):
        block = (..., slice(first, first + _BLOCK), slice(None))
        spectrum[block] = fft.rfft(windows[block] * window)
    return spectrum.swapaxes(-1, -2)


def istft(spectrogram: np.ndarray, representation: Representation, samples: int) -> np.ndarray:
    """Audio of `samples` samples from a complex spectrogram (..., bins, frames): float32 (..., samples).

    The frames are windowed again and added, and the sum is divided by the sum of
    the squared windows: the least-squares estimate (Griffin & Lim 1984).
    """
    size, hop = representation.frame_size, representation.hop_length
    window = _window(representation)
    total = min(spectrogram.shape[-1], -(-(samples + 2 * (size // 2)) // hop))
    length = max((total - 1) * hop + size, size // 2 + samples)
    audio = np.zeros((*spectrogram.shape[:-2], length), dtype=np.float32)
    weight = np.zeros(length, dtype=np.float32)
    for first in range(0, total, _BLOCK):
        pieces = fft.irfft(spectrogram[..., first : min(first + _BLOCK, total)].swapaxes(-1, -2), n=size) * window
        for index in range(pieces.shape[-2]):
            place = slice((first + index) * hop, (first + index) * hop + size)
            audio[..., place] += pieces[..., index, :]
            weight[place] += window**2
    audio, weight = (array[..., size // 2 : size // 2 + samples] for array in (audio, weight))
    heard = weight > np.finfo(np.float32).tiny
    audio[..., heard] /= weight[heard]
    return audio


def _cosine(length: int, alpha: float = HANN) -> np.ndarray:
    """Periodic Hann or Hamming window, float64 (length,)."""
    return alpha + (1 - alpha) * np.cos(np.linspace(-np.pi, np.pi, length + 1)[:-1])


def _window(representation: Representation, alpha: float = HANN) -> np.ndarray:
    """Hann or Hamming window in the middle of a frame, float64 (frame_size,)."""
    before = (representation.frame_size - representation.win_length) // 2
    after = representation.frame_size - representation.win_length - before
    return np.pad(_cosine(representation.win_length, alpha), (before, after))


def window_sum(representation: Representation) -> float:
    """Sum of the Hann window, by which magnitudes are divided."""
    return float(_cosine(representation.win_length).sum())


def magnitude(spectrogram: np.ndarray, representation: Representation) -> np.ndarray:
    """Scaled magnitudes (a full-scale sine is 0.5) of a complex spectrogram."""
    return np.abs(spectrogram) * np.float32(1 / window_sum(representation))


def log_magnitude(magnitudes: np.ndarray) -> np.ndarray:
    """Natural logarithm of scaled magnitudes, with a floor 94 dB below a full-scale sine."""
    return np.log(magnitudes + np.float32(_FLOOR))


def stft_of_frames(audio: np.ndarray, representation: Representation, first: int, last: int) -> np.ndarray:
    """Frames [first, last) of the `stft` of the whole signal, computed from the samples that they cover."""
    hop = representation.hop_length
    margin = -(-representation.frame_size // 2 // hop)
    skip = min(margin, first)
    part = audio[..., (first - skip) * hop : (last - 1 + margin) * hop + 1]
    return stft(part, representation)[..., skip : skip + last - first]


def tuned(representation: Representation, semitones: float) -> Representation:
    """A transform with longer frames at the same hop, in which a song looks higher by `semitones`.

    Each partial falls into the bin of a partial that is higher by `semitones`.  Lengths are rounded to multiples of
    1/64 of the frame, for which the FFT is fast.

    Raises
    ------
    ValueError
        The frame is too short for its hop.
    """
    shares = round(64 * 2 ** (semitones / 12))
    return Representation(
        sample_rate=representation.sample_rate,
        frame_size=shares * representation.frame_size // 64,
        win_length=shares * representation.win_length // 64,
        hop_length=representation.hop_length,
    )


def of_window(seconds: float, overlap: int, rate: int) -> Representation:
    """The transform of a recording at `rate` Hz whose windows last about `seconds`.

    A window has a power of two of samples, the nearest on a logarithmic scale.  `overlap` windows cover each sample.
    """
    size = 2 ** round(np.log2(seconds * rate))
    return Representation(sample_rate=rate, frame_size=size, win_length=size, hop_length=size // overlap)


def padded(audio: np.ndarray, representation: Representation) -> np.ndarray:
    """`audio` (n,), padded with zeros to one frame, and to whole hops where windows overlap by half.

    There the edge of one window alone would reach the end, and `istft` divides by its square.
    """
    size, hop = representation.frame_size, representation.hop_length
    whole = -(-len(audio) // hop) * hop if 2 * hop >= size else 0
    return np.pad(audio, (0, max(size, whole, len(audio)) - len(audio)))


def cutoff_bin(cutoff: float, representation: Representation) -> int:
    """The bin nearest to a frequency in Hz, at most the last one."""
    return min(round(cutoff * representation.frame_size / representation.sample_rate), representation.bins - 1)
