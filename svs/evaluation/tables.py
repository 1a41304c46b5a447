"""Tables of scores: one row for each track and target, and medians of each method.

As in SiSEC18, the score of a track is the median over its frames, and that of a
method the median over tracks.  NaN frames (a silent source) are left out and
counted.  Where several data sets are scored, each has a folder of its own
(`<protocol>/<data set>/test`), and tables have a column `dataset`.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from svs.config.schema import Score
from svs.errors import DataError
from svs.evaluation import rulers
from svs.evaluation.museval_json import BLEED, BSSEVAL, MEASURES, read_scores
from svs.runtime import unavailable
from svs.runtime.files import read_json, write_text
from svs.stems import TARGETS

NO_METRICS = {"tracks": 0}  # of a method that could not run
DATASET = "dataset"  # a column, after `method`, where several data sets are scored
TEXT_COLUMNS = ("method", "system", DATASET, "track", "target", "recording", "kind", "source", "noise")
TRACK_COLUMNS = ("method", "track", "target", *MEASURES, "frames", "silent")
PAIRED_COLUMNS = ("method", "system", "target", "tracks", "difference", "low", "high", "wins", "ties", "losses")


def _files(folder: Path, kind: str) -> dict[Path, str]:
    """The files of scores of a kind (a protocol, `BLEED`) in a method's folder, and the data set of each or ""."""
    found = sorted((folder / kind).glob("**/test/*.json"), key=lambda path: (path.parent, path.name))
    return {path: path.parent.parent.name if path.parent.parent != folder / kind else "" for path in found}


def frame_scores(folder: Path, protocol: str) -> pd.DataFrame:
    """Every frame of every track of one method, from `<protocol>/test/<track>.json` in its folder.

    Returns
    -------
    DataFrame
        Index track, target, frame, in the order of the files; columns SDR, ISR,
        SIR, SAR in dB, NaN where a source is silent.

    Raises
    ------
    DataError
        There is no score.
    """
    tables = {
        (path.stem, target): pd.DataFrame(measures)
        for path in _files(folder, protocol)
        for target, measures in read_scores(path).items()
    }
    if not tables:
        raise DataError(f"{folder}: no {protocol} scores; run `dvc repro score@{folder.name}`")
    return pd.concat(tables, names=["track", "target", "frame"])


def track_table(folder: Path, method: str, protocol: str) -> pd.DataFrame:
    """Scores of one method (`frame_scores`): one row for each track and target.

    Returns
    -------
    DataFrame
        Columns method, dataset (if the folder has several), track, target,
        SDR, ISR, SIR, SAR (dB, medians over frames; NaN if every frame is),
        frames, silent (frames left out); and with protocol `bsseval` those of
        the rulers that the folder has.

    Raises
    ------
    DataError
        There is no score.
    """
    frames = frame_scores(folder, protocol).groupby(["track", "target"], sort=False)
    table = frames[list(MEASURES)].median().assign(frames=frames.size(), method=method)
    table["silent"] = table["frames"] - frames["SDR"].count()
    table = _with_datasets(table.reset_index()[list(TRACK_COLUMNS)], 1, [folder], protocol)
    return rulers.joined(table, folder) if protocol == BSSEVAL else table


def _with_datasets(table: pd.DataFrame, place: int, folders: Sequence[Path], protocol: str) -> pd.DataFrame:
    """A table of tracks with the column `dataset` at a place, if the folders of methods have several."""
    sets = {path.stem: name for folder in folders for path, name in _files(folder, protocol).items()}
    if any(sets.values()):
        table.insert(place, DATASET, table["track"].map(sets))
    return table


def by_dataset(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of each data set by its name; all of them as "" where one alone is scored."""
    if DATASET not in table:
        return {"": table}
    return {str(name): rows for name, rows in table.groupby(DATASET, sort=False)}


def method_metrics(table: pd.DataFrame) -> dict:
    """Medians of one method, nested for `dvc metrics diff`: target, measure, {median}; counts of frames; rulers."""
    metrics: dict = {"tracks": int(table["track"].nunique())}
    for target in TARGETS:
        rows = table[table["target"] == target]
        metrics[target] = {measure: {"median": round(float(rows[measure].median()), 4)} for measure in MEASURES}
        metrics[target]["frames"] = int(rows["frames"].sum())
        metrics[target]["silent_frames"] = int(rows["silent"].sum())
        metrics[target]["tracks_without_a_score"] = int(rows["SDR"].isna().sum())
        metrics[target] |= rulers.metrics(rows)
    return metrics


def bleed_metrics(folder: Path, dataset: str = "") -> dict:
    """What a method calls vocals in silent seconds, over all tracks: `level` in dB relative to the mixture, `seconds`.

    With `dataset`, over the tracks of that data set.
    The level is None if no second is silent, or the estimate of every silent second is.
    """
    tracks = [read_json(path) for path, name in _files(folder, BLEED).items() if not dataset or name == dataset]
    vocals, mixture, seconds = (sum(track[part] for track in tracks) for part in ("vocals", "mixture", "seconds"))
    return {
        "level": round(float(10 * np.log10(vocals / mixture)), 4) if vocals and mixture else None,
        "seconds": seconds,
    }


def present(folder: Path, methods: Sequence[str]) -> list[str]:
    """The methods that could run."""
    return [method for method in methods if not unavailable.reason(folder / method)]


def gather(folder: Path, methods: Sequence[str], protocol: str) -> pd.DataFrame:
    """`track_table` of several methods, in the order given; methods that could not run have no row."""
    here = present(folder, methods)
    if not here:
        raise DataError(f"{folder}: none of the methods {', '.join(methods)} could run; see the log of `dvc repro`")
    return pd.concat([track_table(folder / method, method, protocol) for method in here], ignore_index=True)


def second_table(folder: Path, methods: Sequence[str], settings: Score) -> pd.DataFrame:
    """SDR of every frame of every track, from `<method>/bsseval/test/<track>.json`.

    Returns
    -------
    DataFrame
        Columns dataset (if the folder has several), track, target, second (at
        which the frame begins in the track), and SDR in dB by method; NaN where
        a source is silent.  Methods that could not run have no column.
    """
    here = present(folder, methods)
    columns = {method: frame_scores(folder / method, BSSEVAL)["SDR"] for method in here}
    table = pd.DataFrame(columns).reset_index()
    # Descending: vocals before accompaniment, as everywhere.
    table = table.sort_values(["track", "target", "frame"], ascending=[True, False, True], ignore_index=True)
    table.insert(2, "second", settings.passage.start + table.pop("frame") * settings.hop)
    return _with_datasets(table, 0, [folder / method for method in here], BSSEVAL)


def systems(folder: Path) -> list[str]:
    """Names of the published systems whose scores a folder contains; empty if they were left out."""
    return sorted(path.parent.name for path in folder.glob(f"*/{BSSEVAL}"))


def published_table(folder: Path, names: Sequence[str]) -> pd.DataFrame:
    """`track_table` of published systems; only its columns if there are no systems."""
    return gather(folder, names, BSSEVAL) if names else pd.DataFrame(columns=list(TRACK_COLUMNS))


def beside(ours: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """The rows of ours of the data sets of which scores are published."""
    those = [name for name, rows in by_dataset(ours).items() if rows["track"].isin(published["track"]).any()]
    return ours[ours[DATASET].isin(those)] if DATASET in ours else ours


def medians(table: pd.DataFrame) -> pd.DataFrame:
    """Median SDR over tracks: a row for each method, best vocals first, a column for each target."""
    found = table.pivot_table(index="method", columns="target", values="SDR", aggfunc="median", dropna=False)
    return found.reindex(columns=list(TARGETS)).sort_values("vocals", ascending=False)


def frame_table(scores: Mapping[str, Mapping[str, np.ndarray]]) -> pd.DataFrame:
    """Scores of one track by several methods: one row for each method, target and frame.

    `scores` holds, by method and measure, float (targets, frames).
    """
    tables = {
        (method, target): pd.DataFrame({measure: measures[measure][index] for measure in MEASURES})
        for method, measures in scores.items()
        for index, target in enumerate(TARGETS)
    }
    return pd.concat(tables, names=["method", "target", "frame"]).reset_index()


def frame_medians(table: pd.DataFrame) -> str:
    """Medians over frames as text, one line for each method and target, best vocals first."""
    found = table.groupby(["method", "target"], sort=False)[list(MEASURES)].median()
    order = found.xs("vocals", level="target")["SDR"].sort_values(ascending=False).index
    return text_table(found.reindex(pd.MultiIndex.from_product([order, TARGETS], names=found.index.names)))


def read_table(source: Path | io.BytesIO, columns: Sequence[str], name: str = "") -> pd.DataFrame:
    """A table that `write_table` wrote, with at least these columns: texts, and float64.

    Error messages call it `name` instead of its path.

    Raises
    ------
    DataError
        There is no such file, it is no table, or lacks a column.
    """
    name = name or str(source)
    try:
        # Only an empty cell is a missing value: a track may be called NA.
        texts = dict.fromkeys(TEXT_COLUMNS, str)
        table = pd.read_csv(source, dtype=texts, keep_default_na=False, na_values=[""], float_precision="round_trip")
        table = table.astype(dict.fromkeys(table.columns.difference(TEXT_COLUMNS), float))
        if missing := [column for column in columns if column not in table]:
            raise ValueError(f"no {', '.join(missing)}")
        return table
    except FileNotFoundError:
        raise DataError(f"{name}: no such file; run `dvc repro` first") from None
    except (ValueError, OSError) as error:
        raise DataError(
            f"{name}: expected a table with the columns {', '.join(columns)} ({' '.join(str(error).split())}); "
            "delete it and run `dvc repro`"
        ) from None


def write_table(path: Path, table: pd.DataFrame) -> None:
    """CSV with four decimals, whole or not at all."""
    write_text(path, table.to_csv(index=False, float_format="%.4f", lineterminator="\n"))


def ranking(table: pd.DataFrame, bleeds: Mapping[str, float | None] | None = None) -> str:
    """Median SDR of every method of a `gather`ed table as text, best vocals first.

    The levels of `bleed_metrics` by method are one more column, "-" for None.
    """
    found = medians(table).add_suffix(" SDR")
    if bleeds is not None:
        found["bleed"] = pd.Series(bleeds, dtype=float)
    return text_table(found)


def text_table(table: pd.DataFrame) -> str:
    """A table for a terminal, the index to the left: numbers with two decimals, "-" for NaN."""
    header = " ".join(table.index.names)
    return table.rename_axis(index=[None] * table.index.nlevels, columns=header).to_string(
        na_rep="-", float_format="{:.2f}".format, sparsify=False
    )
