"""Scores: BSS Eval v4 (`svs.evaluation.bsseval`, or museval itself) against the data set's own stems.

Two protocols, never in one table:

`bsseval`  stereo stems at their own rate, one-second frames, the whole track
           (or the passage that the settings name).
`seed`     as the dissertation scored: everything mono at 22,050 Hz, references
           rebuilt through the STFT, 60 s from second 30.

A frame in which a reference or an estimate is digitally silent is NaN for all
targets (museval's convention); so is every frame of a track with a silent
reference or estimate, where museval itself raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from svs.audio.convert import mono, passage, resample
from svs.audio.sources import Source, WavSource
from svs.config.schema import Representation, Score
from svs.data.dataset import SILENT, Dataset, Track
from svs.dsp.stft import istft, stft
from svs.errors import DataError
from svs.evaluation import bsseval
from svs.evaluation.museval_json import BLEED, BSSEVAL, DISSERTATION, MEASURES, PROTOCOLS, museval_json
from svs.runtime.cluster import over_tracks
from svs.runtime.files import write_json, write_text
from svs.stems import TARGETS


def evaluate(
    references: np.ndarray, estimates: np.ndarray, window: int, hop: int, engine: str = "fast"
) -> dict[str, np.ndarray]:
    """BSS Eval v4 of several sources.

    Parameters
    ----------
    references, estimates : float (sources, samples, channels)
    window, hop : int
        Samples of a frame, and between frames.
    engine : {"fast", "museval"}
        Which code computes them; the figures are the same (`svs.evaluation.bsseval` says how far).

    Returns
    -------
    dict of str to float64 (sources, frames)
        SDR, ISR, SIR and SAR in dB.

    Raises
    ------
    DataError
        The shapes differ.
    """
    if references.shape != estimates.shape:
        raise DataError(
            f"references have the shape {references.shape}, estimates {estimates.shape}; "
            "separate and score the same track"
        )
    if engine == "fast":
        return dict(zip(MEASURES, bsseval.evaluate(references, estimates, win=window, hop=hop), strict=True))
    import museval

    if not hasattr(np.linalg, "linalg"):
        # museval 0.4.1 catches np.linalg.linalg.LinAlgError, a name that numpy 2 dropped.
        np.linalg.linalg = np.linalg
    sounding = [np.any(source) for source in (*references, *estimates)]
    if not all(sounding):
        frames = museval.metrics.Framing(window, hop, references.shape[1]).nwin
        return {measure: np.full((len(references), frames), np.nan) for measure in MEASURES}
    results = museval.evaluate(references, estimates, win=window, hop=hop, padding=False)
    return dict(zip(MEASURES, results, strict=True))


def score_sources(
    references: dict[str, Source], estimates: dict[str, Source], settings: Score, protocol: str
) -> dict[str, np.ndarray]:
    """Score `vocals` and `accompaniment` of one track by one protocol: see `evaluate`."""
    shapes = {(source.rate, source.samples) for source in (*references.values(), *estimates.values())}
    if len(shapes) != 1:
        raise DataError(
            f"references and estimates differ in rate or length (Hz, samples): {sorted(shapes)}; "
            "separate and score the same track"
        )
    seed = protocol == DISSERTATION
    excerpt = settings.dissertation.passage if seed else settings.passage
    first, last = passage(references["vocals"], excerpt.start, excerpt.duration)
    if first >= last and seed:
        first, last = passage(references["vocals"], 0.0, None)  # a track that ends before second 30
    if first >= last:
        raise DataError(f"the track ends before second {excerpt.start}; choose an earlier score.passage.start")

    def audio(sources: dict[str, Source], rebuilt: bool) -> np.ndarray:
        signals = [sources[target].read(first, last) for target in TARGETS]
        if seed:
            signals = [
                _as_the_dissertation(signal, references["vocals"].rate, settings.dissertation, rebuilt)
                for signal in signals
            ]
        return np.stack(signals).astype(np.float64)

    rate = settings.dissertation.sample_rate if seed else references["vocals"].rate
    return evaluate(
        audio(references, rebuilt=True),
        audio(estimates, rebuilt=False),
        round(settings.window * rate),
        round(settings.hop * rate),
        settings.engine,
    )


def _as_the_dissertation(signal: np.ndarray, rate: int, representation: Representation, rebuilt: bool) -> np.ndarray:
    """Mono at the dissertation's rate, through the STFT and back if `rebuilt`: (samples, 1)."""
    single = resample(mono(signal), rate, representation.sample_rate)
    if rebuilt:
        single = istft(stft(single, representation), representation, len(single))
    return single[:, None]


def bleed(vocals: Source, estimates: dict[str, Source], settings: Score) -> dict[str, float]:
    """What a method calls vocals in the seconds in which nobody sings, which BSS Eval leaves out as NaN.

    Parameters
    ----------
    vocals : Source
        The true ones; a second of them counts as silent below a peak of `svs.data.dataset.SILENT`.
    estimates : dict of str to Source
        `vocals` and `accompaniment`, which sum to the mixture.
    settings : Score
        The window and the passage.

    Returns
    -------
    dict
        `seconds` that are silent, and the energies of `vocals`' estimate and of the `mixture` in them.
    """
    first, last = passage(vocals, settings.passage.start, settings.passage.duration)
    window = round(settings.window * vocals.rate)
    found = {"seconds": 0.0, "vocals": 0.0, "mixture": 0.0}
    for start in range(first, last - window + 1, window):
        if np.abs(vocals.read(start, start + window)).max(initial=0.0) < SILENT:
            sung, rest = (estimates[target].read(start, start + window).astype(np.float64) for target in TARGETS)
            found["seconds"] += settings.window
            found["vocals"] += float(np.square(sung).sum())
            found["mixture"] += float(np.square(sung + rest).sum())
    return found


@dataclass(frozen=True)
class _Job:
    track: Track
    protocol: str
    result: Path


def score_method(
    dataset: Dataset, estimates: Path, settings: Score, folder: Path, desc: str, protocols: Sequence[str] = PROTOCOLS
) -> None:
    """Score all test tracks of one method, side by side (`svs.runtime.cluster`), by both protocols or the one named.

    Parameters
    ----------
    dataset : Dataset
    estimates : Path
        `test/<track>/{vocals,accompaniment}.wav` below it.
    settings : Score
    folder : Path
        Gets `<protocol>/test/<track>.json`, and `bleed/test/<track>.json` (`leak`);
        what is there already is not scored again.
    desc : str
        For the progress bar.
    protocols : sequence of str
    """
    jobs = [
        _Job(track, protocol, folder.absolute() / protocol / track.subset / f"{track.name}.json")
        for track in dataset.manifest.split("test")
        for protocol in protocols
    ]
    waiting = [job for job in jobs if not job.result.exists()]
    over_tracks(
        partial(_score_track, dataset.bare(), estimates.absolute(), settings),
        waiting,
        [job.track.name for job in waiting],
        folder,
        unit="s",
        desc=desc,
        amounts=[job.track.seconds for job in waiting],
    )


def _score_track(dataset: Dataset, estimates: Path, settings: Score, job: _Job) -> None:
    track = job.track
    sources: dict[str, Source] = {
        target: WavSource(estimates / track.subset / track.name / f"{target}.wav") for target in TARGETS
    }
    with dataset.open(track, TARGETS) as references:
        scores = score_sources(references, sources, settings, job.protocol)
        if job.protocol == BSSEVAL:
            write_json(
                job.result.parents[2] / BLEED / track.subset / job.result.name,
                bleed(references["vocals"], sources, settings),
            )
    write_text(job.result, museval_json(track.name, scores, settings))
