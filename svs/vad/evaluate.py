"""Scoring the voice activity net on tracks that it has not heard."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from svs.audio.convert import mono, resample
from svs.config.schema import VADExcerpts
from svs.data.dataset import Dataset
from svs.dsp.stft import magnitude, stft
from svs.features import singing_labels
from svs.networks.archive import load, predictions
from svs.vad import metrics

_BATCH = 256


def probabilities(model, spectrum: np.ndarray, width: int) -> np.ndarray:
    """Probability of singing at every frame.

    Parameters
    ----------
    model : keras.Model
    spectrum : float32 (bins, frames)
        Scaled magnitudes of the mixture.
    width : int
        Frames of the net's excerpt.

    Returns
    -------
    float32 (frames,)
        Either end is padded with silence.
    """
    everywhere = np.arange(spectrum.shape[1])
    return np.concatenate(
        [probability[:, 0] for _, probability in predictions(model, spectrum, width, everywhere, _BATCH)]
    )


def _truth_and_score(
    model, width: int, dataset: Dataset, split: str, settings: VADExcerpts, progress: Callable[[Iterable], Iterable]
) -> tuple[np.ndarray, np.ndarray]:
    truth, score = [], []
    for track in progress(dataset.manifest.split(split)):
        with dataset.open(track, ("mixture", "vocals")) as sources:
            mixture = sources["mixture"]
            audio = resample(mono(mixture.read(0, mixture.samples)), mixture.rate, settings.sample_rate)
            label = singing_labels.labels(singing_labels.levels(sources["vocals"], settings), settings)
        probability = probabilities(model, magnitude(stft(audio, settings), settings), width)
        count = min(len(label), len(probability))
        sure = label[:count] != singing_labels.UNSURE
        truth.append(label[:count][sure])
        score.append(probability[:count][sure])
    return np.concatenate(truth), np.concatenate(score)


def evaluate(
    folder: Path, dataset: Dataset, settings: VADExcerpts, progress: Callable[[Iterable], Iterable] = iter
) -> dict:
    """Metrics of the net on all frames of the test tracks, beside always saying "singing".

    The threshold is tuned on the validation tracks alone (balanced accuracy).

    Returns
    -------
    dict
        threshold, frames, singing (share of frames), net and always_singing
        (`svs.vad.metrics.detection_metrics`).
    """
    model, card = load(folder)
    width = int(card["representation"]["width"])
    threshold = metrics.best_threshold(*_truth_and_score(model, width, dataset, "valid", settings, progress))
    truth, score = _truth_and_score(model, width, dataset, "test", settings, progress)
    return {
        "threshold": threshold,
        "frames": len(truth),
        "singing": float(truth.mean()),
        "net": metrics.detection_metrics(truth, score, threshold),
        "always_singing": metrics.detection_metrics(truth, np.ones(len(truth)), 0.5),
    }
