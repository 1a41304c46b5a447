"""Similar frames of a recording, and their median as the accompaniment.

REPET-SIM and the nearest-neighbour median share this idea: music repeats and the voice above it seldom does, so the
median over similar frames is the accompaniment.  Similar frames are searched within a reach on either side.  Memory
then grows with the reach and not with the recording, and a frame has the same candidates in a chunk as in the whole
song.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from svs.config.schema import Representation
from svs.dsp.stft import cutoff_bin, istft, of_window, padded, stft
from svs.separators.base import Separator, Stems

_BLOCK = 64  # frames whose similarities are in memory at a time


def median(values: np.ndarray) -> np.ndarray:
    """`np.median(values, axis=0)`, but six times as fast, because it sorts contiguous rows."""
    ranked = np.moveaxis(values, 0, -1).copy(order="C")
    ranked.sort(axis=-1)
    middle = ranked.shape[-1] // 2
    if ranked.shape[-1] % 2:
        return ranked[..., middle]
    return (ranked[..., middle - 1] + ranked[..., middle]) / ranked.dtype.type(2)


class RepetitionSeparator(Separator):
    """A method whose accompaniment is the median over similar frames, at the recording's own rate.

    Parameters
    ----------
    options : Group
        Those of the method or its variant.
    reach : float
        Seconds on either side in which similar frames are searched.
    cutoff : float
        Hz up to which everything is accompaniment (except bin 0, as in the REPET authors' code).
    """

    def __init__(self, options: Any, reach: float, cutoff: float = 0.0):
        self._options, self._reach, self._cutoff = options, reach, cutoff

    def representation(self, rate: int) -> Representation:
        """The spectrogram of a recording of this rate."""
        return of_window(self._options.window, self._options.overlap, rate)

    def similar(
        self, spectrum: np.ndarray, first: int, last: int, reach: int, representation: Representation
    ) -> list[np.ndarray]:
        """For each frame of [first, last) the similar ones, at most `reach` frames away.

        `spectrum` are magnitudes, averaged over channels: float32 (frames, bins).
        """
        frames, chosen = self.compared(spectrum), []
        for start in range(first, last, _BLOCK):
            rows = np.arange(start, min(start + _BLOCK, last))
            columns = np.arange(max(0, start - reach), min(len(frames), int(rows[-1]) + reach + 1))
            alike = self.likeness(frames[rows], frames[columns[0] : columns[-1] + 1])
            alike[np.abs(columns - rows[:, None]) > reach] = -np.inf
            for row, values in zip(rows, alike, strict=True):
                chosen.append(self.nearest(values, row - columns[0], representation) + columns[0])
        return chosen

    def compared(self, spectrum: np.ndarray) -> np.ndarray:
        """What frames (frames, bins) are compared by, in float64: here scaled to length 1; silent frames stay 0."""
        spectrum = spectrum.astype(np.float64)
        length = np.sqrt(np.einsum("tf,tf->t", spectrum, spectrum))
        return spectrum / np.where(length > 0, length, 1)[:, None]

    def likeness(self, frames: np.ndarray, others: np.ndarray) -> np.ndarray:
        """How alike `frames` are to `others`, (frames, others): here the cosine."""
        return frames @ others.T

    @abstractmethod
    def nearest(self, values: np.ndarray, own: int, representation: Representation) -> np.ndarray:
        """Indices of the frames that are similar to frame `own`, by their likeness; -inf out of reach."""

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
        model = np.stack([median(magnitudes[chosen]) for chosen in similar])
        share = self.share(magnitudes[first:last], model)
        share[:, 1 : cutoff_bin(self._cutoff, ours) + 1] = 0
        length = samples - first * hop
        if last < total:
            length = min(length, (last - 1 - first) * hop)
        vocals = np.zeros_like(mixture, dtype=np.float32)
        vocals[first * hop : first * hop + length] = self.synthesise(mixed * share.transpose(2, 1, 0), ours, length).T
        return vocals

    def analyse(self, audio: np.ndarray, representation: Representation) -> np.ndarray:
        """Spectrogram complex64 (bins, frames) of one channel."""
        return stft(padded(audio, representation), representation)

    def synthesise(self, spectrogram: np.ndarray, representation: Representation, samples: int) -> np.ndarray:
        """Audio float32 (channels, samples) from a spectrogram (channels, bins, frames)."""
        return istft(spectrogram, representation, samples)
