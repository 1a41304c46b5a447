"""Whole spectrograms through the nets (svs.models.shared) beside window after window: time and arithmetic.

    python -m benchmarks.inference [FOLDER] [--rounds 5] [--json FILE]

FOLDER holds the trained nets (models/), by default there are none and both have
random weights, which take the same time.  The baseline is the same net's
`predict_on_batch` on windows, as svs.windows calls it, at the batch size that
is fastest for it.  Both run in this process on the same cores, in turns; the
seconds are medians of the rounds, the ratio is the median of the rounds'
ratios.  Multiply-adds are of one frame; the deviation is the largest of the
mask's values over the same frames.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from math import prod
from pathlib import Path

import numpy as np

from svs import models
from svs.files import write_json
from svs.models import archive, shared
from svs.running import cores, log, main
from svs.windows import predictions

BINS, WIDTH = 2049, 9
LABELS = {"cnn_separator": 1, "cnn_deep_separator": 9}
SECONDS_OF_A_FRAME = 512 / 44100


def music(frames: int) -> np.ndarray:
    """Magnitudes that look like a spectrogram: chords, louder and softer, over noise that falls with frequency."""
    rng = np.random.default_rng(0)
    bins, time_ = np.arange(BINS)[:, None], np.arange(frames)[None]
    level = 0.02 / (1 + bins / 20) * (1.2 + np.sin(2 * np.pi * time_ / 40))
    partials = np.exp(-np.minimum((bins - 40) % 37, (40 - bins) % 37) ** 2 / 2.0)
    return (level * (partials + 0.1 * rng.rayleigh(1.0, (BINS, frames)))).astype(np.float32)


def naive_multiply_adds(model: archive.keras.Model) -> int:
    return sum(prod(layer.kernel.shape) * prod(layer.output.shape[1:3] if layer.kernel.ndim == 4 else ())
               for layer in model.layers if hasattr(layer, "kernel"))


def seconds_of(function: Callable, *arguments: object) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def measured(name: str, folder: Path, options: argparse.Namespace) -> dict:
    """Times in ms of a frame, and what else the table says."""
    model, _ = archive.load(folder)
    evaluation, _ = shared.load(folder)
    spectrum = music(options.frames)

    def naive(batch: int, frames: int) -> np.ndarray:
        found = predictions(model, spectrum[:, :frames + WIDTH], WIDTH, np.arange(frames), batch)
        return np.concatenate([mask[..., LABELS[name] // 2] for _, mask in found]).T

    few = 2 * max(options.batches)
    # The windows of the last few frames see beyond them, the whole spectrogram is what both are given.
    deviation = np.abs(naive(options.batches[0], few) - evaluation(spectrum[:, :few + WIDTH], options.block)[:, :few])
    took = {batch: min(seconds_of(naive, batch, few) for _ in range(3)) for batch in options.batches
            if naive(batch, batch) is not None}
    best = min(took, key=took.get)
    rounds = np.array([(seconds_of(naive, best, few) / few,
                        seconds_of(evaluation, spectrum, options.block) / options.frames)
                       for _ in range(options.rounds)])
    old, new = np.median(rounds, axis=0)
    return {"batch": best, "naive_ms": 1e3 * old, "shared_ms": 1e3 * new,
            "ratio": float(np.median(rounds[:, 0] / rounds[:, 1])),
            "naive_multiply_adds": naive_multiply_adds(model), "shared_multiply_adds": evaluation.multiply_adds,
            "arithmetic_ratio": naive_multiply_adds(model) / evaluation.multiply_adds,
            "times_real_time": SECONDS_OF_A_FRAME / new, "deviation": float(deviation.max())}


def run(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="trained nets (default: random weights)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=2048, help="of the spectrogram (a chunk of 30 s has 2584)")
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 32, 64], help="tried for the baseline")
    parser.add_argument("--block", type=int, default=16, help="frames at a time (batch_size in params.yaml)")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args(arguments)
    log.info("ms of one frame on %d cores, million multiply-adds of one frame", cores())
    print(f"{'net':20}{'windows':>11}{'shared':>11}{'ratio':>7}{'real time':>11}{'multiply-adds':>20}{'ratio':>7}"
          f"{'deviation':>11}")
    figures = {}
    with tempfile.TemporaryDirectory() as temporary:
        for name, label_width in LABELS.items():
            folder = options.folder / name if options.folder else Path(temporary) / name
            if not options.folder:
                archive.save(folder, models.build(name, BINS, WIDTH, label_width, input_gain=100.0, seed=1),
                             {"label_width": label_width})
            found = figures[name] = measured(name, folder, options)
            print(f"{name:20}{found['naive_ms']:8.2f} ms{found['shared_ms']:8.2f} ms{found['ratio']:7.2f}"
                  f"{found['times_real_time']:9.1f} x{found['naive_multiply_adds'] / 1e6:10.1f}"
                  f"{found['shared_multiply_adds'] / 1e6:10.1f}{found['arithmetic_ratio']:7.2f}"
                  f"{found['deviation']:11.0e}", flush=True)
    if options.json:
        write_json(options.json, {"cores": cores(), "block": options.block, "nets": figures})


if __name__ == "__main__":
    main(run, sys.argv[1:])
