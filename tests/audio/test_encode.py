"""Writing recordings: what is read back, tags, stable bytes, nothing left half written."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import soxr

from svs.audio import convert, encode, sources
from svs.audio.reading import decode
from svs.audio.sources import ArraySource
from svs.errors import DataError, SettingsError
from tests.helpers import REPOSITORY
from tests.helpers.audio import decoded, level, refused, tone
from tests.helpers.command import RATE, ffmpeg, mounted, unmounted


@pytest.mark.parametrize(
    ("codec", "channels"),
    [*(("flac", channels) for channels in range(1, 9)), ("wav", 1), ("wav", 3), ("wav", 6), ("wav", 9)],
)
def test_written_and_read_again(codec, channels, tmp_path, small_blocks):
    tags = {"title": "x"} if channels % 2 else {}  # a wav with tags is written by PyAV, one without is not
    audio = tone(30_000, channels)
    path = tmp_path / f"a.{codec}"
    assert encode.encode(ArraySource(audio, RATE), path, codec, tags) == []
    got, recording = decoded(path)
    assert recording.rate == RATE
    if codec == "wav":
        np.testing.assert_array_equal(got, audio)
        np.testing.assert_array_equal(soundfile.read(path, dtype="float32", always_2d=True)[0], audio)
    else:
        np.testing.assert_allclose(got, audio, atol=2**-24)  # half a step of 24 bits
        assert soundfile.info(path).subtype == "PCM_24"
        np.testing.assert_array_equal(soundfile.read(path, dtype="float32", always_2d=True)[0], got)


@pytest.mark.parametrize(
    ("codec", "rate"),
    [
        ("wav", 8000),
        ("wav", 192000),
        ("flac", 8000),
        ("flac", 192000),
        *(("mp3", rate) for rate in (8000, 11025, 22050, 48000, 96000, 192000)),
    ],
)
def test_rates_written(codec, rate, tmp_path):
    audio = tone(rate, 2, rate)
    path = tmp_path / f"a.{codec}"
    notes = encode.encode(ArraySource(audio, rate), path, codec)
    got, recording = decoded(path)
    if codec == "mp3":
        assert recording.rate == min(rate, 48000)
        assert notes == ([] if rate <= 48000 else [f"resampled from {rate} to 48000 Hz, as mp3 has no {rate} Hz"])
        assert len(got) == recording.rate
        np.testing.assert_allclose(level(got), level(audio), rtol=0.01)
    else:
        assert recording.rate == rate and notes == []
        np.testing.assert_allclose(got, audio, atol=2**-24)


@pytest.mark.parametrize(("rate", "new_rate"), [(6000, 48000), (37800, 48000), (88200, 44100), (176400, 44100)])
def test_mp3_resampled_without_seams(rate, new_rate, tmp_path, small_blocks):
    audio = tone(2 * rate, 1, rate)
    notes = encode.encode(ArraySource(audio, rate), tmp_path / "a.mp3", "mp3")
    assert notes == [f"resampled from {rate} to {new_rate} Hz, as mp3 has no {rate} Hz"]
    blocks = [audio[start : start + 3001] for start in range(0, len(audio), 3001)]
    joined = np.concatenate(list(convert.resampled(iter(blocks), rate, new_rate, 1)))
    whole = soxr.resample(audio, rate, new_rate)
    assert abs(len(joined) - len(whole)) <= 1
    length = min(len(joined), len(whole))
    np.testing.assert_allclose(joined[:length], whole[:length], atol=1e-6)
    got, _ = decoded(tmp_path / "a.mp3")
    assert len(got) == len(joined) and np.abs(got - joined)[2000:-2000].max() < 0.1


def test_mp3_of_more_channels_is_stereo(tmp_path):
    for channels in range(3, 9):
        loud = next(encode._mixed_down(iter([np.ones((10, channels))]), channels))
        np.testing.assert_allclose(loud, 1.0, atol=1e-6)  # all at full scale is full scale
        if channels not in (3, 6):
            continue
        audio = np.zeros((RATE, channels), dtype=np.float32)
        audio[:, 0] = tone(RATE, 1)[:, 0]
        notes = encode.encode(ArraySource(audio, RATE), tmp_path / "a.mp3", "mp3")
        assert notes == [f"mixed down from {channels} channels to stereo, as mp3 gets no more"]
        got, recording = decoded(tmp_path / "a.mp3")
        assert recording.channels == 2 and level(got)[1] < 0.01 * level(got)[0]
    with pytest.raises(DataError, match="mp3 gets 2 channels at most, these are 9; choose wav"):
        encode.encode(ArraySource(tone(100, 9), RATE), tmp_path / "a.mp3", "mp3")


def test_mp3_is_the_song(song, tmp_path):
    encode.encode(ArraySource(song[1], RATE), tmp_path / "a.mp3", "mp3")
    got, recording = decoded(tmp_path / "a.mp3")
    assert got.shape == song[1].shape
    np.testing.assert_allclose(level(got), level(song[1]), rtol=0.01)
    error = level(got - song[1]) / level(song[1])  # also tells that nothing was shifted
    assert (error < 0.15).all()
    assert (tmp_path / "a.mp3").stat().st_size == pytest.approx(2 * 40_000, rel=0.1)


LOUD = {  # how a song of peak 4.0 is written: the largest difference to what is read again, and the note
    "wav": ({}, 4.0, 1e-7, None),
    "wav of an unused clip": ({"clip": "error"}, 4.0, 1e-7, None),
    "wav, softer": ({"gain": 0.25}, 1.0, 1e-7, None),
    "flac": ({}, 1.0, 1e-6, "{clipped} samples beyond full scale were clipped (the peak was 4.00 times full scale"),
    "flac, softer": ({"gain": 0.25}, 1.0, 1e-6, None),
    "flac, a little": ({"gain": 0.5}, 1.0, 1e-6, "(the peak was 2.00 times full scale; a float wav keeps them)"),
    "mp3": ({}, 1.0, 0.3, "{clipped} samples beyond full scale were clipped (the peak was 4.00 times full scale"),
    "mp3, softer": ({"gain": 0.25}, 1.0, 0.3, None),
    "mp3, much softer": ({"gain": 0.01, "clip": "error"}, 1.0, 0.03, None),
}


@pytest.mark.parametrize("name", LOUD)
def test_loud_floats(name, song, tmp_path, small_blocks):
    options, limit, tolerance, note = LOUD[name]
    codec = name[:4].rstrip(", ")
    loud = 4 * song[1] / np.abs(song[1]).max()
    notes = encode.encode(ArraySource(loud, RATE), tmp_path / "a", codec, {"title": "x"}, **options)
    expected = np.clip(options.get("gain", 1.0) * loud, -limit, limit)
    got, _ = decoded(tmp_path / "a")
    assert np.abs(got - expected).max() < tolerance
    if note is None:
        assert notes == []
    else:
        assert len(notes) == 1 and note.format(clipped=np.count_nonzero(np.abs(loud) > 1)) in notes[0]


def test_loud_floats_are_an_error_if_wanted(song, tmp_path):
    loud = ArraySource(4 * song[1] / np.abs(song[1]).max(), RATE)
    for codec in ("flac", "mp3"):
        with pytest.raises(DataError, match=rf"as {codec} holds no more, got 4\.00 times full scale; nothing was"):
            encode.encode(loud, tmp_path / "a", codec, clip="error")
    assert list(tmp_path.iterdir()) == []


def test_the_last_step_below_full_scale(tmp_path):
    audio = np.zeros((1000, 2), dtype=np.float32)
    audio[:4, 0] = [1.5, -2.0, 1.0, -1.0]
    notes = encode.encode(ArraySource(audio, RATE), tmp_path / "a.flac", "flac")
    assert notes == [
        "2 samples beyond full scale were clipped (the peak was 2.00 times full scale; a float wav keeps them)"
    ]
    got, _ = decoded(tmp_path / "a.flac")
    np.testing.assert_array_equal(got[:4, 0], np.float32([1 - 2**-23, -1.0, 1 - 2**-23, -1.0]))


@pytest.mark.parametrize(("channels", "rate"), [(9, 44100), (2, 655_350), (2, 700_000), (1, 96_001)])
def test_what_flac_cannot_hold(channels, rate, tmp_path):
    with pytest.raises(DataError, match=f"flac holds 8 channels .* these are {channels} channels at {rate} Hz"):
        encode.encode(ArraySource(tone(100, channels), rate), tmp_path / "a.flac", "flac")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("codec", encode.FORMATS)
def test_tags_are_kept(codec, song, tmp_path):
    tags = {
        "title": 'Zwölf = 12; "ja"',
        "ARTIST": "Émile 🎤",
        "album": "-A",
        "date": "1999",
        "track": "3/9",
        "genre": "Rock",
        "comment": "first\nsecond",
        "encoder": "X 1.0",
        "replaygain_track_gain": "-3 dB",
        "composer": " ",
        "copyright": "n\0ul",
    }
    path = tmp_path / f"a.{codec}"
    assert encode.encode(ArraySource(song[1], 48000), path, codec, tags) == []
    read = decode.probe(path).tags
    for key in ("title", "artist", "album", "date", "track", "genre", "comment"):
        assert read[key] == {key.lower(): value for key, value in tags.items()}[key], key
    assert read["copyright"] == "nul"
    assert not {"composer", "replaygain_track_gain"} & set(read) and "X 1.0" not in read.values()
    for other in {"flac", "mp3"} - {codec}:  # and from one format into the next
        encode.encode(ArraySource(song[1][:5000], RATE), tmp_path / f"b.{other}", other, read)
        assert decode.probe(tmp_path / f"b.{other}").tags["artist"] == "Émile 🎤"


@pytest.mark.parametrize("tags", [{}, {"title": "x", "date": "2001"}])
@pytest.mark.parametrize("codec", encode.FORMATS)
def test_the_same_samples_give_the_same_bytes(codec, tags, song, tmp_path, monkeypatch):
    encode.encode(ArraySource(song[1], RATE), tmp_path / "a", codec, tags)
    monkeypatch.setattr(sources, "BLOCK", 1000)
    encode.encode(ArraySource(song[1], RATE), tmp_path / "b", codec, dict(reversed(tags.items())))
    data = (tmp_path / "a").read_bytes()
    assert data == (tmp_path / "b").read_bytes()
    assert b"Lavf5" not in data and b"Lavc5" not in data  # no version of the library


def test_a_wav_too_large_for_its_header(song, tmp_path, monkeypatch):
    """Goes through PyAV, which knows RF64; there is a 4 GiB file among the slow tests."""
    monkeypatch.setattr(encode, "_LARGEST_WAV", 1000)
    encode.encode(ArraySource(song[1], RATE), tmp_path / "a.wav", "wav")
    np.testing.assert_array_equal(decoded(tmp_path / "a.wav")[0], song[1])


class Zeros:
    """A long silence with a mark at its end."""

    rate, channels = RATE, 2

    def __init__(self, samples):
        self.samples = samples

    def read(self, start, stop):
        audio = np.zeros((stop - start, 2), dtype=np.float32)
        if stop == self.samples:
            audio[-1] = 0.5
        return audio


@pytest.mark.slow
def test_more_than_4_gib(tmp_path, monkeypatch):
    source = Zeros(2**29 + 1000)
    if shutil.disk_usage(tmp_path).free < 12 * 2**30:
        pytest.skip("needs 12 GiB of disk")
    encode.encode(source, tmp_path / "a.wav", "wav")
    with open(tmp_path / "a.wav", "rb") as file:
        assert file.read(4) == b"RF64"
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with decode.open_recording(tmp_path / "a.wav") as recording:
        assert recording.samples == source.samples
        np.testing.assert_array_equal(recording.read(source.samples - 2, source.samples), [[0, 0], [0.5, 0.5]])


def test_what_is_not_written(tmp_path):
    source = ArraySource(tone(100), RATE)
    with pytest.raises(SettingsError, match="wma: no such format; expected one of wav, flac, mp3, ogg, opus, m4a"):
        encode.encode(source, tmp_path / "a.wma", "wma")
    for codec in encode.FORMATS:
        with pytest.raises(DataError, match="not one sample to write"):
            encode.encode(ArraySource(np.zeros((0, 2)), RATE), tmp_path / "a", codec)
        bad = tone(2 * RATE)
        bad[RATE] = np.nan
        with pytest.raises(DataError, match=r"NaN or infinite at 1\.000 s; nothing was written"):
            encode.encode(ArraySource(bad, RATE), tmp_path / "a", codec)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "a.flac", tmp_path / "folder"):
        for codec in encode.FORMATS:
            with pytest.raises(DataError, match="can't write it .*choose another folder"):
                encode.encode(source, path, codec)


def test_an_encoder_that_fails_midway(song, tmp_path, monkeypatch, small_blocks):
    """As a defect of the library would: what was there stays."""
    frame = encode._frame

    def failing(block, encoding, position):
        if position:
            raise av.error.InvalidDataError(1094995529, "it broke")
        return frame(block, encoding, position)

    monkeypatch.setattr(encode, "_frame", failing)
    for codec in ("flac", "mp3"):
        target = tmp_path / "out" / f"a.{codec}"
        target.parent.mkdir(exist_ok=True)
        target.write_text("what was there")
        with pytest.raises(DataError, match=rf"a\.{codec}: can't encode it \(it broke\); nothing was written"):
            encode.encode(ArraySource(song[1], RATE), target, codec)
        assert target.read_text() == "what was there"
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_a_source_that_fails_midway(song, tmp_path, small_blocks):
    class Broken(ArraySource):
        def read(self, start, stop):
            if start:
                raise DataError("the source is gone")
            return super().read(start, stop)

    for codec in encode.FORMATS:
        with pytest.raises(DataError, match="the source is gone"):
            encode.encode(Broken(song[1], RATE), tmp_path / f"a.{codec}", codec)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def tiny_disk(tmp_path):
    """A disk of 1 MiB."""
    folder = tmp_path / "disk"
    if problem := mounted(folder, "-o", "size=1m"):
        pytest.skip(problem)
    yield folder
    unmounted(folder)


def test_a_real_full_disk(tiny_disk, song, monkeypatch):
    audio = np.random.default_rng(0).normal(0, 0.1, (60 * RATE, 2)).astype(np.float32)
    for codec in encode.FORMATS:
        for tags in ({}, {"title": "x"}):
            with pytest.raises(DataError, match=rf"a\.{codec}: the disk is full .*free some space"):
                encode.encode(ArraySource(audio, RATE), tiny_disk / f"a.{codec}", codec, tags)
            assert list(tiny_disk.iterdir()) == []
    (tiny_disk / "taken").write_bytes(bytes(500_000))
    monkeypatch.setattr(tempfile, "tempdir", str(tiny_disk))
    refused(song[0], "the disk is full; .* needs about 1 MB")
    assert [path.name for path in tiny_disk.iterdir()] == ["taken"]


MEMORY = """
import resource, sys
from pathlib import Path
from svs.audio import encode
from svs.audio.reading import decode
with decode.open_recording(sys.argv[1]) as recording:
    for codec in ("wav", "flac"):
        encode.encode(recording, Path(sys.argv[2]) / codec, codec, {"title": "x"})
    print(recording.samples, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_song(song, tmp_path):
    used = []
    for seconds in (10, 100):
        ffmpeg("-stream_loop", "-1", "-i", song[0], "-t", seconds, "-c:a", "flac", tmp_path / "long.flac")
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, tmp_path / "long.flac", tmp_path],
            check=True,
            capture_output=True,
            text=True,
            cwd=REPOSITORY,
        )
        samples, memory = map(int, done.stdout.split())
        assert samples == seconds * RATE
        used.append(memory if sys.platform == "linux" else memory / 1024)
    assert used[1] < used[0] + 8 * 1024  # KiB; the samples of the long one are 35 MB


@pytest.mark.parametrize("bitrate", [96, 128, 160, 192, 224, 256, 320])
def test_an_mp3_of_any_bit_rate_keeps_the_level_and_the_place(tmp_path: Path, bitrate: int):
    time = np.arange(2 * 44100) / 44100
    tone = (0.2 * np.sin(2 * np.pi * 440 * time) + 0.1 * np.sin(2 * np.pi * 2500 * time)).astype(np.float32)
    encode.encode(ArraySource(tone, 44100), tmp_path / "tone.mp3", "mp3", bitrate=bitrate)
    with decode.open_recording(tmp_path / "tone.mp3") as recording:
        heard = recording.read(0, recording.samples)[:, 0]
    middle = slice(5000, 80000)
    assert len(heard) == len(tone)
    assert 10 * np.log10(np.mean(heard[middle] ** 2) / np.mean(tone[middle] ** 2)) == pytest.approx(0, abs=0.02)
    assert np.abs(heard[middle] - tone[middle]).max() < 0.02
