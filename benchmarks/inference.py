"""The nets over whole songs (svs.networks.streaming) beside window after window, and beside open-unmix.

    python -m benchmarks.inference [FOLDER] [--rounds 5] [--json FILE]

FOLDER holds the trained nets (models/), by default there are none and all have
random weights, which take the same time; open-unmix's are always random.  The
baseline of a net and of its variants (predictions several frames apart,
convolutions VALID in time) is the dissertation's net, window after window, at the
batch size that is fastest for it.  Everything is a
separator that is given the same stereo audio, in this process on the same
cores, in turns; seconds are medians of the rounds, ratios are medians of the
rounds' ratios: of seconds, and of the processors' seconds, which other work on
the machine disturbs less.  Multiply-adds are of one frame, and GFLOP/s what they
come to in a second of one core, spectra and all; beside them stands what a
convolution of these sizes and a matrix product reach there alone.  The deviation
is the largest of the mask's values from the same net's window after window.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from math import prod
from pathlib import Path

import numpy as np

from svs import networks, separators
from svs.config import schema
from svs.networks import archive, inference
from svs.networks.streaming import Evaluation
from svs.networks.windows import predictions
from svs.runtime.files import write_json
from svs.runtime.parallel import cores
from svs.runtime.process import log, main
from svs.separators.cnn import CNNSeparator
from svs.separators.cnn import Options as CNNOptions

BINS, WIDTH = 2049, 9
LABELS = {"cnn_separator": 1, "cnn_separator_valid": 1, "cnn_deep_separator": 9, "cnn_deep_separator_valid": 1}
# A net and the frames between its windows; each family's first has the baseline.
FAMILIES = (
    (("cnn_separator", 1), ("cnn_separator_valid", 1)),
    (("cnn_deep_separator", 1), ("cnn_deep_separator", 3), ("cnn_deep_separator", 9), ("cnn_deep_separator_valid", 1)),
)
RATE = 44100


class Windows(CNNSeparator):
    """The net as it was used before: one window after the other, their centre frames."""

    def __init__(self, name: str, folder: Path, options: CNNOptions):
        super().__init__(name, folder, options)
        self._net, card = inference.load(folder)
        self.model, _ = archive.load(folder)
        self._middle = card["label_width"] // 2

    def mask(self, spectrum: np.ndarray) -> np.ndarray:
        found = predictions(self._net, spectrum, WIDTH, np.arange(spectrum.shape[1]), self._options.batch_size)
        return np.concatenate([mask[..., self._middle] for _, mask in found]).T

    @property
    def multiply_adds(self) -> int:
        return sum(
            prod(layer.kernel.shape) * prod(layer.output.shape[1:3] if layer.kernel.ndim == 4 else ())
            for layer in self.model.layers
            if hasattr(layer, "kernel")
        )


def multiply_adds(evaluation: Evaluation, hop: int) -> float:
    """Of one frame, but for the first windows of a block."""
    total, bins = sum(layer.kernel.size for layer in evaluation._dense), evaluation.window[0]
    products = Counter(node.layer for node in evaluation._nodes.values() if node.tap is not None)
    for layer, count in products.items():
        bins += sum(layer.padding[0]) - layer.kernel.shape[2] + 1
        total += count * prod(layer.kernel.shape[:3]) * bins
        bins //= layer.pool
    return total / hop


def audio(seconds: float) -> np.ndarray:
    """Stereo noise, louder and softer: float32 (samples, 2)."""
    rng = np.random.default_rng(0)
    time_ = np.arange(round(seconds * RATE)) / RATE
    return (0.1 * (1.2 + np.sin(2 * np.pi * time_))[:, None] * rng.normal(0, 1, (len(time_), 2))).astype(np.float32)


def random_nets(folder: Path) -> Path:
    """All nets with random weights."""
    representation = schema.load().extract.masks.model_dump(exclude={"voiced_above"})
    for name, label_width in LABELS.items():
        archive.save(
            folder / name,
            networks.build(name, BINS, WIDTH, label_width, input_gain=100.0, seed=1),
            {"label_width": label_width, "representation": representation},
        )
    return folder


def open_unmix(folder: Path):
    """Open-unmix with random weights, as `params.yaml` has it."""
    import torch

    from svs.separators import openunmix

    options = separators.options("openunmix", schema.load())
    for target, remote in openunmix.remotes(options.model).items():
        network = getattr(openunmix._package(), f"{options.model}_spec")(targets=[target], pretrained=False)[target]
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(network.state_dict(), folder / remote.name)
    return openunmix.OpenUnmix(options, folder)


def seconds_of(function: Callable, *arguments: object) -> float:
    return both_seconds_of(function, *arguments)[0]


def both_seconds_of(function: Callable, *arguments: object) -> tuple[float, float]:
    """On the clock, and of all cores."""
    start, worked = time.perf_counter(), time.process_time()
    function(*arguments)
    return time.perf_counter() - start, time.process_time() - worked


def rates() -> dict[str, float]:
    """GFLOP/s of one core: the second convolution's taps over 16 frames, and matrix products of 1024 x 1024."""
    import torch
    from torch.nn import functional

    rows = torch.rand(16, 32, BINS, 1).contiguous(memory_format=torch.channels_last)
    kernel = torch.rand(48, 32, 12, 1).contiguous(memory_format=torch.channels_last)
    square = torch.rand(1024, 1024)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            took = {
                "convolution": min(
                    both_seconds_of(functional.conv2d, rows, kernel, None, 1, (6, 0))[1] for _ in range(20)
                ),
                "product": min(both_seconds_of(torch.mm, square, square)[1] for _ in range(20)),
            }
    finally:
        torch.set_num_threads(threads)
    products = {"convolution": kernel.numel() * 16 * (BINS + 1), "product": 1024**3}
    return {name: 2e-9 * products[name] / took[name] for name in took}


def baseline(name: str, folder: Path, batches: list[int]) -> Windows:
    """Window after window, with the batch size that is fastest."""
    options = separators.options(name, schema.load())
    found = {batch: Windows(name, folder, options.model_copy(update={"batch_size": batch})) for batch in batches}
    spectrum = np.zeros((BINS, 2 * max(batches)), dtype=np.float32)
    took = {batch: min(seconds_of(each.mask, spectrum) for _ in range(3)) for batch, each in found.items()}
    return found[min(took, key=took.get)]


def deviation(separator: CNNSeparator, windows: Windows) -> float:
    spectrum = np.random.default_rng(0).uniform(0, 0.02, (BINS, 40)).astype(np.float32)
    return float(np.abs(separator.mask(spectrum) - windows.mask(spectrum)).max())


def measured(folder: Path, rounds: int, seconds: float, batches: list[int]) -> list[dict]:
    """A row for each net and hop; ratios are times the speed, above 1 is faster."""
    parameters, song, rows = schema.load(), audio(seconds), []
    frames = RATE / schema.load().extract.masks.hop_length  # of a second
    with tempfile.TemporaryDirectory() as temporary:
        theirs = open_unmix(Path(temporary))
        for family in FAMILIES:
            naive = baseline(family[0][0], folder / family[0][0], batches)
            ours = {
                (name, hop): CNNSeparator(
                    name, folder / name, separators.options(name, parameters).model_copy(update={"hop": hop})
                )
                for name, hop in family
            }
            everyone = [naive, theirs, *ours.values()]
            for separator in everyone:
                separator.vocals(song[:RATE], RATE)
            # Of a second of audio: (rounds, separators).
            took, worked = (
                np.moveaxis(
                    [[both_seconds_of(separator.vocals, song, RATE) for separator in everyone] for _ in range(rounds)],
                    2,
                    0,
                )
                / seconds
            )
            for place, ((name, hop), separator) in enumerate(ours.items(), start=2):
                adds = multiply_adds(separator._evaluate, hop)
                same = (
                    naive if name == naive.name else Windows(name, folder / name, separators.options(name, parameters))
                )
                rows.append(
                    {
                        "net": name,
                        "hop": hop,
                        "baseline": naive.name,
                        "batch": naive._options.batch_size,
                        "seconds": float(np.median(took[:, place])),
                        "windows_seconds": float(np.median(took[:, 0])),
                        "openunmix_seconds": float(np.median(took[:, 1])),
                        "ratio": float(np.median(took[:, 0] / took[:, place])),
                        "processor_ratio": float(np.median(worked[:, 0] / worked[:, place])),
                        "ratio_to_openunmix": float(np.median(took[:, 1] / took[:, place])),
                        "multiply_adds": adds,
                        "windows_multiply_adds": naive.multiply_adds,
                        "gflops": 2e-9 * adds * frames / float(np.median(worked[:, place])),
                        "windows_gflops": 2e-9 * naive.multiply_adds * frames / float(np.median(worked[:, 0])),
                        "deviation": deviation(separator, same) if hop == 1 else None,
                    }
                )
    return rows


def table(rows: list[dict]) -> str:
    lines = [
        f"{'net':25}{'hop':>4}{'windows':>9}{'here':>9}{'ratio':>7}{'cpu':>6}{'open-unmix':>11}{'ratio':>7}"
        f"{'multiply-adds':>15}{'ratio':>7}{'GFLOP/s':>9}{'deviation':>11}"
    ]
    for row in rows:
        adds, before = row["multiply_adds"] / 1e6, row["windows_multiply_adds"] / 1e6
        lines.append(
            f"{row['net']:25}{row['hop']:4}{1e3 * row['windows_seconds']:6.0f} ms"
            f"{1e3 * row['seconds']:6.0f} ms{row['ratio']:7.2f}{row['processor_ratio']:6.2f}"
            f"{1e3 * row['openunmix_seconds']:8.0f} ms{row['ratio_to_openunmix']:7.2f}"
            f"{before:8.1f}{adds:7.1f}{before / adds:7.2f}{row['windows_gflops']:5.0f}{row['gflops']:4.0f}"
            + ("          -" if row["deviation"] is None else f"{row['deviation']:11.0e}")
        )
    return "\n".join(lines)


def run(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="trained nets (default: random weights)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=11.8, help="of audio (1017 frames)")
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 32, 64], help="tried for the baseline")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args(arguments)
    log.info("ms of a second of stereo music on %d cores, million multiply-adds of one frame", cores())
    with tempfile.TemporaryDirectory() as temporary:
        rows = measured(
            options.folder or random_nets(Path(temporary)), options.rounds, options.seconds, options.batches
        )
    alone = rates()
    print(table(rows))
    print("one core alone: " + ", ".join(f"{name} {rate:.0f} GFLOP/s" for name, rate in alone.items()))
    if options.json:
        write_json(options.json, {"cores": cores(), "rates": alone, "nets": rows})


if __name__ == "__main__":
    main(run, sys.argv[1:])
