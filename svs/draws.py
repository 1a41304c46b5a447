"""What a training draws from a store when nothing else is said: kept in the store by `svs extract`.

The seed's preprocess_data_tool wrote a number of excerpts of every song; our
store holds whole spectrograms, and excerpts are cut when a training reads them.
The number, where they begin and the width of their labels stay with the store.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import zarr

from svs.errors import DataError
from svs.store import GROUP_OF_MODE, Spectrograms

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
