"""Spleeter, 2 stems: a U-Net that Deezer trained (Hennequin et al. 2020).

Spleeter's pins exclude ours, so it lives in an environment of its own, made on
demand by `tools/spleeter.sh`.  Its network answers from a process there
(`svs.separators.spleeter_worker`), which loads the checkpoint once.

The network sees a song in segments of 512 frames (11.9 s) and nothing beyond
a segment, so where segments begin is part of the estimate.  Here they begin
where spleeter begins them: every 512 frames of the song.  Chunks begin there
too, and what a segment adds to the estimate does not depend on the chunk it
is computed in.  At rates at which 512 frames are no whole number of samples
(48 kHz, say) a segment begins every 441 frames instead, which they are, and
35 or 36 frames at its ends are not used.
"""

from __future__ import annotations

import contextlib
import lzma
import math
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from svs.audio.convert import resample
from svs.config.paths import PACKAGE
from svs.config.schema import Group, Settings
from svs.data import pretrained
from svs.errors import SVSError, UnavailableError
from svs.runtime.files import sha256, written
from svs.runtime.process import unbroken
from svs.runtime.worker import Worker
from svs.separators.base import Separator, in_pairs
from svs.separators.method import Kind, Method

# The checksum is spleeter's own (its tests compare it with the release's checksum.json).
ARCHIVE = pretrained.Remote(
    "2stems.tar.gz",
    "https://github.com/deezer/spleeter/releases/download/v1.4.0/2stems.tar.gz",
    "f3a90b39dd2874269e8b05a48a86745df897b848c61f3958efc80a39152bd692",
)
_LARGEST = 1 << 30  # bytes that an archive may unpack to; Deezer's: 80 MB
_MEMBERS = 100

# Spleeter's 2stems.json.
RATE = 44100  # Hz
_FRAME, _STEP = 4096, 1024  # samples of its STFT
_SEGMENT = 512  # frames that the network sees at a time
_SHORT = 441  # frames between segments where 512 won't do: 441 x 1024 samples are 10.24 s
_SAMPLES = _FRAME + _STEP * (_SEGMENT - 1)  # of a segment
_ROUNDING = 1e-5  # of full scale
# What glibc's malloc gives back to the system at once, so that the worker holds 80 MB less; elsewhere it says nothing.
_FRUGAL = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "1000000", "MALLOC_TRIM_THRESHOLD_": "1000000"}
_DIED_AWAY = RATE // 20  # samples (50 ms) after which the resampling filter has died away


class Options(Group):
    """Spleeter, 2 stems: where it lives, and how its two spectrograms become a mask."""

    environment: Path
    install: bool
    separation_exponent: Annotated[float, Field(gt=0, le=8)]
    mask_extension: Literal["zeros", "average"]


class Spleeter(Separator):
    """Parameters
    ----------
    worker : Worker
        The network (`svs.separators.spleeter_worker`); ended with this object.
    """

    name = "spleeter"
    uses_all_cores = True

    def __init__(self, worker: Worker):
        self.worker = worker
        # The last segments of a chunk are the first of the next one.
        self._kept: list[tuple[np.ndarray, np.ndarray]] = []

    def close(self) -> None:
        """End the worker."""
        self.worker.close()

    def alignment(self, rate: int) -> int:
        # Frames that are a whole number of samples at both rates: a divisor of 11,025.
        unit = RATE // math.gcd(RATE, _STEP * rate)
        return math.lcm(_advance(rate), unit) * _STEP * rate // RATE

    def context(self, rate: int) -> int:
        whole = RATE // math.gcd(RATE, rate)  # so many of our samples are a whole number of the recording's
        samples = _SEGMENT * _STEP + _FRAME + _DIED_AWAY
        return -(-samples // whole) * whole * rate // RATE

    def vocals(
        self,
        mixture: np.ndarray,
        rate: int,
        references: Mapping[str, np.ndarray] | None = None,
        wanted: slice | None = None,
    ) -> np.ndarray:
        """As for every method; where `wanted` begins must be on a multiple of `alignment` in the song."""
        audio = resample(mixture, rate, RATE)
        start, stop = (wanted.start, wanted.stop) if wanted else (0, len(mixture))
        whole = RATE // math.gcd(RATE, rate)
        margin = 0 if rate == RATE else -(-_DIED_AWAY // whole) * whole
        origin = round(start * RATE / rate)  # here a segment begins
        first, last = max(0, origin - margin), min(len(audio), math.ceil(stop * RATE / rate) + margin)
        kept: list[tuple[np.ndarray, np.ndarray]] = []
        # Two chunks that were resampled differ by rounding where they are the same.
        same = 0.0 if rate == RATE else _ROUNDING

        def of_pair(pair: np.ndarray) -> np.ndarray:
            return self._estimate(pair, origin, first, last, _advance(rate), same, kept)

        estimate = in_pairs(of_pair, audio)
        self._kept = kept
        begin = first * rate // RATE
        back = resample(np.ascontiguousarray(estimate), RATE, rate)[: len(mixture) - begin]
        vocals = np.zeros_like(mixture, dtype=np.float32)
        vocals[begin : begin + len(back)] = back
        return vocals

    def _estimate(
        self,
        audio: np.ndarray,
        origin: int,
        first: int,
        last: int,
        advance: int,
        same: float,
        kept: list[tuple[np.ndarray, np.ndarray]],
    ) -> np.ndarray:
        """Vocals of samples [first, last) of stereo audio at 44.1 kHz.

        Frame f of the song, counted from `origin`, holds the samples before f x 1024; segment s
        gives frames [s x advance, (s + 1) x advance) and sees as many more as are left of 512, half
        of them on either side.
        """
        lead = (_SEGMENT - advance) // 2
        earlier = len(kept)
        sum_of_frames = np.zeros((last - first, 2), dtype=np.float32)
        for segment in range(
            ((first - origin) // _STEP + 1) // advance, ((last - 1 - origin) // _STEP + _FRAME // _STEP) // advance + 1
        ):
            frame = segment * advance
            content = _cut(audio, origin + (frame - lead) * _STEP - _FRAME, _SAMPLES)
            answer = next((answer for known, answer in self._kept if np.abs(known - content).max() <= same), None)
            if answer is None:
                said = self.worker.ask(lead, lead + advance, content.astype("<f4", copy=False).tobytes())
                answer = np.frombuffer(said, "<f4").reshape(_FRAME + _STEP * (advance - 1), 2)
            kept.append((content, answer))
            where = origin + frame * _STEP - _FRAME
            begin, end = max(first, where), min(last, where + len(answer))
            if begin < end:
                sum_of_frames[begin - first : end - first] += answer[begin - where : end - where]
        del kept[earlier:-2]
        return sum_of_frames


def _advance(rate: int) -> int:
    """Frames from one segment to the next."""
    return _SEGMENT if _STEP * rate % RATE == 0 else _SHORT


def _cut(audio: np.ndarray, start: int, samples: int) -> np.ndarray:
    """Samples from `start` on, which may lie before the audio or beyond it: there it is silent."""
    piece = np.zeros((samples, 2), dtype=np.float32)
    begin, end = max(0, start), min(len(audio), start + samples)
    if begin < end:
        piece[begin - start : end - start] = audio[begin:end]
    return piece


# The checkpoint


def checkpoint(folder: Path) -> Path:
    """The checkpoint that the file `checkpoint` in a folder names, as TensorFlow wants it: without a suffix.

    Raises
    ------
    UnavailableError
        Something of it is missing.  (Spleeter itself would go on with random weights.)
    """
    folder = Path(folder)
    complaint = f"spleeter: {folder} holds no whole model"
    advice = f"; put {ARCHIVE.name} or what is in it there (models/weights/spleeter/README.md)"
    try:
        text = (folder / "checkpoint").read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UnavailableError(f"{complaint}: the file checkpoint is missing{advice}") from None
    except (OSError, UnicodeDecodeError):
        raise UnavailableError(f"{complaint}: the file checkpoint can't be read{advice}") from None
    named = re.search(r'^model_checkpoint_path:\s*"([^"]+)"', text, re.MULTILINE)
    # Where a model was trained, the path may have been another: its files lie beside `checkpoint`.
    name = PurePosixPath(named[1]).name if named else ""
    if name in ("", ".."):
        raise UnavailableError(f"{complaint}: the file checkpoint names no model{advice}")
    shards = sorted(item.name for item in folder.glob(f"{name}.data-*-of-*"))
    count = int(match[1]) if shards and (match := re.search(r"-of-(\d{5})$", shards[0])) else 1
    expected = [f"{name}.index", *(f"{name}.data-{shard:05d}-of-{count:05d}" for shard in range(min(count, _MEMBERS)))]
    missing = [item for item in expected if not (folder / item).is_file() or not (folder / item).stat().st_size]
    if missing:
        raise UnavailableError(f"{complaint}: {', '.join(missing)} missing or empty{advice}")
    return folder / name


def find(folder: Path, *, download: bool = True) -> Path:
    """The checkpoint: unpacked in `folder` or in `folder/2stems`, or from the archive there, cached, or downloaded.

    Raises
    ------
    UnavailableError
        There is none, it is not whole, or the archive is not what it should be.
    """
    folder = Path(folder)
    if (folder / "2stems").is_dir():
        return checkpoint(folder / "2stems")
    if any(next(folder.glob(pattern), None) for pattern in ("checkpoint", "*.index", "*.data-*-of-*")):
        return checkpoint(folder)
    (archive,) = pretrained.find_weights(Spleeter.name, [ARCHIVE], folder, download=download)
    unpacked = pretrained.cache() / Spleeter.name / f"2stems-{sha256([archive])[:16]}"
    with contextlib.suppress(UnavailableError):
        return checkpoint(unpacked)
    try:
        with written(unpacked) as temporary:
            unpack(archive, temporary)
            checkpoint(temporary)
    except (SVSError, OSError) as error:
        if isinstance(error, UnavailableError):
            raise UnavailableError(str(error).replace(str(temporary), str(archive))) from None
        raise UnavailableError(
            f"spleeter: {archive} could not be unpacked into {unpacked}: {' '.join(str(error).split())}"
        ) from None
    return checkpoint(unpacked)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack the files of a model into a new folder.

    Files may lie in the archive itself or in folders (spleeter's: in itself); here they
    lie beside each other.  (tarfile's own filter is not in every Python 3.11.)

    Raises
    ------
    UnavailableError
        The archive is damaged, holds a link, a device or a path that leads elsewhere, or too much.
    """
    folder.mkdir(parents=True)
    try:
        with tarfile.open(archive, "r:*") as tar:
            size = 0
            for number, member in enumerate(tar):
                path = PurePosixPath(member.name)
                size += member.size
                if path.is_absolute() or ".." in path.parts or "\\" in member.name or "\0" in member.name:
                    raise UnavailableError(f"spleeter: {archive}: the path {member.name!r} leads out of the archive")
                if member.isdir():
                    continue
                if not member.isreg() or member.issparse():
                    raise UnavailableError(f"spleeter: {archive}: {member.name!r} is no plain file")
                if size > _LARGEST or number >= _MEMBERS:
                    raise UnavailableError(f"spleeter: {archive}: more than {_MEMBERS} files or {_LARGEST >> 20} MiB")
                if path.name.startswith("."):  # macOS puts files of its own beside every other
                    continue
                try:
                    with tar.extractfile(member) as source, open(folder / path.name, "xb") as target:
                        shutil.copyfileobj(source, target, 1 << 20)
                except FileExistsError:
                    raise UnavailableError(f"spleeter: {archive}: two files are called {path.name!r}") from None
            # What is compressed ends with a checksum, beyond where a tar archive ends.
            while size <= _LARGEST and (rest := tar.fileobj.read(1 << 20)):
                size += len(rest)
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
        raise UnavailableError(
            f"spleeter: {archive}: expected a tar archive, could not read it "
            f"({' '.join(str(error).split())}); get it again from {ARCHIVE.url}"
        ) from None
    except OSError as error:
        if error.errno is not None:  # the disk's; without a number it is gzip's
            raise
        raise UnavailableError(f"spleeter: {archive}: damaged ({error}); get it again from {ARCHIVE.url}") from None


# The environment


def environment(options: Options, root: Path = PACKAGE.parent) -> Path:
    """The Python of spleeter's own environment, made if it is missing.

    Parameters
    ----------
    options : Options
    root : Path
        The repository: a relative `environment` lies there, and so does `tools/spleeter.sh`.

    Raises
    ------
    UnavailableError
        It is not there and can't be, or may not be, made.
    """
    folder, script = root / options.environment, root / "tools" / "spleeter.sh"
    python = folder / "bin" / "python"
    if not script.is_file():
        if python.is_file():
            return python
        raise UnavailableError(
            f"spleeter: its own environment {folder} is missing, and so is {script} that makes it; "
            "use svs from its repository"
        )
    if subprocess.run([script, "--check", folder], capture_output=True).returncode == 0:
        return python
    command = "make spleeter" if options.environment == Path(".venv-spleeter") else f"tools/spleeter.sh {folder}"
    command = f"`{command}` in {root} makes it (2.4 GB)"
    if os.environ.get("SVS_OFFLINE", "0") not in ("", "0") or not options.install:
        why = "SVS_OFFLINE is set" if options.install else "separate.spleeter.install is false"
        raise UnavailableError(
            f"spleeter: its own environment {folder} is missing or out of date, and {why}; {command}"
        )
    said = "nothing on standard error"
    with unbroken(lambda: process.terminate()):
        process = subprocess.Popen(
            [script, folder], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
        )
    with process:
        try:
            for line in process.stderr:
                said = line.strip() or said
                print(line, end="", file=sys.stderr, flush=True)
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise UnavailableError(
            f"spleeter: its own environment could not be made: {said.removeprefix('svs setup: ')}; {command}"
        )
    return python


def build(name: str, options: Options, needs: Path, settings: Settings) -> Spleeter:
    model = find(needs).absolute()
    python = environment(options)
    program = PACKAGE / "separators" / "spleeter_worker.py"
    try:
        worker = Worker(
            "spleeter",
            [str(python), "-I", str(program), str(model), repr(options.separation_exponent), options.mask_extension],
            environment=_FRUGAL,
        )
    except SVSError as error:
        raise UnavailableError(f"{error} (while it loaded {model})") from None
    return Spleeter(worker)


METHODS = {"spleeter": Method(Kind.PRETRAINED, "spleeter 2 stems: U-Net, pretrained by Deezer", Options, build)}
