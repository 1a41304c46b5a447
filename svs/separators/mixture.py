"""The floor: a fixed share of the mixture counts as vocals.

SiSEC18's `MIX` gives each of four stems a quarter of the mixture: the vocals are 1/4 of it, the accompaniment 3/4.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from svs.config.schema import Group, Settings, Share
from svs.separators.base import Separator, Stems
from svs.separators.method import Kind, Method


class Options(Group):
    share: Share


class Mixture(Separator):
    name = "mixture"

    def __init__(self, share: float):
        self._share = np.float32(share)

    def alignment(self, rate: int) -> int:
        return 1

    def context(self, rate: int) -> int:
        return 0

    def vocals(
        self, mixture: np.ndarray, rate: int, references: Stems | None = None, wanted: slice | None = None
    ) -> np.ndarray:
        return mixture * self._share


def build(name: str, options: Options, needs: Path, settings: Settings) -> Mixture:
    return Mixture(options.share)


METHODS = {"mixture": Method(Kind.FLOOR, "floor: a fixed share of the mixture", Options, build)}
