"""Rules by which tracks are split."""

from __future__ import annotations

import pytest

from svs.data.songs import Song
from svs.data.splits import assign
from svs.errors import DataError


def rules(settings, **given):
    """The settings of a data set with another rule."""
    share = {"validation_fraction": given.pop("validation_fraction", 0.2)}
    split = settings.download.split.model_copy(update=given)
    return settings.download.model_copy(update={"split": split, **share})


def songs(*names: str, split: str = "", levels: int = 1) -> list[Song]:
    """Songs called ARTIST - ALBUM - TITLE, with so many of these as groups."""
    groups = [tuple(" - ".join(name.split(" - ")[: level + 1]) for level in range(levels)) for name in names]
    return [Song(name, {}, split, group) for name, group in zip(names, groups, strict=True)]


MANY = [f"{artist} - {album} - {title}" for artist in "ABCDEFGHIJ" for album in "12" for title in "xyz"]


def by(found: list[Song]) -> dict[str, set[str]]:
    splits: dict[str, set[str]] = {}
    for song in found:
        splits.setdefault(song.split, set()).add(song.name)
    return splits


@pytest.mark.parametrize("seed", range(4))
def test_no_group_is_in_two_splits(settings, seed):
    found = assign(songs(*MANY), rules(settings, by="group"), seed)
    of = {split: {song.groups for song in found if song.split == split} for split in ("train", "valid", "test")}
    assert [len(of[split]) for split in ("test", "valid", "train")] == [2, 2, 6]
    assert sum(map(len, of.values())) == 10, "a group is in two splits"
    assert found == assign(songs(*MANY), rules(settings, by="group"), seed)


def test_seeds_draw_other_splits(settings):
    for rule in ("group", "fraction"):
        drawn = {frozenset(by(assign(songs(*MANY), rules(settings, by=rule), seed))["test"]) for seed in range(5)}
        assert len(drawn) > 1


def test_a_fraction_is_of_tracks(settings):
    found = by(assign(songs(*MANY), rules(settings, by="fraction", test_fraction=0.5), 1))
    assert [len(found[split]) for split in ("test", "valid", "train")] == [30, 6, 24]


def test_where_one_singer_is_left_validation_takes_whole_songs(settings, caplog):
    found = assign(songs(*MANY[:12], levels=2), rules(settings, by="list", test=("A",)), 1)
    splits = by(found)
    assert splits["test"] == set(MANY[:6])
    albums = {split: {song.groups[1] for song in found if song.split == split} for split in ("train", "valid")}
    assert len(albums["train"]) == len(albums["valid"]) == 1 and albums["train"] != albums["valid"]
    assert "a single group is left" in caplog.text


@pytest.mark.parametrize(
    ("given", "test", "valid"),
    [
        ({"test": ("A - 1 - x",), "valid": ("B",)}, {"A - 1 - x"}, set(MANY[6:12])),
        ({"test": ("[AB] - 1 - *",), "valid": ("C - 2 - z",)}, {*MANY[:3], *MANY[6:9]}, {"C - 2 - z"}),
    ],
)
def test_a_list_names_tracks_groups_and_patterns(settings, given, test, valid):
    found = by(assign(songs(*MANY), rules(settings, by="list", **given), 1))
    assert (found["test"], found["valid"]) == (test, valid)


def test_a_name_that_is_none(settings):
    with pytest.raises(DataError, match=r"download\.split\.test: Z: no track or group is called so; there are A - 1"):
        assign(songs(*MANY), rules(settings, by="list", test=("Z",)), 1)


def test_the_data_sets_own_splits(settings):
    own = [*songs("a", "b", split="train"), *songs("c", split="valid"), *songs("d", split="test")]
    own += songs("Music Delta - e", split="train")
    found = by(assign(own, rules(settings, by="own"), 1))
    assert found == {"train": {"a", "b"}, "valid": {"c"}, "test": {"d"}, "unused": {"Music Delta - e"}}


@pytest.mark.parametrize(("levels", "rule"), [(1, "group"), (0, "fraction")])
def test_a_set_that_names_no_splits(settings, levels, rule, caplog):
    caplog.set_level("INFO", logger="svs")
    ours = songs(*MANY, levels=levels)
    assert assign(ours, rules(settings, by="own"), 3) == assign(ours, rules(settings, by=rule), 3)
    assert f"they are drawn by {rule}" in caplog.text


def test_the_only_singer_of_a_set_that_names_no_splits_has_no_song_on_both_sides(settings):
    names = [f"A - {album} - {title}" for album in "1234" for title in "xyz"]
    found = assign(songs(*names, levels=2), rules(settings, by="own"), 1)
    of = {split: {song.groups for song in found if song.split == split} for split in ("train", "valid", "test")}
    assert sum(map(len, of.values())) == len(set.union(*of.values()))


def test_broken_songs_are_never_drawn(settings):
    broken = [Song(f"bad {number}", {}, problem="broken") for number in range(50)]
    found = assign([*songs("a", "b", "c", levels=0), *broken], rules(settings, by="fraction"), 1)
    assert sorted(song.split for song in found if not song.problem) == ["test", "train", "valid"]


def test_all_are_trained_on_or_all_are_scored(settings):
    own = [*songs("a - 1", "b - 1", split="train"), *songs("c - 1", split="valid"), *songs("d - 1", split="test")]
    assert by(assign(own, rules(settings, by="test"), 1)) == {"test": {song.name for song in own}}
    found = by(assign(own, rules(settings, by="train"), 1))
    assert found == {"train": {"a - 1", "b - 1", "d - 1"}, "valid": {"c - 1"}}
    found = assign(songs(*MANY), rules(settings, by="train"), 1)
    of = {split: {song.groups for song in found if song.split == split} for split in ("train", "valid", "test")}
    assert [len(of[split]) for split in ("test", "valid", "train")] == [0, 2, 8], "validation is drawn by group"
