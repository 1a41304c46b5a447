"""Training beside what bounds it: steps on read batches beside one batch in memory, and beside matrix products.

    python -m benchmarks.training_step STORE [--nets cnn_deep_separator ...] [--rounds 3]

STORE is a store of `svs extract` or the pipeline (data/excerpts.zarr).  A net is
trained through Keras' `fit` as `svs.training.loop` does it, on batches from the
reader, and on one batch that is held in memory, in turns.  A step's arithmetic
is three times the forward pass; its rate is compared with that of float32
matrix products on the same cores: numpy's, and TensorFlow's own, which is the
higher bound where numpy's library does not know the processor.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from math import prod
from pathlib import Path

import keras
import numpy as np

from svs import networks
from svs.config import schema
from svs.config.schema import Draw
from svs.features.store import Spectrograms
from svs.runtime.process import main
from svs.training.excerpts import TRAIN, Batches

BATCH = 64
LABELS = {"cnn_separator": 1, "cnn_separator_valid": 1, "cnn_deep_separator": 9, "cnn_deep_separator_valid": 1}


class Held(keras.utils.PyDataset):
    """One batch again and again, handed over as `Batches` hands over its own."""

    def __init__(self, batch: tuple[np.ndarray, np.ndarray], length: int):
        super().__init__(workers=2, max_queue_size=4)
        self._batch, self._length = batch, length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self._batch


def matrix_product_rate(size: int = 2048) -> float:
    """Float32 operations in a second of numpy's products."""
    a, b = np.ones((2, size, size), dtype=np.float32)
    a @ b
    start = time.perf_counter()
    for _ in range(3):
        a @ b
    return 3 * 2 * size**3 / (time.perf_counter() - start)


def tensorflow_product_rate(size: int = 2048) -> float:
    """The same of TensorFlow's products."""
    import tensorflow

    a = tensorflow.ones((size, size))
    product = tensorflow.function(lambda one, other: tensorflow.linalg.matmul(one, other))
    product(a, a).numpy()
    start = time.perf_counter()
    for _ in range(3):
        product(a, a).numpy()
    return 3 * 2 * size**3 / (time.perf_counter() - start)


def operations(model: keras.Model) -> int:
    """Of a training step, for each excerpt: a product and a sum, forwards and twice backwards."""
    forwards = sum(
        prod(layer.kernel.shape) * prod(layer.output.shape[1:3] if layer.kernel.ndim == 4 else ())
        for layer in model.layers
        if hasattr(layer, "kernel")
    )
    return 3 * 2 * forwards


def seconds_of_an_epoch(model: keras.Model, batches: keras.utils.PyDataset) -> float:
    start = time.perf_counter()
    model.fit(batches, epochs=1, verbose=0, shuffle=False)
    return time.perf_counter() - start


def measured(store: Path, name: str, rounds: int, steps: int) -> dict:
    """Steps in a second of both, excerpts in a second, and the rate beside the matrix product's."""
    options = networks.training(name, schema.load())
    with tempfile.TemporaryDirectory() as temporary:
        tracks = len({run.track for run in Spectrograms(store / "masks").runs("SVS", TRAIN)})
        draw = Draw(per_track=-(-steps * BATCH // tracks), valid_per_track=1, start_point=0.0, stop_point=None)
        start = time.perf_counter()
        reader = Batches(store / "masks", "SVS", TRAIN, draw, BATCH, LABELS[name], 0, Path(temporary))
        gathering = time.perf_counter() - start
        held = Held(reader[0], len(reader))
        model = networks.build(name, reader.bins, reader.width, LABELS[name], input_gain=options.input_gain, seed=0)
        model.compile(keras.optimizers.Adam(options.learning_rate), keras.losses.BinaryCrossentropy(from_logits=True))
        model.fit(Held(reader[0], 2), verbose=0)
        took = np.array(
            [
                (
                    seconds_of_an_epoch(model, held),
                    seconds_of_an_epoch(model, reader),
                    matrix_product_rate(),
                    tensorflow_product_rate(),
                )
                for _ in range(rounds)
            ]
        )
    per_second = reader.excerpts / took[:, 1]
    return {
        "net": name,
        "steps_in_memory": float(len(held) / np.median(took[:, 0])),
        "steps": float(len(reader) / np.median(took[:, 1])),
        "reader_ratio": float(np.median(took[:, 0] / took[:, 1])),
        "gathering_seconds": gathering,
        "excerpts_per_second": float(np.median(per_second)),
        "gflops": float(np.median(per_second) * operations(model) / 1e9),
        "product_gflops": float(np.median(took[:, 2]) / 1e9),
        "tensorflow_gflops": float(np.median(took[:, 3]) / 1e9),
        "rate_ratio": float(np.median(per_second * operations(model) / took[:, 2])),
        "tensorflow_ratio": float(np.median(per_second * operations(model) / took[:, 3])),
    }


def run(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--nets", nargs="+", choices=list(LABELS), default=list(LABELS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8, help="of an epoch that is measured")
    options = parser.parse_args(arguments)
    print(
        f"{'net':25}{'memory':>10}{'reader':>10}{'ratio':>7}{'excerpts/s':>12}{'GFLOP/s':>9}{'numpy':>8}{'ratio':>7}"
        f"{'TensorFlow':>12}{'ratio':>7}"
    )
    for name in options.nets:
        row = measured(options.store, name, options.rounds, options.steps)
        print(
            f"{name:25}{row['steps_in_memory']:8.2f}/s{row['steps']:8.2f}/s{row['reader_ratio']:7.2f}"
            f"{row['excerpts_per_second']:12.1f}{row['gflops']:9.0f}{row['product_gflops']:8.0f}"
            f"{row['rate_ratio']:7.2f}{row['tensorflow_gflops']:12.0f}{row['tensorflow_ratio']:7.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main(run, sys.argv[1:])
