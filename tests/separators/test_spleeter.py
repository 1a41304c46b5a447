"""Spleeter: its network here, its environment, and the samples of spleeter itself."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest

from svs import separators
from svs.audio.convert import resample
from svs.audio.reading.decode import open_recording
from svs.audio.sources import WavSource
from svs.config.schema import MethodWiring, Settings
from svs.data import spleeter_weights
from svs.data.synthetic import write_stempeg_song
from svs.errors import UnavailableError
from svs.networks import spleeter as networks_spleeter
from svs.networks.inference import Net
from svs.separators import spleeter
from svs.separators.segments import Segments
from tests.helpers import REPOSITORY
from tests.helpers.processes import gone
from tests.helpers.separation import sdr, separated
from tests.helpers.spleeter import put, random_weights, save_checkpoint, save_npz, upstream


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """A cache of one's own, and no network."""
    monkeypatch.setenv("SVS_WEIGHTS", str(tmp_path / "cache"))
    monkeypatch.setenv("SVS_OFFLINE", "1")


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def options(settings: Settings, **changes) -> Settings:
    changed = separators.options("spleeter", settings).model_copy(update=changes)
    return settings.model_copy(update={"separate": settings.separate.model_copy(update={"spleeter": changed})})


def with_weights(settings: Settings, folder: Path) -> Settings:
    return settings.model_copy(update={"methods": {**settings.methods, "spleeter": MethodWiring(needs=folder)}})


def one_line(error: pytest.ExceptionInfo) -> str:
    text = str(error.value)
    assert "\n" not in text and text.startswith("spleeter: ")
    return text


# The network here


@pytest.fixture(scope="module")
def weights() -> spleeter_weights.Weights:
    return random_weights()


@pytest.fixture(scope="module")
def native(settings, weights):
    """Separators with random weights, which share the network; options in, separator out."""
    network = Net(networks_spleeter.graph(weights))

    def make(**changes):
        mask = spleeter.Mask(network, separators.options("spleeter", options(settings, **changes)))
        return Segments("spleeter", lambda audio: mask.vocals(audio, 44100))

    return make


@pytest.mark.parametrize("samples", [1, 3000, pytest.param(512 * 1024 + 1, marks=pytest.mark.slow)])
def test_the_native_estimate_is_that_of_upstreams_definition(native, weights, song, samples):
    expected = upstream(weights, song[-samples:])
    came = native().vocals(song[-samples:], 44100)
    assert came.shape == expected.shape and came.dtype == np.float32
    np.testing.assert_allclose(came, expected, atol=2e-6)
    if samples > 1:
        assert 0.1 < np.sqrt(np.mean(came**2) / np.mean(song[-samples:] ** 2)) < 0.95, "masks neither 0 nor 1"


def test_options_of_the_native_mask(native, weights, song):
    changes = {"separation_exponent": 1.0, "mask_extension": "average"}
    expected = upstream(weights, song[:200000], **changes)
    np.testing.assert_allclose(native(**changes).vocals(song[:200000], 44100), expected, atol=2e-6)
    for name, value in changes.items():
        other = native(**{name: value}).vocals(song[:200000], 44100)
        assert np.abs(other - native().vocals(song[:200000], 44100)).max() > 1e-3
        assert np.abs(other - expected).max() > 1e-3


@pytest.mark.parametrize("rate, chunk", [(44100, 2.0), (48000, 30.0)])
def test_native_chunks_are_as_the_whole(native, song, rate, chunk):
    audio, computed = resample(song[: 25 * 44100], 44100, rate), []
    segment = native().segment
    counting = Segments("spleeter", lambda audio: computed.append(1) or segment(audio))
    whole = separated(native(), audio, rate)
    pieces = separated(counting, audio, rate, chunk=chunk)
    assert len(computed) == 3, "no segment twice"
    assert np.abs(whole).max() > 0.1 and np.abs(pieces - whole).max() < 1e-5


@pytest.mark.parametrize("gain", [0.01, 10.0])
def test_a_recording_at_any_gain_is_heard_alike(native, song, gain):
    audio, segment = song[: 5 * 44100], native().segment
    levelled = Segments("spleeter", segment, 0.15)
    expected = separated(levelled, audio, 44100)
    np.testing.assert_allclose(separated(levelled, np.float32(gain) * audio, 44100) / gain, expected, atol=1e-4)
    as_it_is = separated(Segments("spleeter", segment), np.float32(gain) * audio, 44100)
    assert np.abs(as_it_is / gain - expected).max() > 1e-3


def test_several_pitches_are_averaged(native, song):
    audio = song[:150000]
    both = native(semitones=(0.0, 2.0)).vocals(audio, 44100)
    each = [native(semitones=(pitch,)).vocals(audio, 44100) for pitch in (0.0, 2.0)]
    np.testing.assert_array_equal(each[0], native().vocals(audio, 44100))
    np.testing.assert_allclose(both, (each[0] + each[1]) / 2, atol=1e-6)
    assert np.abs(each[1] - each[0]).max() > 0.01


def test_frames_of_every_pitch_sum_to_the_mixture(native, song, monkeypatch):
    """With masks of 1 a segment's estimate is the mixture, and so are their sums across segments."""
    monkeypatch.setattr(
        spleeter.Mask,
        "estimate",
        lambda self, mixture, references: np.where(
            (np.arange(mixture.shape[2]) >= 6) & (np.arange(mixture.shape[2]) < 518), mixture, 0
        ),
    )
    for pitch in (-6.0, 0.0, 6.0):
        came = native(semitones=(pitch,)).vocals(song[: 13 * 44100], 44100)
        np.testing.assert_allclose(came, song[: 13 * 44100], atol=2e-6)


def test_it_is_built_from_the_weights_in_its_folder(settings, weights, native, song, tmp_path):
    save_npz(tmp_path / spleeter_weights.KEPT, weights)
    separator = separators.build("spleeter", with_weights(settings, tmp_path))
    np.testing.assert_array_equal(separator.vocals(song[:9000], 44100), native().vocals(song[:9000], 44100))


def test_weights_of_another_shape_are_refused(settings, weights, tmp_path):
    weights = {stem: dict(arrays) for stem, arrays in weights.items()}
    weights["vocals"]["down2_conv.1.weight"] = np.zeros((32, 8, 5, 5), np.float32)
    save_npz(tmp_path / spleeter_weights.KEPT, weights)
    with pytest.raises(UnavailableError) as error:
        separators.build("spleeter", with_weights(settings, tmp_path))
    assert "other shapes" in one_line(error) and str(tmp_path) in str(error.value)


def test_silence_gives_silence_natively(native):
    assert not native().vocals(np.zeros((50000, 2), np.float32), 44100).any()


def test_the_published_weights_separate_a_real_song(settings, published_weights, stems):
    """A song that has neither been trained on nor chosen: that of stempeg."""
    separator = separators.build("spleeter", with_weights(settings, published_weights))
    vocals = separator.vocals(stems["mixture"], 44100)
    assert sdr(stems["vocals"], vocals) > sdr(stems["vocals"], stems["mixture"] / 4) + 3


# The environment

NEEDED = ("sh", "cat", "cksum", "dirname", "mkdir", "ls", "rm", "sleep", "du", "cut", "printf", "env", "flock")


@pytest.fixture
def bare(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A checkout with the setup script alone, and a PATH with nothing but the shell's own tools."""
    root = tmp_path / "checkout"
    (root / "tools").mkdir(parents=True)
    shutil.copy(REPOSITORY / "tools/spleeter.sh", root / "tools")
    shutil.copy(REPOSITORY / "requirements-spleeter.txt", root)
    for name in NEEDED:
        if found := shutil.which(name):
            (root / "bin").mkdir(exist_ok=True)
            (root / "bin" / name).symlink_to(found)
    return root, {"PATH": str(root / "bin"), "HOME": str(tmp_path)}


def fake_python(root: Path, installing: str = "exit 0") -> Path:
    """A Python 3.11 whose environments only write down what they are asked for."""
    inner = script(root / "inner", f'echo "$*" >> {root}/log\ncase "$*" in *install*) {installing};; esac')
    return script(
        root / "bin/python3.11",
        f"""
case "$1" in
-m) mkdir -p "$3/bin"; cat {inner} > "$3/bin/python"; {shutil.which("chmod")} +x "$3/bin/python";;
esac""",
    )


def setup(bare: tuple[Path, dict[str, str]], *arguments: str) -> subprocess.CompletedProcess:
    root, environment = bare
    return subprocess.run(["tools/spleeter.sh", *arguments], cwd=root, env=environment, capture_output=True, text=True)


def test_setup_without_python_says_what_to_install(bare):
    done = setup(bare)
    assert done.returncode == 1 and "Python 3.11 is missing" in done.stderr
    assert not (bare[0] / ".venv-spleeter").exists()


def test_setup_makes_the_environment_once_and_again_for_another_lock(bare):
    root, _ = bare
    fake_python(root)
    assert setup(bare, "--check").returncode == 1
    done = setup(bare)
    assert done.returncode == 0 and "about 2.4 GB" in done.stderr
    assert f"-r {root}/requirements-spleeter.txt" in (root / "log").read_text()
    assert setup(bare, "--check").returncode == 0
    (root / "log").write_text("")
    assert setup(bare).stderr == "" and "install" not in (root / "log").read_text()
    with open(root / "requirements-spleeter.txt", "a") as lock:
        lock.write("another==1.0\n")
    assert setup(bare, "--check").returncode == 1
    assert setup(bare).returncode == 0 and "install" in (root / "log").read_text()


def test_setup_starts_anew_after_an_interruption(bare):
    root, _ = bare
    fake_python(root, "exit 1")
    done = setup(bare)
    assert done.returncode == 1 and "could not be installed" in done.stderr
    assert setup(bare, "--check").returncode == 1
    (root / ".venv-spleeter" / "half").write_text("left behind")
    fake_python(root)
    assert setup(bare).returncode == 0
    assert not (root / ".venv-spleeter" / "half").exists() and setup(bare, "--check").returncode == 0


def test_setup_leaves_a_folder_alone_that_it_did_not_make(bare, tmp_path):
    fake_python(bare[0])
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    done = setup(bare, str(precious))
    assert done.returncode == 1 and "name another folder" in done.stderr
    assert (precious / "thesis.txt").read_text() == "years of work"


def test_an_interrupted_setup_leaves_no_installation_running(bare):
    root, environment = bare
    fake_python(root, f"echo $$ > {root}/pip; exec sleep 60")
    with subprocess.Popen(
        ["tools/spleeter.sh"], cwd=root, env=environment, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        until = time.monotonic() + 60
        while not (root / "pip").exists() or not (root / "pip").read_text():
            assert time.monotonic() < until
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        process.wait(20)
    assert gone(int((root / "pip").read_text()))
    assert setup(bare, "--check").returncode == 1


def test_the_lock_names_spleeter_and_its_version(settings):
    lines = [
        line for line in (REPOSITORY / "requirements-spleeter.txt").read_text().splitlines() if not line.startswith("#")
    ]
    assert "spleeter==2.4.2" in lines and "tensorflow==2.12.1" in lines
    assert all("==" in line and "+" not in line for line in lines)
    assert os.access(REPOSITORY / "tools/spleeter.sh", os.X_OK)


@pytest.fixture
def home(tmp_path):
    """A repository in which nothing can be made."""
    root = tmp_path / "repository"
    script(root / "tools" / "spleeter.sh", '[ "$1" != --check ] && echo "svs setup: pip has no network" >&2\nexit 1')
    return root


@pytest.mark.parametrize(
    "folder, command",
    [(".venv-spleeter", "`tools/spleeter.sh .venv-spleeter`"), ("elsewhere", "`tools/spleeter.sh elsewhere`")],
)
@pytest.mark.parametrize("why", ["SVS_OFFLINE is set", "separate.spleeter.install is false", "pip has no network"])
def test_without_the_environment_one_line_says_how_to_make_it(settings, home, monkeypatch, capfd, why, folder, command):
    if "OFFLINE" not in why:
        monkeypatch.delenv("SVS_OFFLINE")
    chosen = separators.options("spleeter", options(settings, environment=Path(folder), install="install" not in why))
    with pytest.raises(UnavailableError) as error:
        spleeter.environment(chosen, home)
    text = one_line(error)
    assert why in text and command in text and str(home) in text
    assert ("pip has no network" in capfd.readouterr().err) == ("network" in why), "its progress is shown"


def test_outside_of_the_repository(settings, tmp_path):
    with pytest.raises(UnavailableError, match="from its repository"):
        spleeter.environment(separators.options("spleeter", settings), tmp_path)
    own = script(tmp_path / ".venv-spleeter" / "bin" / "python", "")
    assert spleeter.environment(separators.options("spleeter", settings), tmp_path) == own


# The method, with a network of our own


@pytest.fixture(scope="module")
def song(tmp_path_factory) -> np.ndarray:
    """36 s of a real song: 6 s of it in six loudnesses."""
    folder = tmp_path_factory.mktemp("song") / "song"
    write_stempeg_song(folder)
    source = WavSource(folder / "mixture.wav")
    audio = source.read(0, source.samples)
    return np.concatenate([audio * np.float32(gain) for gain in (1, 0.7, 0.9, 0.5, 1, 0.8)])


@pytest.fixture
def built(settings, tmp_path):
    """`build` with an environment whose Python runs tests/helpers/fake_spleeter_worker.py."""
    environment = tmp_path / "environment"
    fake = REPOSITORY / "tests" / "helpers" / "fake_spleeter_worker.py"
    script(
        environment / "bin" / "python", f'case "$1" in -c) exit 0;; esac\nshift 2\nexec {sys.executable} -I {fake} "$@"'
    )
    (environment / ".svs-spleeter").touch()
    with open(REPOSITORY / "requirements-spleeter.txt", "rb") as lock:
        checksum = subprocess.run(["cksum"], stdin=lock, capture_output=True, text=True).stdout.strip()
    (environment / ".svs-complete").write_text(checksum)
    put(tmp_path / "models/weights/spleeter")
    made = []

    def make(**changes):
        chosen = options(settings, **({"engine": "package", "environment": environment} | changes))
        chosen = chosen.model_copy(update={"methods": {}})
        made.append(separators.build("spleeter", chosen, tmp_path))
        return made[-1]

    yield make
    for separator in made:
        separator.segment.worker.close()


def test_what_the_worker_is_given(built, tmp_path):
    separator = built(separation_exponent=1.5)
    assert separator.name == "spleeter"
    assert separator.segment.worker.greeting == f"loaded {tmp_path}/models/weights/spleeter/model with exponent 1.5"


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
@pytest.mark.parametrize("rate", [8000, 22050, 44056, 44100, 48000, 96000, 192000])
def test_frames_sum_to_the_mixture_at_any_rate(built, song, rate, channels):
    """With masks of 1 the estimate is the mixture, at any length, but for what resampling takes away."""
    separator = built(mask_extension="average")
    for samples in (1, 1000, 44100 * 13 + 7):
        given = song[:samples]
        if samples > 2000:
            given = resample(resample(given, 44100, 6000), 6000, rate)  # nothing that resampling takes away
        given = np.tile(given, (1, 3))[:, :channels] * np.float32(0.9)
        came = separated(separator, given, rate)
        assert came.shape == given.shape and came.dtype == np.float32
        if samples > 2000:
            error = np.abs(came - given)[rate // 10 : -rate // 10].max()
            assert error < (1e-6 if rate == 44100 else 2e-3)


@pytest.mark.parametrize(
    "rate, chunk, tolerance",
    [(44100, 2.0, 1e-6), (44100, 30.0, 1e-6), (22050, 2.0, 1e-5), (48000, 2.0, 1e-5), (16000, 13.0, 1e-5)],
)
def test_chunks_are_as_the_whole(built, song, rate, chunk, tolerance):
    separator = built()
    audio = resample(song, 44100, rate)
    asked = []
    ask = separator.segment.worker.ask
    separator.segment.worker.ask = lambda first, last, content: asked.append(first) or ask(first, last, content)
    whole = separated(separator, audio, rate)
    at_once = len(asked)
    pieces = separated(separator, audio, rate, chunk=chunk)
    del separator.segment.worker.ask
    assert pieces.shape == whole.shape
    assert np.abs(pieces - whole).max() < tolerance
    assert np.abs(whole).max() > 0.1
    assert len(asked) <= 2 * at_once, "no segment twice"


def test_chunks_of_four_channels_compute_no_segment_twice(built, song):
    separator = built()
    audio = np.concatenate([song, song[:, ::-1] * np.float32(0.5)], axis=1)
    asked = []
    ask = separator.segment.worker.ask
    separator.segment.worker.ask = lambda first, last, content: asked.append(first) or ask(first, last, content)
    pieces = separated(separator, audio, 44100, chunk=2.0)
    assert len(asked) == 2 * 4
    whole = separated(separator, audio, 44100, chunk=100.0)
    assert np.abs(whole).max() > 0.1 and np.abs(pieces - whole).max() < 1e-6
    del separator.segment.worker.ask


def test_silence_gives_silence(built):
    assert not built().vocals(np.zeros((50000, 2), np.float32), 44100).any()


# Spleeter itself


@pytest.fixture(scope="module")
def own_python(settings) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SVS_OFFLINE", raising=False)
        try:
            return spleeter.environment(separators.options("spleeter", settings))
        except UnavailableError as error:
            pytest.skip(str(error))


def run_there(own_python: Path, *arguments: object) -> None:
    done = subprocess.run(
        [own_python, "-I", REPOSITORY / "tests" / "helpers" / "spleeter_reference.py", *map(str, arguments)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="module")
def models(own_python, tmp_path_factory) -> dict[int, Path]:
    """Folders of two checkpoints with random weights, by seed."""
    folders = {}
    for seed in (1, 2):
        folders[seed] = tmp_path_factory.mktemp("models") / str(seed) / "2stems"
        folders[seed].mkdir(parents=True)
        run_there(own_python, "save", folders[seed], seed)
    return folders


@pytest.fixture(scope="module")
def expected(own_python, models, song, tmp_path_factory) -> dict[int, np.ndarray]:
    """What spleeter's own Separator makes of the song with each of the checkpoints."""
    folder = tmp_path_factory.mktemp("expected")
    np.save(folder / "song.npy", song)
    estimates = {}
    for seed, model in models.items():
        run_there(own_python, "separate", model, folder / "song.npy", folder / f"{seed}.npy")
        estimates[seed] = np.load(folder / f"{seed}.npy")
    return estimates


@pytest.fixture(scope="module")
def real(settings, own_python, models):
    """`build` with the real environment; seed of the checkpoint and options in, separator out."""
    made = {}

    def make(seed: int = 1, **changes):
        key = (seed, *sorted(changes.items()))
        if key not in made:
            chosen = options(settings, engine="package", **changes)
            made[key] = separators.build("spleeter", with_weights(chosen, models[seed].parent))
        return made[key]

    yield make
    for separator in made.values():
        separator.segment.worker.close()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_the_estimate_is_spleeter_s_own(real, song, expected, seed):
    assert real(seed).segment.worker.greeting.startswith("148 variables of ")
    came = real(seed).vocals(song, 44100)
    np.testing.assert_allclose(came, expected[seed], atol=1e-6)
    level = np.sqrt(np.mean(came**2) / np.mean(song**2))
    assert 0.1 < level < 0.9, "masks neither 0 nor 1"
    assert np.abs(expected[1] - expected[2]).max() > 0.05, "the checkpoint matters"


@pytest.mark.slow
def test_any_length_is_spleeter_s_own(real, song, own_python, models, tmp_path):
    lengths = (1, 3000, 512 * 1024 - 4096, 512 * 1024 + 1)
    for samples in lengths:
        np.save(tmp_path / f"song{samples}.npy", song[-samples:])
    run_there(
        own_python,
        "separate",
        models[1],
        *(tmp_path / f"{what}{samples}.npy" for samples in lengths for what in ("song", "vocals")),
    )
    for samples in lengths:
        np.testing.assert_allclose(
            real().vocals(song[-samples:], 44100), np.load(tmp_path / f"vocals{samples}.npy"), atol=1e-6
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    "rate, chunk, tolerance",
    [(44100, 2.0, 1e-6), (44100, 30.0, 1e-6), (22050, 2.0, 1e-4), (48000, 2.0, 1e-4), (16000, 2.0, 1e-4)],
)
def test_chunks_of_spleeter_are_as_the_whole(real, song, rate, chunk, tolerance):
    audio = resample(song, 44100, rate)
    whole = separated(real(), audio, rate)
    assert np.abs(separated(real(), audio, rate, chunk=chunk) - whole).max() < tolerance


@pytest.mark.slow
@pytest.mark.parametrize(
    "rate, channels, samples",
    [
        (44100, 1, 100000),
        (44100, 2, 100000),
        (44100, 5, 100000),
        (8000, 1, 8001),
        (11025, 2, 20000),
        (22050, 2, 44101),
        (48000, 2, 96001),
        (96000, 1, 96000),
        (192000, 2, 200000),
    ],
)
def test_channels_and_rates(real, song, rate, channels, samples):
    audio = np.tile(resample(song[: 5 * 44100], 44100, rate), (1, 3))[:samples, :channels]
    separator = real(level=None)  # all channels and two of them have another level
    came = separated(separator, audio, rate)
    assert came.shape == audio.shape and came.dtype == np.float32 and np.isfinite(came).all()
    assert 0 < np.abs(came).max() < 1.5
    if channels == 1 and rate == 44100:
        both = separated(separator, np.repeat(audio, 2, axis=1), rate)
        np.testing.assert_allclose(came[:, 0], both.mean(axis=1), atol=1e-6)
    if channels == 5:
        np.testing.assert_allclose(came[:, :2], separated(separator, audio[:, :2], rate), atol=1e-6)
        np.testing.assert_allclose(came[:, 4:], separated(separator, audio[:, 4:], rate), atol=1e-6)


@pytest.mark.slow
def test_silence_gives_silence_in_spleeter_too(real):
    assert not real().vocals(np.zeros((600000, 2), np.float32), 44100).any()


@pytest.mark.slow
def test_options_of_the_mask(real, song):
    plain = real().vocals(song[:200000], 44100)
    average = real(mask_extension="average").vocals(song[:200000], 44100)
    power = real(separation_exponent=1.0).vocals(song[:200000], 44100)
    energy = (np.abs(np.fft.rfft((average - plain) * np.hanning(200000)[:, None], axis=0)) ** 2).sum(axis=1)
    frequencies = np.fft.rfftfreq(200000, 1 / 44100)
    assert energy[frequencies < 10900].sum() < 0.001 * energy[frequencies > 11100].sum() > 0
    assert np.abs(power - plain).max() > 1e-3


@pytest.mark.slow
def test_the_process_is_gone_afterwards(real, settings, models, song):
    separator = separators.build("spleeter", with_weights(options(settings, engine="package"), models[1].parent))
    process = separator.segment.worker.process.pid
    separator.vocals(song[:44100], 44100)
    assert Path(f"/proc/{process}").exists()
    del separator
    gc.collect()
    assert gone(process)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["model.index", "model.data-00000-of-00001", "another network"])
def test_a_damaged_checkpoint_is_refused_not_replaced_by_random_weights(settings, own_python, models, tmp_path, damage):
    folder = tmp_path / "2stems"
    shutil.copytree(models[1], folder)
    if damage == "another network":
        code = (
            "import sys, tensorflow as tf\nwith tf.Graph().as_default(), tf.compat.v1.Session() as session:\n"
            "    tf.compat.v1.get_variable('a', ())\n    session.run(tf.compat.v1.global_variables_initializer())\n"
            "    tf.compat.v1.train.Saver().save(session, sys.argv[1])"
        )
        subprocess.run([own_python, "-I", "-c", code, folder / "model"], check=True, capture_output=True)
    else:
        content = (folder / damage).read_bytes()
        (folder / damage).write_bytes(content[: len(content) // 2])
    with pytest.raises(UnavailableError) as error:
        separators.build("spleeter", with_weights(options(settings, engine="package"), tmp_path))
    assert "while it loaded" in one_line(error)


@pytest.mark.slow
def test_an_archive_becomes_the_estimate(settings, own_python, models, expected, song, tmp_path):
    with tarfile.open(tmp_path / "2stems.tar.gz", "w:gz", compresslevel=1) as tar:
        tar.add(models[2], ".")
    separator = separators.build("spleeter", with_weights(options(settings, engine="package"), tmp_path))
    try:
        np.testing.assert_allclose(separator.vocals(song, 44100), expected[2], atol=1e-6)
    finally:
        separator.segment.worker.close()


@pytest.mark.slow
@pytest.mark.parametrize("extension", ["zeros", "average"])
def test_the_package_gives_the_native_estimate_of_real_music(
    settings, own_python, published_weights, previews, tmp_path, extension
):
    """The published arrays, written into spleeter's own graph, and run by spleeter in its own environment."""
    save_checkpoint(tmp_path / "2stems", spleeter_weights.load(published_weights))
    by_package, here = (
        separators.build("spleeter", with_weights(options(settings, mask_extension=extension, engine=engine), folder))
        for engine, folder in (("package", tmp_path), ("native", published_weights))
    )
    try:
        songs = []
        for path in sorted((previews / "test").glob("*.mp4"))[:4]:
            with open_recording(path) as recording:
                songs.append(recording.read(0, recording.samples))
        for song in (*songs, np.concatenate(songs)):
            expected = by_package.vocals(song, 44100)
            assert np.abs(expected).max() > 0.1
            np.testing.assert_allclose(here.vocals(song, 44100), expected, atol=2e-5)
        if extension == "zeros":  # what its own Separator does
            np.save(tmp_path / "song.npy", songs[0])
            run_there(own_python, "separate", tmp_path / "2stems", tmp_path / "song.npy", tmp_path / "vocals.npy")
            np.testing.assert_allclose(here.vocals(songs[0], 44100), np.load(tmp_path / "vocals.npy"), atol=2e-5)
    finally:
        by_package.segment.worker.close()
