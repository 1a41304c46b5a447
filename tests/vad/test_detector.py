"""Where somebody sings: decisions and segments, and that a recording in blocks says what it says whole."""

from __future__ import annotations

import numpy as np
import pytest

from svs import networks
from svs.audio.convert import resample
from svs.audio.sources import ArraySource
from svs.config.project import find_project
from svs.dsp.stft import magnitude, stft
from svs.errors import ModelError
from svs.networks import archive
from svs.networks.windows import predictions
from svs.vad import detector as vad_detector
from svs.vad.activity import Activity
from svs.vad.detector import Detector, SingingNet
from tests.helpers.command import music, project
from tests.helpers.separation import OnKeras

WIDTH = 25
REPRESENTATION = {"sample_rate": 22050, "frame_size": 512, "win_length": 512, "hop_length": 256}


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = project(tmp_path_factory.mktemp("project"))
    net = networks.build("vad", 257, WIDTH, 1, input_gain=100.0, seed=4)
    weights = net.get_weights()
    weights[-2] = weights[-2] * 30
    net.set_weights(weights)
    archive.save(folder / "models" / "vad", net, {"representation": {**REPRESENTATION, "width": WIDTH}})
    return find_project(folder)


def activity(probability, threshold=0.5, smoothing=1, hop=0.1, seconds=None):
    probability = np.asarray(probability, dtype=np.float32)
    return Activity(
        np.arange(len(probability)) * hop,
        probability,
        threshold,
        smoothing,
        hop * len(probability) if seconds is None else seconds,
    )


@pytest.mark.parametrize(
    "probability, expected",
    [
        ([0, 0, 0], []),
        ([1, 1, 1], [(0, 0.25, 1)]),
        ([0, 1, 0], [(0.05, 0.15, 1)]),
        ([1, 0, 0.5, 0.75, 0], [(0, 0.05, 1), (0.15, 0.35, 0.625)]),
        ([0.5], [(0, 0.25, 0.5)]),
        ([0.49], []),
    ],
)
def test_segments(probability, expected):
    """A frame stands for the half hop on either side; a probability at the threshold is singing."""
    came = activity(probability, seconds=0.25 if len(probability) < 5 else 0.5)
    assert [tuple(np.round(segment, 6)) for segment in came.segments()] == [pytest.approx(one) for one in expected]
    assert came.sung() == pytest.approx(sum(end - start for start, end, _ in expected))


def test_smoothing():
    jittery = [0, 1, 0, 0, 0, 1, 1, 0, 1, 1, 1, 0]
    assert activity(jittery, smoothing=3).active().astype(int).tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 0]
    assert activity(jittery, smoothing=1).active().astype(int).tolist() == jittery


@pytest.mark.parametrize(
    "rate, channels, seconds", [(44100, 2, 2.3), (8000, 1, 1.0), (22050, 1, 2.0), (192000, 2, 0.7)]
)
def test_blocks_give_what_the_whole_gives(rate, channels, seconds, here, monkeypatch):
    audio = music(seconds, channels, rate)
    model, _ = archive.load(here.home / "models" / "vad")
    detector = Detector(here)
    same = resample(audio.mean(axis=1), rate, 22050)
    representation = here.settings.extract.vad.model_copy(update=REPRESENTATION)
    spectrum = magnitude(stft(same, representation), representation)
    windows = predictions(OnKeras(model), spectrum, WIDTH, np.arange(spectrum.shape[1]), 64)
    expected = np.concatenate([found[:, 0] for _, found in windows])
    assert expected.max() - expected.min() > 0.1
    for block in (17, 64, 4096):
        monkeypatch.setattr(vad_detector, "_BLOCK", block)
        came = detector.listen(ArraySource(audio, rate))
        np.testing.assert_allclose(came.probability, expected, atol=1e-4)
        assert came.seconds == pytest.approx(seconds) and len(came.times) == len(expected)
        np.testing.assert_allclose(np.diff(came.times), 256 / 22050)


@pytest.mark.parametrize("frames", [1, 12, 63, 64, 300])
def test_probabilities_are_those_of_each_window_alone(here, frames):
    model, _ = archive.load(here.home / "models" / "vad")
    settings = here.settings.extract.vad.model_copy(update={**REPRESENTATION, "width": WIDTH})
    audio = music(5.0, 1, 22050)[: frames * 256 - 1]
    _, came = SingingNet(here.home / "models" / "vad", settings).heard(ArraySource(audio, 22050))
    assert came.shape == (frames,)
    spectrum = magnitude(stft(audio[:, 0], settings), settings)
    padded = np.pad(spectrum, ((0, 0), (WIDTH // 2, WIDTH // 2)))
    for frame in sorted({0, frames // 3, frames // 2, 62 % frames, 63 % frames, frames - 1}):
        logit = float(np.asarray(model(padded[None, :, frame : frame + WIDTH, None]))[0, 0])
        assert came[frame] == pytest.approx(1 / (1 + np.exp(-logit)), abs=2e-6)
    assert frames < 63 or came.max() - came.min() > 0.01


@pytest.mark.parametrize("samples", [1, 100, 882, 13000])
def test_any_length(samples, here):
    came = Detector(here, 0.0).listen(ArraySource(music(1.0)[:samples], 44100))
    assert np.isfinite(came.probability).all()
    assert came.segments() == [(0.0, pytest.approx(samples / 44100), pytest.approx(float(came.probability.mean())))]


@pytest.mark.parametrize("gain", [0.01, 10.0])
def test_singing_is_heard_at_any_gain(here, tmp_path, gain):
    net, card = archive.load(here.home / "models" / "vad")
    folder = project(tmp_path / "project")
    archive.save(folder / "models" / "vad", net, {**card, "level": 0.05})
    audio = music(2.0)
    expected = Detector(find_project(folder)).listen(ArraySource(audio, 44100)).probability
    quiet = ArraySource(np.float32(gain) * audio, 44100)
    np.testing.assert_allclose(Detector(find_project(folder)).listen(quiet).probability, expected, atol=1e-4)
    assert np.abs(Detector(here).listen(quiet).probability - expected).max() > 0.05  # a net without a level


def test_the_threshold(here, tmp_path):
    assert Detector(here).threshold == 0.5 and Detector(here, 0.0).threshold == 0.0
    (here.home / "metrics").mkdir()
    (here.home / "metrics" / "vad.json").write_text('{"threshold": 0.25}')
    try:
        assert Detector(here).threshold == 0.25 and Detector(here, 0.75).threshold == 0.75
    finally:
        (here.home / "metrics" / "vad.json").unlink()
        (here.home / "metrics").rmdir()
    with pytest.raises(ModelError, match="no such model"):
        Detector(find_project(project(tmp_path / "empty")))
