"""Scores on disk: museval's own JSON, one file for each track."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from svs.config.schema import Score
from svs.errors import DataError
from svs.stems import TARGETS

MEASURES = ("SDR", "ISR", "SIR", "SAR")
BSSEVAL, DISSERTATION = "bsseval", "dissertation"
PROTOCOLS = (BSSEVAL, DISSERTATION)
BLEED = "bleed"  # folder beside those of the protocols: `svs.evaluation.scoring.score.bleed`


def museval_json(track: str, scores: dict[str, np.ndarray], settings: Score) -> str:
    """museval's own JSON of the scores of one track: measure to float (targets, frames)."""
    import museval

    store = museval.TrackStore(track_name=track, win=settings.window, hop=settings.hop)
    for index, target in enumerate(TARGETS):
        store.add_target(target, {measure: scores[measure][index].tolist() for measure in MEASURES})
    store.validate()
    return store.json


def parse_scores(content: str | bytes) -> dict[str, dict[str, np.ndarray]]:
    """Frames in museval's JSON: target, then measure, then float64 (frames,); missing values are NaN.

    Raises
    ------
    DataError
        It is not museval's JSON.
    """
    try:
        return {
            target["name"]: {
                measure: np.array([frame["metrics"].get(measure) for frame in target["frames"]], dtype=np.float64)
                for measure in MEASURES
            }
            for target in json.loads(content)["targets"]
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"expected museval's JSON ({type(error).__name__}: {error})") from None


def read_scores(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """`parse_scores` of a file."""
    try:
        return parse_scores(Path(path).read_bytes())
    except (OSError, DataError) as error:
        raise DataError(f"{path}: {error}; delete it and run `dvc repro`") from None
