"""Separation methods: the masks that the networks predict, and what becomes of them."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from svs import networks, separators
from svs.audio.convert import resample
from svs.audio.sources import WavSource
from svs.config.schema import MethodWiring, Representation
from svs.data.synthetic import write_stempeg_song
from svs.dsp.stft import magnitude, stft
from svs.errors import DataError, ModelError, SettingsError
from svs.networks import archive
from svs.separators.cnn import CNNSeparator
from svs.separators.cnn import Options as CNNOptions
from svs.separators.mixture import Mixture
from svs.separators.oracles import oracle_ibm
from svs.stems import ACCOMPANIMENT

BINS = 257
HALF_RATE = Representation(sample_rate=22050, frame_size=512, win_length=512, hop_length=256)
FULL_RATE = Representation(sample_rate=44100, frame_size=512, win_length=512, hop_length=128)


def options(**changes) -> CNNOptions:
    return CNNOptions(
        **(
            {"gate": 0.15, "mask": "soft", "channels": "shared", "hop": 1, "batch_size": 32, "hpss": False, "wiener": 0}
            | changes
        )
    )


def save(folder, net, label_width, representation=HALF_RATE):
    archive.save(
        folder, net, {"representation": {**representation.model_dump(), "width": 9}, "label_width": label_width}
    )
    return folder


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    """Untrained nets of label width 1 and 9 whose masks take all values (their last layer is turned up)."""
    root = tmp_path_factory.mktemp("nets")
    folders = {}
    for width, name in ((1, "cnn_separator"), (9, "cnn_deep_separator")):
        net = networks.build(name, BINS, 9, width, input_gain=100.0, seed=width)
        weights = net.get_weights()
        weights[-2] = weights[-2] * (4 if width == 1 else 40)
        net.set_weights(weights)
        folders[width] = save(root / str(width), net, width)
    return folders


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    """Two seconds of a real song: float32 (samples, 2) by name."""
    folder = tmp_path_factory.mktemp("song") / "song"
    write_stempeg_song(folder)
    stems = {
        name: WavSource(folder / f"{name}.wav").read(44100, 3 * 44100) for name in ("mixture", "vocals", *ACCOMPANIMENT)
    }
    stems["accompaniment"] = sum(stems[name] for name in ACCOMPANIMENT)
    return stems


def spectrum(song, representation=HALF_RATE, frames=60) -> np.ndarray:
    """Complex (2, bins, frames) of the song."""
    return stft(resample(song["mixture"], 44100, representation.sample_rate).T, representation)[..., :frames]


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


def sdr(true: np.ndarray, estimate: np.ndarray) -> float:
    return 10 * np.log10(np.sum(true**2) / np.sum((true - estimate) ** 2))


# The mask that a network predicts


@pytest.mark.parametrize("label_width, hop", [(1, 1), (9, 1), (9, 2), (9, 3), (9, 9)])
@pytest.mark.parametrize("frames", [1, 5, 40])
def test_mask_equals_one_window_at_a_time(nets, song, label_width, hop, frames):
    """A loop that predicts one window after the other and averages, frame by frame, all that was said of it."""
    heard = magnitude(spectrum(song, frames=frames).mean(axis=0), HALF_RATE)
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
    came = CNNSeparator("net", nets[label_width], options(hop=hop)).mask(heard)
    assert came.shape == (BINS, frames) and came.dtype == np.float32
    np.testing.assert_allclose(came, expected, atol=1e-4)
    assert frames < 40 or expected.max() - expected.min() > 0.3


@pytest.mark.parametrize("batch_size", [1, 7, 200])
def test_the_size_of_a_batch_changes_nothing(nets, song, batch_size):
    heard = magnitude(spectrum(song).mean(axis=0), HALF_RATE)
    expected = CNNSeparator("net", nets[9], options(hop=3)).mask(heard)
    came = CNNSeparator("net", nets[9], options(hop=3, batch_size=batch_size)).mask(heard)
    np.testing.assert_allclose(came, expected, atol=2e-6)


def constant(folder, logit: float, label_width=1):
    """A net that says one logit everywhere."""
    net = networks.build("cnn_separator", BINS, 9, label_width, input_gain=100.0, seed=0)
    weights = [np.zeros_like(weight) for weight in net.get_weights()]
    weights[-1][:] = logit
    net.set_weights(weights)
    return save(folder, net, label_width, FULL_RATE)


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
def test_a_net_that_is_sure_gives_the_mixture_or_silence(tmp_path, song, changes, logit):
    separator = CNNSeparator("net", constant(tmp_path, logit), options(**changes))
    vocals = separator.vocals(song["mixture"], 44100)
    if logit > 0:
        # The Wiener filter is regularised: it gives next to everything.
        np.testing.assert_allclose(vocals, song["mixture"], atol=1e-3 if changes.get("wiener") else 1e-5)
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
def test_gate(tmp_path, song, probability, gate, mask, share):
    folder = constant(tmp_path, np.log(probability / (1 - probability)))
    vocals = CNNSeparator("net", folder, options(gate=gate, mask=mask)).vocals(song["mixture"], 44100)
    np.testing.assert_allclose(vocals, share * song["mixture"], atol=1e-5)


def test_channels_shared_or_each(nets, song):
    """Shared: one mask, from the mean.  Each: a channel's mask does not depend on the other channel."""
    mixture = spectrum(song)
    shared, each = (
        CNNSeparator("net", nets[1], options(gate=0.0, channels=channels)) for channels in ("shared", "each")
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
    vocals = CNNSeparator("net", folder, options(hpss=True)).vocals(tone + click, 44100)
    assert sdr(tone[4096:-4096], vocals[4096:-4096]) > sdr(tone[4096:-4096], (tone + click)[4096:-4096]) + 6


def test_wiener_filter_changes_the_estimate_but_not_the_input(nets, song):
    mixture = song["mixture"].copy()
    plain = CNNSeparator("net", nets[1], options()).vocals(mixture, 44100)
    filtered = CNNSeparator("net", nets[1], options(wiener=1)).vocals(mixture, 44100)
    np.testing.assert_array_equal(mixture, song["mixture"])
    assert np.all(np.isfinite(filtered)) and np.abs(filtered - plain).max() > 1e-3
    assert np.sum(filtered**2) < np.sum(mixture**2) * 1.05


def test_more_frames_between_predictions_than_the_net_predicts_is_refused(nets):
    with pytest.raises(SettingsError, match="hop: 2 frames, but the net predicts 1"):
        CNNSeparator("cnn_separator", nets[1], options(hop=2))
    with pytest.raises(SettingsError, match="hop: 10 frames, but the net predicts 9"):
        CNNSeparator("cnn_deep_separator", nets[9], options(hop=10))


def test_a_net_that_does_not_fit_its_card_is_refused(tmp_path):
    net = networks.build("cnn_separator", 193, 9, 1, seed=0)
    with pytest.raises(ModelError, match="its card says"):
        CNNSeparator("net", save(tmp_path, net, 1), options())


def test_a_missing_net_is_refused(tmp_path):
    with pytest.raises(ModelError, match="no such model"):
        CNNSeparator("net", tmp_path, options())


# Every method


def test_oracle_beats_the_floor_by_far_on_a_real_song(song):
    true = {name: song[name] for name in ("vocals", "accompaniment")}
    fine = Representation(sample_rate=44100, frame_size=4096, win_length=2048, hop_length=512)
    floor = Mixture(0.25).vocals(song["mixture"], 44100)
    for channels in ("shared", "each"):
        oracle = oracle_ibm(fine, channels).vocals(song["mixture"], 44100, true)
        for name, own, other in (
            ("vocals", oracle, floor),
            ("accompaniment", song["mixture"] - oracle, song["mixture"] - floor),
        ):
            assert sdr(song[name], own) > sdr(song[name], other) + 4


def test_oracle_is_the_mixture_where_the_vocals_are_alone(song):
    oracle = oracle_ibm(FULL_RATE, "shared")
    silence = np.zeros_like(song["vocals"])
    alone = oracle.vocals(song["vocals"], 44100, {"vocals": song["vocals"], "accompaniment": silence})
    np.testing.assert_allclose(alone, song["vocals"], atol=1e-5)
    none = oracle.vocals(song["drums"], 44100, {"vocals": silence, "accompaniment": song["drums"]})
    assert not none.any()


def test_what_the_representation_does_not_reach_stays_in_the_accompaniment(song):
    true = {name: song[name] for name in ("vocals", "accompaniment")}
    vocals = oracle_ibm(HALF_RATE, "shared").vocals(song["mixture"], 44100, true)
    assert vocals.shape == song["mixture"].shape

    def high(audio):
        """Energy above 11.5 kHz (the resampling filter has a slope)."""
        power = np.abs(np.fft.rfft(audio * np.hanning(len(audio))[:, None], axis=0)) ** 2
        return power[int(11500 / 22050 * len(power)) :].sum()

    assert high(vocals) < 1e-6 * high(song["mixture"])
    assert high(song["mixture"] - vocals) == pytest.approx(high(song["mixture"]), rel=1e-3)


@pytest.mark.parametrize("rate", [22050, 44100, 48000])
@pytest.mark.parametrize("samples", [1, 300, 5000, 22051])
def test_estimates_are_as_long_as_the_mixture(nets, song, rate, samples):
    mixture = song["mixture"][:samples]
    true = {name: song[name][:samples] for name in ("vocals", "accompaniment")}
    for separator in (
        oracle_ibm(HALF_RATE, "shared"),
        oracle_ibm(FULL_RATE, "each"),
        Mixture(0.25),
        CNNSeparator("net", nets[9], options(hop=9)),
    ):
        vocals = separator.vocals(mixture, rate, true)
        assert vocals.shape == mixture.shape and vocals.dtype == np.float32
        assert np.all(np.isfinite(vocals))


def test_floor_is_a_quarter(song):
    vocals = Mixture(0.25).vocals(song["mixture"], 44100)
    np.testing.assert_array_equal(vocals, song["mixture"] / 4)
    np.testing.assert_array_equal(song["mixture"] - vocals, song["mixture"] * 3 / 4)


# The registry

# tests/test_openunmix.py, tests/test_spleeter.py, tests/test_shared.py, tests/test_unet.py
ELSEWHERE = {"openunmix", "spleeter", "cnn_separator_valid", "cnn_deep_separator_valid", "unet_separator"}


def test_every_method_is_built_from_the_settings(settings, small, nets, tmp_path):
    needs = {
        **settings.methods,
        "cnn_separator": MethodWiring(needs=nets[1]),
        "cnn_deep_separator": MethodWiring(needs=nets[9]),
    }
    assert set(settings.methods) | ELSEWHERE == set(separators.methods())
    with_needs = small.model_copy(update={"methods": needs})
    for name in set(separators.methods()) - ELSEWHERE:
        separator = separators.build(name, with_needs)
        assert separator.name == name and separator.needs_references == (
            name in separators.of_kind(separators.Kind.ORACLE)
        )
    # The ceilings have the spectrogram that the networks are trained on.
    assert {
        separators.build(name, with_needs).representation.frame_size
        for name in separators.of_kind(separators.Kind.ORACLE)
    } == {512}
    with pytest.raises(SettingsError, match="umx: no such method"):
        separators.build("umx", with_needs)
    with pytest.raises((ModelError, DataError)):
        separators.build(
            "cnn_separator", settings.model_copy(update={"methods": {"cnn_separator": MethodWiring(needs=tmp_path)}})
        )


def test_mask_of_a_net_on_its_own_input_is_its_sigmoid(tmp_path):
    """A net that passes its input through: the mask is the sigmoid of the magnitudes, frame by frame."""
    source = keras.Input((BINS, 9, 1))
    net = keras.Model(source, keras.layers.Reshape((BINS, 9))(source))
    heard = np.random.default_rng(0).uniform(0, 4, (BINS, 31)).astype(np.float32)
    for hop in range(1, 10):
        came = CNNSeparator("net", save(tmp_path, net, 9), options(hop=hop)).mask(heard)
        np.testing.assert_allclose(came, sigmoid(heard), atol=1e-6, err_msg=f"hop {hop}")
