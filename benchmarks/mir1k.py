"""Methods on MIR-1K, Chinese karaoke that no network here was trained on: GNSDR, the measure of its literature.

    python -m benchmarks.mir1k FOLDER [METHOD ...] [--set KEY=VALUE ...] [--json FILE]

FOLDER holds the clips (16 kHz, the accompaniment in the left channel, the voice
in the right one).  A method hears the sum of both channels, in mono.  Scores
are BSS Eval v3 (`svs.evaluation.scoring.bsseval_v3`); means over clips are weighted by
their lengths (Hsu & Jang 2010).  No choice is made on these figures.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from svs import separators
from svs.audio.sources import ArraySource, WavSource
from svs.config.project import find_project
from svs.errors import DataError
from svs.evaluation.scoring import bsseval_v3
from svs.runtime.files import write_json
from svs.runtime.process import main
from svs.runtime.progress import progress_bar
from svs.separators.base import Separator
from svs.separators.chunking import chunks

MEASURES = ("NSDR", "SIR", "SAR")


def score(separator: Separator, path: Path, chunk: float) -> tuple[float, float, float, int]:
    """NSDR, SIR and SAR of the vocals of a clip in dB, and its length in samples."""
    clip = WavSource(path)
    accompaniment, voice = clip.read(0, clip.samples).astype(np.float64).T
    mixture = voice + accompaniment
    heard = ArraySource(mixture.astype(np.float32)[:, None], clip.rate)
    vocals = np.concatenate([piece for _, piece in chunks(separator, heard, chunk)])[:, 0].astype(np.float64)
    found = bsseval_v3.evaluate(np.stack([voice, accompaniment]), np.stack([vocals, mixture - vocals]))
    return found.nsdr[0, 0], found.sir[0, 0], found.sar[0, 0], len(voice)


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
    print(f"{'method':26}{'clips':>6}" + "".join(f"{f'G{measure}':>8}" for measure in MEASURES))
    for name in options.methods:
        separator = separators.build(name, project.settings, project.home)
        chunk = project.settings.separate.common.chunk
        found = np.array([score(separator, clip, chunk) for clip in progress_bar(clips, unit="clip", desc=name)])
        together = np.average(found[:, :-1], axis=0, weights=found[:, -1])
        figures[name] = {f"G{measure}": float(value) for measure, value in zip(MEASURES, together, strict=True)}
        figures[name]["NSDR"] = dict(zip([clip.stem for clip in clips], found[:, 0], strict=True))
        print(f"{name:26}{len(clips):>6}" + "".join(f"{value:8.2f}" for value in together), flush=True)
    if options.json:
        write_json(options.json, figures)


if __name__ == "__main__":
    main(run, sys.argv[1:])
