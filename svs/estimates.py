"""Estimates of all test tracks by one method."""

from __future__ import annotations

from pathlib import Path

from svs.chunking import separate_to
from svs.dataset import Dataset
from svs.files import Scratch, publish
from svs.running import bar
from svs.scores import TARGETS
from svs.separators.base import Separator


def separate_all(dataset: Dataset, separator: Separator, chunk: float, folder: Path, scratch: Scratch) -> float:
    """Separate every test track, one after the other.

    Finished tracks are kept in `scratch`, so an interrupted run goes on where
    it was; the estimates appear under `folder` at the end.

    Parameters
    ----------
    dataset : Dataset
    separator : Separator
    chunk : float
        Seconds separated at a time.
    folder : Path
        Gets `test/<track>/{vocals,accompaniment}.wav`, museval's layout.
    scratch : Scratch

    Returns
    -------
    float
        Seconds of music separated, now or before an interruption.
    """
    tracks = dataset.manifest.split("test")
    names = ("mixture", *TARGETS) if separator.needs_references else ("mixture",)
    with bar(total=round(sum(track.seconds for track in tracks)), unit="s", desc=separator.name) as moving:
        for track in tracks:
            place = scratch.path / track.subset / track.name
            if not place.exists():
                with dataset.open(track, names) as sources:
                    references = {name: sources[name] for name in TARGETS} if separator.needs_references else None
                    separate_to(place, separator, sources["mixture"], chunk, references)
            moving.update(round(track.seconds))
    publish(scratch.path, folder)
    return sum(track.seconds for track in tracks)
