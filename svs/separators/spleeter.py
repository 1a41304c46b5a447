"""Spleeter, 2 stems: two U-Nets that Deezer trained (Hennequin et al. 2020).

The networks see a song in segments of 512 frames (11.9 s) and nothing beyond a segment, so the estimate depends on
where segments begin.  Here they begin where spleeter begins them: every 512 frames of the song.  Chunks begin there
too, and what a segment adds to the estimate does not depend on the chunk in which it is computed.

Engine `native` runs the networks of `svs.networks.spleeter`.  Engine `package` runs the package spleeter, whose pinned
dependencies exclude ours: it has an environment of its own, which `tools/spleeter.sh` makes on demand, and runs there
in a process (`svs.separators.spleeter_worker`).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from svs.config.paths import PACKAGE
from svs.config.schema import Group, Representation, Settings
from svs.data.spleeter_weights import at_hand, checkpoint, load
from svs.dsp.stft import window_sum
from svs.errors import SVSError, UnavailableError
from svs.runtime.download import offline
from svs.runtime.process import log
from svs.runtime.worker import Worker
from svs.separators.base import Level, MaskSeparator, Semitones, Separator, Stems, in_pairs
from svs.separators.method import Kind, Method

if TYPE_CHECKING:
    from svs.networks.inference import Net

# Spleeter's 2stems.json.
REPRESENTATION = Representation(sample_rate=44100, frame_size=4096, win_length=4096, hop_length=1024)
_FRAME, _STEP = REPRESENTATION.frame_size, REPRESENTATION.hop_length
_SEGMENT = 512  # frames that the network sees at a time
_BINS = 1024  # that it sees, from 0 Hz up
_EPSILON = 1e-10  # added to the sum of the stems in the mask, half of it to each stem
# Frames on either side of a segment, so that the STFT of the segment's audio can be inverted: more than the longest
# frame that `semitones` allows.
_MARGIN = 6
_BEFORE = _MARGIN * _STEP - _FRAME // 2  # samples of the margin that no frame of the segment reaches
# glibc's malloc then returns memory to the system at once: the worker holds 80 MB less.
_FRUGAL = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "1000000", "MALLOC_TRIM_THRESHOLD_": "1000000"}


Segment = Callable[[np.ndarray], np.ndarray]  # the vocals of a segment, from its audio
Each = Callable[[Segment, Iterable[np.ndarray]], Iterator[np.ndarray]]


class Options(Group):
    """Spleeter, 2 stems: what runs it, and how its two spectrograms become a mask."""

    engine: Literal["native", "package"]
    environment: Path
    install: bool
    separation_exponent: Annotated[float, Field(gt=0, le=8)]
    mask_extension: Literal["zeros", "average"]
    semitones: Semitones  # of engine native alone
    level: Level


class Spleeter(Separator):
    """A song in spleeter's segments.

    Parameters
    ----------
    segment : callable
        The vocals of one segment, from its audio with a margin; both are float32 (samples, 2).
    level : float, optional
        At which the networks hear every recording.
    each : callable
        As `map`: how several segments are computed.
    """

    name = "spleeter"
    uses_all_cores = True
    sample_rate = REPRESENTATION.sample_rate

    def __init__(self, segment: Segment, level: float | None = None, each: Each = map):
        self.segment, self.level, self._each = segment, level, each
        # The last segment of each pair of channels, with its vocals: the next chunk begins with it.
        self._last: list[tuple[np.ndarray, np.ndarray]] = []

    def alignment(self, rate: int) -> int:
        return _SEGMENT * _STEP

    def context(self, rate: int) -> int:
        return (_SEGMENT + _MARGIN) * _STEP

    def vocals(
        self, mixture: np.ndarray, rate: int, references: Stems | None = None, wanted: slice | None = None
    ) -> np.ndarray:
        """As for every method.  A segment begins where `wanted` does: in the song, on a multiple of `alignment`."""
        first, last = (wanted.start, wanted.stop) if wanted else (0, len(mixture))
        known = self._last
        latest: list[tuple[np.ndarray, np.ndarray]] = []

        def answered(audio: np.ndarray) -> np.ndarray:
            old = next((answer for heard, answer in known if np.array_equal(heard, audio)), None)
            return self.segment(audio) if old is None else old

        def estimate(pair: np.ndarray) -> np.ndarray:
            # Frame f of the song, counted from `first`, holds the samples before f x 1024.
            starts = range(first - _FRAME - _BEFORE, last - _BEFORE, _SEGMENT * _STEP)
            heard = [_cut(pair.T, start, (_SEGMENT - 1 + 2 * _MARGIN) * _STEP) for start in starts]
            answers = list(self._each(answered, heard))
            latest.append((heard[-1], answers[-1]))
            vocals = np.zeros((last - first, 2), dtype=np.float32)
            for start, answer in zip(starts, answers, strict=True):
                vocals += _cut(answer, first - start, last - first)
            return vocals.T

        vocals = np.zeros_like(mixture, dtype=np.float32)
        vocals[first:last] = in_pairs(estimate, mixture.T).T
        self._last = latest
        return vocals


def _cut(audio: np.ndarray, start: int, samples: int) -> np.ndarray:
    """Samples from `start` on; before the audio and behind it there is silence."""
    piece = np.zeros((samples, 2), dtype=np.float32)
    begin, end = max(0, start), min(len(audio), start + samples)
    if begin < end:
        piece[begin - start : end - start] = audio[begin:end]
    return piece


class Mask(MaskSeparator):
    """The masks of one segment with its margin, from the mixture's magnitudes.

    Parameters
    ----------
    net : Net
        Of `svs.networks.spleeter.graph`.
    options : Options
    """

    name = Spleeter.name

    def __init__(self, net: Net, options: Options):
        super().__init__(REPRESENTATION, semitones=options.semitones, bins=_BINS)
        self._net, self._options = net, options

    def estimate(self, mixture: np.ndarray, references: Stems) -> np.ndarray:
        frames = slice(_MARGIN, _MARGIN + _SEGMENT)
        vocals, segment = np.zeros_like(mixture), mixture[..., frames]
        scale = np.float32(window_sum(REPRESENTATION) / window_sum(self.representation))
        magnitude = np.abs(segment[:, :_BINS]) * scale
        stems = self._net(np.ascontiguousarray(magnitude.transpose(0, 2, 1)[None]))
        voice, rest = (stem.transpose(0, 2, 1) ** np.float32(self._options.separation_exponent) for stem in stems)
        mask = (voice + np.float32(_EPSILON / 2)) / (voice + rest + np.float32(_EPSILON))
        vocals[:, :_BINS, frames] = segment[:, :_BINS] * mask
        if self._options.mask_extension == "average":
            vocals[:, _BINS:, frames] = segment[:, _BINS:] * mask.mean(axis=1, keepdims=True)
        return vocals


def _native(needs: Path, options: Options, device: str) -> tuple[Segment, Each]:
    weights = load(needs)
    from svs.networks import inference, spleeter  # ONNX Runtime takes a while to import

    try:
        net = inference.Net(spleeter.graph(weights), device)
    except ValueError as error:
        reason = " ".join(str(error).split())[:200]
        raise UnavailableError(
            f"spleeter: the weights in {needs} have other shapes than those of 2stems ({reason}); put others there"
        ) from None
    mask = Mask(net, options)
    return lambda audio: mask.vocals(audio, REPRESENTATION.sample_rate), net.each


# The package


class Package:
    """The package spleeter.

    Parameters
    ----------
    worker : Worker
        `svs.separators.spleeter_worker`, which ends with this object.
    """

    def __init__(self, worker: Worker):
        self.worker = worker

    def __call__(self, audio: np.ndarray) -> np.ndarray:
        """The vocals of one segment with its margin."""
        vocals, frames = np.zeros_like(audio), slice(_BEFORE, _BEFORE + (_SEGMENT - 1) * _STEP + _FRAME)
        answer = self.worker.ask(0, _SEGMENT, audio[frames].astype("<f4", copy=False).tobytes())
        vocals[frames] = np.frombuffer(answer, "<f4").reshape(-1, 2)
        return vocals


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


def _package(needs: Path, options: Options) -> Package:
    model, python = checkpoint(needs).absolute(), environment(options)
    program = PACKAGE / "separators" / "spleeter_worker.py"
    command = [str(python), "-I", str(program), str(model), repr(options.separation_exponent), options.mask_extension]
    try:
        return Package(Worker(Spleeter.name, command, _FRUGAL))
    except SVSError as error:
        raise UnavailableError(f"{error} (while it loaded {model})") from None


def build(name: str, options: Options, needs: Path, settings: Settings, device: str = "auto") -> Spleeter:
    native = options.engine == "native"
    segment, each = _native(needs, options, device) if native else (_package(needs, options), map)
    return Spleeter(segment, options.level, each)


def _ready(needs: Path, fetch: bool) -> bool:
    if fetch and not at_hand(needs) and not offline():
        try:
            load(needs)
        except UnavailableError as error:
            log.warning("%s", error)
    return at_hand(needs) is not None


ABOUT = "spleeter 2 stems: U-Nets on stereo magnitudes, pretrained by Deezer"
METHODS = {"spleeter": Method(Kind.PRETRAINED, ABOUT, Options, build, recommended=3, on_device=True, ready=_ready)}
