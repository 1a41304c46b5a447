"""Where frames lie in time: what becomes silence, what is left out, what is not believed."""

import numpy as np
import pytest

from svs.audio.reading import timeline
from svs.audio.reading.timeline import Timeline

FRAME = 0.02


def placed(times, start=None, frame=FRAME):
    """Where each frame begins (s) on the timeline, and the timeline."""
    line = Timeline(start)
    end, begins = 0.0, []
    for time in times:
        due = line.step(time, frame)
        begins.append(end + max(due, 0.0))
        end += frame + due
    return np.array(begins), line


def test_frames_that_follow_each_other():
    times = 3600 + FRAME * np.arange(1000)
    begins, line = placed(times)
    np.testing.assert_allclose(begins, times - 3600, atol=1e-6)
    assert line.notes() == []
    rounded, line = placed(np.round(times, 2))  # to 10 ms
    np.testing.assert_allclose(rounded, times - 3600, atol=1e-6)
    assert line.notes() == []


def test_frames_without_timestamps():
    begins, line = placed([None] * 5 + [1.0, None, None, 1.0 + 3 * FRAME])
    np.testing.assert_allclose(begins, FRAME * np.arange(9), atol=1e-6)
    assert line.notes() == []


def test_a_gap_and_a_late_start():
    times = np.concatenate([0.5 + FRAME * np.arange(50), 4 + FRAME * np.arange(50)])
    begins, line = placed(times, start=0.0)
    np.testing.assert_allclose(begins, times, atol=1e-6)
    assert line.notes() == [
        "its sound begins 0.50 s after the picture: silence was put before it",
        "a gap of 2.50 s in its timestamps became silence",
    ]
    np.testing.assert_allclose(placed(times)[0], times - 0.5, atol=1e-6)  # alone it begins the timeline
    assert placed(times, start=2.0)[1].delay == 0.0  # what begins before the picture


def test_lost_frames_add_up():
    """One lost frame is below what anybody sees; many would be heard beside a picture."""
    times = np.delete(FRAME * np.arange(1000), np.arange(100, 1000, 100))
    begins, line = placed(times)
    assert np.abs(begins - times).max() < 0.05
    assert line.gaps == 3 and line.silence == pytest.approx(9 * FRAME, rel=0.01)


def test_jitter_and_a_drifting_clock_are_no_gaps():
    times = FRAME * np.arange(5000)
    jitter = np.random.default_rng(0).uniform(-0.02, 0.02, len(times))
    for shaken in (times + jitter, times * 1.0001):
        begins, line = placed(shaken)
        np.testing.assert_allclose(begins, times, atol=1e-6)
        assert line.notes() == []


def test_an_overlap_is_left_out_once():
    times = np.concatenate([FRAME * np.arange(50), 0.9 + FRAME * np.arange(50)])  # 0.1 s twice
    begins, line = placed(times)
    assert begins[-1] == pytest.approx(times[-1], abs=1e-5)
    assert line.notes() == ["0.10 s that overlap what is before them were left out"]


def test_joined_recordings_and_broken_timestamps():
    joined = np.concatenate([FRAME * np.arange(100), FRAME * np.arange(100)])
    broken = np.concatenate([FRAME * np.arange(100), 1e6 + FRAME * np.arange(100)])
    for times, skipped in ((joined, 0.0), (broken, 1e6 - 2.0)):
        begins, line = placed(times)
        np.testing.assert_allclose(begins, FRAME * np.arange(200), atol=1e-6)
        assert line.notes() == ["its timestamps jump by too much to be true in 1 place(s): joined there without a gap"]
        assert line.skipped == pytest.approx(skipped, abs=1e-3)
    assert placed([1e6], start=0.0)[1].delay == 0.0


def test_gaps_cannot_fill_the_disk():
    begins, line = placed(500.0 * np.arange(1000))
    assert begins[-1] < 3600 + 1000 * FRAME + 500 and line.silence <= 3600
    assert line.jumps > 900
    assert timeline.LONGEST == 600
