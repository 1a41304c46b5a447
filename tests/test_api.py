"""`svs.load` and `svs.separate`: arrays in, arrays out, and clear errors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest

import svs
from svs.errors import DataError, ModelError, SettingsError
from svs.networks import archive
from tests.helpers.command import music, project

NEAR = ("separate.repet_sim.reach=5", "separate.knn_median.reach=5")
REPRESENTATION = {"sample_rate": 22050, "frame_size": 512, "win_length": 512, "hop_length": 256, "width": 9}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A project with a small net, whose mask takes all values."""
    folder = project(tmp_path_factory.mktemp("project"))
    layers = [
        keras.layers.Rescaling(300.0),
        keras.layers.ZeroPadding2D((2, 0)),
        keras.layers.Conv2D(1, (5, 9), kernel_initializer=keras.initializers.GlorotNormal(3)),
        keras.layers.Reshape((257, 1)),
    ]
    out = source = keras.Input((257, 9, 1))
    for layer in layers:
        out = layer(out)
    net = keras.Model(source, out)
    archive.save(folder / "models" / "cnn_separator", net, {"representation": REPRESENTATION, "label_width": 1})
    return folder


@pytest.mark.parametrize("method", ["mixture", "hpss", "repet_sim", "knn_median", "cnn_separator"])
@pytest.mark.parametrize(
    "shape, rate",
    [
        ((11000,), 22050),
        ((11000, 2), 44100),
        ((4000, 6), 8000),
        ((160, 1), 8000),
        ((96000, 1), 192000),
        ((1000, 1), 1000),
        ((2000, 1), 4000),
        ((5000, 1), 384000),
    ],
)
def test_arrays(method, shape, rate, home):
    audio = music(1.0, 6, rate)[: shape[0], : shape[1] if len(shape) > 1 else 1].reshape(shape)
    before = audio.copy()
    parts = svs.separate(audio, rate, method, project=home, overrides=NEAR)
    assert list(parts) == ["vocals", "accompaniment"]
    for part in parts.values():
        assert part.shape == shape and part.dtype == np.float32 and np.isfinite(part).all()
    np.testing.assert_allclose(parts["vocals"] + parts["accompaniment"], audio, atol=1e-6)
    np.testing.assert_array_equal(audio, before)


@pytest.mark.parametrize(
    "method, options",
    [
        ("hpss", ["hpss.two_stage.long.overlap=2", "hpss.two_stage.short.overlap=2"]),
        ("knn_median", ["knn_median.overlap=2"]),
        ("repet_sim", ["repet_sim.variant=librosa", "repet_sim.librosa.overlap=2"]),
        ("wiener_noise", ["wiener_noise.overlap=2"]),
    ],
)
def test_no_click_at_the_end_where_windows_overlap_by_half(method, options, home):
    """One sample before another frame would begin, only the edge of the last one reaches the end."""
    audio = np.random.default_rng(7).normal(0, 0.1, 2**15 - 1).astype(np.float32)
    overrides = [*NEAR, *(f"separate.{option}" for option in options)]
    vocals = svs.separate(audio, 44100, method, project=home, overrides=overrides)["vocals"]
    assert np.abs(vocals).max() < np.abs(audio).max()


@pytest.mark.parametrize("gain", [0.01, 10.0])
def test_a_quiet_or_loud_copy_gives_the_same_at_its_gain(home, tmp_path, gain):
    net, card = archive.load(home / "models" / "cnn_separator")
    archive.save(project(tmp_path / "project") / "models" / "cnn_separator", net, {**card, "level": 0.1})
    audio = music(1.0)
    expected, came = (svs.separate(each, 44100, project=tmp_path / "project") for each in (audio, gain * audio))
    assert np.abs(expected["vocals"]).max() > 0.01
    for name, part in came.items():
        np.testing.assert_allclose(part / gain, expected[name], atol=1e-4)


def test_the_default_is_our_net(home):
    audio = music(0.5)
    expected = svs.separate(audio, 44100, "spleeter_finetuned", project=home)
    came = svs.separate(audio, rate=44100, project=home)
    np.testing.assert_array_equal(came["vocals"], expected["vocals"])
    assert np.abs(came["vocals"]).max() > 0


def test_two_threads_share_a_separator(home):
    songs = [music(2.0, seed=seed) for seed in range(4)]
    with svs.load("cnn_separator", project=home, overrides=["separate.common.chunk=2"]) as separator:
        expected = [separator.separate(song, 44100)["vocals"].tobytes() for song in songs]
        with ThreadPoolExecutor(2) as threads:
            came = list(threads.map(lambda song: separator.separate(song, 44100)["vocals"].tobytes(), songs))
    assert came == expected and len(set(expected)) == 4


def test_a_loaded_separator_tells_its_progress_and_can_be_closed(home):
    audio, shares = music(5.0), []
    with svs.load("mixture", project=home, overrides=["separate.common.chunk=2"]) as separator:
        assert separator.method == "mixture"
        parts = separator.separate(audio, 44100, progress=shares.append)
    np.testing.assert_allclose(shares, [0.4, 0.8, 1.0])
    np.testing.assert_array_equal(parts["vocals"], svs.separate(audio, 44100, "mixture", project=home)["vocals"])
    with pytest.raises(ValueError, match="closed; load the method again"):
        separator.separate(audio, 44100)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_kinds_of_floats(dtype, home):
    audio = music(0.2).astype(dtype)
    parts = svs.separate(audio, 44100, "mixture", project=home)
    np.testing.assert_allclose(parts["vocals"], 0.25 * audio.astype(np.float32), atol=1e-6)
    assert parts["accompaniment"].dtype == np.float32


def test_overrides_and_references(home):
    audio, voice = music(1.0), 0.3 * music(1.0, seed=1)
    share = svs.separate(audio, 44100, "mixture", project=home, overrides=("separate.mixture.share=1.0",))
    np.testing.assert_array_equal(share["vocals"], audio)
    true = {"vocals": voice, "accompaniment": audio - voice}
    came = svs.separate(audio, 44100, "oracle_irm", references=true, project=home)["vocals"]
    assert np.sum((came - voice) ** 2) < 0.5 * np.sum(voice**2)


def test_a_list_of_overrides(home):
    parts = svs.separate(music(0.1), 44100, "mixture", project=str(home), overrides=["separate.mixture.share=0.5"])
    np.testing.assert_allclose(parts["vocals"], 0.5 * music(0.1), atol=1e-7)


@pytest.mark.parametrize(
    "audio, rate, match",
    [
        (np.zeros((0, 2), np.float32), 44100, "holds no samples"),
        (np.zeros((10, 2), np.int16), 44100, "expected float samples .* got int16"),
        (np.zeros(10, complex), 44100, "expected float samples"),
        (np.zeros((2, 3, 4), np.float32), 44100, "expected float samples"),
        (np.float32(1.0), 44100, "expected float samples"),
        (np.zeros((2, 44100), np.float32), 44100, "44100 channels of 2 samples; .* transpose"),
        (np.full((10, 2), np.nan, np.float32), 44100, "NaN or infinite"),
        (np.full(10, -np.inf, np.float32), 44100, "NaN or infinite"),
        (np.full(10, 1e300), 44100, "NaN or infinite|too large"),
        (np.zeros(10, np.float32), 0, "rate: expected"),
        (np.zeros(10, np.float32), 44100.5, "rate: expected"),
        (np.zeros(10, np.float32), -8000, "rate: expected"),
        (np.zeros(10, np.float32), True, "rate: expected"),
        (np.zeros(10, np.float32), float("nan"), "rate: expected"),
        (np.zeros(10, np.float32), "44100", "rate: expected"),
        (np.zeros(10, np.float32), None, "rate: expected"),
        (np.zeros(10, np.float32), float("inf"), "rate: expected"),
    ],
)
def test_arrays_that_are_no_audio(audio, rate, match, home):
    with pytest.raises(DataError, match=match):
        svs.separate(audio, rate, "mixture", project=home)


def test_what_cannot_be_separated(home, tmp_path, monkeypatch):
    audio = music(0.1)
    with pytest.raises(SettingsError, match="magic: no such method"):
        svs.separate(audio, 44100, "magic", project=home)
    with pytest.raises(DataError, match="oracle_ibm needs the true stems"):
        svs.separate(audio, 44100, "oracle_ibm", project=home)
    with pytest.raises(DataError, match="reference vocals: expected the shape of the audio"):
        svs.separate(audio, 44100, "oracle_ibm", references={"vocals": audio[1:], "accompaniment": audio}, project=home)
    with pytest.raises(DataError, match="references: expected vocals and accompaniment, got vocals"):
        svs.separate(audio, 44100, "oracle_ibm", references={"vocals": audio}, project=home)
    with pytest.raises(ModelError, match="no such model"):
        svs.separate(audio, 44100, "cnn_deep_separator", project=home)
    with pytest.raises(SettingsError, match="expected a folder that holds params.yaml"):
        svs.separate(audio, 44100, "mixture", project=tmp_path)
