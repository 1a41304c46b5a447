"""`svs separate` as a person calls it: every kind of recording, every kind of trouble."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import stempeg

from svs import separators
from svs.audio import encode
from svs.audio.reading import decode
from svs.audio.sources import ArraySource
from svs.services.output import only_one
from tests.helpers.command import (
    RATE,
    REPOSITORY,
    assert_refused,
    below,
    ffmpeg,
    mounted,
    music,
    project,
    read,
    really,
    started,
    svs,
    unmounted,
    wav,
    whole,
)

CHEAP = ["mixture", "hpss", "repet_sim", "knn_median"]
NEAR = ["-S", "separate.repet_sim.reach=5", "-S", "separate.knn_median.reach=5"]


@pytest.fixture
def separate(home):
    """`svs separate`, quiet, without pictures and with the floor as its method, where nothing else is said."""

    def run(*words, picture=False, quiet=True, **environment):
        words = list(map(str, words))
        more = [*(["-q"] if quiet else []), *([] if picture else ["--no-picture"]), "--project", home, *NEAR]
        if not {"-m", "--method"} & set(words):
            more += ["-m", "mixture"]
        return svs("separate", *more, *words, **environment)

    return run


# -- recordings of all kinds

ODD = {
    "mono": (music(1.2, 1), RATE),
    "six channels": (music(1.2, 6), RATE),
    "8 kHz": (music(1.2, 1, 8000), 8000),
    "192 kHz": (music(1.0, 2, 192000), 192000),
    "11,127 Hz": (music(1.2, 2, 11127), 11127),
    "20 ms": (music(0.02), RATE),
    "20 ms at 8 kHz": (music(0.02, 1, 8000), 8000),
    "one sample": (music(1 / RATE), RATE),
    "silence": (np.zeros((RATE, 2), dtype=np.float32), RATE),
    "beyond full scale": (20 * music(0.5), RATE),
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_recordings(kind, place, separate):
    mixture, rate = ODD[kind]
    wav(place / "a.wav", mixture, rate)
    ran = separate("a.wav", "-m", ",".join(CHEAP), "-o", "out")
    assert (ran.code, ran.err) == (0, "")
    for method in CHEAP:
        vocals = whole(place / "out" / "a" / method, mixture, rate)
        assert np.isfinite(vocals).all()
        assert kind != "silence" or not vocals.any()


NAMES = [
    "with spaces",
    'it\'s "quoted"',
    "🎤 émoji 歌",
    "-dash",
    "--method",
    "$HOME `x` \\t %s {x}",
    "a.b.c",
    "[live] *?",
    "歌" * 80,
    " edges ",
]


def test_odd_names(place, separate):
    mixture = music(0.3)
    for name in NAMES:
        wav(place / "in" / f"{name}.wav", mixture)
    ran = separate("in", "-o", "out")
    assert (ran.code, ran.err) == (0, "")
    folders = {path.parent.parent.name for path in (place / "out").glob("*/mixture/vocals.wav")}
    # One of 240 bytes is cut, so that there is room for more beside it.
    assert {name for name in NAMES if len(name) < 80} <= folders and len(folders) == len(NAMES)
    assert all(path.startswith(("in/", "out/")) for path in below(place))
    for folder in folders:
        whole(place / "out" / folder / "mixture", mixture, RATE)


@pytest.mark.parametrize("name", ["-dash.wav", "--method.wav", "it's.wav", "🎤.wav", "[a] *.wav", "...wav"])
def test_an_odd_name_as_an_argument(name, place, separate):
    wav(place / name, music(0.3))
    ran = separate("-o", "out", "-m", "mixture", "--", name)
    assert (ran.code, ran.err) == (0, "")
    folder = name if name == "...wav" else Path(name).stem  # not "..", which is another folder
    whole(place / "out" / folder / "mixture", music(0.3), RATE)


def test_a_name_that_is_no_utf8(place, separate):
    name = os.fsdecode(b"caf\xe9")
    wav(place / f"{name}.wav", music(0.3))
    ran = separate(f"{name}.wav", "-o", "out", picture=True)
    assert (ran.code, ran.err) == (0, "")
    whole(place / "out" / "caf\N{REPLACEMENT CHARACTER}" / "mixture", music(0.3), RATE)


def test_every_format_in_one_go(place, separate):
    song = wav(place / "song.wav", music(1.0))
    video = ["-f", "lavfi", "-i", "testsrc=d=1:s=64x64:r=5"]
    for name, options in {
        "a.mp3": [],
        "b.aac": [],
        "c.m4a": [],
        "d.flac": [],
        "e.ogg": ["-c:a", "libvorbis"],
        "f.opus": [],
        "g.mp4": [*video, "-map", "0:a", "-map", "1:v", "-shortest"],
        "h.wma": [],
        "i.aiff": [],
        "j.webm": ["-c:a", "libopus"],
    }.items():
        ffmpeg("-i", song, *options, place / "in" / name) if (place / "in").mkdir(exist_ok=True) is None else None
    ran = separate("in", "song.wav", "-o", "out")
    assert (ran.code, ran.err) == (0, "")
    for path in [*sorted((place / "in").iterdir()), song]:
        with decode.open_recording(path) as recording:
            whole(place / "out" / path.stem / "mixture", recording.read(0, recording.samples), recording.rate)


def test_files_folders_and_patterns(place, separate):
    for name in ("one.wav", "more/two.wav", "more/cd/two.wav", "more/three.flac", "more/text.txt", "four.wav"):
        (place / name).parent.mkdir(exist_ok=True, parents=True)
        encode.encode(ArraySource(music(0.2), RATE), place / name, "flac" if name.endswith("flac") else "wav")
    ran = separate("one.wav", "more", "f*.wav", "./one.wav", "-o", "out")
    assert (ran.code, ran.err) == (0, "")
    assert sorted(path.name for path in (place / "out").iterdir()) == [
        "cd - two.wav",
        "four",
        "more - two.wav",
        "one",
        "three",
    ]
    # What is there now are results, and no songs that somebody would want taken apart.
    before = below(place)
    ran = separate(".", "-o", "out")
    assert (ran.code, ran.err) == (0, "") and below(place) == before
    assert_refused(separate("out", "-o", "again"), "found only what svs separated before")
    # Named, they are meant.
    assert separate("out/one/mixture/vocals.wav", "-o", "again").code == 0
    assert (place / "again" / "vocals" / "mixture" / "vocals.wav").is_file()


def test_a_passage_is_that_part_of_the_song(place, separate):
    mixture = music(1.5)
    wav(place / "a.wav", mixture)
    assert separate("a.wav", "-o", "out", "--start", 0.5, "--duration", 0.25).code == 0
    whole(place / "out" / "a" / "mixture", mixture[22050:33075], RATE)


# -- formats and tags


def tags(path):
    words = ["ffprobe", "-v", "error", "-of", "json", "-show_format", "-show_streams", path]
    found = json.loads(subprocess.run(words, capture_output=True).stdout)
    both = {**found["streams"][0].get("tags", {}), **found["format"].get("tags", {})}  # an ogg has those of its stream
    return {key.lower(): value for key, value in both.items()}


@pytest.mark.parametrize("codec", encode.FORMATS)
def test_tags_are_kept(codec, place, separate):
    wav(place / "plain.wav", music(0.5))
    ffmpeg("-i", "plain.wav", "-metadata", "title=Ça ira", "-metadata", "artist=A & B", "a.mp3")
    assert separate("a.mp3", "-o", "out", "-f", codec).code == 0
    for name in ("vocals", "accompaniment"):
        kept = tags(place / "out" / "a" / "mixture" / f"{name}.{codec}")
        assert (kept["title"], kept["artist"]) == ("Ça ira", "A & B")


def test_mp3_says_what_it_cannot_hold(place, separate):
    wav(place / "a.wav", music(0.5, 6, 96000), 96000)
    ran = separate("a.wav", "-o", "out", "--format", "mp3", quiet=False)
    assert ran.code == 0
    for name in ("vocals", "accompaniment"):
        assert f"{name}.mp3: mixed down from 6 channels to stereo" in ran.err
        assert f"{name}.mp3: resampled from 96000 to 48000 Hz" in ran.err
        info = decode.probe(place / "out" / "a" / "mixture" / f"{name}.mp3")
        assert (info.rate, info.channels, info.codec) == (48000, 2, "mp3")
    assert len(json.loads((place / "out/a/mixture/result.json").read_text())["notes"]) == 4


def test_flac(place, separate):
    mixture = music(0.5)
    wav(place / "a.wav", mixture)
    assert separate("a.wav", "-o", "out", "-f", "flac").code == 0
    vocals, _ = read(place / "out/a/mixture/vocals.flac")
    np.testing.assert_allclose(vocals, 0.25 * mixture, atol=2**-23)


# -- what is there already


def test_finished_results_are_skipped_unless_asked(place, separate):
    wav(place / "a.wav", music(0.4))

    def stamps():
        return {name: (place / name).stat().st_mtime_ns for name in below(place / "out") for name in [f"out/{name}"]}

    ran = separate("a.wav", "-o", "out", "-m", "mixture", "-m", "hpss", quiet=False, picture=True)
    assert ran.code == 0 and "already" not in ran.err
    assert set(below(place / "out")) == {
        f"a/{method}/{name}"
        for method in ("mixture", "hpss")
        for name in ("vocals.wav", "accompaniment.wav", "spectrogram.png", "result.json")
    }
    before = stamps()
    ran = separate("a.wav", "-o", "out", "-m", "mixture,hpss", quiet=False, picture=True)
    assert ran.code == 0 and ran.err.count("(was there already)") == 2 and stamps() == before
    ran = separate("a.wav", "-o", "out", "-m", "hpss", "--overwrite", picture=True)
    assert ran.code == 0
    changed = {name for name, stamp in stamps().items() if stamp != before[name]}
    assert changed == {name for name in before if "/hpss/" in name}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (["--start", "0.1"], "its start differs"),
        (["--duration", "0.1"], "its duration differs"),
        (["-S", "separate.mixture.share=0.5"], "its options differs"),
        (["-f", "flac"], "its files, clip differ"),
        (["--reference", "a.wav"], "its song differs"),
        (["--stream", "0"], "its stream differs"),
        (["--stem", "vocals"], "its files differs"),
    ],
)
def test_another_request_is_told_apart(change, named, place, separate):
    wav(place / "a.wav", music(0.4))
    assert separate("a.wav", "-o", "out").code == 0
    before = (place / "out/a/mixture/vocals.wav").read_bytes()
    assert_refused(separate("a.wav", "-o", "out", *change), f"{named}.*--overwrite")
    assert (place / "out/a/mixture/vocals.wav").read_bytes() == before
    assert separate("a.wav", "-o", "out", "--overwrite", *change).code == 0


def test_another_song_of_that_name(place, separate):
    wav(place / "a.wav", music(0.4))
    assert separate("a.wav", "-o", "out").code == 0
    wav(place / "a.wav", music(0.4, seed=1))
    assert_refused(separate("a.wav", "-o", "out"), "another request .its song differs")


# -- trouble


def _text(place):
    (place / "a.mp3").write_text("no music\n" * 100)


def _truncated_mp3(place):
    wav(place / "whole.wav", music(4))
    ffmpeg("-i", place / "whole.wav", "-b:a", "128k", place / "whole.mp3")
    content = (place / "whole.mp3").read_bytes()
    (place / "a.mp3").write_bytes(content[: len(content) // 2])


def _truncated_wav(place):
    content = wav(place / "whole.wav", music(1)).read_bytes()
    (place / "a.wav").write_bytes(content[: len(content) // 2])


def _broken_samples(value):
    def make(place):
        audio = music(0.5)
        audio[1000] = value
        wav(place / "a.wav", audio)

    return make


def _song(place):
    wav(place / "a.wav", music(0.5))


def _dangling(place):
    (place / "a.wav").symlink_to("gone.wav")


def _folder_without_audio(place):
    (place / "docs" / "deep").mkdir(parents=True)
    (place / "docs" / "deep" / "read.me").write_text("x")


def _silent_film(place):
    ffmpeg("-f", "lavfi", "-i", "testsrc=d=1:s=64x64:r=5", place / "a.mp4")


def _file_in_the_way(name):
    def make(place):
        _song(place)
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("mine")

    return make


def _two_songs(place):
    _song(place)
    wav(place / "b.wav", music(0.5, seed=1))


def _long_reference(place):
    _song(place)
    wav(place / "v.wav", music(1.0))


PIPED = ["--stem", "vocals", "-o", "-"]
# Name: what is there; the words after `svs separate`; exit code; what the line must say.
TROUBLE = {
    "a missing file": (None, ["missing.wav"], 3, r"missing\.wav: .*there is no such file"),
    "a URL": (
        None,
        ["https://example.org/a.mp3"],
        3,
        r"https://example.org/a.mp3: .* this is a URL; download it first",
    ),
    "a link to nowhere": (_dangling, ["a.wav"], 3, r"a\.wav: .*a link to gone.wav, which is not there"),
    "a folder without audio": (_folder_without_audio, ["docs"], 3, "docs: .*there is none in it"),
    "a pattern that matches nothing": (_song, ["*.flac"], 3, r"\*\.flac: .*matches none"),
    "a text named .mp3": (_text, ["a.mp3"], 3, r"a\.mp3: expected a recording, "),
    "a wav of 0 bytes": (lambda place: (place / "a.wav").touch(), ["a.wav"], 3, r"a\.wav: .*empty \(0 bytes\)"),
    "a truncated mp3": (_truncated_mp3, ["a.mp3"], 3, r"a\.mp3: .*truncated or damaged"),
    "a truncated wav": (_truncated_wav, ["a.wav"], 3, r"a\.wav: .*truncated or damaged"),
    "NaN": (_broken_samples(np.nan), ["a.wav"], 3, r"a\.wav: .*NaN or infinity at 0\.0"),
    "infinity": (_broken_samples(np.inf), ["a.wav"], 3, r"a\.wav: .*NaN or infinity at 0\.0"),
    "a film without sound": (_silent_film, ["a.mp4"], 3, r"a\.mp4: .*no audio in it"),
    "a start behind the end": (_song, ["a.wav", "--start", "5"], 3, r"a\.wav: .*0\.50 s long; choose an earlier start"),
    "a start that is no number": (_song, ["a.wav", "--start", "inf"], 2, "start: expected seconds from 0, got inf"),
    "a duration of nothing": (_song, ["a.wav", "--duration", "0"], 2, "duration: expected seconds above 0"),
    "an unknown method": (_song, ["a.wav", "-m", "magic"], 2, "magic: no such method; expected one of spleeter_"),
    "an unknown format": (_song, ["a.wav", "-f", "wma"], 2, "wma: no such format; expected one of wav, flac, mp3"),
    "an unknown parameter": (_song, ["a.wav", "-S", "separate.magic=1"], 2, "magic: no such method; expected one of"),
    "an impossible parameter": (_song, ["a.wav", "-S", "separate.mixture.share=2"], 2, r"separate\.mixture\.share"),
    "a parameter without a value": (_song, ["a.wav", "-S", "seed"], 2, "-S seed: expected KEY=VALUE"),
    "a misspelt parameter": (
        _song,
        ["a.wav", "-S", "seed=3", "-S", "separate.repet_sim.rech=5"],
        2,
        "-S separate.repet_sim.rech=5: there is no such parameter; the nearest key is separate.repet_sim.reach$",
    ),
    "a misspelt parameter of a training": (
        _song,
        ["a.wav", "-S", "train.cnn_separator.epoch=5"],
        2,
        "-S train.cnn_separator.epoch=5: there is no such parameter; the nearest key is train.cnn_separator.epochs$",
    ),
    "a stream that is not there": (_song, ["a.wav", "--stream", "1"], 3, r"a\.wav: .*choose one of 0: pcm_f32le, 2 ch"),
    "an unknown stem": (_song, ["a.wav", "--stem", "drums"], 2, "stem drums: expected one of vocals, accompaniment"),
    "an unknown way to clip": (_song, ["a.wav", "--clip", "loud"], 2, "clip loud: expected one of rescale, clamp, er"),
    "standard output without a stem": (_song, ["a.wav", "-o", "-"], 2, "say which with --stem"),
    "two songs to standard output": (_two_songs, ["a.wav", "b.wav", *PIPED], 2, "2 songs are named; name one"),
    "a folder to standard output": (_two_songs, [".", *PIPED], 2, r"-o - goes with one song; \. means 2"),
    "a song and a track to standard output": (_song, ["a.wav", "-t", "x", *PIPED], 2, "2 songs are named"),
    "two methods to standard output": (_song, ["a.wav", "-m", "mixture,hpss", *PIPED], 2, "2 methods are named"),
    "a missing song to standard output": (None, ["a.wav", *PIPED], 3, r"a\.wav: .*there is no such file"),
    "an empty standard input": (None, ["-"], 3, "stdin: expected a recording, it is empty"),
    "a net that was not trained": (_song, ["a.wav", "-m", "cnn_separator"], 5, "model.onnx: no such model; train"),
    "an oracle without the truth": (_song, ["a.wav", "-m", "mixture,oracle_ibm"], 2, "oracle_ibm needs the true stems"),
    "a reference for two": (_two_songs, ["a.wav", "b.wav", "-r", "a.wav"], 2, "--reference goes with one song"),
    "a reference for a folder": (_two_songs, [".", "-r", "a.wav"], 2, r"--reference goes with one song; \. means 2"),
    "a missing reference": (_song, ["a.wav", "-r", "v.wav"], 3, r"v\.wav: .*there is no such file"),
    "a reference of another song": (
        _long_reference,
        ["a.wav", "-r", "v.wav"],
        3,
        r"v\.wav: expected the vocals of the same recording, 0\.50 s, got 1\.00 s",
    ),
    "an output that is a file": (_file_in_the_way("out"), ["a.wav"], 3, "out: expected a folder that can be written"),
    "an output below a file": (_file_in_the_way("x"), ["a.wav", "-o", "x/out"], 3, "x/out: expected a folder that can"),
    "a file where the song goes": (_file_in_the_way("out/a"), ["a.wav"], 3, "out/a/mixture: can't write it"),
    "a file where the method goes": (_file_in_the_way("out/a/mixture"), ["a.wav"], 3, "mixture: .*something else"),
    "somebody's folder": (
        _file_in_the_way("out/a/mixture/diary.txt"),
        ["a.wav", "--overwrite"],
        3,
        "out/a/mixture: expected a folder of svs's results or no folder",
    ),
    "a track that is none": (None, ["--track", "xyz", "--musdb", "."], 3, "expected|no track"),
    "no song": (None, [], 2, "name a song, a folder, or a --track"),
}


@pytest.mark.parametrize("kind", TROUBLE)
def test_trouble(kind, place, separate, monkeypatch):
    make, words, code, match = TROUBLE[kind]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    if make:
        make(place)
    before = below(place)
    there = (place / "out").exists()
    assert_refused(separate(*words, *([] if "-o" in words else ["-o", "out"]), picture=True), match, code)
    assert below(place) == before
    assert (place / "out").exists() == there
    assert not [path for path in place.rglob(".*")]


def test_no_ffmpeg_program_is_needed(place, separate):
    _song(place)
    (place / "bin").mkdir()
    ran = separate("a.wav", "-o", "out", "-f", "mp3", PATH=str(place / "bin"))
    assert (ran.code, ran.err) == (0, "")


def test_two_runs_into_one_output(place, separate):
    _song(place)
    (place / "out").mkdir()
    (place / "other name").symlink_to("out")
    with only_one(Path("out")):
        for name in ("out", "./out/", "other name"):
            assert_refused(separate("a.wav", "-o", name), "another run of svs is writing there")
        assert separate("a.wav", "-o", "elsewhere").code == 0
    assert below(place / "out") == []
    assert separate("a.wav", "-o", "out").code == 0


@pytest.fixture
def disk(place):
    """A function that mounts a small disk below the working directory."""
    folders = []

    def make(name, *options):
        folders.append(place / name)
        if problem := mounted(place / name, *options):
            pytest.skip(problem)
        return place / name

    yield make
    for folder in folders:
        unmounted(folder)


def test_a_disk_that_is_full(place, separate, disk):
    wav(place / "a.wav", music(4))  # 1.4 MB
    full = disk("full", "-o", "size=3m")
    for words in (["-m", "mixture"], ["-m", "hpss"]):
        ran = separate("a.wav", "-o", full / "out", *words, picture=True)
        assert_refused(ran, rf"full/out/a/{words[1]}.*: the disk is full .*free some space")
        assert "unfinished" not in ran.err
        assert os.listdir(full) == []
    # The passage fits, and leaves no room for the next one.
    assert separate("a.wav", "-o", full / "out", "--duration", 1).code == 0
    kept = below(full)
    assert_refused(separate("a.wav", "-o", full / "other"), "the disk is full")
    assert below(full) == kept and os.listdir(full) == ["out"]


def test_a_limit_on_the_size_of_files(place):
    wav(place / "a.wav", music(4))  # 1.4 MB decoded
    command = f"ulimit -f 500; {sys.executable} -m svs.cli separate -q a.wav -m mixture --no-picture"
    ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert ran.returncode == 3 and not (place / "separated").exists()
    assert re.fullmatch(r"error: /.*: a file reached the limit of its size \(ulimit -f\); a.wav needs .*\n", ran.stderr)


def test_no_room_for_temporary_files(place, separate, disk):
    wav(place / "a.wav", music(4))
    full = disk("full", "-o", "size=1m")
    ran = really("separate", "-q", "a.wav", "-m", "mixture", "-o", "out", env={"TMPDIR": str(full)})
    assert_refused(ran, "full: the disk is full; a.wav needs about 1 MB .*set TMPDIR")
    assert os.listdir(full) == [] and not (place / "out").exists()


def test_an_output_that_is_read_only(place, separate, disk):
    _song(place)
    locked = disk("locked", "-o", "ro")
    for output in (locked, locked / "new"):
        assert_refused(separate("a.wav", "-o", output), "can be written to .Read-only file system")


def test_a_song_that_fails_does_not_stop_the_others(place, separate):
    for name in ("a", "c", "e"):
        wav(place / f"{name}.wav", music(0.3))
    (place / "b.wav").touch()
    (place / "d.wav").write_text("no music")
    ran = separate("a.wav", "b.wav", "c.wav", "d.wav", "e.wav", "-o", "out")
    assert ran.code == 3
    assert [line.split(":")[1].strip() for line in ran.lines()[:2]] == ["b.wav", "d.wav"]
    assert ran.lines()[2:] == ["2 of 5 recordings failed"]
    assert sorted(path.name for path in (place / "out").iterdir()) == ["a", "c", "e"]
    wav(place / "b.wav", music(0.3))
    wav(place / "d.wav", music(0.3))
    ran = separate("a.wav", "b.wav", "c.wav", "d.wav", "e.wav", "-o", "out", quiet=False)
    assert ran.code == 0 and ran.err.count("was there already") == 3


def test_a_method_that_cannot_run_does_not_stop_the_others(place, separate):
    _song(place)
    ran = separate("a.wav", "-m", "mixture,cnn_separator", "-o", "out")
    assert ran.code == 6
    assert len(ran.lines()) == 1 and ran.err.startswith("error: cnn_separator was left out: ")
    assert [path.name for path in (place / "out" / "a").iterdir()] == ["mixture"]


def test_a_method_that_fails_on_a_song_does_not_stop_its_others(place, separate, monkeypatch):
    """On the next song it is tried again, with a separator of its own: this one's process may be dead."""
    from svs.errors import SVSError
    from svs.separators import hpss

    built = []

    class Mortal(hpss.Hpss):
        def vocals(self, mixture, rate, *others, **more):
            if rate == 22050:
                raise SVSError("hpss: its process ended before it answered: killed by signal 9")
            return super().vocals(mixture, rate, *others, **more)

    monkeypatch.setitem(
        separators.methods(),
        "hpss",
        replace(
            separators.methods()["hpss"], build=lambda name, chosen, needs, settings: built.append(1) or Mortal(chosen)
        ),
    )
    wav(place / "a.wav", music(0.3))
    wav(place / "b.wav", music(0.3, rate=22050), 22050)
    wav(place / "c.wav", music(0.3))
    ran = separate("a.wav", "b.wav", "c.wav", "-m", "hpss,mixture", "-o", "out")
    assert ran.code == 1
    assert ran.lines() == [
        "error: b.wav: hpss: its process ended before it answered: killed by signal 9",
        "1 of 3 recordings failed",
    ]
    assert {song: sorted(os.listdir(place / "out" / song)) for song in "abc"} == {
        "a": ["hpss", "mixture"],
        "b": ["mixture"],
        "c": ["hpss", "mixture"],
    }
    assert len(built) == 2
    whole(place / "out/b/mixture", music(0.3, rate=22050), 22050)


def test_what_is_in_the_way_of_one_method_does_not_stop_the_others(place, separate):
    _song(place)
    (place / "out/a/hpss").mkdir(parents=True)
    (place / "out/a/hpss/diary.txt").write_text("mine")
    assert_refused(separate("a.wav", "-m", "hpss,mixture", "-o", "out"), "out/a/hpss: expected a folder of svs's")
    whole(place / "out/a/mixture", music(0.5), RATE)
    assert (place / "out/a/hpss/diary.txt").read_text() == "mine"


# -- the default


def a_net(folder):
    """A folder that looks trained: what is chosen is asked before anything is loaded."""
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_text("no net")
    (folder / "model.json").write_text("{}")


def test_the_default_is_the_best_that_is_at_hand(place, tmp_path_factory, monkeypatch):
    from svs import separators
    from svs.cli.request import DEFAULT_METHOD
    from svs.config import project as config_project
    from svs.services import doctor

    home = project(tmp_path_factory.mktemp("project"))
    _song(place)
    words = ["separate", "a.wav", "-o", "out", "--no-picture", "--project", home]
    ran = svs(*words, "-q")
    assert ran.code == 0 and sorted(os.listdir(place / "out/a")) == ["spleeter_finetuned"]
    shutil.rmtree(place / "out")
    assert doctor.default(config_project.find_project(home)) == separators.recommended()[0] == "spleeter_finetuned"
    assert DEFAULT_METHOD.startswith("spleeter_finetuned, ")
    # An installation that has lost its network.
    monkeypatch.setattr(config_project, "PACKAGE", home / "svs")
    assert_refused(
        svs(*words), "neither the network that comes with svs nor spleeter, .* is available .*name a method", 5
    )
    for name in ("cnn_separator", "unet_separator"):
        a_net(home / "models" / name)
        ran = svs(*words)
        assert ran.code == 5 and not (place / "out").exists()
        assert ran.lines()[0] == f"by {name}, the best that is available; --method chooses another"
        assert "not a model that ONNX Runtime" in ran.lines()[-1]
        found = config_project.find_project(home)
        assert doctor.default(found) == name
        shown = svs("methods", "--project", home).out.splitlines()
        assert [line.split()[0] for line in shown if "the default of `svs separate`" in line] == [name]
    weights = home / "models" / "weights" / "spleeter" / "2stems.npz"
    weights.parent.mkdir(parents=True)
    weights.write_text("no weights")
    ran = svs(*words)
    assert ran.code == 6 and ran.lines()[0].startswith("by spleeter, ") and str(weights) in ran.lines()[-1]
    assert doctor.default(config_project.find_project(home)) == "spleeter"
    # Where another is named, nothing is said.
    assert svs(*words, "-q", "-m", "mixture").err == ""


# -- processes of their own


def until(true, process, seconds=60):
    begun = time.monotonic()
    while not true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() - begun < seconds
        time.sleep(0.02)


ENDS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.mark.parametrize(
    "blow",
    [
        signal.SIGINT,
        signal.SIGTERM,
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_run(blow, place, separate, home):
    wav(place / "a.wav", music(40))
    words = [
        "separate",
        "-q",
        "a.wav",
        "-m",
        "mixture,repet_sim",
        "-o",
        "out",
        "--no-picture",
        "--project",
        home,
        *NEAR,
    ]
    process = started(*words, env={"TMPDIR": str(place)})
    until(lambda: list((place / "out").glob("a/.repet_sim.*/estimate.f32")), process)
    process.send_signal(blow)
    out, err = process.communicate(timeout=60)
    assert process.returncode == ENDS.get(blow, -blow)
    assert "Traceback" not in err and "error" not in err
    assert blow not in ENDS or err.endswith("again to continue\n" if blow == signal.SIGTERM else " continue\n")
    assert [path.name for path in (place / "out/a").iterdir() if not path.name.startswith(".")] == ["mixture"]
    if blow in ENDS:
        assert os.listdir(place / "out/a") == ["mixture"] and sorted(os.listdir(place)) == ["a.wav", "out"]
    kept = (place / "out/a/mixture/vocals.wav").stat().st_mtime_ns
    ran = separate("a.wav", "-m", "mixture,repet_sim", "-o", "out")
    assert ran.code == 0 and (place / "out/a/mixture/vocals.wav").stat().st_mtime_ns == kept
    whole(place / "out/a/repet_sim", music(40), RATE)
    assert sorted(os.listdir(place / "out/a")) == ["mixture", "repet_sim"]


def spleeter_that_hangs(place):
    """Words by which `svs` starts a program that never answers, and the file that gets the number of its process."""
    mark = place / "started"
    weights = place / "models" / "weights" / "spleeter"
    weights.mkdir(parents=True)
    for name, content in {
        "checkpoint": 'model_checkpoint_path: "model"',
        "model.index": "x",
        "model.data-00000-of-00001": "x",
    }.items():
        (weights / name).write_text(content)
    sums = subprocess.run(
        ["cksum"], input=(REPOSITORY / "requirements-spleeter.txt").read_bytes(), capture_output=True
    ).stdout.decode()
    (place / "env" / "bin").mkdir(parents=True)
    (place / "env" / ".svs-complete").write_text(sums)
    program = place / "env" / "bin" / "python"
    program.write_text(
        f'#!/bin/sh\n[ "$1" = -c ] && exit 0\nprintf "svsA\\002\\000\\000\\000ok"\necho $$ > "{mark}"\nexec sleep 60'
    )
    program.chmod(0o755)
    needs = [f"environment={place / 'env'}", "engine=package"]
    words = [word for need in needs for word in ("-S", f"separate.spleeter.{need}")]
    return mark, ["-m", "spleeter", *words, "-S", f"methods.spleeter.needs={weights}"]


def gone(number):
    """Has a process ended?  (One that nobody waits for stays as a zombie.)"""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.fixture
def temporary(place):
    (place / "temporary").mkdir()
    return place / "temporary"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_sigterm_leaves_neither_programs_nor_halves(place, home, temporary):
    wav(place / "a.wav", music(2))
    mark, words = spleeter_that_hangs(place)
    words = ["separate", "-q", "a.wav", "-o", "out", "--no-picture", "--project", home, *words]
    process = started(*words, env={"TMPDIR": str(temporary)})
    until(lambda: mark.exists() and mark.read_text().strip(), process)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (143, "", "terminated: run again to continue\n")
    assert gone(int(mark.read_text()))
    assert below(temporary) == [] and not (place / "out").exists()


@pytest.mark.parametrize("command", ["separate", "voice", "vad"])
def test_sigterm_while_standard_input_is_read(command, place, home, temporary):
    method = ["-m", "repet_sim"] if command != "vad" else []
    words = [command, "-", "-q", "-o", "out", "--no-picture", "--project", home, *method]
    process = started(*words, env={"TMPDIR": str(temporary)}, stdin=subprocess.PIPE)
    process.stdin.write("x" * (1 << 21))  # some of it has been copied when that has been read
    until(lambda: any(path.stat().st_size for path in temporary.glob("svs-*")), process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 143
    assert process.stderr.read() == "terminated: run again to continue\n"
    assert below(temporary) == [] and not (place / "out").exists()


@pytest.mark.slow
def test_two_processes_at_once(place, home):
    song = music(200)  # the first run must still work when the second has started
    wav(place / "a.wav", song)
    words = ["separate", "-q", "a.wav", "-m", "repet_sim", "-o", "out", "--no-picture", "--project", home, *NEAR]
    first = started(*words)
    until(lambda: list((place / "out").glob("a/.repet_sim.*/estimate.f32")), first)
    assert_refused(really(*words), "another run of svs is writing there")
    assert first.wait(120) == 0 and first.communicate()[1] == ""
    whole(place / "out/a/repet_sim", song, RATE)


def test_progress_tells_the_time_left(place, home):
    wav(place / "a b.wav", music(3))
    ran = really("separate", "a b.wav", "-m", "mixture", "-o", "out", "--project", home)
    assert ran.code == 0 and ran.out == ""
    assert re.search(r"a b: mixture: +100% \|.*\| 3 of 3 s \[\d\d:\d\d<\d\d:\d\d, +[\d.]+s/s\]", ran.err)
    assert "out/a b/mixture\n" in ran.err
    assert "Traceback" not in ran.err and "Warning" not in ran.err


def test_pictures(place, separate):
    for kind in ("8 kHz", "192 kHz", "20 ms", "silence"):
        wav(place / f"🎤 {kind}.wav", *ODD[kind])
    assert separate(".", "-o", "out", "-m", "hpss", picture=True).code == 0
    pictures = list((place / "out").glob("*/hpss/spectrogram.png"))
    assert len(pictures) == 4
    assert all(path.read_bytes()[:4] == b"\x89PNG" and path.stat().st_size > 10_000 for path in pictures)


# -- with a reference


def voice_and_song(place, seconds=3.0):
    voice, back = music(seconds), music(seconds, seed=1)[::-1]
    wav(place / "a.wav", voice + back)
    wav(place / "v.wav", voice)
    return voice, back


def test_a_reference_gives_scores(place, separate):
    voice_and_song(place)
    ran = separate("a.wav", "-r", "v.wav", "-m", "oracle_irm,mixture", "-o", "out")
    assert (ran.code, ran.err) == (0, "")
    table = ran.out.splitlines()
    assert "a: BSS Eval v4" in table[1] and "3 frames" in table[1]
    assert table[2].split() == ["method", "target", "SDR", "ISR", "SIR", "SAR"]
    shown = {tuple(line.split()[:2]): float(line.split()[2]) for line in table[3:]}
    assert list(shown) == [
        (method, target) for method in ("oracle_irm", "mixture") for target in ("vocals", "accompaniment")
    ]
    assert shown["oracle_irm", "vocals"] > shown["mixture", "vocals"] + 3
    frames = pd.read_csv(place / "out/a/scores.csv")
    for (method, target), sdr in shown.items():
        content = json.loads((place / f"out/a/{method}/scores.json").read_text())
        values = {entry["name"]: [frame["metrics"]["SDR"] for frame in entry["frames"]] for entry in content["targets"]}
        assert np.median(values[target]) == pytest.approx(sdr, abs=0.006)
        assert frames.query("method == @method and target == @target")["SDR"].median() == pytest.approx(sdr, abs=0.006)
    assert (place / "out/a/scores.png").stat().st_size > 10_000
    # A second time they are told from what is there.
    assert separate("a.wav", "-r", "v.wav", "-m", "oracle_irm,mixture", "-o", "out").out == ran.out


@pytest.mark.slow
def test_the_scores_are_musevals(place, separate):
    voice, back = voice_and_song(place, 2.0)
    assert separate("a.wav", "-r", "v.wav", "-m", "hpss", "-o", "out").code == 0
    import museval

    if not hasattr(np.linalg, "linalg"):
        np.linalg.linalg = np.linalg
    estimates = [read(place / f"out/a/hpss/{name}.wav")[0] for name in ("vocals", "accompaniment")]
    mixture, voice = read(place / "a.wav")[0], read(place / "v.wav")[0]
    expected = museval.evaluate(np.stack([voice, mixture - voice]), np.stack(estimates), win=RATE, hop=RATE)
    content = json.loads((place / "out/a/hpss/scores.json").read_text())
    for index, target in enumerate(content["targets"]):
        for measure, values in zip(("SDR", "ISR", "SIR", "SAR"), expected, strict=True):
            came = [frame["metrics"][measure] for frame in target["frames"]]
            np.testing.assert_allclose(came, values[index], atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("channels, rate", [(1, RATE), (2, 22050)])
def test_a_reference_of_another_kind_is_fitted(channels, rate, place, separate):
    wav(place / "a.wav", music(2.0))
    wav(place / "v.wav", music(2.0, channels, rate), rate)
    ran = separate("a.wav", "-r", "v.wav", "-o", "out")
    assert (ran.code, ran.err) == (0, "") and "mixture" in ran.out


@pytest.mark.parametrize("seconds", [0.02, 2.0])
def test_where_there_is_no_score(seconds, place, separate):
    """Less than a frame, or nobody sings."""
    wav(place / "a.wav", music(seconds))
    wav(place / "v.wav", 0 * music(seconds))
    ran = separate("a.wav", "-r", "v.wav", "-m", "mixture,oracle_ibm", "-o", "out", quiet=False)
    assert ran.code == 0 and "there is no score" in ran.err and ran.out == ""
    whole(place / "out/a/oracle_ibm", music(seconds), RATE)


def test_a_track_of_the_test_set(tiny_set, place, separate):
    folder, manifest = tiny_set
    name = manifest.split("test")[0].name
    mixture, rate = read(folder / "test" / name / "mixture.wav")
    ran = separate("--track", name[:-1], "--musdb", folder, "-m", "oracle_ibm,mixture", "-o", "out")
    assert (ran.code, ran.err) == (0, "") and name in ran.out and "oracle_ibm" in ran.out
    whole(place / "out" / name / "oracle_ibm", mixture, rate)
    assert {"scores.csv", "scores.png", "oracle_ibm", "mixture"} == set(os.listdir(place / "out" / name))
    ran = separate("-t", name, "--musdb", folder, "-o", "passage", "--start", 1, "--duration", 1)
    assert ran.code == 0
    whole(place / "passage" / name / "mixture", mixture[rate : 2 * rate], rate)
    assert_refused(separate("-t", "none", "--musdb", folder, "-o", "out"), "'none': expected one of .* found 0")
    assert_refused(separate("-t", name, "--musdb", folder, "-o", "out2", "--start", 9), "lasts 3.00 s")


# -- chunks


@pytest.fixture(scope="module")
def real_song(tmp_path_factory):
    """Five seconds of the song that stempeg ships."""
    path = tmp_path_factory.mktemp("song") / "song.wav"
    ffmpeg("-i", stempeg.example_stem_path(), "-map", "0:a:0", "-t", 5, "-c:a", "pcm_f32le", path)
    return path


@pytest.mark.parametrize(
    "options",
    [
        ["-m", "mixture"],
        ["-m", "hpss"],
        ["-m", "repet_sim"],
        ["-m", "knn_median"],
        pytest.param(["-m", "hpss", "-S", "separate.hpss.variant=harmonic"], marks=pytest.mark.slow),
        pytest.param(["-m", "repet_sim", "-S", "separate.repet_sim.variant=librosa"], marks=pytest.mark.slow),
    ],
    ids=lambda options: " ".join(options[1::2]),
)
def test_no_seam(options, real_song, place, separate):
    """One chunk or many: the same audio.  (Similar frames are sought within 1.5 s, so that chunks differ.)"""
    near = ["-S", "separate.repet_sim.reach=1.5", "-S", "separate.knn_median.reach=1.5"]
    for chunk in (2, 600):
        assert separate(real_song, *options, *near, "-S", f"separate.common.chunk={chunk}", "-o", str(chunk)).code == 0
    method = options[1]
    chunked, unchunked = (read(place / chunk / "song" / method / "vocals.wav")[0] for chunk in ("2", "600"))
    assert np.abs(unchunked).max() > 0.01
    np.testing.assert_allclose(chunked, unchunked, atol=1e-5)
