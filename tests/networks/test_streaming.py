"""Nets over whole spectrograms: the same mask as window by window, for every net of the family, and no other net."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import stempeg

from benchmarks.inference import multiply_adds
from svs import networks
from svs.config.schema import Representation
from svs.dsp.stft import magnitude, stft
from svs.networks import archive, inference, streaming
from svs.networks.windows import predictions
from svs.separators.cnn import CNNSeparator
from svs.separators.cnn import Options as CNNOptions
from tests.helpers.separation import OnKeras

FULL = Representation(sample_rate=44100, frame_size=4096, win_length=2048, hop_length=512)
SMALL = Representation(sample_rate=44100, frame_size=512, win_length=512, hop_length=128)
LABELS = {"cnn_separator": 1, "cnn_deep_separator": 9, "cnn_separator_valid": 1, "cnn_deep_separator_valid": 1}


def saved(folder, net, label_width, representation=SMALL, width=9):
    """The net with a last layer turned up and random batch norm terms, so that its mask takes all values."""
    rng = np.random.default_rng(3)
    weights = [
        weight if weight.ndim > 1 else rng.uniform(0.5, 1.5, weight.shape) * rng.choice([-1, 1], weight.shape)
        for weight in net.get_weights()
    ]
    for layer in net.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            place = next(i for i, weight in enumerate(net.weights) if weight is layer.moving_variance)
            weights[place] = np.abs(weights[place])
    weights[-1] *= 0.1
    net.set_weights(weights)
    archive.save(
        folder, net, {"representation": {**representation.model_dump(), "width": width}, "label_width": label_width}
    )
    return folder


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """Folder of a net, by name and size."""
    root, made = tmp_path_factory.mktemp("nets"), {}

    def make(name, representation=SMALL):
        key = name, representation.bins
        if key not in made:
            built = networks.build(name, representation.bins, 9, LABELS[name], input_gain=100.0, seed=1)
            made[key] = saved(root / f"{name}-{representation.bins}", built, LABELS[name], representation)
        return made[key]

    return make


@pytest.fixture(scope="module")
def song():
    """A real song: float32 (samples,), mono."""
    audio, rate = stempeg.read_stems(stempeg.example_stem_path(), stem_id=0)
    assert rate == 44100
    return audio.mean(axis=1).astype(np.float32)


def evaluated(folder, hop=1):
    return streaming.Evaluation(inference.read(folder)[0], hop)


def windows(folder, spectrum, width=9, hop=1):
    """On Keras, window after window: centre frames; further apart, the mean of all predictions."""
    model, card = archive.load(folder)
    frames, label_width = spectrum.shape[1], card["label_width"]
    padded = np.pad(spectrum, ((0, 0), (0, -frames % hop)))
    centres = np.arange(hop // 2, padded.shape[1], hop)
    masks = np.concatenate([mask for _, mask in predictions(OnKeras(model), padded, width, centres, 16)])
    if hop == 1:
        return masks[..., label_width // 2].T
    said = [[] for _ in range(frames)]
    for centre, mask in zip(centres, masks, strict=True):
        for column in range(label_width):
            if 0 <= (frame := centre + column - label_width // 2) < frames:
                said[frame].append(mask[:, column])
    return np.stack([np.mean(each, axis=0) for each in said], axis=1)


@pytest.mark.parametrize("name", LABELS)
def test_both_nets_of_full_size_at_both_ends_of_a_song(name, net, song):
    spectrum = magnitude(stft(song, FULL), FULL)
    folder = net(name, FULL)
    evaluation = evaluated(folder)
    whole = evaluation(spectrum[:, :200], 16)
    assert whole.dtype == np.float32 and whole.shape == (2049, 200)
    # Windows around frame 0, and at the end of the song, where silence follows.
    np.testing.assert_allclose(whole[:, :20], windows(folder, spectrum[:, :24])[:, :20], atol=1e-5)
    end = windows(folder, spectrum[:, -40:])[:, 4:]
    np.testing.assert_allclose(evaluation(spectrum[:, -120:], 16)[:, -36:], end, atol=1e-5)
    assert end.std() > 0.01, "the net says next to nothing"


@pytest.mark.parametrize("name", LABELS)
@pytest.mark.parametrize("frames", [1, 2, 5, 8, 9, 40])
@pytest.mark.parametrize("block", [1, 2, 3, 16, 64])
def test_any_length_in_blocks_of_any_size(name, frames, block, net, song):
    spectrum = magnitude(stft(song, SMALL), SMALL)[:, 1000 : 1000 + frames]
    evaluation = evaluated(net(name))
    np.testing.assert_allclose(evaluation(spectrum, block), windows(net(name), spectrum), atol=1e-5)


@pytest.mark.parametrize("hop", [2, 3, 4, 5, 8, 9])
@pytest.mark.parametrize("frames", [1, 9, 40])
@pytest.mark.parametrize("block", [1, 16, 64])
def test_windows_that_are_several_frames_apart(hop, frames, block, net, song):
    spectrum = magnitude(stft(song, SMALL), SMALL)[:, 1000 : 1000 + frames]
    folder = net("cnn_deep_separator")
    evaluation = evaluated(folder, hop)
    np.testing.assert_allclose(evaluation(spectrum, block), windows(folder, spectrum, hop=hop), atol=1e-5)


@pytest.mark.parametrize("hop", [3, 9])
def test_a_net_of_full_size_several_frames_apart(hop, net, song):
    spectrum = magnitude(stft(song, FULL), FULL)[:, :40]
    folder = net("cnn_deep_separator", FULL)
    came = evaluated(folder, hop)(spectrum, 16)
    np.testing.assert_allclose(came, windows(folder, spectrum, hop=hop), atol=1e-5)
    assert came.std() > 0.01, "the net says next to nothing"


@pytest.mark.slow
@pytest.mark.parametrize("name", LABELS)
def test_previews_in_chunks(name, previews, net):
    """Real music through the separator's own chunks: their seams are those of windows."""
    path = sorted(previews.glob("test/*.stem.mp4"))[0]
    audio = stempeg.read_stems(str(path), stem_id=0)[0].mean(axis=1).astype(np.float32)
    spectrum = magnitude(stft(audio, FULL), FULL)[:, :160]
    separator = CNNSeparator(name, net(name, FULL), options())
    expected = windows(net(name, FULL), spectrum)
    np.testing.assert_allclose(separator.mask(spectrum), expected, atol=1e-5)
    # A chunk has four frames of context on either side.
    chunks = [separator.mask(spectrum[:, :84])[:, :80], separator.mask(spectrum[:, 76:])[:, 4:]]
    np.testing.assert_allclose(np.concatenate(chunks, axis=1), expected, atol=1e-5)


def options(**changes) -> CNNOptions:
    return CNNOptions(
        **(
            {
                "gate": 0.15,
                "mask": "soft",
                "channels": "shared",
                "hop": 1,
                "batch_size": 16,
                "hpss": False,
                "wiener": 0,
                "semitones": (0.0,),
            }
            | changes
        )
    )


def test_the_same_bytes_in_each_run_and_after_another_song(net, song):
    spectrum = magnitude(stft(song, SMALL), SMALL)[:, 1000:1100]
    evaluation = evaluated(net("cnn_deep_separator"))
    first = evaluation(spectrum, 16)
    evaluation(spectrum[:, ::-1], 7)
    np.testing.assert_array_equal(evaluation(spectrum, 16), first)
    np.testing.assert_array_equal(evaluated(net("cnn_deep_separator"))(spectrum, 16), first)


def family(kernels, *, width=7, label_width=3, pools=(), normalised=(), activation=True, same=True):
    """Another net of the family: 33 bins, a convolution for each kernel."""
    tensor = source = keras.Input((33, width, 1))
    for index, (filters, kernel) in enumerate(kernels):
        if not same:
            tensor = keras.layers.ZeroPadding2D((((kernel[0] - 1) // 2, kernel[0] // 2), (0, 0)))(tensor)
        tensor = keras.layers.Conv2D(filters, kernel, padding="same" if same else "valid")(tensor)
        if index in normalised:
            tensor = keras.layers.BatchNormalization()(tensor)
        if activation:
            tensor = keras.layers.LeakyReLU(negative_slope=0.2)(tensor)
        if index in pools:
            tensor = keras.layers.MaxPooling2D((pools[index], 1))(tensor)
    tensor = keras.layers.Dense(33 * label_width)(keras.layers.Dropout(0.3)(keras.layers.Flatten()(tensor)))
    return keras.Model(source, keras.layers.Reshape((33, label_width))(tensor))


@pytest.mark.parametrize(
    "made",
    [
        dict(kernels=[(4, (5, 3))]),
        dict(kernels=[(4, (5, 3)), (3, (4, 5))], pools={0: 3}),
        dict(kernels=[(4, (3, 5)), (5, (12, 3)), (2, (1, 1))], normalised=(1, 2), pools={1: 5, 2: 2}),
        dict(kernels=[(4, (6, 2)), (3, (6, 4))]),
        dict(kernels=[(4, (3, 3))] * 3, width=3, label_width=1, activation=False),
        dict(kernels=[(4, (3, 3))] * 2, width=1, label_width=1),
        dict(kernels=[(2, (2, 9)), (3, (2, 9))], width=5),
        dict(kernels=[(4, (5, 3)), (3, (4, 2))], pools={0: 3}, same=False),
        dict(kernels=[(4, (3, 5)), (5, (12, 3)), (2, (1, 1))], normalised=(1, 2), pools={1: 5, 2: 2}, same=False),
    ],
    ids=str,
)
def test_any_net_of_the_family(made, tmp_path):
    made = {"width": 7, "label_width": 3} | made
    folder = saved(tmp_path / "net", family(**made), made["label_width"], width=made["width"])
    spectrum = np.random.default_rng(0).uniform(0, 1, (33, 25)).astype(np.float32)
    for hop in range(1, made["label_width"] + 1):
        expected = windows(folder, spectrum, made["width"], hop)
        evaluation = evaluated(folder, hop)
        for block in (1, 4, 32):
            np.testing.assert_allclose(evaluation(spectrum, block), expected, atol=1e-5)


@pytest.mark.parametrize(
    "name, hop, millions",
    [
        ("cnn_deep_separator", 1, 163.6),
        ("cnn_separator", 1, 200.1),
        ("cnn_deep_separator_valid", 1, 55.2),
        ("cnn_separator_valid", 1, 60.2),
        ("cnn_deep_separator", 3, 92.4),
        ("cnn_deep_separator", 9, 50.4),
    ],
)
def test_arithmetic(name, hop, millions, net):
    """`facts`: 163.6 and 200.1 million; kernels of twelve bins are computed at one bin more."""
    assert multiply_adds(evaluated(net(name, FULL), hop), hop) / 1e6 == pytest.approx(millions, rel=0.005)


def stranger(kind):
    source = keras.Input((257, 9, 1))
    if kind == "reshape":
        return keras.Model(source, keras.layers.Reshape((257, 9))(source))
    layers = {
        "valid": [keras.layers.Conv2D(2, 3)],
        "no bias": [keras.layers.Conv2D(2, 3, padding="same", use_bias=False)],
        "norm without scale": [keras.layers.Conv2D(2, 3, padding="same"), keras.layers.BatchNormalization(scale=False)],
        "padded pool": [keras.layers.Conv2D(2, 3, padding="same"), keras.layers.MaxPooling2D((3, 1), padding="same")],
        "padded over time": [keras.layers.ZeroPadding2D(((1, 1), (1, 1))), keras.layers.Conv2D(2, 3)],
        "padding alone": [
            keras.layers.ZeroPadding2D(((1, 1), (0, 0))),
            keras.layers.LeakyReLU(),
            keras.layers.Conv2D(2, 3),
        ],
        "valid and same": [
            keras.layers.ZeroPadding2D(((1, 1), (0, 0))),
            keras.layers.Conv2D(2, 3),
            keras.layers.Conv2D(2, 3, padding="same"),
        ],
        "strides": [keras.layers.Conv2D(2, 3, strides=2, padding="same")],
        "pool over time": [keras.layers.Conv2D(2, 3, padding="same"), keras.layers.MaxPooling2D((3, 3))],
        "activation": [keras.layers.Conv2D(2, 3, padding="same", activation="elu")],
        "dilation": [keras.layers.Conv2D(2, 3, dilation_rate=2, padding="same")],
        "norm first": [keras.layers.BatchNormalization(), keras.layers.Conv2D(2, 3, padding="same")],
        "another layer": [keras.layers.Conv2D(2, 3, padding="same"), keras.layers.GaussianNoise(0.1)],
    }.get(kind, [])
    tensor = source
    for layer in layers:
        tensor = layer(tensor)
    if kind == "branches":
        tensor = keras.layers.Conv2D(1, 3, padding="same")(tensor)
        tensor = keras.layers.Add()([tensor, source])
    tensor = keras.layers.Dense(257)(keras.layers.Flatten()(tensor))
    return keras.Model(source, keras.layers.Reshape((257, 1))(tensor))


@pytest.mark.parametrize(
    "kind",
    [
        "reshape",
        "padded over time",
        "padding alone",
        "strides",
        "pool over time",
        "padded pool",
        "activation",
        "dilation",
        "no bias",
        "norm first",
        "branches",
    ],
)
def test_another_net_goes_window_by_window(kind, tmp_path):
    label_width = 9 if kind == "reshape" else 1
    archive.save(
        tmp_path / "net",
        stranger(kind),
        {"representation": {**SMALL.model_dump(), "width": 9}, "label_width": label_width},
    )
    with pytest.raises(streaming.Unshareable):
        evaluated(tmp_path / "net")
    spectrum = np.random.default_rng(0).uniform(0, 0.1, (257, 11)).astype(np.float32)
    came = CNNSeparator("net", tmp_path / "net", options()).mask(spectrum)
    np.testing.assert_allclose(came, windows(tmp_path / "net", spectrum), atol=1e-6)


@pytest.mark.parametrize("kind", ["valid", "valid and same", "norm without scale", "another layer"])
def test_other_chains_are_shared_too(kind, tmp_path):
    archive.save(
        tmp_path / "net", stranger(kind), {"representation": {**SMALL.model_dump(), "width": 9}, "label_width": 1}
    )
    spectrum = np.random.default_rng(0).uniform(0, 0.1, (257, 11)).astype(np.float32)
    came = evaluated(tmp_path / "net")(spectrum, 4)
    np.testing.assert_allclose(came, windows(tmp_path / "net", spectrum), atol=1e-5)


def test_the_bytes_do_not_depend_on_the_number_of_cores(net, song, monkeypatch):
    spectrum = magnitude(stft(song[: 128 * 1200], SMALL), SMALL)
    evaluation = evaluated(net("cnn_separator"))
    several = evaluation(spectrum, 16)
    monkeypatch.setattr(inference, "cores", lambda: 1)
    assert evaluation(spectrum, 16).tobytes() == several.tobytes()
