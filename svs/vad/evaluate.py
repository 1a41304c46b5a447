"""Score the voice activity net on tracks that it was not trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from svs.config.schema import VADExcerpts
from svs.data.dataset import Dataset
from svs.features import singing_labels
from svs.vad import metrics
from svs.vad.detector import load_net, probabilities

if TYPE_CHECKING:
    import keras


def _truth_and_score(
    model: keras.Model,
    dataset: Dataset,
    split: str,
    settings: VADExcerpts,
    progress: Callable[[Iterable], Iterable],
) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of all frames of a split whose label is sure."""
    truth, score = [], []
    for track in progress(dataset.manifest.split(split)):
        with dataset.open(track, ("mixture", "vocals")) as sources:
            probability = probabilities(model, sources["mixture"], settings)
            label = singing_labels.labels(singing_labels.levels(sources["vocals"], settings), settings)
        count = min(len(label), len(probability))
        sure = label[:count] != singing_labels.UNSURE
        truth.append(label[:count][sure])
        score.append(probability[:count][sure])
    return np.concatenate(truth), np.concatenate(score)


def evaluate(
    folder: Path, dataset: Dataset, settings: VADExcerpts, progress: Callable[[Iterable], Iterable] = iter
) -> dict:
    """Metrics of the net on all frames of the test tracks, and of a detector that always says "singing".

    The threshold is the one with the best balanced accuracy on the validation tracks.

    Parameters
    ----------
    folder : Path
        Of the trained net.
    dataset : Dataset
    settings : VADExcerpts
        How frames are labelled.
    progress : callable, optional
        Wraps the tracks of a split.

    Returns
    -------
    dict
        threshold, frames, singing (share of frames), net and always_singing
        (`svs.vad.metrics.detection_metrics`).
    """
    model, settings = load_net(folder, settings)
    threshold = metrics.best_threshold(*_truth_and_score(model, dataset, "valid", settings, progress))
    truth, score = _truth_and_score(model, dataset, "test", settings, progress)
    return {
        "threshold": threshold,
        "frames": len(truth),
        "singing": float(truth.mean()),
        "net": metrics.detection_metrics(truth, score, threshold),
        "always_singing": metrics.detection_metrics(truth, np.ones(len(truth)), 0.5),
    }
