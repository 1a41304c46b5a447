"""Similar frames of a recording, and their median as the accompaniment.

REPET-SIM and the nearest-neighbour median share this idea: music repeats and the voice above it seldom does, so the
median over similar frames is the accompaniment.  Similar frames are searched within a reach on either side.  Memory
then grows with the reach and not with the recording, and a frame has the same candidates in a chunk as in the whole
song.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

import librosa
import numpy as np
import scipy.ndimage
import scipy.sparse

from svs.config.schema import Representation
from svs.dsp.stft import cutoff_bin, istft, padded, stft
from svs.separators.base import Separator, Stems

_BLOCK = 64  # frames whose similarities are in memory at a time


def median(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """`np.median`, but six times as fast along an axis that is not contiguous, because it sorts contiguous rows."""
    ranked = np.moveaxis(values, axis, -1).copy(order="C")
    ranked.sort(axis=-1)
    middle = ranked.shape[-1] // 2
    if ranked.shape[-1] % 2:
        return ranked[..., middle]
    return (ranked[..., middle - 1] + ranked[..., middle]) / ranked.dtype.type(2)


def unit(spectrum: np.ndarray) -> np.ndarray:
    """Frames (frames, bins) scaled to length 1, in float64: their products are cosines.  Silent frames stay 0."""
    spectrum = spectrum.astype(np.float64)
    length = np.sqrt(np.einsum("tf,tf->t", spectrum, spectrum))
    return spectrum / np.where(length > 0, length, 1)[:, None]


def windows(first: int, last: int, reach: int, total: int) -> Iterator[tuple[np.ndarray, slice, np.ndarray]]:
    """Blocks of consecutive frames, each with all frames within reach.

    Yields
    ------
    rows : int (rows,)
        Frames of [first, last).
    columns : slice
        Frames within reach of any row.
    near : bool (rows, columns)
        Which columns lie within reach of which row.
    """
    for start in range(first, last, _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, last))
        columns = slice(max(0, start - reach), min(total, int(rows[-1]) + reach + 1))
        near = np.abs(np.arange(columns.start, columns.stop) - rows[:, None]) <= reach
        yield rows, columns, near


def peaks(values: np.ndarray, distance: int) -> np.ndarray:
    """Where a value is greater than all others of its row up to `distance` columns away.

    Parameters
    ----------
    values : float (rows, columns)
        -inf where there is no value.

    Returns
    -------
    bool (rows, columns)
    """
    around = np.ones(2 * distance + 1, dtype=bool)
    around[distance] = False
    return values > scipy.ndimage.maximum_filter(values, footprint=around[None], mode="constant", cval=-np.inf)


def repeating(magnitudes: np.ndarray, similar: list[np.ndarray], first: int) -> np.ndarray:
    """The median over similar frames.

    Parameters
    ----------
    magnitudes : float32 (frames, bins, channels)
    similar : list of int arrays
        The frames similar to frame `first`, to frame `first` + 1, and so on.

    Returns
    -------
    float32 (len(similar), bins, channels)
    """
    total, last = len(magnitudes), first + len(similar)
    counts = np.zeros(total + 1, dtype=np.int64)
    counts[first + 1 : last + 1] = [len(chosen) for chosen in similar]
    indices = np.concatenate([np.sort(chosen) for chosen in similar])
    neighbours = scipy.sparse.csc_matrix(
        (np.ones(len(indices), dtype=bool), indices, np.cumsum(counts)), shape=(total, total)
    )
    model = librosa.decompose.nn_filter(magnitudes.transpose(2, 1, 0), rec=neighbours, aggregate=median)
    return model.transpose(2, 1, 0)[first:last]


class RepetitionSeparator(Separator):
    """A method whose accompaniment is the median over similar frames, at the recording's own rate.

    Parameters
    ----------
    reach : float
        Seconds on either side in which similar frames are searched.
    cutoff : float
        Hz up to which everything is accompaniment (except bin 0, as in the REPET authors' code).
    """

    def __init__(self, reach: float, cutoff: float = 0.0):
        self._reach = reach
        self._cutoff = cutoff

    @abstractmethod
    def representation(self, rate: int) -> Representation:
        """The spectrogram of a recording of this rate."""

    @abstractmethod
    def similar(
        self, spectrum: np.ndarray, first: int, last: int, reach: int, representation: Representation
    ) -> list[np.ndarray]:
        """For each frame of [first, last) the similar ones, at most `reach` frames away.

        Parameters
        ----------
        spectrum : float32 (frames, bins)
            Magnitudes, averaged over channels.
        """

    @abstractmethod
    def share(self, mixture: np.ndarray, model: np.ndarray) -> np.ndarray:
        """The vocals' mask from magnitudes of the mixture and of its repeating part, both (frames, bins, channels)."""

    def reach(self, representation: Representation) -> int:
        """Frames on either side in which similar frames are searched."""
        return round(self._reach * representation.sample_rate / representation.hop_length)

    def alignment(self, rate: int) -> int:
        return self.representation(rate).hop_length

    def context(self, rate: int) -> int:
        ours = self.representation(rate)
        # One window for frames across the edge of the chunk, one for similar frames across the edge of the context.
        return self.reach(ours) * ours.hop_length + 2 * ours.frame_size

    def vocals(
        self, mixture: np.ndarray, rate: int, references: Stems | None = None, wanted: slice | None = None
    ) -> np.ndarray:
        ours = self.representation(rate)
        samples, channels = mixture.shape
        start, stop = (0, samples) if wanted is None else (wanted.start, wanted.stop)
        hop, half = ours.hop_length, ours.frame_size // 2
        for channel in range(channels):
            spectrogram = self.analyse(mixture[:, channel], ours)
            if channel == 0:
                total = spectrogram.shape[1]
                first, last = max(0, (start - half) // hop), min(total, -(-(stop + half) // hop) + 1)
                magnitudes = np.empty((total, ours.bins, channels), dtype=np.float32)
                mixed = np.empty((channels, ours.bins, last - first), dtype=np.complex64)
            magnitudes[:, :, channel] = np.abs(spectrogram).T
            mixed[channel] = spectrogram[:, first:last]
        del spectrogram
        similar = self.similar(magnitudes.mean(axis=2), first, last, self.reach(ours), ours)
        share = self.share(magnitudes[first:last], repeating(magnitudes, similar, first))
        share[:, 1 : cutoff_bin(self._cutoff, ours) + 1] = 0
        length = samples - first * hop
        if last < total:
            length = min(length, (last - 1 - first) * hop)
        vocals = np.zeros_like(mixture, dtype=np.float32)
        vocals[first * hop : first * hop + length] = self.synthesise(mixed * share.transpose(2, 1, 0), ours, length).T
        return vocals

    def analyse(self, audio: np.ndarray, representation: Representation) -> np.ndarray:
        """Spectrogram complex64 (bins, frames) of one channel."""
        return stft(padded(audio, representation.frame_size), representation)

    def synthesise(self, spectrogram: np.ndarray, representation: Representation, samples: int) -> np.ndarray:
        """Audio float32 (channels, samples) from a spectrogram (channels, bins, frames)."""
        return istft(spectrogram, representation, samples)
