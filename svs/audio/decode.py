"""Read any recording that ffmpeg reads, block by block.

Conventions: audio is float32 of shape (samples, channels), full scale 1.0;
rate and channels stay those of the recording.  `open_recording` decodes once
into a temporary file of raw samples (4 bytes a sample and channel: an hour of
stereo at 44.1 kHz takes 1.3 GB of disk, and no memory), so that any block can
be read again.  Whatever is wrong with a file is a `DataError` of one line.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import re
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import IO, Any

import numpy as np

from svs.audio import ffmpeg, sources
from svs.audio.ffmpeg import Running, recording_error

log = logging.getLogger("svs")

_SILENT = 2.0**-24  # peak below which not even 24 bits hold anything
_PLAYLISTS = {"hls", "concat", "dash", "sdp", "imf"}
# Streams of self-contained frames: players skip junk in them (tags, cuts, joined files), so one lost frame is no reason
# to refuse a song.  And wav: ffmpeg takes the end of one that was written to a pipe for a cut, so `_end_of_riff` reads
# its header.
_LENIENT = {"mp3", "aac", "ac3", "eac3", "dts", "mpegts", "mpeg", "wav"}
_CHECKSUMS = {"flac", "wavpack", "tta"}  # ffmpeg compares the checksums of their frames only when asked
_COUNTED = {"wav", "aiff", "au", "flac", "w64"}  # these state a count of samples, not a rounded time
_LOSSLESS = re.compile(r"pcm_(?!mulaw|alaw)|flac|alac")


@dataclass(frozen=True)
class Info:
    """What ffprobe says of a recording.

    Parameters
    ----------
    path : Path
    rate : int
        Samples a second (Hz).
    channels : int
    seconds : float, optional
        Length that the file states, or None if it states none.  Only decoding tells the true length.
    codec : str
        ffmpeg's name of the codec of the first audio stream.
    tags : dict
        Lower-case names and texts, of the file and of that stream.
    container : str
        ffmpeg's names of the container, with commas.
    estimated : bool
        `seconds` is no more than the size over the bit rate.
    offset : float
        Seconds by which `seconds` may be too long, as it counts from before the first sample.
    """

    path: Path
    rate: int
    channels: int
    seconds: float | None
    codec: str
    tags: dict[str, str] = field(default_factory=dict)
    container: str = ""
    estimated: bool = False
    offset: float = 0.0


def probe(path: Path) -> Info:
    """Look at the first audio stream of a recording, without decoding it.

    Raises
    ------
    DataError
        It is missing, a folder, empty, no recording, or has no audio; or there is no ffprobe.
    """
    path = Path(path)
    ffmpeg.require_ffmpeg()
    ffmpeg.require_file(path)
    content, messages = ffmpeg.ffprobe(path)
    container, streams = content.get("format"), content.get("streams", [])
    if not container:
        raise recording_error(
            path,
            f"expected a recording, ffprobe can't read it ({ffmpeg.last_words(messages, path)}): it is no audio "
            "or video file, or it is truncated; fetch or copy it again, or choose another file",
        )
    name = container.get("format_name", "")
    if _PLAYLISTS & set(name.split(",")):
        raise recording_error(path, "expected a recording, this is a playlist; name the recordings themselves")
    audio = next((stream for stream in streams if stream.get("codec_type") == "audio"), None)
    if audio is None:
        kinds = sorted({stream.get("codec_type", "unknown") for stream in streams}) or ["nothing"]
        raise recording_error(
            path, f"expected a recording, found no audio in it ({' and '.join(kinds)} only); choose a file that sounds"
        )
    rate, channels = int(audio.get("sample_rate", 0)), int(audio.get("channels", 0))
    codec = audio.get("codec_name", "unknown")
    if not rate or not channels:
        raise recording_error(
            path,
            "expected a recording, found no audio in it (its name or first bytes suggest "
            f"{codec}, nothing else does); choose another file",
        )
    seconds, offset = _stated_seconds(audio, streams, container)
    tags = {key.lower(): str(value) for key, value in {**audio.get("tags", {}), **container.get("tags", {})}.items()}
    return Info(path, rate, channels, seconds, codec, tags, name, b"Estimating duration" in messages, offset)


def _stated_seconds(
    audio: dict[str, Any], streams: list[dict[str, Any]], container: dict[str, Any]
) -> tuple[float | None, float]:
    """Length that a file states of its audio, and how much earlier than the audio it may begin (s)."""
    if seconds := float(audio.get("duration", 0)):
        return seconds, 0.0
    offset = max(float(audio.get("start_time", 0)), 0.0)
    for key, value in audio.get("tags", {}).items():  # Matroska: "00:00:09.003000000"
        if key.upper().startswith("DURATION") and re.fullmatch(r"\d+:\d+:\d+(\.\d+)?", value):
            hours, minutes, rest = value.split(":")
            return int(hours) * 3600 + int(minutes) * 60 + float(rest), offset
    # A container's length is that of its longest stream.
    if any(other is not audio and not other.get("disposition", {}).get("attached_pic") for other in streams):
        return None, offset
    return float(container.get("duration", 0)) or None, offset


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
    """

    def __init__(self, info: Info, file: IO[bytes], first: int, samples: int, peak: float):
        self.info = info
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
def open_recording(path: Path, start: float = 0.0, duration: float | None = None) -> Iterator[Recording]:
    """Decode a recording, or a passage of it, for reading in blocks.

    The first audio stream is decoded once, from its beginning, and cut by
    counting samples: no codec's seeking is exact.

    Parameters
    ----------
    path : Path
        Anything ffmpeg reads; of a video, its sound.
    start, duration : float
        The passage [start, start + duration) in seconds, cut to the recording; to its end without `duration`.

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
    for name, value in (("start", start), ("duration", duration)):
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise recording_error(path, f"expected a {name} of 0 s or more, got {value}")
    info = probe(path)
    first = round(start * info.rate)
    last = None if duration is None else first + round(duration * info.rate)
    if last == first:
        raise recording_error(info.path, f"a duration of {duration} s is less than one sample; ask for more")
    # On most systems the file has no name, so that not even a killed process leaves it behind.  It has no buffer:
    # closing it must not try once more to write to a full disk.
    with tempfile.TemporaryFile(prefix="svs-", buffering=0) as file:
        try:
            samples, peak = _decode(info, file, first, last)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            seconds = duration or (info.seconds or 0.0) - start
            need = f"about {seconds * info.rate * info.channels * 4 / 1e6:.0f} MB" if seconds > 0 else "more space"
            raise recording_error(
                Path(tempfile.gettempdir()),
                f"the disk is full; {path} needs {need} to be decoded; free some space or set TMPDIR to another disk",
            ) from None
        yield Recording(info, file, first, samples, peak)


def _decode(info: Info, file: IO[bytes], first: int, last: int | None) -> tuple[int, float]:
    """Write samples [first, last) as raw float32; return how many there were, and the largest magnitude."""
    strict = [] if _LENIENT & set(info.container.split(",")) else ["-xerror"]
    if info.codec in _CHECKSUMS:
        strict += ["-err_detect", "crccheck+explode"]
    arguments = [*strict, *ffmpeg.only_local(info.path), "-map", "0:a:0", "-c:a", "pcm_f32le", "-f", "f32le", "pipe:1"]
    frame = 4 * info.channels
    position, peak = 0, 0.0  # samples decoded so far, kept or not
    with Running(arguments, stdout=subprocess.PIPE) as running:
        assert running.process.stdout is not None
        while last is None or position < last:
            data = running.process.stdout.read(max(sources.BLOCK // frame, 1) * frame)
            block = np.frombuffer(data[: len(data) // frame * frame], dtype="<f4").reshape(-1, info.channels)
            if not len(block):
                _check_end(info, running, position)
                break
            kept = block[max(first - position, 0) : None if last is None else last - position]
            bad = sources.first_not_finite(kept)
            if bad is not None:
                raise recording_error(
                    info.path,
                    "expected finite samples, found NaN or infinity at "
                    f"{(bad + max(first, position)) / info.rate:.3f} s; "
                    "export it again, or choose a passage without that place",
                )
            peak = max(peak, float(np.abs(kept).max(initial=0.0)))
            left = memoryview(kept.tobytes())
            while left:  # a write may stop midway
                left = left[file.write(left) :]
            position += len(block)
    samples = min(position, last or position) - first
    if samples <= 0:
        raise recording_error(
            info.path,
            f"expected a passage from {first / info.rate:.2f} s on, the recording is "
            f"{position / info.rate:.2f} s long; choose an earlier start",
        )
    return samples, peak


def _check_end(info: Info, running: Running, samples: int) -> None:
    """Raise DataError if decoding ended before the recording does."""
    status, got = running.ended(), samples / info.rate
    words = running.words(info.path)
    if samples == 0 and not (status and info.seconds and not info.estimated):
        reason = words if status or running.errors else "ffmpeg decodes no sample"
        raise recording_error(info.path, f"expected a recording, found no audio in it ({reason}); choose another file")
    of = f" of {info.seconds:.2f} s" if info.seconds and not info.estimated else ""
    problem = None
    if status:
        problem = f"decoding ends at {got:.2f} s{of} ({words})"
    elif missing := _missing_bytes(info):
        problem = f"the header says {missing} bytes more than there are, the audio ends at {got:.2f} s"
    elif running.ended_early:
        problem = f"the file ends in the middle, at {got:.2f} s{of}"
    elif _too_short(info, samples):
        problem = f"expected {info.seconds:.2f} s of audio, as its header says, could decode {got:.2f} s"
    if problem:
        advice = "the file is truncated or damaged; fetch or copy it again, or choose a passage before that"
        raise recording_error(info.path, f"{problem}: {advice}")
    if running.errors > 2 + got / 60:  # junk at both ends, and a tag now and then in between
        raise recording_error(
            info.path,
            f"{running.errors} pieces of it can't be decoded ({words}): the file is damaged; fetch or copy it again",
        )
    if running.errors:
        log.warning("%s", ffmpeg.one_line(f"{info.path}: left out {running.errors} damaged piece(s)"))


def _too_short(info: Info, samples: int) -> bool:
    """Are there clearly fewer samples than the file states?"""
    if info.seconds is None or info.estimated or info.container == "avi":  # avi rounds its rate to bytes
        return False
    stated = info.seconds * info.rate
    exact = info.container in _COUNTED and _LOSSLESS.match(info.codec)
    return samples < stated - (1 if exact else ffmpeg.TOLERANCE + 0.001 * stated + info.offset * info.rate)


def _missing_bytes(info: Info) -> int:
    """How many bytes a wav, avi or ogg lacks by the sizes in its own headers, 0 for other containers.

    ffmpeg reads such files to their end without a message if the cut lies between two packets.
    """
    ends = {"wav": _end_of_riff, "avi": _end_of_riff, "ogg": _end_of_ogg}
    if info.container not in ends:
        return 0
    with open(info.path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        return max(ends[info.container](file, size) - size, 0)


def _end_of_riff(file: IO[bytes], size: int) -> int:
    """Where the samples of a wav or avi end, by the sizes of its chunks; 0 if it has none."""
    position, large = 12, 0
    while position + 8 <= size:
        file.seek(position)
        name, length = struct.unpack("<4sI", file.read(8))
        position += 8
        if name == b"ds64":
            large = struct.unpack("<8xQ", file.read(16))[0]
        if name == b"data" or (name == b"LIST" and file.read(4) == b"movi"):
            # Without a length it was written to a pipe, or is larger than 4 GiB.
            return position + (large if length in (0, 2**32 - 1) else length)
        position += length + length % 2
    return 0


def _end_of_ogg(file: IO[bytes], size: int) -> int:
    """Where the last page of an ogg ends, by its header; 0 if there is none."""
    start = max(size - 2**17, 0)  # a page is 65307 bytes at most
    file.seek(start)
    tail = file.read()
    page = tail.rfind(b"OggS\x00")
    if page < 0:
        return 0
    header = tail[page : page + 27].ljust(27, b"\0")
    table = tail[page + 27 : page + 27 + header[26]]
    return start + page + 27 + header[26] + sum(table)
