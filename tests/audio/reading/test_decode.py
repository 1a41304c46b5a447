"""Reading recordings: every format against another reader, every broken file named."""

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import stempeg

from svs.audio import encode
from svs.audio.reading import container, decode
from svs.audio.sources import ArraySource, Source
from tests.helpers import REPOSITORY
from tests.helpers.audio import EXAMPLE, HEALTHY, decoded, refused, tone
from tests.helpers.command import RATE, ffmpeg

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
    "plain.wma",
    "plain.avi",
    "alac.m4a",
    "plain.wv",
]


@pytest.mark.parametrize("name", HEALTHY)
def test_every_format_is_the_song(name, healthy, song, small_blocks):
    """Rate, channels, length, and the sound of the song, with no false alarm."""
    _, audio = song
    rate = 48000 if "opus" in name else RATE
    expected = audio if rate == RATE else soxr.resample(audio, RATE, rate)
    got, recording = decoded(healthy / name)
    assert recording.notes == []
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
    """Not mixed into another layout, whatever FFmpeg takes theirs for."""
    audio = tone(2000, channels)
    soundfile.write(tmp_path / f"a.{form}", audio, RATE, subtype="PCM_24")
    got, _ = decoded(tmp_path / f"a.{form}")
    np.testing.assert_allclose(got, audio, atol=2**-23)


def test_sixteen_channels(tmp_path):
    audio = tone(2000, 16)
    soundfile.write(tmp_path / "a.wav", audio, RATE, subtype="FLOAT")
    np.testing.assert_array_equal(decoded(tmp_path / "a.wav")[0], audio)


def test_the_sound_of_a_video_and_the_song_under_a_picture(song, tmp_path):
    """A longer picture says nothing of the sound's length; a cover is no stream to decode, and no beginning."""
    picture = ["-f", "lavfi", "-i", "testsrc=d=4:s=64x64:r=5"]
    ffmpeg("-i", song[0], *picture, "-c:v", "mpeg4", tmp_path / "a.mp4")
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
    got, _ = decoded(tmp_path / "a.mp4")
    assert abs(len(got) - 2 * RATE) <= 2048 and correlation(got, song[1]) > 0.95
    np.testing.assert_array_equal(decoded(tmp_path / "cover.flac")[0], song[1])


def test_joined_files_are_read_to_their_end(healthy, tmp_path):
    """The length that the first one states is not that of both."""
    for name in ("cbr.mp3", "vorbis.ogg"):
        path = tmp_path / name
        path.write_bytes((healthy / name).read_bytes() * 2)
        got, _ = decoded(path)
        assert abs(len(got) - 4 * RATE) <= 4096


@pytest.mark.parametrize("name", ["a.aac", "a.ogg"])
def test_joined_files_of_another_rate(name, song, tmp_path):
    for part, options in enumerate((["-ar", "48000"], ["-ac", "1"])):
        ffmpeg("-i", song[0], *options, tmp_path / f"{part}{name}")
    (tmp_path / name).write_bytes(b"".join((tmp_path / f"{part}{name}").read_bytes() for part in range(2)))
    got, recording = decoded(tmp_path / name)
    assert (recording.rate, recording.channels) == (48000, 2)
    assert len(got) == pytest.approx(4 * 48000, abs=0.1 * 48000)
    assert "its rate or channels change in the middle: converted to those of its beginning" in recording.notes
    assert correlation(got[-90_000:], soxr.resample(song[1].mean(axis=1, keepdims=True), RATE, 48000)[-90_000:]) > 0.9


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


def test_nothing_is_left_in_the_temporary_folder(healthy, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with decode.open_recording(healthy / "cbr.mp3") as recording:
        assert recording.samples == 2 * RATE
    with pytest.raises(KeyError), decode.open_recording(healthy / "cbr.mp3"):
        raise KeyError
    refused(healthy / "cbr.mp3", "choose an earlier start", start=5)
    assert list(tmp_path.iterdir()) == []


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


def test_probe(healthy, song, tmp_path):
    ffmpeg("-i", song[0], "-metadata", "title=Zwölf", "-metadata", "ARTIST=N. N.", tmp_path / "a.ogg")
    info = decode.probe(tmp_path / "a.ogg")
    assert (info.path, info.rate, info.channels, info.codec) == (tmp_path / "a.ogg", RATE, 2, "vorbis")
    assert info.seconds == pytest.approx(2.0, abs=0.01) and not info.estimated
    assert info.tags["title"] == "Zwölf" and info.tags["artist"] == "N. N."
    assert decode.probe(healthy / "live.mkv").seconds is None
    assert decode.probe(healthy / "plain.aac").estimated


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
    refused(path, "can't read it")
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
        refused(tmp_path / name, "this is a playlist|can't read it")


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
        "text.mp3": "can't read it",
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


def test_an_mp3_with_a_scratch_is_played_one_in_shreds_is_not(healthy, tmp_path):
    """As players do: a lost frame in a stream without a stated length is a note."""
    data = bytearray((healthy / "noxing.mp3").read_bytes())
    data[9000:9400] = bytes(400)
    (tmp_path / "scratch.mp3").write_bytes(data)
    got, recording = decoded(tmp_path / "scratch.mp3")
    assert len(got) > 1.9 * RATE and any("damaged piece" in note for note in recording.notes)
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


def test_no_program_is_needed(healthy, song, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    np.testing.assert_array_equal(decoded(healthy / "alac.m4a")[0], song[1])
    for codec in encode.FORMATS:
        encode.encode(ArraySource(song[1], RATE), tmp_path / f"a.{codec}", codec, {"title": "x"})
        audio, recording = decoded(tmp_path / f"a.{codec}")
        assert len(audio) == 2 * recording.rate  # of opus, 48 kHz


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
    message = refused(song[0], "the disk is full; .* needs about 1 MB to be decoded; free some space or set TMPDIR")
    assert message.startswith(tempfile.gettempdir())


def test_a_disk_that_fails(song, monkeypatch):
    """What could be read before is not taken for the whole recording."""
    read = container.Local.read

    def failing(self, size):
        if self._file.tell() > 100_000:
            self._file = Broken()
        return read(self, size)

    class Broken:
        def tell(self):
            return 0

        def read(self, *_):
            raise OSError(errno.EIO, "Input/output error")

        seek = read

    monkeypatch.setattr(container.Local, "read", failing)
    refused(song[0], r"the disk fails \(Input/output error\); copy it to another disk")


INTERRUPTED = """
import os, signal, sys
from pathlib import Path
from svs.audio import encode, sources
from svs.audio.reading import decode
from svs.runtime.process import main

check, count = sources.first_not_finite, 0

def interrupting(audio):  # is called for every block
    global count
    count += 1
    if count == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGTERM)
    return check(audio)

def work():
    with decode.open_recording(Path(sys.argv[1])) as recording:
        encode.encode(recording, Path(sys.argv[2]), "flac")

sources.BLOCK, sources.first_not_finite = 65536, interrupting
main(work)
"""


@pytest.mark.parametrize("block", [3, 14])  # there are 11 blocks to be decoded, and as many to be encoded
def test_a_signal_leaves_nothing(block, song, tmp_path):
    (tmp_path / "temporary").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, song[0], tmp_path / "a.flac", str(block)],
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(tmp_path / "temporary")},
        timeout=60,
    )
    assert done.returncode == 143
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["temporary"]
