"""The stereo mask predicted by `svs.networks.unet_separator`, trained by this repository."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.special import expit

from svs.config.schema import Group, Representation, Settings
from svs.dsp.stft import log_magnitude, magnitude
from svs.errors import ModelError
from svs.separators.base import MaskSeparator, Semitones, Stems, extended, in_pairs, round_up

_PIECE = 512  # frames per prediction, without their context


class Options(Group):
    """Pitch shifts in semitones for test-time augmentation; the estimates are averaged."""

    semitones: Semitones


class UNetSeparator(MaskSeparator):
    """Parameters
    ----------
    name : str
    folder : Path
        The trained model.
    semitones : sequence of float
        By which the net gets every song shifted up (`svs.dsp.stft.tuned`), one after another.
    device : str
        As of `svs.networks.inference.Net`.

    Raises
    ------
    ModelError
        The model is missing, damaged, or another kind of network.
    SettingsError
        Shifted frames have fewer bins than the net takes, or are too short for its hop.
    UnavailableError
        There is no such device.
    """

    uses_all_cores = continued = True

    def __init__(self, name: str, folder: Path, semitones: Sequence[float] = (0.0,), device: str = "auto"):
        self.name = name
        from svs.networks.inference import load

        self._net, card = load(folder, device)
        self.level = card.get("level")
        try:
            representation = Representation(**card["representation"])
            self._bins, self._multiple, context = (int(card[key]) for key in ("bins", "frames_multiple", "context"))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{folder}: expected the card of a U-Net ({error}); train it again") from None
        self._reach = round_up(context, self._multiple)
        # A chunk begins where pooling begins in the whole song.
        super().__init__(representation, context, self._multiple, semitones=semitones, bins=self._bins)

    def estimate(self, mixture: np.ndarray, references: Stems) -> np.ndarray:
        return in_pairs(lambda stereo: self.mask(magnitude(stereo, self.representation)) * stereo, mixture)

    def mask(self, spectrum: np.ndarray) -> np.ndarray:
        """Share of each bin that is vocals, from scaled magnitudes; both are float32 (2, bins, frames)."""
        frames = spectrum.shape[2]
        more = -frames % self._multiple
        heard = log_magnitude(np.pad(spectrum[:, : self._bins], ((0, 0), (0, 0), (0, more))).transpose(2, 1, 0))
        length = round_up(_PIECE, self._multiple)

        def piece(first: int) -> np.ndarray:
            begin = max(0, first - self._reach)
            logits = self._net(heard[None, begin : first + length + self._reach])[0, first - begin :][:length]
            # The mean over the masks of the ensemble.
            return expit(logits).reshape(*logits.shape[:2], -1, 2).mean(axis=2)

        predicted = np.concatenate(list(self._net.each(piece, range(0, len(heard), length))))
        predicted = predicted[:frames].transpose(2, 1, 0)
        return extended(predicted, spectrum.shape[1])


def build(name: str, options: Options, needs: Path, settings: Settings, device: str = "auto") -> UNetSeparator:
    return UNetSeparator(name, needs, options.semitones, device)
