"""What the report shows, read from what the pipeline has left: scores, comparisons, curves, parameters, commit."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel

from svs import separators
from svs.config import paths
from svs.config.schema import Settings
from svs.data.dataset import Manifest
from svs.errors import DataError
from svs.evaluation.museval_json import BSSEVAL, DISSERTATION, MEASURES
from svs.evaluation.published import FLOOR, ORACLES, OUTPERFORMED
from svs.runtime import unavailable
from svs.runtime.files import read_json
from svs.separators import Kind
from svs.stems import TARGETS

OURS, PUBLISHED, BOTTOM, TOP = "ours", "published", "floor", "ceiling"  # kinds of methods
PROTOCOLS = {BSSEVAL: "BSS Eval v4", DISSERTATION: "the dissertation's protocol"}
_TABLES = {BSSEVAL: "scores.csv", DISSERTATION: "scores_dissertation.csv"}
_DETERMINING = ("params.yaml", "wiring.yaml", "dvc.yaml", "stages", "svs")  # what determines the results
_TEXTS = ("method", "system", "track", "target")  # columns that stay text, whatever they look like
_SCORES = ("method", "track", "target", *MEASURES, "frames", "silent")
_PAIRED = ("method", "system", "target", "tracks", "difference", "low", "high", "wins", "ties", "losses")
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Method:
    """A method of ours (`here`) or a published system: its kind, and what it is in a few words."""

    name: str
    kind: str
    here: bool
    text: str


@dataclass(frozen=True)
class Commit:
    """The commit that determines the results, or `UNKNOWN`, and whether files were changed since."""

    name: str
    dirty: bool


@dataclass(frozen=True)
class Content:
    """Everything on the page, except the passages of tracks.

    Parameters
    ----------
    commit : Commit
    manifest : Manifest
    methods : list of Method
        Methods with scores, ours first.
    absent : dict of str to str
        Methods that could not run, and why.
    unpublished : str, optional
        Why the published systems are left out; None if they are included.
    tracks : list of str
        Every track with a score.
    scores : dict
        By protocol, method, target and measure a list: dB or None for each of `tracks`.
    frames : dict
        By track: `second` (list of s), and by target and method the SDR of every frame (dB or None).
    paired : DataFrame
    curves : dict
        By training: lists of epoch, loss and val_loss, and as `seed` the dissertation's validation loss or None.
    trainings : dict
        By training: best epoch, losses.
    activity : dict
        Scores of the voice activity net.
    """

    commit: Commit
    manifest: Manifest
    methods: list[Method]
    absent: dict[str, str]
    unpublished: str | None
    tracks: list[str]
    scores: dict[str, Any]
    frames: dict[str, Any]
    paired: pd.DataFrame
    curves: dict[str, Any]
    trainings: dict[str, Any]
    activity: dict[str, Any]


def gather(home: Path, settings: Settings) -> Content:
    """Read the results of the pipeline below `home`.

    Raises
    ------
    DataError
        A table is missing, or is not what it should be.
    """
    home = Path(home)
    metrics = home / paths.METRICS
    tables = {protocol: _table(metrics / name, _SCORES) for protocol, name in _TABLES.items()}
    names = list(dict.fromkeys(tables[BSSEVAL]["method"]))
    published = _table(metrics / "published.csv", _SCORES)
    unpublished = None
    if len(published):
        tables[BSSEVAL] = pd.concat([tables[BSSEVAL], published], ignore_index=True)
    else:
        unpublished = unavailable.reason(home / paths.PUBLISHED) or "metrics/published.csv names none"
    frames = _table(metrics / "frames.csv", ("track", "target", "second"))
    reasons = {method: unavailable.reason(home / paths.ESTIMATES / method) for method in settings.methods}
    manifest = Manifest.load(home / paths.MANIFEST)
    tracks = list(dict.fromkeys([*(track.name for track in manifest.split("test")), *tables[BSSEVAL]["track"]]))
    trainings = ("autoencoder", *settings.models, "vad")
    results = {name: read_json(metrics / "training" / f"{name}.json") for name in trainings}
    return Content(
        commit=commit(home),
        manifest=manifest,
        methods=[*map(_method, names), *map(_system, dict.fromkeys(published["method"]))],
        absent={method: reason for method, reason in reasons.items() if reason},
        unpublished=unpublished,
        tracks=tracks,
        scores={protocol: _by_method(table, tracks) for protocol, table in tables.items()},
        frames={str(track): _seconds(rows, names) for track, rows in frames.groupby("track", sort=False)},
        paired=_table(metrics / "paired.csv", _PAIRED).astype(dict.fromkeys(("tracks", "wins", "ties", "losses"), int)),
        curves={name: _curve(home / paths.CURVES / f"{name}.csv", results[name]) for name in trainings},
        trainings=results,
        activity=read_json(metrics / "vad.json"),
    )


def _table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A CSV with at least these columns: texts, and float64."""
    try:
        texts = dict.fromkeys(_TEXTS, str)
        # Only an empty cell is a missing value: a track may be called NA.
        table = pd.read_csv(path, dtype=texts, keep_default_na=False, na_values=[""], float_precision="round_trip")
        table = table.astype(dict.fromkeys(table.columns.difference(_TEXTS), float))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; run `dvc repro` first") from None
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: not a table ({error}); delete it and run `dvc repro`") from None
    if missing := [name for name in columns if name not in table]:
        raise DataError(
            f"{path}: expected a table with the columns {', '.join(columns)}, "
            f"found none of {', '.join(missing)}; delete it and run `dvc repro`"
        )
    return table


def _method(name: str) -> Method:
    known = separators.methods().get(name)
    kind = {Kind.FLOOR: BOTTOM, Kind.ORACLE: TOP}.get(known.kind, OURS) if known else OURS
    return Method(name, kind, True, known.about if known else "")


def _system(name: str) -> Method:
    kind = BOTTOM if name == FLOOR else TOP if name in ORACLES else PUBLISHED
    text = {
        BOTTOM: "SiSEC18's floor: the mixture itself",
        TOP: "SiSEC18's ceiling: a mask from the true sources",
        PUBLISHED: "submitted to SiSEC18",
    }[kind]
    if name in OUTPERFORMED:
        text += "; the dissertation says that it outperformed it"
    return Method(name, kind, False, text)


def _by_method(table: pd.DataFrame, tracks: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for (method, target), rows in table.groupby(["method", "target"], sort=False):
        rows = rows.drop_duplicates("track").set_index("track")[list(MEASURES)].reindex(tracks)
        found.setdefault(method, {})[target] = {measure: _numbers(rows[measure], 3) for measure in MEASURES}
    return found


def _seconds(rows: pd.DataFrame, methods: list[str]) -> dict[str, Any]:
    seconds = sorted(rows["second"].unique())
    found: dict[str, Any] = {"second": _numbers(seconds, 3)}
    for target in TARGETS:
        those = rows[rows["target"] == target].drop_duplicates("second").set_index("second").reindex(seconds)
        found[target] = {name: _numbers(those[name], 2) for name in methods if name in those}
    return found


def _curve(path: Path, result: dict[str, Any]) -> dict[str, Any]:
    table = _table(path, ("epoch", "loss", "val_loss"))
    losses = {name: _numbers(table[name], 6) for name in ("epoch", "loss", "val_loss")}
    return {**losses, "seed": result.get("val_loss_of_the_dissertation")}


def _numbers(values: Sequence[float], digits: int) -> list[float | None]:
    """Rounded, None for what is not finite."""
    return [round(float(value), digits) if math.isfinite(value) else None for value in np.asarray(values, dtype=float)]


def median(values: Sequence[float | None]) -> float | None:
    """The median of the values that are not None; None if there are none."""
    finite = [value for value in values if value is not None]
    return float(np.median(finite)) if finite else None


def commit(home: Path) -> Commit:
    """The last commit that touched what determines the results: parameters, stages and library.

    Not simply the last commit: the results of a run are committed after the run, and the page must have the same bytes
    before and after.  Needs the history: a shallow clone knows only its newest commit.
    """

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", *arguments, "--", *_DETERMINING], cwd=home, capture_output=True, text=True)
        except OSError:  # git is not installed
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    # Empty for a folder in a repository that has none of these files.
    name = git("log", "-1", "--format=%H")
    dirty = bool(name and git("status", "--porcelain", "--untracked-files=normal"))
    return Commit(name or UNKNOWN, dirty)


def flat(group: BaseModel | dict, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Keys (joined by dots) and values of a group of settings, as text."""
    items = group.model_dump(mode="json") if isinstance(group, BaseModel) else group
    chosen = items.get("variant")
    for key, value in items.items():
        if not isinstance(value, dict):
            yield prefix + key, _text(value)
        elif chosen in (None, key):  # the parameters of the other variants do nothing
            yield from flat(value, f"{prefix}{key}.")


def _text(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case list() | tuple():
            return ", ".join(map(_text, value))
    return str(value)
