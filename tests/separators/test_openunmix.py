"""Open-unmix: against the package's own separator, with weights whose effect is known, and on files that are not right.

The published weights can't be had everywhere, so these are files of the same
names, keys and shapes with other numbers in them.
"""

from __future__ import annotations

import copy
import json
import os
import pickle
import sys

import numpy as np
import pytest

from svs import separators
from svs.audio.convert import resample
from svs.audio.sources import ArraySource, WavSource
from svs.config.schema import MethodWiring, resolve
from svs.data.synthetic import write_stempeg_song
from svs.errors import ModelError, SettingsError, UnavailableError
from svs.separators import openunmix
from svs.separators.chunking import chunks, separate_to
from svs.separators.openunmix import Options as OpenUnmixOptions
from tests.helpers.separation import decibels, separated

torch = pytest.importorskip("torch")
RATE = 44100


def options(**changes) -> OpenUnmixOptions:
    usual = {"model": "umxhq", "targets": "vocals", "niter": 1, "wiener_window": 6.966, "context": 5.0, "level": None}
    return OpenUnmixOptions(**(usual | changes))


def network(model: str, target: str = "vocals"):
    return getattr(openunmix._package(), f"{model}_spec")(targets=[target], pretrained=False)[target]


def lively(model: str, target: str = "vocals", seed: int = 0) -> dict:
    """A state with random weights whose masks take values from 0 to above 1."""
    torch.manual_seed(seed)
    state = network(model, target).state_dict()
    state["fc3.weight"] *= 8
    state["input_scale"] *= 0.1
    state["output_mean"] *= 0.4
    return state


def constant(model: str, mask, target: str = "vocals") -> dict:
    """A state whose mask does not depend on the input: a number, or one for each bin."""
    state = network(model, target).state_dict()
    state["fc3.weight"].zero_()
    state["output_mean"][:] = torch.as_tensor(mask, dtype=torch.float32)
    return state


def save(folder, model: str, states: dict, **how):
    folder.mkdir(parents=True, exist_ok=True)
    for target, state in states.items():
        torch.save(state, folder / openunmix.remotes(model)[target].name, **how)
    return folder


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    monkeypatch.setenv("SVS_OFFLINE", "1")
    monkeypatch.setenv("SVS_WEIGHTS", str(tmp_path / "cache"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several wait for each other where tests run beside other work
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def umxhq(tmp_path_factory):
    """A folder of lively weights for all four targets."""
    states = {target: lively("umxhq", target, seed) for seed, target in enumerate(openunmix.remotes("umxhq"))}
    return save(tmp_path_factory.mktemp("umxhq"), "umxhq", states)


@pytest.fixture(scope="module")
def umxse(tmp_path_factory):
    return save(
        tmp_path_factory.mktemp("umxse"),
        "umxse",
        {"speech": lively("umxse", "speech", 5), "noise": lively("umxse", "noise", 6)},
    )


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    """Three seconds of a real song, float32 (samples, 2)."""
    folder = tmp_path_factory.mktemp("song") / "song"
    write_stempeg_song(folder)
    source = WavSource(folder / "mixture.wav")
    return source.read(RATE, 4 * RATE)


def powers(*signals: np.ndarray, rate: int = RATE):
    """Power spectra of signals of one length, and their frequencies in Hz."""
    window = np.hanning(len(signals[0]))[:, None]
    return (
        *(np.abs(np.fft.rfft(signal * window, axis=0)) ** 2 for signal in signals),
        np.fft.rfftfreq(len(window), 1 / rate),
    )


# The same as the package


@pytest.mark.parametrize("model", openunmix.RECORDS)
def test_published_files_are_those_that_the_package_names(model):
    code = getattr(openunmix._package(), f"{model}_spec").__code__
    constants = [c for const in code.co_consts for c in (const if isinstance(const, tuple) else (const,))]
    urls = {text for text in constants if isinstance(text, str) and text.startswith("https://")}
    files = openunmix.remotes(model)
    assert urls == {remote.url for remote in files.values()} and len(urls) == len(files) >= 2
    for target, remote in files.items():
        assert remote.name.startswith(target) and remote.sha256 in remote.name and remote.url.endswith(remote.name)
        assert len(remote.sha256) == 8
    assert next(iter(files)) == ("speech" if model == "umxse" else "vocals")


def package_folder(folder, weights, model, targets):
    """The layout from which the package loads networks of one's own."""
    rate, frame, hop, channels, hidden = (16000, 1024, 512, 1, 256) if model == "umxse" else (44100, 4096, 1024, 2, 512)
    folder.mkdir()
    (folder / "separator.json").write_text(
        json.dumps({"sample_rate": rate, "nfft": frame, "nhop": hop, "nb_channels": channels})
    )
    for target in targets:
        (folder / f"{target}.json").write_text(
            json.dumps({"args": {"nfft": frame, "nb_channels": channels, "hidden_size": hidden}})
        )
        name = openunmix.remotes(model)[target].name
        (folder / name).symlink_to(weights / name)
    return str(folder)


@pytest.mark.parametrize("targets, niter", [("vocals", 1), ("vocals", 0), ("vocals", 2), ("all", 1)])
def test_music_equals_the_package(umxhq, song, tmp_path, targets, niter):
    from openunmix.predict import separate

    named = ["vocals"] if targets == "vocals" else list(openunmix.remotes("umxhq"))
    folder = package_folder(tmp_path / "package", umxhq, "umxhq", named)
    expected = (
        separate(
            torch.from_numpy(song.T.copy()),
            RATE,
            model_str_or_path=folder,
            targets=named,
            niter=niter,
            residual=targets == "vocals" and niter > 0,
            wiener_win_len=43,
        )["vocals"][0]
        .numpy()
        .T
    )
    came = openunmix.OpenUnmix(options(targets=targets, niter=niter, wiener_window=1.0), umxhq).vocals(song, RATE)
    assert came.shape == song.shape and came.dtype == np.float32
    # The package's filter runs in single precision: each iteration is inexact where the channels are much alike.
    assert decibels(came - expected, expected) < (-100 if niter < 2 else -60)
    assert decibels(came, song) > -30 and decibels(came - song / 2, song) > -20  # neither silence nor a share


@pytest.mark.parametrize("targets", ["vocals", "all"])
def test_speech_equals_the_package(umxse, song, tmp_path, targets):
    from openunmix.utils import load_separator

    named = ["speech"] if targets == "vocals" else ["speech", "noise"]
    folder = package_folder(tmp_path / "package", umxse, "umxse", named)
    audio = resample(song[:, :1], RATE, 16000)
    package = load_separator(folder, targets=named, niter=1, residual=targets == "vocals", wiener_win_len=100)
    package.freeze()
    expected = package(torch.from_numpy(audio.T.copy())[None])[0, 0].numpy().T
    settings = options(model="umxse", targets=targets, wiener_window=100 * 512 / 16000)
    came = openunmix.OpenUnmix(settings, umxse).vocals(audio, 16000)
    assert decibels(came - expected, expected) < -100


@pytest.mark.parametrize("model", openunmix.RECORDS)
def test_every_model_is_built_from_its_file(model, tmp_path, song, settings):
    target = next(iter(openunmix.remotes(model)))
    folder = save(tmp_path / "weights", model, {target: constant(model, 1.0, target)})
    chosen = settings.model_copy(
        update={
            "methods": {"openunmix": MethodWiring(needs=folder)},
            "separate": settings.separate.model_copy(update={"openunmix": options(model=model, niter=0)}),
        }
    )
    separator = separators.build("openunmix", chosen)
    assert separator.name == "openunmix" and not separator.needs_references
    assert separator.representation.sample_rate == (16000 if model == "umxse" else 44100)
    audio = resample(song[:RATE], RATE, separator.representation.sample_rate)
    np.testing.assert_allclose(separator.vocals(audio, separator.representation.sample_rate), audio, atol=1e-5)


def test_the_package_is_left_as_it_was(umxhq):
    """A stand-in for torchaudio must not stay behind where others would take it for the real one."""
    openunmix.OpenUnmix(options(), umxhq)
    assert "torchaudio" not in sys.modules or sys.modules["torchaudio"].__spec__ is not None


# Weights whose effect is known


@pytest.mark.parametrize("niter, closeness", [(0, -100), (1, -45)])
@pytest.mark.parametrize("mask", [1.0, 0.5, 0.0, -1.0])
def test_a_network_that_always_says_the_same(tmp_path, song, mask, niter, closeness):
    """All of the mixture, half of it, nothing; what it says below nothing is nothing."""
    folder = save(tmp_path, "umxhq", {"vocals": constant("umxhq", mask)})
    vocals = openunmix.OpenUnmix(options(niter=niter), folder).vocals(song, RATE)
    if niter and mask == 0.5:
        closeness = -20  # vocals and the rest are then the same, and what is left of the mixture regularised
    assert decibels(vocals - max(mask, 0) * song, song) < closeness


@pytest.mark.parametrize("niter", [0, 1])
def test_a_network_that_takes_the_low_bins(tmp_path, song, niter):
    low = np.arange(2049) * RATE / 4096 < 1000
    folder = save(tmp_path, "umxhq", {"vocals": constant("umxhq", low.astype(np.float32))})
    vocals = openunmix.OpenUnmix(options(niter=niter), folder).vocals(song, RATE)
    taken, rest, whole, hertz = powers(vocals, song - vocals, song)
    above, below = hertz > 1100, (hertz > 100) & (hertz < 900)
    assert taken[above].sum() < 1e-3 * whole[above].sum()
    assert rest[below].sum() < 1e-3 * whole[below].sum()


def test_both_channels_the_same(tmp_path, song):
    """The filter inverts matrices that are all but singular then; in single precision it is off by -38 dB."""
    folder = save(tmp_path, "umxhq", {"vocals": constant("umxhq", 0.5)})
    separator = openunmix.OpenUnmix(options(), folder)
    mono = song[: 2 * RATE, :1] * 3
    for mixture in (mono, mono.repeat(2, axis=1)):
        vocals = separator.vocals(mixture, RATE)
        assert decibels(vocals - mixture / 2, mixture) < -55


@pytest.mark.parametrize("nearly", ["a channel", "the beginning"])
def test_silence_in_one_place_does_not_change_the_rest(umxhq, song, nearly):
    """The package takes a bin of zero for one of 1.0: that is as loud as 28 dB below the vocals."""
    separator = openunmix.OpenUnmix(options(), umxhq)
    silent, faint = song[: 2 * RATE].copy(), song[: 2 * RATE].copy()
    where = (slice(None), 1) if nearly == "a channel" else slice(0, RATE)
    silent[where] = 0
    faint[where] *= 1e-7
    vocals = separator.vocals(silent, RATE)
    assert decibels(vocals - separator.vocals(faint, RATE), vocals) < -80
    assert np.abs(vocals[where][:-4096]).max() < 1e-6


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("niter", [0, 1])
def test_silence_stays_silence(umxhq, umxse, niter):
    for settings, folder in (
        (options(niter=niter), umxhq),
        (options(niter=niter, model="umxse"), umxse),
        (options(niter=niter, targets="all"), umxhq),
    ):
        vocals = openunmix.OpenUnmix(settings, folder).vocals(np.zeros((RATE // 2, 2), dtype=np.float32), RATE)
        assert not vocals.any() and vocals.shape == (RATE // 2, 2)


# Rates, lengths, channels


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 44099, 48000, 192000])
def test_rates_and_lengths(umxhq, umxse, song, rate):
    music, speech = openunmix.OpenUnmix(options(), umxhq), openunmix.OpenUnmix(options(model="umxse"), umxse)
    for separator in (music, speech):
        for samples in (1, 777, rate // 4):
            vocals = separated(separator, song[:samples, :1], rate)
            assert vocals.shape == (samples, 1) and vocals.dtype == np.float32 and np.all(np.isfinite(vocals))
        assert separator.context(rate) % separator.alignment(rate) == 0
        assert 5 <= separator.context(rate) / separator.sample_rate <= 8
    assert music.alignment(44100) == 300 * 1024  # the package's own 300 frames


def test_a_mask_of_one_is_the_band_of_the_model_at_any_rate(tmp_path, song):
    """Speech at 16 kHz: a recording of 8 kHz comes back whole, of one at 44.1 kHz what lies below 8 kHz."""
    folder = save(tmp_path, "umxse", {"speech": constant("umxse", 1.0, "speech")})
    separator = openunmix.OpenUnmix(options(model="umxse", niter=0), folder)
    narrow = resample(song, RATE, 8000)
    rest, whole, hertz = powers(narrow - separated(separator, narrow, 8000), narrow, rate=8000)
    assert rest[hertz < 3500].sum() < 1e-5 * whole[hertz < 3500].sum()
    rest, whole, hertz = powers(song - separated(separator, song, RATE), song)
    assert rest[hertz < 7000].sum() < 1e-5 * whole[hertz < 7000].sum()
    assert rest[hertz > 8500].sum() == pytest.approx(whole[hertz > 8500].sum(), rel=1e-2)


def test_a_noisy_recording_of_a_voice(tmp_path, song):
    """Mono at 8 kHz: a network that takes the voice's band out leaves most of white noise behind."""
    band = np.abs(np.arange(513) * 16000 / 1024 - 600) < 500
    folder = save(tmp_path, "umxse", {"speech": constant("umxse", band.astype(np.float32), "speech")})
    time = np.arange(3 * 8000) / 8000
    voice = sum(np.sin(2 * np.pi * 150 * k * time) / k for k in range(1, 6))[:, None].astype(np.float32) * 0.2
    noise = np.random.default_rng(0).normal(0, 0.1, voice.shape).astype(np.float32)
    separator = openunmix.OpenUnmix(options(model="umxse"), folder)
    separate_to(tmp_path / "out", separator, ArraySource(voice + noise, 8000), 30.0)
    vocals, rest = (WavSource(tmp_path / "out" / f"{name}.wav") for name in ("vocals", "accompaniment"))
    assert (vocals.rate, vocals.samples, vocals.channels) == (8000, len(voice), 1)
    speech = vocals.read(0, vocals.samples)
    assert decibels(speech - voice, voice) < decibels(noise, voice) - 4
    np.testing.assert_allclose(speech + rest.read(0, rest.samples), voice + noise, atol=1e-6)


@pytest.mark.parametrize("gain", [0.01, 10.0])
def test_a_recording_at_any_gain_is_heard_alike(umxhq, song, gain):
    levelled = openunmix.OpenUnmix(options(level=0.15), umxhq)
    expected = separated(levelled, song, RATE)
    np.testing.assert_allclose(separated(levelled, np.float32(gain) * song, RATE) / gain, expected, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_any_number_of_channels(umxhq, umxse, song, channels):
    audio = np.concatenate([song[: RATE // 2], song[RATE : 3 * RATE // 2]], axis=1)[:, :channels]
    music = openunmix.OpenUnmix(options(), umxhq)
    came = music.vocals(audio, RATE)
    assert came.shape == audio.shape
    for first in range(0, channels, 2):
        np.testing.assert_allclose(
            came[:, first : first + 2], music.vocals(audio[:, first : first + 2], RATE), atol=1e-6
        )
    if channels == 1:
        np.testing.assert_allclose(came[:, 0], music.vocals(audio.repeat(2, axis=1), RATE).mean(axis=1), atol=1e-6)
    speech = openunmix.OpenUnmix(options(model="umxse"), umxse)
    came = separated(speech, audio, RATE)
    for channel in range(channels):
        np.testing.assert_allclose(came[:, [channel]], separated(speech, audio[:, [channel]], RATE), atol=1e-6)


def test_twice_the_same_and_the_mixture_untouched(umxhq, song):
    separator, mixture = openunmix.OpenUnmix(options(), umxhq), song[:RATE].copy()
    first = separator.vocals(mixture, RATE)
    np.testing.assert_array_equal(mixture, song[:RATE])
    np.testing.assert_array_equal(first, separator.vocals(mixture, RATE))
    assert not any(parameter.requires_grad for parameter in separator._separator.parameters())


# Chunks


@pytest.mark.parametrize("model, rate", [("umxhq", 44100), ("umxse", 16000), ("umxse", 44100), ("umxse", 44099)])
def test_chunks_are_nearly_the_whole_song(umxhq, umxse, song, model, rate):
    settings = options(model=model, wiener_window=1.0, context=1.5)
    separator = openunmix.OpenUnmix(settings, umxhq if model == "umxhq" else umxse)
    audio = np.concatenate([song, -song[::-1]])
    if model == "umxse":  # 16 and 44.1 kHz meet every 5 s
        audio = resample(np.concatenate([audio, audio[::-1]])[:, :1], RATE, rate)
    whole = separated(separator, audio, rate)
    pieces = list(chunks(separator, ArraySource(audio, rate), 2.0))
    assert len(pieces) >= 3
    chunked = np.concatenate([vocals for _, vocals in pieces])
    np.testing.assert_array_equal(np.concatenate([mixture for mixture, _ in pieces]), audio)
    assert decibels(chunked - whole, whole) < -60
    for seam in np.cumsum([len(vocals) for _, vocals in pieces])[:-1]:
        near = slice(seam - 2000, seam + 2000)
        assert decibels(chunked[near] - whole[near], whole[near]) < -50


def test_chunks_of_a_mask_of_one_are_the_mixture(tmp_path, song):
    folder = save(tmp_path, "umxhq", {"vocals": constant("umxhq", 1.0)})
    separator = openunmix.OpenUnmix(options(niter=0, context=0.0), folder)
    vocals = np.concatenate([vocals for _, vocals in chunks(separator, ArraySource(song, RATE), 2.0)])
    np.testing.assert_allclose(vocals, song, atol=1e-5)


# Files that are not right


def one_line(error) -> str:
    text = str(error.value)
    assert "\n" not in text and len(text) < 800
    return text


def test_missing_weights_are_unavailable(tmp_path, settings):
    with pytest.raises(UnavailableError) as error:
        separators.build("openunmix", settings, tmp_path)
    text = one_line(error)
    for part in (
        "openunmix",
        "vocals-b62c91ce.pth",
        str(tmp_path / "models/weights/openunmix"),
        str(tmp_path / "cache" / "openunmix"),
        "SVS_OFFLINE",
        "--weights",
    ):
        assert part in text


class Code:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def spoilt(kind: str, folder):
    path = folder / "vocals-b62c91ce.pth"
    save(folder, "umxhq", {"vocals": constant("umxhq", 1.0)})
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:-1000])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("<html>503 Service Unavailable</html>")
    elif kind == "code":
        torch.save({"fc1.weight": Code(folder / "ran")}, path)
    elif kind == "bare code":
        path.write_bytes(pickle.dumps(Code(folder / "ran")))
    elif kind == "a network":
        torch.save(network("umxhq"), path)
    elif kind == "a tensor":
        torch.save(torch.zeros(3), path)
    elif kind == "another size":
        torch.save(network("umxse", "speech").state_dict(), path)
    elif kind == "a layer less":
        torch.save({key: value for key, value in network("umxhq").state_dict().items() if "l2" not in key}, path)
    elif kind == "a layer more":
        torch.save(network("umxhq").state_dict() | {"lstm.weight_ih_l3": torch.zeros(3)}, path)


@pytest.mark.parametrize(
    "kind, said",
    [
        ("truncated", "damaged"),
        ("empty", "damaged"),
        ("text", "damaged"),
        ("code", "more than tensors"),
        ("bare code", "more than tensors"),
        ("a network", "more than tensors"),
        ("a tensor", "no weights of umxhq"),
        ("another size", "no weights of umxhq"),
        ("a layer less", "Missing key"),
        ("a layer more", "Unexpected key"),
    ],
)
def test_a_file_that_is_not_right_is_refused(tmp_path, kind, said):
    spoilt(kind, tmp_path)
    with pytest.raises(ModelError) as error:
        openunmix.OpenUnmix(options(), tmp_path)
    text = one_line(error)
    assert said in text and "vocals-b62c91ce.pth" in text and "weights_only" not in text
    assert not (tmp_path / "ran").exists()


def test_files_of_2019_are_read(tmp_path, song):
    """Their format is not a zip archive, they hold parameters and three buffers that networks have no more."""
    state = copy.copy(lively("umxhq"))
    plain = save(tmp_path / "plain", "umxhq", {"vocals": state})
    bygone = state | {
        "sample_rate": torch.tensor(44100.0),
        "stft.window": torch.hann_window(4096),
        "transform.0.window": torch.hann_window(4096),
    }
    bygone["input_mean"] = torch.nn.Parameter(bygone["input_mean"])
    for name in ("bn1", "bn2", "bn3"):
        del bygone[f"{name}.num_batches_tracked"]
    old = save(tmp_path / "old", "umxhq", {"vocals": bygone}, _use_new_zipfile_serialization=False)
    first, second = (openunmix.OpenUnmix(options(), folder).vocals(song[:RATE], RATE) for folder in (plain, old))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    "change",
    [{"niter": -1}, {"model": "umxx"}, {"targets": "drums"}, {"wiener_window": 0}, {"context": -1}, {"speed": 1}],
    ids=str,
)
def test_impossible_options_are_refused(change, settings):
    raw = settings.model_dump(mode="json")
    raw["profiles"] = {raw["profile"]: None}
    separators.validate(resolve(copy.deepcopy(raw)))
    raw["separate"]["openunmix"] |= change
    with pytest.raises(SettingsError, match="separate.openunmix." + next(iter(change))):
        separators.validate(resolve(raw))
