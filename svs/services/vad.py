"""Results of voice activity detection on disk: segments, a picture, and the request."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from svs.runtime.files import sha256, write_json, write_text
from svs.services.output import writing
from svs.vad.activity import Activity
from svs.vad.detector import Detector

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SEGMENTS, PICTURE, REQUEST = "segments.csv", "activity.png", "vad.json"


def request(path: Path, start: float, duration: float | None, stream: int | None, detector: Detector) -> dict[str, Any]:
    """What the segments of a recording depend on, as in `vad.json` beside them."""
    return {
        "sha256": sha256([path]),
        "start": start,
        "duration": duration,
        "stream": stream,
        "threshold": detector.threshold,
        "model": detector.fingerprint,
    }


def save(folder: Path, activity: Activity, wanted: Mapping[str, Any], figure: Figure | None = None) -> None:
    """Write the picture, `vad.json` and, last, `segments.csv` (s from the beginning of the song).

    The folder may hold results of other commands for the same song.  Raise DataError if it can't be written to.
    """
    start = wanted["start"]
    lines = ["start,end,probability"]
    lines += [f"{start + begin:.3f},{start + end:.3f},{mean:.4f}" for begin, end, mean in activity.segments()]
    with writing(folder, folder):
        for name in (SEGMENTS, REQUEST, PICTURE):  # where the segments exist, the rest is complete
            (folder / name).unlink(missing_ok=True)
        if figure is not None:
            from svs.figures import style

            style.save(figure, folder / PICTURE)
        write_json(folder / REQUEST, wanted)
        write_text(folder / SEGMENTS, "\n".join(lines) + "\n")
