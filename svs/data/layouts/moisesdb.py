"""MoisesDB (Pereira et al. 2023): a folder for each track with `data.json`, and in it a folder for each stem.

`data.json` names artist, song and stems; the files of a stem, `STEM/ID.EXTENSION`, are summed.  There is no mixture,
and the set has no splits of its own.  The names of the fields are those that the authors' reader asks for
(https://github.com/moises-ai/moises-db, `moisesdb/track.py`).  It pads the stems of a track to the longest; here they
are cut to the shortest, as far as `download.length_tolerance` allows.
"""

from __future__ import annotations

import json
from pathlib import Path

from svs.config.schema import Group
from svs.data.layouts import Layout
from svs.data.songs import Audio, Song
from svs.runtime.files import is_foreign

_CARD = "data.json"


def _cards(folder: Path) -> list[Path]:
    """The `data.json` of every track, up to three folders down (the archive: moisesdb/moisesdb_v0.1/TRACK)."""
    return next((found for depth in ("*", "*/*", "*/*/*") if (found := sorted(folder.glob(f"{depth}/{_CARD}")))), [])


def _song(card: Path, folder: Path) -> Song:
    """The track of a `data.json`."""
    place, identity = card.parent.relative_to(folder).as_posix(), card.parent.name
    try:
        content = json.loads(card.read_text(encoding="utf-8"))
        stems: dict[str, tuple[Audio, ...]] = {}
        for stem in content["stems"]:  # one name may come more than once
            name = stem["stemName"]
            files = [Audio(f"{place}/{name}/{each['id']}.{each['extension']}") for each in stem["tracks"]]
            if files:
                stems[name] = (*stems.get(name, ()), *files)
        artist, title = content.get("artist", ""), content.get("song", "untitled")
    except ValueError as error:
        return Song(identity, {}, problem=f"{_CARD}: not valid JSON ({error}); get the track again")
    except (KeyError, TypeError, AttributeError) as error:
        return Song(
            identity, {}, problem=f"{_CARD}: expected stems with stemName and tracks of id and extension ({error!r})"
        )
    # Songs of one artist may share a title: the identity tells them apart.
    name = f"{artist} - {title} - {identity[:8]}".replace("/", "_").replace("\\", "_")
    return Song(name, stems, groups=(str(artist),) if artist else ())


def songs(folder: Path, options: Group) -> list[Song]:
    """See `svs.data.layouts.Layout.songs`.  The group of a track is its artist."""
    cards = _cards(folder)
    places = {card.parent.parent for card in cards}
    without = [
        item
        for place in sorted(places)
        for item in sorted(place.iterdir())
        if not is_foreign(item.name) and not (item / _CARD).is_file() and any(item.glob("*/*.*"))
    ]
    broken = [Song(item.name, {}, problem=f"missing {_CARD}") for item in without]
    return [*(_song(card, folder) for card in cards), *broken]


LAYOUTS = {"moisesdb": Layout(f"TRACK/{_CARD} and TRACK/STEM/ID.wav", songs, lambda folder: bool(_cards(folder)))}
