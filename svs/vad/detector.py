"""Where somebody sings in any recording, by the voice activity net."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import median_filter

from svs.audio.convert import mono
from svs.audio.sources import Source
from svs.config import paths
from svs.config.project import Project
from svs.config.schema import VADExcerpts
from svs.dsp.stft import frames, magnitude, stft
from svs.runtime.files import files_below, read_json, sha256

_BLOCK = 4096  # frames looked at together: 48 s
_BATCH = 64  # windows that the net sees together: of 256 their layers alone take 1 GB
_UNTUNED = 0.5


@dataclass(frozen=True)
class Activity:
    """Probability of singing at every frame.

    Parameters
    ----------
    times : float (frames,)
        Seconds from the beginning of the recording.
    probability : float32 (frames,)
    threshold : float
    smoothing : int
        Frames of the median filter over the decisions, odd.
    seconds : float
        Length of the recording.
    """

    times: np.ndarray
    probability: np.ndarray
    threshold: float
    smoothing: int
    seconds: float

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
        # The last frame stands for the rest of the recording.
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

    Parameters
    ----------
    project : Project
    threshold : float, optional
        Not given: the one that was tuned on validation tracks when the net was
        scored, or 0.5.

    Raises
    ------
    ModelError
        The net is missing or damaged.
    """

    def __init__(self, project: Project, threshold: float | None = None):
        from svs.networks.archive import load  # Keras takes seconds to import

        self._model, card = load(project.path(paths.VAD))
        self.fingerprint = sha256(files_below(project.path(paths.VAD)))
        representation = card["representation"]
        self._width = int(representation["width"])
        self._settings = VADExcerpts(**{**project.settings.extract.vad.model_dump(), **representation})
        scored = project.path(paths.METRICS / "vad.json")
        tuned = read_json(scored)["threshold"] if scored.is_file() else _UNTUNED
        self.threshold = tuned if threshold is None else threshold

    def listen(self, recording: Source) -> Activity:
        """Probability of singing at every frame of a recording, in memory of about 90 kB a second of it."""
        from svs.networks.archive import predictions

        audio = _at(recording, self._settings.sample_rate)
        total, half = frames(len(audio), self._settings), self._width // 2
        probability = np.empty(total, dtype=np.float32)
        for first in range(0, total, _BLOCK):
            last = min(first + _BLOCK, total)
            begin, end = max(0, first - half), min(total, last + half)
            spectrum = self._spectrum(audio, begin, end, total)
            # Beyond either end of `spectrum` is silence, as beyond the ends of the song.
            wanted = np.arange(first, last) - begin
            for centres, found in predictions(self._model, spectrum, self._width, wanted, _BATCH):
                probability[begin + centres] = found[:, 0]
        hop = self._settings.hop_length / self._settings.sample_rate
        smoothing = int(self._settings.smoothing / hop) // 2 * 2 + 1
        return Activity(
            np.arange(total) * hop, probability, self.threshold, smoothing, recording.samples / recording.rate
        )

    def _spectrum(self, audio: np.ndarray, begin: int, end: int, total: int) -> np.ndarray:
        """Magnitudes (bins, end - begin) of frames [begin, end) of the whole signal."""
        hop = self._settings.hop_length
        margin = -(-self._settings.frame_size // 2 // hop)
        skip = min(margin, begin)
        stop = len(audio) if end == total else min((end - 1 + margin) * hop + 1, len(audio))
        spectrum = magnitude(stft(audio[(begin - skip) * hop : stop], self._settings), self._settings)
        return spectrum[:, skip : skip + end - begin]


def _at(recording: Source, rate: int) -> np.ndarray:
    """The mean of the channels at another rate, read and resampled block by block: float32 (samples,)."""
    import soxr

    stream = soxr.ResampleStream(recording.rate, rate, 1, dtype="float32", quality="HQ")
    step = 1 << 20
    audio, filled = np.empty(-(-recording.samples * rate // recording.rate) + 1, dtype=np.float32), 0
    for start in range(0, recording.samples, step):
        block = mono(recording.read(start, min(start + step, recording.samples)))
        piece = stream.resample_chunk(block, last=start + step >= recording.samples)
        audio[filled : filled + len(piece)] = piece
        filled += len(piece)
    return audio[:filled]
