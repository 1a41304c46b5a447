"""The voice activity net on whole tracks: nothing is tuned on what it is tested on, and its metrics are right."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from svs import networks
from svs.audio.convert import resample
from svs.audio.sources import ArraySource, WavSource
from svs.data.dataset import Dataset, Manifest
from svs.data.inspection import inspect
from svs.features import singing_labels
from svs.networks import archive
from svs.vad import evaluate
from svs.vad.detector import SingingNet
from svs.vad.evaluate import best_threshold, detection_metrics
from tests.helpers.command import wav

WIDTH = 25
FEW = examples(deadline=None, max_examples=40, database=None, derandomize=True)


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """An untrained net whose last layer is turned up, so that it says different things; and where it is saved."""
    made = networks.build("vad", 257, WIDTH, 1, input_gain=100.0, seed=4)
    weights = made.get_weights()
    weights[-2] = weights[-2] * 3
    made.set_weights(weights)
    folder = tmp_path_factory.mktemp("vad") / "vad"
    archive.save(folder, made, {"representation": {"width": WIDTH}})
    return made, folder


@pytest.fixture(scope="module")
def two_of_each(tiny_set, settings, tmp_path_factory):
    """The tiny set, where the voice of the validation and test tracks stops half-way: both classes are heard."""
    folder, manifest = tiny_set
    root = tmp_path_factory.mktemp("set")
    shutil.copytree(folder, root / "music")
    names = [track.name for track in manifest.split("valid")]
    for track in manifest.split("valid", "test"):
        change(root / "music" / track.subset / track.name, stop=0.5)
    return Dataset(root / "music", inspect(settings.download, 1, root / "music")), names


def change(folder, stop: float) -> None:
    """Silence the vocals from `stop` (a share of the track) on, in their stem alone: the mixture stays."""
    source = WavSource(folder / "vocals.wav")
    audio = source.read(0, source.samples)
    audio[:] = 0.1 * np.random.default_rng(1).normal(0, 1, audio.shape)
    audio[round(stop * len(audio)) :] = 0
    wav(folder / "vocals.wav", audio, source.rate)


def expected(folder, dataset, settings, split):
    """Truth and score of all frames of a split that are not "unsure", track by track."""
    settings = settings.model_copy(update={"width": WIDTH})
    truth, score, net = [], [], SingingNet(folder, settings)
    for track in dataset.manifest.split(split):
        folder = dataset.folder / track.subset / track.name
        mixture, vocals = (WavSource(folder / f"{name}.wav") for name in ("mixture", "vocals"))
        audio = resample(mixture.read(0, mixture.samples).mean(axis=1), mixture.rate, settings.sample_rate)
        label = singing_labels.labels(singing_labels.levels(vocals, settings), settings)
        _, said = net.heard(ArraySource(audio, settings.sample_rate))
        for one, probability in zip(label, said, strict=False):
            if one != singing_labels.UNSURE:
                truth.append(one)
                score.append(probability)
    return np.array(truth), np.array(score)


def test_metrics_are_those_of_the_test_tracks(net, two_of_each, small):
    _, folder = net
    dataset, _ = two_of_each
    came = evaluate.evaluate(folder, dataset, small.extract.vad)
    truth, score = expected(folder, dataset, small.extract.vad, "test")
    assert 0 < truth.mean() < 1
    assert came["frames"] == len(truth) and came["singing"] == pytest.approx(truth.mean())
    detected = score >= came["threshold"]
    assert came["net"]["recall"] == pytest.approx(np.mean(detected[truth == 1]))
    assert came["net"]["specificity"] == pytest.approx(np.mean(~detected[truth == 0]))
    assert came["net"]["precision"] == pytest.approx(np.mean(truth[detected]), nan_ok=True)
    # The share of pairs (singing, not singing) that the net puts in order.
    pairs = score[truth == 1][:, None] - score[truth == 0][None]
    assert came["net"]["auroc"] == pytest.approx(np.mean((pairs > 0) + 0.5 * (pairs == 0)), abs=1e-6)
    baseline = came["always_singing"]
    assert (baseline["recall"], baseline["specificity"], baseline["balanced_accuracy"]) == (1, 0, 0.5)
    assert baseline["precision"] == pytest.approx(truth.mean())


def test_the_threshold_is_the_best_on_the_validation_tracks(net, two_of_each, small):
    _, folder = net
    dataset, _ = two_of_each
    threshold = evaluate.evaluate(folder, dataset, small.extract.vad)["threshold"]
    truth, score = expected(folder, dataset, small.extract.vad, "valid")
    assert 0 < truth.mean() < 1

    def balanced(at):
        return (np.mean(score[truth == 1] >= at) + np.mean(score[truth == 0] < at)) / 2

    assert balanced(threshold) == pytest.approx(max(balanced(at) for at in [0.0, *score]), abs=1e-9)


@pytest.mark.parametrize("changed", ["test", "valid"])
def test_the_threshold_is_tuned_on_validation_tracks_only(net, two_of_each, small, settings, tmp_path, changed):
    _, folder = net
    dataset, names = two_of_each
    before = evaluate.evaluate(folder, dataset, small.extract.vad)
    shutil.copytree(dataset.folder, tmp_path / "music")
    for track in dataset.manifest.split(changed):
        place = tmp_path / "music" / track.subset / track.name
        source = WavSource(place / "vocals.wav")
        # The voice is where it was not: every label turns.
        wav(place / "vocals.wav", source.read(0, source.samples)[::-1], source.rate)
    other = Dataset(tmp_path / "music", inspect(settings.download, 1, tmp_path / "music"))
    after = evaluate.evaluate(folder, other, small.extract.vad)
    assert (after["threshold"] == before["threshold"]) == (changed == "test")
    assert (after["net"]["auroc"] == before["net"]["auroc"]) == (changed == "valid")


def test_each_data_set_has_its_own_metrics(net, two_of_each, small):
    _, folder = net
    dataset, _ = two_of_each
    valid, test = (dataset.manifest.split(name) for name in ("valid", "test"))
    mine = [replace(track, dataset="mine") for track in test]
    theirs = [replace(track, name=f"{track.name} again", split="test", dataset="theirs") for track in valid]

    def metrics(tracks):
        return evaluate.evaluate(folder, Dataset(dataset.folder, Manifest("", [*valid, *tracks])), small.extract.vad)

    both = metrics([*theirs, *mine])
    assert list(both["datasets"]) == ["theirs", "mine"]
    assert both["frames"] == sum(one["frames"] for one in both["datasets"].values())
    for name, tracks in (("mine", mine), ("theirs", theirs)):
        alone = metrics(tracks)
        assert "datasets" not in alone
        one = both["datasets"][name]
        assert json.dumps(one) == json.dumps({key: alone[key] for key in one})


# Metrics of a detector, and its best threshold


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
