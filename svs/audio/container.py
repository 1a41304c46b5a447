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

    def __init__(self, file: IO[bytes], path: Path, repairs: dict[int, bytes] | None = None, end: int = 2**62):
        suffix = path.suffix if re.fullmatch(r"\.[A-Za-z0-9]{1,8}", path.suffix) else ""
        self.name, self._file = f"recording{suffix}", file
        self._repairs = repairs or {}  # by position, bytes that stand in place of the file's
        self._end = end  # what is behind it is hidden
        self._failure: OSError | None = None

    def check(self, name: str) -> None:
        """Raise the failure that there was: a full disk as it is, all others as a DataError."""
        if self._failure and self._failure.errno == errno.ENOSPC:
            raise self._failure
        if self._failure:
            raise recording_error(name, f"the disk fails ({self._failure.strerror}); copy it to another disk")

    def read(self, size: int) -> bytes:
        try:
            position = self._file.tell()
            data = b"" if self._failure else self._file.read(max(min(size, self._end - position), 0))
        except OSError as error:
            self._failure = error
            return b""
        for start, new in self._repairs.items():
            first, last = max(start - position, 0), min(start + len(new) - position, len(data))
            if first < last:
                data = data[:first] + new[first + position - start : last + position - start] + data[last:]
        return data

    def write(self, data: bytes) -> int:
        try:
            return len(data) if self._failure else self._file.write(data)
        except OSError as error:
            self._failure = error
            return len(data)

    def seek(self, offset: int, whence: int) -> int:
        try:
            if whence == os.SEEK_END and not self._failure:
                offset, whence = min(self._file.seek(0, os.SEEK_END), self._end) + offset, os.SEEK_SET
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
        local = Local(file, path, *_mended(file))
        try:
            # Not as `options`: PyAV hands those to every stream too, and crashes where streams appear late (flv, ts).
            options = {"protocol_whitelist": "none"}
            with av.open(
                local, "r", container_options=options, metadata_errors="replace", buffer_size=2**16
            ) as container:
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
    estimated = bool(_RAW & kind)
    if seconds and not COUNTED & kind and context.bit_rate:  # FFmpeg does not tell whether it estimated the length
        slack = 0.02 if kind == {"asf"} else 0.002  # asf counts its packets' headers
        estimated |= abs(seconds - container.size * 8 / context.bit_rate) < slack * seconds
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


def _mended(file: IO[bytes]) -> tuple[dict[int, bytes], int]:
    """Bytes of a header that FFmpeg should see in place of placeholders, and where it should see the end."""
    end = os.fstat(file.fileno()).st_size
    found, begin = _find_samples(file, end), _end_of_id3(file)
    file.seek(begin)
    if file.read(4) == b"fLaC":  # FFmpeg would take what follows for a part of the last frame
        end = _begin_of_tags(file, end)
    repairs = found.repairs(end) if found else {}
    if found and found.kind == b".snd" and not repairs:
        end = min(end, found.start + found.size)
    file.seek(0)
    return repairs, end


def _begin_of_tags(file: IO[bytes], end: int) -> int:
    """Where an ID3v1 tag and an APE tag before it begin at the end of a file."""
    file.seek(max(end - 128, 0))
    if file.read(3) == b"TAG":
        end -= 128
    file.seek(max(end - 32, 0))
    if (foot := file.read(32))[:8] == b"APETAGEX" and len(foot) == 32:
        size, flags = struct.unpack("<12xI4xI8x", foot)
        end = max(end - size - 32 * (flags >> 31), 0)
    return end


def placeholder(size: int) -> bool:
    """Does this size (bytes) in a header stand for "unknown", as programs write it that can't seek back?

    ffmpeg leaves 0, 2**32 - 1 or 2**64 - 1, sox 0x7ffff000 or 0x7f000000, lame and arecord something just below 2**31.
    """
    return size == 0 or size >= 2**62 or any(-_SLACK <= size - limit <= 64 for limit in (0x7F000000, 2**31, 2**32))


@dataclass(frozen=True)
class _Samples:
    """The samples of a wav, w64, aiff, caf, avi or au by the sizes in its header."""

    kind: bytes  # the first four bytes
    begin: int  # of the file's own header, after tags
    start: int  # of the samples
    size: int  # in bytes, as stated
    field: int  # where the size is stated
    form: str  # of that field, for `struct`
    extra: int = 0  # bytes that the stated size counts beside the samples
    frames: int | None = None  # where an aiff states its number of frames
    frame: int = 1  # bytes of a frame of an aiff

    def repairs(self, end: int) -> dict[int, bytes]:
        """What the header should say where a placeholder stands for sizes, as the file ends at `end`."""
        if not placeholder(self.size):
            return {}
        size = end - self.start
        largest = 2**32 - 1 if self.form[1] == "I" else 2**63
        repairs = {self.field: struct.pack(self.form, min(size + self.extra, largest))}
        if self.form == "<Q" and not self.extra:
            repairs[self.field + 8] = bytes(8)  # the number of frames of an RF64
        if self.frames:
            repairs[self.frames] = struct.pack(">I", (size - 8) // self.frame)
            repairs[self.begin + 4] = struct.pack(">I", end - self.begin - 8)
        return repairs


def _find_samples(file: IO[bytes], end: int) -> _Samples | None:
    """Where the samples of a file of chunks lie; None if it is of another kind."""
    begin = position = _end_of_id3(file)
    file.seek(begin)
    head = file.read(12).ljust(12, b"\0")
    if head[:4] == b".snd":
        start, size = struct.unpack(">II", head[4:])
        return _Samples(head[:4], begin, begin + start, size, begin + 8, ">I")
    wide = head[:8] == b"riff\x2e\x91\xcf\x11"  # w64: sizes of 64 bits that count the chunk's header
    if not wide and head[:4] not in (b"RIFF", b"RF64", b"BW64", b"FORM", b"caff"):
        return None
    form = {b"FORM": ">4sI", b"caff": ">4sQ", b"riff": "<16sQ"}.get(head[:4], "<4sI")
    header, pad = struct.calcsize(form), {b"caff": 1, b"riff": 8}.get(head[:4], 2)
    position += {b"caff": 8, b"riff": 40}.get(head[:4], 12)
    large, frames, frame = None, None, 1
    while position + header <= end:
        file.seek(position)
        name, size = struct.unpack(form, file.read(header))
        field, width = position + header - struct.calcsize(form[0] + form[-1]), form[0] + form[-1]
        extra = header if wide else 0
        position, size = position + header, max(size - extra, 0)
        body = file.read(min(size, 24))
        if name == b"ds64" and len(body) >= 16:
            large = (struct.unpack("<8xQ", body[:16])[0], position + 8)
        elif name == b"COMM" and len(body) >= 8:
            channels, bits = struct.unpack(">h4xh", body[:8])
            frames, frame = position + 2, max(channels * (-(-bits // 8)), 1)
        elif name[:4].lower() in (b"data", b"ssnd") or (name == b"LIST" and body[:4] == b"movi"):
            if large and size == 2**32 - 1:
                (size, field), width = large, "<Q"
            return _Samples(head[:4], begin, position, size, field, width, extra, frames, frame)
        position += size + -size % pad
    return None


def missing_bytes(info: Info) -> int:
    """How many bytes a file lacks by the sizes in its own header, negative if it has more samples than stated.

    FFmpeg reads such files to their end without an error if the cut lies between two packets.
    """
    with open(info.path, "rb") as file:
        end = os.fstat(file.fileno()).st_size
        if info.container == "ogg":
            return max(_end_of_ogg(file, end) - end, 0)
        found = _find_samples(file, end)
        if found is None or placeholder(found.size):
            return 0
        after = found.start + found.size + found.size % 2
        if after >= end or found.kind in (b"caff", b"riff"):
            return found.start + found.size - end if after >= end else 0
        file.seek(after)
        name, size = struct.unpack(">4sI" if found.kind == b"FORM" else "<4sI", file.read(8).ljust(8, b"\0"))
        chunk = re.fullmatch(rb"[ -~]{4}", name) and after + 8 + size <= end + 1
        # Another chunk, padding or a tag of mp3 files; or samples that the header does not count.
        return 0 if chunk or re.match(rb"TAG|APET|ID3|\0", name) else after - end


def _end_of_id3(file: IO[bytes]) -> int:
    """Where ID3v2 tags at the beginning of a file end."""
    position = file.seek(0)
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
