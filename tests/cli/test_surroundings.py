"""The commands between other programs, in odd folders and on odd machines: as people call them."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from dataclasses import dataclass, field

import numpy as np
import pytest
import soundfile
import tqdm

from svs.audio.reading import decode
from tests.helpers.command import (
    RATE,
    REPOSITORY,
    Ran,
    assert_refused,
    below,
    ffmpeg,
    music,
    project,
    read,
    really,
    svs,
    wav,
    whole,
)

AFTER = ["-m", "mixture", "--no-picture"]


@pytest.fixture(scope="module")
def real(previews, tmp_path_factory):
    """Three seconds of a real song, and of its five streams in one file."""
    folder = tmp_path_factory.mktemp("real")
    preview = sorted((previews / "test").glob("*.stem.mp4"))[0]
    ffmpeg("-i", preview, "-map", "0:a:0", "-t", 3, "-c:a", "pcm_f32le", folder / "song.wav")
    ffmpeg("-i", preview, "-map", "0:a", "-t", 3, "-c", "copy", folder / "stems.mp4")
    return folder


def stdin(monkeypatch, content: bytes):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))


# -- standard input and output

AS_INPUT = {
    "wav": ["-f", "wav"],
    "mp3": ["-f", "mp3"],
    "flac": ["-f", "flac"],
    "ogg": ["-c:a", "libvorbis", "-f", "ogg"],
    "opus in webm": ["-c:a", "libopus", "-f", "webm"],
    "mkv": ["-c:a", "aac", "-f", "matroska"],
    "ts": ["-c:a", "aac", "-f", "mpegts"],
    "adts": ["-c:a", "aac", "-f", "adts"],
}


@pytest.mark.parametrize("kind", AS_INPUT)
def test_a_recording_from_standard_input(kind, real, place, monkeypatch):
    """Written by ffmpeg to a pipe: containers have no index, headers no sizes."""
    command = ["ffmpeg", "-v", "error", "-i", real / "song.wav", *AS_INPUT[kind], "-"]
    piped = subprocess.run(command, capture_output=True, check=True).stdout
    (place / "file").write_bytes(piped)
    stdin(monkeypatch, piped)
    ran = svs("separate", "-", "-q", "-o", "out", *AFTER)
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    with decode.open_recording(place / "file") as recording:
        whole(place / "out/stdin/mixture", recording.read(0, recording.samples), recording.rate)
    assert json.loads((place / "out/stdin/mixture/result.json").read_text())["song"]["file"] == "stdin"
    assert recording.samples / recording.rate == pytest.approx(3, abs=0.1)


def test_an_mp4_from_standard_input(real, place, monkeypatch):
    """Its index is at its end."""
    stdin(monkeypatch, (real / "stems.mp4").read_bytes())
    words = ["-q", "-m", "repet_sim", "-o", "out", "--no-picture", "-S", "separate.repet_sim.reach=5"]
    assert svs("voice", "-", *words).code == 0
    assert (place / "out/stdin/repet_sim/enhanced.wav").is_file()


@dataclass
class Pipe:
    """A shell's pipe line around `svs`; its exit codes, and what the last program gets."""

    line: str
    codes: list[int]
    kind: str = ""  # of the stem that comes out
    err: list[str] = field(default_factory=list)


SVS = f"{sys.executable} -m svs.cli"
WORDS = "-q -m mixture"
PIPES = {
    "a stem": Pipe(f"{SVS} separate song.wav {WORDS} --stem accompaniment -o - | cat", [0, 0], "accompaniment"),
    "ffmpeg at both ends": Pipe(
        f"ffmpeg -v error -i song.wav -c:a pcm_f32le -f wav - | {SVS} separate - {WORDS} --stem vocals -o - |"
        " ffmpeg -v error -i - -c:a pcm_f32le -f wav - | cat",
        [0, 0, 0, 0],
        "vocals",
    ),
    "flac": Pipe(f"{SVS} separate song.wav {WORDS} --stem vocals -f flac -o - | cat", [0, 0], "vocals"),
    "a reader that leaves": Pipe(
        f"{SVS} separate song.wav {WORDS} --stem vocals -o - | head -c 9 >/dev/null", [141, 0]
    ),
    "a song that fails": Pipe(
        f"{SVS} separate none.wav {WORDS} --stem vocals -o - | cat",
        [3, 0],
        err=["error: none.wav: expected a recording or a folder, there is no such file; check the name"],
    ),
}


@pytest.mark.parametrize("kind", PIPES)
def test_pipes(kind, real, tmp_path):
    shutil.copy(real / "song.wav", tmp_path)
    pipe = PIPES[kind]
    done = subprocess.run(
        ["bash", "-c", f"{pipe.line}; echo ${{PIPESTATUS[@]}} > codes"],
        cwd=tmp_path,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(tmp_path)},
    )
    assert [int(code) for code in (tmp_path / "codes").read_text().split()] == pipe.codes, done.stderr
    assert done.stderr.decode().splitlines() == pipe.err
    if pipe.kind:
        song, _ = read(real / "song.wav")
        audio, rate = soundfile.read(io.BytesIO(done.stdout), dtype="float32")
        share = {"vocals": 0.25, "accompaniment": 0.75}[pipe.kind]
        assert rate == RATE and soundfile.info(io.BytesIO(done.stdout)).frames == len(song)
        np.testing.assert_allclose(audio, share * song, atol=2**-22)
    else:
        assert done.stdout == b""
    assert below(tmp_path) == ["codes", "song.wav"]


def test_the_scores_of_a_piped_stem_go_to_standard_error(real, place):
    song, _ = read(real / "song.wav")
    wav(place / "song.wav", song)
    wav(place / "voice.wav", (0.5 * song * np.sin(np.arange(len(song)) / 3000)[:, None]).astype(np.float32))
    words = "separate song.wav -q -r voice.wav -m mixture --stem vocals -o -"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(f"{SVS} {words}", shell=True, capture_output=True, env=environment)
    assert done.returncode == 0 and soundfile.info(io.BytesIO(done.stdout)).frames == len(song)
    assert b"BSS Eval v4" in done.stderr and b"BSS Eval" not in done.stdout


def test_a_terminal_gets_no_samples(real, place):
    ours, theirs = os.openpty()
    words = ["separate", real / "song.wav", "-q", "--stem", "vocals", "-o", "-", "-m", "mixture"]
    done = subprocess.run(
        [*SVS.split(), *words],
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    os.close(theirs)
    os.close(ours)
    assert_refused(Ran(done.returncode, "", done.stderr), "standard output is a terminal; send it to a file", 2)


# -- streams, levels, progress


@pytest.mark.parametrize("stream", [0, 3])
def test_a_stream_of_several(stream, real, place):
    ran = svs("separate", real / "stems.mp4", "--stream", stream, "-o", "out", *AFTER)
    assert ran.code == 0
    with decode.open_recording(real / "stems.mp4", stream=stream) as recording:
        whole(place / "out/stems/mixture", recording.read(0, recording.samples), RATE)
    assert json.loads((place / "out/stems/mixture/result.json").read_text())["stream"] == stream


def test_what_was_special_in_reading_is_told_and_kept(real, place):
    ran = svs("separate", real / "stems.mp4", "-o", "out", *AFTER)
    with decode.open_recording(real / "stems.mp4") as recording:
        assert len(recording.notes) == 1 and "stream 0 of 0 to 4" in recording.notes[0]
    assert f"  {recording.notes[0]}" in ran.lines()
    assert recording.notes[0] in json.loads((place / "out/stems/mixture/result.json").read_text())["notes"]
    assert_refused(svs("separate", real / "stems.mp4", "-q", "--stream", 5, *AFTER), "choose one of 0: aac.*4: aac")


@pytest.mark.parametrize("codec", ["flac", "mp3"])
@pytest.mark.parametrize("clip", ["rescale", "clamp", "error"])
def test_a_loud_recording(codec, clip, real, place):
    song, _ = read(real / "song.wav")
    loud = (3.7 / np.abs(song).max() * song).astype(np.float32)
    wav(place / "a.wav", loud)
    ran = svs("separate", "a.wav", "-o", "out", "-m", "mixture", "--no-picture", "-f", codec, "--clip", clip)
    if clip == "error":
        assert ran.code == 3 and "expected samples up to full scale" in ran.lines()[-1] and not (place / "out").exists()
        return
    vocals, accompaniment = (read(place / f"out/a/mixture/{name}.{codec}")[0] for name in ("vocals", "accompaniment"))
    gain = 1 / (0.75 * 3.7) if clip == "rescale" else 1.0  # the accompaniment is three quarters
    near = 3e-7 if codec == "flac" else 0.15
    np.testing.assert_allclose(vocals, np.clip(0.25 * gain * loud, -1, 1), atol=near)
    np.testing.assert_allclose(accompaniment, np.clip(0.75 * gain * loud, -1, 1), atol=near)
    notes = json.loads((place / "out/a/mixture/result.json").read_text())["notes"]
    if clip == "rescale":
        assert len(notes) == 1 and f"scaled by {gain:.4f} ({20 * np.log10(gain):.1f} dB)" in notes[0]
    else:
        assert len(notes) == 1 and re.match(rf"accompaniment\.{codec}: \d+ samples beyond full scale were cl", notes[0])
    assert f"  {notes[0]}" in ran.lines()
    if clip == "rescale":  # half of the result is at the level of the whole
        ran = svs("separate", "a.wav", "-q", "-o", "one", *AFTER, "-f", codec, "--stem", "vocals")
        assert ran.code == 0 and sorted(os.listdir("one/a/mixture")) == ["result.json", f"vocals.{codec}"]
        np.testing.assert_array_equal(read(place / f"one/a/mixture/vocals.{codec}")[0], vocals)


def test_a_quiet_recording_keeps_its_level(place):
    wav(place / "a.wav", music(0.5))
    assert svs("separate", "a.wav", "-o", "out", *AFTER, "-f", "flac").code == 0
    assert json.loads((place / "out/a/mixture/result.json").read_text())["notes"] == []


@pytest.mark.parametrize("stated", [0.3, 0.97, 1.4])
def test_progress_ends_at_100_percent(stated, place, monkeypatch):
    """Whatever lengths the files state."""
    for name in ("a", "b"):
        wav(place / f"{name}.wav", music(3.0))
    monkeypatch.setattr("svs.cli.separate._seconds", lambda path, order: 3 * stated)
    monkeypatch.setattr(tqdm.tqdm, "monitor_interval", 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ran = svs("separate", ".", "-m", "mixture,hpss", "--no-picture", "-o", "out", "-S", "separate.common.chunk=2.1")
    assert ran.code == 0 and "Warning" not in ran.err
    percents = [int(found) for found in re.findall(r"(\d+)% \|", ran.err)]
    assert max(percents) == percents[-1] == 100 and "12 of 12 s" in ran.err.replace("\r", "\n").splitlines()[-1]


# -- names


def test_what_is_wrong_with_one_name_does_not_stop_the_others(place):
    for name in ("a.wav", "in/b.wav", "in/@eaDir/c.wav", "in/._b.wav"):
        wav(place / name, music(0.2))
    (place / "gone.wav").symlink_to("nowhere.wav")
    (place / "in" / "loop").symlink_to("..")
    ran = svs("separate", "a.wav", "none.wav", "in", "gone.wav", "http://x.org/y.mp3", "-q", "-o", "out", *AFTER)
    assert ran.code == 3 and sorted(os.listdir("out")) == ["a", "b"]
    assert [line.split(": ")[1] for line in ran.lines()[:-1]] == ["none.wav", "gone.wav", "http://x.org/y.mp3"]
    assert ran.lines()[-1] == "3 of 5 recordings failed"
    ran = svs("separate", "none.wav", "gone.wav", "-q", "-o", "new", *AFTER)
    assert ran.code == 3 and len(ran.lines()) == 3 and not (place / "new").exists()


def test_a_finished_song_stays_when_another_of_its_name_comes(place):
    """And keeps its folder when it is named alone again."""
    wav(place / "song.wav", music(0.2))
    assert svs("separate", "song.wav", "-q", "-o", "out", *AFTER).code == 0
    ffmpeg("-i", "song.wav", "song.mp3")
    ran = svs("separate", ".", "-o", "out", *AFTER)
    assert ran.code == 0 and sorted(os.listdir("out")) == ["song", "song.mp3"]
    assert ran.err.count("(was there already)") == 1 and "out/song/mixture (was there already)" in ran.lines()
    for name, folder in (("song.wav", "song"), ("song.mp3", "song.mp3")):
        assert f"out/{folder}/mixture (was there already)" in svs("separate", name, "-o", "out", *AFTER).lines()
    (place / "song.wav").unlink()
    assert "out/song.mp3/mixture (was there already)" in svs("separate", "song.mp3", "-o", "out", *AFTER).lines()


# -- machines


def test_inside_another_project_of_dvc(place):
    wav(place / "sub" / "a.wav", music(0.2))
    (place / "params.yaml").write_text("train:\n  lr: 0.1\n")
    (place / "dvc.yaml").write_text("stages: {}\n")
    os.chdir("sub")
    assert svs("separate", "a.wav", "-q", "-o", "out", *AFTER).code == 0
    (place / "dvc.yaml").touch()
    project(place)
    text = (place / "params.yaml").read_text()
    (place / "params.yaml").write_text(text.replace("seed: 20", "seed: twenty"))
    ran = svs("separate", "a.wav", "-q", "-o", "out", *AFTER, "-S", "separate.mixture.share=0.5")
    assert_refused(ran, f"error: {place}/params.yaml, profile tiny: seed: expected a valid integer", 2)


def test_a_name_and_a_title_that_neither_the_locale_nor_the_font_has(place):
    name = "歌う人 é"
    wav(place / f"{name}.wav", music(0.5))
    poor = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ran = really("separate", f"{name}.wav", "-m", "mixture", "-o", "出力", env=poor)
    assert ran.code == 0 and "Warning" not in ran.err and f"出力/{name}/mixture\n" in ran.err
    whole(place / "出力" / name / "mixture", music(0.5), RATE)
    assert json.loads((place / f"出力/{name}/mixture/result.json").read_text())["song"]["file"] == f"{name}.wav"


def test_a_net_in_memory_prints_nothing(place):
    """Neither the import of TensorFlow nor its first computation, which looks for a GPU."""
    if not (REPOSITORY / "models" / "unet_separator" / "model.keras").is_file():
        pytest.skip("no trained unet_separator: dvc repro train@unet_separator")
    code = "import numpy, svs; svs.separate(numpy.zeros((44100, 2), 'f4') + 0.1, 44100, 'unet_separator')"
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    environment["PYTHONPATH"] = str(REPOSITORY)
    done = subprocess.run([sys.executable, "-c", code], cwd=place, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
