"""Recordings in and out: every format against another reader, every broken file named, nothing left half written."""

import errno
import logging
import os
import shutil
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import stempeg

from svs.audio import decode, encode, find
from svs.audio.sources import ArraySource, Source
from svs.errors import DataError

EXAMPLE = Path(stempeg.example_stem_path())
RATE = 44100
BLOCK = 65536  # bytes, so that a song of two seconds has many blocks

# Name: ffmpeg's arguments, and by how many samples the decoded length may differ from the song's.
HEALTHY = {
    "pcm16.wav": (["-c:a", "pcm_s16le"], 0),
    "pcm24.wav": (["-c:a", "pcm_s24le"], 0),
    "pcm32.wav": (["-c:a", "pcm_s32le"], 0),
    "pcm8.wav": (["-c:a", "pcm_u8"], 0),
    "float.wav": (["-c:a", "pcm_f32le"], 0),
    "double.wav": (["-c:a", "pcm_f64le"], 0),
    "rf64.wav": (["-c:a", "pcm_s16le", "-rf64", "always"], 0),
    "adpcm.wav": (["-c:a", "adpcm_ima_wav"], 2048),
    "plain.flac": ([], 0),
    "plain.aiff": ([], 0),
    "plain.au": ([], 0),
    "plain.caf": ([], 0),
    "plain.w64": ([], 0),
    "alac.m4a": (["-c:a", "alac"], 0),
    "plain.wv": ([], 0),
    "plain.tta": ([], 0),
    "cbr.mp3": (["-b:a", "128k"], 0),
    "vbr.mp3": (["-q:a", "4"], 0),
    "noxing.mp3": (["-b:a", "128k", "-write_xing", "0"], 2304),  # nothing tells the encoder's delay
    "vbr-noxing.mp3": (["-q:a", "4", "-write_xing", "0"], 2304),  # nor the length
    "plain.mp2": ([], 1152),
    "plain.aac": ([], 2048),
    "plain.m4a": ([], 1024),
    "fragments.mp4": (["-c:a", "aac", "-movflags", "frag_keyframe+empty_moov"], 2048),
    "vorbis.ogg": (["-c:a", "libvorbis"], 128),
    "flac.ogg": (["-c:a", "flac"], 0),
    "plain.wma": ([], 4096),
    "plain.ac3": ([], 1536),
    "plain.ts": (["-c:a", "aac"], 2048),
    "vorbis.mka": (["-c:a", "libvorbis"], 1024),
    "live.mkv": (["-c:a", "aac", "-live", "1"], 2048),  # states no length
    "plain.avi": (["-c:a", "pcm_s16le"], 0),
    "plain.opus": ([], 1),
    "opus.webm": (["-c:a", "libopus"], 1),
}
TRUNCATED = [
    "pcm16.wav",
    "float.wav",
    "rf64.wav",
    "plain.flac",
    "plain.aiff",
    "plain.m4a",
    "fragments.mp4",
    "cbr.mp3",
    "vbr.mp3",
    "vorbis.ogg",
    "flac.ogg",
    "plain.opus",
    "vorbis.mka",
    "live.mkv",
    "plain.wma",
    "plain.avi",
    "alac.m4a",
    "plain.wv",
]


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y", *map(str, arguments)], check=True)


def decoded(path, **options):
    with decode.open_recording(path, **options) as recording:
        return recording.read(0, recording.samples), recording


def refused(path, match, **options):
    """The message with which a recording is refused: one line that names it."""
    with pytest.raises(DataError, match=match) as caught, decode.open_recording(path, **options):
        pass
    message = str(caught.value)
    assert "\n" not in message and len(message) < 700
    return message


def tone(samples, channels=2, rate=RATE, seed=0):
    """Sines of another pitch in each channel, and a little noise."""
    generator = np.random.default_rng(seed)
    time = np.arange(samples)[:, None] / rate
    hertz = 200.0 * np.arange(1, channels + 1)
    noise = generator.normal(0, 0.01, (samples, channels))
    return (0.4 * np.sin(2 * np.pi * hertz * time) + noise).astype(np.float32)


def level(audio):
    return np.sqrt(np.mean(np.square(audio, dtype=np.float64), axis=0))


@pytest.fixture(scope="session")
def song(tmp_path_factory):
    """Two loud seconds of a real song: a 16-bit wav, and its samples."""
    path = tmp_path_factory.mktemp("song") / "song.wav"
    ffmpeg(
        "-i",
        EXAMPLE,
        "-map",
        "0:a:0",
        "-af",
        f"atrim=start_sample={3 * RATE}:end_sample={5 * RATE}",
        "-c:a",
        "pcm_s16le",
        path,
    )
    audio, rate = soundfile.read(path, dtype="float32")
    assert audio.shape == (2 * RATE, 2) and rate == RATE and np.abs(audio).max() > 0.1
    return path, audio


@pytest.fixture(scope="session")
def healthy(song, tmp_path_factory):
    """The song in every format; a 20 ms piece of it beside, named short-."""
    folder = tmp_path_factory.mktemp("healthy")
    outputs = []
    for name, (options, _) in HEALTHY.items():
        outputs += ["-map", "0", *options, folder / name]
        outputs += ["-map", "0", "-af", "atrim=end_sample=882", *options, folder / f"short-{name}"]
    ffmpeg("-i", song[0], *outputs)
    return folder


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(decode, "_BLOCK", BLOCK)


# -- reading


@pytest.mark.parametrize("name", HEALTHY)
def test_every_format_is_the_song(name, healthy, song, small_blocks, caplog):
    """Rate, channels, length, and the sound of the song, with no false alarm."""
    _, audio = song
    rate = 48000 if "opus" in name else RATE
    expected = audio if rate == RATE else soxr.resample(audio, RATE, rate)
    with caplog.at_level(logging.WARNING):
        got, recording = decoded(healthy / name)
    assert not caplog.records
    assert (recording.rate, recording.channels, recording.silent) == (rate, 2, False)
    assert got.dtype == np.float32 and recording.start == 0.0
    assert abs(len(got) - len(expected)) <= HEALTHY[name][1]
    if recording.info.seconds is not None:
        assert recording.info.seconds == pytest.approx(2.0, abs=0.3)
    if HEALTHY[name][1] == 0 and not name.endswith(("mp3", "pcm8.wav")):
        np.testing.assert_array_equal(got, expected)
        return
    assert correlation(got, expected) > 0.95


def correlation(got, expected):
    """Of the middle second, at the lag where it is largest."""
    a, b = (part[len(part) // 4 : 3 * len(part) // 4, 0].astype(np.float64) for part in (got, expected))
    size = 1 << 18
    spectrum = np.fft.rfft(a, size) * np.conj(np.fft.rfft(b, size))
    return np.fft.irfft(spectrum).max() / np.sqrt(np.sum(a**2) * np.sum(b**2))


@pytest.mark.parametrize(
    "name",
    [
        "pcm16.wav",
        "adpcm.wav",
        "plain.flac",
        "cbr.mp3",
        "noxing.mp3",
        "plain.aac",
        "plain.m4a",
        "vorbis.ogg",
        "plain.opus",
        "plain.ts",
        "vorbis.mka",
        "plain.avi",
    ],
)
def test_20_milliseconds(name, healthy):
    """(ffmpeg 5.1 itself can't read so short an mp2, and gives no sample of a wma.)"""
    got, recording = decoded(healthy / f"short-{name}")
    rate = recording.rate
    assert 0.017 * rate <= len(got) <= 0.02 * rate + HEALTHY[name][1] + 1


@pytest.mark.parametrize(
    "name",
    [
        "pcm16.wav",
        "pcm24.wav",
        "pcm32.wav",
        "pcm8.wav",
        "float.wav",
        "rf64.wav",
        "plain.flac",
        "plain.aiff",
        "plain.au",
        "vorbis.ogg",
        "cbr.mp3",
    ],
)
def test_the_samples_another_reader_gives(name, healthy):
    """soundfile (libsndfile, libmpg123) decodes the same samples."""
    got, recording = decoded(healthy / name)
    theirs, rate = soundfile.read(healthy / name, dtype="float32", always_2d=True)
    assert rate == recording.rate
    length = min(len(got), len(theirs))
    assert abs(len(got) - len(theirs)) <= (2304 if name.endswith("mp3") else 0)
    if name.endswith("mp3"):
        assert correlation(got, theirs) > 0.9999
    else:
        np.testing.assert_allclose(got[:length], theirs[:length], atol=2e-5 if name == "vorbis.ogg" else 1e-7)


def test_the_samples_stempeg_gives():
    """The first of five AAC streams of a .stem.mp4; musdb's reader rounds to 16 bits."""
    theirs, rate = stempeg.read_stems(str(EXAMPLE), stem_id=0)
    got, recording = decoded(EXAMPLE)
    assert (recording.rate, got.shape) == (rate, theirs.shape)
    np.testing.assert_allclose(got, theirs, atol=1 / 32768)
    assert recording.info.codec == "aac" and recording.info.seconds == pytest.approx(len(got) / rate, abs=0.1)


@pytest.mark.parametrize(
    ("rate", "channels"),
    [
        (8000, 1),
        (8000, 6),
        (11025, 2),
        (22050, 1),
        (32000, 6),
        (48000, 2),
        (88200, 1),
        (96000, 6),
        (192000, 2),
        (192000, 6),
    ],
)
def test_rates_and_channels_stay(rate, channels, tmp_path):
    audio = tone(rate // 4, channels, rate)
    soundfile.write(tmp_path / "a.flac", audio, rate, subtype="PCM_24")
    got, recording = decoded(tmp_path / "a.flac")
    assert (recording.rate, recording.channels) == (rate, channels)
    np.testing.assert_allclose(got, audio, atol=2**-23)


@pytest.mark.parametrize(
    ("form", "channels"), [*(("wav", channels) for channels in range(1, 9)), ("flac", 3), ("flac", 5), ("flac", 8)]
)
def test_channels_keep_their_order(form, channels, tmp_path):
    """Not mixed into another layout, whatever ffmpeg takes theirs for."""
    audio = tone(2000, channels)
    soundfile.write(tmp_path / f"a.{form}", audio, RATE, subtype="PCM_24")
    got, _ = decoded(tmp_path / f"a.{form}")
    np.testing.assert_allclose(got, audio, atol=2**-23)


def test_sixteen_channels(tmp_path):
    audio = tone(2000, 16)
    soundfile.write(tmp_path / "a.wav", audio, RATE, subtype="FLOAT")
    np.testing.assert_array_equal(decoded(tmp_path / "a.wav")[0], audio)


def test_the_sound_of_a_video_and_the_song_under_a_picture(song, tmp_path):
    """A longer picture says nothing of the sound's length; a cover is no stream to decode."""
    picture = ["-f", "lavfi", "-i", "testsrc=d=4:s=64x64:r=5"]
    ffmpeg("-i", song[0], *picture, "-c:v", "mpeg4", tmp_path / "a.mp4")
    ffmpeg("-itsoffset", "1", "-i", song[0], *picture, "-c:v", "mpeg4", tmp_path / "late.mkv")
    ffmpeg(
        "-i",
        song[0],
        "-f",
        "lavfi",
        "-i",
        "testsrc=d=0.1:s=64x64:r=10",
        "-map",
        "0",
        "-map",
        "1",
        "-c:a",
        "flac",
        "-c:v",
        "png",
        "-disposition:v",
        "attached_pic",
        tmp_path / "cover.flac",
    )
    for name in ("a.mp4", "late.mkv"):
        got, _ = decoded(tmp_path / name)
        assert abs(len(got) - 2 * RATE) <= 2048 and correlation(got, song[1]) > 0.95
    np.testing.assert_array_equal(decoded(tmp_path / "cover.flac")[0], song[1])


def test_joined_files_are_read_to_their_end(healthy, tmp_path, caplog):
    """The length that the first one states is not that of both."""
    for name in ("cbr.mp3", "vorbis.ogg"):
        path = tmp_path / name
        path.write_bytes((healthy / name).read_bytes() * 2)
        got, _ = decoded(path)
        assert abs(len(got) - 4 * RATE) <= 4096


@pytest.mark.parametrize("name", ["float.wav", "plain.flac", "plain.au"])
def test_files_written_to_a_pipe(name, song, tmp_path):
    """Their headers state no length, or an impossible one."""
    data = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(song[0]), *HEALTHY[name][0], "-f", name.rsplit(".")[-1], "pipe:1"],
        check=True,
        capture_output=True,
    ).stdout
    (tmp_path / name).write_bytes(data)
    np.testing.assert_array_equal(decoded(tmp_path / name)[0], song[1])


@pytest.mark.parametrize(
    "name", ["pcm16.wav", "plain.flac", "cbr.mp3", "plain.m4a", "vorbis.ogg", "plain.ts", "opus.webm"]
)
def test_a_passage_is_that_part_of_the_whole(name, healthy, small_blocks):
    whole, recording = decoded(healthy / name)
    for start, duration in [(0.7, 0.3), (1.23456, None), (1.9, 60.0), (0.0, 1e-4)]:
        first = round(start * recording.rate)
        expected = whole[first : None if duration is None else first + round(duration * recording.rate)]
        got, part = decoded(healthy / name, start=start, duration=duration)
        np.testing.assert_array_equal(got, expected)
        assert part.samples == len(expected) and part.start == pytest.approx(start, abs=1 / recording.rate)


def test_blocks(healthy, song):
    with decode.open_recording(healthy / "plain.flac") as recording:
        source: Source = recording
        for start, stop in [(0, 0), (0, 1), (1000, 5000), (2 * RATE - 1, 2 * RATE), (2 * RATE, 2 * RATE)]:
            block = source.read(start, stop)
            assert block.dtype == np.float32 and block.flags.writeable
            np.testing.assert_array_equal(block, song[1][start:stop])
        for start, stop in [(-1, 5), (6, 5), (0, 2 * RATE + 1)]:
            with pytest.raises(ValueError, match=f"samples {start} to {stop} of {2 * RATE}"):
                source.read(start, stop)
    with pytest.raises(ValueError, match="closed"):
        source.read(0, 1)


def test_nothing_is_left_in_the_folder(healthy, tmp_path):
    folder = tmp_path / "new" / "scratch"
    with decode.open_recording(healthy / "cbr.mp3", folder=folder) as recording:
        assert recording.samples == 2 * RATE
    with pytest.raises(KeyError), decode.open_recording(healthy / "cbr.mp3", folder=folder):
        raise KeyError
    refused(healthy / "cbr.mp3", "choose an earlier start", folder=folder, start=5)
    assert list(folder.iterdir()) == []


def test_digital_silence(tmp_path):
    paths = [tmp_path / f"a.{form}" for form in ("wav", "mp3", "m4a", "ogg", "opus")]
    ffmpeg("-f", "lavfi", "-i", "anullsrc=r=48000:d=0.5", *paths)
    for path in paths:
        assert decoded(path)[1].silent


def test_one_step_of_24_bits_is_not_silence(tmp_path):
    audio = np.zeros((1000, 2), dtype=np.float32)
    audio[999, 1] = 2.0**-23
    soundfile.write(tmp_path / "a.flac", audio, RATE, subtype="PCM_24")
    assert not decoded(tmp_path / "a.flac")[1].silent
    assert decoded(tmp_path / "a.flac", duration=999 / RATE)[1].silent


def test_progress(healthy, small_blocks):
    shares = []
    decoded(healthy / "plain.flac", progress=shares.append)
    assert len(shares) > 5 and shares == sorted(shares) and shares[0] < 0.2 and shares[-1] == 1.0
    shares.clear()
    decoded(healthy / "live.mkv", progress=shares.append)
    assert shares == [1.0]


def test_probe(healthy, song, tmp_path):
    ffmpeg("-i", song[0], "-metadata", "title=Zwölf", "-metadata", "ARTIST=N. N.", tmp_path / "a.ogg")
    info = decode.probe(tmp_path / "a.ogg")
    assert (info.path, info.rate, info.channels, info.codec) == (tmp_path / "a.ogg", RATE, 2, "vorbis")
    assert info.seconds == pytest.approx(2.0, abs=0.01) and not info.estimated
    assert info.tags["title"] == "Zwölf" and info.tags["artist"] == "N. N."
    assert decode.probe(healthy / "live.mkv").seconds is None
    assert decode.probe(healthy / "plain.aac").estimated


# -- names


@pytest.mark.parametrize(
    "name",
    [
        "-dash.wav",
        'it\'s "quoted".wav',
        " two  spaces .wav",
        "new\nline.wav",
        "🎤é.wav",
        "50%d %s.wav",
        "concat:a|b.wav",
        "http:host.wav",
        "pipe:0",
        "a:b.wav",
        "[x]*?.wav",
        "$(true);#&.wav",
        "no extension",
    ],
)
def test_odd_names(name, song, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path(name)  # relative, so that it begins with what looks like an option or a protocol
    shutil.copy(song[0], path)
    np.testing.assert_array_equal(decoded(path)[0], song[1])
    path.write_text("text")
    refused(path, "ffprobe can't read it")
    encode.encode(ArraySource(song[1][:1000], RATE), path, "flac")
    assert len(decoded(tmp_path / name)[0]) == 1000
    assert [item.name for item in tmp_path.iterdir()] == [name]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_utf8(song, tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.wav"))
    shutil.copy(song[0], path)
    np.testing.assert_array_equal(decoded(path)[0], song[1])
    path.write_bytes(b"")
    refused(path, "the file is empty").encode()


def test_a_playlist_reaches_nothing(song, tmp_path):
    shutil.copy(song[0], tmp_path / "a.wav")
    texts = {
        "a.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
        "local.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\na.wav\n#EXT-X-ENDLIST\n",
        "a.mp3": "ffconcat version 1.0\nfile 'http://127.0.0.1:9/a.wav'\n",
        "b.mp3": "ffconcat version 1.0\nfile a.wav\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        refused(tmp_path / name, "this is a playlist|ffprobe can't read it")


# -- what can't be read


def test_what_is_no_recording(tmp_path):
    (tmp_path / "folder.mp3").mkdir()
    (tmp_path / "empty.mp3").touch()
    (tmp_path / "text.mp3").write_text("this is no song\n" * 20)
    (tmp_path / "long text.mp3").write_text("this is no song\n" * 20_000)
    (tmp_path / "noise.mp3").write_bytes(np.random.default_rng(0).bytes(300_000))
    (tmp_path / "noise.flac").write_bytes(np.random.default_rng(0).bytes(300_000))
    ffmpeg("-f", "lavfi", "-i", "testsrc=d=0.5:s=64x64", "-c:v", "mpeg4", tmp_path / "silent film.mp4")
    ffmpeg("-f", "lavfi", "-i", "testsrc=d=0.1:s=64x64", "-frames:v", "1", tmp_path / "picture.png")
    os.mkfifo(tmp_path / "pipe.wav")
    soundfile.write(tmp_path / "no samples.wav", np.zeros((0, 2)), RATE)
    for name, match in {
        "missing.mp3": "there is no such file; check the name",
        "folder.mp3": "this is a folder",
        "empty.mp3": r"empty \(0 bytes\)",
        "text.mp3": "ffprobe can't read it",
        "long text.mp3": "found no audio in it",
        "noise.mp3": "found no audio in it",
        "noise.flac": "no audio",
        "silent film.mp4": r"found no audio in it \(video only\)",
        "picture.png": r"found no audio in it \(video only\)",
        "pipe.wav": "a pipe or a device",
        "no samples.wav": "no audio|can't read it",
        "x" * 300 + ".wav": "can't open it",
        "nul\0.wav": "can't open it",
    }.items():
        message = refused(tmp_path / name, match)
        assert message.startswith(str(tmp_path)) and "expected a recording" in message


def test_a_file_one_may_not_read(song, tmp_path):
    path = tmp_path / "a.wav"
    shutil.copy(song[0], path)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    refused(path, "Permission denied")


@pytest.mark.parametrize(
    ("name", "keep"),
    [
        *((name, 0.7) for name in TRUNCATED),
        ("plain.flac", 0.9),
        ("cbr.mp3", 0.9),
        ("vorbis.ogg", 0.3),
        ("plain.wv", 0.3),
    ],
)
def test_a_truncated_file(name, keep, healthy, tmp_path):
    data = (healthy / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * keep)])
    assert "truncated" in refused(tmp_path / name, "fetch or copy it again")


@pytest.mark.parametrize("frames", [2 * RATE - 1, 4096 * 10])
@pytest.mark.parametrize("name", ["pcm16.wav", "float.wav"])
def test_a_wav_cut_between_two_samples(name, frames, healthy, tmp_path):
    """Where ffmpeg notices nothing."""
    data = (healthy / name).read_bytes()
    frame = 4 if name == "pcm16.wav" else 8
    begin = data.index(b"data") + 8
    (tmp_path / name).write_bytes(data[: begin + frames * frame])
    refused(tmp_path / name, "truncated or damaged")


def test_the_part_before_a_cut_can_be_used(healthy, song, tmp_path):
    data = (healthy / "plain.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(data[: int(len(data) * 0.7)])
    np.testing.assert_array_equal(decoded(tmp_path / "a.flac", duration=1.0)[0], song[1][:RATE])
    refused(tmp_path / "a.flac", "choose a passage before that", duration=1.9)


@pytest.mark.parametrize("name", ["plain.flac", "plain.m4a", "vorbis.ogg", "plain.opus", "vorbis.mka", "plain.wv"])
def test_a_damaged_file(name, healthy, tmp_path):
    data = bytearray((healthy / name).read_bytes())
    middle = len(data) // 2
    data[middle : middle + 6000] = np.random.default_rng(1).bytes(6000)
    (tmp_path / name).write_bytes(data)
    refused(tmp_path / name, "damaged")


def test_an_mp3_with_a_scratch_is_played_one_in_shreds_is_not(healthy, tmp_path, caplog):
    """As players do: a lost frame in a stream without a stated length is a warning."""
    data = bytearray((healthy / "noxing.mp3").read_bytes())
    data[9000:9400] = bytes(400)
    (tmp_path / "scratch.mp3").write_bytes(data)
    with caplog.at_level(logging.WARNING):
        got, _ = decoded(tmp_path / "scratch.mp3")
    assert len(got) > 1.9 * RATE and "scratch.mp3: left out" in caplog.text
    for start in range(3000, len(data) - 800, 2500):
        data[start : start + 800] = bytes(800)
    (tmp_path / "shreds.mp3").write_bytes(data)
    refused(tmp_path / "shreds.mp3", r"pieces of it can't be decoded .* damaged")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers(value, tmp_path, small_blocks):
    audio = tone(2 * RATE)
    audio[RATE + 441, 1] = value
    soundfile.write(tmp_path / "a.wav", audio, RATE, subtype="FLOAT")
    refused(tmp_path / "a.wav", r"NaN or infinity at 1\.010 s; export it again")
    if not np.isnan(value):
        return
    refused(tmp_path / "a.wav", r"NaN or infinity at 1\.010 s", start=0.9, duration=0.5)
    np.testing.assert_array_equal(decoded(tmp_path / "a.wav", duration=1.0)[0], audio[:RATE])
    np.testing.assert_array_equal(decoded(tmp_path / "a.wav", start=1.5)[0], audio[66150:])


def test_samples_beyond_full_scale_stay(tmp_path):
    audio = 5 * tone(1000)
    soundfile.write(tmp_path / "a.wav", audio, RATE, subtype="FLOAT")
    np.testing.assert_array_equal(decoded(tmp_path / "a.wav")[0], audio)


def test_passages_that_are_none(healthy):
    for name in ("plain.flac", "live.mkv"):
        for start in (2.1, 500.0):
            refused(
                healthy / name,
                rf"from {start:.2f} s on, the recording is 2\.\d\d s long; choose an earlier",
                start=start,
            )
    refused(healthy / "plain.flac", "is 2.00 s long", start=2.0)
    refused(healthy / "plain.flac", "expected a start of 0 s or more, got -1", start=-1.0)
    refused(healthy / "plain.flac", "expected a start of 0 s or more, got nan", start=float("nan"))
    refused(healthy / "plain.flac", "expected a duration of 0 s or more, got -1", duration=-1.0)
    refused(healthy / "plain.flac", "less than one sample", duration=1e-6)


@pytest.mark.parametrize("missing", ["ffmpeg", "ffprobe"])
def test_no_ffmpeg(missing, song, tmp_path, monkeypatch):
    for name in {"ffmpeg", "ffprobe"} - {missing}:
        (tmp_path / name).symlink_to(shutil.which(name))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match=f"no {missing} on the PATH; run `make setup`, `apt install ffmpeg`"):
        decode.probe(song[0])
    refused(song[0], f"no {missing} on the PATH")
    with pytest.raises(DataError, match=f"no {missing} on the PATH"):
        encode.encode(ArraySource(song[1], RATE), tmp_path / "new" / "a.flac", "flac")
    assert encode.encode(ArraySource(song[1], RATE), tmp_path / "a.wav", "wav") == []
    assert not (tmp_path / "new").exists()


def fake_ffmpeg(folder, monkeypatch, body):
    """An ffmpeg that runs `body`, before the real ffprobe on the PATH."""
    path = folder / "bin" / "ffmpeg"
    path.parent.mkdir()
    path.write_text(
        f"#!{sys.executable}\nimport os, sys\ntarget = sys.argv[-1].removeprefix('file:')\n" + textwrap.dedent(body)
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}{os.environ['PATH']}")


def test_decoding_on_a_full_disk(song, tmp_path, monkeypatch):
    class Full:
        def __init__(self, *_, **__):
            self.left = 100_000

        def write(self, data):
            count, self.left = min(len(data), self.left), max(self.left - len(data), 0)
            if not count:
                raise OSError(errno.ENOSPC, "No space left on device")
            return count

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(decode.tempfile, "TemporaryFile", Full)
    message = refused(
        song[0], "the disk is full; .* needs about 1 MB to be decoded; free some space or set TMPDIR", folder=tmp_path
    )
    assert message.startswith(str(tmp_path))


def test_ffmpeg_that_is_killed_while_it_decodes(song, tmp_path, monkeypatch):
    fake_ffmpeg(tmp_path, monkeypatch, "os.write(1, bytes(60_000)); os.kill(os.getpid(), 9)")
    refused(song[0], r"decoding ends at 0\.17 s of 2\.00 s")


# -- writing


@pytest.mark.parametrize(
    ("codec", "channels"),
    [*(("flac", channels) for channels in range(1, 9)), ("wav", 1), ("wav", 3), ("wav", 6), ("wav", 9)],
)
def test_written_and_read_again(codec, channels, tmp_path, small_blocks):
    tags = {"title": "x"} if channels % 2 else {}  # a wav with tags is written by ffmpeg, one without is not
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
    joined = np.concatenate(list(encode._resampled(iter(blocks), rate, new_rate, 1)))
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
        assert notes == [f"mixed down from {channels} channels to stereo, as mp3 holds no more"]
        got, recording = decoded(tmp_path / "a.mp3")
        assert recording.channels == 2 and level(got)[1] < 0.01 * level(got)[0]
    with pytest.raises(DataError, match="mp3 holds 2 channels, these are 9; choose wav"):
        encode.encode(ArraySource(tone(100, 9), RATE), tmp_path / "a.mp3", "mp3")


def test_mp3_is_the_song(song, tmp_path):
    encode.encode(ArraySource(song[1], RATE), tmp_path / "a.mp3", "mp3")
    got, recording = decoded(tmp_path / "a.mp3")
    assert got.shape == song[1].shape
    np.testing.assert_allclose(level(got), level(song[1]), rtol=0.01)
    error = level(got - song[1]) / level(song[1])  # also tells that nothing was shifted
    assert (error < 0.15).all()
    assert (tmp_path / "a.mp3").stat().st_size == pytest.approx(2 * 40_000, rel=0.1)


def test_flac_beyond_full_scale_is_clipped(tmp_path):
    audio = np.zeros((1000, 2), dtype=np.float32)
    audio[:4, 0] = [1.5, -2.0, 1.0, -1.0]
    notes = encode.encode(ArraySource(audio, RATE), tmp_path / "a.flac", "flac")
    assert notes == ["2 samples beyond full scale were clipped (wav keeps them)"]
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
    assert encode.encode(ArraySource(song[1], RATE), path, codec, tags) == []
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
    monkeypatch.setattr(decode, "_BLOCK", 1000)
    encode.encode(ArraySource(song[1], RATE), tmp_path / "b", codec, dict(reversed(tags.items())))
    data = (tmp_path / "a").read_bytes()
    assert data == (tmp_path / "b").read_bytes()
    assert b"Lavf5" not in data and b"Lavc5" not in data  # no version of ffmpeg


def test_a_wav_too_large_for_its_header(song, tmp_path, monkeypatch):
    """Goes through ffmpeg, which knows RF64; there is a 4 GiB file among the slow tests."""
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
def test_more_than_4_gib(tmp_path):
    source = Zeros(2**29 + 1000)
    if shutil.disk_usage(tmp_path).free < 12 * 2**30:
        pytest.skip("needs 12 GiB of disk")
    encode.encode(source, tmp_path / "a.wav", "wav")
    with open(tmp_path / "a.wav", "rb") as file:
        assert file.read(4) == b"RF64"
    with decode.open_recording(tmp_path / "a.wav", folder=tmp_path) as recording:
        assert recording.samples == source.samples
        np.testing.assert_array_equal(recording.read(source.samples - 2, source.samples), [[0, 0], [0.5, 0.5]])


def test_what_is_not_written(tmp_path):
    source = ArraySource(tone(100), RATE)
    with pytest.raises(ValueError, match="codec 'ogg'; expected one of wav, flac, mp3"):
        encode.encode(source, tmp_path / "a.ogg", "ogg")
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


@pytest.mark.parametrize(
    "body",
    [
        "open(target, 'wb').write(sys.stdin.buffer.read(100_000)); sys.exit('it broke')",
        "open(target, 'wb').write(b'half'); print('it broke', file=sys.stderr, flush=True); os.kill(os.getpid(), 9)",
        "sys.stdin.buffer.read(); print('it broke', file=sys.stderr)",
    ],
)
def test_ffmpeg_that_dies_midway(body, song, tmp_path, monkeypatch):
    fake_ffmpeg(tmp_path, monkeypatch, body)
    for codec in ("flac", "mp3"):
        target = tmp_path / "out" / f"a.{codec}"
        target.parent.mkdir(exist_ok=True)
        target.write_text("what was there")
        with pytest.raises(DataError, match=rf"a\.{codec}: ffmpeg can't write it \(it broke\); nothing was written"):
            encode.encode(ArraySource(song[1], RATE), target, codec)
        assert target.read_text() == "what was there"
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_ffmpeg_that_ends_too_early(song, healthy, tmp_path, monkeypatch):
    fake_ffmpeg(
        tmp_path,
        monkeypatch,
        f"sys.stdin.buffer.read(); import shutil; shutil.copy({str(healthy / 'short-plain.flac')!r}, target)",
    )
    with pytest.raises(DataError, match=r"expected 2\.00 s, ffmpeg wrote 0\.02 s"):
        encode.encode(ArraySource(song[1], RATE), tmp_path / "a.flac", "flac")
    assert not (tmp_path / "a.flac").exists()


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
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if sys.platform != "linux" or not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_real_full_disk(tiny_disk, song):
    audio = np.random.default_rng(0).normal(0, 0.1, (40 * RATE, 2)).astype(np.float32)
    for codec in encode.FORMATS:
        for tags in ({}, {"title": "x"}):
            with pytest.raises(DataError, match=rf"a\.{codec}: the disk is full .*free some space"):
                encode.encode(ArraySource(audio, RATE), tiny_disk / f"a.{codec}", codec, tags)
            assert list(tiny_disk.iterdir()) == []
    (tiny_disk / "taken").write_bytes(bytes(500_000))
    refused(song[0], "the disk is full; .* needs about 1 MB", folder=tiny_disk)
    assert [path.name for path in tiny_disk.iterdir()] == ["taken"]


MEMORY = """
import resource, sys
from svs import media
with media.opened(sys.argv[1], folder=sys.argv[2]) as recording:
    for codec in ("wav", "flac"):
        media.encode(recording, sys.argv[2] + "/out." + codec, codec, {"title": "x"})
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
            cwd=Path(decode.__file__).parent.parent,
        )
        samples, memory = map(int, done.stdout.split())
        assert samples == seconds * RATE
        used.append(memory if sys.platform == "linux" else memory / 1024)
    assert used[1] < used[0] + 8 * 1024  # KiB; the samples of the long one are 35 MB


# -- finding


@pytest.fixture
def music(tmp_path, monkeypatch):
    names = [
        "b.mp3",
        "a.WAV",
        "notes.txt",
        "song [live].mp3",
        ".hidden.mp3",
        "album/2.flac",
        "album/1.flac",
        "album/cover.jpg",
        "album/cd 2/x.opus",
        ".trash/gone.mp3",
        "empty/readme.md",
        "film.mkv",
        "odd.xyz",
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "broken.mp3").symlink_to("nowhere")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["b.mp3"], ["b.mp3"]),
        (["notes.txt"], ["notes.txt"]),  # named, so meant; whether it sounds is told when it is opened
        (["b.mp3", "a.WAV", "./b.mp3", "b.mp3"], ["a.WAV", "b.mp3"]),
        (["album"], ["album/1.flac", "album/2.flac", "album/cd 2/x.opus"]),
        (["album", "album/*.flac"], ["album/1.flac", "album/2.flac", "album/cd 2/x.opus"]),
        (["*.mp3"], ["b.mp3", "song [live].mp3"]),
        (["song [live].mp3"], ["song [live].mp3"]),
        (["**/*.flac"], ["album/1.flac", "album/2.flac"]),
        (["*.xyz"], ["odd.xyz"]),
        (["[ab].*"], ["a.WAV", "b.mp3"]),
        (["*"], ["a.WAV", "album/1.flac", "album/2.flac", "album/cd 2/x.opus", "b.mp3", "film.mkv", "song [live].mp3"]),
        (
            ["**"],
            ["a.WAV", "album/1.flac", "album/2.flac", "album/cd 2/x.opus", "b.mp3", "film.mkv", "song [live].mp3"],
        ),
        (["."], ["a.WAV", "album/1.flac", "album/2.flac", "album/cd 2/x.opus", "b.mp3", "film.mkv", "song [live].mp3"]),
    ],
)
def test_find(arguments, expected, music):
    assert [str(path) for path in find.find_recordings(arguments)] == expected
    absolute = find.find_recordings([music / argument for argument in arguments])
    assert [str(path.relative_to(music)) for path in absolute] == expected


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["missing.mp3"], r"missing\.mp3: .*there is no such file"),
        (["b.mp3", "missing.mp3"], r"missing\.mp3: .*there is no such file"),
        (["broken.mp3"], "there is no such file"),
        (["empty"], "empty: expected a folder of recordings, there is none in it"),
        (["*.ogg"], r"\*\.ogg: .*the pattern matches none"),
        (["empty/*"], r"empty/\*: .*the pattern matches none"),
        (["nul\0"], "there is no such file"),
        (["line\nbreak"], r"line\\nbreak: "),
        ([""], "got an empty name"),
        ([], "got none; name at least one"),
    ],
)
def test_what_is_not_found(arguments, match, music):
    with pytest.raises(DataError, match=match) as caught:
        find.find_recordings(arguments)
    assert "\n" not in str(caught.value)


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
