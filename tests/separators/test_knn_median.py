"""Nearest neighbours and median filtering."""

from __future__ import annotations

import librosa
import numpy as np

from svs.config.schema import Representation


def test_neighbours_are_those_of_a_sorted_list(built, song):
    spectrum = np.abs(librosa.stft(song["mixture"][:, 0], n_fft=1024, hop_length=1024))[:300].T.copy()
    ours = Representation(sample_rate=44100, frame_size=2048, win_length=2048, hop_length=1024)
    came = built("knn_median", neighbours=12).similar(spectrum, 3, 150, 20, ours)
    for frame, chosen in zip(range(3, 150), came, strict=True):
        near = [other for other in range(len(spectrum)) if abs(other - frame) <= 20]
        distance = {other: float(np.sum((spectrum[frame].astype(float) - spectrum[other]) ** 2)) for other in near}
        assert set(chosen) == set(sorted(near, key=distance.get)[:12])


def test_gaussian_mask(built):
    separator = built("knn_median", tolerance=0.5)
    mixture = np.array([1.0, np.e**0.5, 1.0, 0.0, 0.0, 3.0], dtype=np.float32)
    model = np.array([1.0, 1.0, 7.0, 0.0, 5.0, 0.0], dtype=np.float32)
    expected = [0, 1 - np.exp(-0.5), 0, 0, 0, 1]
    np.testing.assert_allclose(separator.share(mixture, model), expected, atol=1e-6)
