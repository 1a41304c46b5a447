"""A file as a container of audio streams: what FFmpeg's libraries (PyAV) and its own header say of it.

Only the named file is read: nothing that it points to, on this disk or elsewhere.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition

from svs.errors import DataError, recording_error
from svs.runtime.files import NO_ROOM

_PLAYLISTS = {"hls", "concat", "dash", "sdp", "imf"}
_RAW = {"aac", "ac3", "eac3", "dts", "dtshd", "truehd", "amr"}  # frames without a header: no length is stated
_T = TypeVar("_T")


@dataclass(frozen=True)
class Info:
    """What a recording says of itself before it is decoded."""

    path: Path
    name: str  # what messages call it
    rate: int  # Hz
    channels: int
    seconds: float | None  # about its length, as the file states it; only decoding tells the true one
    codec: str  # FFmpeg's name
    tags: dict[str, str]  # lower-case names and texts, of the file and of the stream
    container: str  # FFmpeg's names, with commas
    stream: int  # the chosen audio stream, counted from 0 among the audio streams
    streams: tuple[str, ...]  # every audio stream in a few words: codec, channels, rate, language, title
    notes: tuple[str, ...]  # what a person should know, in short sentences
    estimated: bool  # `seconds` is no more than the size over the bit rate
    missing: int  # bytes that the file lacks by the sizes in its header; negative: that it has beyond them

    def error(self, text: str) -> DataError:
        return recording_error(self.name, text)


class Local:
    """An open file for FFmpeg, under a neutral name: it sees the extension, and no protocol or pattern.

    A failure of the disk is kept for `check`, because PyAV would print it where FFmpeg goes on after it.  `repairs`
    are bytes by position that stand in place of the file's; what is behind `end` is hidden.
    """

    def __init__(self, file: IO[bytes], path: Path, repairs: dict[int, bytes] | None = None, end: int = 2**62):
        suffix = path.suffix if re.fullmatch(r"\.[A-Za-z0-9]{1,8}", path.suffix) else ""
        self.name, self.tell = f"recording{suffix}", file.tell
        self._file, self._repairs, self._end = file, repairs or {}, end
        self._failure: OSError | None = None

    def check(self, name: object) -> None:
        """Raise the failure that there was: no room as it is, all others as a DataError."""
        if self._failure and self._failure.errno in NO_ROOM:
            raise self._failure
        if self._failure:
            raise recording_error(name, f"the disk fails ({self._failure.strerror}); copy it to another disk")

    def _try(self, failed: _T, call: Callable[[], _T]) -> _T:
        try:
            return failed if self._failure else call()
        except OSError as error:
            self._failure = error
            return failed

    def read(self, size: int) -> bytes:
        position = self._file.tell()
        data = self._try(b"", lambda: self._file.read(max(min(size, self._end - position), 0)))
        for start, new in self._repairs.items():
            first, last = max(start - position, 0), min(start + len(new) - position, len(data))
            if first < last:
                data = data[:first] + new[first + position - start : last + position - start] + data[last:]
        return data

    def write(self, data: bytes) -> int:
        return self._try(len(data), lambda: self._file.write(data))

    def seek(self, offset: int, whence: int) -> int:
        def move() -> int:
            if whence == os.SEEK_END:
                return self._file.seek(min(self._file.seek(0, os.SEEK_END), self._end) + offset)
            return self._file.seek(offset, whence)

        return self._try(offset, move)


@contextmanager
def opened(path: Path, stream: int | None, name: str | None) -> Iterator[tuple[InputContainer, AudioStream, Info]]:
    """Open a recording and choose one of its audio streams."""
    path = Path(path)
    name = str(path) if name is None else name
    require_file(path, name)
    with open(path, "rb") as file:
        sizes = _sizes(file)
        file.seek(0)
        local = Local(file, path, sizes.repairs, sizes.end)
        # Not as `options`: PyAV hands those to every stream too, and crashes where streams appear late (flv, ts).
        options = {"protocol_whitelist": "none"}
        try:
            with av.open(local, "r", container_options=options, metadata_errors="replace", buffer_size=2**16) as found:
                if _PLAYLISTS & set(found.format.name.split(",")):
                    raise recording_error(name, "expected a recording, this is a playlist; name what is in it")
                info = _described(found, path, name, stream, sizes)
                yield found, found.streams.audio[info.stream], info
        except (av.FFmpegError, DataError) as error:
            local.check(name)
            if isinstance(error, DataError):
                raise
            text = f"can't read it ({words(error)}): it is no audio or video file, a playlist, or truncated"
            raise recording_error(
                name, f"expected a recording, {text}; fetch or copy it again, or choose another file"
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


def _described(found: InputContainer, path: Path, name: str, stream: int | None, sizes: _Sizes) -> Info:
    """Choose an audio stream of an open container, and say what is known of it."""
    audio, kind = found.streams.audio, found.format.name
    if not audio:
        kinds = " and ".join(sorted({str(other.type) for other in found.streams})) or "nothing"
        raise recording_error(
            name, f"expected a recording, found no audio in it ({kinds} only); choose another file, or fetch it again"
        )
    streams = tuple(map(_in_words, audio))
    flagged = [number for number, one in enumerate(audio) if one.disposition & Disposition.default]
    index = (flagged or [0])[0] if stream is None else stream
    if not 0 <= index < len(audio):
        listed = "; ".join(f"{number}: {text}" for number, text in enumerate(streams))
        raise recording_error(name, f"expected an audio stream of it, got {stream}; choose one of {listed}")
    note = f"read audio stream {index} of 0 to {len(audio) - 1} ({streams[index]})"
    notes = (note,) if stream is None and len(audio) > 1 else ()
    codec, context = _codec(audio[index]), audio[index].codec_context
    if context is None or not context.sample_rate or not context.channels:
        what = f"no audio in it (its name or first bytes suggest {codec}, nothing else does); choose another file"
        raise recording_error(name, f"expected a recording, found {what}")
    tags = {key.lower(): str(value) for key, value in {**audio[index].metadata, **found.metadata}.items()}
    seconds = _stated_seconds(found, audio[index])
    seconds = None if kind == "aiff" and sizes.repairs else seconds  # its number of frames is another placeholder
    estimated = kind in _RAW
    if seconds and kind in ("mp3", "swf", "asf") and context.bit_rate:  # FFmpeg does not tell whether it estimated it
        about = (found.size - sizes.begin) * 8 / context.bit_rate
        slack = 0.02 if kind == "asf" else 0.002  # asf counts its packets' headers; others a first frame of 2000 bytes
        estimated |= abs(seconds - about) < slack * seconds + 16_000 / context.bit_rate
    form = (context.sample_rate, context.channels, seconds, codec)
    return Info(path, name, *form, tags, kind, index, streams, notes, estimated, sizes.missing)


def _codec(stream: AudioStream) -> str:
    return stream.codec_context.codec.canonical_name if stream.codec_context else "an unknown codec"


def _in_words(stream: AudioStream) -> str:
    context, parts = stream.codec_context, [_codec(stream)]
    if context:
        parts += [f"{context.channels} channel{'s' * (context.channels != 1)}", f"{context.sample_rate / 1000:g} kHz"]
    spoken = stream.metadata.get("language", "und").replace("und", "")
    return ", ".join(filter(None, [*parts, spoken, stream.metadata.get("title")]))


def start_of_others(found: InputContainer, audio: AudioStream) -> float | None:
    """The earliest timestamp (s) of the pictures and sounds beside an audio stream; a cover is none."""
    others = [one for one in _others(found, audio) if one.type in ("video", "audio") and one.start_time is not None]
    return min((float(one.start_time * one.time_base) for one in others), default=None)


def _others(found: InputContainer, audio: AudioStream) -> list[Any]:
    covers = Disposition.attached_pic
    return [one for one in found.streams if one.index != audio.index and not one.disposition & covers]


def _stated_seconds(found: InputContainer, audio: AudioStream) -> float | None:
    """Length that a file states of its audio."""
    if audio.duration and audio.time_base:
        return float(audio.duration * audio.time_base)
    seconds = found.duration / av.time_base if found.duration else 0.0
    if _others(found, audio):  # a container's length is that of its longest stream
        seconds = 0.0
    for key, value in audio.metadata.items():  # Matroska: "00:00:09.003000000"
        if key.upper().startswith("DURATION") and re.fullmatch(r"\d+:\d+:\d+(\.\d+)?", value):
            seconds = sum(float(part) * unit for part, unit in zip(value.split(":"), (3600, 60, 1), strict=True))
    # These count from timestamp 0, not from the first sample.
    seconds -= max(float(audio.start_time * audio.time_base) if audio.start_time and audio.time_base else 0.0, 0.0)
    return seconds if seconds > 0 else None


def placeholder(size: int) -> bool:
    """Does this size (bytes) in a header stand for "unknown", as programs write it that can't seek back?

    ffmpeg leaves 0, 2**32 - 1 or 2**64 - 1, sox 0x7ffff000 or 0x7f000000, lame and arecord something just below 2**31.
    """
    return size == 0 or size >= 2**62 or any(-(2**16) <= size - limit <= 64 for limit in (0x7F000000, 2**31, 2**32))


class _Sizes(NamedTuple):
    """What the sizes in a file's own header say."""

    repairs: dict[int, bytes]  # what FFmpeg should see in place of placeholders
    begin: int  # where the file begins, behind tags
    end: int  # where FFmpeg should see its end
    missing: int = 0  # as of `Info`: FFmpeg makes no error of a cut between two packets


def _sizes(file: IO[bytes]) -> _Sizes:
    end, begin = os.fstat(file.fileno()).st_size, _end_of_id3(file)
    file.seek(begin)
    head = file.read(12).ljust(12, b"\0")
    if head[:4] == b"fLaC":  # what follows would be taken for a part of the last frame
        return _Sizes({}, begin, _begin_of_tags(file, end))
    if head[:4] == b"OggS":
        return _Sizes({}, begin, end, max(_end_of_ogg(file, end) - end, 0))
    found = _samples(file, head, begin, end)
    if found is None:
        return _Sizes({}, begin, end)
    field, form, start, size = found
    if placeholder(size):
        size = min(end - start + 24 * (head[:4] == b"riff"), 2**32 - 1 if form[1] == "I" else 2**62)
        repairs = {field: struct.pack(form, size) + bytes(8 * (head[1:4] in (b"F64", b"W64") and form == "<Q"))}
        if head[:4] == b"FORM":
            repairs[begin + 4] = struct.pack(">I", end - begin - 8)
        return _Sizes(repairs if head[8:11] != b"AVI" else {}, begin, end)
    after = start + size + size % 2
    if after + 8 > end or head[:4] in (b"caff", b"riff"):
        return _Sizes({}, begin, end, max(start + size - end, 0))
    if head[:4] == b".snd":
        return _Sizes({}, begin, start + size, start + size - end)
    file.seek(after)
    name, size = struct.unpack(f"{form[0]}4sI", file.read(8).ljust(8, b"\0"))
    chunk = re.fullmatch(rb"[ -~]{4}", name) and after + 8 + size <= end + 1
    # Another chunk, padding or a tag of mp3 files; or samples that the header does not count.
    return _Sizes({}, begin, end, 0 if chunk or re.match(rb"TAG|APET|ID3|\0", name) else after - end)


def _samples(file: IO[bytes], head: bytes, begin: int, end: int) -> tuple[int, str, int, int] | None:
    """Where a file of chunks states the size of its samples, the form of that field, where they start, and the size."""
    kind, large = head[:4], None
    if kind == b".snd":
        start, size = struct.unpack(">II", head[4:])
        return begin + 8, ">I", begin + start, size
    # The form of a chunk's header, the multiple at which chunks begin, and where the first one does.
    forms = {b"FORM": (">4sI", 2, 12), b"caff": (">4sQ", 1, 8), b"riff": ("<16sQ", 8, 40)}
    forms |= dict.fromkeys((b"RIFF", b"RF64", b"BW64"), ("<4sI", 2, 12))
    if kind not in forms:
        return None
    form, multiple, first = forms[kind]
    position, header = begin + first, struct.calcsize(form)
    while position + header <= end:
        file.seek(position)
        name, size = struct.unpack(form, file.read(header))
        field, position = position + header - struct.calcsize(form[0] + form[-1]), position + header
        size = max(size - 24, 0) if kind == b"riff" else size  # sizes of w64 count the header
        body = file.read(16)
        if name == b"ds64" and len(body) == 16:
            large = (position + 8, "<Q", struct.unpack("<8xQ", body)[0])
        elif name[:4] in (b"data", b"SSND") or (name == b"LIST" and body[:4] == b"movi"):
            if large and size == 2**32 - 1:
                return large[0], large[1], position, large[2]
            return field, form[0] + form[-1], position, size
        position += size + -size % multiple
    return None


def _end_of_id3(file: IO[bytes]) -> int:
    """Where ID3v2 tags at the beginning of a file end."""
    position = file.seek(0)
    while (head := file.read(10))[:3] == b"ID3" and len(head) == 10:
        position += 10 + sum((byte & 127) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
        file.seek(position)
    return position


def _begin_of_tags(file: IO[bytes], end: int) -> int:
    """Where an ID3v1 tag and an APE tag before it begin at the end of a file."""
    file.seek(max(end - 128, 0))
    end -= 128 * (file.read(3) == b"TAG")
    file.seek(max(end - 32, 0))
    if (foot := file.read(32))[:8] == b"APETAGEX" and len(foot) == 32:
        size, flags = struct.unpack("<12xI4xI8x", foot)
        end = max(end - size - 32 * (flags >> 31), 0)
    return end


def _end_of_ogg(file: IO[bytes], size: int) -> int:
    """Where the last page of an ogg ends, by its header; 0 if there is none."""
    start = file.seek(max(size - 2**17, 0))  # a page is 65307 bytes at most
    tail = file.read()
    page = tail.rfind(b"OggS\x00")
    header = tail[page : page + 27].ljust(27, b"\0")
    lengths = tail[page + 27 : page + 27 + header[26]]
    return 0 if page < 0 else start + page + 27 + header[26] + sum(lengths)
