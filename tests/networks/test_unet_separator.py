"""The U-Net separator: its mixtures, its loss, its training and what it separates."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import keras
import musdb
import numpy as np
import pytest
import zarr

from benchmarks import ablation
from svs import networks, separators
from svs.audio.sources import ArraySource, WavSource
from svs.config import project
from svs.config.schema import MethodWiring
from svs.data import synthetic
from svs.data.dataset import Dataset, Manifest
from svs.errors import DataError, ModelError, SettingsError
from svs.features import extraction
from svs.features.store import Stems
from svs.networks import archive, unet_separator
from svs.networks.unet_separator import Options as UNetTraining
from svs.networks.unet_separator import Size
from svs.runtime.files import Scratch
from svs.separators import chunking
from svs.separators.unet_separator import Options as UNetOptions
from svs.separators.unet_separator import UNetSeparator
from svs.stems import ACCOMPANIMENT
from svs.training import mixtures, on_mixtures
from tests.helpers import REPOSITORY
from tests.helpers.separation import separated

RATE = 44100
REPRESENTATION = {"sample_rate": RATE, "frame_size": 1024, "win_length": 1024, "hop_length": 512}
NETWORK = {
    "ensemble": 2,
    "max_frequency": 16000.0,
    "fold": 4,
    "channels": 6,
    "growth": 2,
    "levels": 2,
    "blocks": 1,
    "convolutions": 2,
    "bottleneck": 8,
    "dropout": 0.1,
    "full_band": {"ensemble": 1, "channels": 24, "bottleneck": 8, "blocks": 3},
}


def options(**changes) -> UNetTraining:
    base = dict(
        epochs=2,
        mixes=8,
        batch_size=4,
        frames=32,
        learning_rate=2e-3,
        warm_up=2,
        patience=10,
        loss_floor=-30.0,
        songs=("train",),
        keep="best",
        representation=REPRESENTATION,
        network=NETWORK,
        other_song=0.7,
    )
    return UNetTraining(**(base | changes))


@pytest.fixture(scope="module")
def store(tiny_set, small, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("unet")
    extract = small.extract.model_copy(update={"modes": ("MIX",)})
    extraction.extract(Dataset(*tiny_set), extract, root / "store", Scratch(root, "extract", "a"))
    return root / "store" / "stems"


@pytest.fixture(scope="module")
def stems(store) -> Stems:
    return Stems(store)


def train(store: Path, root: Path, seed=1, **changes):
    """One net of each kind, small: most of a test's time is what TensorFlow needs to prepare the step."""
    changes = {"network": NETWORK | {"ensemble": 1, "levels": 1}} | changes
    return on_mixtures.train_on_mixes(
        "unet_separator", store, options(**changes), seed, Scratch(root, "unet", "a"), curve=root / "curve.csv"
    )


# The store


def test_the_store_holds_the_audio_that_musdb_reads(tiny_set, stems):
    folder, manifest = tiny_set
    for track in musdb.DB(root=folder, is_wav=True, subsets="train"):
        split = next(one.split for one in manifest.tracks if one.name == track.name)
        assert track.name in stems.tracks(split)
        for stem in ("vocals", *ACCOMPANIMENT):
            true = track.targets[stem].audio
            kept = stems.read(track.name, stem, 0, stems.samples(track.name))
            assert kept.shape == true.shape
            np.testing.assert_allclose(kept, true, rtol=2**-11, atol=2**-24)  # float16


def test_of_a_song_left_out_of_training_the_stems_alone_are_kept(tiny_set, small, tmp_path):
    folder, manifest = tiny_set
    tracks = [
        track if track.split != "train" else type(track)(**{**vars(track), "split": "unused"})
        for track in manifest.tracks
    ]
    unused = [track.name for track in tracks if track.split == "unused"]
    extract = small.extract.model_copy(update={"modes": ("SVS", "MIX")})
    extraction.extract(
        Dataset(folder, Manifest("tiny", tracks)), extract, tmp_path / "store", Scratch(tmp_path, "extract", "a")
    )
    assert Stems(tmp_path / "store" / "stems").tracks("unused") == unused
    assert not [name for name in unused if (tmp_path / "store" / "masks" / name).exists()]


def test_a_store_of_every_second_song(store, stems, tmp_path):
    """What the ablation trains on to tell what more songs would give."""
    half = Stems(ablation.dealt(store, 2, 0, tmp_path))
    assert half.tracks("train") == stems.tracks("train")[::2] != stems.tracks("train")
    assert half.tracks("valid") == stems.tracks("valid")
    last = half.tracks("train")[-1]
    np.testing.assert_array_equal(half.read(last, "bass", 100, 900), stems.read(last, "bass", 100, 900))


@pytest.mark.parametrize("same", ["name", "sha256", "audio"])
def test_a_test_track_among_the_training_tracks_is_refused(tiny_set, small, tmp_path, same):
    folder, manifest = tiny_set
    test = next(track for track in manifest.tracks if track.split == "test")
    tracks = [
        type(track)(**{**vars(track), same: getattr(test, same)}) if track.split == "train" else track
        for track in manifest.tracks
    ]
    with pytest.raises(DataError, match="to be trained on and are scored: .* must not be trained on"):
        extraction.extract(
            Dataset(folder, Manifest("tiny", tracks)),
            small.extract,
            tmp_path / "store",
            Scratch(tmp_path, "extract", "a"),
        )
    assert not (tmp_path / "store").exists()


# Mixtures


def test_a_mixture_depends_on_seed_epoch_and_number_alone(stems):
    mixes = mixtures.Mixes(stems, ("train",), options(), 1)
    again = mixtures.Mixes(stems, ("train",), options(batch_size=2), 1)
    first = mixes.mix(0, 3)
    again.mix(5, 7)
    for ours, theirs in zip(first, again.mix(0, 3), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for other in (mixes.mix(1, 3), mixes.mix(0, 4), mixtures.Mixes(stems, ("train",), options(), 2).mix(0, 3)):
        assert not np.array_equal(first[0], other[0])


def test_songs_as_they_are(stems):
    """Without mixing, vocals and accompaniment are of one place in one song."""
    mixes = mixtures.Mixes(stems, ("train",), options(other_song=0.0), 1)
    for number in range(5):
        vocals, accompaniment = mixes.mix(0, number)
        assert vocals.shape == accompaniment.shape == (31 * 512, 2)
        ((track, at),) = _places(stems, accompaniment, ACCOMPANIMENT)
        assert (track, at) in _places(stems, vocals, ["vocals"])


def test_accompaniments_of_other_songs(stems):
    """Of one place in one song, as they were recorded."""
    mixes = mixtures.Mixes(stems, ("train",), options(other_song=1.0), 1)
    apart = 0
    for number in range(5):
        vocals, accompaniment = mixes.mix(0, number)
        ((track, _),) = _places(stems, accompaniment, ACCOMPANIMENT)
        sung = _places(stems, vocals, ["vocals"])
        assert sung
        apart += track not in {song for song, _ in sung}
    assert apart


def _places(stems: Stems, passage: np.ndarray, names: Iterable[str]) -> list[tuple[str, int]]:
    """Where a passage of the sum of stems is found: songs and first samples."""
    found = []
    for track in stems.tracks("train"):
        whole = sum(stems.read(track, name, 0, stems.samples(track)) for name in names)
        first = np.flatnonzero((whole[: len(whole) - len(passage) + 1] == passage[0]).all(axis=1))
        found += [(track, int(at)) for at in first if np.array_equal(whole[at : at + len(passage)], passage)]
    return found


def test_passages_are_the_songs_one_after_the_other(stems):
    passages = mixtures.Passages(stems, ("valid",), options())
    (track,) = stems.tracks("valid")
    assert len(passages.places) == stems.samples(track) // (31 * 512)
    x, y = passages[0]
    length = 31 * 512
    mixture = sum(stems.read(track, stem, length, 2 * length) for stem in ("vocals", *ACCOMPANIMENT))
    vocals = stems.read(track, "vocals", length, 2 * length)
    np.testing.assert_allclose(x[1], np.log(np.abs(mixtures.spectra(mixture, options())) + 1e-5), atol=1e-4)
    np.testing.assert_allclose(y[1, ..., 2], np.abs(mixtures.spectra(vocals, options())) ** 2, atol=1e-7)


def test_too_short_songs_are_refused(stems):
    with pytest.raises(DataError, match="as long as a passage"):
        mixtures.Mixes(stems, ("train",), options(frames=4096), 1)


def test_a_store_with_a_test_track_is_refused(store, tmp_path):
    shutil.copytree(store, tmp_path / "stems")
    group = zarr.open_group(tmp_path / "stems", mode="a")
    index = group.attrs.asdict()["index"]
    index["MIX"][0][1] = "test"
    group.attrs["index"] = index
    with pytest.raises(DataError, match=f"holds test tracks .{index['MIX'][0][0]}.*nothing may be trained on them"):
        train(tmp_path / "stems", tmp_path)


# The loss


def test_the_loss_is_the_energy_of_the_error_beside_the_mixture():
    """Against audio: the error of a mask, stretch by stretch, in dB."""
    rng = np.random.default_rng(0)
    vocals, rest = (rng.standard_normal((1, 31 * 512, 2)).astype(np.float32) for _ in range(2))
    settings = options()
    x, y = mixtures.targets(vocals + rest, vocals, settings)
    mixed, sung = (mixtures.spectra(audio, settings) for audio in (vocals + rest, vocals))
    logits = rng.standard_normal(mixed.shape).astype(np.float32)
    error = np.abs(sung - mixed / (1 + np.exp(-logits.astype(np.float64)))) ** 2
    expected = []
    for first in (0, 16):
        part = slice(first, first + 16)
        whole = (np.abs(mixed[:, part]) ** 2).sum()
        expected.append(10 * np.log10((error[:, part].sum() + 1e-3 * whole) / whole))
    loss = on_mixtures.ErrorToMixture(16, -30.0)
    assert float(loss(y, logits)) == pytest.approx(np.mean(expected), abs=1e-4)
    other = rng.standard_normal(mixed.shape).astype(np.float32)
    together = np.concatenate([logits, other], axis=-1)  # two members: the mean of their losses
    assert float(loss(y, together)) == pytest.approx((float(loss(y, logits)) + float(loss(y, other))) / 2, abs=1e-4)


@pytest.mark.parametrize("logit, rest, expected", [(50.0, 0.0, -30.0), (-50.0, 0.0, 0.004), (-50.0, None, -30.0)])
def test_what_the_loss_says_of_sure_masks(logit, rest, expected):
    """A mask of ones where all is vocals, one of zeros there, and one of zeros where nobody sings."""
    rng = np.random.default_rng(0)
    sound = rng.standard_normal((1, 31 * 512, 2)).astype(np.float32)
    vocals = sound if rest == 0.0 else np.zeros_like(sound)
    x, y = mixtures.targets(sound, vocals, options())
    loss = on_mixtures.ErrorToMixture(32, -30.0)(y, np.full_like(x, logit))
    assert float(loss) == pytest.approx(expected, abs=2e-3)


# The network


@pytest.fixture(scope="module")
def network() -> keras.Model:
    return open_net(options().network)


def open_net(settings: Size) -> keras.Model:
    """A net with weights that let everything through, so that context shows."""
    bins = options().bins
    net = unet_separator.build(bins, settings, np.full(bins, -6.0), np.ones(bins), seed=3)
    rng = np.random.default_rng(5)
    net.set_weights([weight + rng.normal(0, 0.05, weight.shape).astype(np.float32) for weight in net.get_weights()])
    return net


def test_bins():
    kept = options(representation=REPRESENTATION | {"frame_size": 4096}).bins
    assert kept % (4 * 2**2) == 0 and (kept - 16) * RATE / 4096 < 16000 <= kept * RATE / 4096
    assert options(representation=REPRESENTATION | {"sample_rate": 8000}).bins == 512  # all lie below


def sizes(u_nets: int, full_band: int) -> Size:
    return options(
        network=NETWORK | {"ensemble": u_nets, "full_band": NETWORK["full_band"] | {"ensemble": full_band}}
    ).network


@pytest.mark.parametrize("u_nets, full_band", [(1, 0), (0, 1), (2, 1)])
def test_context_is_what_the_mask_of_a_frame_depends_on(u_nets, full_band):
    rng = np.random.default_rng(1)
    settings = sizes(u_nets, full_band)
    network = open_net(settings)
    reach, multiple = settings.context, options(network=settings).frames_multiple
    frames = -(-(2 * reach + 40) // multiple) * multiple
    heard = rng.uniform(-10, -2, (1, frames, *network.input_shape[2:])).astype(np.float32)
    before = np.asarray(network(heard))
    at = frames // 2
    louder = heard.copy()
    louder[:, at] += 4
    moved = np.abs(np.asarray(network(louder)) - before).max(axis=(0, 2, 3)) > 1e-6
    touched = np.flatnonzero(moved)
    assert touched.min() >= at - reach and touched.max() <= at + reach
    assert touched.max() - touched.min() > reach  # and the context is not made up


def test_a_member_is_the_same_whoever_is_beside_it():
    """A U-Net alone has the weights of the first of several; every member's mask is its own."""
    nets = {
        kinds: unet_separator.build(320, sizes(*kinds), np.zeros(320), np.ones(320), seed=3)
        for kinds in ((1, 0), (2, 0), (2, 2))
    }
    heard = np.random.default_rng(0).uniform(-1, 1, (1, 8, 320, 2)).astype(np.float32)
    logits = {kinds: np.asarray(net(heard)) for kinds, net in nets.items()}
    assert [logits[kinds].shape[3] for kinds in nets] == [2, 4, 8]
    np.testing.assert_allclose(logits[1, 0], logits[2, 0][..., :2], atol=1e-5)
    np.testing.assert_allclose(logits[2, 0], logits[2, 2][..., :4], atol=1e-5)
    members = [logits[2, 2][..., first : first + 2] for first in range(0, 8, 2)]
    for number, member in enumerate(members):
        assert all(np.abs(member - other).max() > 0.01 for other in members[:number])


def test_a_full_band_net_has_a_place_for_every_bin_and_channel():
    net = unet_separator.build(320, sizes(0, 1), np.zeros(320), np.ones(320), seed=3)
    weights = [np.zeros_like(weight) for weight in net.get_weights()]
    weights[-1] = np.arange(640, dtype=np.float32)  # biases of the last layer
    net.set_weights(weights)
    logits = np.asarray(net(np.zeros((1, 8, 320, 2), np.float32)))
    # Places of four bins: the left channel's four, then the right channel's.
    expected = [[place * 8 + channel * 4 + bin for channel in range(2)] for place in range(80) for bin in range(4)]
    np.testing.assert_array_equal(logits, np.broadcast_to(expected, (1, 8, 320, 2)))


def test_a_net_of_no_members_is_refused():
    with pytest.raises(ValueError, match="expected one net at least"):
        sizes(0, 0)


def test_a_second_net_has_the_same_names_and_bytes(tmp_path):
    settings = options().network
    for name in "ab":
        net = unet_separator.build(320, settings, np.zeros(320), np.ones(320), seed=3)
        archive.save(tmp_path / name, net, {})
    assert (tmp_path / "a" / "model.keras").read_bytes() == (tmp_path / "b" / "model.keras").read_bytes()
    loaded, _ = archive.load(tmp_path / "a")
    heard = np.random.default_rng(0).uniform(0, 1, (1, 8, 320, 2)).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(loaded(heard)), np.asarray(net(heard)))


def test_dropout_is_for_training_alone():
    kinds = [sizes(2, 0).model_copy(update={"dropout": share}) for share in (0.0, 0.5)]
    nets = [unet_separator.build(320, kind, np.zeros(320), np.ones(320), seed=3) for kind in kinds]
    nets[1].set_weights(nets[0].get_weights())
    heard = np.random.default_rng(0).uniform(0, 1, (1, 8, 320, 2)).astype(np.float32)
    plain, dropped = (np.asarray(net(heard)) for net in nets)
    np.testing.assert_array_equal(plain, dropped)
    np.testing.assert_array_equal(plain, np.asarray(nets[0](heard, training=True)))
    assert np.abs(plain - np.asarray(nets[1](heard, training=True))).max() > 1e-3


# Training


@pytest.mark.slow
def test_training_learns_and_ends_with_the_same_bytes_although_interrupted(store, tmp_path, monkeypatch):
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    model, card = train(store, tmp_path / "whole", epochs=6, mixes=24)
    archive.save(tmp_path / "whole" / "model", model, card)
    curve = np.loadtxt(tmp_path / "whole" / "curve.csv", delimiter=",", skiprows=1)
    assert curve[-1, 1] < curve[0, 1] - 1
    assert card["val_loss"] == pytest.approx(curve[:, 2].min(), abs=1e-5)
    assert card["parameters"] == model.count_params()
    assert card["level"] == Stems(store).level("MIX", "train") > 0.01
    assert UNetSeparator("unet_separator", tmp_path / "whole" / "model").level == card["level"]

    epochs = []

    def stop(self, epoch, logs=None):
        kept(self, epoch, logs)
        epochs.append(epoch)
        if epoch == 1:
            raise KeyboardInterrupt

    kept = on_mixtures.loop.Checkpoint.on_epoch_end
    monkeypatch.setattr(on_mixtures.loop.Checkpoint, "on_epoch_end", stop)
    with pytest.raises(KeyboardInterrupt):
        train(store, tmp_path / "killed", epochs=6, mixes=24)
    monkeypatch.undo()
    model, card = train(store, tmp_path / "killed", epochs=6, mixes=24)
    archive.save(tmp_path / "killed" / "model", model, card)
    assert epochs == [0, 1]
    for name in ("model.keras", "model.json"):
        assert (tmp_path / "whole" / "model" / name).read_bytes() == (tmp_path / "killed" / "model" / name).read_bytes()


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_a_step_whose_gradient_is_not_finite_is_left_out(precision):
    def loss(bad, predicted):
        # The square root's value at 0 is finite, its slope isn't.
        return keras.ops.mean(keras.ops.square(predicted - 1) + keras.ops.sqrt(1 - bad + 0 * predicted))

    net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    net.compile(on_mixtures.optimizer(0.1, precision), loss)
    x, well, bad = np.ones((4, 2), np.float32), np.zeros((4, 1), np.float32), np.ones((4, 1), np.float32)

    def after(y: np.ndarray) -> np.ndarray:
        assert np.isfinite(net.train_on_batch(x, y))
        return np.concatenate([weight.ravel() for weight in net.get_weights()])

    first, left_out, second = after(well), after(bad), after(well)
    np.testing.assert_array_equal(left_out, first)
    assert np.isfinite(second).all() and (second != first).all()


def test_all_songs_keep_the_last_epoch(store, tmp_path):
    _, card = train(store, tmp_path, songs=("train", "valid"), keep="last")
    assert card["best_epoch"] == 2 and card["songs"] == {"train": 2, "valid": 1}
    assert card["level"] == Stems(store).level("MIX", "train", "valid") != Stems(store).level("MIX", "train")


@pytest.mark.parametrize(
    "laid, told",
    [
        ("frames=30", "multiple of 8"),
        ("mixes=10", "multiple of the batch_size"),
        ("songs=[valid]", "expected train"),
        ("songs=[train, test]", "songs.1"),
        ("network.ensemble=0", "one net at least"),
        ("songs=[train, valid]", "keep the last"),
        ("other_song=-1", "other_song"),
    ],
)
def test_impossible_settings_are_named(laid, told):
    with pytest.raises(SettingsError, match=f"unet_separator.*{told}"):
        networks.validate(
            project.find_project(
                REPOSITORY, ["train.unet_separator.network.levels=3", f"train.unet_separator.{laid}"]
            ).settings
        )


def test_stems_at_another_rate_are_refused(store, tmp_path):
    with pytest.raises(DataError, match="extract.stems.sample_rate"):
        train(store, tmp_path, representation=REPRESENTATION | {"sample_rate": 22050})


# Separation


@pytest.fixture(scope="module")
def folder(network, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("net") / "unet_separator"
    settings = options()
    archive.save(
        folder,
        network,
        {
            "representation": REPRESENTATION,
            "bins": network.input_shape[2],
            "frames_multiple": settings.frames_multiple,
            "context": settings.context,
        },
    )
    return folder


@pytest.fixture(scope="module")
def song(tmp_path_factory) -> np.ndarray:
    """Stereo audio (samples, 2) of 6 s."""
    root = tmp_path_factory.mktemp("song")
    synthetic.write_dataset(
        root, seed=3, train=1, valid=0, test=1, train_seconds=2.0, test_seconds=6.0, real_song=False
    )
    track = musdb.DB(root=root, is_wav=True, subsets="test")[0]
    return track.audio.astype(np.float32)


def test_chunks_have_no_seams(folder, song):
    separator = UNetSeparator("unet_separator", folder)
    whole = np.concatenate([part for _, part in chunking.chunks(separator, ArraySource(song, RATE), 60.0)])
    pieces = list(chunking.chunks(separator, ArraySource(song, RATE), 1.7))
    assert len(pieces) > 2
    np.testing.assert_allclose(np.concatenate([part for _, part in pieces]), whole, atol=1e-5)


@pytest.mark.parametrize("channels, rate", [(1, RATE), (2, 48000), (6, RATE), (2, 8000)])
@pytest.mark.parametrize("samples", [1, 300, 30000])
def test_any_recording(folder, song, channels, rate, samples):
    separator = UNetSeparator("unet_separator", folder)
    audio = np.tile(song[:samples], (1, 3))[:, :channels]
    estimate = separated(separator, audio, rate)
    assert estimate.shape == audio.shape and estimate.dtype == np.float32 and np.isfinite(estimate).all()


@pytest.mark.parametrize("logit, share", [(40.0, 1.0), (-40.0, 0.0)])
def test_a_sure_net_gives_the_mixture_or_silence(tmp_path, song, folder, logit, share):
    net, card = archive.load(folder)
    weights = [np.zeros_like(weight) for weight in net.get_weights()]
    for weight in weights:  # the bias of each member's last layer, among others that change nothing
        if weight.shape in ((2 * NETWORK["fold"],), (2 * net.input_shape[2],)):
            weight[:] = logit
    net.set_weights(weights)
    archive.save(tmp_path / "sure", net, card)
    np.testing.assert_allclose(
        UNetSeparator("unet_separator", tmp_path / "sure").vocals(song, RATE), share * song, atol=2e-6
    )


def test_the_mask_is_the_mean_of_the_members_masks(folder, network):
    separator = UNetSeparator("unet_separator", folder)
    bins = network.input_shape[2]
    spectrum = np.random.default_rng(0).uniform(0, 0.1, (2, REPRESENTATION["frame_size"] // 2 + 1, 16))
    logits = np.asarray(network(np.log(spectrum[:, :bins].T[None] + 1e-5).astype(np.float32)))[0].astype(np.float64)
    masks = 1 / (1 + np.exp(-logits))
    first, second, full_band = masks[..., :2], masks[..., 2:4], masks[..., 4:]
    assert min(np.abs(first - second).max(), np.abs(second - full_band).max()) > 0.01
    np.testing.assert_allclose(
        separator.mask(spectrum.astype(np.float32))[:, :bins].T, (first + second + full_band) / 3, atol=1e-4
    )


# The same song at other pitches


@pytest.fixture(scope="module")
def fine(folder, tmp_path_factory) -> Path:
    """The same net with a hop of a quarter of its frame."""
    net, card = archive.load(folder)
    fine = tmp_path_factory.mktemp("net") / "fine"
    archive.save(fine, net, card | {"representation": REPRESENTATION | {"hop_length": 256}})
    return fine


@pytest.mark.parametrize("semitones", [-2.0, 1.0])
def test_a_note_is_heard_higher(fine, monkeypatch, semitones):
    """What the net is given of a note is what it is given of the higher one as it is."""
    heard = []

    def listen(self, spectrum):
        heard.append(spectrum)
        return np.zeros_like(spectrum)

    monkeypatch.setattr(UNetSeparator, "mask", listen)
    separator, frequency, time = UNetSeparator("unet_separator", fine), 2000.0, np.arange(8192)[:, None] / RATE
    tuned = UNetSeparator("unet_separator", fine, [semitones])
    ratio = tuned.representation.frame_size / REPRESENTATION["frame_size"]
    assert ratio == pytest.approx(2 ** (semitones / 12), abs=1 / 128)
    tuned.vocals(np.sin(2 * np.pi * frequency * time).repeat(2, axis=1).astype(np.float32), RATE)
    separator.vocals(np.sin(2 * np.pi * ratio * frequency * time).repeat(2, axis=1).astype(np.float32), RATE)
    lower, higher = (spectrum[0, :400, 5:-5].mean(axis=1) for spectrum in heard)
    assert heard[0].shape[2] == heard[1].shape[2]
    np.testing.assert_allclose(lower, higher, atol=2e-3)  # a full-scale sine has 0.5
    assert lower.argmax() == round(ratio * frequency * REPRESENTATION["frame_size"] / RATE)


@pytest.mark.slow
def test_the_estimate_is_the_mean_of_those_at_all_pitches(fine, song, settings):
    def built(*semitones: float):
        laid = settings.separate.model_copy(update={"unet_separator": UNetOptions(semitones=semitones)})
        return separators.build(
            "unet_separator",
            settings.model_copy(update={"separate": laid, "methods": {"unet_separator": MethodWiring(needs=fine)}}),
        )

    alone = [UNetSeparator("unet_separator", fine, [semitones]).vocals(song, RATE) for semitones in (-1.0, 0.0, 2.0)]
    assert np.abs(alone[0] - alone[2]).max() > 1e-3
    np.testing.assert_array_equal(alone[1], UNetSeparator("unet_separator", fine).vocals(song, RATE))
    np.testing.assert_array_equal(built(0.0).vocals(song, RATE), alone[1])
    together = built(-1.0, 0.0, 2.0)
    whole = together.vocals(song, RATE)
    np.testing.assert_allclose(whole, np.mean(alone, axis=0), atol=1e-6)
    assert together.name == "unet_separator" and together.uses_all_cores and not together.needs_references
    pieces = [part for _, part in chunking.chunks(together, ArraySource(song, RATE), 1.7)]
    assert len(pieces) > 2
    np.testing.assert_allclose(np.concatenate(pieces), separated(together, song, RATE), atol=1e-5)


def test_pitches_that_the_net_can_not_hear_are_refused(fine, folder):
    with pytest.raises(SettingsError, match="semitones: -6 does not go with .* takes [0-9]+ bins"):
        UNetSeparator("unet_separator", fine, [-6.0])
    with pytest.raises(SettingsError, match="(?s)-1 does not go with this net: .*more than half of win_length"):
        UNetSeparator("unet_separator", folder, [-1.0])


@pytest.mark.parametrize("laid", ["[]", "[7]", "[0, high]"])
def test_impossible_pitches_are_named(laid):
    with pytest.raises(SettingsError, match="separate.unet_separator.semitones"):
        separators.options(
            "unet_separator", project.find_project(REPOSITORY, [f"separate.unet_separator.semitones={laid}"]).settings
        )


def test_silence_stays_silent(folder):
    assert not UNetSeparator("unet_separator", folder).vocals(np.zeros((20000, 2), np.float32), RATE).any()


@pytest.mark.skipif("SVS_UNET" not in os.environ, reason="no net trained on real music; name its folder with SVS_UNET")
def test_a_net_trained_on_real_music_separates_a_real_song(tmp_path):
    """On a song of MUSDB18's test set, which it has never heard: far above the floor, in vocals and accompaniment."""
    name = synthetic.write_stempeg_song(tmp_path / "song")
    assert name
    stems = {stem: WavSource(tmp_path / "song" / f"{stem}.wav") for stem in (*synthetic.STEMS, "mixture")}
    audio = {stem: source.read(0, source.samples) for stem, source in stems.items()}
    separator = UNetSeparator("unet_separator", Path(os.environ["SVS_UNET"]))
    vocals = separator.vocals(audio["mixture"], stems["mixture"].rate)

    def sdr(true: np.ndarray, estimate: np.ndarray) -> float:
        return 10 * np.log10(np.square(true).sum() / np.square(true - estimate).sum())

    rest = audio["mixture"] - audio["vocals"]
    assert sdr(audio["vocals"], vocals) > sdr(audio["vocals"], audio["mixture"] / 4) + 3
    assert sdr(rest, audio["mixture"] - vocals) > sdr(rest, 0.75 * audio["mixture"]) + 2


def test_a_card_of_another_net_is_refused(tmp_path, network):
    archive.save(tmp_path / "net", network, {"representation": REPRESENTATION})
    with pytest.raises(ModelError, match="card of a U-Net"):
        UNetSeparator("unet_separator", tmp_path / "net")


@pytest.mark.slow
@pytest.mark.parametrize("keep", ["best", "last"])
def test_mixed_precision_trains_the_same_net(store, tmp_path, keep):
    plain, plain_card = train(store, tmp_path / "plain", keep=keep)
    model, card = train(store, tmp_path / "mixed", keep=keep, precision="mixed_bfloat16")
    assert card["precision"] == "mixed_bfloat16" and "precision" not in plain_card
    assert card["val_loss"] != plain_card["val_loss"]
    assert card["val_loss"] == pytest.approx(plain_card["val_loss"], abs=0.2)  # dB
    assert model.get_config() == plain.get_config()
