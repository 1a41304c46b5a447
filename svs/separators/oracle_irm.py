"""The ceiling of everything that predicts a ratio mask: the true one, on the mixture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from svs.config.schema import RatioOptions, Representation, Settings
from svs.dsp.masks import ideal_ratio_mask
from svs.separators.base import MaskSeparator


class OracleIRM(MaskSeparator):
    name = "oracle_irm"
    needs_references = True

    def __init__(self, representation: Representation, options: RatioOptions):
        super().__init__(representation)
        self._options = options

    def estimate(self, mixture: np.ndarray, references: Mapping[str, np.ndarray]) -> np.ndarray:
        vocals, accompaniment = references["vocals"], references["accompaniment"]
        if self._options.channels == "shared":
            vocals, accompaniment = (stem.mean(axis=0, keepdims=True) for stem in (vocals, accompaniment))
        return mixture * ideal_ratio_mask(vocals, accompaniment, self._options.power)


def build(settings: Settings, needs: Path) -> OracleIRM:
    return OracleIRM(settings.extract.svs, settings.separate.oracle_irm)
