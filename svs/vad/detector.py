"""Where somebody sings in any recording, according to the voice activity net."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import median_filter

from svs.audio.convert import blocks, mono, resampled
from svs.audio.level import gain
from svs.audio.sources import Source
from svs.config import paths
from svs.config.project import Project
from svs.config.schema import VADExcerpts
from svs.dsp.stft import frames, magnitude, stft_of_frames
from svs.runtime.files import files_below, read_json, sha256

if TYPE_CHECKING:
    from svs.networks.inference import Net

_BLOCK = 4096  # frames of a spectrogram: 48 s
_BATCH = 64  # windows that the net sees together; the layers of 256 windows need 1 GB


@dataclass(frozen=True)
class Activity:
    """Probability of singing at every frame."""

    times: np.ndarray  # float (frames,): s from the beginning of the recording
    probability: np.ndarray  # float32 (frames,)
    threshold: float
    smoothing: int  # frames of the median filter over the decisions, odd
    seconds: float  # length of the recording

    def active(self) -> np.ndarray:
        """Decision at every frame, smoothed: bool (frames,)."""
        decided = (self.probability >= self.threshold).astype(np.int8)
        return median_filter(decided, size=self.smoothing, mode="nearest").astype(bool)

    def segments(self) -> list[tuple[float, float, float]]:
        """Start and end in seconds, and mean probability, of every stretch of singing."""
        active = np.concatenate([[False], self.active(), [False]])
        starts = np.flatnonzero(active[1:] & ~active[:-1])
        ends = np.flatnonzero(~active[1:] & active[:-1])
        half = (self.times[1] - self.times[0]) / 2 if len(self.times) > 1 else self.seconds
        # The last frame extends to the end of the recording.
        edges = np.append(np.maximum(self.times - half, 0.0), self.seconds)
        return [
            (float(edges[first]), float(edges[last]), float(self.probability[first:last].mean()))
            for first, last in zip(starts, ends, strict=True)
        ]

    def sung(self) -> float:
        """Seconds of singing."""
        return sum(end - start for start, end, _ in self.segments())


class Detector:
    """The trained voice activity net of a project.

    The default threshold is the one that `svs.vad.evaluate` tuned on the validation tracks, or 0.5.

    Raises
    ------
    ModelError
        The net is missing or damaged.
    """

    def __init__(self, project: Project, threshold: float | None = None):
        folder = project.path(paths.VAD)
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

    audio = _at(recording, settings.sample_rate)
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


def _at(recording: Source, rate: int) -> np.ndarray:
    """The mean of the channels at another rate, read and resampled in blocks: float32 (samples,)."""
    audio, filled = np.empty(-(-recording.samples * rate // recording.rate) + 1, dtype=np.float32), 0
    pieces = (mono(block)[:, None] for block in blocks(recording))
    for piece in resampled(pieces, recording.rate, rate, channels=1):
        audio[filled : filled + len(piece)] = piece[:, 0]
        filled += len(piece)
    return audio[:filled]
