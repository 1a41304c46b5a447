"""Spectrograms, masks and labels of all training tracks in one zarr v3 store: its layout, and reading it.

Layout: `svs/<track>/{mixture, vocals, mask}` of shape (frames, bins) and
`vad/<track>/mixture` (frames, bins), `vad/<track>/label` (frames,), and
`stems/<track>/{vocals, drums, bass, other}` (samples, 2), audio.  Each array
is one shard of chunks, written at once by one writer (`svs.features.extraction`); an
excerpt is cut when it is read.  The attributes of each group hold its
representation and, for each mode, the *index*: one row
[track, split, first, last, class] for every run of frames [first, last] on
which an excerpt of that mode may be centred.

Test tracks never enter the store.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import zarr

from svs.config.schema import Representation
from svs.errors import DataError

MASKS, VAD, STEMS = "masks", "vad", "stems"
GROUP_OF_MODE = {"SVS": MASKS, "DAE": MASKS, "VAD": VAD, "MIX": STEMS}


@dataclass(frozen=True)
class Run:
    """Frames [first, last] of a track on which excerpts may be centred, all of one class."""

    track: str
    split: str
    first: int
    last: int
    label: int


def track_key(name: str) -> str:
    """A track's name as a folder's."""
    return name.replace("/", "_").replace("\\", "_")


class Spectrograms:
    """One group of a store, opened for reading.

    Parameters
    ----------
    path : Path
        `<store>/masks` or `<store>/vad`.

    Raises
    ------
    DataError
        There is no such store.
    """

    def __init__(self, path: Path):
        try:
            self._group = zarr.open_group(path, mode="r")
            attributes = self._group.attrs.asdict()
            self.representation: dict = attributes["representation"]
            self._index: dict = attributes["index"]
        except (FileNotFoundError, KeyError):
            raise DataError(f"{path}: expected a store of spectrograms; run `dvc repro extract`") from None
        self._arrays: dict[tuple[str, str], zarr.Array] = {}

    @property
    def stft(self) -> Representation:
        """The transform that the spectrograms are of."""
        return Representation(**{name: self.representation[name] for name in Representation.model_fields})

    def runs(self, mode: str, split: str) -> list[Run]:
        """Where excerpts of a mode may be centred in the tracks of a split."""
        if mode not in self._index:
            raise DataError(f"the store has no index of mode {mode}; add it to extract.modes")
        return [Run(*row) for row in self._index[mode] if row[1] == split]

    def array(self, track: str, name: str) -> zarr.Array:
        """An array of a track: frames along the first axis."""
        if (track, name) not in self._arrays:
            self._arrays[track, name] = self._group[f"{track_key(track)}/{name}"]
        return self._arrays[track, name]


class Stems:
    """Audio of the training tracks' stems, opened for reading.

    Parameters
    ----------
    path : Path
        `<store>/stems`.

    Raises
    ------
    DataError
        There is no such group.
    """

    def __init__(self, path: Path):
        try:
            self._group = zarr.open_group(path, mode="r")
            attributes = self._group.attrs.asdict()
            self.rate: int = attributes["representation"]["sample_rate"]
            self._splits = {track: split for track, split, *_ in attributes["index"]["MIX"]}
        except (FileNotFoundError, KeyError):
            raise DataError(
                f"{path}: expected a store of stems; add MIX to extract.modes and run `dvc repro extract`"
            ) from None
        self._arrays: dict[tuple[str, str], zarr.Array] = {}

    def tracks(self, *splits: str) -> list[str]:
        """Names of the tracks of splits, in the order of the manifest."""
        return [track for track, split in self._splits.items() if split in splits]

    def samples(self, track: str) -> int:
        return self._array(track, "vocals").shape[0]

    def read(self, track: str, stem: str, start: int, stop: int) -> np.ndarray:
        """Samples [start, stop) of a stem: float32 (samples, 2)."""
        return self._array(track, stem)[start:stop].astype(np.float32)

    def _array(self, track: str, stem: str) -> zarr.Array:
        if (track, stem) not in self._arrays:
            self._arrays[track, stem] = self._group[f"{track_key(track)}/{stem}"]
        return self._arrays[track, stem]


# What a training draws from a store when nothing else is said: kept in the store by `svs extract`.  The dissertation's
# preprocess_data_tool wrote a number of excerpts of every song; this store holds whole spectrograms, and excerpts are
# cut when a training reads them.  The number, where they begin and the width of their labels stay with the store.

MODES = tuple(GROUP_OF_MODE)
_KEY = "draw"


@dataclass(frozen=True)
class Default:
    """What `svs extract` was asked for.

    Parameters
    ----------
    mode : {"SVS", "DAE", "VAD", "MIX"}
    per_track, valid_per_track : int
        Excerpts of each training and each validation track; in mode MIX mixtures of an epoch for each training track.
    start_point : float
        Seconds into each track.
    label_width : int or None
        Frames of the target (None in modes VAD and MIX).
    """

    mode: str
    per_track: int
    valid_per_track: int
    start_point: float
    label_width: int | None


def keep(group: Path, default: Default) -> None:
    """Write it into the attributes of a store's group."""
    zarr.open_group(group, mode="a").attrs[_KEY] = asdict(default)


def kept(group: Path) -> Default | None:
    """What `keep` wrote; None where the pipeline made the store.

    Raises
    ------
    DataError
        There is no such store, or what is kept is not what it should be.
    """
    try:
        content = zarr.open_group(group, mode="r").attrs.asdict().get(_KEY)
        return None if content is None else Default(**content)
    except (FileNotFoundError, TypeError):
        raise DataError(f"{group}: expected a store made by `svs extract` or the pipeline") from None


def available(spectrograms: Spectrograms, mode: str, split: str, start_point: float) -> dict[str, int]:
    """Frames of each track of a split, from `start_point` (s) on, that an excerpt may be centred on."""
    rate = spectrograms.representation["sample_rate"] / spectrograms.representation["hop_length"]
    earliest = round(start_point * rate)
    frames: dict[str, int] = {}
    for run in spectrograms.runs(mode, split):
        frames[run.track] = frames.get(run.track, 0) + max(0, run.last - max(run.first, earliest) + 1)
    return frames
