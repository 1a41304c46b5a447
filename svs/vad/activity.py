"""Where somebody sings or speaks in a recording, as a detector says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import median_filter


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
