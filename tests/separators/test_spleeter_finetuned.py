"""The network that comes with svs, on a real song that it was not trained on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from svs import separators
from svs.audio.convert import resample
from svs.config import paths, project
from svs.config.schema import MethodWiring
from svs.errors import ModelError
from svs.separators import spleeter_finetuned
from svs.separators.segments import Segments
from tests.helpers.separation import sdr, separated

SHIPPED = paths.PACKAGE / "models" / "spleeter_finetuned"


def built(home: Path = Path("/nonexistent"), *overrides: str):
    """The method as `svs separate` builds it, at one pitch."""
    given = ["separate.spleeter_finetuned.semitones=[0.0]", *overrides]
    return separators.build("spleeter_finetuned", project.find_project(overrides=given).settings, home)


@pytest.fixture(scope="module")
def separator():
    return built()


@pytest.fixture(scope="module")
def whole(separator, stems):
    """The vocals of the song."""
    return separated(separator, stems["mixture"], 44100)


def test_it_separates_a_real_song(whole, stems):
    rest = stems["mixture"] - whole
    assert sdr(stems["vocals"], whole) > sdr(stems["vocals"], stems["mixture"] / 4) + 4
    assert sdr(stems["accompaniment"], rest) > sdr(stems["accompaniment"], stems["mixture"]) + 4


@pytest.mark.parametrize("gain", [0.01, 10.0])
def test_a_recording_at_any_gain_is_heard_alike(separator, whole, stems, gain):
    came = separated(separator, np.float32(gain) * stems["mixture"], 44100)
    np.testing.assert_allclose(came / gain, whole, atol=1e-4)


def test_mono_is_heard_as_both_channels(separator, stems):
    mono = stems["mixture"].mean(axis=1, keepdims=True)
    came = separated(separator, mono, 44100)
    both = separated(separator, np.repeat(mono, 2, axis=1), 44100)
    assert came.shape == mono.shape and np.abs(came).max() > 0.02
    np.testing.assert_allclose(came[:, 0], both.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("rate", [8000, 22050, 48000, 192000])
def test_at_every_rate_the_voice_is_found(separator, stems, rate):
    audio, voice = (resample(stems[name], 44100, rate) for name in ("mixture", "vocals"))
    came = separated(separator, audio, rate)
    assert came.shape == audio.shape
    assert sdr(voice, came) > sdr(voice, audio / 4) + 3


@pytest.mark.parametrize("samples", [1, 100, 3000])
def test_a_recording_may_be_short(separator, stems, samples):
    came = separated(separator, stems["mixture"][-samples:], 44100)
    assert came.shape == (samples, 2) and np.isfinite(came).all()


@pytest.mark.parametrize("rate, chunk", [(44100, 2.0), (48000, 30.0)])
def test_chunks_are_as_the_whole(separator, stems, rate, chunk):
    audio = resample(np.tile(stems["mixture"], (5, 1))[: 25 * 44100], 44100, rate)
    whole = separated(separator, audio, rate)
    assert np.abs(whole).max() > 0.1
    assert np.abs(separated(separator, audio, rate, chunk=chunk) - whole).max() < 1e-5


def test_silence_gives_silence(separator):
    assert not separated(separator, np.zeros((50000, 2), np.float32), 44100).any()


def test_options_of_pitch_and_of_the_mask_above(whole, stems):
    several = separated(
        built(Path("/nonexistent"), "separate.spleeter_finetuned.semitones=[0.0, 2.04]"), stems["mixture"], 44100
    )
    assert np.abs(several - whole).max() > 0.01
    zeros = separated(
        built(Path("/nonexistent"), "separate.spleeter_finetuned.mask_extension=zeros"), stems["mixture"], 44100
    )
    above = np.fft.rfft((whole - zeros)[:, 0])
    frequency = np.fft.rfftfreq(len(whole), 1 / 44100)
    energy = np.abs(above) ** 2
    assert energy[frequency > 11000].sum() > 0.99 * energy.sum() > 0


def test_a_net_of_the_project_is_used_instead(tmp_path, stems, settings):
    shutil.copytree(SHIPPED, tmp_path / "mine")
    card = tmp_path / "mine" / "model.json"
    changed = settings.model_copy(update={"methods": {"spleeter_finetuned": MethodWiring(needs=tmp_path / "mine")}})
    separator = separators.build("spleeter_finetuned", changed)
    assert isinstance(separator, Segments) and separator.level == json.loads(card.read_text())["level"]
    card.write_text(json.dumps(json.loads(card.read_text()) | {"bins": 512}))
    with pytest.raises(ModelError, match="mine: expected the card of spleeter's networks"):
        separators.build("spleeter_finetuned", changed)


def test_it_is_the_default_wherever_svs_runs(tmp_path, monkeypatch, settings):
    monkeypatch.setattr(paths, "user_data", lambda: tmp_path / "user")
    assert separators.default(settings, tmp_path) == spleeter_finetuned.NAME
    bare = settings.model_copy(update={"methods": {}})  # a project with a wiring.yaml of its own
    assert separators.default(bare, tmp_path) == spleeter_finetuned.NAME
