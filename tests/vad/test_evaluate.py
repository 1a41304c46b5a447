"""The voice activity net on whole tracks, and that nothing is tuned on what it is tested on."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from svs import networks
from svs.audio.convert import resample
from svs.audio.sources import ArraySource, WavSource
from svs.data.dataset import Dataset
from svs.data.inspection import inspect
from svs.features import singing_labels
from svs.networks import archive
from svs.vad import evaluate
from svs.vad.detector import probabilities
from tests.helpers.command import wav

WIDTH = 25


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
    return Dataset(root / "music", inspect(settings.download, 1, root / "music", names)), names


def change(folder, stop: float) -> None:
    """Silence the vocals from `stop` (a share of the track) on, in their stem alone: the mixture stays."""
    source = WavSource(folder / "vocals.wav")
    audio = source.read(0, source.samples)
    audio[:] = 0.1 * np.random.default_rng(1).normal(0, 1, audio.shape)
    audio[round(stop * len(audio)) :] = 0
    wav(folder / "vocals.wav", audio, source.rate)


def expected(model, dataset, settings, split):
    """Truth and score of all frames of a split that are not "unsure", track by track."""
    settings = settings.model_copy(update={"width": WIDTH})
    truth, score = [], []
    for track in dataset.manifest.split(split):
        folder = dataset.folder / track.subset / track.name
        mixture, vocals = (WavSource(folder / f"{name}.wav") for name in ("mixture", "vocals"))
        audio = resample(mixture.read(0, mixture.samples).mean(axis=1), mixture.rate, settings.sample_rate)
        label = singing_labels.labels(singing_labels.levels(vocals, settings), settings)
        said = probabilities(model, ArraySource(audio, settings.sample_rate), settings)
        for one, probability in zip(label, said, strict=False):
            if one != singing_labels.UNSURE:
                truth.append(one)
                score.append(probability)
    return np.array(truth), np.array(score)


def test_metrics_are_those_of_the_test_tracks(net, two_of_each, small):
    model, folder = net
    dataset, _ = two_of_each
    came = evaluate.evaluate(folder, dataset, small.extract.vad)
    truth, score = expected(model, dataset, small.extract.vad, "test")
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
    model, folder = net
    dataset, _ = two_of_each
    threshold = evaluate.evaluate(folder, dataset, small.extract.vad)["threshold"]
    truth, score = expected(model, dataset, small.extract.vad, "valid")
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
    other = Dataset(tmp_path / "music", inspect(settings.download, 1, tmp_path / "music", names))
    after = evaluate.evaluate(folder, other, small.extract.vad)
    assert (after["threshold"] == before["threshold"]) == (changed == "test")
    assert (after["net"]["auroc"] == before["net"]["auroc"]) == (changed == "valid")
