"""MUSDB18 on disk: find its folder, list its tracks, decode `.stem.mp4` files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from svs.audio.sources import WavSource
from svs.data import ffmpeg
from svs.errors import DataError
from svs.runtime.files import is_foreign
from svs.stems import STREAMS

SUFFIX = ".stem.mp4"
_ALIKE = (".wav", ".flac", ".mp3", ".mp4", ".m4a", ".ogg")  # a file of audio that is no track


@dataclass(frozen=True)
class Candidate:
    """A track as found on disk, before anybody looked into it."""

    name: str
    subset: str
    path: Path  # the .stem.mp4, or the folder of wav files
    problem: str = ""  # why it can't be a track, if its name shows that

    @property
    def is_stem(self) -> bool:
        return self.path.name.endswith(SUFFIX)

    def files(self) -> list[Path]:
        return [self.path] if self.is_stem else [self.path / f"{name}.wav" for name in STREAMS]


def with_subsets(folder: Path) -> Path:
    """The folder itself, or the only folder in it, that holds train/ and test/."""
    folder = Path(folder)
    items = sorted(folder.iterdir()) if folder.is_dir() else []
    for place in (folder, *items):
        if (place / "train").is_dir() and (place / "test").is_dir():
            return place
    found = ", ".join(item.name for item in items[:5]) or "nothing"
    came = f"found {found}" if folder.is_dir() else "there is no such folder"
    raise DataError(f"{folder}: expected a folder that holds train/ and test/ of MUSDB18 or MUSDB18-HQ; {came}")


def candidates(folder: Path) -> list[Candidate]:
    """What looks like a track in `train` and `test` of a folder; raise DataError if there is none, or both layouts."""
    found, _ = entries(folder)
    if not found:
        raise DataError(f"{folder}: no tracks; expected train/*{SUFFIX} or train/<track>/mixture.wav")
    there = [one for one in found if not one.problem and any(file.is_file() for file in one.files())]
    if len({candidate.is_stem for candidate in there}) == 2:
        raise DataError(f"{folder}: holds {SUFFIX} files and wav folders together; musdb reads one kind: separate them")
    return found


def entries(folder: Path) -> tuple[list[Candidate], list[Path]]:
    """What looks like a track in `train` and `test` of a folder, and the rest: what systems leave, texts, pictures."""
    found, foreign = [], []
    for subset in ("train", "test"):
        for item in sorted((folder / subset).iterdir()):
            if is_foreign(item.name):
                foreign.append(item)
            elif item.name.endswith(SUFFIX) and item.is_file():
                found.append(Candidate(item.name.removesuffix(SUFFIX), subset, item))
            elif item.is_dir() and not item.name.endswith(SUFFIX):
                found.append(Candidate(item.name, subset, item))
            elif SUFFIX in item.name.lower() or item.suffix.lower() in _ALIKE or not item.exists():
                kind = "folder" if item.is_dir() else "file" if item.exists() else "link to nothing"
                wanted = f"expected NAME{SUFFIX} or a folder of wav files"
                found.append(Candidate(item.name, subset, item, f"{wanted}, this is a {kind} called {item.name}"))
            else:
                foreign.append(item)
    return found, foreign


@contextmanager
def decoded(candidate: Candidate, names: Sequence[str], samples: int | None = None) -> Iterator[dict[str, Path]]:
    """Wav files of the named streams, of `samples` samples where that is known; temporary ones where they had to be
    decoded."""
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
        What each stream gave when the file was inspected.  Without it, ffprobe
        is asked first, which takes as long as decoding seconds of audio.

    Raises
    ------
    DataError
        The file is truncated or has other streams than MUSDB18's five, or there is no ffmpeg.
    """
    ffmpeg.require_ffmpeg()
    expected = _probed(path) if samples is None else [samples] * len(STREAMS)
    wavs = {name: folder / f"{name}.wav" for name in names}
    arguments: list[str] = []
    for name, wav in wavs.items():
        # Neither the source's dates nor ffmpeg's version: the bytes are the same on all machines.
        exact = ["-map_metadata", "-1", "-fflags", "+bitexact", "-bitexact"]
        arguments += ["-map", f"0:a:{STREAMS.index(name)}", "-c:a", "pcm_s16le", *exact, str(wav)]
    failed, _, reason = ffmpeg.run("ffmpeg", path, *arguments, before=("-nostdin", "-y", "-xerror"))
    if failed and "No space left" in reason:
        raise DataError(
            f"{folder}: the disk is full; {path.name} needs about {sum(expected) * 4e-6:.0f} MB to be decoded; "
            "free some space or set TMPDIR to another disk"
        )
    if failed:
        raise DataError(f"ffmpeg can't decode {path.name} ({reason}): it is truncated or damaged")
    for name, wav in wavs.items():
        wanted, came = expected[STREAMS.index(name)], WavSource(wav).samples
        if came < wanted - 2048:  # AAC frames are 1024 samples; an edit list may cut up to two
            raise DataError(f"{path.name} is truncated: {name} has {came} of {wanted} samples")
    return wavs


def _probed(path: Path) -> list[int]:
    """Samples of each stream, as ffprobe says."""
    content, reason = ffmpeg.ffprobe(path)
    if not content:
        raise DataError(f"ffprobe can't read {path.name} ({reason}): it is truncated or no mp4")
    streams = [stream for stream in content["streams"] if stream["codec_type"] == "audio"]
    if len(streams) != len(STREAMS):
        raise DataError(f"expected {len(STREAMS)} audio streams ({', '.join(STREAMS)}), {path.name} has {len(streams)}")
    return [int(stream["duration_ts"]) for stream in streams]
