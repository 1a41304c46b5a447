"""Rulers beside BSS Eval v4: the figures of other programs on real music; silent, short, mono and identical tracks."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from svs.audio.sources import ArraySource, WavSource
from svs.config import schema
from svs.data.synthetic import write_stempeg_song
from svs.errors import DataError, SettingsError
from svs.evaluation import ratios, rulers, tables
from svs.evaluation.scoring import bsseval_v3, log_wmse, score, spectra
from svs.evaluation.scoring.measuring import Heard, measure
from svs.stems import ACCOMPANIMENT, STREAMS, TARGETS
from tests.helpers import REPOSITORY

MIR1K = REPOSITORY.parent / "shared" / "data" / "mir1k"
RATE = 44100
LIMIT = 10 * np.log10(2.0**52)  # dB: where ratios end


@pytest.fixture(scope="module")
def song(tmp_path_factory) -> tuple[np.ndarray, np.ndarray]:
    """Three seconds of the song that comes with stempeg, and estimates: float32 (2, samples, 2)."""
    folder = tmp_path_factory.mktemp("song") / "song"
    write_stempeg_song(folder)
    start, stop = 2 * RATE, 5 * RATE + 777
    stems = {stream: WavSource(folder / f"{stream}.wav").read(start, stop) for stream in STREAMS}
    references = np.stack([stems["vocals"], sum(stems[name] for name in ACCOMPANIMENT)])
    return references, estimated(references)


def estimated(references: np.ndarray, seed: int = 0) -> np.ndarray:
    """Too quiet, with something of the other source, and noise."""
    noise = np.random.default_rng(seed).normal(0, 0.1 * references.std(), references.shape)
    return (0.8 * references + 0.1 * references[::-1] + noise).astype(np.float32)


# Other programs, on real music


def tensor(audio: np.ndarray):
    """(channels, samples) as a batch of one."""
    import torch

    return torch.tensor(np.ascontiguousarray(audio.T)[None])


@pytest.mark.parametrize("target", [0, 1])
def test_ratios_and_distance_are_those_of_auraloss(song, target):
    auraloss = pytest.importorskip("auraloss")
    reference, estimate = (audio[target] for audio in song)
    flat = [tensor(audio.reshape(-1, 1)) for audio in (estimate, reference)]
    snr = -float(auraloss.time.SNRLoss(zero_mean=False)(*flat))
    assert ratios.usdr(reference, estimate) == pytest.approx(snr, abs=1e-3)
    si_sdr = -float(auraloss.time.SISDRLoss(zero_mean=False)(*flat))
    assert ratios.si_sdr(reference, estimate) == pytest.approx(si_sdr, abs=1e-3)
    distance = float(auraloss.freq.MultiResolutionSTFTLoss()(tensor(estimate), tensor(reference)))
    assert spectra.mr_stft(reference, estimate) == pytest.approx(distance, rel=1e-5)


def test_log_wmse_is_that_of_its_authors(song, monkeypatch):
    pytest.importorskip("torch")
    # The package resamples its filter by torchaudio, which need not fit the installed torch; here nothing is resampled.
    monkeypatch.setitem(sys.modules, "torchaudio", ModuleType("torchaudio"))
    monkeypatch.setitem(sys.modules, "torchaudio.transforms", SimpleNamespace(Resample=None))
    theirs = pytest.importorskip("torch_log_wmse").LogWMSE(p=0)
    references, estimates = song
    mixture = references.sum(axis=0)
    ours = log_wmse.log_wmse(mixture, references, estimates, RATE)
    assert ours.shape == (2,) and abs(ours[0] - ours[1]) > 1
    for target in (0, 1):
        stems = [tensor(audio[target])[:, :, None] for audio in (estimates, references)]
        assert ours[target] == pytest.approx(float(theirs(tensor(mixture), *stems)), abs=1e-3)


def test_log_wmse_hardly_depends_on_the_rate(song):
    from svs.audio.convert import resample

    # Below 8 kHz, which both rates hold.
    low = [np.stack([resample(resample(stem, RATE, 16000), 16000, RATE) for stem in audio]) for audio in song]
    high = [np.stack([resample(stem, RATE, 48000) for stem in audio]) for audio in low]
    figures = [log_wmse.log_wmse(audio[0].sum(axis=0), *audio, rate) for audio, rate in ((low, RATE), (high, 48000))]
    np.testing.assert_allclose(*figures, atol=0.01)


def of_mir_eval(references, estimates, win=None, hop=None) -> np.ndarray:
    """SDR, SIR and SAR by mir_eval: (3, sources, frames)."""
    mir_eval = pytest.importorskip("mir_eval")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # mir_eval will drop it in its next release
        if win is None:
            found = mir_eval.separation.bss_eval_sources(references, estimates, compute_permutation=False)[:3]
            return np.stack(found)[..., None]
        return np.stack(mir_eval.separation.bss_eval_sources_framewise(references, estimates, win, hop)[:3])


def assert_as_mir_eval(references: np.ndarray, estimates: np.ndarray, win=None, hop=None) -> bsseval_v3.Scores:
    ours = bsseval_v3.evaluate(references, estimates, *(() if win is None else (win, hop)))
    np.testing.assert_allclose(np.stack(ours[:3]), of_mir_eval(references, estimates, win, hop), rtol=0, atol=1e-6)
    return ours


def test_v3_of_a_song_is_mir_eval_s(song):
    references, estimates = (audio.mean(axis=2, dtype=np.float64) for audio in song)
    found = assert_as_mir_eval(references, estimates)
    mixture = np.repeat(references.sum(axis=0, keepdims=True), 2, axis=0)
    before = of_mir_eval(references, mixture)[0]
    np.testing.assert_allclose(found.nsdr, found.sdr - before, atol=1e-6)
    assert (np.abs(found.nsdr - found.sdr) > 0.1).all()


def test_v3_by_frames_is_mir_eval_s(song):
    references, estimates = (audio.mean(axis=2, dtype=np.float64)[:, : 2 * RATE] for audio in song)
    references[0, RATE : RATE + RATE // 2] = 0  # one frame of it is silent
    found = assert_as_mir_eval(references, estimates, RATE // 2, RATE // 4)
    assert found.sdr.shape == (2, 7) and np.isnan(found.sdr[:, 4]).all() and np.isfinite(found.sdr[:, :3]).all()
    # Less than two frames are the whole signal.
    for win in (RATE + RATE // 2, 3 * RATE):
        assert assert_as_mir_eval(references, estimates, win, RATE).sdr.shape == (2, 1)


def test_v3_of_mir1k_is_mir_eval_s():
    clips = sorted(MIR1K.glob("*.wav"))[::26]
    if not clips:
        pytest.skip(f"no clips of MIR-1K at {MIR1K}")
    for path in clips:
        clip = WavSource(path)
        references = clip.read(0, clip.samples).T.astype(np.float64)
        assert_as_mir_eval(references, estimated(references[..., None])[..., 0].astype(np.float64))


# Silent, short, mono, identical

NAN = float("nan")


def noise(samples: int = RATE, channels: int = 2) -> np.ndarray:
    return np.random.default_rng(5).normal(0, 0.1, (2, samples, channels)).astype(np.float32)


def vocals_of(which: str, references: np.ndarray, estimates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    references, estimates = references.copy(), estimates.copy()
    if which in ("reference", "both"):
        references[0] = 0
    if which in ("estimate", "both"):
        estimates[0] = 0
    return references, estimates


SHORT, MONO = noise(100), noise(channels=1)
SOUND = (noise(), estimated(noise()))
ENERGY = {which: float(np.square(SOUND[index][0], dtype=np.float64).sum()) for index, which in enumerate("re")}
FINITE, HIGH = object(), object()
CASES = {
    "identical": ((SOUND[0], SOUND[0]), [10 * np.log10(ENERGY["r"] / 1e-7), LIMIT, 73.6827, 0.0, HIGH, HIGH]),
    "silent reference": (
        vocals_of("reference", *SOUND),
        [10 * np.log10(1e-7 / ENERGY["e"]), NAN, FINITE, FINITE, NAN, NAN],
    ),
    "silent estimate": (vocals_of("estimate", *SOUND), [0.0, NAN, FINITE, FINITE, NAN, NAN]),
    "both silent": (vocals_of("both", *SOUND), [0.0, NAN, 73.6827, 0.0, NAN, NAN]),
    "all silent": ((0 * SOUND[0], 0 * SOUND[0]), [0.0, NAN, 73.6827, 0.0, NAN, NAN]),
    "short": ((SHORT, estimated(SHORT)), [FINITE] * 6),
    "one sample": ((SHORT[:, :1], estimated(SHORT)[:, :1]), [FINITE] * 6),
    "mono": ((MONO, estimated(MONO)), [FINITE] * 6),
}
SHOWN = ("uSDR", "SI_SDR", "log_WMSE", "MR_STFT", "SDR_v3", "SDR_v3_frames")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", CASES)
def test_what_a_ruler_says_of_odd_tracks(case):
    (references, estimates), expected = CASES[case]
    vocals, accompaniment = measure(Heard(references, estimates, RATE), list(rulers.COLUMNS))
    assert list(vocals) == list(accompaniment) == [column for columns in rulers.COLUMNS.values() for column in columns]
    for column, value in zip(SHOWN, expected, strict=True):
        found = vocals[column]
        if value is FINITE:
            assert np.isfinite(found), column
        elif value is HIGH:  # rounding decides how high
            assert 120 < found <= LIMIT + 1e-6, column
        else:
            assert found == pytest.approx(value, abs=2e-3, nan_ok=True), column


def test_a_leak_into_silence_costs_in_log_wmse_what_it_costs_in_uSDR():
    references, estimates = vocals_of("reference", *SOUND)
    loud, quiet = (measure(Heard(references, scale * estimates, RATE), ["uSDR", "log_WMSE"])[0] for scale in (1.0, 0.1))
    assert quiet["uSDR"] - loud["uSDR"] == pytest.approx(20, abs=1e-2)
    assert quiet["log_WMSE"] - loud["log_WMSE"] == pytest.approx(4 * np.log(100), abs=1e-2)


@pytest.mark.parametrize("wrong", ["shape", "nan"])
def test_audio_that_can_t_be_measured_is_refused(wrong):
    references, estimates = noise(1000), estimated(noise(1000))
    if wrong == "shape":
        estimates = estimates[:, :-1]
    else:
        estimates[1, 3, 0] = np.nan
    with pytest.raises(DataError, match="separate and score the same track" if wrong == "shape" else "not finite"):
        measure(Heard(references, estimates, RATE), ["uSDR"])
    mono = [audio[..., 0] for audio in (references, estimates)]
    with pytest.raises(DataError):
        bsseval_v3.evaluate(*mono)


# Parameters, files, tables, metrics


def test_parameters_name_the_rulers_that_there_are(settings):
    assert set(get_args(schema.Ruler)) == set(rulers.COLUMNS)
    assert settings.score.rulers == ("uSDR", "SI_SDR", "log_WMSE")
    with pytest.raises(SettingsError, match="each ruler once"):
        schema.changed(settings.score, "score", rulers=["uSDR", "uSDR"])
    with pytest.raises(SettingsError, match="score.rulers.0"):
        schema.changed(settings.score, "score", rulers=["PESQ"])


def test_the_passage_that_is_scored_is_measured(settings):
    audio = noise(3 * 8000), estimated(noise(3 * 8000))
    sources = [{target: ArraySource(of[index], 8000) for index, target in enumerate(TARGETS)} for of in audio]
    chosen = settings.score.model_copy(
        update={"passage": schema.Passage(start=1.0, duration=1.5), "rulers": ("SI_SDR", "uSDR")}
    )
    found = score.measure(*sources, chosen)
    for index, target in enumerate(TARGETS):
        part = [of[index, 8000:20000] for of in audio]
        assert found[target] == {"SI_SDR": ratios.si_sdr(*part), "uSDR": ratios.usdr(*part)}


@pytest.fixture
def scored(tmp_path) -> Path:
    """A method's folder with three tracks by BSS Eval v4, and their figures by two rulers."""
    for number, (track, usdr, nsdr, seconds) in enumerate(
        (("a", 4.0, 10.0, 3.0), ("b", 8.0, None, 9.0), ("c", 9.0, 4.0, 1.0))
    ):
        frames = [{"time": 0.0, "duration": 1.0, "metrics": dict.fromkeys(("SDR", "ISR", "SIR", "SAR"), float(number))}]
        figures = {"uSDR": usdr, "SDR_v3": 1.0, "SIR_v3": 2.0, "SAR_v3": 3.0, "NSDR": nsdr, "seconds": seconds}
        for kind, content in (
            ("bsseval", {"targets": [{"name": target, "frames": frames} for target in TARGETS]}),
            ("dissertation", {"targets": [{"name": target, "frames": frames} for target in TARGETS]}),
            ("rulers", dict.fromkeys(TARGETS, figures)),
        ):
            path = tmp_path / "net" / kind / "test" / f"{track}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content))
    return tmp_path


def test_tables_have_the_figures_after_those_of_bss_eval(scored):
    table = tables.gather(scored, ["net"], "bsseval")
    assert list(table)[: len(tables.TRACK_COLUMNS)] == list(tables.TRACK_COLUMNS)
    assert list(table)[len(tables.TRACK_COLUMNS) :] == ["uSDR", "SDR_v3", "SIR_v3", "SAR_v3", "NSDR", "seconds"]
    assert table["uSDR"].tolist() == [4.0, 4.0, 8.0, 8.0, 9.0, 9.0] and table["NSDR"].isna().sum() == 2
    assert list(tables.gather(scored, ["net"], "dissertation")) == list(tables.TRACK_COLUMNS)
    tables.write_table(scored / "scores.csv", table)
    back = tables.read_table(scored / "scores.csv", tables.TRACK_COLUMNS)
    pd.testing.assert_frame_equal(back, table.astype(back.dtypes))


def test_without_rulers_tables_are_what_they_were(scored):
    for path in (scored / "net" / "rulers" / "test").iterdir():
        path.unlink()
    table = tables.gather(scored, ["net"], "bsseval")
    assert list(table) == list(tables.TRACK_COLUMNS)
    assert "uSDR" not in tables.method_metrics(table)["vocals"]


def test_metrics_have_means_and_gnsdr_weighted_by_length(scored):
    found = tables.method_metrics(tables.track_table(scored / "net", "net", "bsseval"))["vocals"]
    assert found["uSDR"] == {"mean": 7.0, "median": 8.0}
    assert found["GNSDR"] == 8.5  # (3 * 10 + 1 * 4) / 4: a track without a figure has no weight
    assert (found["GSIR"], found["GSAR"]) == (2.0, 3.0)
    assert found["SDR"] == {"median": 1.0}
