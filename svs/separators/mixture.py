"""The floor: a fixed share of the mixture counts as vocals.

SiSEC18's `MIX` gives each of four stems a quarter of the mixture: the vocals are 1/4 of it, the accompaniment 3/4.
"""

from __future__ import annotations

import numpy as np

from svs.config.schema import Group, Share
from svs.separators.base import Separator, Stems
from svs.separators.method import Kind, Method


class Options(Group):
    share: Share


class Mixture(Separator):
    name = "mixture"

    def __init__(self, share: float):
        self._share = np.float32(share)

    def vocals(
        self, mixture: np.ndarray, rate: int, references: Stems | None = None, wanted: slice | None = None
    ) -> np.ndarray:
        return mixture * self._share


ABOUT = "floor: a fixed share of the mixture"
METHODS = {"mixture": Method(Kind.FLOOR, ABOUT, Options, lambda name, options, needs, settings: Mixture(options.share))}
