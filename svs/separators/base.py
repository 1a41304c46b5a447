"""The interface of every separation method, and what the ones that mask a spectrogram share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import gcd, lcm

import numpy as np

from svs.audio.convert import resample
from svs.config.schema import Representation
from svs.dsp.stft import istft, stft
from svs.runtime.parallel import cores

_LONGEST_STEP = 8.0  # s; 8 kHz and 44.1 kHz meet every 5.12 s


class Separator(ABC):
    """A method that estimates the vocals of a mixture.

    The accompaniment is always the mixture less the vocals, so the two sum to
    the mixture.  `svs.separators.chunking` hands a song over in chunks: they begin on
    multiples of `alignment` and have `context` samples more on either side,
    which are thrown away.
    """

    name: str
    needs_references = False  # True for oracles: they are given the true stems
    uses_all_cores = False  # True where one process keeps a machine busy: tracks follow one another there

    @abstractmethod
    def alignment(self, rate: int) -> int:
        """Samples on whose multiples a chunk may begin."""

    @abstractmethod
    def context(self, rate: int) -> int:
        """Samples of context on either side that make a chunk's estimate that of the whole song."""

    @abstractmethod
    def vocals(
        self,
        mixture: np.ndarray,
        rate: int,
        references: Mapping[str, np.ndarray] | None = None,
        wanted: slice | None = None,
    ) -> np.ndarray:
        """Estimate the vocals.

        Parameters
        ----------
        mixture : float32 (samples, channels)
        rate : int
            Hz.
        references : mapping of str to float32 (samples, channels), optional
            The true `vocals` and `accompaniment`, for oracles.
        wanted : slice of samples, optional
            Where the estimate is wanted (all of it, when not given).  The rest
            is context: there a method may save itself the work and return
            anything finite.

        Returns
        -------
        float32 (samples, channels)
        """


class Mean(Separator):
    """The mean of what several separators estimate, one after the other (their name is the first's)."""

    def __init__(self, parts: Sequence[Separator]):
        self._parts = tuple(parts)
        self.name = parts[0].name
        self.needs_references = any(part.needs_references for part in parts)
        self.uses_all_cores = any(part.uses_all_cores for part in parts)

    def alignment(self, rate: int) -> int:
        return lcm(*(part.alignment(rate) for part in self._parts))

    def context(self, rate: int) -> int:
        align = self.alignment(rate)
        return -(-max(part.context(rate) for part in self._parts) // align) * align

    def vocals(
        self,
        mixture: np.ndarray,
        rate: int,
        references: Mapping[str, np.ndarray] | None = None,
        wanted: slice | None = None,
    ) -> np.ndarray:
        total = np.zeros_like(mixture)
        for part in self._parts:
            total += part.vocals(mixture, rate, references, wanted)
        return total / np.float32(len(self._parts))


class MaskSeparator(Separator):
    """A method that multiplies the mixture's spectrogram by a mask.

    It works at the representation's sample rate.  Where the recording has a
    higher one, it is resampled, and everything above the representation's
    highest frequency stays in the accompaniment.

    Parameters
    ----------
    representation : Representation
    frames_of_context : int
        Frames on either side that the mask of a frame depends on.
    frame_alignment : int
        Frames on whose multiples a chunk must begin.
    """

    def __init__(self, representation: Representation, frames_of_context: int = 0, frame_alignment: int = 1):
        self.representation = representation
        self._frames_of_context = frames_of_context
        self._frame_alignment = frame_alignment

    def alignment(self, rate: int) -> int:
        ours = self.representation
        step = ours.hop_length * self._frame_alignment
        # As many steps as it takes to fall on a whole sample at the recording's rate.
        steps = ours.sample_rate // gcd(ours.sample_rate, step * rate)
        exact = steps * step * rate // ours.sample_rate
        # Where that is minutes (two rates without a common factor): the nearest sample.
        return exact if exact <= _LONGEST_STEP * rate else round(step * rate / ours.sample_rate)

    def context(self, rate: int) -> int:
        ours = self.representation
        frames = self._frames_of_context + -(-ours.frame_size // ours.hop_length)
        samples = -(-frames * ours.hop_length * rate // ours.sample_rate)
        if rate != ours.sample_rate:
            samples += rate // 20  # 50 ms: the resampling filter has died away
        align = self.alignment(rate)
        return -(-samples // align) * align

    def vocals(
        self,
        mixture: np.ndarray,
        rate: int,
        references: Mapping[str, np.ndarray] | None = None,
        wanted: slice | None = None,
    ) -> np.ndarray:
        ours = self.representation

        def spectrogram(audio: np.ndarray) -> np.ndarray:
            return self._by_channel(lambda channel: stft(channel, ours), resample(audio, rate, ours.sample_rate).T)

        mixed = spectrogram(mixture)
        known = {name: spectrogram(audio) for name, audio in (references or {}).items()}
        estimate = self.estimate(mixed, known)
        samples = len(mixture) if rate == ours.sample_rate else -(-len(mixture) * ours.sample_rate // rate)
        audio = self._by_channel(lambda channel: istft(channel, ours, samples), estimate)
        audio = resample(np.ascontiguousarray(audio.T), ours.sample_rate, rate)
        return _fit(audio, len(mixture))

    def _by_channel(self, function: Callable[[np.ndarray], np.ndarray], channels: np.ndarray) -> np.ndarray:
        """`function` of each channel: side by side, where the method has all cores to itself."""
        workers = min(cores(), len(channels)) if self.uses_all_cores else 1
        if workers == 1:
            return np.stack([function(channel) for channel in channels])
        with ThreadPoolExecutor(workers, "channel") as pool:
            return np.stack(list(pool.map(function, channels)))

    @abstractmethod
    def estimate(self, mixture: np.ndarray, references: Mapping[str, np.ndarray]) -> np.ndarray:
        """Vocals' spectrogram from the mixture's, both complex64 (channels, bins, frames)."""


def _fit(audio: np.ndarray, samples: int) -> np.ndarray:
    """Cut or zero-pad to `samples`: resampling there and back may differ by one."""
    if len(audio) >= samples:
        return audio[:samples]
    return np.pad(audio, ((0, samples - len(audio)), (0, 0)))


def in_pairs(function: Callable[[np.ndarray], np.ndarray], mixture: np.ndarray) -> np.ndarray:
    """Apply a function of stereo audio to pairs of channels.

    Of an odd number of channels the last is doubled, and the mean of its two
    estimates taken.

    Parameters
    ----------
    function : callable
        From float32 (samples, 2) to float32 (samples, 2).
    mixture : float32 (samples, channels)

    Returns
    -------
    float32 (samples, channels)
    """
    estimates = []
    for first in range(0, mixture.shape[1], 2):
        pair = mixture[:, first : first + 2]
        if pair.shape[1] == 2:
            estimates.append(function(pair))
        else:
            estimates.append(function(np.repeat(pair, 2, axis=1)).mean(axis=1, keepdims=True, dtype=np.float32))
    return np.concatenate(estimates, axis=1)
