"""Write a source as wav, flac, mp3, ogg, opus or m4a, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.codec.context import Flags as CodecFlags

from svs.audio import convert, sources
from svs.audio.reading import container
from svs.audio.sources import Source, WavWriter
from svs.errors import SettingsError, recording_error
from svs.runtime.files import written


class _Lossy(NamedTuple):
    """A lossy format."""

    codec: str
    form: str  # FFmpeg's sample format that the encoder takes
    container: str
    rates: tuple[int, ...]  # Hz; others are resampled to 44,100 or 48,000
    bitrates: tuple[int, int]  # kbit/s of stereo: the lowest and the highest
    bitrate: int | None  # without another one; None: a constant quality


_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_LOSSY = {
    "mp3": _Lossy("libmp3lame", "fltp", "mp3", _RATES, (32, 320), 320),
    "ogg": _Lossy("libvorbis", "fltp", "ogg", (*_RATES, 64000, 88200, 96000, 176400, 192000), (64, 480), None),
    "opus": _Lossy("libopus", "flt", "opus", (48000,), (16, 510), 192),
    "m4a": _Lossy("aac", "fltp", "ipod", (*_RATES, 64000, 88200, 96000), (32, 512), 256),
}
_TAKEN = {kind.codec: kind.form for kind in _LOSSY.values()}
FORMATS = ("wav", "flac", *_LOSSY)
BIT_DEPTHS = {"wav": ("float", "24", "16"), "flac": ("24", "16")}  # of samples, the usual one first
_VORBIS_QUALITY = 8  # of 10: about 256 kbit/s of stereo
_LARGEST_WAV = 2**32 - 2**16  # bytes of samples in a wav with 32-bit sizes
_TAGS = ["title", "artist", "album", "album_artist", "composer", "date", "track", "disc", "genre", "comment"]
_TAGS += ["copyright"]
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
_RF64 = {"rf64": "auto"}  # a wav above 4 GiB


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


def check_format(codec: str, bit_depth: str | None = None, bitrate: int | None = None) -> None:
    """Raise SettingsError unless `encode` can write such a format."""
    if codec not in FORMATS:
        raise SettingsError(f"{codec}: no such format; expected one of {', '.join(FORMATS)}")
    if bit_depth is not None and bit_depth not in (known := BIT_DEPTHS.get(codec, ())):
        problem = f"expected one of {', '.join(known)}" if known else "it has a bit rate instead; leave it out"
        raise SettingsError(f"bit depth {bit_depth} of {codec}: {problem}")
    if bitrate is not None and codec not in _LOSSY:
        raise SettingsError(f"bit rate {bitrate} of {codec}: it loses nothing; expected one of {', '.join(_LOSSY)}")
    if bitrate is not None and not (bounds := _LOSSY[codec].bitrates)[0] <= bitrate <= bounds[1]:
        raise SettingsError(f"bit rate {bitrate} of {codec}: expected {bounds[0]} to {bounds[1]} kbit/s")


def has_full_scale(codec: str, bit_depth: str | None = None) -> bool:
    """Whether a format can't hold samples beyond full scale."""
    return codec != "wav" or bit_depth not in (None, "float")


def encode(
    source: Source,
    target: Path,
    codec: str,
    tags: Mapping[str, str] | None = None,
    *,
    bit_depth: str | None = None,
    bitrate: int | None = None,
    clip: str = "clamp",
    gain: float = 1.0,
) -> list[str]:
    """Write a source times `gain` as one of `FORMATS`, block by block, whole or not at all; it replaces `target`.

    The same samples and tags give the same bytes (with the same PyAV).  SettingsError: as of `check_format`.

    Parameters
    ----------
    source : Source
    target : Path
    codec : str
        One of `FORMATS`: "wav", "flac", "mp3", "ogg" (Vorbis), "opus" or "m4a" (AAC).
    tags : mapping, optional
        Such as `Info.tags`.  Title, artist, album and the like (`_TAGS`) are kept if the format has them.
    bit_depth : str, optional
        One of `BIT_DEPTHS`, by default the first.  Samples are rounded.
    bitrate : int, optional
        kbit/s of a lossy format; see `_LOSSY`.  That of mp3 is constant, so that players seek exactly.
    clip : str
        Samples beyond full scale become full scale ("clamp", with a note) or an error ("error"), except in a float wav.
    gain : float

    Returns
    -------
    list of str
        What had to be changed, in short sentences: clipped samples and their peak, another rate, fewer channels.

    Raises
    ------
    DataError
        The format can't hold the source, the source is empty or has NaN or infinite samples, or the disk is full.
    """
    check_format(codec, bit_depth, bitrate)
    assert clip in CLIPS
    if source.samples == 0:
        raise recording_error(target, "there is not one sample to write")
    kept, blocks = _kept(tags or {}), _blocks(source, target, gain)
    limit = _Limit(target, codec if codec != "wav" else f"wav of {bit_depth} bit", clip)
    try:
        with written(target) as temporary:
            if codec in _LOSSY:
                _write(_lossy(source, target, codec, blocks, limit, bitrate), target, temporary, kept)
            elif has_full_scale(codec, bit_depth):
                _write(_whole(source, target, codec, blocks, limit, bit_depth or "24"), target, temporary, kept)
            else:
                _write_wav(source, blocks, target, temporary, kept)
    except OSError as error:
        raise recording_error(target, f"can't write it ({error.strerror or error}); choose another folder") from error
    return limit.notes()


def _kept(tags: Mapping[str, str]) -> dict[str, str]:
    clean = {key.lower(): value.replace("\0", "") for key, value in tags.items()}
    return {key: clean[key] for key in _TAGS if clean.get(key, "").strip()}


def _blocks(source: Source, target: Path, gain: float) -> _Blocks:
    """All samples of a source times `gain`, block by block; raise DataError if some are not finite."""
    done = 0
    for block in convert.blocks(source, max(sources.BLOCK // (4 * source.channels), 1)):
        bad = sources.first_not_finite(block)
        if bad is not None:
            where = (done + bad) / source.rate
            raise recording_error(target, f"its samples are NaN or infinite at {where:.3f} s; nothing was written")
        done += len(block)
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
            raise recording_error(
                self._target, f"{text}; nothing was written: choose a float wav, a lower level, or clipping"
            )
        self._clipped += int(np.count_nonzero(np.abs(block) > 1.0))
        self._peak = max(self._peak, peak)
        return np.clip(block, -1.0, 1.0)

    def notes(self) -> list[str]:
        of = f"the peak was {self._peak:.2f} times full scale"
        clipped = f"{self._clipped} samples beyond full scale were clipped ({of}; a float wav keeps them)"
        return [*self.changes, clipped] if self._clipped else self.changes


def _write_wav(source: Source, blocks: _Blocks, target: Path, temporary: Path, tags: Mapping[str, str]) -> None:
    if not tags and source.samples * source.channels * 4 <= _LARGEST_WAV:
        with WavWriter(temporary, source.rate, source.channels) as writer:
            for block in blocks:
                writer.write(block)
        return
    encoding = _Encoding(blocks, "pcm_f32le", source.rate, _layout(source), "flt", {}, "wav", _RF64)
    _write(encoding, target, temporary, tags)


def _layout(source: Source) -> str:
    return _LAYOUTS[source.channels - 1] if source.channels <= len(_LAYOUTS) else f"{source.channels}C"


def _rounded(blocks: _Blocks, limit: _Limit, bits: int) -> _Blocks:
    """Blocks as whole numbers: int16, or int32 whose upper 24 bits count."""
    # Rounded here, because FFmpeg only truncates from 32 to 24 bits.
    for block in blocks:
        steps = np.rint(limit(block).astype(np.float64) * 2 ** (bits - 1))
        steps = np.clip(steps, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        yield steps.astype("<i2") if bits == 16 else steps.astype("<i4") << 8


def _whole(source: Source, target: Path, codec: str, blocks: _Blocks, limit: _Limit, bit_depth: str) -> _Encoding:
    # Above 65 kHz flac counts in tens of Hz, and FFmpeg's encoder stops one short.
    highest = 655_350 if source.rate % 10 == 0 else 65_535
    if codec == "flac" and (source.channels > len(_LAYOUTS) or source.rate >= highest):
        raise recording_error(
            target,
            "flac holds 8 channels and 655 kHz (in tens of Hz) at most, these are "
            f"{source.channels} channels at {source.rate} Hz; choose wav",
        )
    # FFmpeg would mix any other layout of as many channels into the one that flac names.
    form, name = f"s{16 if bit_depth == '16' else 32}", "flac" if codec == "flac" else f"pcm_s{bit_depth}le"
    header = _RF64 if codec == "wav" else {}
    return _Encoding(
        _rounded(blocks, limit, int(bit_depth)), name, source.rate, _layout(source), form, {}, codec, header
    )


def _lossy(source: Source, target: Path, codec: str, blocks: _Blocks, limit: _Limit, bitrate: int | None) -> _Encoding:
    kind, rate, channels = _LOSSY[codec], source.rate, source.channels
    if channels > len(_LAYOUTS):
        raise recording_error(target, f"{codec} gets 2 channels at most, these are {channels}; choose wav")
    if channels > 2:
        limit.changes.append(f"mixed down from {channels} channels to stereo, as {codec} gets no more")
        blocks, channels = _mixed_down(blocks, channels), 2
    if rate not in kind.rates:
        rate = 44100 if 44100 in kind.rates and (rate % 11025 == 0 or 44100 % rate == 0) else 48000
        limit.changes.append(f"resampled from {source.rate} to {rate} Hz, as {codec} has no {source.rate} Hz")
        blocks = convert.resampled(blocks, source.rate, rate, channels)
    blocks, wanted, header = map(limit, blocks), bitrate or kind.bitrate, {}
    highest = kind.bitrates[1] if channels == 2 or codec == "mp3" else kind.bitrates[1] // 2
    if wanted is not None and wanted > highest:
        limit.changes.append(f"its bit rate is {highest} kbit/s, as one channel of {codec} has no more")
        wanted = highest
    options = {"b": f"{wanted}k"}
    variable = (codec == "ogg" and rate > 48000) or (codec in ("mp3", "ogg") and rate < 32000)
    if wanted is None or variable:
        # Other rates have fewer bit rates, and at fewer than 320 kbit/s LAME lowers the level by 5 %.
        options = {"flags": "+qscale", "global_quality": "0" if codec == "mp3" else str(118 * _VORBIS_QUALITY)}
        if bitrate is not None:
            limit.changes.append(f"its bit rate is variable instead of {bitrate} kbit/s, as its rate is {rate} Hz")
    elif codec == "mp3":
        scale = next((scale for highest, scale in _LAME_SCALES.items() if wanted <= highest), 1.0)
        blocks = (block / np.float32(scale) for block in blocks)
    if codec == "mp3":
        # LAME's quick way: 0.6 of the time, and the waveform's error is 1 dB smaller.
        options["compression_level"] = "7"
        header["id3v2_version"] = "3"
    return _Encoding(blocks, kind.codec, rate, _LAYOUTS[channels - 1], "flt", options, kind.container, header)


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
                context.format = _TAKEN.get(encoding.codec, encoding.form)
                context.flags |= CodecFlags.bitexact.value
                for block in filter(len, encoding.blocks):
                    output.mux(stream.encode(_frame(block, encoding, position)))
                    position += len(block)
                    sink.check(target)
                output.mux(stream.encode(None))
        except av.FFmpegError as error:
            sink.check(target)
            text = f"can't encode it ({container.words(error)}); nothing was written: choose another format or bit rate"
            raise recording_error(target, text) from error
        sink.check(target)


def _frame(block: np.ndarray, encoding: _Encoding, position: int) -> AudioFrame:
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(block).reshape(1, -1), encoding.form, encoding.layout)
    frame.sample_rate, frame.pts = encoding.rate, position
    return frame
