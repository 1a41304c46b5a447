"""Rulers of a voice, or of breathing, that was taken out of noise.

SI-SDR (Le Roux et al., ICASSP 2019) and its improvement; the segmental SNR (Hansen & Pellom, ICSLP 1998); how much of
the noise is left where the source is silent; and for speech ESTOI (Jensen & Taal, TASLP 2016, by pystoi), PESQ (ITU-T
P.862 and P.862.2, by pesq) and DNSMOS (Reddy et al., ICASSP 2022, by speechmos), which needs no clean source.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from svs.audio.convert import resample
from svs.audio.sources import WavSource
from svs.data.noisy_set import entries
from svs.errors import DataError
from svs.evaluation.ratios import si_sdr
from svs.runtime.unavailable import installed

# Better where higher, but for NOISE_LEFT.  ESTOI is a correlation; PESQ and DNSMOS are opinion scores from 1 to 5; the
# rest is in dB.
MEASURES = ("SI_SDR", "SI_SDR_IMPROVEMENT", "SEGMENTAL_SNR", "NOISE_LEFT", "ESTOI", "PESQ_WB", "PESQ_NB", "DNSMOS")
_FRAME = 0.02  # s
_SEGMENTAL = -10.0, 35.0  # dB between which the SNR of a frame counts
_SILENT = 40.0  # dB below the loud frames (95th percentile) where the source is silent
_FEWEST = 5  # silent frames that are needed for a level
_TINY = 1e-20
_SPEECH_RATE = 16000  # Hz, of PESQ (wide band), ESTOI and DNSMOS
_NARROW_RATE = 8000  # Hz, of PESQ (narrow band)
_UNDEFINED = 1e-5  # what pystoi says of a recording that holds too little speech


def segmental_snr(clean: np.ndarray, estimate: np.ndarray, rate: int) -> float:
    """Mean SNR in dB of the frames in which the source is not silent, each between -10 and 35 dB."""
    wanted, error = (_frames(audio, rate) for audio in (clean, clean - estimate))
    snr = 10 * np.log10((wanted + _TINY) / (error + _TINY))
    return float(np.clip(snr, *_SEGMENTAL)[~_silent(wanted)].mean())


def noise_left(clean: np.ndarray, mixture: np.ndarray, estimate: np.ndarray, rate: int) -> float:
    """Power of the estimate where the source is silent, over that of the recording there, in dB; NaN if it never is."""
    silent = _silent(_frames(clean, rate))
    if silent.sum() < _FEWEST:
        return float("nan")
    left, noise = (_frames(audio, rate)[silent].sum() for audio in (estimate, mixture))
    return max(10 * float(np.log10(max(left, _TINY) / max(noise, _TINY))), -100.0)


def estoi(clean: np.ndarray, estimate: np.ndarray, rate: int) -> float:
    """Extended short-time objective intelligibility, -1 to 1; NaN if the recording holds too little speech."""
    from pystoi import stoi

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of too little speech
        found = float(stoi(clean, estimate, rate, extended=True))
    # pystoi adds random numbers of 1e-16, against divisions by 0.
    return float("nan") if found == _UNDEFINED else round(found, 6)


def pesq(clean: np.ndarray, estimate: np.ndarray, rate: int) -> tuple[float, float]:
    """PESQ of wide band (P.862.2) and of narrow band (P.862); NaN where it finds no utterance, or is not installed."""
    if not installed("pesq"):
        return float("nan"), float("nan")
    from pesq import PesqError
    from pesq import pesq as measure

    found = []
    for band, wanted in (("wb", _SPEECH_RATE), ("nb", _NARROW_RATE)):
        pair = (_at(audio, rate, wanted) for audio in (clean, estimate))
        score = measure(wanted, *pair, band, on_error=PesqError.RETURN_VALUES)
        found.append(float(score) if score > 0 else float("nan"))
    return found[0], found[1]


def dnsmos(estimate: np.ndarray, rate: int) -> float:
    """Overall quality that the network of DNSMOS P.835 predicts, 1 to 5; the recording is repeated up to 9 s."""
    from speechmos import dnsmos as network

    audio = _at(estimate, rate, _SPEECH_RATE)
    return float(network.run(audio / max(1.0, float(np.abs(audio).max())), _SPEECH_RATE)["ovrl_mos"])


def measures(
    kind: str, clean: np.ndarray, mixture: np.ndarray, estimate: np.ndarray, rate: int, opinion: bool = False
) -> dict[str, float]:
    """All `MEASURES` of one estimate, NaN where one does not apply.

    Parameters
    ----------
    kind : "voice" or "respiratory"
        Breathing is no speech: it gets neither ESTOI nor PESQ nor DNSMOS.
    clean, mixture, estimate : float (samples,)
    rate : int
        Hz.
    opinion : bool
        Whether DNSMOS is measured.
    """
    found = dict.fromkeys(MEASURES, float("nan"))
    found["SI_SDR"] = si_sdr(clean, estimate)
    found["SI_SDR_IMPROVEMENT"] = found["SI_SDR"] - si_sdr(clean, mixture)
    found["SEGMENTAL_SNR"] = segmental_snr(clean, estimate, rate)
    found["NOISE_LEFT"] = noise_left(clean, mixture, estimate, rate)
    if kind == "voice":
        found["ESTOI"] = estoi(clean, estimate, rate)
        found["PESQ_WB"], found["PESQ_NB"] = pesq(clean, estimate, rate)
        if opinion:
            found["DNSMOS"] = dnsmos(estimate, rate)
    return found


def score(recordings: Path, estimates: Path, method: str, opinion: bool) -> list[dict[str, Any]]:
    """A row for each recording of a set (`svs.data.noisy_set`), by a method's `NAME.wav`.

    Raises
    ------
    DataError
        An estimate is missing, or has another length than its recording.
    """
    rows = []
    for entry in entries(recordings):
        wavs = [recordings / entry.name / name for name in ("clean.wav", "mixture.wav")]
        clean, mixture, estimate = (_read(path) for path in (*wavs, estimates / f"{entry.name}.wav"))
        if len(estimate) != len(clean):
            raise DataError(f"{estimates}: {entry.name}: expected {len(clean)} samples, got {len(estimate)}")
        found = measures(entry.kind, clean, mixture, estimate, entry.rate, opinion)
        described = {key: getattr(entry, key) for key in ("kind", "source", "noise", "snr")}
        rows.append({"method": method, "recording": entry.name, **described, **found})
    return rows


def metrics(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Medians over recordings, nested for `dvc metrics diff`: kind, measure, {median}; None without a value."""
    found: dict[str, Any] = {"recordings": len(rows)}
    for kind in dict.fromkeys(row["kind"] for row in rows):
        found[kind] = {}
        for measure in MEASURES:
            values = np.array([row[measure] for row in rows if row["kind"] == kind], dtype=float)
            values = values[np.isfinite(values)]
            found[kind][measure] = {"median": round(float(np.median(values)), 4) if len(values) else None}
    return found


def _read(path: Path) -> np.ndarray:
    source = WavSource(path)
    return source.read(0, source.samples)[:, 0]


def _at(audio: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    return resample(audio[:, None].astype(np.float32), rate, wanted)[:, 0]


def _frames(audio: np.ndarray, rate: int) -> np.ndarray:
    """Power of each whole frame, float64 (frames,)."""
    size = round(_FRAME * rate)
    whole = audio[: len(audio) // size * size].astype(np.float64).reshape(-1, size)
    return np.mean(whole**2, axis=1)


def _silent(power: np.ndarray) -> np.ndarray:
    """Frames in which a source is silent, by its power: bool (frames,)."""
    return power < np.percentile(power, 95) * 10 ** (-_SILENT / 10)
