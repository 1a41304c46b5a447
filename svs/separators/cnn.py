"""Separation by a trained network that predicts the mask, as both of the dissertation's methods do.

Windows of `width` frames slide over the spectrogram, and the centre frame of each prediction is kept (in the
dissertation windows overlap by 8 of 9 frames).  `svs.networks.streaming` computes what overlapping windows share only
once.  A network that predicts all frames of its window may slide by more than one frame: predictions that overlap are
averaged.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from svs.config.schema import Count, Group, Positive, Representation, Settings
from svs.dsp.masks import median_mask
from svs.dsp.stft import magnitude
from svs.errors import ModelError, SettingsError
from svs.runtime.process import log
from svs.separators.base import MaskSeparator, Semitones, Stems, extended

if TYPE_CHECKING:
    from svs.networks.inference import Net

_HPSS_KERNEL = 31  # frames and bins of the median filters, as librosa has them


class Options(Group):
    """How the mask of a trained network becomes audio."""

    gate: Annotated[float, Field(ge=0, lt=1)]
    mask: Literal["soft", "hard"]
    channels: Literal["shared", "each"]
    hop: Annotated[int, Field(ge=1)]
    batch_size: Positive
    hpss: bool
    wiener: Count
    semitones: Semitones


class CNNSeparator(MaskSeparator):
    """Parameters
    ----------
    name : str
    folder : Path
        The trained model.
    options : Options
    device : str
        As of `svs.networks.inference.Net`.

    Raises
    ------
    ModelError
        The model is missing or damaged.
    SettingsError
        `hop` is more than the frames that the net predicts.
    UnavailableError
        There is no such device.
    """

    uses_all_cores = continued = True

    def __init__(self, name: str, folder: Path, options: Options, device: str = "auto"):
        self.name, self._options = name, options
        self._evaluate, shape, card = _load(folder, options.hop, device)
        self.level = card.get("level")
        width, label_width = int(card["representation"]["width"]), int(card["label_width"])
        if options.hop > label_width:
            raise SettingsError(
                f"separate.{name}.hop: {options.hop} frames, but the net predicts {label_width}; "
                f"choose 1 to {label_width}"
            )
        representation = Representation(**{key: card["representation"][key] for key in Representation.model_fields})
        context = width // 2 + (label_width if options.hop > 1 else 0) + (_HPSS_KERNEL if options.hpss else 0)
        super().__init__(representation, context, options.hop, semitones=options.semitones, bins=representation.bins)
        self._bins = representation.bins
        if shape != (representation.bins, width):
            raise ModelError(
                f"{folder}: the net takes {shape}, its card says {(representation.bins, width)}; train it again"
            )

    def estimate(self, mixture: np.ndarray, references: Stems) -> np.ndarray:
        heard = mixture.mean(axis=0, keepdims=True) if self._options.channels == "shared" else mixture
        mask = np.stack([self.mask(magnitude(channel, self.representation)) for channel in heard])
        mask = gated(mask, self._options.gate, hard=self._options.mask == "hard")
        filtered = self._options.wiener > 0
        vocals = self._wiener(np.broadcast_to(mask, mixture.shape), mixture) if filtered else mixture * mask
        return self._harmonic(vocals) if self._options.hpss else vocals

    def mask(self, spectrum: np.ndarray) -> np.ndarray:
        """Probability that each bin is vocals, from scaled magnitudes; both are float32 (bins, frames)."""
        return extended(self._evaluate(spectrum[: self._bins], self._options.batch_size), len(spectrum))

    def _wiener(self, mask: np.ndarray, mixture: np.ndarray) -> np.ndarray:
        """Multichannel Wiener filter (Nugraha et al. 2016, in norbert) from the masked magnitudes.

        It estimates spatial covariances chunk by chunk, so a chunked estimate differs from that of the whole song.
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
        """The harmonic part (median filtering, Fitzgerald 2010), without bleed from percussion."""
        size = _HPSS_KERNEL
        return vocals * np.stack([median_mask(np.abs(one), "harmonic", size, size, 2.0, 1.0) for one in vocals])


def _load(folder: Path, hop: int, device: str) -> tuple[Callable[[np.ndarray, int], np.ndarray], tuple[int, int], dict]:
    """The network as a function from magnitudes and batch size to the mask; the bins and frames it takes; its card."""
    from svs.networks import inference, streaming  # ONNX Runtime takes a while to import

    model, card = inference.read(folder)
    try:
        evaluation = streaming.Evaluation(model, hop, device)
        return evaluation, evaluation.window, card
    except streaming.Unshareable as reason:
        log.debug("%s: window by window (%s)", folder, reason)
    net, _ = inference.load(folder, device)
    _, bins, width, _ = net.input_shape
    return partial(_window_by_window, net, int(card["label_width"]), hop), (bins, width), card


def _window_by_window(net: Net, label_width: int, hop: int, spectrum: np.ndarray, batch_size: int) -> np.ndarray:
    """The mask (bins, frames) of magnitudes, by a network that `svs.networks.streaming` can't evaluate."""
    from svs.networks.windows import averaged, predictions

    bins, frames = spectrum.shape
    # Silence after the end, so that the last window is a hop after the one before it.
    padded = np.pad(spectrum, ((0, 0), (0, -frames % hop)))
    centres = np.arange(hop // 2, padded.shape[1], hop)
    predicted = predictions(net, padded, net.input_shape[2], centres, batch_size)
    if hop == 1:
        centre, label_width = slice(label_width // 2, label_width // 2 + 1), 1
        predicted = ((chosen, probability[..., centre]) for chosen, probability in predicted)
    return averaged(predicted, (bins, frames), label_width)


def gated(mask: np.ndarray, gate: float, *, hard: bool = False) -> np.ndarray:
    """Set values up to `gate` to 0, and keep the others (soft) or set them to 1 (hard)."""
    kept = mask > gate
    return kept.astype(mask.dtype) if hard else np.where(kept, mask, mask.dtype.type(0))


def build(name: str, options: Options, needs: Path, settings: Settings, device: str = "auto") -> CNNSeparator:
    return CNNSeparator(name, needs, options, device)
