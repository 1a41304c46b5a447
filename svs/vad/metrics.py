"""Metrics of voice activity detection."""

from __future__ import annotations

import numpy as np


def detection_metrics(truth: np.ndarray, score: np.ndarray, threshold: float) -> dict[str, float]:
    """Precision, recall, specificity, F1, balanced accuracy and AUROC of a detector.

    Parameters
    ----------
    truth : int (n,)
        1 (singing) or 0.
    score : float (n,)
        Higher means singing.
    threshold : float
        Singing is detected where score >= threshold.

    Returns
    -------
    dict
        NaN where a ratio has no denominator (no positives, say).
    """
    truth = np.asarray(truth).astype(bool)
    detected = np.asarray(score) >= threshold
    hits, false_alarms = np.sum(detected & truth), np.sum(detected & ~truth)
    misses, rejections = np.sum(~detected & truth), np.sum(~detected & ~truth)

    def ratio(part: float, whole: float) -> float:
        return float(part / whole) if whole else float("nan")

    recall, specificity = ratio(hits, hits + misses), ratio(rejections, rejections + false_alarms)
    return {
        "precision": ratio(hits, hits + false_alarms),
        "recall": recall,
        "specificity": specificity,
        "f1": ratio(2 * hits, 2 * hits + false_alarms + misses),
        "balanced_accuracy": (recall + specificity) / 2,
        "auroc": _auroc(truth, np.asarray(score)),
    }


def _auroc(truth: np.ndarray, score: np.ndarray) -> float:
    if truth.all() or not truth.any():
        return float("nan")
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(truth, score))


def best_threshold(truth: np.ndarray, score: np.ndarray) -> float:
    """Threshold with the highest balanced accuracy (tune on validation tracks only)."""
    truth = np.asarray(truth).astype(bool)
    score = np.asarray(score, dtype=np.float64)
    if truth.all() or not truth.any():
        return 0.5
    from sklearn.metrics import roc_curve

    false_alarms, recall, thresholds = roc_curve(truth, score)
    best = 1 + int(np.argmax((recall - false_alarms)[1:]))  # the first threshold is infinite: nothing detected
    return float(thresholds[best])
