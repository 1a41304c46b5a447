"""Builds the report: `index.html`, and beside it the audio and the pictures of every test track."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from svs.config import paths
from svs.config.schema import Settings
from svs.data import dataset
from svs.errors import DataError
from svs.report import content, listening
from svs.report import page as report_page
from svs.runtime import unavailable
from svs.runtime.files import written
from svs.runtime.parallel import each_in_parallel

log = logging.getLogger("svs")

INDEX = "index.html"


@dataclass(frozen=True)
class Built:
    """What a report holds: tracks, how many of them can be heard, bytes of the page and of all that is beside it."""

    index: Path
    tracks: int
    heard: int
    page: int
    beside: int


def build(home: Path, settings: Settings, folder: Path) -> Built:
    """Make the report from what the pipeline has left.

    The same tables, estimates, parameters and commit give the same bytes.

    Parameters
    ----------
    home : Path
        The folder that holds `params.yaml`, `data`, `metrics` and `plots`.
    settings : Settings
        `settings.report` says how long passages are, how they are encoded, and which tracks can be heard.
    folder : Path
        Replaced when the report is complete, if it is a report; left as it was where anything fails.

    Raises
    ------
    DataError
        A table or an estimate is missing, `folder` holds something else, or the disk is full.
    """
    home, folder = Path(home), Path(folder)
    if folder.exists() and not (folder / INDEX).is_file() and not (folder.is_dir() and not any(folder.iterdir())):
        raise DataError(f"{folder}: expected no such folder, an empty one or an old report; choose another")
    gathered = content.gather(home, settings)
    data = dataset.open_dataset(settings, home / paths.MANIFEST, home / paths.DATASETS)
    tracks = data.manifest.split("test")
    here = [
        method.name
        for method in gathered.methods
        if method.here and not unavailable.reason(home / paths.ESTIMATES / method.name)
    ]
    jobs = [
        listening.Job(number, track, listening.allowed(settings.report.audio, data.manifest.dataset, track.name))
        for number, track in enumerate(tracks, start=1)
    ]
    with written(folder) as temporary:
        make = partial(
            listening.make,
            data=data,
            estimates=home / paths.ESTIMATES,
            methods=here,
            folder=temporary,
            report=settings.report,
            plots=settings.plots,
        )
        passages = each_in_parallel(make, jobs, unit="track", desc="report", threads=True)
        html = report_page.render(gathered, passages, settings)
        (temporary / INDEX).write_text(html, encoding="utf-8")
        sizes = {path: path.stat().st_size for path in temporary.rglob("*") if path.is_file()}
        shown = sizes.pop(temporary / INDEX)
    built = Built(folder / INDEX, len(tracks), sum(job.audible for job in jobs), shown, sum(sizes.values()))
    log.info(
        "%s: %d tracks, %d of them to be heard; the page has %.0f kB, audio and pictures %.1f MB",
        built.index,
        built.tracks,
        built.heard,
        built.page / 1e3,
        built.beside / 1e6,
    )
    return built
