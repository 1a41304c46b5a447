"""Write a source as wav, flac or mp3, whole or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np

from svs.audio import sources
from svs.audio.ffmpeg import Running, recording_error, require_ffmpeg
from svs.audio.sources import Source, WavWriter
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
# Blocks (samples, channels) of float32 or int32, and ffmpeg's options for them as its input, and for its output.
_Encoding = tuple[Iterator[np.ndarray], list[str], list[str]]


def encode(
    source: Source, target: Path, codec: str, tags: Mapping[str, str] | None = None, *, bitrate: int | None = None
) -> list[str]:
    """Write a source as wav, flac or mp3, block by block, whole or not at all.

    The same samples and tags give the same bytes (with the same ffmpeg).

    Parameters
    ----------
    source : Source
    target : Path
        Replaced if it exists.
    codec : str
        "wav" (32-bit float), "flac" (24 bit) or "mp3" (320 kbit/s; below 32 kHz the best variable bit rate).
    tags : mapping, optional
        Such as `Info.tags`.  Title, artist, album, date, track, genre, comment and the like are kept if the format
        has them; all others (the encoder's name, a replay gain) are left out.
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
        raise recording_error(target, "there is not one sample to write")
    kept = {key.lower(): value.replace("\0", "") for key, value in (tags or {}).items()}
    kept = {key: kept[key] for key in _TAGS if kept.get(key, "").strip()}
    notes: list[str] = []
    plain = codec == "wav" and not kept and source.samples * source.channels * 4 <= _LARGEST_WAV
    if not plain:
        require_ffmpeg()
    try:
        with written(target) as temporary:
            if plain:
                with WavWriter(temporary, source.rate, source.channels) as writer:
                    for block in _blocks(source, target):
                        writer.write(block)
            else:
                _pipe(_encoding(source, target, codec, notes, bitrate), target, temporary, kept)
    except OSError as error:
        raise recording_error(target, f"can't write it ({error.strerror or error}); choose another folder") from error
    return notes


def _blocks(source: Source, target: Path) -> Iterator[np.ndarray]:
    """All samples of a source, block by block; raise DataError if some are not finite."""
    step = max(sources.BLOCK // (4 * source.channels), 1)
    for start, stop in pairwise([*range(0, source.samples, step), source.samples]):
        block = np.asarray(source.read(start, stop), dtype="<f4")
        bad = sources.first_not_finite(block)
        if bad is not None:
            where = (start + bad) / source.rate
            raise recording_error(target, f"its samples are NaN or infinite at {where:.3f} s; nothing was written")
        yield block


def _encoding(source: Source, target: Path, codec: str, notes: list[str], bitrate: int | None) -> _Encoding:
    if codec == "flac":
        return _flac(source, target, notes)
    if codec == "mp3":
        return _mp3(source, target, notes, bitrate)
    raw = ["-f", "f32le", "-ar", str(source.rate), "-ac", str(source.channels)]
    return _blocks(source, target), raw, ["-c:a", "pcm_f32le", "-rf64", "auto", "-f", "wav"]


def _flac(source: Source, target: Path, notes: list[str]) -> _Encoding:
    # Above 65 kHz flac counts in tens of Hz, and ffmpeg's encoder stops one short.
    if source.channels > len(_LAYOUTS) or source.rate >= (655_350 if source.rate % 10 == 0 else 65_535):
        raise recording_error(
            target,
            "flac holds 8 channels and 655 kHz (in tens of Hz) at most, these are "
            f"{source.channels} channels at {source.rate} Hz; choose wav",
        )

    def rounded() -> Iterator[np.ndarray]:
        # Rounded here, because ffmpeg only truncates from 32 to 24 bits.
        clipped = 0
        for block in _blocks(source, target):
            clipped += int(np.count_nonzero(np.abs(block) > 1.0))
            steps = np.rint(block.astype(np.float64) * 2**23)
            yield (np.clip(steps, -(2**23), 2**23 - 1).astype("<i4")) << 8
        if clipped:
            notes.append(f"{clipped} samples beyond full scale were clipped (wav keeps them)")

    # ffmpeg would mix any other layout of as many channels into the one that the format names.
    raw = ["-f", "s32le", "-ar", str(source.rate), "-ac", str(source.channels)]
    raw += ["-channel_layout", _LAYOUTS[source.channels - 1]]
    return rounded(), raw, ["-c:a", "flac", "-sample_fmt", "s32", "-bits_per_raw_sample", "24", "-f", "flac"]


def _mp3(source: Source, target: Path, notes: list[str], bitrate: int | None) -> _Encoding:
    if source.channels > len(_LAYOUTS):
        raise recording_error(target, f"mp3 holds 2 channels, these are {source.channels}; choose wav")
    blocks, rate, channels = _blocks(source, target), source.rate, source.channels
    output = ["-c:a", "libmp3lame", "-id3v2_version", "3", "-f", "mp3"]
    if channels > 2:
        notes.append(f"mixed down from {channels} channels to stereo, as mp3 holds no more")
        blocks, channels = _mixed_down(blocks, channels), 2
    if rate not in _MP3_RATES:
        rate = 44100 if rate % 11025 == 0 or 44100 % rate == 0 else 48000
        notes.append(f"resampled from {source.rate} to {rate} Hz, as mp3 has no {source.rate} Hz")
        blocks = _resampled(blocks, source.rate, rate, channels)
    # Lower rates have no 320 kbit/s, and at fewer LAME lowers the level by 5 %, except at a variable bit rate.
    output += ["-b:a", f"{bitrate or 320}k"] if rate >= 32000 else ["-q:a", "0"]
    if rate >= 32000 and bitrate is not None:
        scale = next((scale for highest, scale in _LAME_SCALES.items() if bitrate <= highest), 1.0)
        blocks = (block / np.float32(scale) for block in blocks)
    return blocks, ["-f", "f32le", "-ar", str(rate), "-ac", str(channels)], output


def _mixed_down(blocks: Iterator[np.ndarray], channels: int) -> Iterator[np.ndarray]:
    """Blocks mixed to stereo, scaled so that it never exceeds the full scale of the channels."""
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


def _pipe(encoding: _Encoding, target: Path, temporary: Path, tags: Mapping[str, str]) -> None:
    """Send blocks through ffmpeg into `temporary`; errors name `target`."""
    blocks, raw, output = encoding
    arguments = ["-xerror", *raw, "-i", "pipe:0"]
    arguments += [text for key, value in tags.items() for text in ("-metadata", f"{key}={value}")]
    arguments += ["-fflags", "+bitexact", "-flags:a", "+bitexact", *output, f"file:{temporary}"]
    with Running(arguments, stdin=subprocess.PIPE) as running:
        assert running.process.stdin is not None
        complete = False
        with suppress(BrokenPipeError):  # ffmpeg has ended; its messages say why
            for block in blocks:
                running.process.stdin.write(block.tobytes())
            running.process.stdin.close()
            complete = True
        if running.ended() or not complete:
            if running.full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # `written` says how much is free
            raise recording_error(target, f"ffmpeg can't write it ({running.words(temporary)}); nothing was written")
