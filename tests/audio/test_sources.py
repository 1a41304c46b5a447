"""Audio files: float wav whose bytes are the samples', blocks that equal the whole, clear refusals."""

import struct
import time

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from svs.audio.sources import ArraySource, SumSource, WavSource, WavWriter
from svs.errors import DataError
from tests.helpers.command import wav

FEW = examples(deadline=None, max_examples=25, database=None, derandomize=True)
RATE = 44100


def noise(samples, channels=2, seed=0):
    return np.random.default_rng(seed).uniform(-1.5, 1.5, (samples, channels)).astype(np.float32)


def chunks(path):
    """Ids and sizes of the chunks of a RIFF file, read by hand."""
    content = path.read_bytes()
    assert content[:4] == b"RIFF" and content[8:12] == b"WAVE"
    assert struct.unpack("<I", content[4:8])[0] == len(content) - 8
    found, place = {}, 12
    while place < len(content):
        name, size = struct.unpack("<4sI", content[place : place + 8])
        found[name] = size
        place += 8 + size
    assert place == len(content)
    return found


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("samples", [0, 1, 999])
def test_soundfile_reads_what_was_written(tmp_path, samples, channels):
    audio = noise(samples, channels)
    wav(tmp_path / "a.wav", audio, 22050)
    info = soundfile.info(tmp_path / "a.wav")
    assert (info.samplerate, info.frames, info.channels, info.subtype) == (22050, samples, channels, "FLOAT")
    back, _ = soundfile.read(tmp_path / "a.wav", dtype="float32", always_2d=True)
    np.testing.assert_array_equal(back, audio)  # beyond full scale too: nothing is clipped
    assert chunks(tmp_path / "a.wav") == {b"fmt ": 18, b"fact": 4, b"data": samples * channels * 4}


@FEW
@given(cuts=st.lists(st.integers(0, 500), max_size=5), dtype=st.sampled_from([np.float32, np.float64]))
def test_blocks_are_written_one_after_another(tmp_path_factory, cuts, dtype):
    folder = tmp_path_factory.mktemp("blocks")
    audio = noise(500).astype(dtype)
    with WavWriter(folder / "blocks.wav", RATE, 2) as writer:
        for part in np.split(audio, sorted(cuts)):
            writer.write(part[:, ::-1][:, ::-1])  # not contiguous
    wav(folder / "whole.wav", audio, RATE)
    assert (folder / "blocks.wav").read_bytes() == (folder / "whole.wav").read_bytes()


def test_bytes_do_not_know_the_time(tmp_path):
    audio = noise(100)
    wav(tmp_path / "a.wav", audio, RATE)
    soundfile.write(tmp_path / "theirs.wav", audio, RATE, subtype="FLOAT")
    time.sleep(1.1)
    wav(tmp_path / "b.wav", audio, RATE)
    soundfile.write(tmp_path / "theirs later.wav", audio, RATE, subtype="FLOAT")
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    # Why the writer is our own: soundfile's PEAK chunk holds the second of writing.
    assert b"PEAK" in chunks(tmp_path / "theirs.wav")
    assert (tmp_path / "theirs.wav").read_bytes() != (tmp_path / "theirs later.wav").read_bytes()


def test_more_than_a_wav_can_hold_is_refused(tmp_path):
    writer = WavWriter(tmp_path / "long.wav", RATE, 2)
    writer.samples = 2**29
    with pytest.raises(DataError, match="4 GiB; separate a shorter passage"):
        writer.close()


@pytest.fixture(scope="module")
def wavs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wavs")
    for subtype in ("PCM_16", "PCM_24", "FLOAT"):
        soundfile.write(folder / f"{subtype}.wav", noise(1000) / 2, RATE, subtype=subtype)
    return folder


@FEW
@given(
    subtype=st.sampled_from(["PCM_16", "PCM_24", "FLOAT"]), ends=st.tuples(st.integers(0, 1000), st.integers(0, 1000))
)
def test_any_block_is_that_part_of_the_whole(wavs, subtype, ends):
    start, stop = sorted(ends)
    source = WavSource(wavs / f"{subtype}.wav")
    assert (source.rate, source.samples, source.channels) == (RATE, 1000, 2)
    whole, _ = soundfile.read(source.path, dtype="float32")
    block = source.read(start, stop)
    assert block.dtype == np.float32 and block.shape == (stop - start, 2)
    np.testing.assert_array_equal(block, whole[start:stop])


@pytest.mark.parametrize(("start", "stop"), [(-1, 5), (0, 1001), (6, 5), (1001, 1001)])
def test_samples_outside_are_refused(wavs, start, stop):
    with pytest.raises(ValueError, match=f"samples {start} to {stop} of 1000"):
        WavSource(wavs / "FLOAT.wav").read(start, stop)


def test_16_bits_are_exact(tmp_path):
    steps = np.array([[-32768, -1], [0, 1], [12345, 32767]], dtype=np.int16)
    soundfile.write(tmp_path / "a.wav", steps, RATE, subtype="PCM_16")
    np.testing.assert_array_equal(WavSource(tmp_path / "a.wav").read(0, 3), steps / np.float32(32768))


@pytest.mark.parametrize("keep", [0.5, 0.99])
def test_a_file_cut_after_it_was_opened(tmp_path, keep):
    path = tmp_path / "a.wav"
    wav(path, noise(1000), RATE)
    source = WavSource(path)
    path.write_bytes(path.read_bytes()[: int(len(path.read_bytes()) * keep)])
    for start in (0, 995):  # across the cut, and behind it
        with pytest.raises(DataError, match=r"a\.wav: .*truncated; fetch it again"):
            source.read(start, 1000)


def test_a_file_that_went_away(tmp_path):
    wav(tmp_path / "a.wav", noise(10), RATE)
    source = WavSource(tmp_path / "a.wav")
    (tmp_path / "a.wav").unlink()
    with pytest.raises(DataError, match=r"a\.wav"):
        source.read(0, 10)


def test_what_is_no_wav(tmp_path):
    (tmp_path / "text.wav").write_text("this is no audio\n" * 50)
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "header.wav").write_bytes(b"RIFF\x00\x00")
    (tmp_path / "folder.wav").mkdir()
    for name in ("text", "empty", "header", "folder", "missing"):
        with pytest.raises(DataError) as caught:
            WavSource(tmp_path / f"{name}.wav")
        assert f"{name}.wav: expected a wav file, could not read it" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_arrays_are_sources():
    audio = noise(50)
    source = ArraySource(audio, 8000)
    assert (source.rate, source.samples, source.channels) == (8000, 50, 2)
    np.testing.assert_array_equal(source.read(10, 20), audio[10:20])
    single = ArraySource(audio[:, 0].astype(np.float64), 8000)
    assert single.channels == 1 and single.read(0, 50).dtype == np.float32
    np.testing.assert_array_equal(single.read(3, 4), audio[3:4, :1])


def test_the_sum_of_sources():
    parts = [noise(60, seed=seed) for seed in range(3)]
    total = SumSource([ArraySource(part, RATE) for part in parts])
    assert (total.rate, total.samples, total.channels) == (RATE, 60, 2)
    np.testing.assert_allclose(total.read(7, 42), np.sum(parts, axis=0)[7:42], rtol=1e-6)


@pytest.mark.parametrize(
    "other",
    [ArraySource(np.zeros((59, 2)), RATE), ArraySource(np.zeros((60, 1)), RATE), ArraySource(np.zeros((60, 2)), 48000)],
)
def test_sources_that_do_not_fit_are_not_summed(other):
    with pytest.raises(DataError, match=f"differ in rate, length or channels.*{other.rate}, {other.samples}"):
        SumSource([ArraySource(np.zeros((60, 2)), RATE), other])
