"""Audio in and out: blocks of samples from files, float wav with stable bytes.

Conventions: audio is float32 of shape (samples, channels), full scale 1.0.
Only wav is read here, in blocks, so that a long song never has to be in
memory; `svs.data.dataset` decodes anything else to wav first.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile

from svs.errors import DataError
from svs.runtime.files import written


class Source(Protocol):
    """Anything that gives samples by position."""

    rate: int
    samples: int
    channels: int

    def read(self, start: int, stop: int) -> np.ndarray:
        """Samples [start, stop) as float32 (stop - start, channels)."""


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
        if not 0 <= start <= stop <= self.samples:
            raise ValueError(f"{self.path}: samples {start} to {stop} of {self.samples}")
        try:
            audio, _ = soundfile.read(self.path, frames=stop - start, start=start, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise DataError(f"{self.path}: could be opened before, can't be read any more ({error})") from None
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
        shapes = {(source.rate, source.samples, source.channels) for source in sources}
        if len(shapes) != 1:
            raise DataError(f"stems to be summed differ in rate, length or channels: {sorted(shapes)}")
        self._sources = list(sources)
        self.rate, self.samples, self.channels = shapes.pop()

    def read(self, start: int, stop: int) -> np.ndarray:
        return sum(source.read(start, stop) for source in self._sources)


class RawSource:
    """Little-endian float32 samples in a file without a header, channel beside channel: no limit of 4 GiB."""

    def __init__(self, path: Path, rate: int, channels: int):
        self.path, self.rate, self.channels = Path(path), rate, channels
        self.samples = self.path.stat().st_size // (4 * channels)

    def read(self, start: int, stop: int) -> np.ndarray:
        if not 0 <= start <= stop <= self.samples:
            raise ValueError(f"{self.path}: samples {start} to {stop} of {self.samples}")
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


class DifferenceSource:
    """One source less another: the accompaniment of a mixture and its vocals."""

    def __init__(self, whole: Source, part: Source):
        shapes = {(source.rate, source.samples, source.channels) for source in (whole, part)}
        if len(shapes) != 1:
            raise DataError(f"a recording and a part of it differ in rate, length or channels: {sorted(shapes)}")
        self._whole, self._part = whole, part
        self.rate, self.samples, self.channels = shapes.pop()

    def read(self, start: int, stop: int) -> np.ndarray:
        return self._whole.read(start, stop) - self._part.read(start, stop)


class WavWriter:
    """Float wav, written block by block, with bytes that depend on the samples alone.

    soundfile's own float wav carries a PEAK chunk with the time of writing, so
    the header (WAVE_FORMAT_IEEE_FLOAT, 32 bit) is written here.  Use inside
    `svs.runtime.files.written`.
    """

    def __init__(self, path: Path, rate: int, channels: int):
        self._file = open(path, "wb")  # noqa: SIM115 (closed by close())
        self._rate, self._channels, self.samples = rate, channels, 0
        self._file.write(self._header())

    def _header(self) -> bytes:
        size = self.samples * self._channels * 4
        if size > 2**32 - 64:
            raise DataError("a float wav can't hold more than 4 GiB; separate a shorter passage")
        return (
            struct.pack("<4sI4s", b"RIFF", 50 + size, b"WAVE")
            + struct.pack(
                "<4sIHHIIHHH",
                b"fmt ",
                18,
                3,
                self._channels,
                self._rate,
                self._rate * self._channels * 4,
                self._channels * 4,
                32,
                0,
            )
            + struct.pack("<4sII", b"fact", 4, self.samples)
            + struct.pack("<4sI", b"data", size)
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


def write_wav(path: Path, audio: np.ndarray, rate: int) -> None:
    """Write float audio (samples, channels) as 32-bit float wav, whole or not at all."""
    with written(path) as temporary, WavWriter(temporary, rate, audio.shape[1]) as writer:
        writer.write(audio)
