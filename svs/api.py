"""Separate a recording in memory: `svs.separate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from numbers import Real
from pathlib import Path

import numpy as np

from svs import separators
from svs.audio.sources import ArraySource
from svs.config.project import Project, find_project
from svs.errors import DataError
from svs.separators.base import Separator
from svs.separators.chunking import chunks


def separate(
    audio: np.ndarray,
    rate: int,
    method: str | None = None,
    *,
    references: Mapping[str, np.ndarray] | None = None,
    project: Path | None = None,
    overrides: Sequence[str] = (),
) -> dict[str, np.ndarray]:
    """Vocals and accompaniment of a recording in memory.

    Parameters
    ----------
    audio : float (samples,) or (samples, channels)
        Full scale 1.0.
    rate : int
        Hz, 1,000 to 768,000.
    method : str, optional
        A name in `svs.separators.methods`; the default is the best one whose weights are at hand
        or can be downloaded (`svs.separators.default`).
    references : mapping of str to float array, optional
        The true `vocals` and `accompaniment` of the same shape, for oracles.
    project : Path, optional
        The folder of `params.yaml` and `models/` (see `svs.config.project.find_project`).
    overrides : sequence of str
        `KEY=VALUE` laid over the parameters.

    Returns
    -------
    dict of str to float32 array
        `vocals` and `accompaniment`, of the shape of `audio`; their sum is the
        audio.

    Raises
    ------
    DataError
        The audio is empty, not real, not finite, or of an impossible shape or rate.
    SettingsError, ModelError, UnavailableError
        The method is unknown, or what it needs is not there.
    """
    given = np.asarray(audio)
    source = ArraySource(_checked(given, "audio"), _checked_rate(rate))
    true = {name: ArraySource(_checked(np.asarray(array), name), rate) for name, array in (references or {}).items()}
    for name, reference in true.items():
        if (reference.samples, reference.channels) != (source.samples, source.channels):
            raise DataError(f"reference {name}: expected the shape of the audio, {given.shape}")
    found = _project(project, tuple(overrides))
    separator = _built(method or separators.default(found.settings, found.home, fetch=True), project, tuple(overrides))
    chunk = found.settings.separate.common.chunk
    vocals = np.concatenate([piece for _, piece in chunks(separator, source, chunk, true or None)])
    vocals = vocals.reshape(given.shape)
    return {"vocals": vocals, "accompaniment": given.astype(np.float32) - vocals}


@lru_cache(maxsize=4)
def _built(method: str, project: Path | None, overrides: tuple[str, ...]) -> Separator:
    found = _project(project, overrides)
    return separators.build(method, found.settings, found.home)


@lru_cache(maxsize=4)
def _project(project: Path | None, overrides: tuple[str, ...]) -> Project:
    return find_project(project, overrides)


def _checked(audio: np.ndarray, name: str) -> np.ndarray:
    if audio.ndim not in (1, 2) or not np.issubdtype(audio.dtype, np.floating):
        raise DataError(
            f"{name}: expected float samples of shape (samples,) or (samples, channels), got "
            f"{audio.dtype} of shape {audio.shape}"
        )
    if audio.size == 0:
        raise DataError(f"{name}: it holds no samples")
    if audio.ndim == 2 and audio.shape[1] > audio.shape[0] and audio.shape[1] > 16:
        raise DataError(
            f"{name}: {audio.shape[1]} channels of {audio.shape[0]} samples; expected (samples, channels), transpose it"
        )
    with np.errstate(over="ignore"):
        audio = audio.astype(np.float32, copy=False)
    if not np.all(np.isfinite(audio)):
        raise DataError(f"{name}: holds NaN or infinite samples, or such that 32 bits can't hold")
    return audio


def _checked_rate(rate: int) -> int:
    if not isinstance(rate, Real) or isinstance(rate, bool) or not (1000 <= rate <= 768000 and int(rate) == rate):
        raise DataError(f"rate: expected a whole number of Hz from 1,000 to 768,000, got {rate!r}")
    return int(rate)
