"""The methods of `svs voice` and `svs respiratory` on noisy recordings that are made by rule: SI-SDR in dB.

    python -m benchmarks.voice --speech FOLDER --breath FOLDER [--methods NAME ...] [--json FILE]

The speech is DIGIT_SPEAKER_TAKE.wav (Free Spoken Digit Dataset).  Each speaker says ten seconds of digits in random
order, with short pauses.  The noises are white, pink, babble (four of the other speakers) and music (the accompaniment
of a song of svs.data.synthetic).  Of the sorted speakers, the first, third, ... are those that the parameters were
chosen on, the others are held out.  Of the recordings of breath the first is for choosing.

A cell is the median over the speakers, or the recordings, of one noise and SNR.  A method that is not installed is left
out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile

from svs import separators
from svs.audio.convert import resample
from svs.audio.sources import ArraySource
from svs.config.project import find_project
from svs.data import synthetic
from svs.errors import DataError, UnavailableError
from svs.runtime.files import write_json
from svs.runtime.process import log, main
from svs.separators.base import Separator
from svs.separators.chunking import chunks
from svs.services.enhancement import BREATH, SPEECH

SEED, SECONDS = 20, 10
SPEECH_SNRS, BREATH_SNRS = (-5, 0, 5, 10, 15), (0, 5, 10)  # dB
BREATH_START, BREATH_SECONDS = 5, 15  # s: of each recording of breath
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


def si_sdr(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al., ICASSP 2019)."""
    reference, estimate = reference.astype(np.float64), estimate.astype(np.float64)
    target = (reference @ estimate) / (reference @ reference) * reference
    return float(10 * np.log10((target @ target) / max(np.square(estimate - target).sum(), 1e-20)))


def mixed(signal: np.ndarray, noise: np.ndarray, snr: float) -> np.ndarray:
    """A signal with noise at an SNR in dB over the whole of it: float32 (samples,)."""
    gain = np.sqrt(np.mean(signal**2) / np.mean(noise**2)) * 10 ** (-snr / 20)
    return (signal + gain * noise).astype(np.float32)


def pink(samples: int, generator: np.random.Generator) -> np.ndarray:
    """Noise whose power falls by 3 dB an octave."""
    spectrum = np.fft.rfft(generator.normal(size=samples))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[0] = 0
    return np.fft.irfft(spectrum, samples)


def utterance(files: list[Path], seed: tuple[int, ...]) -> tuple[np.ndarray, int]:
    """Ten seconds of digits in random order, equally loud, with pauses of 0.05 to 0.35 s; and their rate."""
    generator = np.random.default_rng(seed)
    pieces: list[np.ndarray] = []
    for index in generator.permutation(len(files)):
        audio, rate = soundfile.read(files[index], dtype="float32")
        pause = np.zeros(int(generator.uniform(0.05, 0.35) * rate), np.float32)
        pieces += [0.05 * audio / np.sqrt(np.mean(audio**2)), pause]
        if sum(map(len, pieces)) >= SECONDS * rate:
            return np.concatenate(pieces)[: SECONDS * rate], rate
    raise DataError(f"{files[0].parent}: expected {SECONDS} s of each speaker")


def speech(folder: Path, only: str | None = None) -> Iterator[tuple[str, np.ndarray, dict[str, np.ndarray], int]]:
    """For each speaker, or `only` one, the name, the clean utterance, the noises by name, and the rate."""
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*_*_*.wav")):
        files.setdefault(path.stem.split("_")[1], []).append(path)
    if len(files) < 5:
        raise DataError(f"{folder}: expected DIGIT_SPEAKER_TAKE.wav of five speakers or more, got {len(files)}")
    names = sorted(files)
    for index, name in enumerate(names):
        if only not in (None, name):
            continue
        clean, rate = utterance(files[name], (0, index))
        places = [(index + step) % len(names) for step in range(1, 5)]
        generator = np.random.default_rng([SEED, index])
        song = synthetic.song([SEED, index], SECONDS)
        band = sum(stem.astype(np.float32) for stem in (song["drums"], song["bass"], song["other"]))
        yield (
            name,
            clean,
            {
                "white": generator.normal(size=len(clean)),
                "pink": pink(len(clean), generator),
                "babble": np.sum([utterance(files[names[place]], (1, place))[0] for place in places], axis=0),
                "music": resample(band.mean(axis=1, keepdims=True), synthetic.RATE, rate)[: len(clean), 0],
            },
            rate,
        )


def breath(folder: Path) -> Iterator[tuple[str, np.ndarray, dict[str, np.ndarray], int]]:
    """For each recording the name, a passage of it, the noises by name, and the rate."""
    paths = sorted(folder.glob("*.wav"))
    if not paths:
        raise DataError(f"{folder}: expected recordings of breathing, *.wav")
    for path in paths:
        audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
        clean = audio[BREATH_START * rate : (BREATH_START + BREATH_SECONDS) * rate, 0]
        generator = np.random.default_rng(SEED)
        yield (
            path.stem,
            clean,
            {"white": generator.normal(size=len(clean)), "pink": pink(len(clean), generator)},
            rate,
        )


def estimated(separator: Separator, mixture: np.ndarray, clean: np.ndarray, rate: int) -> np.ndarray:
    """What a method makes of a recording (samples,), in chunks as the commands do."""
    references = {"vocals": clean, "accompaniment": mixture - clean} if separator.needs_references else {}
    true = {name: ArraySource(audio[:, None], rate) for name, audio in references.items()}
    source = ArraySource(mixture[:, None], rate)
    return np.concatenate([estimate for _, estimate in chunks(separator, source, 30.0, true)])[:, 0]


def built(names: list[str], overrides: tuple[str, ...]) -> dict[str, Separator]:
    """The methods that can run here, by column."""
    found = {}
    for column in names:
        name, own = METHODS[column]
        try:
            found[column] = separators.build(name, find_project(overrides=[*overrides, *own]).settings)
        except (UnavailableError, ModuleNotFoundError) as error:
            log.warning("%s is left out: %s", column, error)
    return found


def measured(
    recordings: Iterator[tuple[str, np.ndarray, dict[str, np.ndarray], int]],
    snrs: tuple[int, ...],
    methods: dict[str, Separator],
    default: Callable[[dict[str, np.ndarray], np.ndarray], np.ndarray],
) -> Iterator[Row]:
    """SI-SDR of the recording (`floor`), of the `default` of its command, and of every method."""
    for name, clean, noises, rate in recordings:
        for noise, sound in noises.items():
            for snr in snrs:
                mixture = mixed(clean, sound, snr)
                estimates = {key: estimated(each, mixture, clean, rate) for key, each in methods.items()}
                estimates = {"floor": mixture, "default": default(estimates, mixture), **estimates}
                scores = {key: si_sdr(clean, each) for key, each in estimates.items()}
                yield {"recording": name, "noise": noise, "snr": snr, **scores}
        log.info("%s is done", name)


def table(title: str, rows: list[Row]) -> None:
    """Print medians by noise and SNR, and how far the default changes the worst recording."""
    columns = [key for key in rows[0] if key not in ("recording", "noise", "snr")]
    print(f"\n{title}: {', '.join(dict.fromkeys(str(row['recording']) for row in rows))}")
    print(f"{'noise':8}{'SNR':>4}" + "".join(f"{column:>11}" for column in columns) + f"{'worst':>8}")
    harmed = 0
    for noise, snr in dict.fromkeys((row["noise"], row["snr"]) for row in rows):
        cell = [row for row in rows if (row["noise"], row["snr"]) == (noise, snr)]
        medians = {column: float(np.median([row[column] for row in cell])) for column in columns}
        worst = min(float(row["default"]) - float(row["floor"]) for row in cell)
        harmed += medians["default"] < medians["floor"]
        print(f"{noise:8}{snr:4}" + "".join(f"{medians[each]:11.1f}" for each in columns) + f"{worst:+8.1f}")
    singles = sum(float(row["default"]) < float(row["floor"]) for row in rows)
    print(f"the default is worse than the recording in {harmed} cells, and in {singles} of {len(rows)} recordings")


def run(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--speech", type=Path, help="folder of DIGIT_SPEAKER_TAKE.wav")
    parser.add_argument("--breath", type=Path, help="folder of recordings of breathing")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args(arguments)
    found: dict[str, list[Row]] = {}
    enhance = find_project().settings.enhance
    for wanted, folder, recordings, snrs, overrides, defaults in (
        ("voice", options.speech, speech, SPEECH_SNRS, SPEECH, enhance.voice),
        ("respiratory", options.breath, breath, BREATH_SNRS, BREATH, enhance.respiratory),
    ):
        if folder is None:
            continue
        methods = built(options.methods, overrides)
        column = next((key for key in methods if METHODS[key][0] == defaults.methods[0]), None)
        if column is None:
            raise UnavailableError(f"{defaults.methods[0]}, the default of svs {wanted}, is not among the methods")

        def default(estimates, mixture, column=column, strength=defaults.strength):
            return mixture + strength * (estimates[column] - mixture)

        rows = list(measured(recordings(folder), snrs, methods, default))
        found[wanted] = rows
        names = list(dict.fromkeys(row["recording"] for row in rows))
        chosen = names[::2] if wanted == "voice" else names[:1]
        print(f"\nsvs {wanted}: SI-SDR in dB, median; default: {defaults.methods[0]}, strength {defaults.strength:g}")
        table("chosen on", [row for row in rows if row["recording"] in chosen])
        table("held out", [row for row in rows if row["recording"] not in chosen])
        table("all", rows)
    if options.json:
        write_json(options.json, found)


if __name__ == "__main__":
    main(run, sys.argv[1:])
