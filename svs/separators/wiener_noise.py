"""A Wiener filter whose noise is the minimum of each bin's smoothed power over a second or two.

Martin, "Noise power spectral density estimation based on optimal smoothing and minimum statistics", IEEE TSAP 9(5),
2001: between words the power of a bin falls to that of the noise.  Here the smoothing is fixed, the search looks to
both sides, and the bias of the minimum is one factor.  Ephraim & Malah, IEEE TASSP 32(6), 1984: the SNR of a frame is
mostly that of the frame before, after filtering (`memory`), which keeps single bins from ringing.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from scipy.ndimage import gaussian_filter1d, minimum_filter1d

from svs.config.schema import Group, PositiveSeconds, Representation
from svs.dsp.stft import istft, of_window, padded, stft
from svs.separators.base import Separator, Stems
from svs.separators.method import Kind, Method

_TINY = np.float32(1e-20)
_SIGMAS = 4  # at which the smoothing is cut off
_FORGOTTEN = 1e-3  # share of a frame's SNR that is left after the context


class Options(Group):
    """Wiener filter: window, smoothing and search in seconds, windows over a sample, factor, share, gain."""

    window: Annotated[float, Field(ge=0.005, le=0.3)]
    overlap: Literal[2, 4, 8]
    smoothing: PositiveSeconds
    search: PositiveSeconds
    bias: Annotated[float, Field(gt=0)]
    memory: Annotated[float, Field(ge=0, lt=1)]
    floor: Annotated[float, Field(ge=0, le=1)]


class WienerNoise(Separator):
    name = "wiener_noise"

    def __init__(self, options: Options):
        self._options = options

    def _representation(self, rate: int) -> Representation:
        return of_window(self._options.window, self._options.overlap, rate)

    def alignment(self, rate: int) -> int:
        return self._representation(rate).hop_length

    def context(self, rate: int) -> int:
        ours, options = self._representation(rate), self._options
        seconds = options.search / 2 + _SIGMAS * options.smoothing
        memory = np.log(_FORGOTTEN) / np.log(options.memory) if options.memory else 0
        frames = int(np.ceil(seconds * rate / ours.hop_length + memory)) + 2 * options.overlap
        return frames * ours.hop_length

    def vocals(
        self, mixture: np.ndarray, rate: int, references: Stems | None = None, wanted: slice | None = None
    ) -> np.ndarray:
        ours, samples = self._representation(rate), len(mixture)
        spectra = stft(np.stack([padded(channel, ours) for channel in mixture.T]), ours)
        spectra *= np.stack([self.gains(np.abs(spectrum) ** 2, ours) for spectrum in spectra])
        return istft(spectra, ours, samples).T

    def gains(self, power: np.ndarray, representation: Representation) -> np.ndarray:
        """The Wiener filter's gains from powers, both float32 (bins, frames)."""
        options, second = self._options, representation.sample_rate / representation.hop_length
        smooth = gaussian_filter1d(power, options.smoothing * second, axis=1, truncate=_SIGMAS)
        noise = options.bias * minimum_filter1d(smooth, max(1, round(options.search * second)), axis=1)
        posterior = (power / (noise + _TINY)).T
        gains = np.empty_like(posterior)
        before = posterior[0]  # power of the frame before after filtering, over that of its noise
        for frame, ratio in enumerate(posterior):
            prior = options.memory * before + (1 - options.memory) * np.maximum(ratio - 1, 0)
            gains[frame] = np.maximum(prior / (1 + prior), options.floor)
            before = gains[frame] ** 2 * ratio
        return gains.T


ABOUT = "Wiener filter, noise by minimum statistics (Martin 2001)"
METHODS = {
    "wiener_noise": Method(Kind.CLASSICAL, ABOUT, Options, lambda name, options, needs, settings: WienerNoise(options))
}
