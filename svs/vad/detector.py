"""Where somebody sings in any recording, according to the voice activity net."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from svs.audio.convert import mono_at
from svs.audio.level import gain
from svs.audio.sources import Source
from svs.config import paths
from svs.config.project import Project
from svs.config.schema import VADExcerpts
from svs.dsp.stft import frames, magnitude, stft_of_frames
from svs.runtime.files import files_below, read_json, sha256
from svs.vad.activity import Activity

if TYPE_CHECKING:
    from svs.networks.inference import Net

_BLOCK = 4096  # frames of a spectrogram: 48 s
_BATCH = 64  # windows that the net sees together; the layers of 256 windows need 1 GB


class Detector:
    """The trained voice activity net of a project.

    The default threshold is the one that `svs.vad.evaluate` tuned on the validation tracks, or 0.5.

    Raises
    ------
    ModelError
        The net is missing or damaged.
    """

    def __init__(self, project: Project, threshold: float | None = None):
        folder = project.model(paths.VAD)
        self._net, self._settings, self._level = load_net(folder, project.settings.extract.vad)
        self.fingerprint = sha256(files_below(folder))
        scored = project.path(paths.METRICS / "vad.json")
        tuned = read_json(scored)["threshold"] if scored.is_file() else 0.5
        self.threshold = tuned if threshold is None else threshold

    def listen(self, recording: Source) -> Activity:
        """Probability of singing at every frame of a recording; needs about 90 kB of memory for each second of it."""
        probability = probabilities(self._net, recording, self._settings, self._level)
        hop = self._settings.hop_length / self._settings.sample_rate
        smoothing = int(self._settings.smoothing / hop) // 2 * 2 + 1
        times = np.arange(len(probability)) * hop
        return Activity(times, probability, self.threshold, smoothing, recording.samples / recording.rate)


def load_net(folder: Path, settings: VADExcerpts) -> tuple[Net, VADExcerpts, float | None]:
    """The trained net in a folder, the settings with the representation that it was trained on, and the level.

    Raises
    ------
    ModelError
        The net is missing or damaged.
    """
    from svs.networks.inference import load  # ONNX Runtime takes a while to import

    net, card = load(folder)
    return net, VADExcerpts(**{**settings.model_dump(), **card["representation"]}), card.get("level")


def probabilities(net: Net, recording: Source, settings: VADExcerpts, level: float | None = None) -> np.ndarray:
    """Probability of singing at every frame of a recording, computed in blocks: float32 (frames,).

    The mean of the channels is taken, at the level of the training songs, with
    silence before and after it.  The settings and the level are those of
    `load_net`.
    """
    from svs.networks.windows import predictions

    audio = mono_at(recording, settings.sample_rate)
    audio *= np.float32(gain(recording, level))
    total, half = frames(len(audio), settings), settings.width // 2
    probability = np.empty(total, dtype=np.float32)
    for first in range(0, total, _BLOCK):
        last = min(first + _BLOCK, total)
        begin, end = max(0, first - half), min(total, last + half)  # of the spectrogram; beyond is silence
        spectrum = magnitude(stft_of_frames(audio, settings, begin, end), settings)
        for centres, found in predictions(net, spectrum, settings.width, np.arange(first, last) - begin, _BATCH):
            probability[begin + centres] = found[:, 0]
    return probability
