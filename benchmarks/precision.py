"""The same short training in float32 and in mixed precision: validation losses, and what they take.

    python -m benchmarks.precision STORE [--nets cnn_separator ...] [--epochs 3] [--per-track 40] [--seeds 1]

STORE is a store of `svs extract` or the pipeline (data/excerpts.zarr).  Nets are
trained by `svs.training.loop` with the parameters of params.yaml but for the number
of epochs and excerpts, and batches of 16.  CPU seconds are of all cores, and
say more than those by the clock where other work is done beside.  With several seeds the change that a
precision makes can be seen beside the one that another seed makes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import get_args

from svs import networks
from svs.config import schema
from svs.config.schema import Precision
from svs.runtime.files import Scratch
from svs.runtime.process import main
from svs.training import on_excerpts

NETS = ("cnn_separator", "cnn_deep_separator", "cnn_separator_valid", "cnn_deep_separator_valid")


def trained(store: Path, name: str, precision: Precision, epochs: int, per_track: int, seed: int) -> dict:
    """Validation losses by epoch, and excerpts in a second and in a CPU second, those of validation included."""
    options = networks.training(name, schema.load())
    draw = options.excerpts.model_copy(update={"per_track": per_track, "valid_per_track": per_track})
    options = options.model_copy(update={"epochs": epochs, "batch_size": 16, "precision": precision, "excerpts": draw})
    with tempfile.TemporaryDirectory() as temporary:
        curve = Path(temporary) / "curve.csv"
        start, before = time.perf_counter(), time.process_time()
        _, card = on_excerpts.train(
            name, store / "masks", "SVS", options, seed, Scratch(Path(temporary), name, "bench"), curve=curve
        )
        took, spent = time.perf_counter() - start, time.process_time() - before
        losses = [float(line.split(",")[2]) for line in curve.read_text().splitlines()[1:]]
    excerpts = epochs * sum(card["excerpts"].values())
    return {"losses": losses, "per_second": excerpts / took, "per_cpu_second": excerpts / spent}


def run(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precision", description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--nets", nargs="+", choices=NETS, default=["cnn_separator", "cnn_deep_separator"])
    parser.add_argument("--precisions", nargs="+", choices=get_args(Precision), default=["float32", "mixed_bfloat16"])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--per-track", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args(arguments)
    print(f"{'net':25}{'seed':>5} {'precision':16}{'excerpts/s':>11}{'per CPU s':>11}  validation loss by epoch")
    for name in options.nets:
        for seed in range(1, options.seeds + 1):
            for precision in options.precisions:
                row = trained(options.store, name, precision, options.epochs, options.per_track, seed)
                print(
                    f"{name:25}{seed:5d} {precision:16}{row['per_second']:11.1f}{row['per_cpu_second']:11.1f}  "
                    + " ".join(f"{loss:.4f}" for loss in row["losses"]),
                    flush=True,
                )


if __name__ == "__main__":
    main(run, sys.argv[1:])
