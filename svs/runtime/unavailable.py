"""A method that could not run: the note that stands in its folder instead of estimates or scores."""

from __future__ import annotations

from pathlib import Path

from svs.runtime.files import read_json, write_json, written

_NOTE = "unavailable.json"


def record(folder: Path, method: str, reason: str) -> None:
    """Leave a folder that holds nothing but the reason why the method could not run."""
    with written(folder) as temporary:
        write_json(temporary / _NOTE, {"method": method, "reason": reason})


def reason(folder: Path) -> str | None:
    """Why a method could not run; None where its folder holds what it should."""
    path = Path(folder) / _NOTE
    return read_json(path)["reason"] if path.exists() else None
