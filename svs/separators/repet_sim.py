"""REPET-SIM: the repeating part of a mixture is accompaniment.

Rafii & Pardo, "Music/voice separation using the similarity matrix", ISMIR 2012.  Similar frames are found for each
frame, anywhere in the recording.  Their median, limited to the mixture, models the repeating background.  A soft mask
leaves the rest to the vocals.

There are two variants.  `authors` follows the authors' own code (REPET-Python).  `librosa` follows the vocal separation
example of librosa's gallery, which the dissertation used.  Both compare magnitudes averaged over channels, and model
each channel on its own.  Unlike in the papers, similar frames are searched within a reach, so that long recordings fit
into memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import scipy.ndimage
from pydantic import Field

from svs.config.schema import Group, Positive, PositiveSeconds, Representation, Settings
from svs.dsp.masks import ratio_mask
from svs.dsp.stft import HAMMING, padded, stft
from svs.separators.base import Separator
from svs.separators.method import Kind, Method
from svs.separators.repetition import RepetitionSeparator

_EPSILON = np.finfo(np.float64).eps
_DIGITS = 10  # of a similarity: identical frames tie in whatever order a product is summed


class AuthorsOptions(Group):
    """REPET-SIM by its authors: window and distance in seconds, cosine similarity, frames, Hz."""

    window: Annotated[float, Field(ge=0.005, le=0.3)]
    threshold: Annotated[float, Field(ge=0, le=1)]
    distance: PositiveSeconds
    number: Positive
    cutoff: Annotated[float, Field(ge=0)]


class LibrosaOptions(Group):
    """REPET-SIM in librosa's gallery: window and width in seconds, windows over a sample, exponent, factor."""

    window: Annotated[float, Field(ge=0.005, le=0.3)]
    overlap: Literal[2, 4, 8]
    width: PositiveSeconds
    keep: Literal["earliest", "nearest"]
    power: Annotated[float, Field(gt=0, le=8)]
    margin: Annotated[float, Field(ge=1)]


class Options(Group):
    """REPET-SIM: the variant, the reach in seconds, and the parameters of both variants."""

    variant: Literal["authors", "librosa"]
    reach: Annotated[float, Field(ge=1, le=600)]
    authors: AuthorsOptions
    librosa: LibrosaOptions


def peaks(values: np.ndarray, distance: int) -> np.ndarray:
    """Where one of `values` (n,) is greater than all others up to `distance` places away."""
    around = np.ones(2 * distance + 1, dtype=bool)
    around[distance] = False
    return values > scipy.ndimage.maximum_filter(values, footprint=around, mode="constant", cval=-np.inf)


class RepetSim(RepetitionSeparator):
    """REPET-SIM as its authors implement it.

    Similar frames are strict local maxima of the cosine similarity (section 2.3 of the paper): not below a threshold,
    greater than all others up to a distance away, and at most a given number, the most similar ones.  The frame itself
    is one of them.  With V the mixture's magnitudes and W = min(median, V), the background's mask is
    (W + eps) / (V + eps).

    Notes
    -----
    A frame's similarity to itself is 1, so it is its own maximum.  If another frame nearby is identical, rounding
    decides in the authors' code whether it is one (and a frame without any has no median).  Here it always is.
    """

    name = "repet_sim"

    def representation(self, rate: int) -> Representation:
        size = 2 ** int(np.ceil(np.log2(self._options.window * rate)))
        return Representation(sample_rate=rate, frame_size=size, win_length=size, hop_length=size // 2)

    def nearest(self, values: np.ndarray, own: int, representation: Representation) -> np.ndarray:
        distance = max(1, round(self._options.distance * representation.sample_rate / representation.hop_length))
        values = np.round(values, _DIGITS)
        values[own] = np.inf
        maxima = np.flatnonzero(peaks(values, distance) & (values >= self._options.threshold))
        return maxima[np.argsort(-values[maxima], kind="stable")[: self._options.number]]

    def share(self, mixture: np.ndarray, model: np.ndarray) -> np.ndarray:
        # 1 - (W + eps) / (V + eps), without cancellation of digits.
        return (mixture - np.minimum(model, mixture)) / (mixture + np.float32(_EPSILON))

    def analyse(self, audio: np.ndarray, representation: Representation) -> np.ndarray:
        # As in the authors' code, there is one more frame if the last hop is not full.
        return stft(padded(audio, representation), representation, HAMMING)

    def synthesise(self, spectrogram: np.ndarray, representation: Representation, samples: int) -> np.ndarray:
        """Plain overlap-add: Hamming windows that half overlap sum to a constant, 2 * 0.54."""
        hop = representation.hop_length
        frames = np.fft.irfft(spectrogram.swapaxes(-1, -2), axis=-1).astype(np.float32) / np.float32(1.08)
        audio = (frames[:, :-1, hop:] + frames[:, 1:, :hop]).reshape(len(frames), -1)
        return audio[:, :samples]


class RepetSimLibrosaVariant(RepetitionSeparator):
    """REPET-SIM as in librosa's vocal separation example.

    The model of a frame is the median over its nearest neighbours by cosine distance, at least `width` away.  With V
    the mixture's magnitudes and W = min(median, V), the vocals' mask is (V - W)^p / ((V - W)^p + (margin W)^p).

    Notes
    -----
    The example has a second mask, with another margin, for the background.  Here the accompaniment is the mixture less
    the vocals, as for every method.

    The window is 2048 samples at 22,050 Hz, librosa's rate; at other rates it is the power of two that lasts most
    nearly as long.

    librosa takes k = 2 ceil(sqrt(t - 2 width + 1)) neighbours of the t frames (here those within reach).  From the
    k + 2 width nearest frames it drops those within `width`, and is meant to keep the k nearest.  Its default `mode`
    however loses the distances before that step, and keeps the k earliest (`keep: earliest`); with `mode="distance"`
    it keeps the nearest.  In a recording too short for `width`, the width is the longest that librosa allows.
    """

    name = "repet_sim"

    def nearest(self, values: np.ndarray, own: int, representation: Representation) -> np.ndarray:
        rate, hop = representation.sample_rate, representation.hop_length
        within = int(np.count_nonzero(values > -np.inf))
        width = min(int(self._options.width * rate) // hop, (within - 1) // 2 - 1)
        if width < 1:
            return np.array([own])
        number = 2 * int(np.ceil(np.sqrt(within - 2 * width + 1)))
        values[own] = -np.inf
        found = np.argsort(-values, kind="stable")[: min(within - 1, number + 2 * width)]
        found = found[np.abs(found - own) >= width]
        return (np.sort(found) if self._options.keep == "earliest" else found)[:number]

    def share(self, mixture: np.ndarray, model: np.ndarray) -> np.ndarray:
        model = np.minimum(model, mixture)
        return ratio_mask(mixture - model, self._options.margin * model, self._options.power)


def build(name: str, options: Options, needs: Path, settings: Settings) -> Separator:
    if options.variant == "authors":
        return RepetSim(options.authors, options.reach, options.authors.cutoff)
    return RepetSimLibrosaVariant(options.librosa, options.reach)


ABOUT = "REPET-SIM: what repeats is accompaniment (Rafii & Pardo 2012; or librosa's variant)"
METHODS = {"repet_sim": Method(Kind.CLASSICAL, ABOUT, Options, build)}
