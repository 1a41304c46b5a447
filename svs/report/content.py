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

OURS, PUBLISHED = "ours", "published"  # kinds of methods, beside these two that mark the ends of the scale
BOTTOM, TOP = "floor", "ceiling"
PROTOCOLS = {BSSEVAL: "BSS Eval v4", DISSERTATION: "the dissertation's protocol"}
_TABLES = {BSSEVAL: "scores.csv", DISSERTATION: "scores_dissertation.csv"}
_TRAININGS = ("autoencoder", "vad")  # beside the models of the settings
_DETERMINING = ("params.yaml", "dvc.yaml", "stages", "svs")  # what results follow from, in the repository
_SCORES = ("method", "track", "target", *MEASURES, "frames", "silent")
_PAIRED = ("method", "system", "target", "tracks", "difference", "low", "high", "wins", "ties", "losses")
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Method:
    """A method of ours or a published system: what kind it is, who ran it, and in a few words what it is."""

    name: str
    kind: str
    here: bool
    text: str


@dataclass(frozen=True)
class Commit:
    """The commit that results follow from, or `UNKNOWN`, and whether files were changed since."""

    name: str
    dirty: bool


@dataclass(frozen=True)
class Content:
    """Everything on the page but what belongs to passages of tracks.

    Parameters
    ----------
    commit : Commit
    manifest : Manifest
    methods : list of Method
        Those with scores, ours first.
    absent : dict of str to str
        Methods that could not run, and why.
    unpublished : str, optional
        Why the published systems are left out; None where they are here.
    tracks : list of str
        Every track with a score.
    scores : dict
        Protocol, method, target, measure: one value a track (dB; None where there is none), in the order of `tracks`.
    frames : dict
        Track: `second` (list of s), and by target and method the SDR of every frame (dB or None).
    paired : DataFrame
    curves : dict
        Training: columns epoch, loss, val_loss as lists, and the `seed`'s validation loss or None.
    trainings : dict
        Training: best epoch, losses.
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
    """Read what the pipeline has left below `home`.

    Raises
    ------
    DataError
        A table is missing, or is not what it should be.
    """
    metrics = Path(home) / paths.METRICS
    tables = {protocol: _table(metrics / name, _SCORES) for protocol, name in _TABLES.items()}
    published = _table(metrics / "published.csv", _SCORES)
    frames = _table(metrics / "frames.csv", ("track", "target", "second"))
    absent = {
        method: reason
        for method in settings.methods
        if (reason := unavailable.reason(Path(home) / paths.ESTIMATES / method))
    }
    names = list(dict.fromkeys(tables[BSSEVAL]["method"]))
    tables[BSSEVAL] = pd.concat([tables[BSSEVAL], published], ignore_index=True) if len(published) else tables[BSSEVAL]
    manifest = Manifest.load(Path(home) / paths.MANIFEST)
    tracks = list(dict.fromkeys([*(track.name for track in manifest.split("test")), *tables[BSSEVAL]["track"]]))
    trainings = [_TRAININGS[0], *settings.models, *_TRAININGS[1:]]
    results = {name: read_json(metrics / "training" / f"{name}.json") for name in trainings}
    return Content(
        commit=commit(home),
        manifest=manifest,
        methods=[*map(_method, names), *map(_system, dict.fromkeys(published["method"]))],
        absent=absent,
        unpublished=None
        if len(published)
        else unavailable.reason(Path(home) / paths.PUBLISHED) or "metrics/published.csv names none",
        tracks=tracks,
        scores={protocol: _by_method(table, tracks) for protocol, table in tables.items()},
        frames={str(track): _seconds(rows, names) for track, rows in frames.groupby("track", sort=False)},
        paired=_table(metrics / "paired.csv", _PAIRED).astype(dict.fromkeys(("tracks", "wins", "ties", "losses"), int)),
        curves={
            name: _curve(Path(home) / paths.CURVES / f"{name}.csv", results[name].get("val_loss_of_the_dissertation"))
            for name in trainings
        },
        trainings=results,
        activity=read_json(metrics / "vad.json"),
    )


def _table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A CSV with at least these columns, whose names of tracks and methods stay texts whatever they look like."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)  # a track may be called NA
        for name in table.columns.difference(["method", "system", "track", "target"]):
            table[name] = [float(text or "nan") for text in table[name]]
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
    found: dict[str, Any] = {"second": _numbers(sorted(rows["second"].unique()), 3)}
    for target in TARGETS:
        those = rows[rows["target"] == target].drop_duplicates("second").set_index("second")
        those = those.reindex(sorted(rows["second"].unique()))
        found[target] = {name: _numbers(those[name], 2) for name in methods if name in those}
    return found


def _curve(path: Path, seed: float | None) -> dict[str, Any]:
    table = _table(path, ("epoch", "loss", "val_loss"))
    return {**{name: _numbers(table[name], 6) for name in ("epoch", "loss", "val_loss")}, "seed": seed}


def _numbers(values: Sequence[float], digits: int) -> list[float | None]:
    """Rounded, None for what is not finite."""
    return [round(float(value), digits) if math.isfinite(value) else None for value in np.asarray(values, dtype=float)]


def median(values: Sequence[float | None]) -> float | None:
    finite = [value for value in values if value is not None]
    return float(np.median(finite)) if finite else None


def commit(home: Path) -> Commit:
    """The last commit that touched what determines results: parameters, stages and library.

    Not simply the last one: the commit that adds a run's results comes after
    the run, and a page made at either must have the same bytes.  Needs the
    history: a shallow clone knows only its newest commit.
    """

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", *arguments, "--", *_DETERMINING], cwd=home, capture_output=True, text=True)
        except OSError:  # there is no git
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    # A folder inside somebody else's repository has no commit of its own.
    name = git("log", "-1", "--format=%H")
    if not name:
        return Commit(UNKNOWN, False)
    return Commit(name, bool(git("status", "--porcelain", "--untracked-files=normal")))


def flat(group: BaseModel | dict, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Keys with dots and values of a group of settings, as text."""
    items = group.model_dump(mode="json") if isinstance(group, BaseModel) else group
    if chosen := items.get("variant"):  # the other variants' parameters do nothing
        items = {key: value for key, value in items.items() if key == chosen or not isinstance(value, dict)}
    for key, value in items.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, _text(value)


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return ", ".join(map(_text, value)) if isinstance(value, (list, tuple)) else str(value)
