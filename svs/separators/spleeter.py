"""Spleeter, 2 stems: two U-Nets that Deezer trained (Hennequin et al. 2020).

Engine `native` runs the networks of `svs.networks.spleeter`.  Engine `package` runs the package spleeter, whose pinned
dependencies exclude ours: it has an environment of its own, which `tools/spleeter.sh` makes on demand, and runs there
in a process (`svs.separators.spleeter_worker`).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from svs.config.paths import PACKAGE
from svs.config.schema import Group, Settings
from svs.data.spleeter_weights import at_hand, checkpoint, load
from svs.errors import SVSError, UnavailableError
from svs.runtime.download import offline
from svs.runtime.process import log
from svs.runtime.worker import Worker
from svs.separators.base import Level, Semitones
from svs.separators.method import Kind, Method
from svs.separators.segments import FRAMES, HEARD, REPRESENTATION, Each, Extension, Segment, SegmentMask, Segments

if TYPE_CHECKING:
    from svs.networks.inference import Net

NAME = "spleeter"
_EPSILON = 1e-10  # added to the sum of the stems in the mask, half of it to each stem
# glibc's malloc then returns memory to the system at once: the worker holds 80 MB less.
_FRUGAL = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "1000000", "MALLOC_TRIM_THRESHOLD_": "1000000"}


class Options(Group):
    """Spleeter, 2 stems: what runs it, and how its two spectrograms become a mask."""

    engine: Literal["native", "package"]
    environment: Path
    install: bool
    separation_exponent: Annotated[float, Field(gt=0, le=8)]
    mask_extension: Extension
    semitones: Semitones  # of engine native alone
    level: Level


class Mask(SegmentMask):
    """The vocals of one segment, by Deezer's networks.

    Parameters
    ----------
    net : Net
        Of `svs.networks.spleeter.graph`.
    options : Options
    """

    def __init__(self, net: Net, options: Options):
        super().__init__(NAME, options.semitones, options.mask_extension)
        self._net, self._exponent = net, np.float32(options.separation_exponent)

    def mask(self, magnitude: np.ndarray) -> np.ndarray:
        stems = self._net(np.ascontiguousarray(magnitude.transpose(0, 2, 1)[None]))
        voice, rest = (stem.transpose(0, 2, 1) ** self._exponent for stem in stems)
        return (voice + np.float32(_EPSILON / 2)) / (voice + rest + np.float32(_EPSILON))


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
        vocals = np.zeros_like(audio)
        answer = self.worker.ask(0, FRAMES, audio[HEARD].astype("<f4", copy=False).tobytes())
        vocals[HEARD] = np.frombuffer(answer, "<f4").reshape(-1, 2)
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
        return Package(Worker(NAME, command, _FRUGAL))
    except SVSError as error:
        raise UnavailableError(f"{error} (while it loaded {model})") from None


def build(name: str, options: Options, needs: Path, settings: Settings, device: str = "auto") -> Segments:
    native = options.engine == "native"
    segment, each = _native(needs, options, device) if native else (_package(needs, options), map)
    return Segments(NAME, segment, options.level, each)


def _ready(needs: Path, fetch: bool) -> bool:
    if fetch and not at_hand(needs) and not offline():
        try:
            load(needs)
        except UnavailableError as error:
            log.warning("%s", error)
    return at_hand(needs) is not None


ABOUT = "spleeter 2 stems: U-Nets on stereo magnitudes, pretrained by Deezer"
METHODS = {
    NAME: Method(
        Kind.PRETRAINED,
        ABOUT,
        Options,
        build,
        recommended=3,
        on_device=True,
        ready=_ready,
        trained_on="Deezer's own songs",
        parameters=19_649_422,
    )
}
