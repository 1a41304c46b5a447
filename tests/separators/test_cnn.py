"""The masks that networks predict, and how they become audio."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from svs import networks
from svs.audio.convert import resample
from svs.dsp.stft import magnitude, stft
from svs.errors import ModelError, SettingsError
from svs.networks import archive
from svs.separators.cnn import CNNSeparator
from tests.helpers.separation import (
    BINS,
    FULL_RATE,
    HALF_RATE,
    cnn_options,
    save_net,
    sdr,
    separated,
)


def spectrum(excerpt, representation=HALF_RATE, frames=60) -> np.ndarray:
    """Complex (2, bins, frames) of the excerpt."""
    return stft(resample(excerpt["mixture"], 44100, representation.sample_rate).T, representation)[..., :frames]


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


@pytest.mark.parametrize("label_width, hop", [(1, 1), (9, 1), (9, 2), (9, 3), (9, 9)])
@pytest.mark.parametrize("frames", [1, 5, 40])
def test_mask_equals_one_window_at_a_time(nets, excerpt, label_width, hop, frames):
    """A loop that predicts one window after the other and averages, frame by frame, all that was said of it."""
    heard = magnitude(spectrum(excerpt, frames=frames).mean(axis=0), HALF_RATE)
    model, _ = archive.load(nets[label_width])
    # Silence after the end, so that the last window, a hop after the one before it, has its frames.
    padded = np.concatenate([np.zeros((BINS, 4)), heard, np.zeros((BINS, 4 + hop))], axis=1).astype(np.float32)
    said = [[] for _ in range(frames)]
    for centre in range(hop // 2, -(-frames // hop) * hop, hop):
        prediction = sigmoid(np.asarray(model(padded[None, :, centre : centre + 9, None]))[0])
        if hop == 1:
            said[centre].append(prediction[:, label_width // 2])
            continue
        for column in range(label_width):
            frame = centre + column - label_width // 2
            if 0 <= frame < frames:
                said[frame].append(prediction[:, column])
    expected = np.stack([np.mean(columns, axis=0) for columns in said], axis=1)
    came = CNNSeparator("net", nets[label_width], cnn_options(hop=hop)).mask(heard)
    assert came.shape == (BINS, frames) and came.dtype == np.float32
    np.testing.assert_allclose(came, expected, atol=1e-4)
    assert frames < 40 or expected.max() - expected.min() > 0.3


def test_estimates_of_several_pitches_are_averaged(nets, excerpt, tmp_path):
    audio = resample(excerpt["mixture"], 44100, HALF_RATE.sample_rate)[:12000]

    def vocals(*semitones: float) -> np.ndarray:
        return CNNSeparator("net", nets[1], cnn_options(semitones=semitones)).vocals(audio, HALF_RATE.sample_rate)

    np.testing.assert_allclose(vocals(0.0, 2.0, 5.0), (vocals(0.0) + vocals(2.0) + vocals(5.0)) / 3, atol=1e-6)
    assert np.abs(vocals(2.0) - vocals(0.0)).max() > 1e-3
    with pytest.raises(SettingsError, match=f"net.semitones: -1 does not go with this net: it takes {BINS} bins, of"):
        finer = save_net(tmp_path, archive.load(nets[1])[0], 1, FULL_RATE)
        CNNSeparator("net", finer, cnn_options(semitones=(-1.0,)))
    with pytest.raises(
        SettingsError, match="semitones: -1 does not go with this net: hop_length 256 is more than"
    ) as told:
        vocals(-1.0)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("batch_size", [1, 7, 200])
def test_the_size_of_a_batch_changes_nothing(nets, excerpt, batch_size):
    heard = magnitude(spectrum(excerpt).mean(axis=0), HALF_RATE)
    expected = CNNSeparator("net", nets[9], cnn_options(hop=3)).mask(heard)
    came = CNNSeparator("net", nets[9], cnn_options(hop=3, batch_size=batch_size)).mask(heard)
    np.testing.assert_allclose(came, expected, atol=2e-6)


def constant(folder, logit: float, label_width=1):
    """A net that says one logit everywhere."""
    net = networks.build("cnn_separator", BINS, 9, label_width, input_gain=100.0, seed=0)
    weights = [np.zeros_like(weight) for weight in net.get_weights()]
    weights[-1][:] = logit
    net.set_weights(weights)
    return save_net(folder, net, label_width, FULL_RATE)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize(
    "changes, logit",
    [
        ({}, np.inf),
        ({}, 1000.0),
        ({}, -1000.0),
        ({}, -np.inf),
        ({"mask": "hard"}, np.inf),
        ({"mask": "hard"}, -np.inf),
        ({"channels": "each"}, np.inf),
        ({"wiener": 1}, np.inf),
        ({"wiener": 1}, -np.inf),
    ],
    ids=str,
)
def test_a_net_that_is_sure_gives_the_mixture_or_silence(tmp_path, excerpt, changes, logit):
    separator = CNNSeparator("net", constant(tmp_path, logit), cnn_options(**changes))
    vocals = separator.vocals(excerpt["mixture"], 44100)
    if logit > 0:
        # The Wiener filter is regularised: it gives next to everything.
        np.testing.assert_allclose(vocals, excerpt["mixture"], atol=1e-3 if changes.get("wiener") else 1e-5)
    else:
        assert np.abs(vocals).max() < 1e-6


@pytest.mark.parametrize(
    "probability, gate, mask, share",
    [
        (0.3, 0.15, "soft", 0.3),
        (0.1, 0.15, "soft", 0.0),
        (0.3, 0.15, "hard", 1.0),
        (0.1, 0.15, "hard", 0.0),
        (0.1, 0.0, "soft", 0.1),
        (0.3, 0.5, "soft", 0.0),
        (0.7, 0.5, "hard", 1.0),
    ],
)
def test_gate(tmp_path, excerpt, probability, gate, mask, share):
    folder = constant(tmp_path, np.log(probability / (1 - probability)))
    vocals = CNNSeparator("net", folder, cnn_options(gate=gate, mask=mask)).vocals(excerpt["mixture"], 44100)
    np.testing.assert_allclose(vocals, share * excerpt["mixture"], atol=1e-5)


def test_channels_shared_or_each(nets, excerpt):
    """Shared: one mask, from the mean.  Each: a channel's mask does not depend on the other channel."""
    mixture = spectrum(excerpt)
    shared, each = (
        CNNSeparator("net", nets[1], cnn_options(gate=0.0, channels=channels)) for channels in ("shared", "each")
    )
    estimate = shared.estimate(mixture, {})
    mask = shared.mask(magnitude(mixture.mean(axis=0), HALF_RATE))
    np.testing.assert_allclose(estimate, mixture * mask, atol=1e-5)
    separate = each.estimate(mixture, {})
    for channel in (0, 1):
        alone = each.estimate(mixture[channel : channel + 1], {})
        np.testing.assert_allclose(separate[channel], alone[0], atol=1e-4)
    assert np.abs(separate - estimate).max() > 0.1


def test_harmonic_post_processing_drops_a_click_and_keeps_a_tone(tmp_path):
    folder = constant(tmp_path, np.inf)
    time = np.arange(44100) / 44100
    tone = 0.3 * np.sin(2 * np.pi * 1378.125 * time)[:, None].repeat(2, axis=1).astype(np.float32)
    click = np.zeros_like(tone)
    click[22050] = 0.9
    vocals = CNNSeparator("net", folder, cnn_options(hpss=True)).vocals(tone + click, 44100)
    assert sdr(tone[4096:-4096], vocals[4096:-4096]) > sdr(tone[4096:-4096], (tone + click)[4096:-4096]) + 6


def test_wiener_filter_changes_the_estimate_but_not_the_input(nets, excerpt):
    mixture = excerpt["mixture"].copy()
    plain = separated(CNNSeparator("net", nets[1], cnn_options()), mixture, 44100)
    filtered = separated(CNNSeparator("net", nets[1], cnn_options(wiener=1)), mixture, 44100)
    np.testing.assert_array_equal(mixture, excerpt["mixture"])
    assert np.all(np.isfinite(filtered)) and np.abs(filtered - plain).max() > 1e-3
    assert np.sum(filtered**2) < np.sum(mixture**2) * 1.05


def test_more_frames_between_predictions_than_the_net_predicts_is_refused(nets):
    with pytest.raises(SettingsError, match="hop: 2 frames, but the net predicts 1"):
        CNNSeparator("cnn_separator", nets[1], cnn_options(hop=2))
    with pytest.raises(SettingsError, match="hop: 10 frames, but the net predicts 9"):
        CNNSeparator("cnn_deep_separator", nets[9], cnn_options(hop=10))


def test_a_net_that_does_not_fit_its_card_is_refused(tmp_path):
    net = networks.build("cnn_separator", 193, 9, 1, seed=0)
    with pytest.raises(ModelError, match="its card says"):
        CNNSeparator("net", save_net(tmp_path, net, 1), cnn_options())


def test_a_missing_net_is_refused(tmp_path):
    with pytest.raises(ModelError, match="no such model"):
        CNNSeparator("net", tmp_path, cnn_options())


def test_mask_of_a_net_on_its_own_input_is_its_sigmoid(tmp_path):
    """A net that passes its input through: the mask is the sigmoid of the magnitudes, frame by frame."""
    source = keras.Input((BINS, 9, 1))
    net = keras.Model(source, keras.layers.Reshape((BINS, 9))(source))
    heard = np.random.default_rng(0).uniform(0, 4, (BINS, 31)).astype(np.float32)
    for hop in range(1, 10):
        came = CNNSeparator("net", save_net(tmp_path, net, 9), cnn_options(hop=hop)).mask(heard)
        np.testing.assert_allclose(came, sigmoid(heard), atol=1e-6, err_msg=f"hop {hop}")
