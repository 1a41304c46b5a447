"""What a method costs on this machine: its speed on a song, and its memory."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from svs import separators
from svs.audio.sources import ArraySource, Source
from svs.config.project import Project
from svs.data import dataset
from svs.data.dataset import Dataset, Track
from svs.errors import DataError, SVSError
from svs.separators.chunking import chunks
from svs.stems import MIXTURE, TARGETS


class Cost(NamedTuple):
    """Of one method."""

    speed: float  # seconds of music separated in a second, after the method is built
    memory: float  # MB that its process held at most, with Python and its libraries


def of_method(project: Project, method: str, seconds: float) -> Cost:
    """Separate the beginning of the project's longest test track in a process of its own, on the cores that it takes.

    Programs that the method starts itself (spleeter's package) count in the speed, not in the memory.

    Raises
    ------
    DataError
        The project has no test track.
    SVSError
        The method can't run here (see `svs.separators.build`), or its process was killed.
    """
    data = dataset.open_dataset(project.settings, project.home)
    if not (tracks := data.manifest.split("test")):
        raise DataError(f"{project.home}: no test track to measure on; run `dvc repro download`")
    track = max(tracks, key=lambda each: each.seconds)
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        try:
            return process.submit(_measured, project, method, data.bare(), track, seconds).result()
        except BrokenProcessPool:
            raise SVSError(f"{method}: its process died (killed for want of memory?)") from None


def _measured(project: Project, method: str, data: Dataset, track: Track, seconds: float) -> Cost:
    separator = separators.build(method, project.settings, project.home)
    names = (MIXTURE, *TARGETS) if separator.needs_references else (MIXTURE,)
    with data.open(track, names) as sources:
        held: dict[str, Source] = {
            name: ArraySource(source.read(0, min(source.samples, round(seconds * source.rate))), source.rate)
            for name, source in sources.items()
        }
    references = {name: held[name] for name in TARGETS} if separator.needs_references else None
    begun = time.perf_counter()
    for _ in chunks(separator, held[MIXTURE], project.settings.separate.common.chunk, references):
        pass
    taken = time.perf_counter() - begun
    return Cost(held[MIXTURE].samples / held[MIXTURE].rate / taken, _peak())


def _peak() -> float:
    """MB that this process held at most."""
    status = Path("/proc/self/status")
    if status.is_file():  # on Linux ru_maxrss begins with what the parent held
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e6
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
