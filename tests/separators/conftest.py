"""Fixtures of the tests of separation methods."""

from __future__ import annotations

import pytest

from svs import networks, separators
from svs.audio.sources import WavSource
from svs.data.synthetic import write_stempeg_song
from svs.stems import ACCOMPANIMENT
from tests.helpers.separation import (
    BINS,
    METHODS,
    save_net,
)


@pytest.fixture(scope="module")
def built(settings):
    """`built(name, authors={"distance": 0.3}, reach=2.0)`: a method with some of its options changed."""

    def build(name, **changes):
        method, variant = METHODS[name]
        options = settings.model_dump()
        group = options["separate"][method]
        if variant:
            group["variant"] = variant
        for key, value in changes.items():
            group[key] = {**group[key], **value} if isinstance(value, dict) else value
        return separators.build(method, type(settings).model_validate(options))

    return build


@pytest.fixture(scope="session")
def stems(tmp_path_factory):
    """The real song that stempeg ships (6 s): float32 (samples, 2) by name."""
    folder = tmp_path_factory.mktemp("song") / "song"
    write_stempeg_song(folder)
    files = {name: WavSource(folder / f"{name}.wav") for name in ("mixture", "vocals", *ACCOMPANIMENT)}
    audio = {name: file.read(0, file.samples) for name, file in files.items()}
    return audio | {"accompaniment": sum(audio[name] for name in ACCOMPANIMENT)}


@pytest.fixture(scope="session")
def song(stems):
    """The song's mixture, vocals and accompaniment."""
    return {name: stems[name] for name in ("mixture", "vocals", "accompaniment")}


@pytest.fixture(scope="session")
def excerpt(stems):
    """Two seconds of the song."""
    return {name: audio[44100 : 3 * 44100] for name, audio in stems.items()}


@pytest.fixture(scope="session")
def nets(tmp_path_factory):
    """Untrained nets of label width 1 and 9 whose masks take all values (their last layer is turned up)."""
    root = tmp_path_factory.mktemp("nets")
    folders = {}
    for width, name in ((1, "cnn_separator"), (9, "cnn_deep_separator")):
        net = networks.build(name, BINS, 9, width, input_gain=100.0, seed=width)
        weights = net.get_weights()
        weights[-2] = weights[-2] * (4 if width == 1 else 40)
        net.set_weights(weights)
        folders[width] = save_net(root / str(width), net, width)
    return folders
