"""Scores on disk: museval's own JSON, one file for each track."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from svs.errors import DataError
from svs.stems import TARGETS

if TYPE_CHECKING:
    import numpy as np

    from svs.config.schema import Score

MEASURES = ("SDR", "ISR", "SIR", "SAR")
BSSEVAL, DISSERTATION = "bsseval", "dissertation"
PROTOCOLS = (BSSEVAL, DISSERTATION)
BLEED = "bleed"  # folder beside those of the protocols: `svs.evaluation.score.bleed`


def museval_json(track: str, scores: dict[str, np.ndarray], settings: Score) -> str:
    """Scores of one track in museval's own JSON."""
    import museval

    store = museval.TrackStore(track_name=track, win=settings.window, hop=settings.hop)
    for index, target in enumerate(TARGETS):
        store.add_target(target, {measure: scores[measure][index].tolist() for measure in MEASURES})
    store.validate()
    return store.json


def read_scores(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """Frames of one museval JSON: target, then measure, then float64 (frames,); missing values are NaN."""
    import numpy as np

    try:
        content = json.loads(Path(path).read_text())
        return {
            target["name"]: {
                measure: np.array([frame["metrics"].get(measure) for frame in target["frames"]], dtype=np.float64)
                for measure in MEASURES
            }
            for target in content["targets"]
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: expected museval's JSON ({error}); delete it and run `dvc repro`") from None
