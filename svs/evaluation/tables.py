"""Tables of scores: one row per track and target, and medians per method.

As in SiSEC18: of each track the median over frames, of each method the median
over tracks; NaN frames (a silent source) are left out and counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from svs.config.schema import Score
from svs.errors import DataError
from svs.evaluation.museval_json import BLEED, BSSEVAL, MEASURES, read_scores
from svs.runtime import unavailable
from svs.runtime.files import read_json, write_text
from svs.stems import TARGETS

NO_METRICS = {"tracks": 0}  # of a method that could not run
TRACK_COLUMNS = ("method", "track", "target", *MEASURES, "frames", "silent")


def track_table(folder: Path, method: str, protocol: str) -> pd.DataFrame:
    """Scores of one method, tidy: one row per track and target.

    Parameters
    ----------
    folder : Path
        `<protocol>/test/<track>.json` below it.
    method, protocol : str

    Returns
    -------
    DataFrame
        Columns method, track, target, SDR, ISR, SIR, SAR (dB, medians over
        frames; NaN where no frame is finite), frames, silent (frames left out).

    Raises
    ------
    DataError
        There is no score.
    """
    rows = []
    for path in sorted((Path(folder) / protocol / "test").glob("*.json")):
        for target, measures in read_scores(path).items():
            frames = len(measures["SDR"])
            finite = int(np.isfinite(measures["SDR"]).sum())
            medians = {
                measure: float(np.nanmedian(values)) if np.isfinite(values).any() else float("nan")
                for measure, values in measures.items()
            }
            rows.append(
                {
                    "method": method,
                    "track": path.stem,
                    "target": target,
                    **medians,
                    "frames": frames,
                    "silent": frames - finite,
                }
            )
    if not rows:
        raise DataError(f"{folder}: no {protocol} scores; run `dvc repro score@{method}`")
    return pd.DataFrame(rows)


def method_metrics(table: pd.DataFrame) -> dict:
    """Medians of one method, nested for `dvc metrics diff`: target, measure, {median, tracks}."""
    metrics: dict = {"tracks": int(table["track"].nunique())}
    for target in TARGETS:
        rows = table[table["target"] == target]
        metrics[target] = {measure: {"median": _rounded(rows[measure].median())} for measure in MEASURES}
        metrics[target]["frames"] = int(rows["frames"].sum())
        metrics[target]["silent_frames"] = int(rows["silent"].sum())
        metrics[target]["tracks_without_a_score"] = int(rows["SDR"].isna().sum())
    return metrics


def bleed_metrics(folder: Path) -> dict:
    """What a method calls vocals where nobody sings, over all tracks: `level` in dB beside the mixture, and `seconds`.

    The level is None where no second is silent, or nothing at all bleeds.
    """
    tracks = [read_json(path) for path in sorted((Path(folder) / BLEED / "test").glob("*.json"))]
    vocals, mixture = (sum(track[part] for track in tracks) for part in ("vocals", "mixture"))
    level = 10 * np.log10(vocals / mixture) if vocals > 0 and mixture > 0 else float("nan")
    return {"level": _rounded(level), "seconds": sum(track["seconds"] for track in tracks)}


def _rounded(value: float) -> float | None:
    return None if not np.isfinite(value) else round(float(value), 4)


def gather(folder: Path, methods: Sequence[str], protocol: str) -> pd.DataFrame:
    """`track_table` of several methods, one below the other, in the order given; absent ones have no row."""
    here = [method for method in methods if not unavailable.reason(Path(folder) / method)]
    if not here:
        raise DataError(f"{folder}: not one of the methods {', '.join(methods)} could run; see the log of `dvc repro`")
    return pd.concat([track_table(Path(folder) / method, method, protocol) for method in here], ignore_index=True)


def second_table(folder: Path, methods: Sequence[str], settings: Score) -> pd.DataFrame:
    """SDR of every frame of every track, a column for each method.

    Parameters
    ----------
    folder : Path
        `<method>/bsseval/test/<track>.json` below it.
    methods : sequence of str
        Absent ones have no column.
    settings : Score

    Returns
    -------
    DataFrame
        Columns track, target, second (where in the track the frame begins),
        and SDR in dB by method; NaN where a source is silent.
    """
    columns = {}
    for method in methods:
        if unavailable.reason(Path(folder) / method):
            continue
        values = {
            (path.stem, target, frame): value
            for path in sorted((Path(folder) / method / BSSEVAL / "test").glob("*.json"))
            for target, measures in read_scores(path).items()
            for frame, value in enumerate(measures["SDR"])
        }
        columns[method] = pd.Series(values)
    table = pd.DataFrame(columns).rename_axis(["track", "target", "frame"]).reset_index()
    table = table.sort_values(["track", "target", "frame"], key=_order, kind="stable", ignore_index=True)
    seconds = settings.passage.start + table.pop("frame") * settings.hop
    table.insert(2, "second", seconds)
    return table


def _order(column: pd.Series) -> pd.Series:
    """Targets in the order of everywhere else: vocals first."""
    return column.map(TARGETS.index) if column.name == "target" else column


def systems(folder: Path) -> list[str]:
    """The published systems whose scores lie in a folder , by name; none where they were left out."""
    return sorted(path.parent.name for path in Path(folder).glob(f"*/{BSSEVAL}"))


def published_table(folder: Path, names: Sequence[str]) -> pd.DataFrame:
    """`track_table` of published systems; without systems, just its columns."""
    if not names:
        return pd.DataFrame(columns=list(TRACK_COLUMNS))
    return pd.concat([track_table(folder / system, system, BSSEVAL) for system in names], ignore_index=True)


def best(methods: Sequence[str], table: pd.DataFrame) -> str:
    """The method with the highest median SDR of vocals."""
    vocals = table[(table["target"] == "vocals") & table["method"].isin(list(methods))]
    return str(vocals.groupby("method")["SDR"].median().idxmax())


def frame_table(scores: Mapping[str, Mapping[str, np.ndarray]]) -> pd.DataFrame:
    """Scores of one track by several methods, tidy: one row per method, target and frame.

    Parameters
    ----------
    scores : mapping of method to mapping of measure to float (targets, frames)
    """
    rows = [
        {
            "method": method,
            "target": target,
            "frame": frame,
            **{measure: measures[measure][index, frame] for measure in MEASURES},
        }
        for method, measures in scores.items()
        for index, target in enumerate(TARGETS)
        for frame in range(measures["SDR"].shape[1])
    ]
    return pd.DataFrame(rows, columns=["method", "target", "frame", *MEASURES])


def frame_medians(table: pd.DataFrame) -> str:
    """Medians over frames as text, one line for each method and target, best vocals first."""
    medians = table.groupby(["method", "target"], sort=False)[list(MEASURES)].median()
    order = medians.xs("vocals", level="target")["SDR"].sort_values(ascending=False).index
    lines = [f"{'method':<22}{'target':<16}" + "".join(f"{measure:>8}" for measure in MEASURES)]
    for method in order:
        for target in TARGETS:
            values = medians.loc[(method, target)]
            lines.append(
                f"{method:<22}{target:<16}"
                + "".join(
                    f"{values[measure]:>8.2f}" if np.isfinite(values[measure]) else f"{'-':>8}" for measure in MEASURES
                )
            )
    return "\n".join(lines)


def write_table(path: Path, table: pd.DataFrame) -> None:
    """CSV with four decimals, whole or not at all."""
    write_text(path, table.to_csv(index=False, float_format="%.4f", lineterminator="\n"))


def ranking(table: pd.DataFrame, bleeds: Mapping[str, float | None] | None = None) -> str:
    """Median SDR of every method as text, best vocals first.

    Parameters
    ----------
    table : DataFrame
        `gather`.
    bleeds : mapping of method to float or None, optional
        The levels of `bleed_metrics`: another column, "-" where there is none.
    """
    medians = table.pivot_table(index="method", columns="target", values="SDR", aggfunc="median")
    medians = medians.reindex(columns=list(TARGETS)).sort_values("vocals", ascending=False)
    lines = [f"{'method':<26}{'vocals SDR':>12}{'accompaniment SDR':>20}"]
    lines += [f"{method:<26}{row['vocals']:>12.2f}{row['accompaniment']:>20.2f}" for method, row in medians.iterrows()]
    if bleeds is not None:
        lines[0] += f"{'bleed':>8}"
        for number, method in enumerate(medians.index, 1):
            level = bleeds.get(method)
            lines[number] += f"{'-':>8}" if level is None else f"{level:>8.1f}"
    return "\n".join(lines)
