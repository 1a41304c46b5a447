"""Orders, methods that can't run, and which files are recordings."""

from __future__ import annotations

from pathlib import Path

import pytest

from svs.config.project import find_project
from svs.errors import ModelError, SettingsError, UnavailableError
from svs.services import recordings
from svs.services.recordings import Order
from tests.helpers.command import project


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A project without models."""
    return project(tmp_path_factory.mktemp("project"))


@pytest.mark.parametrize(
    "changes, match",
    [
        ({"methods": ("magic",)}, "magic: no such method"),
        ({"codec": "ogg"}, "ogg: no such format"),
        ({"start": -1.0}, "start: expected seconds from 0, got -1"),
        ({"start": float("nan")}, "start: .* got nan"),
        ({"start": float("inf")}, "start: .* got inf"),
        ({"duration": 0.0}, "duration: expected seconds above 0"),
        ({"duration": float("nan")}, "duration: .* got nan"),
        ({"duration": -2.0}, "duration: .* got -2"),
        ({"clip": "shout"}, "clip shout: expected one of rescale, clamp, error"),
        ({"stem": "drums"}, "stem drums: expected one of vocals, accompaniment"),
    ],
)
def test_impossible_orders(changes, match):
    with pytest.raises(SettingsError, match=match):
        Order(**{"methods": ("mixture",), "output": Path("out")} | changes)


def test_methods_that_cannot_run_are_left_out(home, tmp_path):
    some = recordings.Service(find_project(home), Order(("cnn_deep_separator", "mixture", "mixture"), tmp_path))
    assert list(some.methods) == ["mixture"] and list(some.unavailable) == ["cnn_deep_separator"]
    assert "no such model" in str(some.unavailable["cnn_deep_separator"])
    with pytest.raises((ModelError, UnavailableError), match="no such model"):
        recordings.Service(find_project(home), Order(("cnn_deep_separator",), tmp_path))
