"""Decode MUSDB18's `.stem.mp4` files by ffmpeg, as MUSDB18's own tools do, to the samples that `musdb` reads."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from svs.audio.sources import WavSource
from svs.errors import DataError
from svs.stems import STREAMS

SUFFIX = ".stem.mp4"


def require_ffmpeg() -> None:
    """Raise DataError unless ffmpeg and ffprobe are on the PATH."""
    for program in ("ffmpeg", "ffprobe"):
        if shutil.which(program) is None:
            raise DataError(
                f"reading a data set's .stem.mp4 files needs ffmpeg and ffprobe, there is no {program} on the "
                "PATH; run `make setup`, `apt install ffmpeg` (Debian, Ubuntu) or `brew install ffmpeg`"
            )


def decode_stems(path: Path, names: Sequence[str], folder: Path, seconds: float | None = None) -> dict[str, Path]:
    """Decode streams of a `.stem.mp4` into 16-bit wav files in `folder` (as musdb does).

    Parameters
    ----------
    path : Path
    names : sequence of str
        Of `STREAMS`.
    folder : Path
    seconds : float, optional
        What each stream gave when the file was inspected.  Without it, ffprobe
        is asked first, which takes as long as decoding seconds of audio.

    Raises
    ------
    DataError
        The file is truncated or has other streams than MUSDB18's five, or there is no ffmpeg.
    """
    require_ffmpeg()
    probed = _probed(path) if seconds is None else None
    wavs = {name: folder / f"{name}.wav" for name in names}
    arguments: list[str] = []
    for name, wav in wavs.items():
        # Neither the source's dates nor ffmpeg's version: the bytes are the same on all machines.
        exact = ["-map_metadata", "-1", "-fflags", "+bitexact", "-bitexact"]
        arguments += ["-map", f"0:a:{STREAMS.index(name)}", "-c:a", "pcm_s16le", *exact, str(wav)]
    failed, _, reason = _run("ffmpeg", path, *arguments, before=("-nostdin", "-y", "-xerror"))
    if failed and "No space left" in reason:
        each = max(probed) if probed else 44100 * (seconds or 0)  # samples of four bytes
        raise DataError(
            f"{folder}: the disk is full; {path.name} needs about {len(names) * each * 4e-6:.0f} MB to be decoded; "
            "free some space or set TMPDIR to another disk"
        )
    if failed:
        raise DataError(f"ffmpeg can't decode {path.name} ({reason}): it is truncated or damaged")
    for name, wav in wavs.items():
        source = WavSource(wav)
        wanted = probed[STREAMS.index(name)] if probed else round((seconds or 0) * source.rate)
        came = source.samples
        if came < wanted - 2048:  # AAC frames are 1024 samples; an edit list may cut up to two
            raise DataError(f"{path.name} is truncated: {name} has {came} of {wanted} samples")
    return wavs


def _probed(path: Path) -> list[int]:
    """Samples of each stream, as ffprobe says."""
    wanted = ("-select_streams", "a", "-show_entries", "stream=duration_ts")
    failed, output, reason = _run("ffprobe", path, "-of", "json", *wanted)
    if failed:
        raise DataError(f"ffprobe can't read {path.name} ({reason}): it is truncated or no mp4")
    streams = json.loads(output)["streams"]
    if len(streams) != len(STREAMS):
        raise DataError(f"expected {len(STREAMS)} audio streams ({', '.join(STREAMS)}), {path.name} has {len(streams)}")
    return [int(stream["duration_ts"]) for stream in streams]


def _run(program: str, path: Path, *arguments: str, before: Sequence[str] = ()) -> tuple[int, bytes, str]:
    """Run ffmpeg or ffprobe on a local file, and nothing elsewhere that it points to.

    Returns its exit status, its output, and its last message (or that of a full disk) without the name of the file.
    """
    command = [program, "-v", "error", *before, "-protocol_whitelist", "file,pipe", "-i", f"file:{path}", *arguments]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
    text = done.stderr.decode(errors="replace").replace(f"file:{path}: ", "")
    lines = [re.sub(r"^\[[^]]* @ 0x[0-9a-f]+\] *", "", line.strip()) for line in text.splitlines() if line.strip()]
    full = [line for line in lines if "No space left" in line]
    return done.returncode, done.stdout, (full or lines or ["it gives no reason"])[-1][:200]
