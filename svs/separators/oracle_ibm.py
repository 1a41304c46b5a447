"""The ceiling of everything that predicts a binary mask: the true one, on the mixture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from svs.config.schema import Representation, Settings
from svs.dsp.masks import ideal_binary_mask
from svs.separators.base import MaskSeparator


class OracleIBM(MaskSeparator):
    name = "oracle_ibm"
    needs_references = True

    def __init__(self, representation: Representation, channels: str):
        super().__init__(representation)
        self._shared = channels == "shared"

    def estimate(self, mixture: np.ndarray, references: Mapping[str, np.ndarray]) -> np.ndarray:
        vocals, accompaniment = references["vocals"], references["accompaniment"]
        if self._shared:
            # The mask that the networks are trained on: of the mean of the channels.
            vocals, accompaniment = (stem.mean(axis=0, keepdims=True) for stem in (vocals, accompaniment))
        return mixture * ideal_binary_mask(vocals, accompaniment)


def build(settings: Settings, needs: Path) -> OracleIBM:
    # The ceiling of the networks has their spectrogram: that of the store that they are trained on.
    return OracleIBM(settings.extract.svs, settings.separate.oracle_ibm.channels)
