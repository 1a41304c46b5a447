"""Scores of two revisions of a repository: what changed on each track, and whether a method fell.

The scores of a revision are the table `metrics/scores.csv` that Git holds of it; those of the workspace are the file
as it lies there.  Tracks are paired by name, so that what is compared is the change on the same songs.
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
from svs.evaluation.museval_json import MEASURES
from svs.evaluation.paired import Paired, median_difference
from svs.stems import TARGETS

SCORES = paths.METRICS / "scores.csv"
WORKSPACE = "workspace"
_KEY = ["method", "track", "target"]
_NAMED = 5  # so many tracks are named before the rest is counted


@dataclass(frozen=True)
class Revision:
    """Scores as they were at one point.

    Attributes
    ----------
    name : str
        As it was asked for, with the commit that it stands for.
    table : DataFrame
        As `svs.evaluation.tables.track_table`.
    """

    name: str
    table: pd.DataFrame


@dataclass(frozen=True)
class Change:
    """One method and target, in both revisions; positive is better.

    Attributes
    ----------
    before, after : float
        Median SDR over all tracks of each revision, dB.
    paired : Paired
        The change on the tracks that both have a score for.
    lost : tuple of str
        Tracks of the later data set that had a score and have none any more.
    silent : tuple of int
        Frames without a score, before and after, of the tracks in both.
    same : bool
        Not one track changed.
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
        return f"{self.method} {self.target} {self.paired.difference:+.2f} dB {_interval(self.paired)} on " + _counted(
            self.paired.tracks, "track"
        )


@dataclass(frozen=True)
class Comparison:
    """Two revisions: changes of the methods in both, and what only one of them has."""

    before: str
    after: str
    changes: tuple[Change, ...]
    appeared: tuple[str, ...]
    vanished: tuple[str, ...]
    tracks_before: tuple[str, ...]  # that only the earlier one has
    tracks_after: tuple[str, ...]


def committed(revision: str, home: Path) -> Revision:
    """The scores of a branch, tag or commit.

    Parameters
    ----------
    revision : str
        Whatever `git rev-parse` resolves to a commit.
    home : Path
        The project; the root of its repository or a folder in it.

    Raises
    ------
    SettingsError
        There is no such revision.
    DataError
        `home` is in no Git repository, or the revision holds no table of scores.
    """
    inside = _git(home, "rev-parse", "--show-prefix")
    if inside.returncode:
        raise DataError(
            f"{home}: expected a Git repository, where another revision's scores are kept "
            f"({_said(inside)}); compare in a clone"
        )
    resolved = _git(home, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if resolved.returncode:
        raise SettingsError(
            f"{revision!r}: no such revision in {home}; expected a branch, a tag or a commit; "
            "`git branch --all` lists branches, `git fetch` brings those of others"
        )
    commit = resolved.stdout.decode().strip()
    name = f"{revision} ({commit[:7]})" if not commit.startswith(revision) else commit[:7]
    shown = _git(home, "show", f"{commit}:./{SCORES.as_posix()}")
    if shown.returncode:
        raise DataError(
            f"{name}: holds no {SCORES}, so there is nothing to compare with; name a revision that was "
            "committed after `dvc repro`"
        )
    return Revision(name, _parsed(shown.stdout, f"{name}: {SCORES}"))


def workspace(home: Path) -> Revision:
    """The scores as they lie in the workspace.

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
        Of the draws of the intervals.

    Raises
    ------
    DataError
        The two have no track in common.
    """
    tracks = [pd.Index(revision.table["track"].unique()) for revision in (before, after)]
    if not len(tracks[0].intersection(tracks[1])):
        raise DataError(
            f"{before.name} and {after.name} have no track in common, so nothing can be paired; "
            "compare revisions of the same data set"
        )
    methods = [pd.Index(revision.table["method"].unique()) for revision in (before, after)]
    changes = []
    for method in methods[1][methods[1].isin(methods[0])]:
        for target in TARGETS:
            change = _change(
                method, target, *(_of(revision.table, method, target) for revision in (before, after)), tracks[1], seed
            )
            if change is not None:
                changes.append(change)
    return Comparison(
        before.name,
        after.name,
        tuple(changes),
        tuple(methods[1].difference(methods[0])),
        tuple(methods[0].difference(methods[1])),
        tuple(tracks[0].difference(tracks[1])),
        tuple(tracks[1].difference(tracks[0])),
    )


def gate(comparison: Comparison, tolerance: float, *, allow_missing: bool = False) -> str:
    """Let a comparison through where no method fell.

    A method falls when, for one of its targets, the median of its paired changes of SDR is below `-tolerance` and
    their interval lies below zero.  Floor and ceiling are held to it like every method: where they fall, the data or
    the scoring changed.  One track alone has no interval, so it can't fail.  With fewer than six tracks the interval
    is the range of the changes, and lies below zero only where every track got worse.

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
        What was found, where nothing fell.

    Raises
    ------
    GateError
        A method fell, vanished, or lost the scores of tracks that are still there.
    """
    fell = [
        str(change) for change in comparison.changes if change.paired.difference < -tolerance and change.paired.high < 0
    ]
    if not allow_missing:
        fell += [f"{method} is missing" for method in comparison.vanished]
        fell += [
            f"{change.method} {change.target} has no score any more for {_named(change.lost)}"
            for change in comparison.changes
            if change.lost
        ]
    if fell:
        raise GateError(
            f"worse than {comparison.before}: {'; '.join(fell)} (tolerance {tolerance:g} dB; in brackets "
            "the 95 % interval); `svs compare` shows every method"
        )
    judged = [change for change in comparison.changes if change.paired.tracks > 1]
    if not judged:
        return f"nothing to judge against {comparison.before}: no method has two tracks in common with it"
    methods = _counted(len({change.method for change in judged}), "method")
    if not _shown(comparison):
        return f"no score changed against {comparison.before} ({methods})"
    worst = min(judged, key=lambda change: change.paired.difference)
    return f"no method fell against {comparison.before} by more than {tolerance:g} dB ({methods}; lowest: {worst})"


def as_text(comparison: Comparison) -> str:
    """A comparison as a table for a terminal."""
    lines = []
    shown = _shown(comparison)
    if shown:
        width = max(len(change.method) for change in shown)
        lines.append(
            f"{'method':<{width}}  {'target':<13}{'before':>8}{'after':>8}{'change':>8}  "
            f"{'95 % interval':<18}{'better/tie/worse':>16}{'tracks':>8}"
        )
        lines += [
            f"{change.method:<{width}}  {change.target:<13}{_decibels(change.before):>8}"
            f"{_decibels(change.after):>8}{_signed(change.paired.difference):>8}  "
            f"{_interval(change.paired):<18}{_outcome(change.paired):>16}{change.paired.tracks:>8}"
            for change in shown
        ]
    return "\n".join(
        [f"SDR in dB, {comparison.before} -> {comparison.after}", *lines, *_remarks(comparison, lambda name: name)]
    )


def as_markdown(comparison: Comparison) -> str:
    """A comparison as GitHub's Markdown."""
    lines = [f"**SDR in dB, {_code(comparison.before)} → {_code(comparison.after)}**", ""]
    shown = _shown(comparison)
    if shown:
        lines += [
            "| method | target | before | after | change | 95 % interval | better / tie / worse | tracks |",
            "| --- | --- | ---: | ---: | ---: | --- | --- | ---: |",
        ]
        lines += [
            f"| {_code(change.method)} | {change.target} | {_decibels(change.before)} | "
            f"{_decibels(change.after)} | **{_signed(change.paired.difference)}** | {_interval(change.paired)} | "
            f"{_outcome(change.paired)} | {change.paired.tracks} |"
            for change in shown
        ]
        lines.append("")
    lines += [f"- {remark}" for remark in _remarks(comparison, _code)]
    if shown:
        lines += [
            "",
            f"before, after: median over tracks; change: median of the paired differences of the tracks, "
            f"with {_CONFIDENCE}.",
        ]
    return "\n".join(lines) + "\n"


_CONFIDENCE = (
    "95 % by percentile bootstrap (with fewer than six tracks it is their range: it excludes zero only "
    "where all of them moved the same way)"
)


def _shown(comparison: Comparison) -> list[Change]:
    """Changes of the methods of which at least one target changed."""
    changed = {change.method for change in comparison.changes if not change.same}
    return [change for change in comparison.changes if change.method in changed]


def _remarks(comparison: Comparison, quoted: Callable[[str], str]) -> list[str]:
    methods = dict.fromkeys(change.method for change in comparison.changes)
    changed = {change.method for change in _shown(comparison)}
    remarks = []
    for text, names in (
        ("the same on every track", [method for method in methods if method not in changed]),
        ("methods that are new", comparison.appeared),
        ("methods that are gone", comparison.vanished),
    ):
        if names:
            remarks.append(f"{text}: {', '.join(map(quoted, names))}")
    for text, names in (
        ("tracks that are new", comparison.tracks_after),
        ("tracks that are gone", comparison.tracks_before),
    ):
        if names:
            remarks.append(f"{text}: {_named(list(map(quoted, names)))}")
    remarks += [
        f"{quoted(change.method)} {change.target} has no score any more for {_named(list(map(quoted, change.lost)))}"
        for change in comparison.changes
        if change.lost
    ]
    remarks += [
        f"{quoted(change.method)} {change.target}: frames without a score, so left out, "
        f"{change.silent[0]} -> {change.silent[1]}"
        for change in comparison.changes
        if change.silent[0] != change.silent[1]
    ]
    return remarks


def _of(table: pd.DataFrame, method: str, target: str) -> pd.DataFrame:
    """Rows of one method and target, by track."""
    return table[(table["method"] == method) & (table["target"] == target)].set_index("track")


def _change(
    method: str, target: str, before: pd.DataFrame, after: pd.DataFrame, tracks: pd.Index, seed: int
) -> Change | None:
    """The change of one method and target; None where neither revision scored it."""
    if before.empty and after.empty:
        return None
    old, new = (rows["SDR"][np.isfinite(rows["SDR"])] for rows in (before, after))
    difference = (new - old).dropna().to_numpy()
    lost = tuple(track for track in old.index if track in tracks and track not in new.index)
    both = before.index.intersection(after.index)
    silent = (int(before.loc[both, "silent"].sum()), int(after.loc[both, "silent"].sum()))
    same = set(old.index) == set(new.index) and not difference.any() and silent[0] == silent[1]
    return Change(
        method,
        target,
        float(old.median()),
        float(new.median()),
        median_difference(difference, seed),
        lost,
        silent,
        same,
    )


def _parsed(content: bytes, what: str) -> pd.DataFrame:
    text = dict.fromkeys(_KEY, str)
    try:
        # A song may be called NA; an empty score is none.
        table = pd.read_csv(
            io.BytesIO(content),
            dtype={**text, **dict.fromkeys(MEASURES, float), "silent": int},
            keep_default_na=False,
            na_values=dict.fromkeys(MEASURES, ["", "nan", "NaN"]),
        )
        missing = [column for column in [*_KEY, "SDR", "silent"] if column not in table]
        if missing:
            raise ValueError(f"the columns {', '.join(missing)} are missing")
        if table.duplicated(_KEY).any():
            raise ValueError(f"{' '.join(table.loc[table.duplicated(_KEY), _KEY].iloc[0])} is there twice")
        if not len(table):
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
        raise DataError("git is not installed, and another revision's scores are kept in Git; install it") from None


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return lines[0] if lines else f"git exited with {done.returncode}"


def _interval(paired: Paired) -> str:
    return f"[{paired.low:+.2f}, {paired.high:+.2f}]" if np.isfinite(paired.low) else "[no interval]"


def _outcome(paired: Paired) -> str:
    return f"{paired.wins} / {paired.ties} / {paired.losses}"


def _decibels(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "-"


def _signed(value: float) -> str:
    return f"{value:+.2f}" if np.isfinite(value) else "-"


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _named(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _code(name: str) -> str:
    """A name that Markdown leaves as it is."""
    return "`" + " ".join(name.replace("`", "'").replace("|", "¦").split()) + "`"
