"""Training curves."""

from __future__ import annotations

import pytest

from svs.figures import training
from tests.helpers.figures import curve


def test_training_curves():
    figure = training.training_curves({"a": curve(3, 1, 2), "b": curve(5, 4)}, {"a": 0.5})
    first, second = figure.axes
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["a", "b"]
    losses = {line.get_label(): list(line.get_ydata()) for line in first.lines}
    assert losses["training"] == [3, 1, 2] and losses["validation, best 1.1000"] == pytest.approx([3.1, 1.1, 2.1])
    assert losses["dissertation's validation"] == [0.5, 0.5]
    assert "dissertation's validation" not in [line.get_label() for line in second.lines]
    (best,) = [line for line in first.lines if line.get_fillstyle() == "none"]
    assert best.get_xydata().tolist() == [[2, 1.1]]  # the best epoch, not the last
    assert first.get_xlabel() == "epoch" and "(nats)" in first.get_ylabel()
