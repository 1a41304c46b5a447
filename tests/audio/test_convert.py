"""Audio arrays at another rate, in mono, and passages in samples."""

import numpy as np
import pytest

from svs.audio.convert import Resampled, blocks, mono, passage, resample, resampled
from svs.audio.sources import ArraySource

RATE = 44100


def noise(samples, channels=2, seed=0):
    return np.random.default_rng(seed).uniform(-1.5, 1.5, (samples, channels)).astype(np.float32)


def test_mono_is_the_mean():
    audio = noise(100, 3)
    single = mono(audio)
    assert single.shape == (100,) and single.dtype == np.float32
    np.testing.assert_allclose(single, (audio[:, 0] + audio[:, 1] + audio[:, 2]) / 3, atol=1e-6)


@pytest.mark.parametrize(("rate", "new_rate"), [(44100, 22050), (22050, 16000), (48000, 44100)])
@pytest.mark.parametrize("channels", [1, 2])
def test_resample_there_and_back(rate, new_rate, channels):
    """Sines below half of the lower rate come back; their level and pitch stay."""
    time_axis = np.arange(rate) / rate
    audio = np.stack([np.sin(2 * np.pi * hertz * time_axis) for hertz in (440, 3000)][:channels], axis=1)
    audio = audio.astype(np.float32)
    there = resample(audio, rate, new_rate)
    assert there.dtype == np.float32 and there.shape == (new_rate, channels)
    assert np.argmax(np.abs(np.fft.rfft(there[:, 0]))) == 440
    back = resample(there, new_rate, rate)
    assert back.shape == audio.shape
    edge = rate // 20
    np.testing.assert_allclose(back[edge:-edge], audio[edge:-edge], atol=2e-3)


def test_resample_removes_what_the_new_rate_cannot_hold():
    audio = np.sin(2 * np.pi * 15_000 * np.arange(RATE) / RATE).astype(np.float32)[:, None]
    assert np.abs(resample(audio, RATE, 22050)[2000:-2000]).max() < 1e-3


def test_resample_to_the_same_rate_is_nothing():
    audio = noise(10)
    assert resample(audio, RATE, RATE) is audio


@pytest.mark.parametrize(
    "rate, new_rate", [(48000, 44100), (8000, 44100), (44101, 44100), (44100, 16000), (8000, 8000)]
)
@pytest.mark.parametrize("size", [1, 999, 70_000])
def test_blocks_are_resampled_as_the_whole(rate, new_rate, size):
    source = ArraySource(noise(100 if size == 1 else 80_000), rate)
    came = np.concatenate(list(resampled(blocks(source, size), rate, new_rate, 2)))
    np.testing.assert_array_equal(came, resample(source.read(0, source.samples), rate, new_rate))


@pytest.mark.parametrize("rate, new_rate", [(48000, 44100), (44100, 22050), (16000, 44100)])
def test_a_source_at_another_rate_is_read_anywhere(rate, new_rate):
    source = ArraySource(noise(200_001), rate)
    expected = resample(source.read(0, source.samples), rate, new_rate)
    came = Resampled(source, new_rate)
    assert (came.rate, came.channels) == (new_rate, 2) and abs(came.samples - len(expected)) <= 1
    expected = np.pad(expected, ((0, 1), (0, 0)))
    for start, stop in (
        (0, 10),
        (5, 70_000),
        (5, 5),
        (60_000, came.samples),
        (3, 90_000),
        (came.samples - 1, came.samples),
    ):
        np.testing.assert_array_equal(came.read(start, stop), expected[start:stop])


@pytest.mark.parametrize("samples", [1, 2, 5])
def test_the_shortest_source_has_a_sample_at_any_rate(samples):
    for rate, new_rate in ((192000, 16000), (8000, 44100), (44101, 44100)):
        came = Resampled(ArraySource(noise(samples), rate), new_rate)
        audio = came.read(0, came.samples)
        assert came.samples >= 1 and audio.shape == (came.samples, 2) and np.isfinite(audio).all()


def test_a_source_at_another_rate_is_read_once_and_forgotten():
    """Read forwards, it reads its source once and holds no more than the last piece and what it read ahead."""

    class Counted(ArraySource):
        read_so_far = 0

        def read(self, start, stop):
            self.read_so_far += stop - start
            return super().read(start, stop)

    source = Counted(noise(2_000_000, 1), 48000)
    came = Resampled(source, 44100)
    for start in range(0, came.samples, 30_000):
        came.read(max(0, start - 5000), min(start + 35_000, came.samples))
        assert len(came._held) < 40_000 + 2 * 65536
    assert source.read_so_far == source.samples


@pytest.mark.parametrize(
    ("start", "duration", "expected"),
    [
        (0.0, None, (0, 1000)),
        (2.5, None, (250, 1000)),
        (2.5, 1.0, (250, 350)),
        (9.5, 5.0, (950, 1000)),
        (10.0, None, (1000, 1000)),
        (30.0, 60.0, (1000, 1000)),
        (0.0, 0.004, (0, 0)),
        (0.006, 0.006, (1, 2)),
    ],
)
def test_passage(start, duration, expected):
    assert passage(ArraySource(np.zeros(1000), 100), start, duration) == expected
