"""Spleeter, 2 stems: a U-Net that Deezer trained (Hennequin et al. 2020).

Spleeter's pinned dependencies exclude ours, so it has an environment of its own, which `tools/spleeter.sh` makes on
demand.  Its network runs there in a process (`svs.separators.spleeter_worker`) that loads the checkpoint once.

The network sees a song in segments of 512 frames (11.9 s) and nothing beyond a segment, so the estimate depends on
where segments begin.  Here they begin where spleeter begins them: every 512 frames of the song.  Chunks begin there
too, and what a segment adds to the estimate does not depend on the chunk in which it is computed.
"""

from __future__ import annotations

import contextlib
import gzip
import re
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from svs.config.paths import PACKAGE
from svs.config.schema import Group, Settings
from svs.data import pretrained
from svs.errors import SVSError, UnavailableError
from svs.runtime.download import offline
from svs.runtime.files import sha256, written
from svs.runtime.worker import Worker
from svs.separators.base import Separator, Stems, in_pairs
from svs.separators.method import Kind, Method

# The checksum is spleeter's own (its tests compare it with the release's checksum.json).
ARCHIVE = pretrained.Remote(
    "2stems.tar.gz",
    "https://github.com/deezer/spleeter/releases/download/v1.4.0/2stems.tar.gz",
    "f3a90b39dd2874269e8b05a48a86745df897b848c61f3958efc80a39152bd692",
)

# Spleeter's 2stems.json.
RATE = 44100  # Hz
_FRAME, _STEP = 4096, 1024  # samples of its STFT
_SEGMENT = 512  # frames that the network sees at a time
_SAMPLES = _FRAME + _STEP * (_SEGMENT - 1)  # of a segment
# glibc's malloc then returns memory to the system at once: the worker holds 80 MB less.
_FRUGAL = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "1000000", "MALLOC_TRIM_THRESHOLD_": "1000000"}


class Options(Group):
    """Spleeter, 2 stems: its environment, and how its two spectrograms become a mask."""

    environment: Path
    install: bool
    separation_exponent: Annotated[float, Field(gt=0, le=8)]
    mask_extension: Literal["zeros", "average"]


class Spleeter(Separator):
    """Parameters
    ----------
    worker : Worker
        The network (`svs.separators.spleeter_worker`), which ends with this object.
    """

    name = "spleeter"
    uses_all_cores = True
    sample_rate = RATE

    def __init__(self, worker: Worker):
        self.worker = worker
        # The last two segments of each pair of channels, with their answers: the next chunk begins with them.
        self._known: list[tuple[np.ndarray, np.ndarray]] = []
        self._last: list[tuple[np.ndarray, np.ndarray]] = []

    def alignment(self, rate: int) -> int:
        return _SEGMENT * _STEP

    def context(self, rate: int) -> int:
        return _SEGMENT * _STEP + _FRAME

    def vocals(
        self, mixture: np.ndarray, rate: int, references: Stems | None = None, wanted: slice | None = None
    ) -> np.ndarray:
        """As for every method.  A segment begins where `wanted` does: in the song, on a multiple of `alignment`."""
        first, last = (wanted.start, wanted.stop) if wanted else (0, len(mixture))
        self._known, self._last = self._last, []
        vocals = np.zeros_like(mixture, dtype=np.float32)
        vocals[first:last] = in_pairs(lambda pair: self._estimate(pair.T, first, last).T, mixture.T).T
        return vocals

    def _estimate(self, audio: np.ndarray, first: int, last: int) -> np.ndarray:
        """Vocals of samples [first, last) of stereo audio.

        Frame f of the song, counted from `first`, holds the samples before f x 1024.  Segment s has the frames from
        s x 512 on.
        """
        segments = []
        vocals = np.zeros((last - first, 2), dtype=np.float32)
        for segment in range((last - first - 1 + _FRAME) // (_SEGMENT * _STEP) + 1):
            where = first + segment * _SEGMENT * _STEP - _FRAME
            content = _cut(audio, where, _SAMPLES)
            answer = next((answer for known, answer in self._known if np.array_equal(known, content)), None)
            if answer is None:
                said = self.worker.ask(0, _SEGMENT, content.astype("<f4", copy=False).tobytes())
                answer = np.frombuffer(said, "<f4").reshape(-1, 2)
            segments.append((content, answer))
            vocals += _cut(answer, first - where, last - first)
        self._last += segments[-2:]
        return vocals


def _cut(audio: np.ndarray, start: int, samples: int) -> np.ndarray:
    """Samples from `start` on; before the audio and behind it there is silence."""
    piece = np.zeros((samples, 2), dtype=np.float32)
    begin, end = max(0, start), min(len(audio), start + samples)
    if begin < end:
        piece[begin - start : end - start] = audio[begin:end]
    return piece


# The checkpoint


def checkpoint(folder: Path, shown: Path | None = None) -> Path:
    """The checkpoint in a folder or in its `2stems`, as TensorFlow wants it: a path without a suffix.

    Parameters
    ----------
    folder : Path
        Its file `checkpoint` names the model.
    shown : Path, optional
        What an error message names instead of the folder.

    Raises
    ------
    UnavailableError
        A file is missing or empty.  (Spleeter itself would go on with random weights.)
    """
    if (folder / "2stems").is_dir():
        folder = folder / "2stems"
    record = folder / "checkpoint"
    text = record.read_text(encoding="utf-8", errors="replace") if record.is_file() else ""
    # The path is that of the machine on which the model was trained: its files lie beside `checkpoint`.
    named = re.search(r'^model_checkpoint_path:\s*"(?:[^"]*/)?([^"/]+)"', text, re.MULTILINE)
    files = [folder / f"{named[1]}{suffix}" for suffix in (".index", ".data-00000-of-00001")] if named else []
    broken = [file.name for file in files if not file.is_file() or not file.stat().st_size]
    if named and not broken:
        return folder / named[1]
    raise UnavailableError(
        f"spleeter: {shown or folder} holds no whole model ({', '.join(broken or ['checkpoint'])} missing, empty or "
        f"damaged); put {ARCHIVE.name} or its content there (models/weights/spleeter/README.md)"
    )


def find(folder: Path, *, download: bool = True) -> Path:
    """The checkpoint: unpacked in `folder` or in `folder/2stems`, or from the archive there, cached, or downloaded.

    Raises
    ------
    UnavailableError
        There is none, a file of it is missing, or the archive is damaged.
    """
    if any(next(folder.glob(pattern), None) for pattern in ("2stems/", "checkpoint", "*.index", "*.data-*-of-*")):
        return checkpoint(folder)
    (archive,) = pretrained.find_weights(Spleeter.name, [ARCHIVE], folder, download=download)
    unpacked = pretrained.cache() / Spleeter.name / f"2stems-{sha256([archive])[:16]}"
    with contextlib.suppress(UnavailableError):
        return checkpoint(unpacked)
    try:
        with (
            written(unpacked) as temporary,
            gzip.open(archive) as stream,
            tarfile.open(fileobj=stream, mode="r:") as tar,
        ):
            tar.extractall(temporary, filter="data")  # refuses links and paths that leave the folder
            stream.read()  # to the end, where gzip's checksum is
            checkpoint(temporary, shown=archive)
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise UnavailableError(
            f"spleeter: {archive} could not be unpacked into {unpacked} ({error}); get it again from {ARCHIVE.url}"
        ) from None
    return checkpoint(unpacked)


# The environment


def environment(options: Options, root: Path = PACKAGE.parent) -> Path:
    """The Python of spleeter's own environment, which is made if it is missing.

    Parameters
    ----------
    options : Options
    root : Path
        The repository: a relative `environment` lies there, and so does `tools/spleeter.sh`.

    Raises
    ------
    UnavailableError
        It is missing and can't be made, or may not be made.
    """
    folder, script = root / options.environment, root / "tools" / "spleeter.sh"
    python = folder / "bin" / "python"
    if not script.is_file():
        ready, why = python.is_file(), f"{script} is missing: use svs from its repository"
    else:
        ready = subprocess.run([script, "--check", folder], capture_output=True).returncode == 0
        if offline():
            why = "SVS_OFFLINE is set"
        elif not options.install:
            why = "separate.spleeter.install is false"
        elif not ready:
            ready, why = _make(script, folder)
    if ready:
        return python
    raise UnavailableError(
        f"spleeter: its own environment {folder} is missing or out of date ({why}); "
        f"`tools/spleeter.sh {options.environment}` in {root} makes it (2.4 GB)"
    )


def _make(script: Path, folder: Path) -> tuple[bool, str]:
    """Run the script and show its progress; returns whether it succeeded, and its last line."""
    said = "no message"
    with subprocess.Popen([script, folder], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None  # a pipe
        try:
            for line in process.stderr:
                said = line.strip() or said
                print(line, end="", file=sys.stderr, flush=True)
        except BaseException:
            process.terminate()
            raise
    return process.returncode == 0, said.removeprefix("svs setup: ")


def build(name: str, options: Options, needs: Path, settings: Settings) -> Spleeter:
    model, python = find(needs).absolute(), environment(options)
    program = PACKAGE / "separators" / "spleeter_worker.py"
    command = [str(python), "-I", str(program), str(model), repr(options.separation_exponent), options.mask_extension]
    try:
        return Spleeter(Worker(Spleeter.name, command, _FRUGAL))
    except SVSError as error:
        raise UnavailableError(f"{error} (while it loaded {model})") from None


METHODS = {"spleeter": Method(Kind.PRETRAINED, "spleeter 2 stems: U-Net, pretrained by Deezer", Options, build)}
