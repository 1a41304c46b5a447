"""A table of tracks: a CSV with a row for each, and a column for each stem.

Columns: `track`, then stems (`vocals`, `accompaniment`, `mixture`, or any name), and if wanted `split` and `group`.  A
cell holds a path, relative to the CSV; several, separated by `;`, are summed.  `clip.wav#left` and `clip.wav#right`
are channels of a file, `song.stem.mp4#vocals` is a stream.
"""

from __future__ import annotations

import csv
from pathlib import Path

from svs.config.schema import Group
from svs.data.layouts import Layout
from svs.data.songs import Audio, Song
from svs.errors import DataError
from svs.stems import MIXTURE, STREAMS, VOCALS

_CHANNELS = {"left": 0, "right": 1}
_SPLITS = ("", "train", "valid", "test", "unused")
_OTHERS = ("track", "split", "group")


class Options(Group):
    """The name of the table in the folder of the data set; without it, the only CSV that has a column `track`."""

    file: str | None = None


def _tables(folder: Path) -> list[Path]:
    """CSVs with a column of tracks and one of stems."""
    return [path for path in sorted(folder.glob("*.csv")) if path.is_file() and _is_table(path)]


def _is_table(path: Path) -> bool:
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        try:
            header = next(csv.reader(file), [])
        except csv.Error:
            return False
    return "track" in header and bool({VOCALS, MIXTURE} & set(header))


def _rows(table: Path) -> list[dict[str, str]]:
    """The rows of a table that have content."""
    try:
        with open(table, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            header, rows = list(reader.fieldnames or ()), list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table}: expected a CSV in UTF-8, could not read it ({error}); save it as UTF-8") from None
    if twice := sorted({name for name in header if name and header.count(name) > 1}):
        raise DataError(
            f"{table}: expected each column once, found {', '.join(twice)} several times; put the files of a stem into "
            "one cell, separated by ;"
        )
    for number, row in enumerate(rows, 1):
        if any(text.strip() for text in row.get(None, ())):
            raise DataError(
                f"{table}: row {number} ({row['track']}) has more cells than the header; put quotes around a cell that "
                "holds a comma"
            )
    return [row for row in rows if any(isinstance(text, str) and text.strip() for text in row.values())]


def _audio(cell: str, table: Path, folder: Path) -> Audio:
    """One path of a cell."""
    text, _, part = cell.strip().rpartition("#")
    if part not in (*_CHANNELS, *STREAMS) or not text:
        text, part = cell.strip(), ""
    path = table.parent / text
    place = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
    return Audio(place, part if part in STREAMS else None, _CHANNELS.get(part))


def songs(folder: Path, options: Options) -> list[Song]:
    """See `svs.data.layouts.Layout.songs`."""
    tables = [folder / options.file] if options.file else _tables(folder)
    if len(tables) != 1 or not tables[0].is_file() or not _is_table(tables[0]):
        names = ", ".join(path.name for path in tables) or "none"
        raise DataError(
            f"{folder}: expected one CSV with the column track, and vocals or mixture; found {names}; "
            "name one as download.layouts.csv.file"
        )
    table, found = tables[0], []
    for row in _rows(table):
        cells = {name: text for name, text in row.items() if name not in _OTHERS and isinstance(text, str)}
        stems = {
            name: tuple(_audio(cell, table, folder) for cell in text.split(";") if cell.strip())
            for name, text in cells.items()
            if text.strip()
        }
        split, group = (row.get("split") or "").strip(), (row.get("group") or "").strip()
        problem = "" if split in _SPLITS else f"expected a split of train, valid, test or unused, found {split}"
        name = (row.get("track") or "").strip()
        found.append(Song(name, stems, "" if problem else split, (group,) if group else (), problem))
    return found


LAYOUTS = {
    "csv": Layout(
        "a CSV with the columns track, split, vocals, accompaniment, ...",
        songs,
        lambda folder: bool(_tables(folder)),
        Options,
        turn=-1,
    )
}
