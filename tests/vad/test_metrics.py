"""Metrics of a detector, and its best threshold."""

import math

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from svs.vad.evaluate import best_threshold, detection_metrics

FEW = examples(deadline=None, max_examples=40, database=None, derandomize=True)


def test_measures_by_hand():
    truth = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    score = np.array([0.9, 0.8, 0.5, 0.1, 0.7, 0.5, 0.2, 0.2, 0.1, 0.0])
    # at 0.5: hits 3, misses 1, false alarms 2, rejections 4
    found = detection_metrics(truth, score, 0.5)
    # pairs in the right order: .9 and .8 before all six; .5 before four and a tie; .1 before one and a tie
    auroc = (6 + 6 + 4.5 + 1.5) / 24
    assert found == pytest.approx(
        {
            "precision": 3 / 5,
            "recall": 3 / 4,
            "specificity": 4 / 6,
            "f1": 6 / 9,
            "balanced_accuracy": (3 / 4 + 4 / 6) / 2,
            "auroc": auroc,
        }
    )
    assert all(type(value) is float for value in found.values())


CASES = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 8)), min_size=2, max_size=40).filter(
    lambda rows: len({truth for truth, _ in rows}) == 2
)


@FEW
@given(CASES, st.integers(0, 8))
def test_measures_agree_with_sklearn(rows, threshold):
    truth, score = (np.array(column) for column in zip(*rows, strict=True))
    score = score / 8
    found = detection_metrics(truth, score, threshold / 8)
    detected = score >= threshold / 8
    nan = float("nan")
    expected = {
        "precision": sklearn.metrics.precision_score(truth, detected, zero_division=nan),
        "recall": sklearn.metrics.recall_score(truth, detected),
        "specificity": sklearn.metrics.recall_score(truth, detected, pos_label=0),
        "f1": sklearn.metrics.f1_score(truth, detected),
        "balanced_accuracy": sklearn.metrics.balanced_accuracy_score(truth, detected),
        "auroc": sklearn.metrics.roc_auc_score(truth, score),
    }
    assert found == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("truth", [0, 1])
def test_measures_of_one_class_only(truth):
    found = detection_metrics(np.full(4, truth), np.array([0.1, 0.2, 0.6, 0.9]), 0.5)
    assert math.isnan(found["auroc"]) and math.isnan(found["balanced_accuracy"])
    assert math.isnan(found["recall" if truth == 0 else "specificity"])
    assert found["specificity" if truth == 0 else "recall"] == 0.5
    nothing = detection_metrics(np.zeros(3), np.zeros(3), 0.5)
    assert math.isnan(nothing["precision"]) and math.isnan(nothing["f1"]) and nothing["specificity"] == 1.0


@FEW
@given(CASES)
def test_the_best_threshold_is_the_best(rows):
    truth, score = (np.array(column) for column in zip(*rows, strict=True))
    score = (score / 8).astype(np.float32)
    before = truth.copy(), score.copy()
    chosen = best_threshold(truth, score)
    np.testing.assert_array_equal((truth, score), before)
    assert math.isfinite(chosen)
    reached = detection_metrics(truth, score, chosen)["balanced_accuracy"]
    best = max(detection_metrics(truth, score, value)["balanced_accuracy"] for value in set(score.tolist()))
    assert reached == pytest.approx(best)
    order = np.random.default_rng(0).permutation(len(truth))
    assert best_threshold(truth[order], score[order]) == chosen  # nothing but truth and score counts


def test_a_detector_that_is_worse_than_none():
    """Scores the wrong way round: to say "singing" always (0.5) beats every threshold above."""
    truth, score = np.array([1, 1, 0, 0]), np.array([0.1, 0.2, 0.8, 0.9])
    assert detection_metrics(truth, score, best_threshold(truth, score))["balanced_accuracy"] == 0.5


@pytest.mark.parametrize("truth", [0, 1])
def test_the_threshold_of_one_class_only_is_one_half(truth):
    assert best_threshold(np.full(3, truth), np.array([0.1, 0.2, 0.3])) == 0.5
