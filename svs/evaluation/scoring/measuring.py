"""The figures of one track by the rulers of `svs.evaluation.rulers`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from svs.errors import DataError
from svs.evaluation import ratios
from svs.evaluation.rulers import COLUMNS
from svs.evaluation.scoring import bsseval_v3, log_wmse, spectra


class Heard(NamedTuple):
    """The passage of a track that is scored."""

    references: np.ndarray  # float32 (targets, samples, channels)
    estimates: np.ndarray
    rate: int  # Hz
    frames: tuple[float, float] = (30.0, 15.0)  # of BSS Eval v3: window and hop in s


def measure(heard: Heard, names: Sequence[str]) -> list[dict[str, float]]:
    """The figures of each target by some rulers (keys of `COLUMNS`): by column, NaN where one is not defined.

    Raises
    ------
    DataError
        References and estimates have different shapes, or a sample is not finite.
    """
    if heard.references.shape != heard.estimates.shape:
        raise DataError(
            f"references have the shape {heard.references.shape}, estimates {heard.estimates.shape}; "
            "separate and score the same track"
        )
    if not all(np.isfinite(audio).all() for audio in heard[:2]):
        raise DataError("references or estimates hold a sample that is not finite; repair the audio")
    found: list[dict[str, float]] = [{} for _ in heard.references]
    for name in names:
        for column, figures in zip(COLUMNS[name], _MEASURED[name](heard), strict=True):
            for target, figure in zip(found, figures, strict=True):
                target[column] = float(figure)
    return found


def _each(measured: Callable[[np.ndarray, np.ndarray], float]) -> Callable[[Heard], list[list[float]]]:
    """A ruler of one figure that looks at one target at a time."""
    return lambda heard: [[measured(*pair) for pair in zip(heard.references, heard.estimates, strict=True)]]


def _log_wmse(heard: Heard) -> list[np.ndarray]:
    return [log_wmse.log_wmse(heard.references.sum(axis=0), heard.references, heard.estimates, heard.rate)]


def _bsseval_v3(heard: Heard) -> list[np.ndarray]:
    """SDR, SIR, SAR, NSDR of the whole passage in mono, and its length in s."""
    scores = bsseval_v3.evaluate(*_mono(heard))
    return [
        *(values[:, 0] for values in scores),
        np.full(len(heard.references), heard.references.shape[1] / heard.rate),
    ]


def _bsseval_v3_frames(heard: Heard) -> list[np.ndarray]:
    """Medians over frames of SDR, SIR and SAR in mono."""
    scores = bsseval_v3.evaluate(*_mono(heard), *(round(length * heard.rate) for length in heard.frames))
    return [_median(values) for values in scores[:3]]


def _mono(heard: Heard) -> tuple[np.ndarray, np.ndarray]:
    return heard.references.mean(axis=2, dtype=np.float64), heard.estimates.mean(axis=2, dtype=np.float64)


def _median(values: np.ndarray) -> np.ndarray:
    """Of the frames that are finite: (targets,)."""
    return np.array([np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else np.nan for row in values])


_MEASURED: dict[str, Callable[[Heard], list]] = {
    "uSDR": _each(ratios.usdr),
    "SI_SDR": _each(ratios.si_sdr),
    "log_WMSE": _log_wmse,
    "MR_STFT": _each(spectra.mr_stft),
    "bsseval_v3": _bsseval_v3,
    "bsseval_v3_frames": _bsseval_v3_frames,
}
