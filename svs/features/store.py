"""Spectrograms, masks and labels of all training tracks in one zarr v3 store: its layout, and reading it.

Layout: `masks/<track>/{mixture, vocals, mask}` of shape (frames, bins),
`vad/<track>/mixture` (frames, bins), `vad/<track>/label` (frames,), and
`stems/<track>/{vocals, PART, ...}` (samples, channels), audio; the parts of the
accompaniment are those of the data set.  Each array
is one shard of chunks and is written once (`svs.features.extraction`).  An
excerpt is cut when it is read.  The attributes of each group hold its
representation and, for each mode, the *index*: one row
[track, split, first, last, class] for every run of frames [first, last] on
which an excerpt of that mode may be centred.  The attributes of a track in a
group are the level of its mixture (`svs.audio.level`) and, where tracks come
from several data sets, the name of its data set.

Test tracks never enter the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import zarr

from svs.config.schema import Representation
from svs.errors import DataError
from svs.stems import parts

MASKS, VAD, STEMS = "masks", "vad", "stems"
GROUP_OF_MODE = {"SVS": MASKS, "DAE": MASKS, "VAD": VAD, "MIX": STEMS}
GROUPS = tuple(sorted(set(GROUP_OF_MODE.values())))
LEVEL, DATASET = "level", "dataset"  # attributes of a track in a group
_DRAW = "draw"  # attribute of a group


class Run(NamedTuple):
    """Frames [first, last] of a track on which excerpts may be centred, all of one class."""

    track: str
    split: str
    first: int
    last: int
    label: int


def track_key(name: str) -> str:
    """The name of a track's group in a store."""
    return name.replace("/", "_").replace("\\", "_")


class _Group:
    """A group of a store, opened for reading: its representation, its index, and its arrays by track and name.

    Parameters
    ----------
    path : Path
        `<store>/masks`, `<store>/vad` or `<store>/stems`.

    Raises
    ------
    DataError
        There is no such group.
    """

    _hint = "run `dvc repro extract`"

    def __init__(self, path: Path):
        self._path = path
        try:
            self._group = zarr.open_group(path, mode="r")
            attributes: dict[str, Any] = self._group.attrs.asdict()
            self.representation: dict = attributes["representation"]
            self._index: dict = attributes["index"]
        except (FileNotFoundError, KeyError):
            raise DataError(f"{path}: expected a group of a store of training data; {self._hint}") from None
        self._arrays: dict[tuple[str, str], zarr.Array] = {}

    def array(self, track: str, name: str) -> zarr.Array:
        """An array of a track: frames or samples along the first axis."""
        if (track, name) not in self._arrays:
            self._arrays[track, name] = cast(zarr.Array, self._group[f"{track_key(track)}/{name}"])
        return self._arrays[track, name]

    def level(self, mode: str, *splits: str) -> float:
        """Median level of the mixtures of a mode's tracks (`svs.audio.level`) without silent ones; 0 if all are silent.

        Raises
        ------
        DataError
            An earlier version made the store, and wrote no levels.
        """
        tracks = {track for track, split, *_ in self._index[mode] if split in splits}
        levels: list[Any] = [self._group[track_key(track)].attrs.get(LEVEL) for track in tracks]
        if None in levels:
            raise DataError(
                f"{self._path}: expected the level of each track, but an earlier version of svs made this store; "
                "extract it again"
            )
        heard = [level for level in levels if level > 0]
        return float(np.median(heard)) if heard else 0.0

    def weights(self, mode: str, given: Mapping[str, float]) -> dict[str, float]:
        """The weight of each of a mode's tracks: that of its data set, or 1.

        Parameters
        ----------
        mode : {"SVS", "DAE", "VAD", "MIX"}
        given : mapping of str to float
            Weights of data sets by name.

        Raises
        ------
        DataError
            No track comes from a data set of that name.
        """
        tracks = [track for track, *_ in self._index[mode]]
        if not given:
            return dict.fromkeys(tracks, 1.0)
        sets: dict[str, Any] = {track: self._group[track_key(track)].attrs.get(DATASET, "") for track in tracks}
        if unknown := sorted(given.keys() - set(sets.values())):
            known = ", ".join(sorted(filter(None, set(sets.values())))) or "one data set alone"
            raise DataError(
                f"{self._path}: weights name {', '.join(unknown)}, but its tracks come from {known}; name data sets "
                "that are trained on (download.sets)"
            )
        return {track: given.get(name, 1.0) for track, name in sets.items()}


class Spectrograms(_Group):
    """The group `masks` or `vad`."""

    @property
    def stft(self) -> Representation:
        """The transform of the spectrograms."""
        return Representation(**{name: self.representation[name] for name in Representation.model_fields})

    def runs(self, mode: str, split: str) -> list[Run]:
        """Frames on which excerpts of a mode may be centred, in the tracks of a split."""
        if mode not in self._index:
            raise DataError(f"the store has no index of mode {mode}; add it to extract.modes")
        return [Run(*row) for row in self._index[mode] if row[1] == split]

    def available(self, mode: str, split: str, start_point: float) -> dict[str, int]:
        """Number of frames on which an excerpt may be centred, from `start_point` (s) on, by track of a split."""
        earliest = round(start_point * self.representation["sample_rate"] / self.representation["hop_length"])
        frames: dict[str, int] = {}
        for run in self.runs(mode, split):
            frames[run.track] = frames.get(run.track, 0) + max(0, run.last - max(run.first, earliest) + 1)
        return frames


class Stems(_Group):
    """The group `stems`: audio of the training tracks' stems."""

    _hint = "add MIX to extract.modes and run `dvc repro extract`"

    def __init__(self, path: Path):
        super().__init__(path)
        self.rate: int = self.representation["sample_rate"]
        self._splits = {track: split for track, split, *_ in self._index["MIX"]}

    def tracks(self, *splits: str) -> list[str]:
        """Names of the tracks of splits, in the order of the manifest."""
        return [track for track, split in self._splits.items() if split in splits]

    def samples(self, track: str) -> int:
        """Length of a track's stems."""
        return self.array(track, "vocals").shape[0]

    def parts(self, track: str) -> tuple[str, ...]:
        """Names of a track's stems that sum to its accompaniment."""
        return parts(cast(zarr.Group, self._group[track_key(track)]).array_keys())

    def read(self, track: str, stem: str, start: int, stop: int) -> np.ndarray:
        """Samples [start, stop) of a stem: float32 (samples, 2); a mono stem is the same on both sides."""
        audio = np.asarray(self.array(track, stem)[start:stop], dtype=np.float32)
        return audio if audio.shape[1] == 2 else np.repeat(audio, 2, axis=1)


@dataclass(frozen=True)
class DrawDefaults:
    """What a training draws from a store if nothing else is said.  `svs extract` keeps it in the store's group.

    The dissertation's preprocess_data_tool wrote a number of excerpts of every
    song.  This store holds whole spectrograms, and a training cuts its excerpts.

    Parameters
    ----------
    mode : {"SVS", "DAE", "VAD", "MIX"}
    per_track, valid_per_track : int
        Excerpts of each training and each validation track.  In mode MIX:
        mixtures of an epoch for each training track.
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

    def save(self, group: Path) -> None:
        """Write the defaults into the attributes of a store's group."""
        zarr.open_group(group, mode="a").attrs[_DRAW] = asdict(self)

    @classmethod
    def load(cls, group: Path) -> DrawDefaults | None:
        """What `save` wrote; None if the pipeline made the store.

        Raises
        ------
        DataError
            There is no such store, or its defaults have other fields.
        """
        try:
            attributes: dict[str, Any] = zarr.open_group(group, mode="r").attrs.asdict()
            return cls(**attributes[_DRAW]) if _DRAW in attributes else None
        except (FileNotFoundError, TypeError):
            raise DataError(f"{group}: expected a store made by `svs extract` or the pipeline") from None
