"""Every option of `svs separate` that says how results are made and written, on a real song: what is read back."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest
import soundfile
import soxr
import stempeg

from svs.audio.reading import decode
from svs.config.quality import DEFAULT, QUALITIES
from tests.helpers.audio import decoded
from tests.helpers.command import RATE, assert_refused, below, music, svs, wav

pytestmark = pytest.mark.usefixtures("alone")
HALF = 0.5 * 2**-15  # of a step of 16 bits


class Written(NamedTuple):
    """What is expected of a row of the table."""

    words: str
    codec: str = "pcm_f32le"
    error: float = 0.0  # the largest of a sample, or with `noise` the root mean square beside the estimate, in dB
    noise: bool = False
    rate: int = RATE
    kbits: tuple[float, float] | None = None  # the bit rate of the file
    files: tuple[str, ...] = ("song/mixture/vocals", "song/mixture/accompaniment")
    method: str = "mixture"


TABLE = [
    Written("--format wav"),
    Written("--bit-depth float"),
    Written("-f wav --bit-depth 24", "pcm_s24le", HALF / 256),
    Written("-f wav --bit-depth 16", "pcm_s16le", HALF),
    Written("-f flac", "flac", HALF / 256),
    Written("-f flac --bit-depth 16", "flac", HALF),
    Written("-f mp3", "mp3", -25, True, kbits=(310, 340)),
    Written("-f mp3 --bitrate 128", "mp3", -15, True, kbits=(120, 140)),
    Written("-f ogg", "vorbis", -25, True, kbits=(150, 350)),
    Written("-f ogg --bitrate 96", "vorbis", -13, True, kbits=(70, 130)),
    Written("-f opus", "opus", -20, True, 48000, kbits=(140, 240)),
    Written("-f opus --bitrate 64", "opus", -10, True, 48000, kbits=(40, 100)),
    Written("-f m4a", "aac", -25, True, kbits=(180, 320)),
    Written("-f m4a --bitrate 96", "aac", -13, True, kbits=(70, 130)),
    Written("--stem vocals", files=("song/mixture/vocals",)),
    Written("--stem accompaniment", files=("song/mixture/accompaniment",)),
    Written("--name {song}_{stem}", files=("song_vocals", "song_accompaniment")),
    Written("--name {song}/{stem}", files=("song/vocals", "song/accompaniment")),
    Written("--name {stem}/{method}/{song}", files=("vocals/mixture/song", "accompaniment/mixture/song")),
    Written("--stem accompaniment --name {song}", files=("song",)),
    Written("--device cpu"),
    Written("--quality best"),
    Written("-m mixture+hpss", files=("song/mixture+hpss/vocals", "song/mixture+hpss/accompaniment"), method="both"),
]


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    """Three seconds of a real song, and what two methods make of them."""
    audio, rate = stempeg.read_stems(stempeg.example_stem_path(), stem_id=0, start=1, duration=3)
    assert rate == RATE
    path = wav(tmp_path_factory.mktemp("song") / "song.wav", audio.astype(np.float32))
    from svs import api

    parts = {name: api.separate(audio.astype(np.float32), rate, name)["vocals"] for name in ("mixture", "hpss")}
    return path, audio.astype(np.float32), {**parts, "both": (parts["mixture"] + parts["hpss"]) / 2}


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.words)
def test_what_is_written(row, song, place, home):
    path, mixture, estimates = song
    method = [] if "-m" in row.words else ["-m", "mixture"]
    words = [path, "-o", "out", "--no-picture", "-q", "--project", home, *method, *row.words.split()]
    assert svs("separate", *words).code == 0
    suffix = row.words.partition("-f ")[2].partition(" ")[0] or "wav"
    audio = [f"{file}.{suffix}" for file in row.files]
    assert [name for name in below(place / "out") if not name.endswith(".json")] == sorted(audio)
    for file in audio:
        vocals = estimates[row.method]
        truth = mixture - vocals if "accompaniment" in file + row.words else vocals
        got, recording = decoded(place / "out" / file)
        with av.open(str(place / "out" / file)) as opened:
            stream = opened.streams.audio[0]
            assert (stream.codec_context.name.removeprefix("lib"), stream.rate) in (
                (row.codec, row.rate),
                (f"{row.codec}float", row.rate),
            )
        if row.rate != RATE:
            truth = soxr.resample(truth, RATE, row.rate)
        assert got.shape == truth.shape
        if row.noise:
            assert 20 * np.log10(np.std(got - truth) / np.std(truth)) < row.error
        else:
            assert np.abs(got - truth).max() <= row.error + 1e-7
        if suffix in ("wav", "flac"):
            depth = {"16": "PCM_16", "24": "PCM_24", "float": "FLOAT"}
            usual = "float" if suffix == "wav" else "24"
            assert soundfile.info(place / "out" / file).subtype == depth[row.words.partition("-depth ")[2] or usual]
        if row.kbits:
            kbits = (place / "out" / file).stat().st_size * 8 / 1000 / (len(mixture) / RATE)
            assert row.kbits[0] < kbits < row.kbits[1]
    again = svs("separate", *[word for word in words if word != "-q"])  # a resumed run finds what is finished
    assert again.code == 0 and again.err.count("was there already") == 1


def test_every_option_is_in_the_help(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    said = svs("separate", "-h").out
    options = {word for row in TABLE for word in row.words.split() if word.startswith("--")}
    assert {option for option in options if option not in said} == set()
    words = " ".join(re.sub(r"[│\s]+", " ", said).split())
    assert all(f"{name} {quality}" in words for name, quality in QUALITIES.items())


REFUSED = {
    "--device abacus": (6, "device abacus: expected one of auto, .*cpu"),
    "--quality superb": (2, "quality superb: expected one of fast, balanced, best"),
    "-f flac --bit-depth float": (2, "bit depth float of flac: expected one of 24, 16"),
    "-f mp3 --bit-depth 24": (2, "bit depth 24 of mp3: it has a bit rate instead"),
    "-f flac --bitrate 128": (2, "bit rate 128 of flac: it loses nothing"),
    "-f opus --bitrate 5": (2, "bit rate 5 of opus: expected 16 to 510 kbit/s"),
    "--name {artist}/{stem}": (2, r"expected the fields \{song\}, \{method\}, \{stem\}, got \{artist\}"),
    "--name {stem}": (2, r"expected \{song\} in it"),
    "--name {song}/{stem} -m mixture,hpss": (2, r"expected \{method\} in it"),
    "-m mixture+magic": (2, "magic: no such method"),
    "-m mixture+oracle_irm": (2, "oracle_irm needs the true stems"),
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_is_refused(words, song, place, home):
    code, match = REFUSED[words]
    method = [] if "-m" in words else ["-m", "mixture"]
    ran = svs("separate", song[0], "-o", "out", "-q", "--project", home, *method, *words.split())
    assert_refused(ran, match, code)
    assert not (place / "out").exists()


# -- names


def named(place, home, *words, quiet=True):
    shared = ["-m", "mixture", "--no-picture", "--project", home, "-o", "out", "--name", "[{song}]_{stem}"]
    return svs("separate", *shared, *(["-q"] if quiet else []), *words)


def test_a_result_beside_others_touches_no_other(place, home):
    """Names like those of a folder of its own, with another method's results in it."""
    wav(place / "a.wav", music(0.2))
    words = ["-q", "--no-picture", "--project", home, "-o", "out", "a.wav"]
    assert svs("separate", *words, "-m", "mixture", "--name", "{song}/{stem}").code == 0
    assert svs("separate", *words, "-m", "mixture,hpss").code == 0
    before = below(place / "out")
    assert "a/hpss/vocals.wav" in before and "a/vocals.wav" in before
    assert svs("separate", *words, "-m", "mixture", "--name", "{song}/{stem}", "--overwrite").code == 0
    assert below(place / "out") == before


def test_results_of_two_recordings_never_share_a_name(place, home):
    for folder, seed in (("x", 1), ("y", 2)):
        wav(place / folder / "a.wav", music(0.2, seed=seed))
    assert named(place, home, "x/a.wav", "y/a.wav").code == 0
    audio = [name for name in below(place / "out") if name.endswith(".wav")]
    assert audio == [f"[{folder} - a.wav]_{stem}.wav" for folder in "xy" for stem in ("accompaniment", "vocals")]
    # Alone, the second one is found under its name of before; another recording of a name is refused.
    ran = named(place, home, "y/a.wav", quiet=False)
    assert ran.code == 0 and "[y - a.wav]_vocals.wav (was there already)" in ran.err
    wav(place / "b.wav", music(0.2, seed=3))
    assert named(place, home, "b.wav").code == 0
    wav(place / "b.wav", music(0.2, seed=4))
    assert_refused(
        named(place, home, "b.wav"), r"out/\[b\]_vocals\.wav: holds the result of another request \(its song"
    )
    before = (place / "out" / "[b]_vocals.wav").read_bytes()
    assert named(place, home, "b.wav", "--overwrite").code == 0
    assert (place / "out" / "[b]_vocals.wav").read_bytes() != before


def test_results_are_no_recordings_under_any_name(place, home):
    wav(place / "a.wav", music(0.2))
    assert svs("separate", "a.wav", "-m", "mixture", "-q", "--no-picture", "--project", home, "-o", ".", "--name",
               "{song}_{stem}").code == 0  # fmt: skip
    ran = svs("separate", ".", "-m", "mixture", "--no-picture", "--project", home, "-o", "out")
    assert ran.code == 0 and sorted(path.name for path in (place / "out").iterdir()) == ["a"]
    (place / "b.mp3").write_bytes((place / "a.wav").read_bytes())
    words = ["-m", "mixture", "--no-picture", "--project", home, "--stem", "accompaniment", "--name", "{song}"]
    assert svs("separate", "b.mp3", *words, "-o", ".").code == 0 and (place / "b.wav").is_file()
    assert svs("separate", ".", *words, "-o", "only").code == 0
    assert [name for name in below(place / "only") if not name.endswith("json")] == ["a.wav", "b.wav"]


def test_a_file_of_somebody_stays(place, home):
    wav(place / "a.wav", music(0.2))
    (place / "out").mkdir()
    (place / "out" / "[a]_vocals.wav").write_text("mine")
    for words in ([], ["--overwrite"]):
        assert_refused(named(place, home, "a.wav", *words), r"out/\[a\]_vocals\.wav: expected a file of svs or none")
    assert below(place / "out") == ["[a]_vocals.wav"] and (place / "out" / "[a]_vocals.wav").read_text() == "mine"


def test_what_an_interruption_left_is_made_again(place, home):
    wav(place / "a.wav", music(0.2))
    assert named(place, home, "a.wav").code == 0
    files = {name: (place / "out" / name).read_bytes() for name in below(place / "out")}
    (place / "out" / "[a]_accompaniment.wav").unlink()
    ran = named(place, home, "a.wav", quiet=False)
    assert ran.code == 0 and "already" not in ran.err
    assert {name: (place / "out" / name).read_bytes() for name in below(place / "out")} == files


# -- qualities


def test_a_quality_lies_under_the_parameters_of_set(place, home):
    from svs.cli.request import Request

    kept = Request(quality="best", overrides=["separate.spleeter.semitones=[0.5]"], project=home).open().settings
    assert kept.separate.of("spleeter")["semitones"] == [0.5]
    for name, quality in QUALITIES.items():
        opened = Request(quality=name, project=home).open().settings
        for name in ("spleeter", "spleeter_finetuned", "unet_separator"):
            assert opened.separate.of(name)["semitones"] == list(quality.semitones)
    assert len(QUALITIES["fast"].semitones) == 1 and DEFAULT in QUALITIES


def test_the_request_names_the_members_of_an_ensemble(song, place, home):
    words = ["-m", "mixture+hpss", "-q", "--no-picture", "--project", home, "-o", "out"]
    assert svs("separate", song[0], *words).code == 0
    request = json.loads((place / "out" / "song" / "mixture+hpss" / "result.json").read_text())
    assert [member["method"] for member in request["members"]] == ["mixture", "hpss"]
    assert decode.probe(Path("out/song/mixture+hpss/vocals.wav")).rate == RATE


# Results and what lies beside them


def test_scores_of_an_earlier_result_go_with_it(tmp_path):
    true = wav(tmp_path / "true.wav", music(3.0, seed=5))
    song = wav(tmp_path / "song.wav", music(3.0))
    words = ("separate", song, "-o", tmp_path / "out", "--name", "{song}/{stem}", "--no-picture")
    assert svs(*words, "-m", "mixture", "-r", true).code == 0
    assert svs(*words, "-m", "hpss", "--overwrite").code == 0
    assert not list((tmp_path / "out").rglob("scores.json"))
    assert "hpss" not in svs(*words, "-m", "hpss").out, "the scores of another method"


@pytest.mark.parametrize("name", ["result.json", "scores.json", "spectrogram.png"])
def test_a_file_of_the_user_beside_a_result_is_never_replaced(tmp_path, name):
    song = wav(tmp_path / "song.wav", music(1.0))
    (tmp_path / "out" / "song").mkdir(parents=True)
    (tmp_path / "out" / "song" / name).write_text("mine")
    words = ("separate", song, "-o", tmp_path / "out", "-m", "mixture", "--name", "{song}/{stem}", "--overwrite", "-q")
    assert_refused(svs(*words), f"{name}: expected a file of svs or none")
    assert (tmp_path / "out" / "song" / name).read_text() == "mine"


def test_overwriting_keeps_what_the_user_put_into_a_result(tmp_path):
    song = wav(tmp_path / "song.wav", music(1.0))
    words = ("separate", song, "-o", tmp_path / "out", "-m", "mixture", "--no-picture", "-q")
    assert svs(*words).code == 0
    assert svs(*words, "-f", "flac", "--overwrite").code == 0, "files of svs alone"
    mine = wav(tmp_path / "out" / "song" / "mixture" / "my mix.wav", music(0.1))
    assert_refused(svs(*words, "--overwrite"), "my mix.wav: expected only files of svs")
    assert mine.is_file() and (tmp_path / "out" / "song" / "mixture" / "vocals.flac").is_file()


def test_a_name_that_is_too_long_is_one_line_and_the_rest_goes_on(tmp_path):
    long, short = (wav(tmp_path / f"{name}.wav", music(1.0)) for name in ("x" * 200, "short"))
    ran = svs(
        "separate", long, short, "-m", "mixture", "-o", tmp_path / "out", "--name", "{song} " + "y" * 60 + " ({stem})"
    )
    assert ran.code == 3 and "can't write it" in ran.err and "Traceback" not in ran.err
    assert len(list((tmp_path / "out").glob("short*.wav"))) == 2


def test_an_output_below_a_file_is_one_line(tmp_path):
    song = wav(tmp_path / "song.wav", music(0.1))
    assert_refused(svs("models", "export", "spleeter_finetuned", song / "x"), "can't write it")
