"""All nets at every rate: the same in chunks, at the ends as inside a song, shifted in time, at any gain."""

from __future__ import annotations

from copy import copy
from itertools import product

import numpy as np
import pytest

from svs.audio.convert import resample
from svs.dsp.continuation import continuation
from svs.separators.cnn import CNNSeparator
from svs.separators.unet_separator import UNetSeparator
from tests.helpers.separation import cnn_options, separated

NETS = ("cnn", "cnn of nine frames", "unet")
RATES = (44100, 16000, 48000, 22050, 8000, 32000, 96000)


@pytest.fixture(scope="module")
def net(nets, unet):
    """A net by name; with a level it hears every recording at that."""
    built = {
        "cnn with a gate": CNNSeparator("net", nets[1], cnn_options()),
        "cnn": CNNSeparator("net", nets[1], cnn_options(gate=0.0)),
        "cnn of nine frames": CNNSeparator("net", nets[9], cnn_options(gate=0.0, hop=9, channels="each")),
        "unet": UNetSeparator("unet_separator", unet),
    }

    def make(name, level=None):
        separator = copy(built[name])
        separator.level = level
        return separator

    return make


@pytest.mark.parametrize("name, rate", [*(("unet", rate) for rate in RATES), *product(NETS[:2], RATES[::2])])
def test_chunks_are_as_the_whole_at_every_rate(net, song, name, rate):
    audio = resample(song["mixture"], 44100, rate)[rate : 5 * rate // 2 + 77]
    whole = separated(net(name, 0.1), audio, rate)
    np.testing.assert_allclose(separated(net(name, 0.1), audio, rate, chunk=0.6), whole, atol=1e-5)
    assert np.abs(whole).max() > 0.02 and np.abs(audio - whole).max() > 0.02


def edges(came, expected, rate):
    """Level of the first and of the last 30 ms beside that which is expected."""
    length = round(0.03 * rate)
    for edge in (slice(0, length), slice(-length, None)):
        yield np.linalg.norm(came[edge]) / np.linalg.norm(expected[edge])


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
@pytest.mark.parametrize("name", NETS)
def test_the_ends_are_as_inside_a_song_that_goes_on_like_that(net, song, name, rate):
    """For each number of frames over a multiple of those that are pooled, in one chunk and in two."""
    audio, separator = resample(song["mixture"], 44100, rate)[rate : 3 * rate // 2], net(name)
    # The longer song begins before by a multiple of the net's frames, as nearly as the rate allows.
    step = separator.alignment(rate) / separator.sample_rate * rate
    more = round(np.ceil(0.2 * rate / step) * step)
    for over in range(8) if name == "unet" else (0, 3):
        piece = audio[: len(audio) - round(over * 256 * rate / 44100) - 77]
        before, after = continuation(piece[::-1], more, rate)[::-1], continuation(piece, more, rate)
        expected = separated(separator, np.concatenate([before, piece, after]), rate)[more : more + len(piece)]
        for chunk in (10.0, 0.3):
            came = separated(separator, piece, rate, chunk=chunk)
            assert [*edges(came, expected, rate)] == pytest.approx([1, 1], rel=0.05)


def test_the_ends_of_passages_are_as_in_the_song(net, song):
    """What really follows is unknown, so the level at an end varies by some dB; but it is not lower or higher."""
    audio, separator, ratios = song["mixture"], net("unet"), []
    whole = separated(separator, audio, 44100)
    for number in range(16):  # the number of frames over a multiple of eight is 0 to 7, twice
        first = 44100 + number * 8 * 1024
        last = first + 44100 // 2048 * 2048 + number * 256 + 99
        ratios.append([*edges(separated(separator, audio[first:last], 44100), whole[first:last], 44100)])
    assert [*np.median(ratios, axis=0)] == pytest.approx([1, 1], rel=0.05), ratios
    assert np.min(ratios) > 0.5 and np.max(ratios) < 2


@pytest.mark.parametrize("name", NETS)
def test_a_shift_by_whole_frames_shifts_the_estimate(net, song, name):
    audio, separator = song["mixture"][44100:132300], net(name)
    step, context = separator.alignment(44100) * 44100 // separator.sample_rate, 30000
    shift = 5 * step
    whole, part = separated(separator, audio, 44100), separated(separator, audio[shift:], 44100)
    np.testing.assert_allclose(part[context:], whole[shift + context :], atol=1e-5)
    # Silence before a song changes neither the level nor, after the sound of its beginning, the estimate.
    quiet = np.concatenate([np.zeros((4410 * step // np.gcd(4410, step), 2), np.float32), audio])
    came = separated(net(name, 0.1), quiet, 44100)[len(quiet) - len(audio) :]
    np.testing.assert_allclose(came[context:], separated(net(name, 0.1), audio, 44100)[context:], atol=1e-4)


@pytest.mark.parametrize("gain", [0.01, 0.3, 10.0])
@pytest.mark.parametrize("name", [*NETS, "cnn with a gate"])
def test_a_net_hears_a_recording_at_any_gain_alike(net, excerpt, name, gain):
    audio, separator = excerpt["mixture"], net(name, 0.1)
    expected = separated(separator, audio, 44100)
    came = separated(separator, np.float32(gain) * audio, 44100, chunk=0.7)
    np.testing.assert_allclose(came / gain, expected, atol=1e-4)
    unknown = separated(net(name), np.float32(gain) * audio, 44100)  # as a net of an earlier version
    assert np.abs(unknown / gain - expected).max() > 1e-3


@pytest.mark.parametrize("name", NETS)
def test_a_net_leaves_silence_alone(net, name):
    assert not separated(net(name, 0.1), np.zeros((30000, 2), np.float32), 48000).any()
