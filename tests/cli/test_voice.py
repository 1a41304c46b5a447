"""`svs voice` and `svs respiratory` as a person calls them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from svs.separators import methods
from tests.helpers.command import music, svs, wav, whole


def noisy(seconds, channels, rate):
    audio = music(seconds, channels, rate)
    return (audio + np.random.default_rng(0).normal(0, 0.05, audio.shape)).astype(np.float32)


@pytest.mark.parametrize(
    "rate, channels", [(8000, 1), (16000, 2), (44100, 1), pytest.param(192000, 2, marks=pytest.mark.slow)]
)
def test_a_voice(rate, channels, place, home):
    recording = noisy(3.0, channels, rate)  # what repeats lies a second apart at least
    wav(place / "a talk.wav", recording, rate)
    ran = svs("voice", "a talk.wav", "-q", "-m", "repet_sim", "--project", home, "-S", "separate.repet_sim.reach=5")
    assert (ran.code, ran.err) == (0, "")
    folder = place / "enhanced" / "a talk" / "repet_sim"
    assert sorted(os.listdir(folder)) == ["enhanced.wav", "residual.wav", "result.json", "spectrogram.png"]
    enhanced = whole(folder, recording, rate, names=("enhanced", "residual"))
    assert 0 < np.abs(enhanced).max() < np.abs(recording).max()
    assert (folder / "spectrogram.png").stat().st_size > 10_000


def test_breath_in_another_format(place, home):
    wav(place / "a.wav", noisy(1.0, 1, 8000), 8000)
    ran = svs(
        "respiratory",
        "a.wav",
        "-q",
        "-m",
        "repet_sim",
        "-o",
        "out",
        "-f",
        "flac",
        "--no-picture",
        "--project",
        home,
        "-S",
        "separate.repet_sim.reach=5",
    )
    assert (ran.code, ran.err) == (0, "")
    assert sorted(os.listdir("out/a/repet_sim")) == ["enhanced.flac", "residual.flac", "result.json"]
    assert (
        svs(
            "respiratory",
            "a.wav",
            "-m",
            "repet_sim",
            "-o",
            "out",
            "-f",
            "flac",
            "--no-picture",
            "--project",
            home,
            "-S",
            "separate.repet_sim.reach=5",
        ).err.count("was there already")
        == 1
    )


def test_the_speech_model_is_the_one_asked_for(place, home, monkeypatch):
    """`openunmix` here is umxse, whatever params.yaml says of songs."""
    from svs import separators
    from svs.separators.mixture import Mixture

    asked = []
    monkeypatch.setattr(
        separators,
        "build",
        lambda name, settings, home, device: (
            asked.append((name, separators.options("openunmix", settings).model)) or Mixture(0.5)
        ),
    )
    monkeypatch.setattr(separators, "needs", lambda name, settings: Path("params.yaml"))
    wav(place / "a.wav", noisy(0.5, 1, 16000), 16000)
    assert svs("voice", "a.wav", "-q", "-m", "openunmix", "-m", "repet_sim", "--project", home).code == 0
    assert asked == [("openunmix", "umxse"), ("repet_sim", "umxse")]


def test_the_default_says_its_name_and_why(place, home):
    """Without the packages of svs[voice] the Wiener filter takes over, and the first line says what to install."""
    from svs.services import enhancement

    wav(place / "a.wav", noisy(1.0, 1, 8000), 8000)
    ran = svs("respiratory", "a.wav", "--no-picture", "--project", home)
    assert ran.code == 0 and ran.lines()[0].endswith(
        "by wiener_noise, the best in our measurements; --method chooses another"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("svs.separators.method.installed", lambda module: False)
        ran = svs("voice", "a.wav", "-o", "out", "--no-picture", "--project", home)
    assert ran.code == 0 and "by wiener_noise, as speech_blend needs packages that are missing" in ran.lines()[0]
    assert "pip install 'svs[voice]'" in ran.lines()[0] and set(enhancement.METHODS) <= set(methods())


def test_strength_mixes_the_residual_back(place, home):
    recording = noisy(1.0, 1, 8000)
    wav(place / "a.wav", recording, 8000)
    full, half = (
        svs("voice", "a.wav", "-q", "-m", "wiener_noise", "-o", out, "--strength", share, "--project", home)
        for out, share in (("full", "1"), ("half", "0.5"))
    )
    assert full.code == half.code == 0
    (whole_, _), (mixed_, _) = (
        soundfile.read(place / out / "a" / "wiener_noise" / "enhanced.wav") for out in ("full", "half")
    )
    np.testing.assert_allclose(mixed_, (whole_ + recording[:, 0]) / 2, atol=1e-6)
    assert np.abs(mixed_ - whole_).max() > 1e-3
    assert svs("voice", "a.wav", "--strength", "1.5", "--project", home).code == 2


@pytest.mark.parametrize("mode", ["voice", "respiratory"])
@pytest.mark.parametrize(
    "words, match",
    [
        (["a.wav", "-m", "hpss"], "hpss: `svs {mode}` has the methods speech_blend, deepfilternet, "),
        (["b.wav"], "b.wav: .*there is no such file"),
        (["zero.wav"], "zero.wav: .*the file is empty"),
    ],
)
def test_trouble(mode, words, match, place, home):
    wav(place / "a.wav", noisy(0.5, 1, 8000), 8000)
    (place / "zero.wav").touch()
    ran = svs(mode, *words, "-q", "-o", "out", "--project", home)
    assert ran.code and len(ran.lines()) == 1 and ran.err.startswith("error: ")
    assert re.search(match.format(mode=mode), ran.err)
    assert not (place / "out").exists()
