"""MUSDB18 on disk: find its folder, list its tracks, decode `.stem.mp4` files."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from svs.audio.sources import WavSource
from svs.errors import DataError
from svs.stems import STREAMS

SUFFIX = ".stem.mp4"


@dataclass(frozen=True)
class Candidate:
    """A track on disk that has not been inspected."""

    name: str
    subset: str
    path: Path  # the .stem.mp4, or the folder of wav files

    @property
    def is_stem(self) -> bool:
        return self.path.name.endswith(SUFFIX)

    def files(self) -> list[Path]:
        return [self.path] if self.is_stem else [self.path / f"{name}.wav" for name in STREAMS]


def with_subsets(folder: Path) -> Path:
    """The folder itself, or the first folder in it, that contains train/ and test/."""
    expected = f"{folder}: expected a folder that holds train/ and test/ of MUSDB18 or MUSDB18-HQ"
    if not folder.is_dir():
        raise DataError(f"{expected}; there is no such folder")
    for place in (folder, *sorted(item for item in folder.iterdir() if item.is_dir())):
        if (place / "train").is_dir() and (place / "test").is_dir():
            return place
    found = ", ".join(sorted(item.name for item in folder.iterdir())[:5]) or "nothing"
    raise DataError(f"{expected}; found {found}")


def candidates(folder: Path) -> list[Candidate]:
    """The tracks of a folder that contains train/ and test/, by subset and name."""
    found = []
    for subset in ("train", "test"):
        for item in sorted((folder / subset).iterdir()):
            if item.name.endswith(SUFFIX) and item.is_file():
                found.append(Candidate(item.name.removesuffix(SUFFIX), subset, item))
            elif item.is_dir():
                found.append(Candidate(item.name, subset, item))
    if not found:
        raise DataError(f"{folder}: no tracks; expected train/*{SUFFIX} or train/<track>/mixture.wav")
    if len({candidate.is_stem for candidate in found}) == 2:
        raise DataError(f"{folder}: holds {SUFFIX} files and wav folders together; musdb reads one kind: separate them")
    return found


@contextmanager
def decoded(candidate: Candidate, names: Sequence[str], samples: int | None = None) -> Iterator[dict[str, Path]]:
    """Wav files of the named streams: temporary ones if they had to be decoded (`decode_stems`)."""
    if not candidate.is_stem:
        yield {name: candidate.path / f"{name}.wav" for name in names}
        return
    with tempfile.TemporaryDirectory(prefix="svs-") as folder:
        yield decode_stems(candidate.path, names, Path(folder), samples)


def decode_stems(path: Path, names: Sequence[str], folder: Path, samples: int | None = None) -> dict[str, Path]:
    """Decode streams of a `.stem.mp4` into 16-bit wav files in `folder` (as musdb does).

    Parameters
    ----------
    path : Path
    names : sequence of str
        Of `STREAMS`.
    folder : Path
    samples : int, optional
        Length of each stream, if it was inspected before.  Otherwise ffprobe
        measures it, which takes as long as decoding some seconds.

    Raises
    ------
    DataError
        The file is truncated or hasn't MUSDB18's five streams, ffmpeg is missing, or the disk is full.
    """
    if samples is None:
        seconds, expected = _probed(path)
    else:
        seconds, expected = samples / 44100 * len(names), [samples] * len(STREAMS)
    wavs = {name: folder / f"{name}.wav" for name in names}
    command = ["ffmpeg", "-v", "error", "-nostdin", "-y", "-xerror", "-i", str(path)]
    for name, wav in wavs.items():
        command += ["-map", f"0:a:{STREAMS.index(name)}", "-c:a", "pcm_s16le", "-bitexact", str(wav)]
    try:
        done = subprocess.run(command, capture_output=True)
    except FileNotFoundError:
        raise DataError(f"{path.name}: decoding it needs ffmpeg; run `make setup`") from None
    if done.returncode and b"No space left" in done.stderr:
        raise DataError(
            f"{folder}: the disk is full; decoding {path.name} needs about {seconds * 0.18:.0f} MB; "
            "free some space, or set TMPDIR to another disk"
        )
    if done.returncode:
        raise DataError(f"ffmpeg can't decode {path.name} ({_last_line(done.stderr)}): it is truncated or damaged")
    for name, wav in wavs.items():
        wanted, came = expected[STREAMS.index(name)], WavSource(wav).samples
        if came < wanted - 2048:  # AAC frames are 1024 samples; an edit list may cut up to two
            raise DataError(f"{path.name} is truncated: {name} has {came} of {wanted} samples")
    return wavs


def _probed(path: Path) -> tuple[float, list[int]]:
    """Seconds of all streams together, and samples of each, according to ffprobe."""
    try:
        import stempeg  # looks for ffmpeg and ffprobe at import
    except RuntimeError as error:
        raise DataError(f"{path.name}: decoding it needs ffmpeg and ffprobe ({error}); run `make setup`") from None
    try:
        info = stempeg.Info(str(path))
    except Exception as error:  # ffmpeg-python's own Error, which does not show ffprobe's message
        reason = getattr(error, "stderr", b"") or b""
        raise DataError(f"ffprobe can't read {path.name} ({_last_line(reason)}): it is truncated or no mp4") from None
    if info.nb_audio_streams != len(STREAMS):
        raise DataError(
            f"expected {len(STREAMS)} audio streams ({', '.join(STREAMS)}), {path.name} has {info.nb_audio_streams}"
        )
    return sum(info.duration_streams), [info.samples(index) for index in range(len(STREAMS))]


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "no message"


def musdb_tracks(folder: Path, subset: str | None = None) -> list:
    """The tracks of a folder through the real `musdb` reader (`musdb.DB`)."""
    import musdb

    is_wav = not any(Path(folder).glob(f"*/*{SUFFIX}"))
    return list(musdb.DB(root=os.fspath(folder), is_wav=is_wav, subsets=subset or ["train", "test"]))
