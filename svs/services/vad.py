"""Results of voice activity detection on disk: segments, a picture, and what was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from svs.errors import DataError
from svs.runtime.files import read_json, sha256, write_json, write_text
from svs.vad.detector import Activity, Detector

SEGMENTS, PICTURE, REQUEST = "segments.csv", "activity.png", "vad.json"


def request(path: Path, start: float, duration: float | None, detector: Detector) -> dict[str, Any]:
    """What is asked of a recording, as `vad.json` keeps it beside the segments."""
    return {
        "sha256": sha256([path]),
        "start": start,
        "duration": duration,
        "threshold": detector.threshold,
        "model": detector.fingerprint,
    }


def finished(folder: Path, wanted: Mapping[str, Any], overwrite: bool) -> bool:
    """Are the segments of this request in the folder?

    Raises
    ------
    DataError
        Segments of another request are.
    """
    if overwrite or not (folder / SEGMENTS).exists():
        return False
    content = read_json(folder / REQUEST) if (folder / REQUEST).is_file() else {}
    different = [key for key, value in wanted.items() if content.get(key) != value]
    if different:
        raise DataError(
            f"{folder / SEGMENTS}: holds another result (its {', '.join(different)} "
            f"{'differs' if len(different) == 1 else 'differ'}); "
            "use --overwrite, or choose another --output"
        )
    return True


def save(folder: Path, activity: Activity, wanted: Mapping[str, Any], figure=None) -> None:
    """Write the picture, `vad.json` and, last, `segments.csv` (s from the beginning of the song).

    The folder may hold what other commands left of the song.
    """
    start = wanted["start"]
    lines = ["start,end,probability"]
    lines += [f"{start + begin:.3f},{start + end:.3f},{mean:.4f}" for begin, end, mean in activity.segments()]
    try:
        for name in (SEGMENTS, REQUEST, PICTURE):  # while the segments are there the rest is complete
            (folder / name).unlink(missing_ok=True)
        if figure is not None:
            from svs.figures import style

            style.save(figure, folder / PICTURE)
        write_json(folder / REQUEST, wanted)
        write_text(folder / SEGMENTS, "\n".join(lines) + "\n")
    except OSError as error:
        raise DataError(f"{folder}: can't write it ({error.strerror or error}); choose another --output") from error
    finally:
        with suppress(OSError):
            folder.rmdir()  # where nothing came into it
