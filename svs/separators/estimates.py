"""Estimates of many tracks by one method."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from svs.data.dataset import Dataset, Track
from svs.runtime.files import Scratch, publish, write_json, written
from svs.runtime.parallel import over_tracks, scheduler
from svs.runtime.progress import progress_bar
from svs.separators.base import Separator
from svs.separators.chunking import separate_to
from svs.stems import TARGETS

REQUEST = "result.json"  # beside the estimates of a track: what was asked for


def separate_all(
    dataset: Dataset,
    separator: Separator,
    chunk: float,
    folder: Path,
    scratch: Scratch,
    build: Callable[[], Separator] | None = None,
) -> float:
    """Separate every test track; `folder` appears when all of them are done.

    Parameters: as of `separate_tracks`.  Finished tracks are kept in `scratch`, so the next run continues an
    interrupted one.

    Returns
    -------
    float
        Seconds of music separated, now or before an interruption.
    """
    tracks = dataset.manifest.split("test")
    waiting = [track for track in tracks if not place(scratch.path, track).exists()]
    separate_tracks(dataset, waiting, separator, chunk, scratch.path, build)
    publish(scratch.path, folder)
    return sum(track.seconds for track in tracks)


def place(folder: Path, track: Track) -> Path:
    """The folder of a track's estimates below the folder of a method."""
    return folder / track.subset / track.name


def separate_tracks(
    dataset: Dataset,
    tracks: Sequence[Track],
    separator: Separator,
    chunk: float,
    folder: Path,
    build: Callable[[], Separator] | None = None,
    requests: Mapping[str, Any] | None = None,
) -> None:
    """Separate tracks, in parallel (`svs.runtime.parallel`) if `build` is given.

    Parameters
    ----------
    dataset : Dataset
    tracks : sequence of Track
    separator : Separator
    chunk : float
        Seconds separated at a time.
    folder : Path
        Gets `<subset>/<track>/{vocals,accompaniment}.wav`, museval's layout.  The folder of a track appears when the
        track is done.
    build : callable, optional
        Builds the same separator in another process: it is pickled, so its paths must be absolute.  Without it,
        tracks are separated here, one after the other.  Methods that already use all cores also run sequentially,
        unless a cluster is configured.
    requests : mapping, optional
        For each track's name a JSON value, written as `result.json` beside the estimates.
    """
    folder = folder.absolute()
    jobs = [(track, requests and requests[track.name]) for track in tracks]
    seconds = [max(1, round(track.seconds)) for track in tracks]
    if build is None or separator.uses_all_cores and scheduler() is None:
        with progress_bar(total=sum(seconds), unit="s", desc=separator.name) as moving:
            for job, length in zip(jobs, seconds, strict=True):
                _separate(dataset, separator, chunk, folder, job)
                moving.update(length)
    else:
        separate = partial(_separate_elsewhere, dataset.bare(), pickle.dumps(build), chunk, folder)
        names = [track.name for track in tracks]
        over_tracks(separate, jobs, names, desc=separator.name, seconds=seconds, folder=folder)


def _separate(dataset: Dataset, separator: Separator, chunk: float, folder: Path, job: tuple[Track, Any]) -> None:
    track, request = job
    names = ("mixture", *TARGETS) if separator.needs_references else ("mixture",)
    with dataset.open(track, names) as sources, written(place(folder, track)) as temporary:
        references = {name: sources[name] for name in TARGETS} if separator.needs_references else None
        separate_to(temporary, separator, sources["mixture"], chunk, references)
        if request is not None:
            write_json(temporary / REQUEST, request)


# The separator that a thread built last, and from what.  Each thread has its own, because a separator has a state.
_built = threading.local()


def _separate_elsewhere(dataset: Dataset, build: bytes, chunk: float, folder: Path, job: tuple[Track, Any]) -> None:
    if getattr(_built, "recipe", None) != build:
        _built.separator = _built.recipe = None  # frees the memory of the old one first
        _built.separator, _built.recipe = pickle.loads(build)(), build
    _separate(dataset, _built.separator, chunk, folder, job)
