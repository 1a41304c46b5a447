"""Spectral gating: bins that do not rise above a threshold of their frequency are noise (package `noisereduce`).

The threshold is one of the whole chunk and its context (`stationary`: mean and standard deviation of the level in dB),
or a multiple of the running mean (`nonstationary`).  See Sainburg, Thielk & Gentner, PLoS Computational Biology 2020.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from svs.config.schema import Group, PositiveSeconds
from svs.dsp.stft import of_window, padded
from svs.runtime.unavailable import package
from svs.separators.base import Separator, Stems, round_up
from svs.separators.method import Kind, Method

_OVERLAP = 4  # windows over each sample


class Options(Group):
    """Spectral gating: the variant, window and context in seconds, standard deviations, factor, share."""

    variant: Literal["stationary", "nonstationary"]
    # noisereduce smooths its mask over 50 ms and 500 Hz: a hop and a bin must fit.
    window: Annotated[float, Field(ge=0.006, le=0.14)]
    context: Annotated[float, Field(ge=0.1, le=60)]
    deviations: Annotated[float, Field(ge=0)]
    factor: Annotated[float, Field(gt=0)]
    mean_over: PositiveSeconds
    reduction: Annotated[float, Field(ge=0, le=1)]


class SpectralGate(Separator):
    name = "spectral_gate"

    def __init__(self, options: Options):
        self._options = options
        self._reduce = package("noisereduce", "voice").reduce_noise

    def alignment(self, rate: int) -> int:
        return of_window(self._options.window, _OVERLAP, rate).hop_length

    def context(self, rate: int) -> int:
        return round_up(round(self._options.context * rate), self.alignment(rate))

    def vocals(
        self, mixture: np.ndarray, rate: int, references: Stems | None = None, wanted: slice | None = None
    ) -> np.ndarray:
        # Each channel by itself: noisereduce divides by the mean of a silent one, and takes the mean over channels for
        # the noise of each.
        return np.stack([self._gated(channel, rate) for channel in mixture.T], axis=1)

    def _gated(self, audio: np.ndarray, rate: int) -> np.ndarray:
        """Speech float32 (samples,) in one channel."""
        options, ours = self._options, of_window(self._options.window, _OVERLAP, rate)
        if not audio.any():
            return np.zeros_like(audio)
        voice = self._reduce(
            y=padded(audio, ours),
            sr=rate,
            stationary=options.variant == "stationary",
            prop_decrease=options.reduction,
            time_constant_s=options.mean_over,
            thresh_n_mult_nonstationary=options.factor,
            n_std_thresh_stationary=options.deviations,
            n_fft=ours.frame_size,
            chunk_size=None,  # `svs.separators.chunking` cuts chunks
        )
        return np.asarray(voice, dtype=np.float32)[: len(audio)]


ABOUT = "spectral gating: what does not rise above a threshold is noise (noisereduce)"
METHODS = {
    "spectral_gate": Method(
        Kind.CLASSICAL,
        ABOUT,
        Options,
        lambda name, options, needs, settings: SpectralGate(options),
        modules=("noisereduce",),
    )
}
