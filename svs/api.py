"""Separate recordings in memory: `svs.load` builds a method once, `svs.separate` is the shortest way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from pathlib import Path
from threading import Lock

import numpy as np

from svs import separators
from svs.audio.sources import ArraySource
from svs.config.project import find_project
from svs.config.quality import DEFAULT, parameters
from svs.errors import DataError
from svs.separators.base import Separator
from svs.separators.chunking import chunks
from svs.stems import TARGETS


class ArraySeparator:
    """A separation method that is ready for arrays (`load`).

    It is a context manager: at the end of the block its memory and its processes are released.  Several threads may
    share it; they separate one after another.

    Attributes
    ----------
    method : str
        Its name.
    """

    def __init__(self, separator: Separator, chunk: float):
        self.method = separator.name
        self._separator: Separator | None = separator
        self._chunk, self._turn = chunk, Lock()  # a separator has a state

    def separate(
        self,
        audio: np.ndarray,
        rate: int,
        *,
        references: Mapping[str, np.ndarray] | None = None,
        progress: Callable[[float], None] = lambda share: None,
    ) -> dict[str, np.ndarray]:
        """Vocals and accompaniment of a recording in memory.

        Parameters
        ----------
        audio : float (samples,) or (samples, channels)
            Full scale 1.0.
        rate : int
            Hz, 1,000 to 768,000.
        references : mapping of str to float array, optional
            The true `vocals` and `accompaniment` of the same shape, for oracles.
        progress : callable, optional
            Called with the share that is done, up to 1.0.

        Returns
        -------
        dict of str to float32 array
            `vocals` and `accompaniment`, of the shape of `audio`; their sum is the
            audio.

        Raises
        ------
        DataError
            The audio is empty, not real, not finite, or of an impossible shape or rate.
        ValueError
            The separator is closed.
        """
        given = np.asarray(audio)
        source = ArraySource(_checked(given, "audio"), _checked_rate(rate))
        true = {
            name: ArraySource(_checked(np.asarray(array), name), rate) for name, array in (references or {}).items()
        }
        if true and set(true) != set(TARGETS):
            raise DataError(f"references: expected {' and '.join(TARGETS)}, got {', '.join(true)}")
        for name, reference in true.items():
            if (reference.samples, reference.channels) != (source.samples, source.channels):
                raise DataError(f"reference {name}: expected the shape of the audio, {given.shape}")
        vocals, done = np.empty((source.samples, source.channels), dtype=np.float32), 0
        with self._turn:
            if self._separator is None:
                raise ValueError("the separator is closed; load the method again")
            for _, piece in chunks(self._separator, source, self._chunk, true or None):
                vocals[done : done + len(piece)] = piece
                done += len(piece)
                progress(done / source.samples)
        estimate = vocals.reshape(given.shape)
        return {"vocals": estimate, "accompaniment": given.astype(np.float32) - estimate}

    def close(self) -> None:
        """Release the method's memory and processes; further calls do nothing."""
        with self._turn:
            self._separator = None

    def __enter__(self) -> ArraySeparator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def load(
    method: str | None = None,
    *,
    quality: str = DEFAULT,
    device: str = "auto",
    project: Path | None = None,
    overrides: Sequence[str] = (),
) -> ArraySeparator:
    """Build a separation method, for any number of recordings.

    Parameters
    ----------
    method : str, optional
        A name in `svs.separators.methods`, or several joined by `+` for the mean of their estimates; the default is
        the best one whose weights are available or can be downloaded (`svs.separators.default`).
    quality : str
        A name in `svs.config.quality.QUALITIES`: what the method trades for speed.
    device : str
        What trained networks run on: `auto`, or one of `svs.networks.inference.devices()`.
    project : Path, optional
        The folder of `params.yaml` and `models/` (see `svs.config.project.find_project`).
    overrides : sequence of str
        `KEY=VALUE` laid over the parameters.

    Raises
    ------
    SettingsError, ModelError, UnavailableError
        The method is unknown, or what it needs is not there.

    Examples
    --------
    >>> with svs.load("spleeter") as separator:
    ...     parts = separator.separate(audio, 44100)
    """
    found = find_project(project, [*parameters(quality), *overrides])
    name = method or separators.default(found.settings, found.home, fetch=True)
    separator = separators.build(name, found.settings, found.home, device=device)
    return ArraySeparator(separator, found.settings.separate.common.chunk)


def separate(
    audio: np.ndarray,
    rate: int,
    method: str | None = None,
    *,
    references: Mapping[str, np.ndarray] | None = None,
    project: Path | None = None,
    overrides: Sequence[str] = (),
) -> dict[str, np.ndarray]:
    """Vocals and accompaniment of one recording in memory.

    It builds the method for this call alone: for several recordings use `load`.  Parameters, result and errors: as of
    `load` and `ArraySeparator.separate`.
    """
    with load(method, project=project, overrides=overrides) as separator:
        return separator.separate(audio, rate, references=references)


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
