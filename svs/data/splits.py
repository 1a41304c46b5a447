"""Which tracks are trained on (train), choose the epoch (valid), are scored (test) or are left out (unused)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np

from svs.config.schema import Download
from svs.data.songs import Song
from svs.errors import DataError

log = logging.getLogger("svs")
_VALID, _TEST = 1, 8  # what the random draws of a seed are for


def assign(songs: Sequence[Song], settings: Download, seed: int) -> list[Song]:
    """The songs with their final splits, by the rule `download.split.by`.

    own
        As the data set says.  Where it names no split at all: group, or fraction if the songs have no groups.
    group
        Whole groups (singers, artists, albums) are drawn, so that none is in two splits.  Where a single group is left
        for training and validation, validation takes whole groups of the next smaller kind: songs of that singer.
    fraction
        Songs are drawn.
    list
        `download.split.test` and `download.split.valid` name songs, groups, or patterns of them; where one is empty,
        the data set's own are taken.  Validation that neither names is drawn by group.
    train, test
        All are trained on, or all are scored.  Validation tracks are the data set's own, or drawn as by `own`.

    Broken songs are never drawn.  Songs that `exclude_from_training` matches are `unused`, unless they are test tracks.

    Raises
    ------
    DataError
        A name of a list matches nothing.
    """
    rule, split = settings.split.by, settings.split
    whole = [place for place, song in enumerate(songs) if not song.problem]
    if rule == "own" and not any(song.split for song in songs):
        rule = "group" if _have_groups(songs, whole) else "fraction"
        log.info("the data set names no splits: they are drawn by %s (download.split)", rule)
    drawn = rule in ("group", "fraction")
    test = set() if drawn or rule == "train" else _own(songs, whole, "test")
    if rule == "test":
        test = set(whole)
    if rule == "list" and split.test:
        test = _listed(songs, whole, split.test, "test")
    if drawn:
        test = _drawn(songs, whole, split.test_fraction, [seed, _TEST], grouped=rule == "group")
    excluded = tuple(settings.exclude_from_training)
    unused = {place for place in whole if songs[place].name.startswith(excluded)} - test
    unused |= set() if drawn else _own(songs, whole, "unused") - test
    left = [place for place in whole if place not in test | unused]
    valid = set() if drawn else _own(songs, left, "valid")
    if rule == "list" and split.valid:
        valid = _listed(songs, left, split.valid, "valid")
    if not valid:
        grouped = rule == "group" or rule == "list" and all(songs[place].groups for place in left)
        grouped = grouped or rule == "train" and _have_groups(songs, left)
        valid = _drawn(songs, left, settings.validation_fraction, [seed, _VALID], grouped=grouped)
    names = {**dict.fromkeys(unused, "unused"), **dict.fromkeys(valid, "valid"), **dict.fromkeys(test, "test")}
    return [
        replace(song, split=song.split or "train" if song.problem else names.get(place, "train"))
        for place, song in enumerate(songs)
    ]


def _have_groups(songs: Sequence[Song], places: Sequence[int]) -> bool:
    """Whether every song has a group, and not all the same ones."""
    groups = {songs[place].groups for place in places}
    return len(groups) > 1 and () not in groups


def _own(songs: Sequence[Song], places: Sequence[int], split: str) -> set[int]:
    return {place for place in places if songs[place].split == split}


def _listed(songs: Sequence[Song], places: Sequence[int], wanted: Sequence[str], split: str) -> set[int]:
    """Songs of which the name or a group is in a list, or matches a pattern in it."""
    found: set[int] = set()
    for text in wanted:
        words = {place: (songs[place].name, *songs[place].groups) for place in places}
        matching = {place for place in places if any(fnmatchcase(word, text) or word == text for word in words[place])}
        if not matching:
            some = ", ".join(dict.fromkeys(word for place in places[:5] for word in words[place])) or "none"
            rest = " besides the test tracks" if split == "valid" else ""
            raise DataError(
                f"download.split.{split}: {text}: no track or group is called so; there are {some}, ...{rest}"
            )
        found |= matching
    return found


def _drawn(songs: Sequence[Song], places: Sequence[int], share: float, seed: list[int], *, grouped: bool) -> set[int]:
    """A share of the songs, drawn one by one or by groups; at least one, and never all."""

    def key(place: int, level: int) -> tuple[str, ...]:
        return songs[place].groups[: level + 1] if grouped and level >= 0 else (songs[place].name,)

    levels = max((len(songs[place].groups) for place in places), default=0) if grouped else 0
    # The largest groups of which there are two; else each song alone.
    level = next((each for each in range(levels) if len({key(place, each) for place in places}) > 1), -1)
    if grouped and level:
        kind = "songs" if level < 0 else f"groups of level {level + 1}"
        log.warning("a single group is left to be split: %s are drawn from it (download.split)", kind)
    keys = sorted({key(place, level) for place in places})
    if len(keys) < 2:
        return set()
    count = min(max(1, round(share * len(keys))), len(keys) - 1)
    chosen = {keys[number] for number in np.random.default_rng(seed).choice(len(keys), count, replace=False)}
    return {place for place in places if key(place, level) in chosen}
