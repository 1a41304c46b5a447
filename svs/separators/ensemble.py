"""The mean of the estimates of several methods."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from svs.separators.base import Separator, Stems


class Ensemble(Separator):
    """Methods that hear a song one by one, each at its own sample rate and level (`svs.separators.chunking.chunks`).

    Parameters
    ----------
    name : str
    members : sequence of Separator
        Their estimates count alike.
    """

    def __init__(self, name: str, members: Sequence[Separator]):
        self.name, self.members = name, tuple(members)
        self.needs_references = any(member.needs_references for member in members)
        self.uses_all_cores = any(member.uses_all_cores for member in members)

    def vocals(
        self, mixture: np.ndarray, rate: int, references: Stems | None = None, wanted: slice | None = None
    ) -> np.ndarray:
        raise NotImplementedError("a song goes through `svs.separators.chunking.chunks`, member by member")
