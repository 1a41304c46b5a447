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
        ({"codec": "wma"}, "wma: no such format; expected one of wav, flac, mp3, ogg, opus, m4a"),
        ({"bit_depth": "20"}, "bit depth 20 of wav: expected one of float, 24, 16"),
        ({"codec": "flac", "bit_depth": "float"}, "bit depth float of flac: expected one of 24, 16"),
        ({"codec": "mp3", "bit_depth": "16"}, "bit depth 16 of mp3: it has a bit rate instead"),
        ({"bitrate": 128}, "bit rate 128 of wav: it loses nothing; expected one of mp3, ogg, opus, m4a"),
        ({"codec": "opus", "bitrate": 600}, "bit rate 600 of opus: expected 16 to 510 kbit/s"),
        ({"name": "{song}_{part}"}, r"name '{song}_{part}': expected the fields {song}, {method}, {stem}, got {part}"),
        ({"name": "{song!r}/{stem}"}, r"got {song\.\.\.}"),
        ({"name": "{song"}, "expected a template such as {song}/{method}/{stem}"),
        ({"name": "{stem}"}, "expected {song} in it, so that no file replaces another one"),
        ({"name": "{song}"}, "expected {stem} in it"),
        ({"name": "{song}/{stem}", "methods": ("mixture", "hpss")}, "expected {method} in it"),
        ({"name": "../{song}/{stem}"}, "expected names of files below the output folder"),
        ({"methods": ("mixture+magic",)}, "magic: no such method"),
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
