"""Tables of scores on recordings in noise, and each method against the recording as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from svs.evaluation.paired import interval, median_difference
from svs.evaluation.speech import MEASURES
from svs.evaluation.tables import present, text_table
from svs.runtime.files import read_json

COLUMNS = ("method", "recording", "kind", "source", "noise", "snr", *MEASURES)
PAIRED = ("method", "kind", "recordings", "difference", "low", "high", "wins", "ties", "losses")
FLOOR = "mixture"  # the recording as it is
SCORES = "scores.json"  # of a method, in the folder of its name


def table(folder: Path, methods: Sequence[str]) -> pd.DataFrame:
    """The rows of all methods that could run, from `METHOD/scores.json`: `COLUMNS`."""
    rows = [row for method in present(folder, methods) for row in read_json(folder / method / SCORES)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(dict.fromkeys(MEASURES, float))


def against_floor(found: pd.DataFrame, seed: int) -> pd.DataFrame:
    """SI-SDR in dB of each method less that of the recording as it is, paired by recording: `PAIRED`."""
    rows = []
    for (method, kind), those in found.groupby(["method", "kind"], sort=False):
        if method != FLOOR:
            paired = asdict(median_difference(those["SI_SDR_IMPROVEMENT"].to_numpy(), seed))
            rows.append({"method": method, "kind": kind, "recordings": paired.pop("tracks"), **paired})
    return pd.DataFrame(rows, columns=list(PAIRED))


def as_text(paired: pd.DataFrame) -> str:
    """The comparison with the floor for a terminal, the best first."""
    shown = paired.sort_values(["kind", "difference"], ascending=False).set_index(["kind", "method"])
    shown["95 % interval"] = [interval(row.low, row.high) for row in shown.itertuples()]
    return text_table(shown[["difference", "95 % interval", "wins", "ties", "losses"]])
