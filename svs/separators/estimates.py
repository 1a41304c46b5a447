"""Estimates of all test tracks by one method."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from svs.data.dataset import Dataset, Track
from svs.runtime.files import Scratch, publish
from svs.runtime.parallel import over_tracks, scheduler
from svs.runtime.progress import progress_bar
from svs.separators.base import Separator
from svs.separators.chunking import separate_to
from svs.stems import TARGETS


def separate_all(
    dataset: Dataset,
    separator: Separator,
    chunk: float,
    folder: Path,
    scratch: Scratch,
    build: Callable[[], Separator] | None = None,
) -> float:
    """Separate every test track, in parallel (`svs.runtime.parallel`) if `build` is given.

    Finished tracks are kept in `scratch`, so that an interrupted run can be resumed.  All estimates appear under
    `folder` at the end.

    Parameters
    ----------
    dataset : Dataset
    separator : Separator
    chunk : float
        Seconds separated at a time.
    folder : Path
        Gets `test/<track>/{vocals,accompaniment}.wav`, museval's layout.
    scratch : Scratch
    build : callable, optional
        Builds the same separator in another process.  It is pickled, so its paths must be absolute.  Without it,
        tracks run one after another in this process.  Methods that already use all cores also run sequentially,
        unless a cluster is configured.

    Returns
    -------
    float
        Seconds of music separated, now or before an interruption.
    """
    tracks = dataset.manifest.split("test")
    place = scratch.path.absolute()
    waiting = [track for track in tracks if not (place / track.subset / track.name).exists()]
    seconds = [max(1, round(track.seconds)) for track in waiting]
    if build is None or separator.uses_all_cores and scheduler() is None:
        with progress_bar(total=sum(seconds), unit="s", desc=separator.name) as moving:
            for track, length in zip(waiting, seconds, strict=True):
                _separate(dataset, separator, chunk, place, track)
                moving.update(length)
    else:
        separate = partial(_separate_elsewhere, dataset.bare(), pickle.dumps(build), chunk, place)
        names = [track.name for track in waiting]
        over_tracks(separate, waiting, names, desc=separator.name, seconds=seconds, folder=place)
    publish(scratch.path, folder)
    return sum(track.seconds for track in tracks)


def _separate(dataset: Dataset, separator: Separator, chunk: float, place: Path, track: Track) -> None:
    names = ("mixture", *TARGETS) if separator.needs_references else ("mixture",)
    with dataset.open(track, names) as sources:
        references = {name: sources[name] for name in TARGETS} if separator.needs_references else None
        separate_to(place / track.subset / track.name, separator, sources["mixture"], chunk, references)


# The last separator that was built, and its recipe.  Each thread has its own, because separators keep state.
_built = threading.local()


def _separate_elsewhere(dataset: Dataset, build: bytes, chunk: float, place: Path, track: Track) -> None:
    if getattr(_built, "recipe", None) != build:
        _built.separator = _built.recipe = None  # free the old one first
        _built.separator, _built.recipe = pickle.loads(build)(), build
    _separate(dataset, _built.separator, chunk, place, track)
