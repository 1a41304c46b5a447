"""Scores of two revisions of a repository: what changed on each track, and whether a method became worse.

The scores of a revision are its table `metrics/scores.csv` in Git.  Those of the workspace are the file itself.
Tracks are paired by name, so that the same songs are compared.
"""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from svs.config import paths
from svs.errors import DataError, GateError, SettingsError
from svs.evaluation.paired import Paired, interval, median_difference
from svs.evaluation.tables import text_table
from svs.stems import TARGETS

SCORES = paths.METRICS / "scores.csv"
WORKSPACE = "workspace"
_KEY = ["method", "track", "target"]
_NAMED = 5  # tracks that are named before the rest is counted
_COLUMNS = ("method", "target", "before", "after", "change", "95 % interval", "better / tie / worse", "tracks")


@dataclass(frozen=True)
class Revision:
    """Scores of one revision.

    Attributes
    ----------
    name : str
        As the user gave it, with its commit.
    table : DataFrame
        Columns method, track, target, SDR (dB) and silent (frames without a score), as
        `svs.evaluation.tables.track_table` has them.
    """

    name: str
    table: pd.DataFrame


@dataclass(frozen=True)
class Change:
    """One method and target in both revisions; positive is better.

    Attributes
    ----------
    before, after : float
        Median SDR over all tracks of each revision, dB.
    paired : Paired
        The change on the tracks with a score in both.
    lost : tuple of str
        Tracks in both data sets that have lost their score.
    silent : tuple of int
        Frames without a score, before and after, of the tracks in both.
    same : bool
        Whether no track changed.
    """

    method: str
    target: str
    before: float
    after: float
    paired: Paired
    lost: tuple[str, ...]
    silent: tuple[int, int]
    same: bool

    def __str__(self) -> str:
        paired = self.paired
        change = f"{paired.difference:+.2f} dB {interval(paired.low, paired.high)}"
        return f"{self.method} {self.target} {change} on {_counted(paired.tracks, 'track')}"

    def cells(self) -> tuple[str, ...]:
        """The row of a table of changes, see `_COLUMNS`."""
        paired = self.paired
        return (
            self.method,
            self.target,
            _decibels(self.before),
            _decibels(self.after),
            _decibels(paired.difference, "+"),
            interval(paired.low, paired.high),
            f"{paired.wins} / {paired.ties} / {paired.losses}",
            str(paired.tracks),
        )


@dataclass(frozen=True)
class Comparison:
    """Two revisions: changes of the methods in both, and the methods and tracks that only one of them has."""

    before: str
    after: str
    changes: tuple[Change, ...]
    appeared: tuple[str, ...]
    vanished: tuple[str, ...]
    tracks_before: tuple[str, ...]  # only in the earlier revision
    tracks_after: tuple[str, ...]

    def shown(self) -> list[Change]:
        """Changes of the methods of which at least one target changed."""
        changed = {change.method for change in self.changes if not change.same}
        return [change for change in self.changes if change.method in changed]


def committed(revision: str, home: Path) -> Revision:
    """The scores of a branch, tag or commit.

    Parameters
    ----------
    revision : str
        Anything that `git rev-parse` resolves to a commit.
    home : Path
        The project: the root of its repository or a folder in it.

    Raises
    ------
    SettingsError
        There is no such revision.
    DataError
        `home` is in no Git repository, or the revision has no table of scores.
    """
    inside = _git(home, "rev-parse", "--show-prefix")
    if inside.returncode:
        said = " ".join(inside.stderr.decode(errors="replace").split())
        raise DataError(f"{home}: expected a Git repository ({said}); compare in a clone")
    resolved = _git(home, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if resolved.returncode:
        raise SettingsError(
            f"{revision!r}: no such revision in {home}; expected a branch, a tag or a commit; "
            "`git branch --all` lists branches, `git fetch` brings those of others"
        )
    commit = resolved.stdout.decode().strip()
    name = f"{revision} ({commit[:7]})" if not commit.startswith(revision) else commit[:7]
    table = _git(home, "show", f"{commit}:./{SCORES.as_posix()}")
    if table.returncode:
        raise DataError(f"{name}: holds no {SCORES}; name a revision that was committed after `dvc repro`")
    return Revision(name, _parsed(table.stdout, f"{name}: {SCORES}"))


def workspace(home: Path) -> Revision:
    """The scores of the workspace.

    Raises
    ------
    DataError
        There are none.
    """
    path = home / SCORES
    try:
        return Revision(WORKSPACE, _parsed(path.read_bytes(), str(path)))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; run `dvc repro` first") from None


def compare(before: Revision, after: Revision, seed: int) -> Comparison:
    """What changed from one revision to another, track by track.

    Parameters
    ----------
    before, after : Revision
    seed : int
        Of the random draws of the intervals.

    Raises
    ------
    DataError
        The two have no track in common.
    """
    old_tracks, new_tracks = (set(revision.table["track"]) for revision in (before, after))
    if not old_tracks & new_tracks:
        raise DataError(
            f"{before.name} and {after.name} have no track in common; compare revisions of the same data set"
        )
    old_methods, new_methods = (list(revision.table["method"].unique()) for revision in (before, after))
    return Comparison(
        before.name,
        after.name,
        tuple(
            _change(before, after, method, target, new_tracks, seed)
            for method in new_methods
            if method in old_methods
            for target in TARGETS
        ),
        tuple(sorted(set(new_methods).difference(old_methods))),
        tuple(sorted(set(old_methods).difference(new_methods))),
        tuple(sorted(old_tracks - new_tracks)),
        tuple(sorted(new_tracks - old_tracks)),
    )


def _change(before: Revision, after: Revision, method: str, target: str, tracks: set[str], seed: int) -> Change:
    """The change of one method and target; `tracks` are those of the later data set."""
    old, new = (
        table[(table["method"] == method) & (table["target"] == target)].set_index("track")
        for table in (before.table, after.table)
    )
    both = old.index.intersection(new.index)
    silent = (int(old.loc[both, "silent"].sum()), int(new.loc[both, "silent"].sum()))
    old, new = old["SDR"].dropna(), new["SDR"].dropna()
    difference = (new - old).dropna().to_numpy()
    return Change(
        method,
        target,
        float(old.median()),
        float(new.median()),
        median_difference(difference, seed),
        lost=tuple(track for track in old.index if track in tracks and track not in new.index),
        silent=silent,
        same=set(old.index) == set(new.index) and not difference.any() and silent[0] == silent[1],
    )


def gate(comparison: Comparison, tolerance: float, *, allow_missing: bool = False) -> str:
    """Pass a comparison in which no method became worse.

    A method became worse if, for one of its targets, the median of its paired changes of SDR is below `-tolerance` and
    their interval lies below zero.  This holds for floor and ceiling too: if they become worse, the data or the scoring
    changed.  A single track has no interval, so it can't fail.  With fewer than six tracks the interval is the range of
    the changes, and lies below zero only if every track became worse.

    Parameters
    ----------
    comparison : Comparison
    tolerance : float
        dB, not negative.
    allow_missing : bool
        Whether a method may vanish, or a track lose its score, without failing.

    Returns
    -------
    str
        A summary, if nothing became worse.

    Raises
    ------
    GateError
        A method became worse, vanished, or lost the scores of tracks that are still in the data set.
    """
    fell = [
        str(change) for change in comparison.changes if change.paired.difference < -tolerance and change.paired.high < 0
    ]
    if not allow_missing:
        fell += [f"{method} is missing" for method in comparison.vanished]
        fell += _lost(comparison, str)
    if fell:
        raise GateError(
            f"worse than {comparison.before}: {'; '.join(fell)} (tolerance {tolerance:g} dB; in brackets "
            "the 95 % interval); `svs compare` shows every method"
        )
    judged = [change for change in comparison.changes if change.paired.tracks > 1]
    if not judged:
        return f"nothing to judge against {comparison.before}: no method has two tracks in common with it"
    methods = _counted(len({change.method for change in judged}), "method")
    if not comparison.shown():
        return f"no score changed against {comparison.before} ({methods})"
    worst = min(judged, key=lambda change: change.paired.difference)
    return f"no method fell against {comparison.before} by more than {tolerance:g} dB ({methods}; lowest: {worst})"


def as_text(comparison: Comparison) -> str:
    """A comparison as a table for a terminal."""
    lines = [f"SDR in dB, {comparison.before} -> {comparison.after}"]
    if rows := [change.cells() for change in comparison.shown()]:
        lines.append(text_table(pd.DataFrame(rows, columns=list(_COLUMNS)).set_index("method")))
    return "\n".join([*lines, *_remarks(comparison, str)])


def as_markdown(comparison: Comparison) -> str:
    """A comparison as GitHub's Markdown."""
    lines = [f"**SDR in dB, {_code(comparison.before)} → {_code(comparison.after)}**", ""]
    rows = [change.cells() for change in comparison.shown()]
    if rows:
        table: list[tuple[str, ...]] = [_COLUMNS, ("---", "---", "---:", "---:", "---:", "---", "---", "---:")]
        table += [(_code(row[0]), *row[1:4], f"**{row[4]}**", *row[5:]) for row in rows]
        lines += [f"| {' | '.join(row)} |" for row in table]
        lines.append("")
    lines += [f"- {remark}" for remark in _remarks(comparison, _code)]
    if rows:
        lines += [
            "",
            "before, after: median over tracks; change: median of the paired differences of the tracks, with 95 % by "
            "percentile bootstrap (with fewer than six tracks the interval is their range, and excludes zero only if "
            "all of them have the same sign).",
        ]
    return "\n".join(lines) + "\n"


def _remarks(comparison: Comparison, quoted: Callable[[str], str]) -> list[str]:
    changed = {change.method for change in comparison.shown()}
    same = dict.fromkeys(change.method for change in comparison.changes if change.method not in changed)
    methods = {
        "the same on every track": tuple(same),
        "methods that are new": comparison.appeared,
        "methods that are gone": comparison.vanished,
    }
    tracks = {"tracks that are new": comparison.tracks_after, "tracks that are gone": comparison.tracks_before}
    return [
        *(f"{text}: {', '.join(map(quoted, names))}" for text, names in methods.items() if names),
        *(f"{text}: {_named(names, quoted)}" for text, names in tracks.items() if names),
        *_lost(comparison, quoted),
        *(
            f"{quoted(change.method)} {change.target}: frames without a score, so left out, "
            f"{change.silent[0]} -> {change.silent[1]}"
            for change in comparison.changes
            if change.silent[0] != change.silent[1]
        ),
    ]


def _lost(comparison: Comparison, quoted: Callable[[str], str]) -> list[str]:
    return [
        f"{quoted(change.method)} {change.target} has no score any more for {_named(change.lost, quoted)}"
        for change in comparison.changes
        if change.lost
    ]


def _parsed(content: bytes, what: str) -> pd.DataFrame:
    """The columns of `Revision.table` of a CSV file; DataError if they are missing or a row is there twice."""
    types = {**dict.fromkeys(_KEY, str), "SDR": float, "silent": int}
    try:
        # A song may be called NA.
        table = pd.read_csv(
            io.BytesIO(content), usecols=list(types), dtype=types, keep_default_na=False, na_values={"SDR": ["", "nan"]}
        )
        table.set_index(_KEY, verify_integrity=True)
        if table.empty:
            raise ValueError("it has no row")
    except ValueError as error:  # pandas' own among them
        raise DataError(
            f"{what}: expected a table of scores as `dvc repro` writes it ({' '.join(str(error).split())})"
        ) from None
    return table


def _git(home: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["git", *words], cwd=home, capture_output=True)
    except FileNotFoundError:
        raise DataError("git is not installed; install it, because the scores of revisions are kept in Git") from None


def _decibels(value: float, sign: str = "") -> str:
    return f"{value:{sign}.2f}" if np.isfinite(value) else "-"


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _named(names: Sequence[str], quoted: Callable[[str], str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(map(quoted, names[:_NAMED])) + (f" and {rest} more" if rest > 0 else "")


def _code(name: str) -> str:
    """A name as Markdown's code, so that it is shown as it is."""
    return "`" + " ".join(name.replace("`", "'").replace("|", "¦").split()) + "`"
