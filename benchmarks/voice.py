"""The methods of `svs voice` and `svs respiratory` on noisy recordings that are made by rule (svs.data.noisy).

    python -m benchmarks.voice --speech FOLDER --breath FOLDER [--methods NAME ...] [--rulers] [--json FILE]

The speech is DIGIT_SPEAKER_TAKE.wav (Free Spoken Digit Dataset).  Each speaker says ten seconds of digits in random
order, with short pauses.  The noises are white, pink, babble (four of the other speakers) and music (the accompaniment
of a generated song).  Of the sorted speakers, the first, third, ... are those that the parameters were chosen on, the
others are held out.  Of the recordings of breath the first is for choosing.

A cell is the median SI-SDR in dB over the speakers, or the recordings, of one noise and SNR.  `--rulers` adds the
medians of the other rulers (svs.evaluation.speech).  A method that is not installed is left out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np

from svs import separators
from svs.audio.sources import ArraySource
from svs.config.project import find_project
from svs.data import noisy
from svs.errors import UnavailableError
from svs.evaluation import speech
from svs.runtime.files import write_json
from svs.runtime.parallel import over_tracks
from svs.runtime.process import log, main
from svs.separators.base import Separator
from svs.services import enhancement

SET = (  # of the recordings
    "noisy.rates=null",
    "noisy.voice.noises=[white, pink, babble, music]",
    "noisy.voice.snrs=[-5, 0, 5, 10, 15]",
    "noisy.voice.seconds=10",
    "noisy.respiratory.noises=[white, pink]",
    "noisy.respiratory.snrs=[0, 5, 10]",
    "noisy.respiratory.seconds=15",
)
METHODS = {  # column: method, parameters
    "repet_sim": ("repet_sim", ()),
    "librosa": ("repet_sim", ("separate.repet_sim.variant=librosa",)),
    "openunmix": ("openunmix", ()),
    "gate": ("spectral_gate", ("separate.spectral_gate.variant=stationary",)),
    "gate_ns": ("spectral_gate", ("separate.spectral_gate.variant=nonstationary",)),
    "wiener": ("wiener_noise", ()),
    "rnnoise": ("rnnoise", ()),
    "deepfilter": ("deepfilternet", ()),
    "blend": ("speech_blend", ()),
    "oracle_irm": ("oracle_irm", ()),
}
Row = dict[str, float | str]
_EQUAL = 0.005  # dB: resampling alone costs a part of it


@dataclass(frozen=True)
class Plan:
    """What is measured of every recording: the columns of METHODS, their parameters, the default and its strength."""

    columns: tuple[str, ...]
    overrides: tuple[str, ...]
    default: str
    strength: float
    rulers: bool


def recordings(kind: str, folder: Path) -> Iterator[noisy.Recording]:
    """The recordings of one kind, "voice" or "respiratory", from a folder of clean ones."""
    settings = find_project(overrides=[*SET, f"noisy.{kind}.folder={folder}"]).settings
    yield from noisy.recordings(settings.noisy, settings.seed, kinds=(kind,))


@cache
def built(names: tuple[str, ...], overrides: tuple[str, ...]) -> dict[str, Separator]:
    """The methods that can run here, by column."""
    found = {}
    for column in names:
        name, own = METHODS[column]
        try:
            found[column] = separators.build(name, find_project(overrides=[*overrides, *own]).settings)
        except (UnavailableError, ModuleNotFoundError) as error:
            log.warning("%s is left out: %s", column, error)
    return found


def measured(recording: noisy.Recording, plan: Plan) -> Row:
    """SI-SDR of the recording (`floor`), of the default of its command, and of every method; or all rulers."""
    entry, mixture = recording.entry, recording.mixture
    sources = [ArraySource(audio, entry.rate) for audio in (mixture, recording.clean)]
    estimates = {
        key: enhancement.enhanced(each, sources[0], 30.0, sources[1] if each.needs_references else None)
        for key, each in built(plan.columns, plan.overrides).items()
    }
    default = mixture + plan.strength * (estimates[plan.default] - mixture)
    row: Row = {"recording": entry.source, "split": entry.split, "noise": entry.noise, "snr": entry.snr}
    for key, estimate in {"floor": mixture, "default": default, **estimates}.items():
        if plan.rulers:
            found = speech.measures(entry.kind, recording.clean, mixture, estimate, entry.rate)
            row |= {f"{key} {name}": value for name, value in found.items()}
        row[key] = speech.si_sdr(recording.clean, estimate)
    return row


def summary(rows: list[Row]) -> None:
    """Print the medians of all rulers over all recordings."""
    print(f"\n{'':12}" + "".join(f"{name:>20}" for name in speech.MEASURES))
    for key in dict.fromkeys(column.split()[0] for column in rows[0] if " " in column):
        values = [np.nanmedian([row[f"{key} {name}"] for row in rows]) for name in speech.MEASURES[:-1]]
        print(f"{key:12}" + "".join(f"{value:20.2f}" for value in values))


def table(title: str, rows: list[Row]) -> None:
    """Print medians by noise and SNR, and how far the default changes the worst recording."""
    columns = [key for key in rows[0] if key not in ("recording", "split", "noise", "snr") and " " not in key]
    print(f"\n{title}: {', '.join(dict.fromkeys(str(row['recording']) for row in rows))}")
    print(f"{'noise':8}{'SNR':>4}" + "".join(f"{column:>11}" for column in columns) + f"{'worst':>8}")
    harmed = 0
    for noise, snr in dict.fromkeys((row["noise"], row["snr"]) for row in rows):
        cell = [row for row in rows if (row["noise"], row["snr"]) == (noise, snr)]
        medians = {column: float(np.median([row[column] for row in cell])) for column in columns}
        worst = min(float(row["default"]) - float(row["floor"]) for row in cell)
        harmed += medians["default"] < medians["floor"] - _EQUAL
        print(f"{noise:8}{snr:4.0f}" + "".join(f"{medians[each]:11.1f}" for each in columns) + f"{worst:+8.1f}")
    singles = sum(float(row["default"]) < float(row["floor"]) - _EQUAL for row in rows)
    print(f"the default is worse than the recording in {harmed} cells, and in {singles} of {len(rows)} recordings")


def run(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--speech", type=Path, help="folder of DIGIT_SPEAKER_TAKE.wav")
    parser.add_argument("--breath", type=Path, help="folder of recordings of breathing")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--rulers", action="store_true", help="measure ESTOI, PESQ and the rest too")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args(arguments)
    found: dict[str, list[Row]] = {}
    enhance = find_project().settings.enhance
    for wanted, folder in (("voice", options.speech), ("respiratory", options.breath)):
        if folder is None:
            continue
        defaults = getattr(enhance, wanted)
        overrides = enhancement.overrides(wanted)
        columns = tuple(built(tuple(options.methods), overrides))
        column = next((key for key in columns if METHODS[key][0] == defaults.methods[0]), None)
        if column is None:
            raise UnavailableError(f"{defaults.methods[0]}, the default of svs {wanted}, is not among the methods")
        plan = Plan(columns, overrides, column, defaults.strength, options.rulers)
        made = list(recordings(wanted, folder))
        rows = over_tracks(partial(measured, plan=plan), made, [each.entry.name for each in made], desc=f"svs {wanted}")
        found[wanted] = rows
        print(f"\nsvs {wanted}: SI-SDR in dB, median; default: {defaults.methods[0]}, strength {defaults.strength:g}")
        table("chosen on", [row for row in rows if row["split"] == "train"])
        table("held out", [row for row in rows if row["split"] == "test"])
        table("all", rows)
        if options.rulers:
            summary(rows)
    if options.json:
        write_json(options.json, found)


if __name__ == "__main__":
    main(run, sys.argv[1:])
