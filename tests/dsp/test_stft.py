"""The STFT: inverted exactly, the same in blocks, and what numpy and scipy say it is."""

import warnings

import numpy as np
import pytest
import scipy.signal
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from svs.config.schema import Representation
from svs.dsp.stft import HAMMING, frames, istft, magnitude, stft, stft_of_frames, window_sum

FEW = examples(deadline=None, max_examples=30, database=None, derandomize=True)
# (frame, window, hop): the dissertation's two transforms, and smaller ones with every ratio that settings allow.
SIZES = ((4096, 2048, 512), (1024, 1024, 256), (256, 256, 64), (512, 256, 64), (256, 200, 50), (256, 128, 37))
SMALL = st.sampled_from(SIZES[2:])


def representation(sizes, rate=22050):
    return Representation(sample_rate=rate, frame_size=sizes[0], win_length=sizes[1], hop_length=sizes[2])


def noise(seed, *shape):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


@pytest.fixture(autouse=True)
def _short_signals_are_meant():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="n_fft=.*is too large")
        yield


@FEW
@given(sizes=SMALL, samples=st.integers(1, 3000), channels=st.sampled_from([None, 1, 2]), seed=st.integers(0, 99))
def test_round_trip(sizes, samples, channels, seed):
    transform = representation(sizes)
    audio = noise(seed, samples) if channels is None else noise(seed, channels, samples)
    spectrogram = stft(audio, transform)
    assert spectrogram.dtype == np.complex64
    assert spectrogram.shape == (*audio.shape[:-1], transform.bins, frames(samples, transform))
    back = istft(spectrogram, transform, samples)
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, audio, atol=2e-6)


@FEW
@given(
    sizes=SMALL, samples=st.integers(1, 3000), first=st.integers(0, 60), count=st.integers(1, 20), stereo=st.booleans()
)
def test_a_part_has_the_frames_of_the_whole(sizes, samples, first, count, stereo):
    transform = representation(sizes)
    audio = noise(samples, 2, samples) if stereo else noise(samples, samples)
    whole = stft(audio, transform)
    first = min(first, whole.shape[-1] - 1)
    last = min(first + count, whole.shape[-1])
    np.testing.assert_array_equal(stft_of_frames(audio, transform, first, last), whole[..., first:last])


@pytest.mark.parametrize("sizes", SIZES[:2])
def test_parts_of_the_dissertations_transforms(sizes):
    transform = representation(sizes)
    audio = noise(1, 2, 60_001)
    total = frames(60_001, transform)
    parts = [stft_of_frames(audio, transform, first, min(first + 16, total)) for first in range(0, total, 16)]
    assert len(parts) > 3
    np.testing.assert_array_equal(np.concatenate(parts, axis=-1), stft(audio, transform))


@pytest.mark.parametrize("sizes", SIZES)
def test_a_full_scale_sine_has_magnitude_one_half(sizes):
    transform = representation(sizes)
    hertz = transform.sample_rate * 20 / transform.frame_size  # the centre of bin 20
    sine = np.sin(2 * np.pi * hertz * np.arange(6 * transform.frame_size) / transform.sample_rate)
    inside = magnitude(stft(sine, transform), transform)[:, 2 * transform.frame_size // transform.hop_length]
    assert np.argmax(inside) == 20
    assert inside[20] == pytest.approx(0.5, abs=1e-3)
    assert inside.dtype == np.float32


@pytest.mark.parametrize("sizes", SIZES)
def test_agrees_with_an_explicit_dft(sizes):
    """Frame t is the DFT of the samples around t * hop, under a periodic Hann window in the middle of the frame."""
    transform = representation(sizes)
    size, window, hop = sizes
    audio = noise(3, 5 * size + 17)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    left = (size - window) // 2
    taper = np.zeros(size)
    taper[left : left + window] = hann
    padded = np.pad(audio.astype(np.float64), size)
    found = stft(audio, transform)
    assert window_sum(transform) == pytest.approx(hann.sum(), rel=1e-6)
    for frame in (0, 1, found.shape[1] // 2, found.shape[1] - 1):
        start = size + frame * hop - size // 2
        expected = np.fft.rfft(padded[start : start + size] * taper)
        np.testing.assert_allclose(found[:, frame], expected, atol=2e-4)


def test_agrees_with_scipy():
    transform = representation((1024, 1024, 256))
    audio = noise(5, 20_000)
    theirs = scipy.signal.ShortTimeFFT(scipy.signal.get_window("hann", 1024), hop=256, fs=22050, phase_shift=None)
    # scipy's frame 0 is the one whose centre lies on sample 0.
    expected = theirs.stft(audio.astype(np.float64), p0=0, p1=frames(len(audio), transform))
    np.testing.assert_allclose(stft(audio, transform), expected, atol=2e-4)


@FEW
@given(samples=st.integers(0, 10**7), sizes=SMALL)
def test_frames_counts_the_centres_inside(samples, sizes):
    transform = representation(sizes)
    count = frames(samples, transform)
    assert (count - 1) * transform.hop_length <= samples < count * transform.hop_length


@pytest.mark.parametrize("sizes", [(4096, 2048, 512), (1024, 1024, 256), (4096, 1024, 256), (1001, 900, 333)])
@pytest.mark.parametrize("samples", [1, 700, 5000, 44117])
def test_the_bits_are_librosas(sizes, samples):
    librosa = pytest.importorskip("librosa", reason="no librosa: pip install 'svs[pipeline]'")

    here, audio = representation(sizes), noise(3, 2, samples)
    how = {"n_fft": sizes[0], "win_length": sizes[1], "hop_length": sizes[2], "window": "hann", "center": True}
    theirs = librosa.stft(audio, pad_mode="constant", **how)
    np.testing.assert_array_equal(stft(audio, here), theirs)
    for length in (samples, samples + 1, max(1, samples - 99), samples + 5000):
        np.testing.assert_array_equal(istft(theirs, here, length), librosa.istft(theirs, length=length, **how))
    np.testing.assert_array_equal(
        stft(audio, here, HAMMING), librosa.stft(audio, pad_mode="constant", **how | {"window": "hamming"})
    )
    assert window_sum(here) == librosa.filters.get_window("hann", sizes[1], fftbins=True).sum()
