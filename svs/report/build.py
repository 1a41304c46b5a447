"""Builds the report: `index.html`, and beside it the audio and the pictures of every test track."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

from svs.config import paths
from svs.config.schema import Settings
from svs.data import dataset
from svs.errors import DataError
from svs.evaluation.tables import present
from svs.report import content, listening, noise
from svs.report import page as report_page
from svs.runtime.files import written
from svs.runtime.parallel import over_tracks

log = logging.getLogger("svs")

INDEX = "index.html"


def build(home: Path, settings: Settings, folder: Path) -> Path:
    """Make the report from the results of the pipeline; returns the path of its page.

    The same tables, estimates, parameters and commit give the same bytes.

    Parameters
    ----------
    home : Path
        The folder that holds `params.yaml`, `data`, `metrics` and `plots`.
    settings : Settings
        `settings.report` sets the length of passages, their encoding, and which tracks can be heard.
    folder : Path
        An older report there is replaced when the new one is complete.

    Raises
    ------
    DataError
        A table or an estimate is missing, `folder` holds something else, or the disk is full.
    """
    home, folder = Path(home), Path(folder)
    if folder.exists() and not (folder / INDEX).is_file() and not (folder.is_dir() and not any(folder.iterdir())):
        raise DataError(f"{folder}: expected no such folder, an empty one or an old report; choose another")
    gathered = content.gather(home, settings)
    data = dataset.open_dataset(settings, home)
    estimates = home / paths.ESTIMATES
    here = present(estimates, [method.name for method in gathered.methods if method.here])
    tracks = data.manifest.split("test")
    with written(folder) as temporary:
        make = partial(
            listening.make, data=data, estimates=estimates, methods=here, folder=temporary, settings=settings
        )
        names, seconds = [track.name for track in tracks], [track.seconds for track in tracks]
        passages = over_tracks(make, list(enumerate(tracks, start=1)), names, desc="report", seconds=seconds)
        section = noise.make(home, settings, temporary)
        (temporary / INDEX).write_text(report_page.render(gathered, passages, settings, section), encoding="utf-8")
    audible = sum(passage.audible for passage in passages)
    log.info("%s: %d tracks, %d of them to be heard", folder / INDEX, len(passages), audible)
    return folder / INDEX
