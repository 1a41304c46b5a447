"""Write a source as wav, flac or mp3, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.codec.context import Flags as CodecFlags

from svs.audio import container, sources
from svs.audio.convert import resampled
from svs.audio.sources import Source, WavWriter
from svs.errors import recording_error
from svs.runtime.files import written

FORMATS = ("wav", "flac", "mp3")
_LARGEST_WAV = 2**32 - 2**16  # bytes of samples in a wav with 32-bit sizes
_TAGS = ["title", "artist", "album", "album_artist", "composer", "date", "track", "disc", "genre", "comment"]
_TAGS += ["copyright"]
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
# LAME's factors at constant bit rates up to these (kbit/s); above them it keeps the level.
_LAME_SCALES = {160: 0.95, 192: 0.97, 224: 0.98}
_LAYOUTS = ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1")  # the only ones that flac names
# Gains to the left and the right of each channel in those layouts (ITU-R BS.775: -3 dB, no bass channel).
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
_Blocks = Iterator[np.ndarray]  # float32 or int32 (samples, channels)
CLIPS = ("clamp", "error")  # what becomes of samples beyond full scale in formats that have one


class _Encoding(NamedTuple):
    """How a source is written."""

    blocks: _Blocks
    codec: str
    rate: int
    layout: str
    form: str  # FFmpeg's sample format of the blocks
    options: dict[str, str]  # of the encoder
    container: str
    header: dict[str, str]  # options of the container


def encode(
    source: Source,
    target: Path,
    codec: str,
    tags: Mapping[str, str] | None = None,
    *,
    bitrate: int | None = None,
    clip: str = "clamp",
    gain: float = 1.0,
) -> list[str]:
    """Write a source as wav, flac or mp3, block by block, whole or not at all.

    The same samples and tags give the same bytes (with the same PyAV).

    Parameters
    ----------
    source : Source
    target : Path
        Replaced if it exists.
    codec : str
        "wav" (32-bit float), "flac" (24 bit) or "mp3" (320 kbit/s; below 32 kHz the best variable bit rate).
    tags : mapping, optional
        Such as `Info.tags`.  Title, artist, album and the like (`_TAGS`) are kept if the format has them.
    bitrate : int, optional
        kbit/s of an mp3 at 32 kHz or more instead of 320, constant so that players seek exactly.
    clip : str
        Samples beyond full scale in flac and mp3 become full scale ("clamp", with a note) or an error ("error").
    gain : float
        Factor of every sample.

    Returns
    -------
    list of str
        What had to be changed, as short sentences: clipped samples and their peak, another rate, fewer channels.

    Raises
    ------
    DataError
        The format can't hold the source, the source is empty or holds NaN or infinite samples, or the disk is full.
    """
    for what, value, known in (("codec", codec, FORMATS), ("clip", clip, CLIPS)):
        if value not in known:
            raise ValueError(f"{what} {value!r}; expected one of {', '.join(known)}")
    target = Path(target)
    if source.samples == 0:
        raise recording_error(target, "there is not one sample to write")
    kept = {key.lower(): value.replace("\0", "") for key, value in (tags or {}).items()}
    kept = {key: kept[key] for key in _TAGS if kept.get(key, "").strip()}
    blocks, limit = _blocks(source, target, gain), _Limit(target, codec, clip)
    try:
        with written(target) as temporary:
            if codec == "flac":
                _write(_flac(source, target, blocks, limit), target, temporary, kept)
            elif codec == "mp3":
                _write(_mp3(source, target, blocks, limit, bitrate), target, temporary, kept)
            else:
                _write_wav(source, blocks, target, temporary, kept)
    except OSError as error:
        raise recording_error(target, f"can't write it ({error.strerror or error}); choose another folder") from error
    return limit.notes()


def _blocks(source: Source, target: Path, gain: float) -> _Blocks:
    """All samples of a source times `gain`, block by block; raise DataError if some are not finite."""
    step = max(sources.BLOCK // (4 * source.channels), 1)
    for start, stop in pairwise([*range(0, source.samples, step), source.samples]):
        block = np.asarray(source.read(start, stop), dtype="<f4")
        bad = sources.first_not_finite(block)
        if bad is not None:
            where = (start + bad) / source.rate
            raise recording_error(target, f"its samples are NaN or infinite at {where:.3f} s; nothing was written")
        yield block if gain == 1.0 else block * np.float32(gain)


class _Limit:
    """Keeps blocks within full scale, and counts what was beyond it."""

    def __init__(self, target: Path, codec: str, clip: str):
        self._target, self._codec, self._clip = target, codec, clip
        self._clipped, self._peak = 0, 0.0
        self.changes: list[str] = []  # what else has to be changed

    def __call__(self, block: np.ndarray) -> np.ndarray:
        peak = float(np.abs(block).max(initial=0.0))
        if peak <= 1.0:
            return block
        if self._clip == "error":
            text = f"expected samples up to full scale, as {self._codec} holds no more, got {peak:.2f} times full scale"
            raise recording_error(self._target, f"{text}; nothing was written: choose wav, a lower level, or clipping")
        self._clipped += int(np.count_nonzero(np.abs(block) > 1.0))
        self._peak = max(self._peak, peak)
        return np.clip(block, -1.0, 1.0)

    def notes(self) -> list[str]:
        of = f"the peak was {self._peak:.2f} times full scale"
        clipped = f"{self._clipped} samples beyond full scale were clipped ({of}; wav keeps them)"
        return [*self.changes, clipped] if self._clipped else self.changes


def _write_wav(source: Source, blocks: _Blocks, target: Path, temporary: Path, tags: Mapping[str, str]) -> None:
    if not tags and source.samples * source.channels * 4 <= _LARGEST_WAV:
        with WavWriter(temporary, source.rate, source.channels) as writer:
            for block in blocks:
                writer.write(block)
        return
    layout = _LAYOUTS[source.channels - 1] if source.channels <= len(_LAYOUTS) else f"{source.channels}C"
    encoding = _Encoding(blocks, "pcm_f32le", source.rate, layout, "flt", {}, "wav", {"rf64": "auto"})
    _write(encoding, target, temporary, tags)


def _flac(source: Source, target: Path, blocks: _Blocks, limit: _Limit) -> _Encoding:
    # Above 65 kHz flac counts in tens of Hz, and FFmpeg's encoder stops one short.
    if source.channels > len(_LAYOUTS) or source.rate >= (655_350 if source.rate % 10 == 0 else 65_535):
        raise recording_error(
            target,
            "flac holds 8 channels and 655 kHz (in tens of Hz) at most, these are "
            f"{source.channels} channels at {source.rate} Hz; choose wav",
        )

    def rounded() -> _Blocks:
        # Rounded here, because FFmpeg only truncates from 32 to 24 bits.
        for block in blocks:
            steps = np.rint(limit(block).astype(np.float64) * 2**23)
            yield np.clip(steps, -(2**23), 2**23 - 1).astype("<i4") << 8

    # FFmpeg would mix any other layout of as many channels into the one that the format names.
    return _Encoding(rounded(), "flac", source.rate, _LAYOUTS[source.channels - 1], "s32", {}, "flac", {})


def _mp3(source: Source, target: Path, blocks: _Blocks, limit: _Limit, bitrate: int | None) -> _Encoding:
    if source.channels > len(_LAYOUTS):
        raise recording_error(target, f"mp3 holds 2 channels, these are {source.channels}; choose wav")
    rate, channels = source.rate, source.channels
    if channels > 2:
        limit.changes.append(f"mixed down from {channels} channels to stereo, as mp3 holds no more")
        blocks, channels = _mixed_down(blocks, channels), 2
    if rate not in _MP3_RATES:
        rate = 44100 if rate % 11025 == 0 or 44100 % rate == 0 else 48000
        limit.changes.append(f"resampled from {source.rate} to {rate} Hz, as mp3 has no {source.rate} Hz")
        blocks = resampled(blocks, source.rate, rate, channels)
    blocks = map(limit, blocks)
    # Lower rates have no 320 kbit/s, and at fewer LAME lowers the level by 5 %, except at a variable bit rate.
    options = {"b": f"{bitrate or 320}k"} if rate >= 32000 else {"flags": "+qscale", "global_quality": "0"}
    options["compression_level"] = "7"  # LAME's quick way: 0.6 of the time, and the waveform's error is 1 dB smaller
    if rate >= 32000 and bitrate is not None:
        scale = next((scale for highest, scale in _LAME_SCALES.items() if bitrate <= highest), 1.0)
        blocks = (block / np.float32(scale) for block in blocks)
    return _Encoding(blocks, "libmp3lame", rate, _LAYOUTS[channels - 1], "flt", options, "mp3", {"id3v2_version": "3"})


def _mixed_down(blocks: _Blocks, channels: int) -> _Blocks:
    """Blocks mixed to stereo, scaled so that it never exceeds the full scale of the channels."""
    matrix = np.array(_DOWNMIX[channels])
    matrix /= matrix.sum(axis=0).max()
    for block in blocks:
        yield (block @ matrix).astype(np.float32)


def _write(encoding: _Encoding, target: Path, temporary: Path, tags: Mapping[str, str]) -> None:
    """Encode blocks into `temporary`; errors name `target`."""
    with open(temporary, "wb") as file:
        sink = container.Local(file, target)
        exact = {"fflags": "+bitexact", **encoding.header}  # no version of the library
        try:
            with av.open(sink, "w", format=encoding.container, container_options=exact) as output:
                output.metadata.update(tags)
                stream = output.add_stream(encoding.codec, rate=encoding.rate, options=encoding.options)
                assert isinstance(stream, AudioStream)
                context, position = stream.codec_context, 0
                context.layout = encoding.layout
                context.format = "fltp" if encoding.codec == "libmp3lame" else encoding.form
                context.flags |= CodecFlags.bitexact.value
                for block in filter(len, encoding.blocks):
                    output.mux(stream.encode(_frame(block, encoding, position)))
                    position += len(block)
                    sink.check(target)
                output.mux(stream.encode(None))
        except av.FFmpegError as error:
            sink.check(target)
            text = f"can't encode it ({container.words(error)}); nothing was written: choose another format"
            raise recording_error(target, text) from error
        sink.check(target)


def _frame(block: np.ndarray, encoding: _Encoding, position: int) -> AudioFrame:
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(block).reshape(1, -1), encoding.form, encoding.layout)
    frame.sample_rate, frame.pts = encoding.rate, position
    return frame
