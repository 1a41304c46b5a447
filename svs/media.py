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
import glob
import json
import logging
import math
import os
import re
import shutil
import stat
import struct
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import IO

import numpy as np
import soundfile

from svs.audio import Source, WavWriter
from svs.errors import DataError
from svs.files import written
from svs.running import unbroken

log = logging.getLogger("svs")

FORMATS = ("wav", "flac", "mp3")
EXTENSIONS = frozenset((
    "3gp", "aac", "ac3", "aif", "aifc", "aiff", "alac", "amr", "ape", "au", "avi", "caf", "dff", "dsf", "dts",
    "eac3", "flac", "flv", "m2ts", "m4a", "m4b", "m4v", "mka", "mkv", "mov", "mp2", "mp3", "mp4", "mpa", "mpc",
    "mpeg", "mpg", "mts", "oga", "ogg", "ogv", "opus", "ra", "rm", "rf64", "shn", "snd", "spx", "tak", "ts",
    "tta", "vob", "w64", "wav", "wave", "webm", "wma", "wmv", "wv",
))

_BLOCK = 1 << 22                # bytes of float samples looked at at a time
_SILENT = 2.0**-24              # peak below which not even 24 bits hold anything
_TOLERANCE = 4096               # samples by which healthy lossy files differ from what they state: padding and delay
_LARGEST_WAV = 2**32 - 2**16    # bytes of samples in a wav with 32-bit sizes
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
_TAGS = ("title", "artist", "album", "album_artist", "composer", "date", "track", "disc", "genre", "comment",
         "copyright")
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
# What LAME multiplies samples by at constant bit rates (kbit/s) up to these; above, nothing.
_LAME_SCALES = {160: 0.95, 192: 0.97, 224: 0.98}
_LAYOUTS = ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1")     # the only ones that flac names
# What a channel of 3 to 8 in those layouts gives to the left and the right (ITU-R BS.775: -3 dB, no bass channel).
_LEFT, _RIGHT, _BOTH, _NONE = (1.0, 0.0), (0.0, 1.0), (0.5**0.5, 0.5**0.5), (0.0, 0.0)
_SIDES = [(0.5**0.5, 0.0), (0.0, 0.5**0.5)]
_DOWNMIX = {
    3: [_LEFT, _RIGHT, _BOTH],
    4: [_LEFT, _RIGHT, *_SIDES],
    5: [_LEFT, _RIGHT, _BOTH, *_SIDES],
    6: [_LEFT, _RIGHT, _BOTH, _NONE, *_SIDES],
    7: [_LEFT, _RIGHT, _BOTH, _NONE, (0.5, 0.5), *_SIDES],
    8: [_LEFT, _RIGHT, _BOTH, _NONE, *_SIDES, *_SIDES],
}


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
    _require()
    _check(path)
    # "warning" tells whether a length is only estimated.
    command = ["ffprobe", "-v", "warning", *_only_local(path), "-of", "json", "-show_format", "-show_streams"]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
    try:
        content = json.loads(done.stdout.decode(errors="replace") or "{}")
    except ValueError:
        content = {}
    container = content.get("format", {})
    if done.returncode or not container:
        raise _error(path, f"expected a recording, ffprobe can't read it ({_words(done.stderr, path)}): it is no audio "
                           "or video file, or it is truncated; fetch or copy it again, or choose another file")
    if _PLAYLISTS & set(container.get("format_name", "").split(",")):
        raise _error(path, "expected a recording, this is a playlist; name the recordings themselves")
    streams = content.get("streams", [])
    audio = next((stream for stream in streams if stream.get("codec_type") == "audio"), None)
    if audio is None:
        kinds = sorted({stream.get("codec_type", "unknown") for stream in streams}) or ["nothing"]
        raise _error(path, f"expected a recording, found no audio in it ({' and '.join(kinds)} only); "
                           "choose a file that sounds")
    rate, channels = int(audio.get("sample_rate", 0)), int(audio.get("channels", 0))
    if not rate or not channels:
        raise _error(path, f"expected a recording, found no audio in it (its name or first bytes suggest "
                           f"{audio.get('codec_name', 'audio')}, nothing else does); choose another file")
    seconds, offset = _stated_seconds(audio, streams, container)
    tags = {key.lower(): str(value) for key, value in {**audio.get("tags", {}), **container.get("tags", {})}.items()}
    return Info(path, rate, channels, seconds, audio.get("codec_name", "unknown"), tags,
                container.get("format_name", ""), b"Estimating duration" in done.stderr, offset)


def _stated_seconds(audio: dict, streams: list[dict], container: dict) -> tuple[float | None, float]:
    """Length that a file states of its audio, and by how much it may begin before the audio does."""
    if seconds := _seconds(audio.get("duration")):
        return seconds, 0.0
    offset = max(_seconds(audio.get("start_time")), 0.0)
    for key, value in audio.get("tags", {}).items():       # Matroska: "00:00:09.003000000"
        if key.upper().startswith("DURATION") and re.fullmatch(r"\d+:\d+:\d+(\.\d+)?", value):
            hours, minutes, rest = value.split(":")
            return int(hours) * 3600 + int(minutes) * 60 + float(rest), offset
    # A container's length is that of its longest stream.
    others = [stream for stream in streams
              if stream is not audio and not stream.get("disposition", {}).get("attached_pic")]
    return (_seconds(container.get("duration")) or None if not others else None), offset


def _seconds(text: str | None) -> float:
    """Seconds as ffprobe writes them; 0 for none."""
    try:
        return float(text or 0.0)
    except ValueError:
        return 0.0


def _require() -> None:
    for program in ("ffmpeg", "ffprobe"):
        if shutil.which(program) is None:
            raise DataError(f"reading and writing recordings needs ffmpeg and ffprobe, there is no {program} on the "
                            "PATH; run `make setup`, `apt install ffmpeg` (Debian, Ubuntu) or `brew install ffmpeg`")


def _check(path: Path) -> None:
    """Raise DataError where `path` is not a file with something in it that may be read."""
    try:
        kind = path.stat()
        if stat.S_ISREG(kind.st_mode):
            open(path, "rb").close()
    except FileNotFoundError:
        raise _error(path, "expected a recording, there is no such file; check the name") from None
    except (OSError, ValueError) as error:
        raise _error(path, f"expected a recording, can't open it ({getattr(error, 'strerror', error)})") from None
    if stat.S_ISDIR(kind.st_mode):
        raise _error(path, "expected a recording, this is a folder; name a file in it")
    if not stat.S_ISREG(kind.st_mode):
        raise _error(path, "expected a recording, this is a pipe or a device; save it to a file first")
    if kind.st_size == 0:
        raise _error(path, "expected a recording, the file is empty (0 bytes); fetch or copy it again")


def _only_local(path: Path) -> list[str]:
    """ffmpeg's arguments for an input: the local file of that name and nothing that it points to elsewhere."""
    return ["-protocol_whitelist", "file,pipe", "-i", f"file:{path}"]


def _error(path: Path, text: str) -> DataError:
    return DataError(_one_line(f"{path}: {text}"))


def _one_line(text: str) -> str:
    """`text` with what a terminal would not show as a character written as an escape."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _words(output: bytes, path: Path) -> str:
    """The last thing ffmpeg said, without the name of the file and of its own parts."""
    text = output.decode(errors="replace").replace(f"file:{path}: ", "")
    lines = [re.sub(r"^\[[^]]* @ 0x[0-9a-f]+\] *", "", line.strip()) for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it gives no reason"


class _Running:
    """ffmpeg at work; what it says is kept (the last of it) and its complaints are counted."""

    def __init__(self, arguments: Sequence[str], **pipes: int):
        command = ["ffmpeg", "-v", "repeat+error", "-nostdin", "-y", *arguments]
        self.errors = 0             # pieces that could not be decoded
        self.ended_early = False    # the container ends before it should
        self.full = False           # the disk is
        self._lines: deque[bytes] = deque(maxlen=20)
        with unbroken(self.stop):
            self.process = subprocess.Popen(command, stderr=subprocess.PIPE, **pipes)
            # Read along, or ffmpeg would wait when the pipe is full.
            self._reader = Thread(target=self._read, daemon=True)
            self._reader.start()

    def _read(self) -> None:
        for line in self.process.stderr:
            self._lines.append(line)
            self.errors += b"Error while decoding" in line or b"Error submitting packet to decoder" in line
            self.ended_early |= b"File ended prematurely" in line or b"partial file" in line
            self.full |= b"No space left" in line

    def ended(self) -> int:
        """Wait; the exit status."""
        status = self.process.wait()
        self._reader.join()
        return status

    def words(self, path: Path) -> str:
        return _words(b"".join(self._lines), path)

    def stop(self) -> None:
        """End it where it still runs."""
        self.process.kill()
        self.ended()
        for pipe in filter(None, (self.process.stdin, self.process.stdout)):
            with suppress(OSError):     # nobody reads what was still to be written
                pipe.close()
        self.process.stderr.close()


class Recording:
    """A decoded passage of a recording: a `svs.audio.Source`, made by `opened`.

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
            count = os.preadv(self._file.fileno(), [view[:1 << 30]], position)
            if not count:
                raise DataError(f"{self.info.path}: its decoded samples went away; run again")
            view, position = view[count:], position + count
        return audio.astype(np.float32, copy=False)


@contextmanager
def opened(path: Path, start: float = 0.0, duration: float | None = None, folder: Path | None = None,
           progress: Callable[[float], None] | None = None) -> Iterator[Recording]:
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
            raise _error(path, f"expected a {name} of 0 s or more, got {value}")
    info = probe(path)
    first = round(start * info.rate)
    wanted = None if duration is None else round(duration * info.rate)
    if wanted == 0:
        raise _error(info.path, f"a duration of {duration} s is less than one sample; ask for more")
    try:
        if folder is not None:
            Path(folder).mkdir(parents=True, exist_ok=True)
        # Without a name where the system can do that: not even a killed process leaves it behind.  Without a buffer:
        # closing it must not try once more to write to a full disk.
        file = tempfile.TemporaryFile(dir=folder, prefix="svs-", buffering=0)  # noqa: SIM115 (closed below)
    except OSError as error:
        where = folder or tempfile.gettempdir()
        raise DataError(_one_line(f"{where}: can't keep decoded samples there ({error.strerror}); "
                                  "set TMPDIR to another folder")) from None
    with file:
        try:
            samples, peak = _decode(info, file, first, wanted, progress)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            seconds = duration or (info.seconds or 0.0) - start
            need = f"about {seconds * info.rate * info.channels * 4 / 1e6:.0f} MB" if seconds > 0 else "more space"
            raise DataError(_one_line(f"{folder or tempfile.gettempdir()}: the disk is full; {info.path} needs {need} "
                                      "to be decoded; free some space or set TMPDIR to another disk")) from None
        yield Recording(info, file, first, samples, peak)


def _decode(info: Info, file: IO[bytes], first: int, wanted: int | None,
            progress: Callable[[float], None] | None) -> tuple[int, float]:
    """Write samples [first, first + wanted) as raw float32; how many there were, and the largest."""
    strict = [] if _LENIENT & set(info.container.split(",")) else ["-xerror"]
    if info.codec in _CHECKSUMS:
        strict += ["-err_detect", "crccheck+explode"]
    arguments = [*strict, *_only_local(info.path), "-map", "0:a:0", "-c:a", "pcm_f32le", "-f", "f32le", "pipe:1"]
    running = _Running(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        return _received(info, running, file, first, wanted, progress)
    finally:
        running.stop()


def _received(info: Info, running: _Running, file: IO[bytes], first: int, wanted: int | None,
              progress: Callable[[float], None] | None) -> tuple[int, float]:
    frame = 4 * info.channels
    last = None if wanted is None else first + wanted
    expected = min(filter(None, (last, round((info.seconds or 0.0) * info.rate))), default=None)
    position, peak = 0, 0.0                                 # samples decoded so far, kept or not
    while last is None or position < last:
        data = running.process.stdout.read(max(_BLOCK // frame, 1) * frame)
        block = np.frombuffer(data[:len(data) // frame * frame], dtype="<f4").reshape(-1, info.channels)
        if not len(block):
            _check_end(info, running, position)
            break
        kept = block[max(first - position, 0):None if last is None else last - position]
        if len(kept):
            largest = float(np.abs(kept).max())             # NaN and infinity come through
            if not math.isfinite(largest):
                bad = int(np.argmin(np.isfinite(kept).all(axis=1))) + max(first, position)
                raise _error(info.path, f"expected finite samples, found NaN or infinity at {bad / info.rate:.3f} s; "
                                        "export it again, or choose a passage without that place")
            peak = max(peak, largest)
            view = memoryview(kept).cast("B")
            while len(view):
                view = view[file.write(view):]
        position += len(block)
        if progress and expected:
            progress(min(position / expected, 1.0))
    samples = min(position, last or position) - first
    if samples <= 0:
        raise _error(info.path, f"expected a passage from {first / info.rate:.2f} s on, the recording is "
                                f"{position / info.rate:.2f} s long; choose an earlier start")
    if progress:
        progress(1.0)
    return samples, peak


def _check_end(info: Info, running: _Running, samples: int) -> None:
    """Raise DataError where decoding ended before the recording does."""
    status = running.ended()
    got = samples / info.rate
    if samples == 0 and not (status and info.seconds and not info.estimated):
        reason = running.words(info.path) if status or running.errors else "ffmpeg decodes no sample"
        raise _error(info.path, f"expected a recording, found no audio in it ({reason}); choose another file")
    advice = "the file is truncated or damaged; fetch or copy it again, or choose a passage before that"
    if status:
        raise _error(info.path, f"decoding ends at {got:.2f} s{_of(info)} ({running.words(info.path)}): {advice}")
    missing = _missing_bytes(info.path, info.container)
    if missing:
        raise _error(info.path, f"the header says {missing} bytes more than there are, the audio ends at {got:.2f} s: "
                                f"{advice}")
    if running.ended_early:
        raise _error(info.path, f"the file ends in the middle, at {got:.2f} s{_of(info)}: {advice}")
    if info.seconds is not None and not info.estimated and info.container != "avi":    # avi rounds its rate to bytes
        stated = info.seconds * info.rate
        exact = info.container in _COUNTED and _LOSSLESS.match(info.codec)
        tolerance = 1 if exact else _TOLERANCE + 0.001 * stated + info.offset * info.rate
        if samples < stated - tolerance:
            raise _error(info.path, f"expected {info.seconds:.2f} s of audio, as its header says, could decode "
                                    f"{got:.2f} s: {advice}")
    if running.errors:
        if running.errors > 2 + got / 60:       # junk at both ends, and a tag now and then in between
            raise _error(info.path, f"{running.errors} pieces of it can't be decoded ({running.words(info.path)}): "
                                    "the file is damaged; fetch or copy it again")
        log.warning("%s", _one_line(f"{info.path}: left out {running.errors} damaged piece(s)"))


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
        if last and length in (0, 2**32 - 1):       # written to a pipe, or larger than 4 GiB
            length = large or 0
        if last or position + length > size:
            return max(position + length - size, 0)
        file.seek(position + length + length % 2)
    return 0


def _missing_of_ogg(file: IO[bytes], size: int) -> int:
    start = max(size - 2**17, 0)            # a page is 65307 bytes at most
    file.seek(start)
    tail = file.read()
    page = tail.rfind(b"OggS\x00")
    if page < 0:
        return 0
    header = tail[page:page + 27]
    if len(header) < 27:
        return 27 - len(header)
    table = tail[page + 27:page + 27 + header[26]]
    return max(27 + header[26] + sum(table) - (len(tail) - page), 0)


def encode(source: Source, target: Path, codec: str, tags: Mapping[str, str] | None = None, *,
           bitrate: int | None = None) -> list[str]:
    """Write a source as wav, flac or mp3, block by block, whole or not at all.

    The same samples and tags give the same bytes (with the same ffmpeg).

    Parameters
    ----------
    source : Source
    target : Path
        Replaced where it exists.
    codec : str
        "wav" (32-bit float), "flac" (24 bit) or "mp3" (320 kbit/s; below 32 kHz the best variable bit rate).
    tags : mapping, optional
        Such as `Info.tags`: title, artist, album, date, track, genre, comment and the like are kept where the format
        has them, anything else (the encoder's name, a replay gain) is left out.
    bitrate : int, optional
        kbit/s of an mp3 at 32 kHz or more instead of 320, constant so that players seek exactly.

    Returns
    -------
    list of str
        What had to be changed, as short sentences: clipped samples, another rate, fewer channels.

    Raises
    ------
    ValueError
        An unknown codec.
    DataError
        The format can't hold the source, the source is empty or holds NaN or infinite samples, ffmpeg fails or
        is missing, or the disk is full.
    """
    target = Path(target)
    if codec not in FORMATS:
        raise ValueError(f"codec {codec!r}; expected one of {', '.join(FORMATS)}")
    if source.samples == 0:
        raise _error(target, "there is not one sample to write")
    kept = {key.lower(): value.replace("\0", "") for key, value in (tags or {}).items()}
    kept = {key: kept[key] for key in _TAGS if kept.get(key, "").strip()}
    notes: list[str] = []
    plain = codec == "wav" and not kept and source.samples * source.channels * 4 <= _LARGEST_WAV
    if not plain:
        _require()
    try:
        with written(target) as temporary:
            if plain:
                with WavWriter(temporary, source.rate, source.channels) as writer:
                    for block in _blocks(source, target):
                        writer.write(block)
            else:
                encoder = {"wav": _encode_wav, "flac": _encode_flac, "mp3": partial(_encode_mp3, bitrate=bitrate)}
                encoder[codec](source, target, temporary, kept, notes)
    except OSError as error:
        raise _error(target, f"can't write it ({error.strerror or error}); choose another folder") from error
    return notes


def _blocks(source: Source, target: Path) -> Iterator[np.ndarray]:
    """All samples of a source, block by block, each looked at."""
    step = max(_BLOCK // (4 * source.channels), 1)
    for start, stop in pairwise([*range(0, source.samples, step), source.samples]):
        block = source.read(start, stop)
        finite = np.isfinite(block)
        if not finite.all():
            where = (start + int(np.argmin(finite.all(axis=1)))) / source.rate
            raise _error(target, f"its samples are NaN or infinite at {where:.3f} s; nothing was written")
        yield block


def _encode_wav(source: Source, target: Path, temporary: Path, tags: dict[str, str], notes: list[str]) -> None:
    _pipe(_blocks(source, target), target, temporary, tags, source.rate, source.channels,
          output=["-c:a", "pcm_f32le", "-rf64", "auto", "-f", "wav"])


def _encode_flac(source: Source, target: Path, temporary: Path, tags: dict[str, str], notes: list[str]) -> None:
    # Above 65 kHz flac counts in tens of Hz, and ffmpeg's encoder stops one short.
    if source.channels > len(_LAYOUTS) or source.rate >= (655_350 if source.rate % 10 == 0 else 65_535):
        raise _error(target, "flac holds 8 channels and 655 kHz (in tens of Hz) at most, these are "
                             f"{source.channels} channels at {source.rate} Hz; choose wav")
    clipped = 0

    def rounded() -> Iterator[np.ndarray]:
        # Rounded here: on the way to 24 bits ffmpeg cuts the last 8 of 32 off.
        nonlocal clipped
        for block in _blocks(source, target):
            clipped += int(np.count_nonzero(np.abs(block) > 1.0))
            steps = np.rint(block.astype(np.float64) * 2**23)
            yield (np.clip(steps, -(2**23), 2**23 - 1).astype("<i4")) << 8

    # Other layouts of as many channels would be mixed into the one that the format names.
    layout = ["-channel_layout", _LAYOUTS[source.channels - 1]]
    _pipe(rounded(), target, temporary, tags, source.rate, source.channels, sample="s32le", layout=layout,
          output=["-c:a", "flac", "-sample_fmt", "s32", "-bits_per_raw_sample", "24", "-f", "flac"])
    if clipped:
        notes.append(f"{clipped} samples beyond full scale were clipped (wav keeps them)")


def _encode_mp3(source: Source, target: Path, temporary: Path, tags: dict[str, str], notes: list[str],
                bitrate: int | None = None) -> None:
    if source.channels > max(_DOWNMIX):
        raise _error(target, f"mp3 holds 2 channels, these are {source.channels}; choose wav")
    blocks, rate, channels = _blocks(source, target), source.rate, source.channels
    if channels > 2:
        notes.append(f"mixed down from {channels} channels to stereo, as mp3 holds no more")
        blocks, channels = _mixed_down(blocks, channels), 2
    if rate not in _MP3_RATES:
        rate = 44100 if rate % 11025 == 0 or 44100 % rate == 0 else 48000
        notes.append(f"resampled from {source.rate} to {rate} Hz, as mp3 has no {source.rate} Hz")
        blocks = _resampled(blocks, source.rate, rate, channels)
    # Lower rates know no 320 kbit/s, and at any less LAME takes 5 % off the level, except at a variable bit rate.
    quality = ["-b:a", f"{bitrate or 320}k"] if rate >= 32000 else ["-q:a", "0"]
    if rate >= 32000 and bitrate is not None:
        scale = next((scale for highest, scale in _LAME_SCALES.items() if bitrate <= highest), 1.0)
        blocks = (block / np.float32(scale) for block in blocks)
    _pipe(blocks, target, temporary, tags, rate, channels,
          output=["-c:a", "libmp3lame", *quality, "-id3v2_version", "3", "-f", "mp3"])


def _mixed_down(blocks: Iterator[np.ndarray], channels: int) -> Iterator[np.ndarray]:
    """Stereo of more channels, at a level that can't go beyond full scale where they don't."""
    matrix = np.array(_DOWNMIX[channels])
    matrix /= matrix.sum(axis=0).max()
    for block in blocks:
        yield (block @ matrix).astype(np.float32)


def _resampled(blocks: Iterator[np.ndarray], rate: int, new_rate: int, channels: int) -> Iterator[np.ndarray]:
    """Blocks at another rate, as if the whole were resampled at once."""
    import soxr

    stream = soxr.ResampleStream(rate, new_rate, channels, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(np.ascontiguousarray(block))
    yield stream.resample_chunk(np.zeros((0, channels), dtype=np.float32), last=True)


def _pipe(blocks: Iterator[np.ndarray], target: Path, temporary: Path, tags: Mapping[str, str], rate: int,
          channels: int, output: list[str], sample: str = "f32le", layout: Sequence[str] = ()) -> None:
    """Blocks (samples, channels) through ffmpeg into `temporary`; errors speak of `target`."""
    metadata = [text for key, value in tags.items() for text in ("-metadata", f"{key}={value}")]
    arguments = ["-xerror", "-f", sample, "-ar", str(rate), "-ac", str(channels), *layout, "-i", "pipe:0",
                 *metadata, "-fflags", "+bitexact", "-flags:a", "+bitexact", *output, f"file:{temporary}"]
    running = _Running(arguments, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    dtype = {"f32le": "<f4", "s32le": "<i4"}[sample]
    count = 0
    try:
        try:
            for block in blocks:
                running.process.stdin.write(np.ascontiguousarray(block, dtype=dtype))
                count += len(block)
            running.process.stdin.close()
        except BrokenPipeError:     # ffmpeg has ended; what it said tells why
            pass
        if running.ended() or not temporary.is_file():
            if running.full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))      # `written` says how much there is
            raise _error(target, f"ffmpeg can't write it ({running.words(temporary)}); nothing was written")
    finally:
        running.stop()
    stated = _seconds_in(temporary)
    if abs(stated * rate - count) > 2 * _TOLERANCE:
        raise _error(target, f"expected {count / rate:.2f} s, ffmpeg wrote {stated:.2f} s: "
                             "nothing was written; run again")


def _seconds_in(path: Path) -> float:
    """How long a wav, flac or mp3 is; 0 where it is none.  An ffprobe takes 50 ms to start, for each of them."""
    try:
        return soundfile.info(path).duration
    except soundfile.LibsndfileError:
        return 0.0


def find(arguments: Sequence[str | Path]) -> list[Path]:
    """Recordings named by files, folders and patterns: sorted, each once.

    A file is itself, whatever its name; a folder is every audio and video file
    in it and below (by extension, hidden ones left out); a pattern ("*.mp3",
    "music/**/*.flac") is the files it matches, and of a folder it matches what
    that holds.

    Raises
    ------
    DataError
        A file is missing, a folder holds no recording, a pattern matches none, or nothing was named.
    """
    if not arguments:
        raise DataError("expected recordings, folders or patterns, got none; name at least one")
    found: list[Path] = []
    for argument in arguments:
        found += _found(Path(argument), str(argument))
    unique: dict[str, Path] = {}
    for path in sorted(found):
        unique.setdefault(os.path.abspath(path), path)
    return list(unique.values())


def _found(path: Path, text: str) -> list[Path]:
    if not text:
        raise DataError("expected a recording, a folder or a pattern, got an empty name; check the command")
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        mode = None
    if mode is not None and not stat.S_ISDIR(mode):
        return [path]
    if mode is not None:
        if not (inside := _inside(path)):
            raise _error(path, "expected a folder of recordings, there is none in it; "
                               "name another folder, or a file whatever its extension")
        return inside
    if not glob.has_magic(text):
        raise _error(path, "expected a recording or a folder, there is no such file; check the name")
    # A pattern that ends in an extension is taken at its word; "*" means recordings.
    any_kind = bool(re.fullmatch(r"\.\w+", path.suffix))
    matches: list[Path] = []
    for match in map(Path, glob.iglob(os.path.expanduser(text), recursive=True)):
        if match.is_dir():
            matches += _inside(match)
        elif match.is_file() and (any_kind or _is_recording(match)):
            matches.append(match)
    if not matches:
        raise _error(path, "expected recordings, the pattern matches none; check it, and quote it for the shell")
    return matches


def _inside(folder: Path) -> list[Path]:
    """The recordings in a folder and below, hidden files and folders left out."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place, name) for name in files if not name.startswith(".")]
    return [path for path in found if _is_recording(path) and path.is_file()]


def _is_recording(path: Path) -> bool:
    return path.suffix[1:].lower() in EXTENSIONS

