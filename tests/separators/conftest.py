"""Fixtures of the tests of separation methods."""

from __future__ import annotations

import numpy as np
import pytest

from svs import networks, separators
from svs.audio.sources import WavSource
from svs.data.synthetic import write_stempeg_song
from svs.networks import archive
from svs.networks.unet_separator import Size
from svs.stems import ACCOMPANIMENT
from tests.helpers.separation import (
    BINS,
    METHODS,
    QUARTER_HOP,
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


@pytest.fixture(scope="session")
def unet(tmp_path_factory):
    """An untrained U-Net that pools eight frames, whose mask takes all values."""
    sizes = {"fold": 4, "channels": 6, "growth": 2, "levels": 3, "blocks": 1, "convolutions": 2, "bottleneck": 8}
    full_band = {"ensemble": 0, "channels": 8, "bottleneck": 8, "blocks": 1}
    size = Size(ensemble=1, max_frequency=16000.0, dropout=0.0, full_band=full_band, **sizes)
    bins = 256
    net = networks.find_network("unet_separator").build(bins, size, np.full(bins, -8.0), np.full(bins, 2.0), seed=2)
    weights = net.get_weights()
    weights[-2] = weights[-2] * 12
    net.set_weights(weights)
    card = {"representation": QUARTER_HOP.model_dump(), "bins": bins, "frames_multiple": 8, "context": size.context}
    folder = tmp_path_factory.mktemp("unet") / "net"
    archive.save(folder, net, card)
    return folder
