"""What the commands and `svs.separate` share: arrays, orders, names of folders, one run at a time."""

from __future__ import annotations

import os
from pathlib import Path

import keras
import numpy as np
import pytest

import svs
from svs.errors import DataError, ModelError, SettingsError, UnavailableError
from svs.networks import archive
from svs.services import recordings
from svs.services.recordings import Order
from tests.helpers.command import music, project, wav

NEAR = ("separate.repet_sim.reach=5", "separate.knn_median.reach=5")
REPRESENTATION = {"sample_rate": 22050, "frame_size": 512, "win_length": 512, "hop_length": 256, "width": 9}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A project with a small net, whose mask takes all values."""
    folder = project(tmp_path_factory.mktemp("project"))
    source = keras.Input((257, 9, 1))
    out = keras.layers.Conv2D(1, (5, 9), padding="same", kernel_initializer=keras.initializers.GlorotNormal(3))(
        keras.layers.Rescaling(300.0)(source)
    )
    net = keras.Model(source, keras.layers.Reshape((257, 1))(out[:, :, 4:5]))
    archive.save(folder / "models" / "cnn_separator", net, {"representation": REPRESENTATION, "label_width": 1})
    return folder


# -- svs.separate


@pytest.mark.parametrize("method", ["mixture", "hpss", "repet_sim", "knn_median", "cnn_separator"])
@pytest.mark.parametrize(
    "shape, rate", [((11000,), 22050), ((11000, 2), 44100), ((4000, 6), 8000), ((160, 1), 8000), ((96000, 1), 192000)]
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


def test_the_default_is_our_net(home):
    audio = music(0.5)
    expected = svs.separate(audio, 44100, "cnn_separator", project=home)
    came = svs.separate(audio, rate=44100, project=home)
    np.testing.assert_array_equal(came["vocals"], expected["vocals"])
    assert np.abs(came["vocals"]).max() > 0


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
    with pytest.raises(ModelError, match="no such model"):
        svs.separate(audio, 44100, "cnn_deep_separator", project=home)
    with pytest.raises(SettingsError, match="expected a folder that holds params.yaml"):
        svs.separate(audio, 44100, "mixture", project=tmp_path)


# -- orders


@pytest.mark.parametrize(
    "changes, match",
    [
        ({"methods": ("magic",)}, "magic: no such method"),
        ({"codec": "ogg"}, "ogg: no such format"),
        ({"start": -1.0}, "start: expected seconds from 0, got -1"),
        ({"start": float("nan")}, "start: .* got nan"),
        ({"start": float("inf")}, "start: .* got inf"),
        ({"duration": 0.0}, "duration: expected seconds above 0"),
        ({"duration": float("nan")}, "duration: .* got nan"),
        ({"duration": -2.0}, "duration: .* got -2"),
    ],
)
def test_impossible_orders(changes, match):
    with pytest.raises(SettingsError, match=match):
        Order(**{"methods": ("mixture",), "output": Path("out")} | changes)


def test_methods_that_cannot_run_are_left_out(home, tmp_path):
    from svs.config.project import find_project

    some = recordings.Service(find_project(home), Order(("cnn_deep_separator", "mixture", "mixture"), tmp_path))
    assert some.methods == ["mixture"] and list(some.unavailable) == ["cnn_deep_separator"]
    assert "no such model" in some.unavailable["cnn_deep_separator"]
    with pytest.raises((ModelError, UnavailableError), match="no such model"):
        recordings.Service(find_project(home), Order(("cnn_deep_separator",), tmp_path))


# -- names of folders


@pytest.mark.parametrize(
    "paths, names",
    [
        (["a.mp3", "b/c d.wav"], ["a", "c d"]),
        (["a.mp3", "a.wav"], ["a.mp3", "a.wav"]),
        (["x/a.mp3", "y/a.mp3", "b.mp3"], ["x - a.mp3", "y - a.mp3", "b"]),
        (["z/x/a.mp3", "w/x/a.mp3"], ["z - x - a.mp3", "w - x - a.mp3"]),
        (["x/a.mp3", "x/a.wav", "y/a.wav"], ["a.mp3", "x - a.wav", "y - a.wav"]),
        ([".hidden", "...wav", "..wav", "no suffix"], [".hidden", "...wav", "..wav", "no suffix"]),
    ],
)
def test_names_of_songs(paths, names, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert recordings.song_names([Path(path) for path in paths]) == names
    assert recordings.song_names([tmp_path / path for path in paths]) == names


def test_long_names_stay_apart_and_fit(tmp_path):
    ends = ["a" * 250, "a" * 249 + "b", "歌" * 83, "歌" * 82 + "é"]
    names = recordings.song_names([tmp_path / f"{end}.wav" for end in ends])
    assert len(set(names)) == 4 and all(len(name.encode()) <= 200 for name in names)
    for name in names:
        (tmp_path / name).mkdir()


def test_results_are_no_recordings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.wav", "out/a/hpss/vocals.wav", "out/a/hpss/other.wav", "stems/vocals.wav"):
        wav(tmp_path / name, music(0.01))
    (tmp_path / "out/a/hpss/result.json").write_text("{}")
    expected = ["a.wav", "out/a/hpss/other.wav", "stems/vocals.wav"]
    assert list(map(str, recordings.recordings(["."]))) == expected
    assert list(map(str, recordings.recordings(["**/*.wav"]))) == expected
    named = "out/a/hpss/vocals.wav"
    assert list(map(str, recordings.recordings([named, "a.wav"]))) == ["a.wav", named]
    with pytest.raises(DataError, match="found only what svs separated before"):
        recordings.recordings(["out/a/hpss/voc*.wav"])


# -- one run at a time


def test_only_one_run_at_a_time(tmp_path):
    output = tmp_path / "deep" / "out"
    with recordings.only_one(output):
        assert output.is_dir() and os.listdir(output) == []
        with pytest.raises(DataError, match="another run of svs is writing there"), recordings.only_one(output):
            pass
        with recordings.only_one(tmp_path / "other"):
            pass
        (output / "result").touch()
    with recordings.only_one(output):
        pass
    assert os.listdir(output) == ["result"]


def test_an_output_in_which_nothing_came_goes_away_again(tmp_path):
    with pytest.raises(ZeroDivisionError), recordings.only_one(tmp_path / "new"):
        1 / 0  # noqa: B018
    (tmp_path / "old").mkdir()
    with recordings.only_one(tmp_path / "old"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
