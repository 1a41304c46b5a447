"""The generated data set (`svs.data.synthetic`): MUSDB18-HQ's folders, and a file that names the validation tracks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from svs.config.schema import Group
from svs.data.layouts import Layout
from svs.data.layouts.musdb18 import found_in, with_subsets
from svs.data.songs import Song
from svs.runtime.files import read_json

STAMP = "generated.json"


def _stamp(folder: Path) -> Path:
    return (with_subsets(folder) or folder) / STAMP


def songs(folder: Path, options: Group) -> list[Song]:
    """See `svs.data.layouts.Layout.songs`."""
    found = found_in(folder)
    valid = set(read_json(_stamp(folder))["validation"])
    return [
        replace(song, split="valid" if song.split == "train" and song.name in valid else song.split, groups=())
        for song in found
    ]


LAYOUTS = {
    "tiny": Layout("the songs that svs generates", songs, lambda folder: _stamp(folder).is_file(), turn=-1),
}
