"""Write a source as wav, flac or mp3, whole or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from svs.audio.decode import _BLOCK, TOLERANCE, seconds_in
from svs.audio.ffmpeg import Running, recording_error, require_ffmpeg
from svs.audio.sources import Source, WavWriter
from svs.runtime.files import written

FORMATS = ("wav", "flac", "mp3")
_LARGEST_WAV = 2**32 - 2**16  # bytes of samples in a wav with 32-bit sizes
_TAGS = (
    "title",
    "artist",
    "album",
    "album_artist",
    "composer",
    "date",
    "track",
    "disc",
    "genre",
    "comment",
    "copyright",
)
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
# What LAME multiplies samples by at constant bit rates (kbit/s) up to these; above, nothing.
_LAME_SCALES = {160: 0.95, 192: 0.97, 224: 0.98}
_LAYOUTS = ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1")  # the only ones that flac names
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


def encode(
    source: Source, target: Path, codec: str, tags: Mapping[str, str] | None = None, *, bitrate: int | None = None
) -> list[str]:
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
                encoder = {"wav": _encode_wav, "flac": _encode_flac, "mp3": partial(_encode_mp3, bitrate=bitrate)}
                encoder[codec](source, target, temporary, kept, notes)
    except OSError as error:
        raise recording_error(target, f"can't write it ({error.strerror or error}); choose another folder") from error
    return notes


def _blocks(source: Source, target: Path) -> Iterator[np.ndarray]:
    """All samples of a source, block by block, each looked at."""
    step = max(_BLOCK // (4 * source.channels), 1)
    for start, stop in pairwise([*range(0, source.samples, step), source.samples]):
        block = source.read(start, stop)
        finite = np.isfinite(block)
        if not finite.all():
            where = (start + int(np.argmin(finite.all(axis=1)))) / source.rate
            raise recording_error(target, f"its samples are NaN or infinite at {where:.3f} s; nothing was written")
        yield block


def _encode_wav(source: Source, target: Path, temporary: Path, tags: dict[str, str], notes: list[str]) -> None:
    _pipe(
        _blocks(source, target),
        target,
        temporary,
        tags,
        source.rate,
        source.channels,
        output=["-c:a", "pcm_f32le", "-rf64", "auto", "-f", "wav"],
    )


def _encode_flac(source: Source, target: Path, temporary: Path, tags: dict[str, str], notes: list[str]) -> None:
    # Above 65 kHz flac counts in tens of Hz, and ffmpeg's encoder stops one short.
    if source.channels > len(_LAYOUTS) or source.rate >= (655_350 if source.rate % 10 == 0 else 65_535):
        raise recording_error(
            target,
            "flac holds 8 channels and 655 kHz (in tens of Hz) at most, these are "
            f"{source.channels} channels at {source.rate} Hz; choose wav",
        )
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
    _pipe(
        rounded(),
        target,
        temporary,
        tags,
        source.rate,
        source.channels,
        sample="s32le",
        layout=layout,
        output=["-c:a", "flac", "-sample_fmt", "s32", "-bits_per_raw_sample", "24", "-f", "flac"],
    )
    if clipped:
        notes.append(f"{clipped} samples beyond full scale were clipped (wav keeps them)")


def _encode_mp3(
    source: Source, target: Path, temporary: Path, tags: dict[str, str], notes: list[str], bitrate: int | None = None
) -> None:
    if source.channels > max(_DOWNMIX):
        raise recording_error(target, f"mp3 holds 2 channels, these are {source.channels}; choose wav")
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
    _pipe(
        blocks,
        target,
        temporary,
        tags,
        rate,
        channels,
        output=["-c:a", "libmp3lame", *quality, "-id3v2_version", "3", "-f", "mp3"],
    )


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


def _pipe(
    blocks: Iterator[np.ndarray],
    target: Path,
    temporary: Path,
    tags: Mapping[str, str],
    rate: int,
    channels: int,
    output: list[str],
    sample: str = "f32le",
    layout: Sequence[str] = (),
) -> None:
    """Blocks (samples, channels) through ffmpeg into `temporary`; errors speak of `target`."""
    metadata = [text for key, value in tags.items() for text in ("-metadata", f"{key}={value}")]
    arguments = [
        "-xerror",
        "-f",
        sample,
        "-ar",
        str(rate),
        "-ac",
        str(channels),
        *layout,
        "-i",
        "pipe:0",
        *metadata,
        "-fflags",
        "+bitexact",
        "-flags:a",
        "+bitexact",
        *output,
        f"file:{temporary}",
    ]
    running = Running(arguments, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    dtype = {"f32le": "<f4", "s32le": "<i4"}[sample]
    count = 0
    try:
        try:
            for block in blocks:
                running.process.stdin.write(np.ascontiguousarray(block, dtype=dtype))
                count += len(block)
            running.process.stdin.close()
        except BrokenPipeError:  # ffmpeg has ended; what it said tells why
            pass
        if running.ended() or not temporary.is_file():
            if running.full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # `written` says how much there is
            raise recording_error(target, f"ffmpeg can't write it ({running.words(temporary)}); nothing was written")
    finally:
        running.stop()
    stated = seconds_in(temporary)
    if abs(stated * rate - count) > 2 * TOLERANCE:
        raise recording_error(
            target, f"expected {count / rate:.2f} s, ffmpeg wrote {stated:.2f} s: nothing was written; run again"
        )
