"""An hour of music through `svs separate`, as a person calls it: peak memory and time of each method.

    python -m benchmarks.hour [METHOD ...] [--minutes 60] [--set KEY=VALUE] [--work FOLDER] [--json FILE]
    python -m benchmarks.hour speech_blend --command voice --recording talk.wav

The music is the song that stempeg ships, over and over, a 16-bit stereo flac; or a recording of yours over and over.
Each method separates it in a process of its own, with its picture, by the
parameters of params.yaml.  `all MB` is the largest sum, every 0.2 s, of what
the command and all of its programs (ffmpeg) hold: memory
that several share is counted once (PSS).  `main MB` is the largest that the
command itself ever held (VmHWM).  `wall s` counts what other work on the machine
takes, `cpu s` the seconds of all cores that it took.  The exit code is 1 where either is above the
limit.  Nets are those of models/; where one is missing it has random weights,
which take the same memory and time: of the profile `full`'s size for the U-Net,
in the published format for open-unmix and spleeter.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from svs import networks, separators
from svs.config import paths, schema
from svs.runtime.files import write_json
from svs.runtime.process import log, main

LIMIT = 1500.0  # MB (of 2^20 bytes)
METHODS = tuple(name for name, method in separators.methods().items() if method.kind is not separators.Kind.ORACLE)
_EVERY = 0.2  # s between looks
_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Row:
    """What a method took: seconds, MB of all processes at once and of the main one alone, and whose weights."""

    method: str
    minutes: float
    seconds: float
    cpu_seconds: float
    all_mb: float
    main_mb: float
    weights: str

    @property
    def within(self) -> bool:
        return max(self.all_mb, self.main_mb) <= LIMIT

    def text(self) -> str:
        return (
            f"{self.method:26}{self.minutes:9.4g}{self.seconds:10.1f}{60 * self.minutes / self.seconds:9.1f}"
            f"{self.cpu_seconds:9.0f}"
            f"{self.all_mb:9.0f}{self.main_mb:9.0f}{LIMIT:8.0f}  {self.weights}" + ("" if self.within else "  above")
        )


HEADER = (
    f"{'method':26}{'minutes':>9}{'wall s':>10}{'x real':>9}{'cpu s':>9}{'all MB':>9}{'main MB':>9}{'limit':>8}"
    "  weights"
)


def song(folder: Path, minutes: float, recording: Path | None) -> Path:
    """So many minutes of a recording, or of stempeg's song, as flac."""
    import stempeg

    once, path = folder / "once.wav", folder / "song.flac"
    for arguments in (
        ["-i", recording or stempeg.example_stem_path(), "-map", "0:a:0", "-c:a", "pcm_s16le", once],
        ["-stream_loop", "-1", "-i", once, "-t", str(60 * minutes), path],
    ):
        subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y", *map(str, arguments)], check=True)
    return path


def home(folder: Path, method: str) -> tuple[Path, str]:
    """A project in which the method can run, and whose weights it has there."""
    folder.mkdir(parents=True)
    for name in (paths.PARAMS, schema.WIRING):
        shutil.copy(_ROOT / name, folder)
    needs = separators.needs(method, schema.load(_ROOT / paths.PARAMS))
    there, here = _ROOT / needs, folder / needs
    here.parent.mkdir(parents=True, exist_ok=True)
    if separators.find_method(method).kind is separators.Kind.NET:
        if (there / "model.onnx").is_file():
            here.symlink_to(there)
            return folder, "trained"
        random_net(here, method)
        return folder, "random"
    if method == "openunmix":
        if any(there.glob("*.pth")):
            here.symlink_to(there)
            return folder, "published"
        from benchmarks.inference import open_unmix

        open_unmix(here)
        return folder, "random"
    if method == "spleeter":
        from svs.data import spleeter_weights
        from tests.helpers.spleeter import random_weights, save_npz

        if spleeter_weights.at_hand(there):
            here.symlink_to(there)
            return folder, "published"
        here.mkdir()
        save_npz(here / spleeter_weights.KEPT, random_weights())
        return folder, "random"
    return folder, "-"


def random_net(folder: Path, method: str) -> None:
    """One of our nets, untrained."""
    from svs.networks import archive

    if not networks.find_network(method).on_mixtures:
        from benchmarks.inference import BINS, LABELS, WIDTH

        excerpts = schema.load(_ROOT / paths.PARAMS).extract.masks
        net = networks.build(method, BINS, WIDTH, LABELS[method], input_gain=100.0, seed=1)
        archive.save(
            folder,
            net,
            {"representation": excerpts.model_dump(exclude={"voiced_above"}), "label_width": LABELS[method]},
        )
        return
    content = schema.read(_ROOT / paths.PARAMS)
    content["profile"] = "full"
    options = networks.training(method, schema.resolve(content))
    network = networks.find_network(method)
    level = (np.full(options.bins, value, np.float32) for value in (-6, 3))
    archive.save(
        folder,
        network.build(options.bins, options.network, *level, seed=1),
        {
            "representation": options.representation.model_dump(),
            "bins": options.bins,
            "frames_multiple": options.frames_multiple,
            "context": options.context,
        },
    )


def family(root: int) -> list[int]:
    """A process and all that descend from it."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError):
                parents[int(entry)] = int(Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[1])
    found, wanted = [], [root]
    while wanted:
        one = wanted.pop()
        found.append(one)
        wanted += [child for child, parent in parents.items() if parent == one]
    return found


def proportional(process: int) -> float:
    """MB that a process holds, of what it shares its part (PSS); 0 when it is gone."""
    return _field(process, "smaps_rollup", "Pss:")


def highest(process: int) -> float:
    """MB that a process ever held (VmHWM); 0 when it is gone."""
    return _field(process, "status", "VmHWM:")


def _field(process: int, file: str, name: str) -> float:
    with suppress(OSError):
        for line in Path(f"/proc/{process}/{file}").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) / 1024
    return 0.0


def cpu() -> float:
    """CPU seconds of the programs that have been run."""
    return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def measured(
    method: str, recording: Path, minutes: float, place: Path, overrides: list[str], command: str = "separate"
) -> Row:
    """Separate the recording and watch."""
    folder, weights = home(place / f"home of {method}", method)
    words = [
        sys.executable,
        "-m",
        "svs.cli",
        command,
        recording,
        "-q",
        "-m",
        method,
        "-o",
        place / "out",
        "--project",
        folder,
        *(word for override in overrides for word in ("-S", override)),
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")])}
    together = alone = 0.0
    before, begun = cpu(), time.monotonic()
    with subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL, env=environment) as process:
        try:
            while process.poll() is None:
                together = max(together, sum(map(proportional, family(process.pid))))
                alone = max(alone, highest(process.pid))
                time.sleep(_EVERY)
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        sys.exit(f"svs {command} -m {method} ended with {process.returncode}")
    row = Row(method, minutes, time.monotonic() - begun, cpu() - before, together, alone, weights)
    shutil.rmtree(place / "out")
    return row


def run(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hour", description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="*", metavar="METHOD", help=f"by default all: {', '.join(METHODS)}")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help="a parameter of params.yaml"
    )
    parser.add_argument("--command", choices=("separate", "voice", "respiratory"), default="separate")
    parser.add_argument("--recording", type=Path, help="repeated instead of the song")
    parser.add_argument("--work", type=Path, help="folder for the song and the results (an hour: 5 GB)")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args(arguments)
    if unknown := set(options.methods) - set(METHODS):
        parser.error(f"{', '.join(sorted(unknown))}: expected methods among {', '.join(METHODS)}")
    if not Path("/proc/self/smaps_rollup").exists():
        parser.error("this needs Linux's /proc")
    rows = []
    if options.work:
        options.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.work) as temporary:
        place = Path(temporary)
        log.info("making %g minutes of music", options.minutes)
        recording = song(place, options.minutes, options.recording)
        print(HEADER)
        for method in options.methods or METHODS:
            rows.append(measured(method, recording, options.minutes, place, options.overrides, options.command))
            print(rows[-1].text(), flush=True)
    if options.json:
        write_json(options.json, {"limit": LIMIT, "rows": [asdict(row) for row in rows]})
    sys.exit(0 if all(row.within for row in rows) else 1)


if __name__ == "__main__":
    main(run, sys.argv[1:])
