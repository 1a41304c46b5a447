"""Score the voice activity net on tracks that it was not trained on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from svs.config.schema import VADExcerpts
from svs.data.dataset import Dataset
from svs.features.singing_labels import SILENT, SINGING, UNSURE, labels, levels
from svs.runtime.progress import progress_bar
from svs.vad.detector import load_net, probabilities

if TYPE_CHECKING:
    from svs.networks.inference import Net


def _truth_and_score(
    net: Net, dataset: Dataset, split: str, settings: VADExcerpts, level: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of all frames of a split whose label is sure."""
    truth, score = [], []
    for track in progress_bar(dataset.manifest.split(split), unit="track", desc="vad"):
        with dataset.open(track, ("mixture", "vocals")) as sources:
            probability = probabilities(net, sources["mixture"], settings, level)
            label = labels(levels(sources["vocals"], settings), settings)
        count = min(len(label), len(probability))
        sure = label[:count] != UNSURE
        truth.append(label[:count][sure])
        score.append(probability[:count][sure])
    return np.concatenate(truth), np.concatenate(score)


def evaluate(folder: Path, dataset: Dataset, settings: VADExcerpts) -> dict:
    """Metrics of the net in a folder on all frames of the test tracks, and of a detector that always says "singing".

    The threshold is the one with the best balanced accuracy on the validation tracks.  The settings say how frames are
    labelled.

    Returns
    -------
    dict
        threshold, frames, singing (share of frames), net and always_singing (`detection_metrics`).
    """
    net, settings, level = load_net(folder, settings)
    threshold = best_threshold(*_truth_and_score(net, dataset, "valid", settings, level))
    truth, score = _truth_and_score(net, dataset, "test", settings, level)
    return {
        "threshold": threshold,
        "frames": len(truth),
        "singing": float(truth.mean()),
        "net": detection_metrics(truth, score, threshold),
        "always_singing": detection_metrics(truth, np.ones(len(truth)), 0.5),
    }


def detection_metrics(truth: np.ndarray, score: np.ndarray, threshold: float) -> dict[str, float]:
    """Precision, recall, specificity, F1, balanced accuracy and AUROC of a detector.

    NaN where a ratio has no denominator, for example recall without singing.

    Parameters
    ----------
    truth : int (n,)
        1 (singing) or 0.
    score : float (n,)
        Higher means singing.
    threshold : float
        Singing is detected where score >= threshold.
    """
    from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

    truth, detected = np.asarray(truth).astype(int), (np.asarray(score) >= threshold).astype(int)
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth, detected, labels=[SINGING, SILENT], zero_division=np.nan
    )
    values = {
        "precision": precision[0],
        "recall": recall[0],
        "specificity": recall[1],
        "f1": f1[0],
        "balanced_accuracy": recall.mean(),
        "auroc": roc_auc_score(truth, score) if len(np.unique(truth)) == 2 else np.nan,
    }
    return {name: float(value) for name, value in values.items()}


def best_threshold(truth: np.ndarray, score: np.ndarray) -> float:
    """Threshold with the highest balanced accuracy (tune it on validation tracks only); 0.5 if one class is missing."""
    from sklearn.metrics import roc_curve

    if len(np.unique(truth)) < 2:
        return 0.5
    false_alarms, recall, thresholds = roc_curve(truth, np.asarray(score, dtype=np.float64))
    best = 1 + int(np.argmax((recall - false_alarms)[1:]))  # the first threshold is infinite: nothing is detected
    return float(thresholds[best])
