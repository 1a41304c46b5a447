"""Resample audio arrays, mix them to mono, and find passages in samples."""

from __future__ import annotations

import numpy as np

from svs.audio.sources import Source


def resample(audio: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Resample (samples, channels) from `rate` to `new_rate` Hz (soxr, high quality)."""
    if rate == new_rate:
        return audio
    import soxr

    return soxr.resample(audio, rate, new_rate, quality="HQ").astype(np.float32, copy=False)


def mono(audio: np.ndarray) -> np.ndarray:
    """Mean of the channels: (samples, channels) to (samples,)."""
    if audio.shape[1] == 2 and audio.dtype == np.float32:
        return (audio[:, 0] + audio[:, 1]) / np.float32(2)  # the same bits, ten times as fast
    return audio.mean(axis=1, dtype=np.float32)


def passage(source: Source, start: float, duration: float | None) -> tuple[int, int]:
    """First and last sample (exclusive) of a passage in seconds, cut to the source."""
    first = min(round(start * source.rate), source.samples)
    last = source.samples if duration is None else min(first + round(duration * source.rate), source.samples)
    return first, last
