"""Where somebody sings or speaks in any recording, according to the voice activity net or Silero VAD."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

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
from svs.vad.silero import Silero

_BLOCK = 4096  # frames of a spectrogram: 48 s
_BATCH = 64  # windows that the net sees together; the layers of 256 windows need 1 GB


class Detector:
    """The trained voice activity net of a project, or Silero VAD, with a threshold.

    Parameters
    ----------
    project : Project
    threshold : float, optional
        By default the one that `svs.vad.evaluate` tuned on the validation tracks, or 0.5 (as Silero VAD's authors).
    method : {"net", "silero"}

    Raises
    ------
    ModelError
        The net is missing or damaged.
    UnavailableError
        As of `svs.vad.silero.Silero`.
    """

    def __init__(self, project: Project, threshold: float | None = None, method: Literal["net", "silero"] = "net"):
        settings = project.settings.extract.vad
        self._net = Silero() if method == "silero" else SingingNet(project.model(paths.VAD), settings)
        self._smoothing = int(settings.smoothing / self._net.hop) // 2 * 2 + 1
        self.fingerprint = sha256(self._net.files)
        scored = project.path(paths.METRICS / "vad.json")
        key = "silero_threshold" if method == "silero" else "threshold"
        tuned = read_json(scored).get(key) if scored.is_file() else None
        self.threshold = threshold if threshold is not None else 0.5 if tuned is None else tuned

    def listen(self, recording: Source) -> Activity:
        """Probability of singing or speech in a recording; the net needs about 90 kB of memory a second of it."""
        seconds = recording.samples / recording.rate
        return Activity(*self._net.heard(recording), self.threshold, self._smoothing, seconds)


class SingingNet:
    """The trained net in a folder, and the settings with the representation that it was trained on.

    Raises
    ------
    ModelError
        The net is missing or damaged.
    """

    def __init__(self, folder: Path, settings: VADExcerpts):
        from svs.networks.inference import load  # ONNX Runtime takes a while to import

        self._net, card = load(folder)
        self.settings = VADExcerpts(**{**settings.model_dump(), **card["representation"]})
        self.hop = self.settings.hop_length / self.settings.sample_rate  # s
        self.files, self._level = files_below(folder), card.get("level")

    def heard(self, recording: Source) -> tuple[np.ndarray, np.ndarray]:
        """Seconds from the beginning of a recording to each frame, and the probability of singing there.

        It is computed in blocks.  The mean of the channels is taken, at the level of the training songs, with silence
        before and after it.  Both are (frames,), in float64 and in float32.
        """
        from svs.networks.windows import predictions

        settings = self.settings
        audio = mono_at(recording, settings.sample_rate)
        audio *= np.float32(gain(recording, self._level))
        total, half = frames(len(audio), settings), settings.width // 2
        probability = np.empty(total, dtype=np.float32)
        for first in range(0, total, _BLOCK):
            last = min(first + _BLOCK, total)
            begin, end = max(0, first - half), min(total, last + half)  # of the spectrogram; beyond is silence
            spectrum = magnitude(stft_of_frames(audio, settings, begin, end), settings)
            chosen = np.arange(first, last) - begin
            for centres, found in predictions(self._net, spectrum, settings.width, chosen, _BATCH):
                probability[begin + centres] = found[:, 0]
        return np.arange(total) * settings.hop_length / settings.sample_rate, probability
