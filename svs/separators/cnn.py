"""Separation by a trained network that predicts the mask, as both of the dissertation's methods do.

Windows of `width` frames slide over the spectrogram; the centre frame of each
prediction is kept (the seed: overlap of 8 of 9 frames); what overlapping
windows have in common is computed once (`svs.networks.streaming`).  A net that
predicts all its frames may slide by more than one: predictions that overlap are
averaged.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from svs.config.schema import Count, Group, Positive, Representation, Settings
from svs.dsp.stft import magnitude
from svs.errors import ModelError, SettingsError
from svs.networks.archive import averaged, predictions
from svs.runtime.process import log
from svs.separators.base import MaskSeparator

if TYPE_CHECKING:
    import keras

    from svs.networks.streaming import Evaluation

_HPSS_KERNEL = 31  # frames and bins of librosa's median filters


class Options(Group):
    """What a trained network's mask goes through on its way to audio."""

    gate: Annotated[float, Field(ge=0, lt=1)]
    mask: Literal["soft", "hard"]
    channels: Literal["shared", "each"]
    hop: Annotated[int, Field(ge=1)]
    batch_size: Positive
    hpss: bool
    wiener: Count


class CNNSeparator(MaskSeparator):
    """Parameters
    ----------
    name : str
    folder : Path
        The trained model.
    options : Options

    Raises
    ------
    ModelError
        The model is missing or damaged.
    SettingsError
        `hop` is more than the frames that the net predicts.
    """

    uses_all_cores = True

    def __init__(self, name: str, folder: Path, options: Options):
        self.name = name
        self._shared, self._model, card = _load(folder, options.hop)
        spectral = dict(card["representation"])
        self._width, self._label_width = int(spectral.pop("width")), int(card["label_width"])
        self._options = options
        if options.hop > self._label_width:
            raise SettingsError(
                f"separate.{name}.hop: {options.hop} frames, but the net predicts {self._label_width}; "
                f"choose 1 to {self._label_width}"
            )
        context = self._width // 2 + (self._label_width if options.hop > 1 else 0)
        super().__init__(Representation(**spectral), context + (_HPSS_KERNEL if options.hpss else 0), options.hop)
        shape = self._shared.window if self._shared else tuple(self._model.input_shape[1:3])
        if shape != (self.representation.bins, self._width):
            raise ModelError(
                f"{folder}: the net takes {shape}, its card says "
                f"{(self.representation.bins, self._width)}; train it again"
            )

    def estimate(self, mixture: np.ndarray, references: Mapping[str, np.ndarray]) -> np.ndarray:
        heard = mixture.mean(axis=0, keepdims=True) if self._options.channels == "shared" else mixture
        mask = np.stack([self.mask(magnitude(channel, self.representation)) for channel in heard])
        mask = gated(mask, self._options.gate, hard=self._options.mask == "hard")
        filtered = self._options.wiener > 0
        vocals = self._wiener(np.broadcast_to(mask, mixture.shape), mixture) if filtered else mixture * mask
        return self._harmonic(vocals) if self._options.hpss else vocals

    def mask(self, spectrum: np.ndarray) -> np.ndarray:
        """Probability that each bin is vocals.

        Parameters
        ----------
        spectrum : float32 (bins, frames)
            Scaled magnitudes (`svs.dsp.stft.magnitude`).

        Returns
        -------
        float32 (bins, frames)
        """
        if self._shared:
            return self._shared(spectrum, self._options.batch_size)
        (bins, frames), hop, label_width = spectrum.shape, self._options.hop, self._label_width
        # Silence after the end, so that the last window is a hop after the one before it.
        padded = np.pad(spectrum, ((0, 0), (0, -frames % hop)))
        centres = np.arange(hop // 2, padded.shape[1], hop)
        predicted = predictions(self._model, padded, self._width, centres, self._options.batch_size)
        if hop == 1:
            middle, label_width = slice(label_width // 2, label_width // 2 + 1), 1
            predicted = ((chosen, probability[..., middle]) for chosen, probability in predicted)
        return averaged(predicted, (bins, frames), label_width)

    def _wiener(self, mask: np.ndarray, mixture: np.ndarray) -> np.ndarray:
        """Multichannel Wiener filter (Nugraha et al. 2016, in norbert) from the masked magnitudes.

        Its spatial covariances are estimated chunk by chunk, so a chunked
        estimate differs from that of the whole song.
        """
        import norbert

        x = mixture.transpose(2, 1, 0).astype(np.complex128)  # frames, bins, channels; a copy: norbert rescales it
        share = mask.transpose(2, 1, 0)
        level = np.abs(x)
        sources = np.stack([share * level, (1 - share) * level], axis=-1)
        filtered = norbert.wiener(sources, x, iterations=self._options.wiener, use_softmask=True)
        return filtered[..., 0].transpose(2, 1, 0).astype(np.complex64)

    @staticmethod
    def _harmonic(vocals: np.ndarray) -> np.ndarray:
        """The harmonic part (median filtering, Fitzgerald 2010): what percussion leaked is dropped."""
        import librosa

        mask, _ = librosa.decompose.hpss(np.abs(vocals), kernel_size=_HPSS_KERNEL, power=2.0, margin=1.0, mask=True)
        return vocals * mask


def _load(folder: Path, hop: int) -> tuple[Evaluation | None, keras.Model | None, dict]:
    """The net as an evaluation of whole spectrograms, or as the model for windows, and its card."""
    from svs.networks import streaming  # torch takes seconds to import

    try:
        evaluation, card = streaming.load(folder, hop)
        return evaluation, None, card
    except streaming.Unshareable as reason:
        log.debug("%s: window by window (%s)", folder, reason)
    from svs.networks.archive import load  # as Keras does

    return None, *load(folder)


def gated(mask: np.ndarray, gate: float, *, hard: bool = False) -> np.ndarray:
    """Values up to `gate` set to 0; the rest kept (soft) or set to 1 (hard)."""
    kept = mask > gate
    return kept.astype(mask.dtype) if hard else np.where(kept, mask, mask.dtype.type(0))


def build(name: str, options: Options, needs: Path, settings: Settings) -> CNNSeparator:
    return CNNSeparator(name, needs, options)
