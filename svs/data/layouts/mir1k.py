"""MIR-1K (Hsu & Jang 2010): clips of 16 kHz with the accompaniment at the left and the voice at the right.

A clip is called `SINGER_SONG_CLIP.wav`.  The set has no splits of its own.
"""

from __future__ import annotations

import re
from pathlib import Path

from svs.config.schema import Group
from svs.data.layouts import Layout
from svs.data.songs import Audio, Song
from svs.stems import VOCALS, WHOLE

_CLIP = re.compile(r"([A-Za-z]+)_\d+_\d+\.wav")


def _clips(folder: Path) -> list[Path]:
    """The clips of a folder, or of its folder `Wavfile`, as the archive has them."""
    for place in (folder, folder / "Wavfile", folder / "MIR-1K" / "Wavfile"):
        if clips := [path for path in sorted(place.glob("*.wav")) if _CLIP.fullmatch(path.name)]:
            return clips
    return []


def songs(folder: Path, options: Group) -> list[Song]:
    """See `svs.data.layouts.Layout.songs`.  Groups: the singer, then the song."""
    found = []
    for path in _clips(folder):
        place, song = path.relative_to(folder).as_posix(), path.stem.rpartition("_")[0]
        stems = {WHOLE: (Audio(place, channel=0),), VOCALS: (Audio(place, channel=1),)}
        found.append(Song(path.stem, stems, groups=(song.rpartition("_")[0], song)))
    return found


LAYOUTS = {"mir1k": Layout("SINGER_SONG_CLIP.wav files", songs, lambda folder: bool(_clips(folder)))}
