"""Spectrograms: their axes, levels and masks."""

from __future__ import annotations

import numpy as np
import pytest

from svs.audio.sources import ArraySource
from svs.figures import spectrograms
from tests.helpers.figures import texts, tone


def test_a_picture_has_axes_in_seconds_and_hertz(settings):
    settings = settings.plots.model_copy(update={"picture_seconds": 2.0, "picture_max_frequency": 8000.0})
    figure = spectrograms.separation_picture(
        "a song", tone(1000), tone(1000), {"ours": tone(1000), "none": tone(0)}, settings
    )
    titles = [axis.get_title(loc="left") for axis in figure.axes[:6]]
    assert titles == ["mixture", "true vocals", "ours: mask", "ours: vocals", "none: mask", "none: vocals"]
    panels = np.array(figure.axes[:6]).reshape(3, 2)
    assert {axis.get_xlabel() for axis in panels[-1]} == {"time (s)"}
    assert {axis.get_ylabel() for axis in panels[:, 0]} == {"frequency (Hz)"}
    labels = {axis.get_ylabel() for axis in figure.axes[6:]}
    assert labels == {"level (dB below the mixture's maximum)", "mask (share that is vocals)"}
    assert "a song" in texts(figure)

    def image(axis):
        mesh = axis.collections[0]
        corners = mesh.get_coordinates()
        values = mesh.get_array()
        return (corners[0, :-1, 0] + corners[0, 1:, 0]) / 2, (corners[:-1, 0, 1] + corners[1:, 0, 1]) / 2, values

    seconds, hertz, values = image(panels[0][0])
    assert seconds[0] == pytest.approx(1.0, abs=0.03) and seconds[-1] == pytest.approx(3.0, abs=0.06)  # the middle
    assert 7900 < hertz[-1] < 8000
    middle = values[:, values.shape[1] // 2]
    assert hertz[np.argmax(middle)] == pytest.approx(1000, rel=0.02)
    assert values.max() == pytest.approx(0, abs=1e-3)  # dB below the maximum
    _, _, mask = image(panels[1][0])
    assert mask.min() >= 0 and mask.max() <= 1
    row = np.argmin(np.abs(hertz - 1000))
    np.testing.assert_allclose(mask[row], 1, atol=1e-3)  # the estimate is the mixture
    _, _, none = image(panels[2][0])
    assert not none.any()


def test_a_picture_of_a_track_shorter_than_the_passage(settings):
    figure = spectrograms.separation_picture(
        "short", tone(500, seconds=0.5), tone(500, seconds=0.5), {}, settings.plots
    )
    assert [axis.get_title(loc="left") for axis in figure.axes[:2]] == ["mixture", "true vocals"]


@pytest.mark.parametrize(("name", "part"), [("vocals", "vocals"), ("enhanced", "kept")])
def test_the_mask_of_a_result_says_what_it_lets_through(name, part, settings):
    figure = spectrograms.result_picture("a recording", tone(500), tone(500), settings.plots, name=name)
    assert f"mask (share that is {part})" in {axis.get_ylabel() for axis in figure.axes}


def test_sounds_stand_beside_the_first(settings):
    loud = tone(1000)
    half = ArraySource(loud.read(0, loud.samples) / 2, loud.rate)
    sounds = {"mixture": loud, "vocals": half, "estimate": tone(0), "error": half}
    figure = spectrograms.sounds_picture("a song", sounds, settings.plots)
    assert [axis.get_title(loc="left") for axis in figure.axes[:4]] == list(sounds)
    peaks = [axis.collections[0].get_array().max() for axis in figure.axes[:4]]
    assert peaks == pytest.approx([0, -6.02, -180, -6.02], abs=0.01)  # -180: silence
