"""The ceilings of every method that predicts a mask: the true mask, applied to the mixture."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from svs.config.schema import Group, Representation, Settings
from svs.dsp.masks import ideal_binary_mask, ratio_mask
from svs.separators.base import MaskSeparator, Stems
from svs.separators.method import Kind, Method


class BinaryOptions(Group):
    """Oracle binary mask."""

    channels: Literal["shared", "each"]


class RatioOptions(BinaryOptions):
    """Oracle ratio mask."""

    power: Annotated[float, Field(gt=0, le=4)]


class Oracle(MaskSeparator):
    """Parameters
    ----------
    name : str
    representation : Representation
    mask : callable
        From vocals and accompaniment, complex64 (channels, bins, frames), to the mask.
    channels : {"shared", "each"}
        One mask from the mean of the channels, as the networks are trained on, or one for each channel.
    """

    needs_references = True

    def __init__(self, name: str, representation: Representation, mask: Callable[..., np.ndarray], channels: str):
        super().__init__(representation)
        self.name, self._mask, self._shared = name, mask, channels == "shared"

    def estimate(self, mixture: np.ndarray, references: Stems) -> np.ndarray:
        vocals, accompaniment = references["vocals"], references["accompaniment"]
        if self._shared:
            vocals, accompaniment = (stem.mean(axis=0, keepdims=True) for stem in (vocals, accompaniment))
        return mixture * self._mask(vocals, accompaniment)


def build(name: str, options: Any, needs: Path, settings: Settings) -> Oracle:
    mask = ideal_binary_mask if name == "oracle_ibm" else partial(ratio_mask, power=options.power)
    # The spectrogram is that of the store, on which the networks are trained: they have the same ceiling.
    return Oracle(name, settings.extract.masks, mask, options.channels)


METHODS = {
    "oracle_ibm": Method(Kind.ORACLE, "ceiling: the true binary mask", BinaryOptions, build),
    "oracle_irm": Method(Kind.ORACLE, "ceiling: the true ratio mask", RatioOptions, build),
}
