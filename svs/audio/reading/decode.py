"""Read any recording that FFmpeg's libraries read, block by block.

Conventions: audio is float32 of shape (samples, channels), full scale 1.0;
rate and channels stay those of the recording.  `open_recording` decodes once
into a temporary file of raw samples (4 bytes a sample and channel: an hour of
stereo at 44.1 kHz takes 1.3 GB of disk, and no memory), so that any block can
be read again.  Whatever is wrong with a file is a `DataError` of one line.
"""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from threading import Lock
from typing import IO

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.plane import AudioPlane
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer

from svs.audio import sources
from svs.audio.reading import container
from svs.audio.reading.container import Info
from svs.audio.reading.timeline import Timeline
from svs.errors import recording_error
from svs.runtime.files import NO_ROOM

_SILENT = 2.0**-24  # peak below which not even 24 bits hold anything
# Streams of self-contained frames: players skip junk in them (tags, cuts, joined files), so one lost frame is no reason
# to refuse a song.  And those that count their samples: FFmpeg may take a short last packet for a cut; the count tells.
_LENIENT = {"mp3", "aac", "ac3", "eac3", "dts", "mpegts", "mpeg", "wav", "caf"}
_CHECKSUMS = {"flac", "wavpack", "tta"}  # FFmpeg compares the checksums of their frames only when asked
_COUNTED = {"wav", "aiff", "au", "flac", "w64"}  # these state a count of samples, not a rounded time
_LOSSLESS = re.compile(r"pcm_(?!mulaw|alaw)|flac|alac")
_TOLERANCE = 4096  # samples by which healthy lossy files differ from their stated length (padding, delay)
# Sample formats of FFmpeg, without the "p" of planar ones: type, full scale.
_FORMATS = {"flt": ("f4", 1), "dbl": ("f8", 1), "u8": ("u1", 2**7)}
_FORMATS |= {"s16": ("i2", 2**15), "s32": ("i4", 2**31), "s64": ("i8", 2**63)}


def probe(path: Path, stream: int | None = None, name: str | None = None) -> Info:
    """Look at an audio stream of a recording, without decoding it.

    Parameters
    ----------
    path : Path
    stream : int, optional
        Which audio stream, from 0; without it the one that is flagged as the default, else the first.
    name : str, optional
        What messages call the recording instead of its path.

    Raises
    ------
    DataError
        It is missing, a folder, empty, no recording, or has no audio or no such stream.
    """
    with container.opened(path, stream, name) as (_, _, info):
        return info


class Recording:
    """A decoded passage of a recording: a `svs.audio.sources.Source`, made by `open_recording`.

    Attributes
    ----------
    rate, samples, channels : int
        Of the passage; rate in Hz.
    info : Info
        Of the whole recording.
    silent : bool
        Every sample of the passage is digital silence.
    start : float
        Where the passage begins (s).
    notes : list of str
        What a person should know of it, in short sentences: the choice of the stream, filled gaps, left out pieces.
    """

    def __init__(self, info: Info, file: IO[bytes], first: int, samples: int, peak: float, notes: list[str]):
        self.info, self.notes = info, notes
        self.rate, self.channels, self.samples = info.rate, info.channels, samples
        self.silent = peak < _SILENT
        self.start = first / info.rate
        self._file, self._lock = file, Lock()

    def read(self, start: int, stop: int) -> np.ndarray:
        """Samples [start, stop) as float32 (stop - start, channels); any thread may read.

        Raises
        ------
        ValueError
            There are no such samples, or the recording is closed.
        """
        sources.check_range(self.info.path, self.samples, start, stop)
        with self._lock:
            self._file.seek(start * 4 * self.channels)
            audio = np.fromfile(self._file, dtype="<f4", count=(stop - start) * self.channels)
        return audio.reshape(-1, self.channels)


@contextmanager
def open_recording(
    path: Path, start: float = 0.0, duration: float | None = None, *, stream: int | None = None, name: str | None = None
) -> Iterator[Recording]:
    """Decode a recording, or a passage of it, for reading in blocks.

    The stream is decoded once, from its beginning, and cut by counting
    samples: no codec's seeking is exact.

    Parameters
    ----------
    path : Path
        Anything FFmpeg reads; of a video, its sound.
    start, duration : float
        The passage [start, start + duration) in seconds, cut to the recording; to its end without `duration`.
    stream, name
        As for `probe`.

    Yields
    ------
    Recording
        Its samples lie in the system's temporary folder (TMPDIR) until the block ends.

    Raises
    ------
    DataError
        What `probe` raises; the recording is damaged or truncated (if the passage reaches the damage), holds no
        sample or NaN or infinite ones, or ends before `start`; the disk is full.
    """
    for what, value in (("start", start), ("duration", duration)):
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise recording_error(name or path, f"expected a {what} of 0 s or more, got {value}")
    # On most systems the file has no name, so that not even a killed process leaves it behind.  It has no buffer:
    # closing it must not try once more to write to a full disk.
    with tempfile.TemporaryFile(prefix="svs-", buffering=0) as file:
        with container.opened(path, stream, name) as (source, chosen, info):
            first = round(start * info.rate)
            last = None if duration is None else first + round(duration * info.rate)
            if last == first:
                raise info.error(f"a duration of {duration} s is less than one sample; ask for more")
            decoder = _Decoder(source, chosen, info)
            try:
                samples, peak = _keep(decoder, info, file, first, last)
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                seconds = duration or (info.seconds or 0.0) - start
                need = f"about {seconds * info.rate * info.channels * 4 / 1e6:.0f} MB" if seconds > 0 else "more space"
                text = (
                    f"{NO_ROOM[error.errno]}; {info.name} needs {need} to be decoded; free some space or set TMPDIR to "
                )
                raise recording_error(tempfile.gettempdir(), f"{text}another disk") from None
        yield Recording(info, file, first, samples, peak, [*info.notes, *decoder.notes()])


def _keep(decoder: _Decoder, info: Info, file: IO[bytes], first: int, last: int | None) -> tuple[int, float]:
    """Write samples [first, last) as raw float32; return how many there were, and the largest magnitude."""
    position, peak = 0, 0.0  # samples decoded so far, kept or not
    for block in _gathered(decoder.audio(), info.channels):
        kept = block[max(first - position, 0) : None if last is None else last - position]
        bad = sources.first_not_finite(kept)
        if bad is not None:
            found = f"found NaN or infinity at {(bad + max(first, position)) / info.rate:.3f} s"
            advice = "export it again, or choose a passage without that place"
            raise info.error(f"expected finite samples, {found}; {advice}")
        if len(kept):
            peak = max(peak, float(kept.max()), -float(kept.min()))
            left = kept.data.cast("B")
            while left:  # a write may stop midway
                left = left[file.write(left) :]
        position += len(block)
        if last is not None and position >= last:
            break
    else:
        decoder.check_end(position)
    samples = min(position, last or position) - first
    if samples <= 0:
        length = f"the recording is {position / info.rate:.2f} s long; choose an earlier start"
        raise info.error(f"expected a passage from {first / info.rate:.2f} s on, {length}")
    return samples, peak


def _gathered(pieces: Iterable[np.ndarray], channels: int) -> Iterator[np.ndarray]:
    """Pieces joined to blocks of about `sources.BLOCK` bytes.  A block is valid until the next one."""
    block, filled = np.empty((max(sources.BLOCK // (4 * channels), 1), channels), dtype="<f4"), 0
    for piece in pieces:
        while len(piece):
            count = min(len(piece), len(block) - filled)
            block[filled : filled + count] = piece[:count]
            piece, filled = piece[count:], filled + count
            if filled == len(block):
                yield block
                filled = 0
    if filled:
        yield block[:filled]


class _Decoder:
    """The samples of an audio stream on the recording's timeline."""

    def __init__(self, source: InputContainer, stream: AudioStream, info: Info):
        self._source, self._stream, self._info = source, stream, info
        self._strict = not _LENIENT & set(info.container.split(","))
        self._failure = ""  # what FFmpeg said of the last piece
        self._ended = self._cut = False  # by an error; in the middle of a packet
        self._pieces = self._changes = 0  # pieces that could not be decoded; changes of rate or channels
        self._layout = stream.codec_context.layout.name
        # A lone stream begins the timeline itself: live recordings count from when they went on air.
        self._timeline = Timeline(container.start_of_others(source, stream))

    def audio(self) -> Iterator[np.ndarray]:
        """Float samples (samples, channels), to the end or to the first fault that is none of junk."""
        info, resampler = self._info, None
        kind: tuple[str, int, int] | None = None
        for frame in self._frames():
            channels, rate, before = frame.layout.nb_channels, frame.sample_rate, kind
            time = frame.time if rate == info.rate else None  # FFmpeg may count with the rate of the beginning
            due = round(self._timeline.step(time, frame.samples / rate) * info.rate)
            if due > 0:
                yield np.broadcast_to(np.float32(0), (due, info.channels))  # takes no memory
            kind = (frame.format.name, channels, rate)
            if kind != before and resampler:
                yield from map(_samples, resampler.resample(None))
                resampler = None
            if kind != before and (channels, rate) != (info.channels, info.rate):  # joined from different files
                resampler = AudioResampler("flt", self._layout, info.rate)
                self._changes += 1
            for piece in resampler.resample(frame) if resampler else [frame]:
                yield _samples(piece)[max(-due, 0) : self._length(piece)]
                due = 0
        if resampler:
            yield from map(_samples, resampler.resample(None))

    def _length(self, frame: AudioFrame) -> int:
        """Samples of a frame: an m4a states how many of its last one are padding."""
        lone = len(self._source.streams.audio) == 1  # of MUSDB18's tracks, musdb reads the padding too
        if lone and self._info.codec == "aac" and frame.time_base == Fraction(1, frame.sample_rate):
            return min(frame.samples, frame.duration or frame.samples)
        return frame.samples

    def _frames(self) -> Iterator[AudioFrame]:
        context = self._stream.codec_context
        if self._info.codec in _CHECKSUMS:
            context.options = {"err_detect": "crccheck+explode"}
        packets = self._source.demux(self._stream)
        while not self._ended and not self._cut:
            try:
                packet = next(packets, None)
            except IndexError:  # PyAV at the end, of streams that appeared late; this one has come to its end
                return
            except (av.FFmpegError, OSError) as error:
                self._failure, self._ended = container.words(error), True
                return
            if packet is None:
                return
            self._cut = packet.is_corrupt and self._strict
            try:
                yield from () if self._cut else context.decode(packet)
            except av.FFmpegError as error:
                self._failure, self._ended = container.words(error), self._strict
                self._pieces += 1

    def check_end(self, samples: int) -> None:
        """Raise DataError if decoding ended, after so many samples, before the recording does."""
        info, got = self._info, samples / self._info.rate
        failed = self._ended and self._strict
        if samples == 0 and not ((failed or self._cut) and info.seconds and not info.estimated):
            reason = self._failure or "FFmpeg decodes no sample"
            raise info.error(f"expected a recording, found no audio in it ({reason}); choose another file")
        of = f" of {info.seconds:.2f} s" if info.seconds and not info.estimated else ""
        problem = None
        if failed:
            problem = f"decoding ends at {got:.2f} s{of} ({self._failure})"
        elif info.missing > 0:
            problem = f"the header says {info.missing} bytes more than there are, the audio ends at {got:.2f} s"
        elif self._cut:
            problem = f"the file ends in the middle, at {got:.2f} s{of}"
        elif self._too_short(samples):
            problem = f"expected {info.seconds:.2f} s of audio, as its header says, could decode {got:.2f} s"
        if problem:
            advice = "the file is truncated or damaged; fetch or copy it again, or choose a passage before that"
            raise info.error(f"{problem}: {advice}")
        if self._pieces > 2 + got / 60:  # junk at both ends, and a tag now and then in between
            problem = f"{self._pieces} pieces of it can't be decoded ({self._failure})"
            raise info.error(f"{problem}: the file is damaged; fetch or copy it again")

    def _too_short(self, samples: int) -> bool:
        """Are there clearly fewer samples than the file states?"""
        info = self._info
        if info.seconds is None or info.estimated or info.container == "avi":  # avi rounds its rate to bytes
            return False
        stated = (info.seconds - self._timeline.skipped) * info.rate
        exact = info.container in _COUNTED and _LOSSLESS.match(info.codec)
        return samples < stated - (1 if exact else _TOLERANCE + 0.001 * stated)

    def notes(self) -> list[str]:
        """What a person should know of the decoding, in short sentences."""
        notes = self._timeline.notes()
        if self._info.missing < 0:
            notes.append(f"{-self._info.missing} bytes that its header does not count were left out")
        if self._changes:
            notes.append("its rate or channels change in the middle: converted to those of its beginning")
        if self._pieces:
            notes.append(f"left out {self._pieces} damaged piece(s)")
        return notes


def _samples(frame: AudioFrame) -> np.ndarray:
    """A frame as float32 (samples, channels)."""
    channels, planar = frame.layout.nb_channels, frame.format.is_planar
    kind, scale = _FORMATS[frame.format.name.removesuffix("p")]
    audio = np.empty((frame.samples, channels), dtype=np.float32)
    parts = audio.T if planar else [audio.reshape(-1)]
    with np.errstate(over="ignore", invalid="ignore"):  # of doubles; infinite samples are refused later
        for index, part in enumerate(parts):  # not `frame.planes`: it reads beyond the end of the list of 8 planes
            part[:] = np.frombuffer(memoryview(AudioPlane(frame, index)), kind, part.size)
    if kind == "u1":
        audio -= scale
    if scale != 1:
        audio *= np.float32(1 / scale)
    return audio
