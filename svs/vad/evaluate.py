"""Score the voice activity net on tracks that it was not trained on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from svs.audio.sources import Source
from svs.config.schema import VADExcerpts
from svs.data.dataset import Dataset, Track
from svs.errors import UnavailableError
from svs.features.singing_labels import SILENT, SINGING, UNSURE, labels, levels
from svs.runtime.progress import progress_bar
from svs.vad.detector import SingingNet
from svs.vad.silero import Silero

log = logging.getLogger("svs")


def _truth_and_scores(
    listen: Mapping[str, Callable[[Source], tuple[np.ndarray, np.ndarray]]],
    dataset: Dataset,
    tracks: Sequence[Track],
    settings: VADExcerpts,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Labels of all frames of tracks whose label is sure, and what each detector says there.

    A detector says times in s and probabilities; frames between two of its times get a value between theirs.
    """
    truth: list[np.ndarray] = []
    scores: dict[str, list[np.ndarray]] = {name: [] for name in listen}
    for track in progress_bar(tracks, unit="track", desc="vad"):
        with dataset.open(track, ("mixture", "vocals")) as sources:
            found = {name: detector(sources["mixture"]) for name, detector in listen.items()}
            label = labels(levels(sources["vocals"], settings), settings)
        times = np.arange(len(label)) * settings.hop_length / settings.sample_rate
        sure = label != UNSURE
        truth.append(label[sure])
        for name, (places, probability) in found.items():
            scores[name].append(np.interp(times[sure], places, probability))
    return np.concatenate(truth), {name: np.concatenate(score) for name, score in scores.items()}


def evaluate(folder: Path, dataset: Dataset, settings: VADExcerpts) -> dict:
    """Metrics on all frames of the test tracks: of the net in a folder, of Silero VAD, and of always saying "singing".

    The thresholds are those with the best balanced accuracy on the validation tracks.  The settings say how frames are
    labelled.

    Returns
    -------
    dict
        threshold, silero_threshold, frames, singing (share of frames), net, silero and always_singing
        (`detection_metrics`).  Where Silero VAD is not installed, its two are None.  If several data sets are scored,
        `datasets` has the same without the thresholds for each.
    """
    net = SingingNet(folder, settings)
    listen, settings = {"net": net.heard}, net.settings
    try:
        listen["silero"] = Silero().heard
    except UnavailableError as error:
        log.warning("%s", error)
    truth, scores = _truth_and_scores(listen, dataset, dataset.manifest.split("valid"), settings)
    thresholds = {name: best_threshold(truth, score) for name, score in scores.items()}
    sets: dict[str, list[Track]] = {}
    for track in dataset.manifest.split("test"):
        sets.setdefault(track.dataset, []).append(track)
    heard = {name: _truth_and_scores(listen, dataset, tracks, settings) for name, tracks in sets.items()}
    truths, each = zip(*heard.values(), strict=True)
    together = {name: np.concatenate([scores[name] for scores in each]) for name in listen}
    found: dict[str, Any] = {"threshold": thresholds["net"], "silero_threshold": thresholds.get("silero")}
    found |= _metrics(np.concatenate(truths), together, thresholds)
    if len(heard) > 1:
        found["datasets"] = {name: _metrics(*one, thresholds) for name, one in heard.items()}
    return found


def _metrics(truth: np.ndarray, scores: Mapping[str, np.ndarray], thresholds: Mapping[str, float]) -> dict[str, Any]:
    """What `evaluate` returns of some frames."""
    found = {name: detection_metrics(truth, score, thresholds[name]) for name, score in scores.items()}
    return {
        "frames": len(truth),
        "singing": float(truth.mean()),
        "net": found["net"],
        "silero": found.get("silero"),
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
