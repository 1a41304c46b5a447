"""The accompaniment is the median over the nearest neighbours of each frame.

FitzGerald, "Vocal separation using nearest neighbours and median filtering", Irish Signals and Systems Conference 2012.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from svs.config.schema import Group, Positive, Representation
from svs.separators.method import Kind, Method
from svs.separators.repetition import RepetitionSeparator


class Options(Group):
    """Nearest neighbours and median filtering."""

    reach: Annotated[float, Field(ge=1, le=600)]
    window: Annotated[float, Field(ge=0.005, le=0.3)]
    overlap: Literal[2, 4, 8]
    neighbours: Positive
    tolerance: Annotated[float, Field(gt=0)]
    cutoff: Annotated[float, Field(ge=0)]


class KnnMedian(RepetitionSeparator):
    """Nearest neighbours by squared Euclidean distance between magnitude frames.

    The neighbours of a frame are the k frames nearest to it, itself included, and W is their median.  The background's
    mask is a Gaussian radial basis function of the log magnitudes, exp(-(log V - log W)^2 / (2 tolerance^2)), and the
    vocals' mask is its complement.  A bin whose model exceeds the mixture belongs to the background.
    """

    name = "knn_median"

    def compared(self, spectrum: np.ndarray) -> np.ndarray:
        return spectrum.astype(np.float64)

    def likeness(self, frames: np.ndarray, others: np.ndarray) -> np.ndarray:
        energy, energies = (np.einsum("tf,tf->t", each, each) for each in (frames, others))
        return 2 * (frames @ others.T) - (energy[:, None] + energies)

    def nearest(self, values: np.ndarray, own: int, representation: Representation) -> np.ndarray:
        values[own] = np.inf
        within = int(np.count_nonzero(values > -np.inf))
        return np.argsort(-values, kind="stable")[: min(self._options.neighbours, within)]

    def share(self, mixture: np.ndarray, model: np.ndarray) -> np.ndarray:
        tiny = np.finfo(np.float32).tiny
        above = np.log(np.maximum(mixture, tiny)) - np.log(np.maximum(model, tiny))
        return -np.expm1(-0.5 * (np.maximum(above, 0) / np.float32(self._options.tolerance)) ** 2)


METHODS = {
    "knn_median": Method(
        Kind.CLASSICAL,
        "nearest neighbours and median filtering (Fitzgerald 2012)",
        Options,
        lambda name, options, needs, settings: KnnMedian(options, options.reach, options.cutoff),
    )
}
