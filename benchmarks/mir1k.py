"""Methods on MIR-1K, Chinese karaoke that no network here was trained on: GNSDR, the measure of its literature.

    python -m benchmarks.mir1k FOLDER [METHOD ...] [--set KEY=VALUE ...] [--json FILE]

FOLDER holds the clips (16 kHz, the accompaniment in the left channel, the voice
in the right one).  A method hears the sum of both channels, in mono.  NSDR is
the SDR of its vocals less that of the mixture taken for vocals, both by
BSS Eval v3 as mir_eval has it; GNSDR is the mean over clips, weighted by their
lengths (Hsu & Jang 2010).  No choice is made on these figures.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import mir_eval
import numpy as np

from svs import separators
from svs.audio.sources import ArraySource, WavSource
from svs.config.project import find_project
from svs.errors import DataError
from svs.runtime.files import write_json
from svs.runtime.process import main
from svs.runtime.progress import progress_bar
from svs.separators.base import Separator
from svs.separators.chunking import chunks


def sdr(voice: np.ndarray, accompaniment: np.ndarray, vocals: np.ndarray, rest: np.ndarray) -> float:
    """SDR (dB) of an estimate of the voice, beside one of the accompaniment; all are (samples,)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # mir_eval will drop it in its next release
        found, *_ = mir_eval.separation.bss_eval_sources(
            np.stack([voice, accompaniment]), np.stack([vocals, rest]), compute_permutation=False
        )
    return float(found[0])


def gain(separator: Separator, path: Path, chunk: float) -> tuple[float, int]:
    """NSDR of a clip in dB, and its length in samples."""
    clip = WavSource(path)
    accompaniment, voice = clip.read(0, clip.samples).astype(np.float64).T
    mixture = voice + accompaniment
    heard = ArraySource(mixture.astype(np.float32)[:, None], clip.rate)
    vocals = np.concatenate([piece for _, piece in chunks(separator, heard, chunk)])[:, 0].astype(np.float64)
    before = sdr(voice, accompaniment, mixture, mixture)
    return sdr(voice, accompaniment, vocals, mixture - vocals) - before, len(voice)


def run(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mir1k", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("methods", nargs="*", default=["spleeter", "spleeter_finetuned"], metavar="METHOD")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args(arguments)
    clips = sorted(options.folder.glob("*.wav"))
    if not clips:
        raise DataError(f"{options.folder}: expected the .wav clips of MIR-1K, found none")
    project = find_project(overrides=options.set)
    figures = {}
    print(f"{'method':26}{'clips':>6}{'GNSDR':>8}")
    for name in options.methods:
        separator = separators.build(name, project.settings, project.home)
        chunk = project.settings.separate.common.chunk
        found = np.array([gain(separator, clip, chunk) for clip in progress_bar(clips, unit="clip", desc=name)])
        together = np.average(found[:, 0], weights=found[:, 1])
        figures[name] = {
            "GNSDR": float(together),
            "NSDR": dict(zip([clip.stem for clip in clips], found[:, 0], strict=True)),
        }
        print(f"{name:26}{len(clips):>6}{together:>8.2f}", flush=True)
    if options.json:
        write_json(options.json, figures)


if __name__ == "__main__":
    main(run, sys.argv[1:])
