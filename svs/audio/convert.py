"""Resample audio, mix it to mono, and find passages in samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from svs.audio.sources import Source

_BLOCK = 1 << 16  # samples that a stream reads at a time


def resample(audio: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Resample (samples, channels) from `rate` to `new_rate` Hz (soxr, high quality)."""
    if rate == new_rate:
        return audio
    import soxr

    return soxr.resample(audio, rate, new_rate, quality="HQ").astype(np.float32, copy=False)


def resampled(blocks: Iterable[np.ndarray], rate: int, new_rate: int, channels: int) -> Iterator[np.ndarray]:
    """Blocks (samples, channels) at another rate: the samples of `resample` of all of them, however they are cut."""
    if rate == new_rate:
        yield from blocks
        return
    import soxr

    stream = soxr.ResampleStream(rate, new_rate, channels, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(np.ascontiguousarray(block, dtype=np.float32))
    yield stream.resample_chunk(np.zeros((0, channels), dtype=np.float32), last=True)


def blocks(source: Source, size: int = _BLOCK) -> Iterator[np.ndarray]:
    """A source from beginning to end, `size` samples at a time."""
    for start in range(0, source.samples, size):
        yield source.read(start, min(start + size, source.samples))


class Resampled:
    """A source at another rate: the samples of `resample` of the whole, in little memory if it is read forwards.

    It keeps the samples from the beginning of the last read on.  For earlier ones it begins anew.
    """

    def __init__(self, source: Source, rate: int):
        self.rate, self.channels = rate, source.channels
        self.samples = max(1, round(source.samples * rate / source.rate))
        self._source = source
        self._rewind()

    def _rewind(self) -> None:
        source = self._source
        self._pieces = resampled(blocks(source), source.rate, self.rate, source.channels)
        self._first, self._held = 0, np.zeros((0, self.channels), dtype=np.float32)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Samples [start, stop) as float32 (stop - start, channels)."""
        if start < self._first:
            self._rewind()
        held, available = [self._held], self._first + len(self._held)
        while available < stop:
            piece = next(self._pieces, None)
            if piece is None:  # the recording ends within the last sample
                piece = np.zeros((stop - available, self.channels), dtype=np.float32)
            held.append(piece)
            available += len(piece)
        self._held, self._first = np.concatenate(held)[start - self._first :], start
        return self._held[: stop - start]


def mono_at(recording: Source, rate: int) -> np.ndarray:
    """The mean of the channels at another rate, read and resampled in blocks: float32 (samples,)."""
    audio, filled = np.empty(-(-recording.samples * rate // recording.rate) + 1, dtype=np.float32), 0
    pieces = (mono(block)[:, None] for block in blocks(recording))
    for piece in resampled(pieces, recording.rate, rate, channels=1):
        audio[filled : filled + len(piece)] = piece[:, 0]
        filled += len(piece)
    return audio[:filled]


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
