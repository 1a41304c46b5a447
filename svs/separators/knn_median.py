"""The accompaniment is the median over the nearest neighbours of each frame.

FitzGerald, "Vocal separation using nearest neighbours and median filtering", Irish Signals and Systems Conference 2012.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from svs.config.schema import Group, Positive, Representation, Settings
from svs.dsp.stft import of_window
from svs.separators.method import Kind, Method
from svs.separators.repetition import RepetitionSeparator, windows


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

    def __init__(self, options: Options):
        super().__init__(options.reach, options.cutoff)
        self._options = options

    def representation(self, rate: int) -> Representation:
        return of_window(self._options.window, self._options.overlap, rate)

    def similar(
        self, spectrum: np.ndarray, first: int, last: int, reach: int, representation: Representation
    ) -> list[np.ndarray]:
        frames = spectrum.astype(np.float64)
        energy = np.einsum("tf,tf->t", frames, frames)
        chosen = []
        for rows, columns, near in windows(first, last, reach, len(frames)):
            distance = energy[rows, None] + energy[columns] - 2 * (frames[rows] @ frames[columns].T)
            distance[~near] = np.inf
            distance[np.arange(len(rows)), rows - columns.start] = -np.inf
            number = np.minimum(self._options.neighbours, near.sum(axis=1))
            order = np.argsort(distance, axis=1, kind="stable")
            chosen += [columns.start + line[:count] for line, count in zip(order, number, strict=True)]
        return chosen

    def share(self, mixture: np.ndarray, model: np.ndarray) -> np.ndarray:
        tiny = np.finfo(np.float32).tiny
        above = np.log(np.maximum(mixture, tiny)) - np.log(np.maximum(model, tiny))
        return -np.expm1(-0.5 * (np.maximum(above, 0) / np.float32(self._options.tolerance)) ** 2)


def build(name: str, options: Options, needs: Path, settings: Settings) -> KnnMedian:
    return KnnMedian(options)


ABOUT = "nearest neighbours and median filtering (Fitzgerald 2012)"
METHODS = {"knn_median": Method(Kind.CLASSICAL, ABOUT, Options, build)}
