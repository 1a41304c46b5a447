"""A file as a container of audio streams: what FFmpeg's libraries (PyAV) say of it, and what its header states.

Only the named file is read: nothing that it points to, on this disk or elsewhere.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition

from svs.errors import DataError, recording_error

_PLAYLISTS = {"hls", "concat", "dash", "sdp", "imf"}
_RAW = {"aac", "ac3", "eac3", "dts", "dtshd", "truehd", "amr"}  # frames without a header: no length is stated
# Containers whose header counts samples, in chunks or in one number; writers to a pipe leave a placeholder there.
COUNTED = {"wav", "aiff", "au", "flac", "w64"}
_LOSSLESS = re.compile(r"pcm_(?!mulaw|alaw)|flac|alac")
_SLACK = 2**16  # bytes by which placeholders are rounded down


@dataclass(frozen=True)
class Info:
    """What a recording says of itself before it is decoded.

    Parameters
    ----------
    path : Path
    name : str
        What messages call it: the path, or the name given to `probe`.
    rate : int
        Samples a second (Hz).
    channels : int
    seconds : float, optional
        About its length, as the file states it; None if it states none.  Only decoding tells the true length.
    codec : str
        FFmpeg's name of the codec.
    tags : dict
        Lower-case names and texts, of the file and of the chosen stream.
    container : str
        FFmpeg's names of the container, with commas.
    stream : int
        The chosen audio stream, counted from 0 among the audio streams.
    streams : tuple of str
        Every audio stream in a few words: codec, channels, rate, language, title.
    notes : tuple of str
        What a person should know of the choice, in short sentences.
    estimated : bool
        `seconds` is no more than the size over the bit rate.
    offset : float
        Seconds by which `seconds` may be too long, as it counts from before the first sample.
    """

    path: Path
    name: str
    rate: int
    channels: int
    seconds: float | None
    codec: str
    tags: dict[str, str] = field(default_factory=dict)
    container: str = ""
    stream: int = 0
    streams: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    estimated: bool = False
    offset: float = 0.0

    @property
    def exact(self) -> bool:
        """Does the file state a count of samples, not a rounded time?"""
        return bool(COUNTED & {self.container}) and bool(_LOSSLESS.match(self.codec))

    def error(self, text: str) -> DataError:
        return recording_error(self.name, text)


class Local:
    """An open file for FFmpeg, under a neutral name: it sees the extension, and no protocol or pattern.

    A failure of the disk is kept for `check`, because PyAV would print it where FFmpeg goes on after it.
    """

    def __init__(self, file: IO[bytes], path: Path):
        suffix = path.suffix if re.fullmatch(r"\.[A-Za-z0-9]{1,8}", path.suffix) else ""
        self.name, self._file = f"recording{suffix}", file
        self._failure: OSError | None = None

    def check(self, name: str) -> None:
        """Raise the failure that there was: a full disk as it is, all others as a DataError."""
        if self._failure and self._failure.errno == errno.ENOSPC:
            raise self._failure
        if self._failure:
            raise recording_error(name, f"the disk fails ({self._failure.strerror}); copy it to another disk")

    def read(self, size: int) -> bytes:
        try:
            return b"" if self._failure else self._file.read(size)
        except OSError as error:
            self._failure = error
            return b""

    def write(self, data: bytes) -> int:
        try:
            return len(data) if self._failure else self._file.write(data)
        except OSError as error:
            self._failure = error
            return len(data)

    def seek(self, offset: int, whence: int) -> int:
        try:
            return offset if self._failure else self._file.seek(offset, whence)
        except OSError as error:
            self._failure = error
            return offset

    def tell(self) -> int:
        return self._file.tell()


@contextmanager
def opened(path: Path, stream: int | None, name: str | None) -> Iterator[tuple[InputContainer, AudioStream, Info]]:
    """Open a recording and choose one of its audio streams."""
    path = Path(path)
    name = str(path) if name is None else name
    require_file(path, name)
    with open(path, "rb") as file:
        local = Local(file, path)
        try:
            options = {"protocol_whitelist": "none"}
            with av.open(local, "r", options=options, metadata_errors="replace", buffer_size=2**16) as container:
                if _PLAYLISTS & set(container.format.name.split(",")):
                    raise recording_error(
                        name, "expected a recording, this is a playlist; name the recordings themselves"
                    )
                chosen, info = _described(container, path, name, stream)
                yield container, chosen, info
        except (av.FFmpegError, DataError) as error:
            local.check(name)
            if isinstance(error, DataError):
                raise
            raise recording_error(
                name,
                f"expected a recording, can't read it ({words(error)}): it is no audio or video file, a playlist, "
                "or it is truncated; fetch or copy it again, or choose another file",
            ) from None
        local.check(name)


def require_file(path: Path, name: str) -> None:
    """Raise DataError unless `path` is a readable file that is not empty."""
    try:
        kind = path.stat()
        if stat.S_ISDIR(kind.st_mode):
            problem = "this is a folder; name a file in it"
        elif not stat.S_ISREG(kind.st_mode):
            problem = "this is a pipe or a device; save it to a file first"
        elif kind.st_size == 0:
            problem = "the file is empty (0 bytes); fetch or copy it again"
        else:
            open(path, "rb").close()
            return
    except FileNotFoundError:
        problem = "there is no such file; check the name"
    except (OSError, ValueError) as error:
        problem = f"can't open it ({getattr(error, 'strerror', error)})"
    raise recording_error(name, f"expected a recording, {problem}")


def words(error: Exception) -> str:
    """What an error of FFmpeg's libraries says, without the number and the name of the file."""
    return str(getattr(error, "strerror", None) or error)[:200]


def _described(container: InputContainer, path: Path, name: str, stream: int | None) -> tuple[AudioStream, Info]:
    """The chosen audio stream of an open container, and what is known of it."""
    audio = container.streams.audio
    if not audio:
        kinds = sorted({str(other.type) for other in container.streams}) or ["nothing"]
        raise recording_error(
            name, f"expected a recording, found no audio in it ({' and '.join(kinds)} only); choose a file that sounds"
        )
    streams = tuple(map(_in_words, audio))
    if stream is not None and not 0 <= stream < len(audio):
        listed = "; ".join(f"{number}: {text}" for number, text in enumerate(streams))
        raise recording_error(name, f"expected an audio stream of it, got {stream}; choose one of {listed}")
    index, notes = stream, []
    if index is None:
        index = next((number for number, one in enumerate(audio) if one.disposition & Disposition.default), 0)
        if len(audio) > 1:
            notes.append(f"read audio stream {index} of 0 to {len(audio) - 1} ({streams[index]})")
    chosen = audio[index]
    codec, context = _codec(chosen), chosen.codec_context
    if context is None or not context.sample_rate or not context.channels:
        raise recording_error(
            name,
            "expected a recording, found no audio in it (its name or first bytes suggest "
            f"{codec}, nothing else does); choose another file",
        )
    tags = {key.lower(): str(value) for key, value in {**chosen.metadata, **container.metadata}.items()}
    seconds, offset = _stated_seconds(container, chosen)
    kind = set(container.format.name.split(","))
    if seconds and COUNTED & kind and context.bit_rate and placeholder(round(seconds * context.bit_rate / 8)):
        seconds = None
    estimated = bool(_RAW & kind)
    if seconds and kind == {"mp3"} and context.bit_rate:  # else it has a header that states its length
        estimated = abs(seconds - container.size * 8 / context.bit_rate) < 0.1 + 0.01 * seconds
    return chosen, Info(
        path, name, context.sample_rate, context.channels, seconds, codec, tags, container.format.name, index,
        streams, tuple(notes), estimated, offset,
    )  # fmt: skip


def _codec(stream: AudioStream) -> str:
    return stream.codec_context.codec.canonical_name if stream.codec_context else "an unknown codec"


def _in_words(stream: AudioStream) -> str:
    context = stream.codec_context
    parts = [_codec(stream)]
    if context:
        parts += [f"{context.channels} channel{'s' * (context.channels != 1)}", f"{context.sample_rate / 1000:g} kHz"]
    language = stream.metadata.get("language")
    return ", ".join([*parts, *filter(None, (None if language == "und" else language, stream.metadata.get("title")))])


def is_picture(stream: Any) -> bool:
    """Is it the cover of an album?"""
    return bool(stream.disposition & Disposition.attached_pic)


def start_of(stream: Any) -> float | None:
    """Timestamp of the first packet (s)."""
    return None if stream.start_time is None else float(stream.start_time * stream.time_base)


def _stated_seconds(container: InputContainer, audio: AudioStream) -> tuple[float | None, float]:
    """Length that a file states of its audio, and how much earlier than the audio it may begin (s)."""
    if audio.duration and audio.time_base:
        return float(audio.duration * audio.time_base), 0.0
    offset = max(start_of(audio) or 0.0, 0.0)
    for key, value in audio.metadata.items():  # Matroska: "00:00:09.003000000"
        if key.upper().startswith("DURATION") and re.fullmatch(r"\d+:\d+:\d+(\.\d+)?", value):
            hours, minutes, rest = value.split(":")
            return int(hours) * 3600 + int(minutes) * 60 + float(rest), offset
    # A container's length is that of its longest stream.
    if any(other.index != audio.index and not is_picture(other) for other in container.streams):
        return None, offset
    return (container.duration / av.time_base if container.duration else None), offset


def placeholder(size: int) -> bool:
    """Does this size (bytes) in a header stand for "unknown", as programs write it that can't seek back?

    ffmpeg leaves 0 or 2**32 - 1, sox 0x7ffff000 or 0x7f000000, lame and arecord something just below 2**31.
    """
    return size == 0 or any(-_SLACK <= size - limit <= 16 for limit in (0x7F000000, 2**31, 2**32))


def missing_bytes(info: Info) -> int:
    """How many bytes a wav, avi, aiff or ogg lacks by the sizes in its own headers, negative if it has too many.

    FFmpeg reads such files to their end without an error if the cut lies between two packets.
    """
    with open(info.path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if info.container in ("wav", "avi", "aiff"):
            return _end_of_chunks(file, size) - size
        return max(_end_of_ogg(file, size) - size, 0) if info.container == "ogg" else 0


def _end_of_chunks(file: IO[bytes], size: int) -> int:
    """Where a wav, avi or aiff ends, by the sizes of its chunks; `size` if it states none for its samples."""
    position, large = _end_of_id3(file), 0
    file.seek(position)
    order = ">" if file.read(4) == b"FORM" else "<"
    position += 12
    found = False
    while position + 8 <= size:
        file.seek(position)
        name, length = struct.unpack(order + "4sI", file.read(8))
        if found and (position + 8 + length > size + 1 or not re.fullmatch(rb"[\w +-]{4}", name)):
            file.seek(position)  # not a chunk: samples that the header does not count, or a tag of mp3 files
            return size if re.match(rb"TAG|APETAGEX|ID3|\0", file.read(8)) else position
        position += 8
        if name == b"ds64":
            large = struct.unpack("<8xQ", file.read(16))[0]
        if name in (b"data", b"SSND") or (name == b"LIST" and file.read(4) == b"movi"):
            length = large if length == 2**32 - 1 and large else length
            if placeholder(length):
                return size
            if position + length > size:
                return position + length
            found = True
        position += length + length % 2
    return size


def _end_of_id3(file: IO[bytes]) -> int:
    """Where ID3v2 tags at the beginning of a file end."""
    position = 0
    while (head := file.read(10))[:3] == b"ID3" and len(head) == 10:
        position += 10 + sum((byte & 127) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
        file.seek(position)
    return position


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
