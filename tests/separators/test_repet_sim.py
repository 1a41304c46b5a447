"""REPET-SIM against plain implementations of both variants."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import scipy.ndimage
import scipy.signal

from svs import separators
from svs.audio.convert import resample
from svs.config.schema import Representation
from svs.separators.repet_sim import RepetSim, RepetSimLibrosaVariant

RATE = 22050


def slow_repet_sim(audio: np.ndarray, rate: int, spacing=1.0, most=100, lowest=100.0) -> np.ndarray:
    """REPET-SIM frame by frame, from the description: the background of (samples, channels), all in float64."""
    size = 1
    while size < 0.04 * rate:
        size *= 2
    hop, samples = size // 2, len(audio)
    window = scipy.signal.windows.hamming(size, sym=False)
    count = -(-samples // hop) + 1
    spectra = []
    for channel in audio.T.astype(np.float64):
        long = np.concatenate([np.zeros(hop), channel, np.zeros(size + hop)])
        spectra.append([np.fft.fft(window * long[frame * hop : frame * hop + size]) for frame in range(count)])
    spectra = np.array(spectra)[..., : hop + 1]  # channels, frames, bins
    magnitudes = np.abs(spectra)
    mean = magnitudes.mean(axis=0)
    direction = [frame / np.linalg.norm(frame) for frame in mean]
    gap = round(spacing * rate / hop)
    background = np.zeros((len(spectra), (count + 1) * hop))
    for frame in range(count):
        alike = [float(direction[frame] @ other) for other in direction]
        maxima = [
            index
            for index in range(count)
            if all(
                alike[index] > alike[other]
                for other in range(max(0, index - gap), min(count, index + gap + 1))
                if other != index
            )
        ]
        maxima = sorted(maxima, key=lambda index: -alike[index])[:most]
        for channel in range(len(spectra)):
            present = magnitudes[channel, frame]
            model = np.minimum(np.median([magnitudes[channel, index] for index in maxima], axis=0), present)
            mask = (model + 2.0**-52) / (present + 2.0**-52)
            mask[1 : round(lowest * size / rate) + 1] = 1
            half = mask * spectra[channel, frame]
            background[channel, frame * hop : frame * hop + size] += np.fft.irfft(half)
    return background[:, hop : hop + samples].T / (window[0] + window[hop])


@pytest.mark.parametrize("rate, spacing, most", [(16000, 1.0, 100), (22050, 0.3, 4)])
def test_authors_variant_equals_a_plain_implementation(built, song, rate, spacing, most):
    mixture = resample(song["mixture"], 44100, rate)[rate : 5 * rate + 77]  # it begins with silence
    separator = built("authors", authors={"distance": spacing, "number": most})
    expected = mixture - slow_repet_sim(mixture, rate, spacing, most)
    np.testing.assert_allclose(separator.vocals(mixture, rate), expected, atol=1e-5)
    assert np.abs(expected).max() > 0.02


@pytest.mark.parametrize("keep, mode", [("earliest", "connectivity"), ("nearest", "distance")])
def test_librosa_variant_equals_librosa_on_a_song_within_reach(built, song, keep, mode):
    """The vocal separation example, with librosa's own search for neighbours over the whole spectrogram."""
    audio = resample(song["mixture"], 44100, RATE).mean(axis=1)
    full = librosa.stft(audio, pad_mode="constant")
    magnitudes = np.abs(full).astype(np.float64)
    width = int(librosa.time_to_frames(2, sr=RATE, hop_length=512))
    model = librosa.decompose.nn_filter(magnitudes, aggregate=np.median, metric="cosine", width=width, mode=mode)
    model = np.minimum(magnitudes, model)
    mask = librosa.util.softmask(magnitudes - model, 10 * model, power=2)
    expected = librosa.istft(full * mask, length=len(audio))
    separator = built("librosa", librosa={"keep": keep})
    assert separator.representation(RATE) == Representation(
        sample_rate=RATE, frame_size=2048, win_length=2048, hop_length=512
    )
    np.testing.assert_allclose(separator.vocals(audio[:, None], RATE)[:, 0], expected, atol=1e-5)
    assert np.abs(expected).max() > 0.02


def test_the_default_variants(settings):
    assert isinstance(separators.build("repet_sim", settings), RepetSim)
    options = separators.options("repet_sim", settings).model_copy(update={"variant": "librosa"})
    changed = settings.model_copy(update={"separate": settings.separate.model_copy(update={"repet_sim": options})})
    assert isinstance(separators.build("repet_sim", changed), RepetSimLibrosaVariant)
