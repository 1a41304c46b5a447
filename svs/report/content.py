"""What the report shows, read from what the pipeline has left: scores, comparisons, curves, parameters, commit."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from svs import separators
from svs.config import paths
from svs.config.schema import Settings
from svs.data.dataset import Manifest
from svs.evaluation import rulers
from svs.evaluation.museval_json import BSSEVAL, DISSERTATION, MEASURES
from svs.evaluation.published import FLOOR, ORACLES, OUTPERFORMED
from svs.evaluation.tables import DATASET, PAIRED_COLUMNS, TRACK_COLUMNS, by_dataset, read_table
from svs.runtime import unavailable
from svs.runtime.files import read_json
from svs.separators import Kind
from svs.stems import TARGETS

# Kinds of methods; pretrained ones run here, but others trained them.
OURS, PRETRAINED, PUBLISHED, BOTTOM, TOP = "ours", "pretrained", "published", "floor", "ceiling"
_KINDS = {Kind.PRETRAINED: PRETRAINED, Kind.ORACLE: TOP, Kind.FLOOR: BOTTOM}
PROTOCOLS = {BSSEVAL: "BSS Eval v4", DISSERTATION: "the dissertation's protocol"}
_DETERMINING = ("params.yaml", "wiring.yaml", "dvc.yaml", "stages", "svs")  # what determines the results
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Method:
    """A method of ours (`here`) or a published system: its kind, and what it is in a few words."""

    name: str
    kind: str
    here: bool
    text: str


class Commit(NamedTuple):
    """The commit that determines the results, or `UNKNOWN`, and whether files were changed since."""

    name: str
    dirty: bool


@dataclass(frozen=True)
class Content:
    """Everything on the page, except the passages of tracks."""

    commit: Commit
    manifest: Manifest
    datasets: dict[str, str]  # of tracks; empty where one data set alone is scored
    methods: list[Method]  # with scores, ours first
    absent: dict[str, str]  # methods that could not run, and why
    unpublished: str | None  # why the published systems are left out; None if they are included
    tracks: list[str]  # every track with a score
    table: pd.DataFrame  # BSS Eval v4 and rulers: `svs.evaluation.tables.track_table` of all methods
    measures: list[str]  # those of BSS Eval v4, then those of the rulers that the table has
    protocols: dict[str, str]  # what they are called; those of several data sets, each by itself
    scores: dict[str, Any]  # by protocol, method, target and measure a list: dB or None for each of `tracks`
    frames: dict[str, Any]  # by track: `second` (list of s), and by target and method the SDR of every frame or None
    paired: pd.DataFrame
    curves: dict[str, Any]  # by training: lists of epoch, loss, val_loss; as `seed` the dissertation's val_loss or None
    trainings: dict[str, Any]  # by training: best epoch, losses
    activity: dict[str, dict[str, Any]]  # scores of the voice activity net: of all test tracks as "", of each data set


def gather(home: Path, settings: Settings) -> Content:
    """Read the results of the pipeline below `home`.

    Raises
    ------
    DataError
        A table is missing, or is not what it should be.
    """
    home = Path(home)
    metrics = home / paths.METRICS
    ours, dissertation, published = (
        read_table(metrics / f"{name}.csv", TRACK_COLUMNS) for name in ("scores", "scores_dissertation", "published")
    )
    table = pd.concat([ours, published], ignore_index=True) if len(published) else ours
    names = list(ours["method"].unique())
    frames = read_table(metrics / "frames.csv", ("track", "target", "second"))
    reasons = {method: unavailable.reason(home / paths.ESTIMATES / method) for method in settings.methods}
    vad = read_json(metrics / "vad.json")
    manifest = Manifest.load(home / paths.MANIFEST)
    tracks = list(dict.fromkeys([*(track.name for track in manifest.split("test")), *table["track"]]))
    trainings = ("autoencoder", *settings.models, "vad")
    results = {name: read_json(metrics / "training" / f"{name}.json") for name in trainings}
    unpublished = unavailable.reason(home / paths.PUBLISHED) or "metrics/published.csv names none"
    counts = dict.fromkeys(("tracks", "wins", "ties", "losses"), int)
    datasets = {track.name: track.dataset for track in manifest.split("test") if track.dataset}
    if datasets:
        table = table.assign(**{DATASET: table["track"].map(datasets)})
    scores = {BSSEVAL: by_dataset(table), DISSERTATION: by_dataset(dissertation)}
    return Content(
        commit=commit(home),
        manifest=manifest,
        datasets=datasets,
        methods=[*map(_method, names), *map(_system, published["method"].unique())],
        absent={method: reason for method, reason in reasons.items() if reason},
        unpublished=None if len(published) else unpublished,
        tracks=tracks,
        table=table,
        measures=[*MEASURES, *rulers.present(table)],
        protocols={
            _key(key, name): f"{text}, {name}" if name else text
            for key, text in PROTOCOLS.items()
            for name in scores[key]
        },
        scores={_key(key, name): _by_method(rows, tracks) for key in PROTOCOLS for name, rows in scores[key].items()},
        frames={str(track): _seconds(rows, names) for track, rows in frames.groupby("track", sort=False)},
        paired=read_table(metrics / "paired.csv", PAIRED_COLUMNS).astype(counts),
        curves={name: _curve(home / paths.CURVES / f"{name}.csv", results[name]) for name in trainings},
        trainings=results,
        activity={"": vad, **vad.get("datasets", {})},
    )


def _key(protocol: str, dataset: str) -> str:
    return f"{protocol}, {dataset}" if dataset else protocol


def _method(name: str) -> Method:
    known = separators.methods().get(name)
    return Method(name, _KINDS.get(known.kind, OURS) if known else OURS, True, known.about if known else "")


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
    measures = [*MEASURES, *rulers.present(table)]
    for (method, target), rows in table.groupby(["method", "target"], sort=False):
        rows = rows.set_index("track").reindex(tracks)
        found.setdefault(method, {})[target] = {measure: _numbers(rows[measure], 3) for measure in measures}
    return found


def _seconds(rows: pd.DataFrame, methods: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"second": _numbers(rows["second"].unique(), 3)}
    for target in TARGETS:
        those = rows[rows["target"] == target]
        found[target] = {name: _numbers(those[name], 2) for name in methods if name in those}
    return found


def _curve(path: Path, result: dict[str, Any]) -> dict[str, Any]:
    columns = ("epoch", "loss", "val_loss")
    table = read_table(path, columns)
    losses = {name: _numbers(table[name], 6) for name in columns}
    return {**losses, "seed": result.get("val_loss_of_the_dissertation")}


def _numbers(values: Sequence[float], digits: int) -> list[float | None]:
    """Rounded, None for what is not finite."""
    return [round(float(value), digits) if math.isfinite(value) else None for value in np.asarray(values, dtype=float)]


def commit(home: Path) -> Commit:
    """The last commit that touched what determines the results: parameters, stages and library.

    Not simply the last commit: the results of a run are committed after the run, and the page must have the same bytes
    before and after.  Needs the history: a shallow clone knows only its newest commit.
    """

    def git(*arguments: str) -> str:
        command = ["git", *arguments, "--", *_DETERMINING]
        return subprocess.run(command, cwd=home, capture_output=True, text=True, check=True).stdout.strip()

    try:
        name = git("log", "-1", "--format=%H")  # empty in a repository that has none of these files
        return Commit(name or UNKNOWN, bool(name and git("status", "--porcelain", "--untracked-files=normal")))
    except (OSError, subprocess.CalledProcessError):  # git is not installed, or this is no repository
        return Commit(UNKNOWN, False)


def flat(items: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Keys (joined by dots) and values of a group of settings."""
    for key, value in items.items():
        if not isinstance(value, dict):
            yield prefix + key, value
        elif items.get("variant") in (None, key):  # the parameters of the other variants do nothing
            yield from flat(value, f"{prefix}{key}.")
