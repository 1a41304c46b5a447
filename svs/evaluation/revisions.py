"""Scores of two revisions of a repository: what changed on each track, and whether a method became worse.

The scores of a revision are its table `metrics/scores.csv` in Git.  Those of the workspace are the file itself.
Tracks are paired by name, so that the same songs are compared.
"""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from svs.config import paths
from svs.errors import DataError, GateError, SettingsError
from svs.evaluation import rulers
from svs.evaluation.paired import Paired, interval, median_difference
from svs.evaluation.tables import DATASET, read_table, text_table
from svs.stems import TARGETS

SCORES = paths.METRICS / "scores.csv"
DENOISED = paths.METRICS / "denoise.csv"  # of recordings in noise; revisions before it have none
WORKSPACE = "workspace"
_KEY = ["method", "track", "target"]
_NAMED = 12  # methods or tracks that are named before the rest is counted


class Revision(NamedTuple):
    """Scores of one revision."""

    name: str  # as the user gave it, with its commit
    table: pd.DataFrame  # at least the columns method, track, target, SDR and silent of a `track_table`

    @property
    def songs(self) -> pd.DataFrame:
        """The rows of songs, without those of recordings in noise."""
        return self.table[self.table["target"].isin(TARGETS)]


@dataclass(frozen=True)
class Change:
    """One method and target in both revisions; positive is better."""

    method: str
    target: str  # with its data set, where a revision has several
    before: float  # median SDR over all tracks of a revision, dB
    after: float
    paired: Paired  # the change on the tracks with a score in both
    lost: list[str]  # tracks in both data sets that have lost their score
    silent: tuple[int, int]  # frames without a score, before and after, of the tracks in both
    same: bool  # whether no track changed

    def __str__(self) -> str:
        paired = self.paired
        change = f"{paired.difference:+.2f} dB {interval(paired.low, paired.high)}"
        return f"{self.method} {self.target} {change} on {paired.tracks} tracks"

    def cells(self) -> dict[str, str]:
        """The row of a table of changes."""
        paired = self.paired
        return {
            "method": self.method,
            "target": self.target,
            "before": f"{self.before:.2f}",
            "after": f"{self.after:.2f}",
            "change": f"{paired.difference:+.2f}",
            "95 % interval": interval(paired.low, paired.high),
            "better / tie / worse": f"{paired.wins} / {paired.ties} / {paired.losses}",
            "tracks": str(paired.tracks),
        }


@dataclass(frozen=True)
class Comparison:
    """Two revisions: changes of the methods in both, and the methods and tracks that only one of them has."""

    before: str
    after: str
    changes: list[Change]
    appeared: list[str]
    vanished: list[str]
    tracks_before: list[str]  # only in the earlier revision
    tracks_after: list[str]

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
            f"`git branch --all` lists branches, {_fetched(home)}"
        )
    commit = resolved.stdout.decode().strip()
    name = f"{revision} ({commit[:7]})" if not commit.startswith(revision) else commit[:7]
    table = _git(home, "show", f"{commit}:./{SCORES.as_posix()}")
    if table.returncode:
        raise DataError(f"{name}: holds no {SCORES}; name a revision that was committed after `dvc repro`")
    noisy = _git(home, "show", f"{commit}:./{DENOISED.as_posix()}")
    return _revision(name, io.BytesIO(table.stdout), None if noisy.returncode else io.BytesIO(noisy.stdout))


def _fetched(home: Path) -> str:
    """How to get more revisions into a clone."""
    if _git(home, "rev-parse", "--is-shallow-repository").stdout.strip() == b"true":
        return "and `git fetch --unshallow` brings the history that this shallow clone lacks"
    return "`git fetch` brings those of others"


def workspace(home: Path) -> Revision:
    """The scores of the workspace.

    Raises
    ------
    DataError
        There are none.
    """
    noisy = home / DENOISED
    return _revision(WORKSPACE, home / SCORES, noisy if noisy.is_file() else None)


def _revision(name: str, source: Path | io.BytesIO, noisy: Path | io.BytesIO | None) -> Revision:
    table = read_table(source, [*_KEY, "SDR", "silent"], f"{name}: {SCORES}")
    if table.empty or table.duplicated(_KEY).any():
        raise DataError(f"{name}: {SCORES}: expected one row for each method, track and target; run `dvc repro`")
    # The rulers that are gated are targets too: "vocals uSDR".
    gated = [
        table.assign(target=table["target"] + f" {column}", SDR=table[column], silent=0.0)
        for column in rulers.GATED
        if column in table
    ]
    table = pd.concat([table, *gated], ignore_index=True)
    if noisy is not None:
        # A recording in noise is a track, its kind (voice, respiratory) the target, its SI-SDR the SDR.
        found = read_table(noisy, ("method", "recording", "kind", "SI_SDR"), f"{name}: {DENOISED}")
        found = found.rename(columns={"recording": "track", "kind": "target", "SI_SDR": "SDR"}).assign(silent=0.0)
        table = pd.concat([table, found[[*_KEY, "SDR", "silent"]]], ignore_index=True)
    return Revision(name, table)


def _labelled(table: pd.DataFrame, sets: Mapping[str, str]) -> pd.Series:
    """The targets of the rows of a table, with the data set of the track where it has one: "vocals, mir1k"."""
    pairs = zip(table["track"], table["target"], strict=True)
    return pd.Series([f"{target}, {sets[track]}" if track in sets else target for track, target in pairs], table.index)


def compare(before: Revision, after: Revision, seed: int) -> Comparison:
    """What changed from one revision to another, track by track.

    `seed` is that of the random draws of the intervals.

    Raises
    ------
    DataError
        The two have no track in common.
    """
    old_tracks, new_tracks = (set(revision.table["track"]) for revision in (before, after))
    if not set(before.songs["track"]) & set(after.songs["track"]):
        raise DataError(
            f"{before.name} and {after.name} have no track in common; compare revisions of the same data set"
        )
    old_methods, new_methods = (list(revision.table["method"].unique()) for revision in (before, after))
    sets: dict[str, str] = {}  # of tracks; a revision of one data set alone names none
    for table in (before.table, after.table):
        if DATASET in table:
            sets |= table.dropna(subset=[DATASET]).set_index("track")[DATASET].to_dict()
    old, new = (revision.table.assign(target=_labelled(revision.table, sets)) for revision in (before, after))
    pairs = old.merge(new, "outer", _KEY, suffixes=("_before", "_after")).set_index("track")
    return Comparison(
        before.name,
        after.name,
        [
            _change(pairs, method, target, new_tracks, seed)
            for method in new_methods
            if method in old_methods
            for target in new.loc[new["method"] == method, "target"].unique()
            if target in set(old.loc[old["method"] == method, "target"])
        ],
        sorted(set(new_methods).difference(old_methods)),
        sorted(set(old_methods).difference(new_methods)),
        sorted(old_tracks - new_tracks),
        sorted(new_tracks - old_tracks),
    )


def _change(pairs: pd.DataFrame, method: str, target: str, tracks: set[str], seed: int) -> Change:
    """The change of one method and target; `tracks` are those of the later data set."""
    rows = pairs[(pairs["method"] == method) & (pairs["target"] == target)]
    old, new = rows["SDR_before"], rows["SDR_after"]
    both = rows.dropna(subset=["silent_before", "silent_after"])
    silent = int(both["silent_before"].sum()), int(both["silent_after"].sum())
    return Change(
        method,
        target,
        float(old.median()),
        float(new.median()),
        median_difference((new - old).to_numpy(), seed),
        lost=[track for track in rows.index[old.notna() & new.isna()] if track in tracks],
        silent=silent,
        same=old.equals(new) and silent[0] == silent[1],
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
        fell += [_lost(change, str) for change in comparison.changes if change.lost]
    if fell:
        raise GateError(
            f"worse than {comparison.before}: {'; '.join(fell)} (tolerance {tolerance:g} dB; in brackets "
            "the 95 % interval); `svs compare` shows every method"
        )
    judged = [change for change in comparison.changes if change.paired.tracks > 1]
    if not judged:
        return f"nothing to judge against {comparison.before}: no method has two tracks in common with it"
    methods = f"methods: {len({change.method for change in judged})}"
    if not comparison.shown():
        return f"no score changed against {comparison.before} ({methods})"
    worst = min(judged, key=lambda change: change.paired.difference)
    return f"no method fell against {comparison.before} by more than {tolerance:g} dB ({methods}; lowest: {worst})"


def as_text(comparison: Comparison) -> str:
    """A comparison as a table for a terminal."""
    lines = [f"SDR in dB, {comparison.before} -> {comparison.after}"]
    if rows := [change.cells() for change in comparison.shown()]:
        lines.append(text_table(pd.DataFrame(rows).set_index("method")))
    return "\n".join([*lines, *_remarks(comparison, str)])


def as_markdown(comparison: Comparison) -> str:
    """A comparison as GitHub's Markdown."""
    lines = [f"**SDR in dB, {_code(comparison.before)} → {_code(comparison.after)}**", ""]
    rows = [change.cells() for change in comparison.shown()]
    if rows:
        table = [list(rows[0]), ["---", "---", "---:", "---:", "---:", "---", "---", "---:"]]
        table += [[*{**row, "method": _code(row["method"]), "change": f"**{row['change']}**"}.values()] for row in rows]
        lines += [*(f"| {' | '.join(cells)} |" for cells in table), ""]
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
    groups = {
        "the same on every track": list(
            dict.fromkeys(change.method for change in comparison.changes if change.method not in changed)
        ),
        "methods that are new": comparison.appeared,
        "methods that are gone": comparison.vanished,
        "tracks that are new": comparison.tracks_after,
        "tracks that are gone": comparison.tracks_before,
    }
    remarks = [f"{text}: {_named(names, quoted)}" for text, names in groups.items() if names]
    for change in comparison.changes:
        old, new = change.silent
        if change.lost:
            remarks.append(_lost(change, quoted))
        if old != new:
            what = f"{quoted(change.method)} {change.target}"
            remarks.append(f"{what}: frames without a score, so left out, {old} -> {new}")
    return remarks


def _lost(change: Change, quoted: Callable[[str], str]) -> str:
    return f"{quoted(change.method)} {change.target} has no score any more for {_named(change.lost, quoted)}"


def _named(names: Sequence[str], quoted: Callable[[str], str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(map(quoted, names[:_NAMED])) + (f" and {rest} more" if rest > 0 else "")


def _code(name: str) -> str:
    """A name as Markdown's code, so that it is shown as it is."""
    return "`" + " ".join(name.replace("`", "'").replace("|", "¦").split()) + "`"


def _git(home: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    if not home.is_dir():  # as where nobody named a project
        raise DataError(f"{home}: no such folder; expected a project with scores in Git, name it with --project")
    try:
        return subprocess.run(["git", *words], cwd=home, capture_output=True)
    except FileNotFoundError:
        raise DataError("git is not installed; install it, because the scores of revisions are kept in Git") from None
