"""Songs in the segments of spleeter's networks, and masks of segments.

The networks see a song in segments of 512 frames (11.9 s) and nothing beyond a segment, so the estimate depends on
where segments begin.  Here they begin where spleeter begins them: every 512 frames of the song.  Chunks begin there
too, and what a segment adds to the estimate does not depend on the chunk in which it is computed.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

import numpy as np

from svs.config.schema import Representation
from svs.dsp.stft import window_sum
from svs.separators.base import MaskSeparator, Separator, Stems, in_pairs

# Spleeter's 2stems.json.
REPRESENTATION = Representation(sample_rate=44100, frame_size=4096, win_length=4096, hop_length=1024)
FRAMES = 512  # that the networks see at a time
BINS = 1024  # that they see, from 0 Hz up
_FRAME, _STEP = REPRESENTATION.frame_size, REPRESENTATION.hop_length
# Frames on either side of a segment, so that the STFT of the segment's audio can be inverted: more than the longest
# frame that `semitones` allows.
_MARGIN = 6
_BEFORE = _MARGIN * _STEP - _FRAME // 2  # samples of the margin that no frame of the segment reaches
HEARD = slice(_BEFORE, _BEFORE + (FRAMES - 1) * _STEP + _FRAME)  # the samples that they reach

Extension = Literal["zeros", "average"]  # the vocals' mask above the networks' bins: 0, or the mean over these
Segment = Callable[[np.ndarray], np.ndarray]  # the vocals of a segment, from its audio
Each = Callable[[Segment, Iterable[np.ndarray]], Iterator[np.ndarray]]


class Segments(Separator):
    """A song in spleeter's segments.

    Parameters
    ----------
    name : str
    segment : callable
        The vocals of one segment, from its audio with a margin; both are float32 (samples, 2).
    level : float, optional
        At which the networks hear every recording.
    each : callable
        As `map`: how several segments are computed.
    """

    uses_all_cores = True
    sample_rate = REPRESENTATION.sample_rate

    def __init__(self, name: str, segment: Segment, level: float | None = None, each: Each = map):
        self.name, self.segment, self.level, self._each = name, segment, level, each
        # The last segment of each pair of channels, with its vocals: the next chunk begins with it.
        self._last: list[tuple[np.ndarray, np.ndarray]] = []

    def alignment(self, rate: int) -> int:
        return FRAMES * _STEP

    def context(self, rate: int) -> int:
        return (FRAMES + _MARGIN) * _STEP

    def vocals(
        self, mixture: np.ndarray, rate: int, references: Stems | None = None, wanted: slice | None = None
    ) -> np.ndarray:
        """As for every method.  A segment begins where `wanted` does: in the song, on a multiple of `alignment`."""
        first, last = (wanted.start, wanted.stop) if wanted else (0, len(mixture))
        known = self._last
        latest: list[tuple[np.ndarray, np.ndarray]] = []

        def answered(audio: np.ndarray) -> np.ndarray:
            old = next((answer for heard, answer in known if np.array_equal(heard, audio)), None)
            return self.segment(audio) if old is None else old

        def estimate(pair: np.ndarray) -> np.ndarray:
            # Frame f of the song, counted from `first`, holds the samples before f x 1024.
            starts = range(first - _FRAME - _BEFORE, last - _BEFORE, FRAMES * _STEP)
            heard = [_cut(pair.T, start, (FRAMES - 1 + 2 * _MARGIN) * _STEP) for start in starts]
            answers = list(self._each(answered, heard))
            latest.append((heard[-1], answers[-1]))
            vocals = np.zeros((last - first, 2), dtype=np.float32)
            for start, answer in zip(starts, answers, strict=True):
                vocals += _cut(answer, first - start, last - first)
            return vocals.T

        vocals = np.zeros_like(mixture, dtype=np.float32)
        vocals[first:last] = in_pairs(estimate, mixture.T).T
        self._last = latest
        return vocals


def _cut(audio: np.ndarray, start: int, samples: int) -> np.ndarray:
    """Samples from `start` on; before the audio and behind it there is silence."""
    piece = np.zeros((samples, 2), dtype=np.float32)
    begin, end = max(0, start), min(len(audio), start + samples)
    if begin < end:
        piece[begin - start : end - start] = audio[begin:end]
    return piece


class SegmentMask(MaskSeparator):
    """The vocals of one segment with its margin, by a mask from the mixture's magnitudes.

    Parameters
    ----------
    name : str
    semitones : sequence of float
        As of `MaskSeparator`.
    extension : Extension
    """

    def __init__(self, name: str, semitones: Sequence[float], extension: Extension):
        self.name = name
        super().__init__(REPRESENTATION, semitones=semitones, bins=BINS)
        self._extension = extension

    @abstractmethod
    def mask(self, magnitude: np.ndarray) -> np.ndarray:
        """The share of the vocals, from magnitudes as spleeter has them; both are float32 (2, bins, frames)."""

    def estimate(self, mixture: np.ndarray, references: Stems) -> np.ndarray:
        frames = slice(_MARGIN, _MARGIN + FRAMES)
        vocals = np.zeros_like(mixture)
        vocals[..., frames] = self.masked(mixture[..., frames])
        return vocals

    def masked(self, segment: np.ndarray) -> np.ndarray:
        """The vocals of the frames of a segment, both complex64 (2, bins, frames)."""
        vocals = np.zeros_like(segment)
        scale = np.float32(window_sum(REPRESENTATION) / window_sum(self.representation))
        mask = self.mask(np.abs(segment[:, :BINS]) * scale)
        vocals[:, :BINS] = segment[:, :BINS] * mask
        if self._extension == "average":
            vocals[:, BINS:] = segment[:, BINS:] * mask.mean(axis=1, keepdims=True)
        return vocals
