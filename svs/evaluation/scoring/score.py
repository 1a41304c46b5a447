"""Scores: BSS Eval v4 (`svs.evaluation.scoring.bsseval`, or museval itself) against the stems of the data set.

Two protocols, which are never in one table:

`bsseval`       stems of their own channels and rate, frames of one second, the
                whole track (or the passage of the settings).
`dissertation`  as the dissertation scored: everything mono at 22,050 Hz,
                references rebuilt through the STFT, 60 s from second 30.

Beside protocol `bsseval`, the rulers of the settings measure the same passage (`svs.evaluation.rulers`).

A frame in which a reference or an estimate is digitally silent is NaN for all
targets (museval's convention).  If a reference or an estimate is silent in the
whole track, every frame is NaN (museval itself raises an error).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from svs.audio.convert import mono, passage, resample
from svs.audio.sources import Source, WavSource
from svs.config.schema import Score
from svs.data.dataset import SILENT, Dataset, Track
from svs.dsp.stft import istft, stft
from svs.errors import DataError
from svs.evaluation.museval_json import BLEED, BSSEVAL, DISSERTATION, MEASURES, PROTOCOLS, museval_json
from svs.evaluation.rulers import RULERS
from svs.evaluation.scoring import bsseval
from svs.runtime.files import write_json, write_text
from svs.runtime.parallel import over_tracks
from svs.stems import TARGETS


def evaluate(
    references: np.ndarray, estimates: np.ndarray, window: int, hop: int, engine: str = "fast"
) -> dict[str, np.ndarray]:
    """BSS Eval v4 of several sources: SDR, ISR, SIR and SAR in dB, float64 (sources, frames).

    Parameters
    ----------
    references, estimates : float (sources, samples, channels)
    window, hop : int
        Samples of a frame, and between frames.
    engine : {"fast", "museval"}
        Which code computes the scores.  `svs.evaluation.scoring.bsseval` says where they differ.

    Raises
    ------
    DataError
        The shapes differ, or a sample is not finite (engine `fast`).
    """
    if engine == "fast":
        return dict(zip(MEASURES, bsseval.evaluate(references, estimates, win=window, hop=hop), strict=True))
    import museval

    if not hasattr(np.linalg, "linalg"):
        # museval 0.4.1 catches np.linalg.linalg.LinAlgError, a name that numpy 2 dropped.
        np.linalg.linalg = np.linalg  # type: ignore[attr-defined]
    if not all(np.any(source.sum(axis=-1)) for source in (*references, *estimates)):
        frames = museval.metrics.Framing(window, hop, references.shape[1]).nwin
        return {measure: np.full((len(references), frames), np.nan) for measure in MEASURES}
    results = museval.evaluate(references, estimates, win=window, hop=hop, padding=False)
    return dict(zip(MEASURES, results, strict=True))


def score_sources(
    references: dict[str, Source], estimates: dict[str, Source], settings: Score, protocol: str
) -> dict[str, np.ndarray]:
    """Score `vocals` and `accompaniment` of one track by one protocol: the dict of `evaluate`."""
    shapes = {(source.rate, source.samples) for source in (*references.values(), *estimates.values())}
    if len(shapes) != 1:
        raise DataError(
            f"references and estimates differ in rate or length (Hz, samples): {sorted(shapes)}; "
            "separate and score the same track"
        )
    dissertation = settings.dissertation if protocol == DISSERTATION else None
    excerpt = dissertation.passage if dissertation else settings.passage
    first, last = passage(references["vocals"], excerpt.start, excerpt.duration)
    if first >= last and dissertation:
        first, last = passage(references["vocals"], 0.0, None)  # a track that ends before second 30
    if first >= last:
        raise DataError(f"the track ends before second {excerpt.start}; choose an earlier score.passage.start")

    def audio(sources: dict[str, Source], rebuilt: bool) -> np.ndarray:
        signals = [sources[target].read(first, last) for target in TARGETS]
        if dissertation:
            signals = [resample(mono(signal), references["vocals"].rate, rate) for signal in signals]
        if dissertation and rebuilt:
            signals = [istft(stft(signal, dissertation), dissertation, len(signal)) for signal in signals]
        return np.atleast_3d(np.stack(signals).astype(np.float64))

    rate = dissertation.sample_rate if dissertation else references["vocals"].rate
    return evaluate(
        audio(references, rebuilt=True),
        audio(estimates, rebuilt=False),
        round(settings.window * rate),
        round(settings.hop * rate),
        settings.engine,
    )


def measure(
    references: dict[str, Source], estimates: dict[str, Source], settings: Score
) -> dict[str, dict[str, float]]:
    """The figures of one track by the rulers of the settings, by target and column.

    The passage is that of protocol `bsseval`.  Raises as `svs.evaluation.scoring.measuring.measure`.
    """
    from svs.evaluation.scoring import measuring  # the rulers need packages that BSS Eval does not

    first, last = passage(references["vocals"], settings.passage.start, settings.passage.duration)
    true, made = (np.stack([of[target].read(first, last) for target in TARGETS]) for of in (references, estimates))
    frames = settings.bsseval_v3.window, settings.bsseval_v3.hop
    found = measuring.measure(measuring.Heard(true, made, references["vocals"].rate, frames), settings.rulers)
    return dict(zip(TARGETS, found, strict=True))


def bleed(vocals: Source, estimates: dict[str, Source], settings: Score) -> dict[str, float]:
    """Energy of the vocal estimate in the seconds in which nobody sings, which BSS Eval leaves out as NaN.

    A second is silent if the peak of the true `vocals` is below `svs.data.dataset.SILENT`.  The estimates `vocals` and
    `accompaniment` sum to the mixture.

    Returns
    -------
    dict
        The number of silent `seconds`, and the energies of the `vocals`' estimate and of the `mixture` in them.
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


def score_method(
    dataset: Dataset, estimates: Path, settings: Score, folder: Path, desc: str, protocols: Sequence[str] = PROTOCOLS
) -> None:
    """Score all test tracks of one method in parallel (`svs.runtime.parallel`).

    Parameters
    ----------
    dataset : Dataset
    estimates : Path
        Contains `test/<track>/{vocals,accompaniment}.wav`.
    settings : Score
    folder : Path
        Receives `<protocol>/test/<track>.json`, and with protocol `bsseval` `bleed/test/<track>.json` (`bleed`) and
        `rulers/test/<track>.json` (`measure`).
        Existing files are kept.
    desc : str
        For the progress bar.
    protocols : sequence of str
    """
    waiting = [
        (track, protocol)
        for track in dataset.manifest.split("test")
        for protocol in protocols
        if not _result(folder, protocol, track).exists()
    ]
    over_tracks(
        partial(score_track, dataset.bare(), estimates.absolute(), settings, folder.absolute()),
        waiting,
        [track.name for track, _ in waiting],
        desc=desc,
        seconds=[track.seconds for track, _ in waiting],
        folder=folder,
    )


def _result(folder: Path, kind: str, track: Track) -> Path:
    return folder / kind / track.subset / f"{track.name}.json"


def score_track(dataset: Dataset, estimates: Path, settings: Score, folder: Path, job: tuple[Track, str]) -> None:
    """Score one track by one protocol (`job`), and write the files that `score_method` describes."""
    track, protocol = job
    sources: dict[str, Source] = {
        target: WavSource(estimates / track.subset / track.name / f"{target}.wav") for target in TARGETS
    }
    with dataset.open(track, TARGETS) as references:
        scores = score_sources(references, sources, settings, protocol)
        if protocol == BSSEVAL:
            write_json(_result(folder, BLEED, track), bleed(references["vocals"], sources, settings))
            if settings.rulers:
                write_json(_result(folder, RULERS, track), measure(references, sources, settings))
    write_text(_result(folder, protocol, track), museval_json(track.name, scores, settings))
