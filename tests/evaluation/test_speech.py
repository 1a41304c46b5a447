"""Rulers of speech enhancement against values by hand and other implementations, on real speech where it is there."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from svs.audio.convert import resample
from svs.data import noisy
from svs.data.noisy_set import Entry
from svs.errors import DataError
from svs.evaluation import denoised, speech
from svs.runtime import unavailable
from svs.runtime.files import write_json
from tests.helpers import REPOSITORY
from tests.helpers.command import wav

FOLDER = Path(os.environ.get("SVS_SPEECH", REPOSITORY.parent / "shared" / "data" / "speech"))


@pytest.fixture(scope="module")
def spoken():
    """Real speech of six seconds, the same in pink noise at 5 dB, and the rate."""
    if not FOLDER.is_dir():
        pytest.skip(f"no recordings of speech at {FOLDER}; name a folder with SVS_SPEECH")
    clean, rate = noisy.utterance(sorted(FOLDER.glob("*_theo_*.wav")), 6, 1)
    return clean, noisy.mixed(clean, noisy.pink(len(clean), np.random.default_rng(0)), 5), rate


def test_si_sdr_is_the_projection_onto_the_source(spoken):
    """Against a least-squares fit; a gain changes nothing."""
    clean, mixture, _ = spoken
    (gain,), (rest,), *_ = np.linalg.lstsq(clean[:, None].astype(float), mixture.astype(float), rcond=None)
    expected = 10 * np.log10(np.sum((gain * clean.astype(float)) ** 2) / rest)
    assert speech.si_sdr(clean, mixture) == pytest.approx(expected, abs=1e-6)
    assert speech.si_sdr(clean, 0.01 * mixture) == pytest.approx(expected, abs=1e-4)


def test_the_rulers_rank_less_noise_higher(spoken):
    clean, mixture, rate = spoken
    better = (clean + mixture) / 2
    low, high = (speech.measures("voice", clean, mixture, estimate, rate) for estimate in (mixture, better))
    for name in ("SI_SDR", "SEGMENTAL_SNR", "ESTOI"):
        assert high[name] > low[name]
    assert low["SI_SDR_IMPROVEMENT"] == low["NOISE_LEFT"] == 0
    assert high["NOISE_LEFT"] == pytest.approx(-6.02, abs=0.01)  # half the amplitude where nobody speaks
    if speech.installed("pesq"):
        assert 1 < low["PESQ_WB"] < high["PESQ_WB"] < 4.7 and 1 < low["PESQ_NB"] < high["PESQ_NB"] < 4.6
    assert np.isnan(low["DNSMOS"])


def estoi_by_hand(clean, estimate):
    """Extended STOI as Jensen & Taal write it, for signals at 10 kHz without silent frames."""

    def bands(audio):
        window = np.hanning(258)[1:-1]
        frames = np.lib.stride_tricks.sliding_window_view(audio, 256)[::128][:-1]
        power = np.abs(np.fft.rfft(frames * window, 512)) ** 2
        grid = np.linspace(0, 10000, 513)[:257]
        edges = [
            [np.argmin((grid - 150 * 2 ** ((2 * band + side) / 6)) ** 2) for side in (-1, 1)] for band in range(15)
        ]
        return np.sqrt([power[:, low:high].sum(axis=1) for low, high in edges])

    segments = [np.lib.stride_tricks.sliding_window_view(bands(audio), 30, axis=1) for audio in (clean, estimate)]

    def normal(values, axis):
        values = values - values.mean(axis=axis, keepdims=True)
        return values / (np.linalg.norm(values, axis=axis, keepdims=True) + np.finfo(float).eps)

    x, y = (normal(normal(each, 2), 0) for each in segments)
    return np.sum(x * y) / 30 / x.shape[1]


def test_estoi_is_that_of_the_paper():
    """On sound without pauses, where nothing is left out as silent."""
    clean = np.random.default_rng(0).normal(0, 0.1, 30_000) * (1.5 + np.sin(np.arange(30_000) / 700))
    estimate = clean + np.random.default_rng(1).normal(0, 0.15, len(clean))
    assert speech.estoi(clean, estimate, 10_000) == pytest.approx(estoi_by_hand(clean, estimate), abs=0.01)
    assert np.isnan(speech.estoi(clean[:2000], estimate[:2000], 10_000)), "too little speech"


def test_segments_count_between_limits_and_only_where_there_is_sound():
    rate, tone = 8000, np.sin(np.arange(8000) / 3)
    clean = np.concatenate([tone, np.zeros(8000)])
    error = np.concatenate([0.1 * tone, np.ones(8000)])
    assert speech.segmental_snr(clean, clean + error, rate) == pytest.approx(20, abs=0.01)
    assert speech.segmental_snr(clean, clean, rate) == 35 and speech.segmental_snr(clean, clean + 100, rate) == -10
    assert speech.noise_left(clean, clean + error, clean + 0.1 * error, rate) == pytest.approx(-20, abs=0.01)
    assert np.isnan(speech.noise_left(tone, tone, tone, rate)), "nowhere silent"


@pytest.mark.slow
def test_dnsmos_is_the_mean_of_its_network_over_nine_seconds(spoken):
    """Its ONNX file run here on the recording repeated to 12 s, in steps of a second, with the published polynomial."""
    speechmos = pytest.importorskip("speechmos", reason="DNSMOS needs speechmos, of svs[pipeline]")
    import onnxruntime

    _, mixture, rate = spoken
    file = Path(speechmos.__file__).parent / "dnsmos_models" / "sig_bak_ovr.onnx"
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    audio = np.tile(resample(mixture[:, None], rate, 16000)[:, 0], 2)
    passages = [audio[step * 16000 :][:144160] for step in range(3)]
    raw = [session.run(None, {"input_1": passage[None]})[0][0][2] for passage in passages]
    expected = np.polyval([-0.06766283, 1.11546468, 0.04602535], raw).mean()
    assert speech.dnsmos(mixture, rate) == pytest.approx(expected, abs=1e-3)


def test_tables_of_methods_with_their_differences(tmp_path):
    """Two recordings by two methods, one of which halves the noise; a method that could not run has no row."""
    generator, listed = np.random.default_rng(0), []
    for snr in (0.0, 6.0):
        entry = Entry("respiratory", "breath 1", "test", "white", snr, 8000)
        clean = generator.normal(0, 0.1, 8000)
        mixture = noisy.mixed(clean, generator.normal(size=8000), snr)
        wav(tmp_path / "set" / entry.name / "clean.wav", clean[:, None], 8000)
        wav(tmp_path / "set" / entry.name / "mixture.wav", mixture[:, None], 8000)
        wav(tmp_path / "mixture" / f"{entry.name}.wav", mixture[:, None], 8000)
        wav(tmp_path / "half" / f"{entry.name}.wav", (clean + mixture)[:, None] / 2, 8000)
        listed.append(vars(entry))
    write_json(tmp_path / "set" / "recordings.json", listed)
    for method in ("mixture", "half"):
        rows = speech.score(tmp_path / "set", tmp_path / method, method, opinion=False)
        write_json(tmp_path / "scores" / method / "scores.json", rows)
    unavailable.record(tmp_path / "scores" / "missing", "missing", "no package")
    assert speech.metrics(rows)["respiratory"]["SI_SDR_IMPROVEMENT"]["median"] == pytest.approx(6.02, abs=0.3)
    assert speech.metrics(rows)["respiratory"]["ESTOI"]["median"] is None, "breathing is no speech"
    table = denoised.table(tmp_path / "scores", ["mixture", "half", "missing"])
    assert list(table.columns) == list(denoised.COLUMNS) and len(table) == 4
    paired = denoised.against_floor(table, 1)
    assert list(paired["method"]) == ["half"] and paired["wins"].item() == paired["recordings"].item() == 2
    assert paired["difference"].item() == pytest.approx(6.02, abs=0.3)
    assert "half" in denoised.as_text(paired)
    wav(tmp_path / "half" / f"{entry.name}.wav", mixture[:100, None], 8000)
    with pytest.raises(DataError, match="expected 8000 samples, got 100"):
        speech.score(tmp_path / "set", tmp_path / "half", "half", opinion=False)
