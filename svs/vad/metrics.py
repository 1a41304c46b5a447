"""Metrics of voice activity detection."""

from __future__ import annotations

import numpy as np

from svs.features.singing_labels import SILENT, SINGING


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
        NaN where a ratio has no denominator, for example recall without singing.
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
