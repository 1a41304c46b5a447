"""Every step beside its baseline, in one run: a table with the ratios and their limits.

    python -m benchmarks [--music FOLDER] [--json FILE] [--only extraction training inference scoring]
    python -m benchmarks --compare OLD.json NEW.json

FOLDER holds MUSDB18 or its previews as .stem.mp4 (train/ and test/).  A ratio is
ours beside the baseline, measured in turns in the same process (one for each
step) on the same cores, so that other work on the machine troubles both; above 1 ours is faster.
The exit code is 1 where a ratio is below its limit.  Two files are compared by
their ratios, which two machines have more in common than seconds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

from threadpoolctl import threadpool_limits

from svs.errors import SVSError
from svs.files import read_json, write_json
from svs.running import cores, log, main

STEPS = ("extraction", "training", "inference", "scoring")
_HEADER = f"{'step':62}{'baseline':>14}{'ours':>14}{'ratio':>8}{'limit':>7}"


@dataclass(frozen=True)
class Row:
    """A step and its baseline in one unit, ours beside it, and the ratio that it should reach (None: no goal)."""

    step: str
    baseline: float
    ours: float
    unit: str
    ratio: float
    limit: float | None

    @property
    def reached(self) -> bool:
        return self.limit is None or self.ratio >= self.limit

    def text(self) -> str:
        limit = "-" if self.limit is None else f"{self.limit:g}"
        both = "".join(f"{value:.4g} {self.unit}".rjust(14) for value in (self.baseline, self.ours))
        return (f"{self.step:62}{both}"
                f"{self.ratio:8.2f}" + limit.rjust(7) + ("" if self.reached else "  below"))


def extraction_rows(music: Path, rounds: int, store: Path) -> Iterator[Row]:
    from benchmarks import extraction

    found = extraction.measured(music, 16, rounds, store)
    yield Row("extraction / ffmpeg alone, five streams", found["ffmpeg_seconds"], found["seconds"], "s",
              found["ratio"], 0.8)
    yield Row("extraction without MIX / ffmpeg alone, five streams", found["ffmpeg_seconds"],
              found["seconds_without_mix"], "s", found["ratio_without_mix"], 0.8)
    yield Row("extraction / reading by musdb", found["musdb_seconds"], found["seconds"], "s",
              found["musdb_seconds"] / found["seconds"], None)
    yield Row("the seed's 87 tracks, extrapolated / the seed", extraction.SEED_SECONDS / 60, found["full_seconds"] / 60,
              "min", found["times_the_seed"], None)


def training_rows(store: Path, rounds: int) -> Iterator[Row]:
    from benchmarks import training_step

    for name in training_step.LABELS:
        found = training_step.measured(store, name, rounds, 6)
        yield Row(f"{name}: steps from the reader / one batch in memory", found["steps_in_memory"], found["steps"],
                  "/s", found["reader_ratio"], 0.95)
        # Of the dissertation's nets; those that are valid in time have small maps, whose copying weighs more.
        limit = None if name.endswith("_valid") else 0.6
        yield Row(f"{name}: training step / numpy's product", found["product_gflops"], found["gflops"], "GFLOP/s",
                  found["rate_ratio"], limit)
        yield Row(f"{name}: training step / TensorFlow's product", found["tensorflow_gflops"], found["gflops"],
                  "GFLOP/s", found["tensorflow_ratio"], None)


def inference_rows(rounds: int) -> Iterator[Row]:
    from benchmarks import inference

    with tempfile.TemporaryDirectory() as temporary:
        rows = inference.measured(inference.random_nets(Path(temporary)), rounds, 11.8, [16, 32, 64])
    for row in rows:
        fast = row["net"].endswith("_valid")
        name = f"{row['net']}, hop {row['hop']}"
        yield Row(f"{name} / windows of {row['baseline']}", 1e3 * row["windows_seconds"], 1e3 * row["seconds"], "ms",
                  row["ratio"], 8.0 if fast else 2.5 if row["hop"] == 1 else None)
        yield Row(f"{name} / open-unmix", 1e3 * row["openunmix_seconds"], 1e3 * row["seconds"], "ms",
                  row["ratio_to_openunmix"], 1.0 if fast else None)


def scoring_rows(music: Path) -> Iterator[Row]:
    from benchmarks import bsseval as bench
    from svs import bsseval

    true = bench.references(music, 30.0, stems=False)
    audio = (true, bench.masked(true))
    with threadpool_limits(1):
        ours = min(bench.seconds_of(bsseval.evaluate, *audio)[0] for _ in range(3))
        theirs = bench.seconds_of(bench.museval_scores, *audio)[0]
    yield Row("scoring 30 s, two targets / museval (CPU seconds)", theirs, ours, "s", theirs / ours, 1.0)


def rows_of(step: str, music: Path, rounds: int, store: Path) -> list[Row]:
    """A step's rows.  Extraction leaves its store there, training reads it."""
    match step:
        case "extraction":
            return list(extraction_rows(music, rounds, store.parent))
        case "training":
            return list(training_rows(store, rounds))
        case "inference":
            return list(inference_rows(rounds))
    return list(scoring_rows(music))


def measured(options: argparse.Namespace) -> Iterator[Row]:
    if "training" in options.only and "extraction" not in options.only and options.store is None:
        raise SVSError("training is measured on a store; measure extraction too, or name one with --store")
    with tempfile.TemporaryDirectory() as temporary:
        own = Path(temporary) / "store"
        for step in STEPS:
            if step in options.only:
                store = options.store if step == "training" and options.store else own
                # A process for each: the threads that one step's libraries leave behind take the next one's cores.
                with ProcessPoolExecutor(1, get_context("spawn")) as process:
                    yield from process.submit(rows_of, step, options.music, options.rounds, store).result()


def compared(old: dict, new: dict) -> str:
    """Ratios of two runs, side by side."""
    before, after = ({row["step"]: row for row in run["rows"]} for run in (old, new))
    lines = [f"{'step':62}{'before':>9}{'after':>9}{'change':>9}{'limit':>7}"]
    for step in dict.fromkeys([*before, *after]):
        ratios = [side[step]["ratio"] if step in side else None for side in (before, after)]
        change = "-" if None in ratios else f"{100 * (ratios[1] / ratios[0] - 1):+.0f}%"
        limit = (after.get(step) or before[step])["limit"]
        lines.append(f"{step:62}" + "".join(("-" if ratio is None else f"{ratio:.2f}").rjust(9) for ratio in ratios)
                     + change.rjust(9) + ("-" if limit is None else f"{limit:g}").rjust(7))
    return "\n".join(lines)


def run(arguments: list[str]) -> None:
    from benchmarks.bsseval import PREVIEWS

    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--music", type=Path, default=PREVIEWS)
    parser.add_argument("--store", type=Path, help="for training (default: the one that extraction leaves)")
    parser.add_argument("--only", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--compare", type=Path, nargs=2, metavar=("OLD", "NEW"), help="two such files; no measuring")
    options = parser.parse_args(arguments)
    if options.compare:
        print(compared(*map(read_json, options.compare)))
        return
    log.info("%d cores", cores())
    rows = []
    print(_HEADER)
    for row in measured(options):
        rows.append(row)
        print(row.text(), flush=True)
    if options.json:
        write_json(options.json, {"cores": cores(), "rows": [asdict(row) for row in rows]})
    sys.exit(0 if all(row.reached for row in rows) else 1)


if __name__ == "__main__":
    main(run, sys.argv[1:])
