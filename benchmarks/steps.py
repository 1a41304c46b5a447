"""The steps that `python -m benchmarks` measures, each beside its baseline: rows of its table."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from threadpoolctl import threadpool_limits

STEPS = ("extraction", "training", "inference", "scoring")


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
        return f"{self.step:62}{both}{self.ratio:8.2f}" + limit.rjust(7) + ("" if self.reached else "  below")


def extraction_rows(music: Path, rounds: int, store: Path) -> Iterator[Row]:
    from benchmarks import extraction

    found = extraction.measured(music, 16, rounds, store)
    yield Row(
        "extraction / ffmpeg alone, five streams", found["ffmpeg_seconds"], found["seconds"], "s", found["ratio"], 0.8
    )
    yield Row(
        "extraction without MIX / ffmpeg alone, five streams",
        found["ffmpeg_seconds"],
        found["seconds_without_mix"],
        "s",
        found["ratio_without_mix"],
        0.8,
    )
    yield Row(
        "extraction / reading by musdb",
        found["musdb_seconds"],
        found["seconds"],
        "s",
        found["musdb_seconds"] / found["seconds"],
        None,
    )
    yield Row(
        "the dissertation's 87 tracks, extrapolated / the dissertation",
        extraction.SEED_SECONDS / 60,
        found["full_seconds"] / 60,
        "min",
        found["times_the_dissertation"],
        None,
    )


def training_rows(store: Path, rounds: int) -> Iterator[Row]:
    from benchmarks import training_step

    for name in training_step.LABELS:
        found = training_step.measured(store, name, rounds, 6)
        yield Row(
            f"{name}: steps from the reader / one batch in memory",
            found["steps_in_memory"],
            found["steps"],
            "/s",
            found["reader_ratio"],
            0.95,
        )
        # Of the dissertation's nets; those that are valid in time have small maps, whose copying weighs more.
        limit = None if name.endswith("_valid") else 0.6
        yield Row(
            f"{name}: training step / numpy's product",
            found["product_gflops"],
            found["gflops"],
            "GFLOP/s",
            found["rate_ratio"],
            limit,
        )
        yield Row(
            f"{name}: training step / TensorFlow's product",
            found["tensorflow_gflops"],
            found["gflops"],
            "GFLOP/s",
            found["tensorflow_ratio"],
            None,
        )


def inference_rows(rounds: int) -> Iterator[Row]:
    from benchmarks import inference

    with tempfile.TemporaryDirectory() as temporary:
        rows = inference.measured(inference.random_nets(Path(temporary)), rounds, 11.8, [16, 32, 64])
    for row in rows:
        fast = row["net"].endswith("_valid")
        name = f"{row['net']}, hop {row['hop']}"
        yield Row(
            f"{name} / windows of {row['baseline']}",
            1e3 * row["windows_seconds"],
            1e3 * row["seconds"],
            "ms",
            row["ratio"],
            8.0 if fast else 2.5 if row["hop"] == 1 else None,
        )
        yield Row(
            f"{name} / open-unmix",
            1e3 * row["openunmix_seconds"],
            1e3 * row["seconds"],
            "ms",
            row["ratio_to_openunmix"],
            1.0 if fast else None,
        )


def scoring_rows(music: Path) -> Iterator[Row]:
    from benchmarks import bsseval as bench
    from svs.evaluation.scoring import bsseval, bsseval_v3

    true = bench.references(music, 30.0, stems=False)
    audio = (true, bench.masked(true))
    with threadpool_limits(1):
        ours = min(bench.seconds_of(bsseval.evaluate, *audio)[0] for _ in range(3))
        theirs = bench.seconds_of(bench.museval_scores, *audio)[0]
    yield Row("scoring 30 s, two targets / museval (CPU seconds)", theirs, ours, "s", theirs / ours, 1.0)
    mono = [signal.mean(axis=2) for signal in audio]
    with threadpool_limits(1):
        ours = min(bench.seconds_of(bsseval_v3.evaluate, *mono)[0] for _ in range(3))
        theirs = bench.seconds_of(bench.mir_eval_scores, *mono)[0]
    yield Row("BSS Eval v3 of 30 s in mono / mir_eval (CPU seconds)", theirs, ours, "s", theirs / ours, 10.0)


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
