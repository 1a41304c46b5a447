"""What people's files look like: placeholders for sizes, tags in odd places, timestamps, several streams, damage.

One table for each kind: how the input is made, and what must come out.
"""

import re
import struct
import subprocess

import numpy as np
import pytest
import soundfile
import soxr

from svs.audio.reading import decode
from svs.audio.reading.container import placeholder
from tests.helpers.audio import decoded, refused
from tests.helpers.command import RATE, ffmpeg

ID3 = b"ID3\x03\x00\x00" + bytes([0, 0, 2, 0]) + b"TIT2" + struct.pack(">IH", 5, 0) + b"\0Tags" + bytes(241)  # 266 B
ID3V1 = b"TAG" + b"a title".ljust(125, b"\0")
_ITEM = struct.pack("<II", 4, 0) + b"Title\0Tags"
APE = b"APETAGEX" + struct.pack("<IIII8x", 2000, len(_ITEM) + 32, 1, 0xA0000000) + _ITEM
APE += b"APETAGEX" + struct.pack("<IIII8x", 2000, len(_ITEM) + 32, 1, 0x80000000)
PICTURE = ["-f", "lavfi", "-i", "testsrc=d=2:s=64x64:r=5"]


def riff(samples, data, form=b"RIFF", before=b"", after=b"", riff_size=None):
    """A wav of 16-bit samples, with `data` as the size of its data chunk."""
    rate, channels = RATE, samples.shape[1]
    body = b"WAVE" + before + struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * 2 * channels, 4, 16)
    body += struct.pack("<4sI", b"data", data) + samples.tobytes() + after
    return form + struct.pack("<I", min(data + 36, 2**32 - 1) if riff_size is None else riff_size) + body


def ds64(size):
    return struct.pack("<4sIQQQI", b"ds64", 28, size, size, size, 0)


def aiff(samples, data, frames):
    rate = struct.pack(">HQ", 16383 + 15, RATE << 48)  # 80-bit float
    comm = struct.pack(">4sIhIh", b"COMM", 18, 2, frames, 16) + rate
    body = b"AIFF" + comm + struct.pack(">4sIII", b"SSND", data, 0, 0) + samples.astype(">i2").tobytes()
    return b"FORM" + struct.pack(">I", min(data + 46, 2**32 - 1)) + body


def au(samples, data):
    return struct.pack(">4sIIIII4x", b".snd", 28, data, 3, RATE, 2) + samples.astype(">i2").tobytes()


def caf(samples, data):
    head = b"caff\0\1\0\0desc" + struct.pack(">qd4sIIIII", 32, RATE, b"lpcm", 2, 4, 1, 2, 16)
    return head + b"data" + struct.pack(">qI", data, 0) + samples.astype("<i2").tobytes()


SIZES = {  # size of the data chunk of a wav that was written to a pipe, and of the whole
    "sox": (0x7FFFF000, 0x7FFFF024),
    "sox of old": (0x7FFFF000, 0x7FFFF000),
    "lame": (0x7FFFFFFF, None),
    "lame of frames": (0x7FFFFFFC, 0x7FFFFFFF),
    "ffmpeg": (2**32 - 1, 2**32 - 1),
    "GStreamer": (0, 0),
    "GStreamer's riff": (0, 36),
    "arecord": (0x7FFFFF00, 0x7FFFFF24),
    "arecord of old": (0x80000000, 0x80000024),
    "mpg123": (2**32 - 1, 2**32 - 37),
    "VLC": (2**32 - 37, 2**32 - 1),
    "frames below 4 GiB": (2**32 - 4, 2**32 - 4),
    "mplayer": (0x7FFFF000, 0),
}


@pytest.fixture(scope="module")
def steps(song):
    """The song as 16-bit integers."""
    return soundfile.read(song[0], dtype="int16")[0]


@pytest.mark.parametrize("writer", SIZES)
def test_a_wav_written_to_a_pipe(writer, steps, song, tmp_path):
    data, whole = SIZES[writer]
    path = tmp_path / "a.wav"
    path.write_bytes(riff(steps, data, riff_size=whole))
    got, recording = decoded(path)
    np.testing.assert_array_equal(got, song[1])
    assert recording.notes == []
    path.write_bytes(ID3 + riff(steps, data, riff_size=whole, before=struct.pack("<4sI", b"LIST", 4) + b"INFO"))
    np.testing.assert_array_equal(decoded(path)[0], song[1])


HEADERS = {  # headers of other formats that state no size, or an impossible one
    "rf64 of unknown size.wav": lambda x: riff(x, 2**32 - 1, b"RF64", ds64(2**64 - 1)),
    "rf64 of no size.wav": lambda x: riff(x, 2**32 - 1, b"RF64", ds64(0)),
    "rf64 of its size.wav": lambda x: riff(x, 2**32 - 1, b"RF64", ds64(x.nbytes)),
    "bw64 of its size.wav": lambda x: riff(x, 2**32 - 1, b"BW64", ds64(x.nbytes)),
    "sox.aiff": lambda x: aiff(x, 0x7F000008, 0x7F000000 // 4),
    "zero.aiff": lambda x: aiff(x, 0, 0),
    "unknown.au": lambda x: au(x, 2**32 - 1),
    "zero.au": lambda x: au(x, 0),
    "sox.au": lambda x: au(x, 0x7F000000),
    "unknown.caf": lambda x: caf(x, -1),
    "its size.caf": lambda x: caf(x, x.nbytes + 4),
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_without_a_size(name, steps, song, tmp_path):
    (tmp_path / name).write_bytes(HEADERS[name](steps))
    got, recording = decoded(tmp_path / name)
    np.testing.assert_array_equal(got, song[1])
    assert recording.notes == []


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("wav", []),
        ("wav", ["-rf64", "always"]),
        ("w64", []),
        ("aiff", []),
        ("au", []),
        ("caf", []),
        ("flac", []),
        ("tta", []),
        ("wv", []),
        ("voc", []),
        ("avi", ["-c:a", "pcm_s16le"]),
        ("ogg", ["-c:a", "flac"]),
        ("matroska", ["-c:a", "flac"]),
        ("mp4", ["-c:a", "flac", "-strict", "-2", "-movflags", "empty_moov+frag_keyframe"]),
    ],
)
def test_what_ffmpeg_writes_to_a_pipe(form, options, song, tmp_path):
    command = ["ffmpeg", "-v", "error", "-i", song[0], *options, "-f", form, "pipe:1"]
    (tmp_path / "a").write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)
    got, recording = decoded(tmp_path / "a")
    np.testing.assert_array_equal(got, song[1])
    assert recording.notes == []


def test_what_stands_for_an_unknown_size():
    unknown = {size for pair in SIZES.values() for size in pair if size is not None} - {36}
    assert all(map(placeholder, unknown | {0x7F000000, 2**64 - 1}))
    assert not any(map(placeholder, (1, 352_800, 2_000_000_000, 2**31 + 2**20, 3 * 2**30, 2**32 + 2**20)))


CUT = {  # headers that state more than there is, and is no placeholder
    "a.wav": lambda x: riff(x, x.nbytes + 1000),
    "3 GiB.wav": lambda x: riff(x, 3 * 2**30),
    "tagged.wav": lambda x: ID3 + riff(x, x.nbytes + 1000),
    "rf64.wav": lambda x: riff(x, 2**32 - 1, b"RF64", ds64(5 * 2**32)),
    "a.aiff": lambda x: aiff(x, x.nbytes + 1008, len(x) + 250),
    "a.au": lambda x: au(x, x.nbytes + 1000),
    "a.caf": lambda x: caf(x, 2 * x.nbytes),
}


@pytest.mark.parametrize("name", CUT)
def test_what_is_really_cut_is_refused(name, steps, song, tmp_path):
    (tmp_path / name).write_bytes(CUT[name](steps))
    refused(tmp_path / name, r"at 2\.00 s|could decode 2\.00 s")
    np.testing.assert_array_equal(decoded(tmp_path / name, duration=1.5)[0], song[1][: RATE * 3 // 2])


LESS = {  # headers that state less than there is
    "a.wav": lambda x: riff(x, x.nbytes // 2),
    "tagged.wav": lambda x: ID3 + riff(x, x.nbytes // 2),
    "rf64.wav": lambda x: riff(x, 2**32 - 1, b"RF64", ds64(x.nbytes // 2)),
    "a.aiff": lambda x: aiff(x, x.nbytes // 2 + 8, len(x) // 2),
    "a.au": lambda x: au(x, x.nbytes // 2),
}


@pytest.mark.parametrize("name", LESS)
def test_a_header_that_states_less_is_believed(name, steps, song, tmp_path):
    (tmp_path / name).write_bytes(LESS[name](steps))
    got, recording = decoded(tmp_path / name)
    np.testing.assert_array_equal(got, song[1][:RATE])
    assert recording.notes == ["176400 bytes that its header does not count were left out"]


TAGGED = {
    "id3.wav": lambda wav, flac, mp3: ID3 + wav,
    "id3 chunk.wav": lambda wav, flac, mp3: wav + b"id3 " + struct.pack("<I", len(ID3)) + ID3,
    "id3v1.wav": lambda wav, flac, mp3: wav + ID3V1,
    "ape.wav": lambda wav, flac, mp3: wav + APE,
    "zeros.wav": lambda wav, flac, mp3: wav + bytes(1000),
    "id3.flac": lambda wav, flac, mp3: ID3 + flac,
    "id3v1.flac": lambda wav, flac, mp3: flac + ID3V1,
    "ape.flac": lambda wav, flac, mp3: flac + APE,
    "id3 and both.flac": lambda wav, flac, mp3: ID3 + flac + APE + ID3V1,
    "id3v1.mp3": lambda wav, flac, mp3: mp3 + ID3V1,
    "ape.mp3": lambda wav, flac, mp3: mp3 + APE,
    "both.mp3": lambda wav, flac, mp3: ID3 + mp3 + APE + ID3V1,
    "wav.mp3": lambda wav, flac, mp3: wav,  # under another name
    "mp3.wav": lambda wav, flac, mp3: mp3,
    "flac.m4a": lambda wav, flac, mp3: flac,
}


@pytest.mark.parametrize("name", TAGGED)
def test_tags_where_none_are_expected(name, healthy, song, tmp_path):
    parts = [(healthy / part).read_bytes() for part in ("pcm16.wav", "plain.flac", "cbr.mp3")]
    (tmp_path / name).write_bytes(TAGGED[name](*parts))
    got, recording = decoded(tmp_path / name)
    expected = decoded(healthy / "cbr.mp3")[0] if "mp3" in name and name != "wav.mp3" else song[1]
    np.testing.assert_array_equal(got, expected)
    assert recording.notes == []
    if name == "both.mp3":
        assert recording.info.tags["title"] == "Tags"


GAP = ["-af", "aselect='lt(t,0.6)+gt(t,1.4)'"]
SHIFT = "asetpts='if(gt(T,1),PTS+{}/TB,PTS)'"
PCM, AAC, LIVE = ["-c:a", "pcm_s16le"], ["-c:a", "aac"], ["-output_ts_offset", "3600"]


def filmed(*options, delay=0.0):
    """ffmpeg's arguments for the song under a picture, `delay` seconds later."""
    return lambda song: [*PICTURE, "-itsoffset", delay, "-i", song, "-c:v", "mpeg4", *options]


def alone(*options):
    return lambda song: ["-i", song, *options]


TIMES = {  # arguments of ffmpeg; seconds of silence before the song and inside it, what a note says
    "gap.mkv": (alone(*GAP, *PCM), 0, (0.6, 1.4), r"a gap of 0\.8\d s in its timestamps became silence"),
    "gap.mka": (alone(*GAP, "-c:a", "flac"), 0, (0.6, 1.4), "a gap of 0.8"),
    "gap.nut": (alone(*GAP, *PCM), 0, (0.6, 1.4), "a gap of 0.8"),
    "gap.mp4": (filmed(*GAP, *AAC), 0, (0.6, 1.4), "a gap of 0.8"),
    "gap.mov": (filmed(*GAP, "-c:a", "alac"), 0, (0.6, 1.4), "a gap of 0.8"),
    "gap.ts": (alone(*GAP, *AAC), 0, (0.6, 1.4), "a gap of 0.8"),
    "gap.webm": (alone(*GAP, "-c:a", "libopus"), 0, (0.6, 1.4), "a gap of 0.8"),
    "gap.flv": (alone(*GAP, *AAC), 0, (0.6, 1.4), "a gap of 0.8"),
    "late.mkv": (filmed(*PCM, delay=0.5), 0.5, None, r"begins 0\.50 s after the picture"),
    "late.mp4": (filmed(*AAC, delay=0.5), 0.5, None, "begins 0.48"),
    "late.mov": (filmed(*PCM, delay=0.5), 0.5, None, "begins 0.5"),
    "late.ts": (filmed(*AAC, delay=0.5), 0.5, None, "begins 0."),
    "late.flv": (filmed(*AAC, "-c:v", "flv", delay=0.5), 0.5, None, "begins 0."),
    "late and with a gap.mkv": (
        filmed("-af", GAP[1].replace("0.6", "1.1").replace("1.4", "1.9"), *PCM, delay=0.5),
        0.5,
        (0.6, 1.4),
        "a gap of 0.8",
    ),
    "alone, later.mkv": (alone(*PCM, "-output_ts_offset", "0.5"), 0, None, None),
    "in time.mkv": (filmed(*PCM), 0, None, None),
    "in time.mp4": (filmed(*AAC), 0, None, None),
    "in time.ts": (filmed(*AAC), 0, None, None),
    "in time.webm": (filmed("-c:a", "libopus", "-c:v", "libvpx"), 0, None, None),
    "live.ts": (filmed(*AAC, *LIVE), 0, None, None),
    "live alone.ts": (alone(*AAC, *LIVE), 0, None, None),
    "live.mkv": (filmed(*PCM, *LIVE), 0, None, None),
    "live.mp4": (filmed(*AAC, *LIVE, "-movflags", "frag_keyframe+empty_moov"), 0, None, None),
    "jitter.mkv": (alone("-af", "asetpts='PTS+0.02*sin(N)/TB'", *PCM), 0, None, None),
    "five hours on.mkv": (alone("-af", SHIFT.format(18000), *PCM), 0, None, "jump by too much to be true in 1 place"),
}


@pytest.mark.parametrize("name", TIMES)
def test_the_timeline_is_that_of_the_recording(name, song, tmp_path):
    """Gaps and delays are silence, and the song goes on behind them where it should."""
    arguments, delay, gap, note = TIMES[name]
    ffmpeg(*arguments(song[0]), tmp_path / name)
    got, recording = decoded(tmp_path / name)
    rate = recording.rate
    expected = song[1] if rate == RATE else soxr.resample(song[1], RATE, rate)
    expected = np.concatenate([np.zeros((round(delay * rate), 2), dtype=np.float32), expected])
    assert len(got) == pytest.approx(len(expected), abs=0.06 * rate)
    pieces = [(delay, delay + 2)] if gap is None else [(delay, delay + gap[0]), (delay + gap[1], delay + 2)]
    for first, last in pieces:
        assert abs(lag(got, expected, round((first + 0.1) * rate), round((last - 0.1) * rate))) < 0.05 * rate
    if gap:
        silent = got[round((delay + gap[0] + 0.1) * rate) : round((delay + gap[1] - 0.1) * rate)]
        assert np.abs(silent).max() == 0
    if note is None:
        assert recording.notes == []
    else:
        assert re.search(note, " ".join(recording.notes)), recording.notes


def lag(got, expected, first, last):
    """By how many samples `got` is later than `expected` around these samples."""
    margin = 4096
    piece = expected[first:last, 0].astype(np.float64)
    around = np.pad(got[:, 0].astype(np.float64), margin)[first : last + 2 * margin]
    size = 1 << (len(around) + len(piece)).bit_length()
    product = np.fft.irfft(np.fft.rfft(around, size) * np.conj(np.fft.rfft(piece, size)), size)
    return int(np.argmax(product[: 2 * margin])) - margin


STREAMS = {  # options of probe: the stream that is taken, what a note or an error says
    "first flagged": ({}, 1, r"read audio stream 1 of 0 to 2 \(flac, 2 channels, 44\.1 kHz, fre, Chant\)"),
    "by number": ({"stream": 0}, 0, None),
    "last": ({"stream": 2}, 2, None),
    "none of them": (
        {"stream": 3},
        None,
        "got 3; choose one of 0: flac, .*eng; 1: .*fre, Chant; 2: pcm_s16le, 1 ch",
    ),
    "negative": ({"stream": -1}, None, "got -1; choose one of 0: "),
    "named": ({"stream": 7, "name": "standard input"}, None, "standard input: expected an audio stream of it, got 7"),
}


@pytest.fixture(scope="module")
def tracks(song, tmp_path_factory):
    """A film with three audio streams: the song, its second half louder, its left channel."""
    path = tmp_path_factory.mktemp("tracks") / "film.mkv"
    maps = [word for kind in ("1:v", "0:a", "0:a", "0:a") for word in ("-map", kind)]
    filters = ["-filter:a:1", "volume=0.5", "-filter:a:2", "pan=mono|c0=c0", "-disposition:a", "0"]
    tags = ["-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=fre", "-metadata:s:a:1", "title=Chant"]
    codecs = ["-c:v", "mpeg4", "-c:a", "flac", "-c:a:2", "pcm_s16le", "-disposition:a:1", "default"]
    ffmpeg("-i", song[0], *PICTURE, *maps, *filters, *tags, *codecs, path)
    return path


@pytest.mark.parametrize("name", STREAMS)
def test_several_audio_streams(name, tracks, song):
    options, number, text = STREAMS[name]
    if number is None:
        refused(tracks, text, **options)
        return
    got, recording = decoded(tracks, **options)
    expected = [song[1], song[1] / 2, song[1][:, :1]][number]
    np.testing.assert_allclose(got, expected, atol=2 / 32768)
    assert (recording.info.stream, len(recording.info.streams)) == (number, 3)
    assert re.search(text, recording.notes[0]) if text else recording.notes == []


def test_the_streams_of_musdb(previews):
    """Five streams, all flagged as the default: each as musdb decodes it, and the first without a choice."""
    import stempeg

    path = next((previews / "test").glob("*.stem.mp4"))
    for stream in range(5):
        theirs, rate = stempeg.read_stems(str(path), stem_id=stream)
        got, recording = decoded(path, stream=stream)
        assert (recording.rate, got.shape) == (rate, theirs.shape)
        np.testing.assert_allclose(got, theirs, atol=1 / 32768)
    assert decode.probe(path).stream == 0 and "audio stream 0 of 0 to 4" in decode.probe(path).notes[0]


# Another format: ffmpeg's options, the codec that is found, and how closely the song comes back: a largest difference
# (a format without loss), or a correlation (one with).
LOSSLESS = {
    "24.mov": ("-c:a pcm_s24be", "pcm_s24be"),
    "double.mov": ("-c:a pcm_f64be", "pcm_f64be"),
    "seven.mov": ("-c:a pcm_s24be -af pan=7c|c0=c0|c1=c1|c2=c0|c3=c1|c4=c0|c5=c1|c6=c0", "pcm_s24be"),
    "eight.mov": ("-c:a pcm_s16le -af pan=8c|c0=c0|c1=c1|c2=c0|c3=c1|c4=c0|c5=c1|c6=c0|c7=c1", "pcm_s16le"),
    "eight.wv": ("-c:a wavpack -af pan=8c|c0=c0|c1=c1|c2=c0|c3=c1|c4=c0|c5=c1|c6=c0|c7=c1", "wavpack"),
    "sixteen.caf": ("-c:a pcm_s16le -ac 16 -af aformat=channel_layouts=hexadecagonal", "pcm_s16le"),
    "float.mkv": ("-c:a pcm_f32le", "pcm_f32le"),
    "truehd.mkv": ("-c:a truehd -strict -2", "truehd"),
    "alac.mkv": ("-c:a alac", "alac"),
    "tta.mka": ("-c:a tta", "tta"),
    "flac.mp4": ("-c:a flac -strict -2", "flac"),
    "flac.oga": ("-c:a flac", "flac"),
    "24.flac": ("-sample_fmt s32", "flac"),
    "float.aiff": ("-c:a pcm_f32be", "pcm_f32be"),
    "24.aifc": ("-c:a pcm_s24be -f aiff", "pcm_s24be"),
    "24.au": ("-c:a pcm_s24be", "pcm_s24be"),
    "float.caf": ("-c:a pcm_f32le", "pcm_f32le"),
    "24.w64": ("-c:a pcm_s24le", "pcm_s24le"),
    "64.wav": ("-c:a pcm_s64le", "pcm_s64le"),
    "bluray.m2ts": ("-c:a pcm_bluray -ar 48000", "pcm_bluray"),
    "a.voc": ("-c:a pcm_s16le", "pcm_s16le"),
    "a.sox": ("", "pcm_s32le"),
    "a.sf": ("-c:a pcm_s16le -f ircam", "pcm_s16le"),
    "a.mlp": ("-c:a mlp -strict -2", "mlp"),
    "float.wv": ("-sample_fmt fltp", "wavpack"),
}
LOSSY = {
    "a.mpg": ("-c:a mp2", "mp2"),
    "a.vob": ("-c:a ac3", "ac3"),
    "a.eac3": ("", "eac3"),
    "a.dts": ("-c:a dca -strict -2", "dts"),
    "a.m4b": ("-c:a aac -f mp4", "aac"),
    "a.3gp": ("-c:a aac", "aac"),
    "a.flv": ("-c:a libmp3lame", "mp3"),
    "a.asf": ("-c:a wmav1", "wmav1"),
    "wma.wav": ("-c:a wmav2", "wmav2"),
    "mp3.wav": ("-c:a libmp3lame", "mp3"),
    "mp3.avi": ("-c:a libmp3lame", "mp3"),
    "mp3.mp4": ("-c:a libmp3lame", "mp3"),
    "mp3.swf": ("-c:a libmp3lame", "mp3"),
    "mono.mp3": ("-ac 1 -ar 22050 -b:a 64k", "mp3"),
    "a.rm": ("-c:a ac3", "ac3"),
    "mulaw.au": ("-c:a pcm_mulaw", "pcm_mulaw"),
    "alaw.wav": ("-c:a pcm_alaw", "pcm_alaw"),
    "ms.wav": ("-c:a adpcm_ms", "adpcm_ms"),
    "ima.mov": ("-c:a adpcm_ima_qt", "adpcm_ima_qt"),
    "a.adx": ("", "adpcm_adx"),
    "opus.mkv": ("-c:a libopus", "opus"),
    "60 ms.opus": ("-frame_duration 60", "opus"),
    "opus.ts": ("-c:a libopus -strict -2", "opus"),
    "opus.caf": ("-c:a libopus", "opus"),
    "a.spx": ("-c:a libspeex -ar 32000", "speex"),
    "a.sbc": ("", "sbc"),
    "s8.aiff": ("-c:a pcm_s8", "pcm_s8"),
}


@pytest.fixture(scope="module")
def others(song, tmp_path_factory):
    """The song in all of these formats, by one ffmpeg."""
    folder = tmp_path_factory.mktemp("others")
    words = [[*given.split(), folder / name] for name, (given, _) in (LOSSLESS | LOSSY).items()]
    ffmpeg("-i", song[0], *(word for output in words for word in ("-map", "0", *output)))
    return folder


@pytest.mark.parametrize("name", LOSSLESS | LOSSY)
def test_other_formats(name, others, song):
    got, recording = decoded(others / name)
    assert recording.info.codec == (LOSSLESS | LOSSY)[name][1] and recording.notes == []
    if name in LOSSLESS and recording.rate == RATE:
        assert 0 <= len(got) - 2 * RATE < (1024 if name in ("a.mlp", "truehd.mkv") else 1)
        wanted = song[1] if recording.channels < 16 else got[: 2 * RATE, :2]
        np.testing.assert_array_equal(got[: 2 * RATE, :2], wanted)
        assert recording.channels == {"seven": 7, "eight": 8, "sixteen": 16}.get(name.split(".")[0], 2)
        return
    expected = soxr.resample(song[1].mean(axis=1), RATE, recording.rate)
    assert len(got) == pytest.approx(len(expected), abs=0.1 * recording.rate)
    heard = got.mean(axis=1, keepdims=True)
    first, last = round(0.5 * recording.rate), round(1.5 * recording.rate)
    late = lag(heard, expected[:, None], first, last)
    assert np.corrcoef(heard[first + late : last + late, 0], expected[first:last])[0, 1] > (
        0.5 if name == "a.spx" else 0.9
    )


def without(first, last):
    return lambda data: data[:first] + data[last:]


def cut(share):
    return lambda data: data[: int(len(data) * share)]


# A healthy file, what happens to it, and what must come out: the seconds that are read, and what a note or error says.
DAMAGE = {
    "mp3 without a length, cut in a frame": ("noxing.mp3", cut(0.7), 1.4, None),
    "mp3 with a length, cut in a frame": ("cbr.mp3", cut(0.7), None, r"expected 2\.00 s of audio, .* 1\.[34]\d s"),
    "mp3 behind zeros": ("cbr.mp3", lambda data: bytes(5000) + data, 2.0, None),
    "mp3 behind a web page": ("noxing.mp3", lambda data: b"<html><body>loading</body></html>\n" * 20 + data, 2.0, None),
    "mp3 before a web page": (
        "noxing.mp3",
        lambda data: data + b"<html><body>gone</body></html>\n" * 9,
        2.0,
        "|damaged",
    ),
    "mp3 that lost its first frame": ("noxing.mp3", lambda data: data[700:], 2.0, None),
    "mp2, cut": ("plain.mp2", cut(0.5), 1.0, None),
    "aac, cut": ("plain.aac", cut(0.5), 1.0, None),
    "ac3, cut": ("plain.ac3", cut(0.5), 1.0, None),
    "ts, cut": ("plain.ts", cut(0.5), 1.0, None),
    "ts that lost 40 packets": ("plain.ts", without(188 * 60, 188 * 100), 2.0, r"a gap of 0\.\d\d s|damaged piece"),
    "live mkv, cut": ("live.mkv", cut(0.5), 1.0, None),
    "mka, cut": ("vorbis.mka", cut(0.5), None, "truncated or damaged"),
    "ogg, cut": ("vorbis.ogg", cut(0.95), None, "bytes more than there are|truncated"),
    "opus, cut": ("plain.opus", cut(0.5), None, "bytes more than there are|truncated"),
    "m4a without its end": ("plain.m4a", cut(0.97), None, "can't read it|fetch it again"),
    "m4a without its beginning": ("plain.m4a", lambda data: data[1000:], None, "can't read it|no audio"),
    "flac without its beginning": ("plain.flac", lambda data: data[3000:], None, "can't read it|no audio|damaged"),
    "caf, cut": ("plain.caf", cut(0.5), None, "bytes more than there are"),
    "w64, cut": ("plain.w64", cut(0.5), None, "bytes more than there are|truncated"),
    "aiff, cut": ("plain.aiff", cut(0.5), None, "bytes more than there are|truncated"),
    "au, cut": ("plain.au", cut(0.5), None, "bytes more than there are|truncated"),
    "tta, cut": ("plain.tta", cut(0.5), None, "truncated"),
    "adpcm, cut": ("adpcm.wav", cut(0.5), None, "bytes more than there are"),
    "wav with half a sample behind": ("pcm16.wav", lambda data: data + b"\1", 2.0, None),
    "wav, only a header": ("pcm16.wav", lambda data: data[:78], None, "no audio|more than there are"),
    "wav, half a header": ("pcm16.wav", lambda data: data[:20], None, "can't read it|no audio"),
    "one byte": ("pcm16.wav", lambda data: data[:1], None, "can't read it"),
    "wma, cut": ("plain.wma", cut(0.5), None, "truncated"),
    "avi, cut": ("plain.avi", cut(0.5), None, "bytes more than there are"),
    "fragments, cut": ("fragments.mp4", cut(0.5), None, "truncated"),
    "joined mp3 and wav": ("cbr.mp3", lambda data: data + riff(np.zeros((5000, 2), np.int16), 20000), 2.0, "|damaged"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage(name, healthy, tmp_path):
    source, damage, seconds, text = DAMAGE[name]
    path = tmp_path / source
    path.write_bytes(damage((healthy / source).read_bytes()))
    if seconds is None:
        refused(path, text)
        return
    got, recording = decoded(path)
    assert len(got) / recording.rate == pytest.approx(seconds, abs=0.13)
    assert re.search(text or "^$|damaged piece", " ".join(recording.notes)), recording.notes
