"""The reader of excerpts on stores of several sizes under one memory limit: memory and batches in a second.

    python -m benchmarks.reader [--gigabytes 0.5 2] [--limit 1.5] [--batches 200]

For each size a store of noise is written whose excerpts, gathered, have so many
GB.  A process of its own gathers them and reads batches in the shuffled order of
an epoch, inside a cgroup of --limit GB (1024^3 bytes) where this machine lets us
make one (as root), so that the page cache counts as well; otherwise without a
limit, which the table says.  Memory is what the process holds at most beyond
what it had after its imports.  The folder that TMPDIR names must hold 1.5 times
the largest size; it is emptied afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import zarr

from svs.config import schema
from svs.features.extraction import write_array
from svs.runtime.process import main, quietly

BATCH = 64
FRAMES = 2000  # of a track of the store
GB = 1 << 30
_GROUPS = Path("/sys/fs/cgroup")


def write_store(folder: Path, tracks: int) -> None:
    """A store of noise: magnitudes that are no numbers of music, but as many."""
    options = schema.load().extract
    excerpts = options.masks
    random = np.random.default_rng(0)
    names = [f"{number:04d}" for number in range(tracks)]
    index = [[name, "train", excerpts.width // 2, FRAMES - 1 - excerpts.width // 2, 1] for name in names]
    masks = zarr.open_group(folder, mode="w").require_group("masks")
    masks.attrs.put({"representation": excerpts.model_dump(), "index": {"SVS": index}})
    for name in names:
        track = masks.create_group(name)
        # Half floats below 1, so none that is infinite or no number.
        mixture = random.integers(0, 0x3C00, (FRAMES, excerpts.bins), dtype=np.uint16).view(np.float16)
        write_array(track, "mixture", mixture, options.store)
        write_array(track, "mask", mixture > 0.01, options.store)


def bytes_of_an_excerpt() -> int:
    excerpts = schema.load().extract.masks
    return excerpts.bins * (2 * excerpts.width + 1)  # the mask's centre frame beside it


@contextmanager
def limited(limit: int) -> Iterator[Path | None]:
    """A cgroup (version 2 or 1) whose processes have `limit` bytes, page cache included; None where there can't be."""
    for parent, name in ((_GROUPS, "memory.max"), (_GROUPS / "memory", "memory.limit_in_bytes")):
        group = parent / f"svs-reader-{os.getpid()}"
        try:
            if not (parent / "cgroup.procs").is_file():
                continue  # no hierarchy
            group.mkdir()
        except OSError:
            continue
        if not (group / name).is_file():  # one without memory
            group.rmdir()
            continue
        (group / name).write_text(str(limit))
        try:
            yield group
        finally:
            group.rmdir()
        return
    yield None


def held() -> tuple[float, float]:
    """MB that this process holds, and held at most."""
    lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return tuple(int(lines[name].split()[0]) * 1024 / 1e6 for name in ("VmRSS", "VmHWM"))


def read(store: Path, folder: Path, batches: int) -> dict:
    """In the process of its own: gather, then read."""
    with quietly():
        from svs.training.excerpts import TRAIN, Batches

    draw = schema.Draw(per_track=FRAMES, valid_per_track=1, start_point=0.0, stop_point=None)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, _ = held()
    start = time.perf_counter()
    reader = Batches(store / "masks", "SVS", TRAIN, draw, BATCH, 1, 0, folder)
    gathering = time.perf_counter() - start
    count = min(batches, len(reader))
    start = time.perf_counter()
    for index in range(count):
        reader[index]
    took = time.perf_counter() - start
    return {
        "excerpts": reader.excerpts,
        "gathering_seconds": gathering,
        "batches_per_second": count / took,
        "peak_mb": held()[1] - before,
        "file_gb": next(folder.iterdir()).stat().st_size / GB,
    }


def measured(gigabytes: float, limit: float, batches: int) -> dict:
    tracks = max(1, round(gigabytes * GB / bytes_of_an_excerpt() / FRAMES))
    with tempfile.TemporaryDirectory(prefix="svs-reader-") as temporary, limited(round(limit * GB)) as group:
        place = Path(temporary)
        write_store(place / "store", tracks)
        command = [
            sys.executable,
            "-m",
            "benchmarks.reader",
            "--child",
            str(place / "store"),
            str(place / "gathered"),
            "--batches",
            str(batches),
        ]
        enter = None if group is None else lambda: (group / "cgroup.procs").write_text(str(os.getpid()))
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, preexec_fn=enter)
        return json.loads(done.stdout) | {"limit_gb": None if group is None else limit}


def run(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reader", description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, nargs="+", default=[0.5, 2.0], help="of gathered excerpts")
    parser.add_argument("--limit", type=float, default=1.5, help="GB of memory, page cache included")
    parser.add_argument("--batches", type=int, default=200, help="that are read")
    parser.add_argument("--child", type=Path, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        print(json.dumps(read(*options.child, options.batches)))
        return
    print(f"{'excerpts':>9}{'file':>10}{'limit':>10}{'gathered in':>13}{'batches':>10}{'memory':>10}")
    for gigabytes in options.gigabytes:
        found = measured(gigabytes, options.limit, options.batches)
        limit = "none" if found["limit_gb"] is None else f"{found['limit_gb']:.1f} GB"
        print(
            f"{found['excerpts']:9d}{found['file_gb']:7.1f} GB{limit:>10}{found['gathering_seconds']:11.0f} s"
            f"{found['batches_per_second']:8.1f}/s{found['peak_mb']:7.0f} MB",
            flush=True,
        )


if __name__ == "__main__":
    main(run, sys.argv[1:])
