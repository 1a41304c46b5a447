"""What tests of separation methods share: names, synthetic signals and measures."""

from __future__ import annotations

import numpy as np

from svs.audio.sources import ArraySource
from svs.config.schema import Representation
from svs.dsp.masks import ideal_binary_mask
from svs.separators.base import Separator
from svs.separators.chunking import chunks
from svs.separators.cnn import Options as CNNOptions
from svs.separators.oracles import Oracle

METHODS = {
    "authors": ("repet_sim", "authors"),
    "librosa": ("repet_sim", "librosa"),
    "knn_median": ("knn_median", None),
    "two_stage": ("hpss", "two_stage"),
    "harmonic": ("hpss", "harmonic"),
    "oracle_irm": ("oracle_irm", None),
}
BLIND = [name for name in METHODS if name != "oracle_irm"]
BINS = 257
HALF_RATE = Representation(sample_rate=22050, frame_size=512, win_length=512, hop_length=256)
QUARTER_HOP = Representation(sample_rate=44100, frame_size=1024, win_length=1024, hop_length=256)
FULL_RATE = Representation(sample_rate=44100, frame_size=512, win_length=512, hop_length=128)


def separated(separator: Separator, audio, rate: int, references=None, chunk: float = 3600.0) -> np.ndarray:
    """Vocals of audio (samples, channels) at any rate, in chunks of so many seconds; the default is one chunk."""
    true = {name: ArraySource(reference, rate) for name, reference in (references or {}).items()} or None
    return np.concatenate([vocals for _, vocals in chunks(separator, ArraySource(audio, rate), chunk, true)])


def glide(seconds: float, rate: int = 22050, seed: int = 3) -> np.ndarray:
    """A voice that never holds still: twelve harmonics of a pitch that wanders, with vibrato."""
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    corners = generator.uniform(np.log(180), np.log(500), round(seconds * 2) + 2)
    pitch = np.exp(np.interp(time * 2, np.arange(len(corners)), corners) + 0.03 * np.sin(2 * np.pi * 5.5 * time))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    return sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 13)) * 0.05


def sdr(true: np.ndarray, estimate: np.ndarray) -> float:
    return 10 * np.log10(np.sum(true.astype(float) ** 2) / np.sum((true - estimate.astype(float)) ** 2))


def decibels(error: np.ndarray, reference: np.ndarray) -> float:
    return 10 * np.log10(np.sum(error.astype(np.float64) ** 2) / np.sum(reference.astype(np.float64) ** 2) + 1e-30)


class Endless:
    """A recording of any length that is nowhere: noise, the same wherever it is read."""

    rate, channels = 8000, 1

    def __init__(self, seconds: float, seed: int = 3):
        self.samples = round(seconds * self.rate)
        self._second = np.random.default_rng(seed).normal(0, 0.1, (11_111, 1)).astype(np.float32)

    def read(self, start: int, stop: int) -> np.ndarray:
        return self._second[np.arange(start, stop) % len(self._second)]


def cnn_options(**changes) -> CNNOptions:
    return CNNOptions(
        **(
            {
                "gate": 0.15,
                "mask": "soft",
                "channels": "shared",
                "hop": 1,
                "batch_size": 32,
                "hpss": False,
                "wiener": 0,
                "semitones": (0.0,),
            }
            | changes
        )
    )


class OnKeras:
    """A network on Keras, in place of `svs.networks.inference.Net`, which must say the same."""

    def __init__(self, model):
        self.model = model

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        return np.asarray(self.model.predict_on_batch(batch))

    each = staticmethod(map)


def save_net(folder, net, label_width, representation=HALF_RATE):
    from svs.networks import archive  # Keras takes seconds to import

    archive.save(
        folder, net, {"representation": {**representation.model_dump(), "width": 9}, "label_width": label_width}
    )
    return folder


def oracle_ibm(representation: Representation, channels: str) -> Oracle:
    """The true binary mask."""
    return Oracle("oracle_ibm", representation, ideal_binary_mask, channels)
