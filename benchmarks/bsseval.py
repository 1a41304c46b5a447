"""svs.evaluation.scoring.bsseval beside museval: time, memory and agreement on long tracks.

    python -m benchmarks.bsseval [FOLDER] [--seconds 60 240] [--stems] [--v3]

FOLDER holds MUSDB18's previews (or tracks) as .stem.mp4 files, by default
where the tests look for them.  Tracks are made by joining their passages;
targets are vocals and accompaniment (or the four stems), estimated by soft
masks.  Both programs run in this process on one thread: seconds are of CPU,
the least of three runs for svs.evaluation.scoring.bsseval; museval runs once.  MiB are the most
that Python and numpy held at a time beyond the audio itself (of museval only
with --memory, which runs it again).  --v3 compares BSS Eval v3 with mir_eval, in mono.
"""

from __future__ import annotations

import argparse
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import stempeg
from scipy import signal
from threadpoolctl import threadpool_limits

from svs.errors import DataError
from svs.evaluation.museval_json import MEASURES
from svs.evaluation.scoring import bsseval, bsseval_v3
from svs.runtime.process import log, main

PREVIEWS = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "musdb18-7"  # as tests/conftest.py
RATE = 44100
ALIKE = 60.0  # dB; two ratios above are not compared


def references(folder: Path, seconds: float, stems: bool) -> np.ndarray:
    """Passages of real music, joined: (targets, samples, channels)."""
    passages, missing = [], round(seconds * RATE)
    for path in sorted(folder.glob("**/*.stem.mp4")):
        if missing <= 0:
            break
        streams = stempeg.read_stems(str(path))[0][:, :missing].astype(np.float64)
        passages.append(streams[1:] if stems else np.stack([streams[4], streams[1:4].sum(axis=0)]))
        missing -= streams.shape[1]
    if missing > 0:
        raise DataError(
            f"{folder}: expected {seconds:g} s of music in .stem.mp4 files, {missing / RATE:.0f} s are "
            "missing; name another folder or fewer --seconds"
        )
    return np.concatenate(passages, axis=1)


def masked(true: np.ndarray) -> np.ndarray:
    """Estimates by soft masks, made of ten seconds at a time so that long tracks fit."""
    estimates = np.empty_like(true)
    for start in range(0, true.shape[1], 10 * RATE):
        part = true[:, start : start + 10 * RATE]
        spectra = signal.stft(part, nperseg=2048, axis=1)[2]
        power = np.abs(spectra) ** 2 + 1e-12
        audio = signal.istft(power / power.sum(axis=0) * spectra.sum(axis=0), nperseg=2048, freq_axis=1)[1]
        estimates[:, start : start + 10 * RATE] = audio.swapaxes(1, 2)[:, : part.shape[1]]
    return estimates


def museval_scores(true: np.ndarray, estimates: np.ndarray) -> tuple[np.ndarray, ...]:
    import museval

    if not hasattr(np.linalg, "linalg"):
        np.linalg.linalg = np.linalg  # a name that numpy 2 dropped
    return museval.evaluate(true, estimates, padding=False)


def mir_eval_scores(true: np.ndarray, estimates: np.ndarray) -> tuple[np.ndarray, ...]:
    """SDR, SIR, SAR of mono sources as one frame: (sources, 1) each."""
    import mir_eval

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # mir_eval will drop it in its next release
        found = mir_eval.separation.bss_eval_sources(true, estimates, compute_permutation=False)
    return tuple(values[:, None] for values in found[:3])


def seconds_of(function: Callable, *arguments: np.ndarray) -> tuple[float, np.ndarray]:
    start = time.process_time()
    result = function(*arguments)
    return time.process_time() - start, np.stack(result)


def mebibytes_of(function: Callable, *arguments: np.ndarray) -> float:
    tracemalloc.start()
    try:
        function(*arguments)
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


def deviations(ours: np.ndarray, theirs: np.ndarray) -> list[float]:
    """The largest of each measure, in dB; infinite where only one is NaN."""
    both = np.isnan(ours) & np.isnan(theirs) | (ours > ALIKE) & (theirs > ALIKE)
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(np.where(both, 0.0, np.abs(ours - theirs)), nan=np.inf).max(axis=(1, 2)).tolist()


def run(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=PREVIEWS)
    parser.add_argument("--seconds", type=float, nargs="+", default=[60.0, 240.0], help="lengths of the tracks")
    parser.add_argument("--stems", action="store_true", help="score the four stems, not vocals and accompaniment")
    parser.add_argument("--memory", action="store_true", help="measure museval's memory too")
    parser.add_argument("--v3", action="store_true", help="compare BSS Eval v3 with mir_eval, in mono")
    options = parser.parse_args(arguments)
    ours_by, theirs_by = (bsseval_v3.evaluate, mir_eval_scores) if options.v3 else (bsseval.evaluate, museval_scores)
    name, measures = ("mir_eval", ("SDR", "SIR", "SAR")) if options.v3 else ("museval", MEASURES)
    log.info("CPU seconds of one thread; MiB beyond the audio; largest deviation from %s in dB", name)
    print(
        f"{'track':>7}{name:>10}{'svs':>13}{'ratio':>7}{'audio':>11}{name:>13}{'svs':>13}"
        + "".join(f"{measure:>9}" for measure in measures)
    )
    with threadpool_limits(1):
        for seconds in options.seconds:
            true = references(options.folder, seconds, options.stems)
            audio = (true, masked(true))
            if options.v3:
                audio = tuple(signal.mean(axis=2) for signal in audio)
            (took, ours), *others = [seconds_of(ours_by, *audio) for _ in range(3)]
            took = min(took, *(other for other, _ in others))
            theirs_took, theirs = seconds_of(theirs_by, *audio)
            memory = f"{mebibytes_of(theirs_by, *audio):9.0f} MiB" if options.memory else f"{'-':>13}"
            print(
                f"{seconds:5g} s{theirs_took:8.1f} s{took:11.2f} s{theirs_took / took:7.1f}"
                f"{2 * audio[0].nbytes / 2**20:7.0f} MiB{memory}{mebibytes_of(ours_by, *audio):9.0f} MiB"
                + "".join(f"{value:9.0e}" for value in deviations(ours[: len(theirs)], theirs)),
                flush=True,
            )


if __name__ == "__main__":
    main(run, sys.argv[1:])
