"""The floor."""

from __future__ import annotations

import numpy as np

from svs.separators.mixture import Mixture


def test_floor_is_a_quarter(excerpt):
    vocals = Mixture(0.25).vocals(excerpt["mixture"], 44100)
    np.testing.assert_array_equal(vocals, excerpt["mixture"] / 4)
    np.testing.assert_array_equal(excerpt["mixture"] - vocals, excerpt["mixture"] * 3 / 4)
