"""Masks: what is louder, what is gated, and that mask and complement share the mixture."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from svs.config.schema import Representation
from svs.dsp.masks import ideal_binary_mask
from svs.dsp.stft import istft, stft
from svs.separators.cnn import gated

FEW = examples(deadline=None, max_examples=40, database=None, derandomize=True)
MAGNITUDES = arrays.arrays(np.float32, (4, 5), elements=st.floats(0, 4, width=32))
UNIT = arrays.arrays(np.float32, (4, 5), elements=st.floats(0, 1, width=32))
TRANSFORM = Representation(sample_rate=22050, frame_size=512, win_length=512, hop_length=128)


def test_the_louder_one_wins():
    vocals = np.array([[3 + 4j, 1, -2], [0, 1j, 0.5]])
    accompaniment = np.array([[4, -2, 1j], [0, 1, -0.5]])
    #            |5| > |4|   1 < 2   2 > 1     both silent: 0; ties: 0
    np.testing.assert_array_equal(
        ideal_binary_mask(vocals, accompaniment), [[True, False, True], [False, False, False]]
    )


@FEW
@given(MAGNITUDES, MAGNITUDES)
def test_masks_of_both_partition_all_but_ties(vocals, accompaniment):
    mask, other = ideal_binary_mask(vocals, accompaniment), ideal_binary_mask(accompaniment, vocals)
    assert mask.dtype == bool and mask.shape == vocals.shape
    assert not (mask & other).any()
    np.testing.assert_array_equal(~(mask | other), vocals == accompaniment)
    # The share of the mixture's energy is never worse than that of any other binary mask.
    kept = np.where(mask, vocals, accompaniment)
    np.testing.assert_array_equal(kept, np.maximum(vocals, accompaniment))


@FEW
@given(MAGNITUDES, MAGNITUDES, st.floats(0, 2 * np.pi), st.sampled_from([0.25, 2.0]))
def test_phase_and_common_gain_do_not_matter(vocals, accompaniment, angle, gain):
    turned = gain * vocals * np.array([1, -1, 1j, -1j, 1])
    expected = ideal_binary_mask(vocals, accompaniment)
    np.testing.assert_array_equal(ideal_binary_mask(turned, gain * accompaniment), expected)
    # An arbitrary phase rounds, so only bins apart are sure.
    apart = np.abs(vocals - accompaniment) > 1e-5
    rotated = ideal_binary_mask(vocals * np.exp(1j * angle), accompaniment)
    np.testing.assert_array_equal(rotated[apart], expected[apart])


@FEW
@given(UNIT, st.floats(0, 0.875, width=16))
def test_gate(mask, gate):
    before = mask.copy()
    soft, hard = gated(mask, gate), gated(mask, gate, hard=True)
    np.testing.assert_array_equal(mask, before)
    assert soft.dtype == hard.dtype == np.float32
    for index in np.ndindex(mask.shape):
        above = mask[index] > gate
        assert soft[index] == (mask[index] if above else 0)
        assert hard[index] == (1 if above else 0)


def test_the_gate_itself_is_closed():
    mask = np.array([0.0, 0.25, 0.26, 1.0], dtype=np.float32)
    np.testing.assert_array_equal(gated(mask, 0.25), np.array([0, 0, 0.26, 1], dtype=np.float32))
    np.testing.assert_array_equal(gated(mask, 0.25, hard=True), [0, 0, 1, 1])
    np.testing.assert_array_equal(gated(mask, 0.0), mask)


@FEW
@given(UNIT)
def test_gating_twice_is_gating_once(mask):
    once = gated(mask, 0.15)
    np.testing.assert_array_equal(gated(once, 0.15), once)
    hard = gated(mask, 0.15, hard=True)
    np.testing.assert_array_equal(gated(hard, 0.15, hard=True), hard)


@pytest.mark.parametrize("samples", [512, 5000, 12_345])
def test_a_mask_of_ones_is_the_mixture_and_halves_add_up(samples):
    generator = np.random.default_rng(samples)
    mixture = generator.uniform(-1, 1, (2, samples)).astype(np.float32)
    spectrogram = stft(mixture, TRANSFORM)
    ones = gated(np.ones(spectrogram.shape, dtype=np.float32), 0.15)
    np.testing.assert_allclose(istft(spectrogram * ones, TRANSFORM, samples), mixture, atol=2e-6)
    assert not istft(spectrogram * 0, TRANSFORM, samples).any()
    mask = gated(generator.uniform(0, 1, spectrogram.shape).astype(np.float32), 0.15)
    both = istft(spectrogram * mask, TRANSFORM, samples) + istft(spectrogram * (1 - mask), TRANSFORM, samples)
    np.testing.assert_allclose(both, mixture, atol=4e-6)
