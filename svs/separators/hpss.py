"""Vocals by harmonic/percussive median filtering.

FitzGerald, "Harmonic/percussive separation using median filtering", DAFx 2010: a median over time keeps steady
sounds, a median over frequency keeps short ones, and a soft mask compares the two.  FitzGerald & Gainza, "Single
channel vocal separation using median filtering and factorisation techniques", ISAST Transactions on Electronic and
Signal Processing 4(1), 2010: the pitch of a voice varies.  In long windows a voice is smeared over frequency and falls
into the percussive part.  In short windows it is steady and falls into the harmonic part of that.  (Their second pass
uses a constant-Q spectrogram; here it uses short windows.)
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from svs.config.schema import Group, Representation
from svs.dsp.masks import median_mask
from svs.dsp.stft import cutoff_bin, istft, of_window, padded, stft
from svs.separators.base import Separator, Stems, round_up
from svs.separators.method import Kind, Method


class Pass(Group):
    """One pass of median filtering: window in seconds, windows over a sample, frames, bins, exponent, factor."""

    window: Annotated[float, Field(ge=0.005, le=0.6)]
    overlap: Literal[2, 4, 8]
    frames: Annotated[int, Field(ge=3, le=999)]
    bins: Annotated[int, Field(ge=3, le=999)]
    power: Annotated[float, Field(gt=0, le=8)]
    margin: Annotated[float, Field(ge=1)]

    def representation(self, rate: int) -> Representation:
        return of_window(self.window, self.overlap, rate)

    def mask(self, spectrum: np.ndarray, part: Literal["harmonic", "percussive"]) -> np.ndarray:
        return median_mask(spectrum, part, self.frames, self.bins, self.power, self.margin)


class TwoStage(Group):
    long: Pass
    short: Pass


class Options(Group):
    """Harmonic/percussive separation by median filtering: the variant, the cutoff in Hz, and each variant's passes."""

    variant: Literal["two_stage", "harmonic"]
    cutoff: Annotated[float, Field(ge=0)]
    two_stage: TwoStage
    harmonic: Pass


class Hpss(Separator):
    """Two passes of median filtering at the recording's own rate, or the harmonic part of one pass."""

    name = "hpss"

    def __init__(self, options: Options):
        self._cutoff = options.cutoff
        self._passes: list[tuple[Pass, Literal["harmonic", "percussive"]]] = [(options.harmonic, "harmonic")]
        if options.variant == "two_stage":
            self._passes = [(options.two_stage.long, "percussive"), (options.two_stage.short, "harmonic")]

    def alignment(self, rate: int) -> int:
        # Hops are powers of two: the longest is a multiple of the others.
        return max(options.representation(rate).hop_length for options, _ in self._passes)

    def context(self, rate: int) -> int:
        samples = 0
        for options, _ in self._passes:
            ours = options.representation(rate)
            samples += options.frames // 2 * ours.hop_length + 2 * ours.frame_size
        return round_up(samples, self.alignment(rate))

    def vocals(
        self, mixture: np.ndarray, rate: int, references: Stems | None = None, wanted: slice | None = None
    ) -> np.ndarray:
        vocals = np.empty(mixture.shape, dtype=np.float32)
        for channel, audio in enumerate(mixture.T):
            for index, (options, part) in enumerate(self._passes):
                ours = options.representation(rate)
                spectrogram = stft(padded(audio, ours), ours)
                spectrogram *= options.mask(np.abs(spectrogram), part)
                if index == len(self._passes) - 1:
                    spectrogram[: cutoff_bin(self._cutoff, ours) + 1] = 0
                audio = istft(spectrogram, ours, len(audio))
            vocals[:, channel] = audio
        return vocals


ABOUT = "harmonic/percussive median filtering at two resolutions (Fitzgerald & Gainza 2010)"
METHODS = {"hpss": Method(Kind.CLASSICAL, ABOUT, Options, lambda name, options, needs, settings: Hpss(options))}
