"""The interface of every separation method, and what those that mask a spectrogram share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Annotated

import numpy as np
from pydantic import Field, ValidationError

from svs.config.schema import Representation
from svs.dsp.stft import istft, stft, tuned
from svs.errors import SettingsError

Stems = Mapping[str, np.ndarray]  # audio or spectrograms by the name of the stem
# Pitch shifts for test-time augmentation.
Semitones = Annotated[tuple[Annotated[float, Field(ge=-6, le=6)], ...], Field(min_length=1)]
# The level (`svs.audio.level`) at which a pretrained network hears every recording; None: that of the recording.
Level = Annotated[float, Field(gt=0, le=1)] | None
_TOP = 8  # highest bins that a network masks: their mean is the mask of all bins above


def round_up(samples: int, step: int) -> int:
    """The lowest multiple of `step` that is not below `samples`."""
    return -(-samples // step) * step


class Separator(ABC):
    """A method that estimates the vocals of a mixture.

    The accompaniment is always the mixture less the vocals, so the two sum to the mixture.
    `svs.separators.chunking` passes a song in chunks, at the method's own sample rate and level.  A chunk begins on a
    multiple of `alignment` and has `context` samples more on either side, whose estimate is thrown away.
    """

    name: str
    needs_references = False  # True for oracles: they get the true stems
    uses_all_cores = False  # True if one process keeps all cores busy: tracks are then separated one after another
    sample_rate: int | None = None  # Hz of what the method gets; None: any, so that of the recording
    level: float | None = None  # `svs.audio.level.level` of what the method gets; None: that of the recording
    # True: a chunk has all of its context at either end of a song too, where `svs.dsp.continuation` continues the song.
    # False: at the ends it has none.
    continued = False

    def alignment(self, rate: int) -> int:
        """Samples at the method's rate on whose multiples a chunk may begin."""
        return 1

    def context(self, rate: int) -> int:
        """Samples on either side that a chunk needs, so that its estimate is that of the whole song."""
        return 0

    @abstractmethod
    def vocals(
        self, mixture: np.ndarray, rate: int, references: Stems | None = None, wanted: slice | None = None
    ) -> np.ndarray:
        """Estimate the vocals.

        Parameters
        ----------
        mixture : float32 (samples, channels)
        rate : int
            Hz: `sample_rate`, where the method has one.
        references : mapping of str to float32 (samples, channels), optional
            The true `vocals` and `accompaniment`, for oracles.
        wanted : slice of samples, optional
            Where the estimate is used; by default everywhere.  The rest is context: there a method may return any
            finite values to save time.

        Returns
        -------
        float32 (samples, channels)
        """


class MaskSeparator(Separator):
    """A method that multiplies the mixture's spectrogram by a mask, at the sample rate of its representation.

    Everything above the representation's highest frequency stays in the accompaniment.

    Parameters
    ----------
    representation : Representation
    frames_of_context : int
        Frames on either side on which the mask of a frame depends.
    frame_alignment : int
        Frames on whose multiples a chunk must begin.
    semitones : sequence of float
        By which the method gets every song shifted up (`svs.dsp.stft.tuned`), one after another; the estimates are
        averaged.
    bins : int
        Bins from 0 Hz up that a network needs.

    Raises
    ------
    SettingsError
        Shifted frames have fewer bins than the network needs, or are too short for the hop.
    """

    def __init__(
        self,
        representation: Representation,
        frames_of_context: int = 0,
        frame_alignment: int = 1,
        *,
        semitones: Sequence[float] = (0.0,),
        bins: int = 0,
    ):
        self._pitches = [self._tuned(representation, each, bins) for each in semitones]
        self.representation = max(self._pitches, key=lambda shifted: shifted.frame_size)
        self.sample_rate = representation.sample_rate
        self._frames_of_context, self._frame_alignment = frames_of_context, frame_alignment

    def _tuned(self, representation: Representation, semitones: float, bins: int) -> Representation:
        try:
            shifted = tuned(representation, semitones)
            problem = "" if shifted.bins >= bins else f"it takes {bins} bins, of which {shifted.bins} are left"
        except ValidationError as error:
            problem = error.errors()[0]["msg"].removeprefix("Value error, ")
        if problem:
            raise SettingsError(f"separate.{self.name}.semitones: {semitones:g} does not go with this net: {problem}")
        return shifted

    def alignment(self, rate: int) -> int:
        return self.representation.hop_length * self._frame_alignment

    def context(self, rate: int) -> int:
        ours = self.representation
        frames = self._frames_of_context + -(-ours.frame_size // ours.hop_length)
        return round_up(frames * ours.hop_length, self.alignment(rate))

    def vocals(
        self, mixture: np.ndarray, rate: int, references: Stems | None = None, wanted: slice | None = None
    ) -> np.ndarray:
        total = np.zeros_like(mixture)
        for ours in self._pitches:
            variant = copy(self)
            variant.representation = ours
            known = {name: stft(audio.T, ours) for name, audio in (references or {}).items()}
            total += istft(variant.estimate(stft(mixture.T, ours), known), ours, len(mixture)).T
        return total / np.float32(len(self._pitches))

    @abstractmethod
    def estimate(self, mixture: np.ndarray, references: Stems) -> np.ndarray:
        """Vocals' spectrogram from the mixture's, both complex64 (channels, bins, frames)."""


def extended(mask: np.ndarray, bins: int) -> np.ndarray:
    """A mask (..., bins, frames) of more bins: above those that a network masks, the mean of the highest ones."""
    above = mask[..., -_TOP:, :].mean(axis=-2, keepdims=True)
    return np.concatenate([mask, np.repeat(above, bins - mask.shape[-2], axis=-2)], axis=-2)


def in_pairs(function: Callable[[np.ndarray], np.ndarray], mixture: np.ndarray) -> np.ndarray:
    """Apply a function from (2, ...) to (2, ...) to pairs of channels of audio or a spectrogram (channels, ...).

    If the number of channels is odd, `function` gets the last one twice, and its two estimates are averaged.
    """
    estimates = []
    for first in range(0, len(mixture), 2):
        pair = mixture[first : first + 2]
        estimate = function(np.broadcast_to(pair, (2, *pair.shape[1:])))
        estimates.append(estimate if len(pair) == 2 else estimate.mean(axis=0, keepdims=True))
    return np.concatenate(estimates)
