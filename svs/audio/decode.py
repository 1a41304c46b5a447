"""Any recording that ffmpeg reads, in and out, block by block.

Conventions: audio is float32 of shape (samples, channels), full scale 1.0;
rate and channels stay what the recording has.  `opened` decodes once into a
temporary file of raw samples (4 bytes a sample and channel: an hour of stereo
at 44.1 kHz takes 1.3 GB of disk, and no memory), so that any block can be read
again.  `encode` writes a source as wav, flac or mp3, whole or not at all.
Whatever is wrong with a file is a `DataError` of one line.
"""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import re
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
import soundfile

from svs.audio.ffmpeg import Running, last_words, one_line, only_local, recording_error, require_ffmpeg, require_file
from svs.errors import DataError

log = logging.getLogger("svs")

_BLOCK = 1 << 22  # bytes of float samples looked at at a time
_SILENT = 2.0**-24  # peak below which not even 24 bits hold anything
TOLERANCE = 4096  # samples by which healthy lossy files differ from what they state: padding and delay
_PLAYLISTS = {"hls", "concat", "dash", "sdp", "imf"}
# Streams of self-contained frames, which players follow across junk: cut out of broadcasts, joined end to end, with
# tags in between.  A frame lost there is no reason to refuse a song.  And wav: of one written to a pipe ffmpeg takes
# the end for a cut, so its header is looked at here.
_LENIENT = {"mp3", "aac", "ac3", "eac3", "dts", "mpegts", "mpeg", "wav"}
# ffmpeg compares the checksums of their frames only when asked.
_CHECKSUMS = {"flac", "wavpack", "tta"}
# What these state is a count of samples, not a rounded time.
_COUNTED = {"wav", "aiff", "au", "flac", "w64"}
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
        Length that the file states, or None where it states none.  What it holds is known once it is decoded.
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
    require_ffmpeg()
    require_file(path)
    # "warning" tells whether a length is only estimated.
    command = ["ffprobe", "-v", "warning", *only_local(path), "-of", "json", "-show_format", "-show_streams"]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
    try:
        content = json.loads(done.stdout.decode(errors="replace") or "{}")
    except ValueError:
        content = {}
    container = content.get("format", {})
    if done.returncode or not container:
        raise recording_error(
            path,
            f"expected a recording, ffprobe can't read it ({last_words(done.stderr, path)}): it is no audio "
            "or video file, or it is truncated; fetch or copy it again, or choose another file",
        )
    if _PLAYLISTS & set(container.get("format_name", "").split(",")):
        raise recording_error(path, "expected a recording, this is a playlist; name the recordings themselves")
    streams = content.get("streams", [])
    audio = next((stream for stream in streams if stream.get("codec_type") == "audio"), None)
    if audio is None:
        kinds = sorted({stream.get("codec_type", "unknown") for stream in streams}) or ["nothing"]
        raise recording_error(
            path, f"expected a recording, found no audio in it ({' and '.join(kinds)} only); choose a file that sounds"
        )
    rate, channels = int(audio.get("sample_rate", 0)), int(audio.get("channels", 0))
    if not rate or not channels:
        raise recording_error(
            path,
            f"expected a recording, found no audio in it (its name or first bytes suggest "
            f"{audio.get('codec_name', 'audio')}, nothing else does); choose another file",
        )
    seconds, offset = _stated_seconds(audio, streams, container)
    tags = {key.lower(): str(value) for key, value in {**audio.get("tags", {}), **container.get("tags", {})}.items()}
    return Info(
        path,
        rate,
        channels,
        seconds,
        audio.get("codec_name", "unknown"),
        tags,
        container.get("format_name", ""),
        b"Estimating duration" in done.stderr,
        offset,
    )


def _stated_seconds(audio: dict, streams: list[dict], container: dict) -> tuple[float | None, float]:
    """Length that a file states of its audio, and by how much it may begin before the audio does."""
    if seconds := _seconds(audio.get("duration")):
        return seconds, 0.0
    offset = max(_seconds(audio.get("start_time")), 0.0)
    for key, value in audio.get("tags", {}).items():  # Matroska: "00:00:09.003000000"
        if key.upper().startswith("DURATION") and re.fullmatch(r"\d+:\d+:\d+(\.\d+)?", value):
            hours, minutes, rest = value.split(":")
            return int(hours) * 3600 + int(minutes) * 60 + float(rest), offset
    # A container's length is that of its longest stream.
    others = [
        stream for stream in streams if stream is not audio and not stream.get("disposition", {}).get("attached_pic")
    ]
    return (_seconds(container.get("duration")) or None if not others else None), offset


def _seconds(text: str | None) -> float:
    """Seconds as ffprobe writes them; 0 for none."""
    try:
        return float(text or 0.0)
    except ValueError:
        return 0.0


class Recording:
    """A decoded passage of a recording: a `svs.audio.sources.Source`, made by `opened`.

    Attributes
    ----------
    rate, samples, channels : int
        Of the passage; rate in Hz.
    info : Info
        Of the whole recording.
    silent : bool
        Not one sample of the passage is other than digital silence.
    start : float
        Where the passage begins (s).
    """

    def __init__(self, info: Info, file: IO[bytes], first: int, samples: int, peak: float):
        self.info = info
        self.rate, self.channels, self.samples = info.rate, info.channels, samples
        self.silent = peak < _SILENT
        self.start = first / info.rate
        self._file = file

    def read(self, start: int, stop: int) -> np.ndarray:
        """Samples [start, stop) as float32 (stop - start, channels); any thread may read.

        Raises
        ------
        ValueError
            There are no such samples, or the recording is closed.
        """
        if not 0 <= start <= stop <= self.samples:
            raise ValueError(f"{self.info.path}: samples {start} to {stop} of {self.samples}")
        frame = 4 * self.channels
        audio = np.empty((stop - start, self.channels), dtype="<f4")
        view, position = memoryview(audio).cast("B") if audio.size else b"", start * frame
        while len(view):
            count = os.preadv(self._file.fileno(), [view[: 1 << 30]], position)
            if not count:
                raise DataError(f"{self.info.path}: its decoded samples went away; run again")
            view, position = view[count:], position + count
        return audio.astype(np.float32, copy=False)


@contextmanager
def open_recording(
    path: Path,
    start: float = 0.0,
    duration: float | None = None,
    folder: Path | None = None,
    progress: Callable[[float], None] | None = None,
) -> Iterator[Recording]:
    """Decode a recording, or a passage of it, for reading in blocks.

    The first audio stream is decoded once, from its beginning, and cut by
    counting samples: no codec's seeking is exact.

    Parameters
    ----------
    path : Path
        Anything ffmpeg reads; of a video, its sound.
    start, duration : float
        The passage [start, start + duration) in seconds, cut to the recording; to its end without `duration`.
    folder : Path, optional
        Where the decoded samples are kept meanwhile; the system's temporary folder (TMPDIR) where not given.
    progress : callable, optional
        Called with the share that is decoded (0 to 1), where the length is stated.

    Yields
    ------
    Recording

    Raises
    ------
    DataError
        What `probe` raises; the recording is damaged or truncated (where the passage reaches its end), holds no
        sample or NaN or infinite ones, or ends before `start`; the disk is full.
    """
    for name, value in (("start", start), ("duration", duration)):
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise recording_error(path, f"expected a {name} of 0 s or more, got {value}")
    info = probe(path)
    first = round(start * info.rate)
    wanted = None if duration is None else round(duration * info.rate)
    if wanted == 0:
        raise recording_error(info.path, f"a duration of {duration} s is less than one sample; ask for more")
    try:
        if folder is not None:
            Path(folder).mkdir(parents=True, exist_ok=True)
        # Without a name where the system can do that: not even a killed process leaves it behind.  Without a buffer:
        # closing it must not try once more to write to a full disk.
        file = tempfile.TemporaryFile(dir=folder, prefix="svs-", buffering=0)  # noqa: SIM115 (closed below)
    except OSError as error:
        where = folder or tempfile.gettempdir()
        raise DataError(
            one_line(f"{where}: can't keep decoded samples there ({error.strerror}); set TMPDIR to another folder")
        ) from None
    with file:
        try:
            samples, peak = _decode(info, file, first, wanted, progress)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            seconds = duration or (info.seconds or 0.0) - start
            need = f"about {seconds * info.rate * info.channels * 4 / 1e6:.0f} MB" if seconds > 0 else "more space"
            raise DataError(
                one_line(
                    f"{folder or tempfile.gettempdir()}: the disk is full; {info.path} needs {need} "
                    "to be decoded; free some space or set TMPDIR to another disk"
                )
            ) from None
        yield Recording(info, file, first, samples, peak)


def _decode(
    info: Info, file: IO[bytes], first: int, wanted: int | None, progress: Callable[[float], None] | None
) -> tuple[int, float]:
    """Write samples [first, first + wanted) as raw float32; how many there were, and the largest."""
    strict = [] if _LENIENT & set(info.container.split(",")) else ["-xerror"]
    if info.codec in _CHECKSUMS:
        strict += ["-err_detect", "crccheck+explode"]
    arguments = [*strict, *only_local(info.path), "-map", "0:a:0", "-c:a", "pcm_f32le", "-f", "f32le", "pipe:1"]
    running = Running(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        return _received(info, running, file, first, wanted, progress)
    finally:
        running.stop()


def _received(
    info: Info,
    running: Running,
    file: IO[bytes],
    first: int,
    wanted: int | None,
    progress: Callable[[float], None] | None,
) -> tuple[int, float]:
    frame = 4 * info.channels
    last = None if wanted is None else first + wanted
    expected = min(filter(None, (last, round((info.seconds or 0.0) * info.rate))), default=None)
    position, peak = 0, 0.0  # samples decoded so far, kept or not
    while last is None or position < last:
        data = running.process.stdout.read(max(_BLOCK // frame, 1) * frame)
        block = np.frombuffer(data[: len(data) // frame * frame], dtype="<f4").reshape(-1, info.channels)
        if not len(block):
            _check_end(info, running, position)
            break
        kept = block[max(first - position, 0) : None if last is None else last - position]
        if len(kept):
            largest = float(np.abs(kept).max())  # NaN and infinity come through
            if not math.isfinite(largest):
                bad = int(np.argmin(np.isfinite(kept).all(axis=1))) + max(first, position)
                raise recording_error(
                    info.path,
                    f"expected finite samples, found NaN or infinity at {bad / info.rate:.3f} s; "
                    "export it again, or choose a passage without that place",
                )
            peak = max(peak, largest)
            view = memoryview(kept).cast("B")
            while len(view):
                view = view[file.write(view) :]
        position += len(block)
        if progress and expected:
            progress(min(position / expected, 1.0))
    samples = min(position, last or position) - first
    if samples <= 0:
        raise recording_error(
            info.path,
            f"expected a passage from {first / info.rate:.2f} s on, the recording is "
            f"{position / info.rate:.2f} s long; choose an earlier start",
        )
    if progress:
        progress(1.0)
    return samples, peak


def _check_end(info: Info, running: Running, samples: int) -> None:
    """Raise DataError where decoding ended before the recording does."""
    status = running.ended()
    got = samples / info.rate
    if samples == 0 and not (status and info.seconds and not info.estimated):
        reason = running.words(info.path) if status or running.errors else "ffmpeg decodes no sample"
        raise recording_error(info.path, f"expected a recording, found no audio in it ({reason}); choose another file")
    advice = "the file is truncated or damaged; fetch or copy it again, or choose a passage before that"
    if status:
        raise recording_error(
            info.path, f"decoding ends at {got:.2f} s{_of(info)} ({running.words(info.path)}): {advice}"
        )
    missing = _missing_bytes(info.path, info.container)
    if missing:
        raise recording_error(
            info.path, f"the header says {missing} bytes more than there are, the audio ends at {got:.2f} s: {advice}"
        )
    if running.ended_early:
        raise recording_error(info.path, f"the file ends in the middle, at {got:.2f} s{_of(info)}: {advice}")
    if info.seconds is not None and not info.estimated and info.container != "avi":  # avi rounds its rate to bytes
        stated = info.seconds * info.rate
        exact = info.container in _COUNTED and _LOSSLESS.match(info.codec)
        tolerance = 1 if exact else TOLERANCE + 0.001 * stated + info.offset * info.rate
        if samples < stated - tolerance:
            raise recording_error(
                info.path,
                f"expected {info.seconds:.2f} s of audio, as its header says, could decode {got:.2f} s: {advice}",
            )
    if running.errors:
        if running.errors > 2 + got / 60:  # junk at both ends, and a tag now and then in between
            raise recording_error(
                info.path,
                f"{running.errors} pieces of it can't be decoded ({running.words(info.path)}): "
                "the file is damaged; fetch or copy it again",
            )
        log.warning("%s", one_line(f"{info.path}: left out {running.errors} damaged piece(s)"))


def _of(info: Info) -> str:
    return f" of {info.seconds:.2f} s" if info.seconds and not info.estimated else ""


def _missing_bytes(path: Path, container: str) -> int:
    """How many bytes more than the file holds the container's own sizes ask for (wav, avi, ogg), else 0.

    ffmpeg reads such files to their end without a word where the cut lies between two packets.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if container in ("wav", "avi"):
            return _missing_of_riff(file, size)
        if container == "ogg":
            return _missing_of_ogg(file, size)
    return 0


def _missing_of_riff(file: IO[bytes], size: int) -> int:
    file.seek(12)
    large = None
    while len(header := file.read(8)) == 8:
        name, length = struct.unpack("<4sI", header)
        position = file.tell()
        if name == b"ds64":
            large = struct.unpack("<8xQ", file.read(16))[0]
        last = name == b"data" or (name == b"LIST" and file.read(4) == b"movi")
        if last and length in (0, 2**32 - 1):  # written to a pipe, or larger than 4 GiB
            length = large or 0
        if last or position + length > size:
            return max(position + length - size, 0)
        file.seek(position + length + length % 2)
    return 0


def _missing_of_ogg(file: IO[bytes], size: int) -> int:
    start = max(size - 2**17, 0)  # a page is 65307 bytes at most
    file.seek(start)
    tail = file.read()
    page = tail.rfind(b"OggS\x00")
    if page < 0:
        return 0
    header = tail[page : page + 27]
    if len(header) < 27:
        return 27 - len(header)
    table = tail[page + 27 : page + 27 + header[26]]
    return max(27 + header[26] + sum(table) - (len(tail) - page), 0)


def seconds_in(path: Path) -> float:
    """How long a wav, flac or mp3 is; 0 where it is none.  An ffprobe takes 50 ms to start, for each of them."""
    try:
        return soundfile.info(path).duration
    except soundfile.LibsndfileError:
        return 0.0
