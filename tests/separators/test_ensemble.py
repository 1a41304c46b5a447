"""The mean of several methods, each of which hears a real song at its own rate and level."""

from __future__ import annotations

import numpy as np
import pytest

from svs import separators
from svs.audio.sources import ArraySource
from svs.errors import DataError, SettingsError, UnavailableError
from svs.separators.base import Separator
from svs.separators.chunking import Ensemble, chunks
from svs.separators.mixture import Mixture
from tests.helpers.separation import cnn_options, save_net, separated


class Bent(Separator):
    """Depends on the level of what it hears, and on a neighbour on either side."""

    name, continued = "bent", True

    def __init__(self, rate: int | None, level: float | None):
        self.sample_rate, self.level = rate, level

    def alignment(self, rate):
        return 100

    def context(self, rate):
        return 200

    def vocals(self, mixture, rate, references=None, wanted=None):
        around = np.pad(mixture, ((1, 1), (0, 0)))
        return np.tanh(4 * (around[:-2] + around[1:-1] + around[2:])) / 8


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """A small net at 22,050 Hz that hears songs at a level of its own."""
    import keras

    from svs.networks import archive
    from svs.separators.cnn import CNNSeparator

    layers = [
        keras.layers.Rescaling(300.0),
        keras.layers.ZeroPadding2D((2, 0)),
        keras.layers.Conv2D(1, (5, 9), activation="sigmoid", kernel_initializer=keras.initializers.GlorotNormal(3)),
        keras.layers.Reshape((257, 1)),
    ]
    out = source = keras.Input((257, 9, 1))
    for layer in layers:
        out = layer(out)
    model = keras.Model(source, out)
    folder = save_net(tmp_path_factory.mktemp("nets") / "net", model, 1)
    kept, card = archive.load(folder)
    archive.save(folder, kept, {**card, "level": 0.2})
    return CNNSeparator("net", folder, cnn_options(gate=0.0))


def test_the_mean_of_members_of_other_rates_and_levels(net, song):
    members = [net, Bent(22050, 0.1), Bent(48000, None), Bent(None, 0.3), Mixture(0.25)]
    ensemble, audio = Ensemble("all", members), song["mixture"]
    for chunk in (2.0, 3600.0):
        expected = np.mean([separated(member, audio, 44100, chunk=chunk) for member in members], axis=0)
        came = separated(ensemble, audio, 44100, chunk=chunk)
        assert came.dtype == np.float32 and came.shape == audio.shape
        np.testing.assert_allclose(came, expected, atol=1e-6)
    np.testing.assert_allclose(separated(ensemble, audio, 44100, chunk=2.0), came, atol=2e-5)  # chunked = whole


def test_its_pieces_cover_the_mixture(song):
    ensemble = Ensemble("two", [Bent(8000, None), Bent(None, 0.1)])
    pieces = list(chunks(ensemble, ArraySource(song["mixture"], 44100), 2.0))
    np.testing.assert_array_equal(np.concatenate([mixed for mixed, _ in pieces]), song["mixture"])
    assert all(len(mixed) == len(vocals) for mixed, vocals in pieces)


def test_an_ensemble_by_name(settings, song):
    ensemble = separators.build("mixture+hpss", settings)
    assert ensemble.name == "mixture+hpss" and not ensemble.needs_references
    parts = [separated(separators.build(name, settings), song["mixture"], 44100) for name in ("mixture", "hpss")]
    np.testing.assert_allclose(separated(ensemble, song["mixture"], 44100), (parts[0] + parts[1]) / 2, atol=1e-6)
    oracle = separators.build("oracle_irm+mixture", settings)
    with pytest.raises(DataError, match=r"oracle_irm\+mixture needs the true stems"):
        separated(oracle, song["mixture"], 44100)
    true = {name: song[name] for name in ("vocals", "accompaniment")}
    error = [np.std(separated(each, song["mixture"], 44100, true) - true["vocals"]) for each in (oracle, Mixture(0.25))]
    assert error[0] < 0.8 * error[1]
    for name in ("mixture+", "+", "mixture+magic"):
        with pytest.raises(SettingsError, match="no such method"):
            separators.build(name, settings)


def test_a_device_that_is_not_there(settings):
    for name in ("mixture", "mixture+hpss"):
        assert separators.build(name, settings, device="cpu").name == name
        with pytest.raises(UnavailableError, match="device abacus: expected one of auto, .*cpu"):
            separators.build(name, settings, device="abacus")
