"""Sources of samples: wav files, arrays, sums, differences, channels and passages; and float wav with stable bytes.

Conventions: audio is float32 of shape (samples, channels), full scale 1.0.
Only wav is read here, in blocks, so that a long song never has to be in
memory; `svs.audio.reading.decode` reads everything else.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile

from svs.errors import DataError

BLOCK = 1 << 22  # bytes of float samples that are handled at a time


class Source(Protocol):
    """Anything that gives samples by position."""

    rate: int
    samples: int
    channels: int

    def read(self, start: int, stop: int) -> np.ndarray:
        """Samples [start, stop) as float32 (stop - start, channels)."""


def check_range(path: Path, samples: int, start: int, stop: int) -> None:
    """Raise ValueError unless a file of so many samples has the samples [start, stop)."""
    if not 0 <= start <= stop <= samples:
        raise ValueError(f"{path}: samples {start} to {stop} of {samples}")


def first_not_finite(audio: np.ndarray) -> int | None:
    """Index of the first sample (of any channel) that is NaN or infinite, None if there is none."""
    finite = np.isfinite(audio)
    return None if finite.all() else int(np.argmin(finite.all(axis=1)))


def _shape(sources: Sequence[Source], what: str) -> tuple[int, int, int]:
    """Rate, samples and channels that the sources share."""
    shapes = {(source.rate, source.samples, source.channels) for source in sources}
    if len(shapes) != 1:
        raise DataError(f"{what} differ in rate, length or channels: {sorted(shapes)}")
    return shapes.pop()


class WavSource:
    """A wav file, read block by block."""

    def __init__(self, path: Path):
        self.path = Path(path)
        try:
            with soundfile.SoundFile(self.path) as file:
                self.rate, self.samples, self.channels = file.samplerate, file.frames, file.channels
        except (soundfile.LibsndfileError, OSError) as error:
            raise DataError(f"{self.path}: expected a wav file, could not read it ({error})") from None

    def read(self, start: int, stop: int) -> np.ndarray:
        check_range(self.path, self.samples, start, stop)
        try:
            audio, _ = soundfile.read(self.path, frames=stop - start, start=start, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError:  # as if nothing were left
            audio = np.empty((0, self.channels), dtype=np.float32)
        if len(audio) != stop - start:
            raise DataError(
                f"{self.path}: expected {stop - start} samples at {start}, got {len(audio)}: "
                "the file is truncated; fetch it again"
            )
        return audio


class ArraySource:
    """An array (samples, channels) or (samples,) in memory."""

    def __init__(self, audio: np.ndarray, rate: int):
        audio = np.asarray(audio, dtype=np.float32)
        self._audio = audio[:, None] if audio.ndim == 1 else audio
        self.rate = rate
        self.samples, self.channels = self._audio.shape

    def read(self, start: int, stop: int) -> np.ndarray:
        return self._audio[start:stop]


class SumSource:
    """The sum of several sources of the same shape (the accompaniment of its stems)."""

    def __init__(self, sources: Sequence[Source]):
        self.rate, self.samples, self.channels = _shape(sources, "stems to be summed")
        self._sources = list(sources)

    def read(self, start: int, stop: int) -> np.ndarray:
        return np.asarray(sum(source.read(start, stop) for source in self._sources))


class RawSource:
    """A file of little-endian float32 samples without a header, channels interleaved: it has no limit of 4 GiB."""

    def __init__(self, path: Path, rate: int, channels: int):
        self.path, self.rate, self.channels = Path(path), rate, channels
        self.samples = self.path.stat().st_size // (4 * channels)

    def read(self, start: int, stop: int) -> np.ndarray:
        check_range(self.path, self.samples, start, stop)
        count = (stop - start) * self.channels
        audio = np.fromfile(self.path, dtype="<f4", count=count, offset=start * 4 * self.channels)
        return audio.reshape(-1, self.channels)


class PassageSource:
    """Samples [first, last) of another source."""

    def __init__(self, source: Source, first: int, last: int):
        self._source, self._first = source, first
        self.rate, self.samples, self.channels = source.rate, last - first, source.channels

    def read(self, start: int, stop: int) -> np.ndarray:
        return self._source.read(self._first + start, self._first + stop)


class ChannelSource:
    """One channel (from 0) of another source."""

    def __init__(self, source: Source, channel: int):
        self._source, self._channel = source, channel
        self.rate, self.samples, self.channels = source.rate, source.samples, 1

    def read(self, start: int, stop: int) -> np.ndarray:
        return self._source.read(start, stop)[:, self._channel : self._channel + 1]


class WidenedSource:
    """A mono source, the same on several channels."""

    def __init__(self, source: Source, channels: int):
        if source.channels != 1:
            raise DataError(f"expected a mono stem, or {channels} channels as the others have; got {source.channels}")
        self._source = source
        self.rate, self.samples, self.channels = source.rate, source.samples, channels

    def read(self, start: int, stop: int) -> np.ndarray:
        return np.repeat(self._source.read(start, stop), self.channels, axis=1)


class DifferenceSource:
    """One source minus another: the accompaniment, as the mixture minus the vocals."""

    def __init__(self, whole: Source, part: Source):
        self.rate, self.samples, self.channels = _shape((whole, part), "a recording and a part of it")
        self._whole, self._part = whole, part

    def read(self, start: int, stop: int) -> np.ndarray:
        return self._whole.read(start, stop) - self._part.read(start, stop)


class WavWriter:
    """Float wav, written block by block, with bytes that depend on the samples alone.

    soundfile's own float wav has a PEAK chunk with the time of writing, so this
    class writes the header (WAVE_FORMAT_IEEE_FLOAT, 32 bit).  Use it inside
    `svs.runtime.files.written`.

    Raises
    ------
    DataError
        The samples need more than 4 GiB.
    """

    def __init__(self, path: Path, rate: int, channels: int):
        self._file = open(path, "wb")  # noqa: SIM115 (closed by close())
        self._rate, self._channels, self.samples = rate, channels, 0
        self._file.write(self._header())

    def _header(self) -> bytes:
        size = self.samples * self._channels * 4
        if size > 2**32 - 64:
            raise DataError("a float wav can't hold more than 4 GiB; separate a shorter passage")
        frame = 4 * self._channels
        form = (3, self._channels, self._rate, self._rate * frame, frame, 32, 0)  # 3: IEEE float
        return (
            struct.pack("<4sI4s", b"RIFF", 50 + size, b"WAVE")
            + struct.pack("<4sIHHIIHHH", b"fmt ", 18, *form)
            + struct.pack("<4sII4sI", b"fact", 4, self.samples, b"data", size)
        )

    def write(self, audio: np.ndarray) -> None:
        """Append float samples (samples, channels)."""
        self._file.write(np.ascontiguousarray(audio, dtype="<f4").tobytes())
        self.samples += len(audio)

    def close(self) -> None:
        self._file.seek(0)
        self._file.write(self._header())
        self._file.close()

    def __enter__(self) -> WavWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
