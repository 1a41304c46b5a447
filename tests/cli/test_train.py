"""`svs extract`, `svs train`, `svs score`, `svs methods` as a person calls them."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from svs import networks, separators
from svs.audio.sources import WavSource, write_wav
from svs.cli import main
from svs.cli import train as cli_train
from svs.config import project
from svs.data.dataset import Dataset
from svs.errors import DataError, SettingsError
from svs.evaluation import score, tables
from svs.features import extraction, store
from svs.runtime import files
from svs.separators import estimates
from svs.services import test_set
from tests.helpers import REPOSITORY

SMALL = ["--frame_size", "512", "-H", "256", "-w", "512", "-sr", "22050", "-iw", "5", "-sp", "0.2", "-ow", "3"]
HEAVY = {"keras", "tensorflow", "torch", "librosa", "museval", "matplotlib", "pandas", "zarr", "scipy"}


def call(*words) -> int:
    """The command, in this process; its exit code."""
    try:
        main([str(word) for word in words])
    except SystemExit as ended:
        return ended.code or 0
    return 0


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Tracks one after another in this process (a worker takes seconds to start), and the log as it was."""
    monkeypatch.setattr("svs.runtime.parallel.cores", lambda: 1)
    log = logging.getLogger("svs")
    before = log.level
    yield
    log.setLevel(before)


def new_project(folder: Path) -> Path:
    for name in ("params.yaml", "wiring.yaml", "dvc.yaml"):
        shutil.copy2(REPOSITORY / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A project of its own: models and logs land there."""
    return new_project(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def extracted(home, tiny_set, tmp_path_factory) -> tuple[Path, str]:
    """A small store, and what `svs extract` said."""
    out = tmp_path_factory.mktemp("stores") / "svs_16"
    done = subprocess.run(
        [sys.executable, "-m", "svs.cli", "extract", tiny_set[0], out, "16", "svs", *SMALL, "--project", home],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return out, done.stdout


@pytest.fixture(scope="module")
def trained(home, extracted) -> Path:
    """A model of two epochs."""
    out = home / "models" / "CNN_separator"
    assert call("train", "CNN_separator", extracted[0], "SVS", "-e", 2, "-b", 8, "--project", home) == 0
    return out


def test_help_is_instant_and_says_every_option():
    code = (
        "import sys; from svs.cli import main\n"
        f"assert not {HEAVY!r} & set(sys.modules), {HEAVY!r} & set(sys.modules)\n"
        "sys.argv = ['svs', '--help']; main()"
    )
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - begun < 5  # 0.4 s on a machine that does nothing else
    for command in ("extract", "train", "score", "methods", "doctor"):
        assert command in done.stdout


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("extract", ["-f", "-H", "-w", "-sr", "-iw", "-sp", "-ow", "-q", "-v", "-h", "ITERATIONS", "MODE"]),
        ("train", ["-e", "-b", "-q", "--init", "--network", "NAME", "STORE", "MODE"]),
        ("score", ["--musdb", "--protocol", "--tracks", "--estimates", "METHOD"]),
        ("methods", ["--weights"]),
        ("doctor", ["--full", "--json"]),
    ],
)
def test_the_options_of_the_seed(command, words, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert call(command, "-h") == 0
    said = capsys.readouterr().out
    assert all(word in said for word in words)


def test_extract_says_what_the_seed_says(extracted):
    out, said = extracted
    assert "16 sets of 2 excerpts" in said
    assert "Input shape for set: (2, 257, 5)" in said
    assert "Output shape for each set: (2, 257, 3)" in said
    assert "32 excerpts for training, 3 of 1 other songs for validation" in said
    assert store.kept(out / "masks") == store.Default("SVS", 16, 3, 0.2, 3)
    assert not [item.name for item in out.parent.iterdir() if item.name != out.name], "scratch is left"


def test_extract_writes_what_the_stage_writes(extracted, tiny_set, settings, tmp_path):
    folder, manifest = tiny_set
    wanted = settings.extract.model_copy(
        update={
            "modes": ("SVS",),
            "svs": settings.extract.masks.model_copy(
                update={"sample_rate": 22050, "frame_size": 512, "win_length": 512, "hop_length": 256, "width": 5}
            ),
        }
    )
    extraction.extract(Dataset(folder, manifest), wanted, tmp_path / "store", files.Scratch(tmp_path, "work", "1"))
    ours, theirs = (store.Spectrograms(path / "masks") for path in (extracted[0], tmp_path / "store"))
    assert ours.representation == theirs.representation
    for split in ("train", "valid"):
        assert ours.runs("SVS", split) == theirs.runs("SVS", split)
        for run_of in theirs.runs("SVS", split):
            for name in ("mixture", "vocals", "mask"):
                np.testing.assert_array_equal(ours.array(run_of.track, name)[:], theirs.array(run_of.track, name)[:])


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["10", "NOPE"], 2, "mode NOPE: expected one of SVS, DAE, VAD, MIX"),
        (["10", "MIX", "-f", "512", "-sp", "1"], 2, "--start-point, --frame-size: mode MIX keeps whole stems"),
        (["10", "MIX", "-ow", "1"], 2, "--label-width: mode MIX"),
        (["10", "MIX", "-sr", "1"], 2, "sample_rate"),
        (["0", "SVS"], 2, ""),
        (["10", "SVS", "-iw", "4"], 2, "even"),
        (["10", "SVS", "-iw", "5", "-ow", "7"], 2, "--label-width 7"),
        (["10", "SVS", "-ow", "2"], 2, "--label-width 2"),
        (["10", "VAD", "-ow", "1"], 2, "--label-width"),
        (["10", "SVS", "-H", "5000"], 2, "hop_length 5000"),
        (["10", "SVS", "-sr", "1"], 2, "sample_rate"),
        (["10", "SVS", "-S", "extract.nope=1"], 2, "extract.nope"),
    ],
)
def test_extract_refuses_the_impossible(words, code, said, tiny_set, home, tmp_path, capsys):
    assert call("extract", tiny_set[0], tmp_path / "store", *words, "--project", home) == code
    error = capsys.readouterr().err
    assert said in error
    if said:
        assert error.startswith("error: ") and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_extract_refuses_wrong_folders(tiny_set, home, tmp_path, capsys):
    assert call("extract", tmp_path / "nowhere", tmp_path / "store", 4, "SVS", "--project", home) == 3
    assert "there is no such folder" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("dear diary")
    assert call("extract", tiny_set[0], tmp_path / "mine", 4, "SVS", "--project", home) == 3
    assert "is there already" in capsys.readouterr().err
    assert call("extract", tiny_set[0], tmp_path / "mine", 4, "SVS", "--overwrite", "--project", home) == 3
    assert "expected a store of spectrograms to overwrite" in capsys.readouterr().err
    assert [item.name for item in tmp_path.iterdir()] == ["mine"]
    assert (tmp_path / "mine" / "diary.txt").read_text() == "dear diary"


def test_training_data_of_the_other_modes(tiny_set, home, tmp_path, capsys):
    folder, manifest = tiny_set
    small = ["-f", 512, "-H", 256, "-w", 512, "-sr", 22050, "--project", home]
    assert call("extract", folder, tmp_path / "vad", 4, "VAD", *small) == 0
    assert "Output shape for each set: (2, 1)" in capsys.readouterr().out
    assert store.kept(tmp_path / "vad" / "vad").label_width is None
    # Too late for any excerpt: nothing appears; and over what is there, nothing is lost.
    assert call("extract", folder, tmp_path / "vad", 4, "VAD", *small, "-sp", 60, "--overwrite") == 3
    assert "choose an earlier --start-point" in capsys.readouterr().err
    assert store.kept(tmp_path / "vad" / "vad").start_point == 0.0


@pytest.mark.parametrize(
    ("given", "name", "mode", "label", "network"),
    [
        (None, "CNN_separator", "SVS", None, "cnn_separator"),
        (None, "mine", "SVS", 1, "cnn_separator"),
        (None, "mine", "SVS", 9, "cnn_deep_separator"),
        (None, "mine", "DAE", 9, "cnn_deep_separator"),
        (None, "mine", "VAD", None, "vad"),
        ("cnn_separator", "mine", "SVS", 9, "cnn_separator"),
        (None, "cnn_deep_separator", "SVS", 1, "cnn_deep_separator"),
        (None, "mine", "MIX", None, "unet_separator"),
    ],
)
def test_which_network(given, name, mode, label, network):
    assert cli_train._network(given, name, mode, label) == network


@pytest.mark.parametrize(
    ("given", "name", "mode"),
    [
        ("nope", "a", "SVS"),
        ("vad", "a", "SVS"),
        (None, "vad", "SVS"),
        ("cnn_separator", "a", "VAD"),
        ("unet_separator", "a", "SVS"),
        ("cnn_separator", "a", "MIX"),
        (None, "vad", "MIX"),
    ],
)
def test_which_network_not(given, name, mode):
    with pytest.raises(SettingsError):
        cli_train._network(given, name, mode, 1)


# -- mode MIX

SMALL_NET = {
    "frames": 32,
    "representation.frame_size": 1024,
    "representation.win_length": 1024,
    "representation.hop_length": 512,
    "network.channels": 6,
    "network.growth": 2,
    "network.levels": 2,
}
SMALL_MIX = [word for key, value in SMALL_NET.items() for word in ("-S", f"train.unet_separator.{key}={value}")]


@pytest.fixture(scope="module")
def stems(home, tiny_set, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("stems") / "mix"
    done = subprocess.run(
        [sys.executable, "-m", "svs.cli", "extract", tiny_set[0], out, "5", "mix", "--project", home],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "the stems of 2 training songs at 44100 Hz (mode MIX)" in done.stdout
    assert "5 sets of 2 mixtures in every epoch, and 1 other songs as they are for validation" in done.stdout
    return out


def test_the_stems_are_what_the_stage_writes(stems, tiny_set, settings, tmp_path):
    wanted = settings.extract.model_copy(update={"modes": ("MIX",)})
    extraction.extract(Dataset(*tiny_set), wanted, tmp_path / "store", files.Scratch(tmp_path, "work", "1"))
    ours, theirs = (store.Stems(path / "stems") for path in (stems, tmp_path / "store"))
    assert store.kept(stems / "stems") == store.Default("MIX", 5, 1, 0.0, None)
    for split in ("train", "valid", "unused"):
        assert ours.tracks(split) == theirs.tracks(split)
        for track in ours.tracks(split):
            for stem in ("vocals", "drums", "bass", "other"):
                both = [one.read(track, stem, 0, one.samples(track)) for one in (ours, theirs)]
                np.testing.assert_array_equal(*both)


def test_training_on_mixtures_is_the_stage_and_is_used(stems, settings, tmp_path, monkeypatch, capsys):
    from svs.networks import archive
    from svs.training.on_mixtures import train_on_mixes

    (tmp_path / "home").mkdir()
    home = new_project(tmp_path / "home")
    begun = {"epochs": 2, "batch_size": 4, "mixes": 12}  # five sets of two, in whole batches
    words = ["train", "unet_separator", stems, "MIX", "-e", 2, "-b", 4, *SMALL_MIX, "--project", home]
    assert call(*words) == 0
    said = capsys.readouterr().out
    assert "unet_separator, mode MIX; validation loss -" in said
    assert "use it: svs separate SONG -m unet_separator\n" in said
    out = home / "models" / "unet_separator"
    assert sorted(os.listdir(out)) == ["curve.csv", "metrics.json", "model.json", "model.keras"]

    options = project_options(home, SMALL_MIX[1::2], begun)
    model, card = train_on_mixes(
        "unet_separator", stems / "stems", options, settings.seed, files.Scratch(tmp_path, "work", "1")
    )
    archive.save(tmp_path / "stage", model, card)
    for name in ("model.keras", "model.json"):
        assert (out / name).read_bytes() == (tmp_path / "stage" / name).read_bytes()

    # It is now the best that is trained here.
    monkeypatch.chdir(tmp_path)
    song = tmp_path / "song.wav"
    write_wav(song, np.random.default_rng(0).normal(0, 0.1, (44100, 2)).astype(np.float32), 44100)
    assert call("separate", song, "--no-picture", "--project", home, "-o", "out") == 0
    assert os.listdir("out/song") == ["unet_separator"]


def project_options(home, overrides, more):
    given = [*overrides, *(f"train.unet_separator.{key}={value}" for key, value in more.items())]
    return networks.training("unet_separator", project.find_project(home, given).settings)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--mixes", "3", "-b", "2"], 2, "mixes 3: expected a multiple of the batch_size, 2"),
        (["-ow", "1"], 2, "--label-width: mode MIX"),
        (["--init", "x"], 2, "--init: mode MIX"),
        (["-n", "cnn_separator"], 2, "can't be trained in mode MIX, which has unet_separator"),
        (["-S", "train.unet_separator.frames=4000"], 3, "as long as a passage"),
    ],
)
def test_training_on_mixtures_refuses_the_impossible(words, code, said, stems, home, tmp_path, capsys):
    assert call("train", "mine", stems, "MIX", "-o", tmp_path / "m", "--project", home, "-q", *words) == code
    assert said in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_the_other_modes_have_no_mixtures(extracted, stems, home, tmp_path, capsys):
    rest = ["-o", tmp_path / "m", "--project", home, "-q"]
    assert call("train", "mine", extracted[0], "SVS", "--mixes", 3, *rest) == 2
    assert "--mixes: mode SVS has no mixtures" in capsys.readouterr().err
    for where, mode in ((extracted[0], "MIX"), (stems, "SVS")):
        assert call("train", "mine", where, mode, *rest) == 3
        assert f"expected a store for mode {mode}, found none; make one: svs extract" in capsys.readouterr().err


def test_an_option_wins_over_set_over_the_store_over_params(extracted, home, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        cli_train,
        "_train",
        lambda network, group, mode, training, seed, *rest: (
            seen.append((network, training, seed)) or {"val_loss": 0.0, "best_epoch": 1, "epochs": 1}
        ),
    )

    def train(*words):
        assert call("train", "mine", extracted[0], "SVS", "-o", tmp_path / "m", "--project", home, "-q", *words) == 0
        return seen[-1]

    network, training, seed = train()
    assert network == "cnn_deep_separator"  # its label is 3 frames wide
    assert (training.excerpts.per_track, training.excerpts.valid_per_track) == (16, 3)
    assert (training.excerpts.start_point, training.label_width) == (0.2, 3)
    assert (training.epochs, seed) == (6, 20)  # the profile's
    changed = ["-S", "train.cnn_deep_separator.excerpts.per_track=5", "-S", "train.cnn_deep_separator.epochs=4"]
    assert train(*changed)[1].excerpts.per_track == 5
    assert train(*changed)[1].epochs == 4
    assert train(*changed, "-e", 3)[1].epochs == 3
    network, training, seed = train("-b", 7, "-ow", 1, "--learning-rate", 0.25, "--seed", 3)
    assert (network, training.batch_size, training.label_width, training.learning_rate, seed) == (
        "cnn_separator",
        7,
        1,
        0.25,
        3,
    )


def test_overrides_win_over_the_profile(home):
    found = project.find_project(home, ["train.cnn_separator.epochs=3", "profile=full", "score.passage.start=2.5"])
    assert found.settings.profile == "full"
    assert networks.training("cnn_separator", found.settings).epochs == 3
    assert found.settings.score.passage.start == 2.5
    with pytest.raises(SettingsError, match="nope"):
        project.find_project(home, ["profile=nope"])


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["a", "STORE", "NOPE"], 2, "mode NOPE"),
        (["a", "STORE", "DAE"], 3, "it was made for SVS"),
        (["a", "STORE", "VAD"], 3, "svs extract DATA OUT ITERATIONS VAD"),
        (["a", "nowhere", "SVS"], 3, "found none"),
        (["a/b", "STORE", "SVS"], 2, "--output"),
        (["a", "STORE", "SVS", "-n", "nope"], 2, "no such network"),
        (["a", "STORE", "SVS", "-ow", "7"], 2, "--label-width 7"),
        (["a", "STORE", "SVS", "--init", "nowhere"], 5, "model.keras"),
        (["a", "STORE", "SVS", "--learning-rate", "7"], 2, "learning_rate"),
    ],
)
def test_train_refuses_the_impossible(words, code, said, extracted, home, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [extracted[0] if word == "STORE" else word for word in words]
    assert call("train", *words, "--project", home) == code
    error = capsys.readouterr().err
    assert said in error and error.startswith("error: ") and error.count("\n") == 1
    assert not (home / "models" / "a").exists() and not list(tmp_path.iterdir())


def test_train_leaves_a_model_that_separates(trained, extracted, home, tiny_set, tmp_path, capsys):
    assert sorted(item.name for item in trained.iterdir()) == ["curve.csv", "metrics.json", "model.json", "model.keras"]
    card = json.loads((trained / "model.json").read_text())
    assert (card["label_width"], card["epochs"], card["excerpts"]["train"]) == (3, 2, 32)
    assert len(pd.read_csv(trained / "curve.csv")) == 2
    assert [item.name for item in trained.parent.iterdir()] == [trained.name], "scratch is left"
    # A second time: refused, and what is there stays.
    assert call("train", "CNN_separator", extracted[0], "SVS", "--project", home) == 3
    capsys.readouterr()
    assert (
        call(
            "score",
            "cnn_separator",
            "--musdb",
            tiny_set[0],
            "-o",
            tmp_path / "out",
            "--project",
            home,
            "-S",
            f"methods.cnn_separator={trained}",
        )
        == 0
    )
    assert "cnn_separator" in capsys.readouterr().out
    with Dataset(*tiny_set).open(tiny_set[1].split("test")[0], ("mixture",)) as sources:
        mixture = sources["mixture"].read(0, sources["mixture"].samples)
    place = next((tmp_path / "out" / "cnn_separator" / "test").iterdir())
    parts = [WavSource(place / f"{name}.wav").read(0, len(mixture)) for name in ("vocals", "accompaniment")]
    np.testing.assert_allclose(sum(parts), mixture, atol=1e-6)
    assert np.abs(parts[0]).max() > 0


@pytest.mark.slow
def test_train_from_an_autoencoder(tiny_set, home, tmp_path, capsys):
    wanted = ["-f", 512, "-H", 256, "-w", 512, "-sr", 22050, "-iw", 3, "--project", home, "-q"]
    assert call("extract", tiny_set[0], tmp_path / "ae", 4, "DAE", *wanted) == 0
    assert call("extract", tiny_set[0], tmp_path / "svs", 4, "SVS", *wanted) == 0
    once = ["-e", 1, "-b", 4, "--project", home]
    assert call("train", "ae", tmp_path / "ae", "DAE", *once, "-o", tmp_path / "m" / "ae") == 0
    assert "--init" in capsys.readouterr().out
    assert (
        call(
            "train",
            "deep",
            tmp_path / "svs",
            "SVS",
            *once,
            "-o",
            tmp_path / "m" / "deep",
            "--init",
            tmp_path / "m" / "ae",
        )
        == 0
    )
    # Of another shape: refused, and nothing appears.
    assert (
        call(
            "train",
            "flat",
            tmp_path / "svs",
            "SVS",
            *once,
            "-n",
            "cnn_separator",
            "-o",
            tmp_path / "m" / "flat",
            "--init",
            tmp_path / "m" / "ae",
        )
        == 5
    )
    assert not (tmp_path / "m" / "flat").exists()


def test_score_is_what_the_stages_compute(tiny_set, home, tmp_path, capsys):
    folder, manifest = tiny_set
    out = tmp_path / "out"
    words = ["score", "mixture", "--musdb", folder, "-o", out, "--start", 0.5, "--duration", 2, "--project", home]
    assert call(*words) == 0
    said = capsys.readouterr().out
    data = Dataset(folder, manifest)
    parameters = project.find_project(home, ["score.passage.start=0.5", "score.passage.duration=2"]).settings
    separator = separators.build("mixture", parameters)
    estimates.separate_all(
        data, separator, parameters.separate.common.chunk, tmp_path / "theirs", files.Scratch(tmp_path, "work", "1")
    )
    score.score_method(data, tmp_path / "theirs", parameters.score, tmp_path / "scores" / "mixture", "mixture")
    table = tables.gather(tmp_path / "scores", ["mixture"], "bsseval")
    tables.write_table(tmp_path / "scores.csv", table)
    assert (out / "scores.csv").read_bytes() == (tmp_path / "scores.csv").read_bytes()
    assert tables.ranking(table) in said
    name = manifest.split("test")[0].name
    for stem in ("vocals", "accompaniment"):
        ours, theirs = (place / "test" / name / f"{stem}.wav" for place in (out / "mixture", tmp_path / "theirs"))
        assert ours.read_bytes() == theirs.read_bytes()
    json_of = Path("mixture/bsseval/test") / f"{name}.json"
    assert (out / "scores" / json_of).read_bytes() == (tmp_path / "scores" / json_of).read_bytes()
    assert (out / "sdr_boxplot.png").stat().st_size > 1000 and (out / "sdr_boxplot.svg").stat().st_size > 1000


def test_score_skips_what_is_done_and_refuses_another_request(tiny_set, home, tmp_path, capsys, monkeypatch):
    words = ["score", "mixture", "--musdb", tiny_set[0], "-o", tmp_path / "out", "--project", home]
    assert call(*words) == 0
    table = (tmp_path / "out" / "scores.csv").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(estimates, "separate_to", None)
        patch.setattr(score, "score_method", None)
        assert call(*words) == 0
    assert (tmp_path / "out" / "scores.csv").read_bytes() == table
    capsys.readouterr()
    assert call(*words, "-S", "separate.mixture.share=0.5") == 3
    assert "its options differs" in capsys.readouterr().err
    assert (tmp_path / "out" / "scores.csv").read_bytes() == table
    assert call(*words, "-S", "separate.mixture.share=0.5", "--overwrite") == 0
    assert (tmp_path / "out" / "scores.csv").read_bytes() != table
    # Another passage needs other scores, not other estimates.
    with monkeypatch.context() as patch:
        patch.setattr(estimates, "separate_to", None)
        assert call(*words, "-S", "separate.mixture.share=0.5", "--duration", 2) == 0
    assert set(pd.read_csv(tmp_path / "out" / "scores.csv")["frames"]) == {2}


def test_score_goes_on_without_a_method_that_cannot_run(tiny_set, home, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SVS_OFFLINE", "1")
    monkeypatch.setenv("SVS_WEIGHTS", str(tmp_path / "none"))
    words = ["--musdb", tiny_set[0], "-o", tmp_path / "out", "--project", home, "--protocol", "dissertation"]
    assert call("score", "openunmix", "mixture", *words) == 6
    said = capsys.readouterr()
    assert "error: openunmix was left out" in said.err and "mixture" in said.out
    assert list(pd.read_csv(tmp_path / "out" / "scores_dissertation.csv")["method"].unique()) == ["mixture"]
    assert not (tmp_path / "out" / "scores.csv").exists(), "two protocols in one table"
    assert call("score", "openunmix", *words) == 6


def test_estimates_of_others(tiny_set, home, tmp_path, capsys):
    words = ["--musdb", tiny_set[0], "--project", home]
    assert call("score", "mixture", "oracle_ibm", *words, "-o", tmp_path / "made") == 0
    assert call("score", "--estimates", tmp_path / "made", *words, "-o", tmp_path / "scored") == 0
    assert (tmp_path / "scored" / "scores.csv").read_bytes() == (tmp_path / "made" / "scores.csv").read_bytes()
    assert call("score", "theirs", "--estimates", tmp_path / "made" / "mixture", *words, "-o", tmp_path / "one") == 0
    assert set(pd.read_csv(tmp_path / "one" / "scores.csv")["method"]) == {"theirs"}
    capsys.readouterr()
    assert call("score", "nope", "--estimates", tmp_path / "made", *words, "-o", tmp_path / "one") == 3
    assert "it holds mixture, oracle_ibm" in capsys.readouterr().err
    next((tmp_path / "made" / "mixture" / "test").glob("*/vocals.wav")).unlink()
    assert call("score", "--estimates", tmp_path / "made" / "mixture", *words, "-o", tmp_path / "two") == 3
    assert "1 of 1 tracks lack vocals.wav or accompaniment.wav" in capsys.readouterr().err
    # What svs did not make is not replaced, not even when asked to.
    (tmp_path / "made" / "mixture" / "test" / tiny_set[1].split("test")[0].name / estimates.REQUEST).unlink()
    assert call("score", "mixture", *words, "-o", tmp_path / "made", "--overwrite") == 3
    assert "expected a folder of svs's results" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "name one method"),
        (["nope"], 2, "no such method"),
        (["mixture", "--protocol", "nope"], 2, "expected one of bsseval, seed"),
        (["mixture", "--musdb", "nowhere"], 3, "there is no such folder"),
        (["--estimates", "nowhere"], 3, "museval's layout"),
        (["mixture", "-t", "nope"], 3, "found 0"),
        (["mixture", "-t", "7"], 3, "expected 1 to 1"),
        (["mixture", "--start", "500"], 3, "choose an earlier"),
    ],
)
def test_score_refuses_the_impossible(words, code, said, tiny_set, home, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = words if "--musdb" in words else [*words, "--musdb", tiny_set[0]]
    assert call("score", *words, "--project", home, "-q") == code
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1, error
    assert not (tmp_path / "scored" / "scores.csv").exists()


def test_choice_of_tracks(tmp_path):
    for subset, name in (("train", "x"), ("test", "A - One"), ("test", "A - Two"), ("test", "A - Two and a half")):
        (tmp_path / subset / name).mkdir(parents=True)
    names = ["A - One", "A - Two", "A - Two and a half"]
    assert test_set.choose(tmp_path, []) == names
    assert test_set.choose(tmp_path, ["2"]) == names[:2]
    assert test_set.choose(tmp_path, ["half", "one"]) == [names[0], names[2]]
    assert test_set.choose(tmp_path, ["A - Two"]) == [names[1]]
    for wrong in (["two"], ["0"], ["4"], ["x"]):
        with pytest.raises(DataError):
            test_set.choose(tmp_path, wrong)


def test_methods_are_listed_with_what_they_wait_for(home, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SVS_WEIGHTS", str(tmp_path))
    monkeypatch.delenv("SVS_OFFLINE", raising=False)
    assert call("methods", "--project", home, "-S", "methods.cnn_separator.needs=nowhere") == 0
    lines = capsys.readouterr().out.splitlines()
    states = {line.split()[0]: line.split()[1] for line in lines if not line.startswith(" ")}
    assert list(states) == list(separators.methods())
    assert states["mixture"] == states["hpss"] == states["oracle_ibm"] == "ready"
    assert states["cnn_separator"] == states["openunmix"] == states["spleeter"] == "missing"
    assert any("dvc repro train@cnn_separator" in line for line in lines)
    assert not list(tmp_path.iterdir()), "nothing is downloaded"


def _training(extracted: Path, home: Path, out: Path) -> list[str]:
    return [
        sys.executable,
        "-m",
        "svs.cli",
        "train",
        "killed",
        str(extracted),
        "SVS",
        "-n",
        "cnn_separator",
        "-e",
        "8",
        "-b",
        "4",
        "-o",
        str(out),
        "--project",
        str(home),
    ]


def _begun(command: list[str], out: Path, how: signal.Signals) -> subprocess.Popen:
    """Start a training and end it after its first epoch."""
    process = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    deadline = time.monotonic() + 240
    while not list(out.parent.glob(f".{out.name}.partial/*/state.npz")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(how)
    return process


@pytest.fixture(scope="module")
def whole(extracted, home, tmp_path_factory) -> Path:
    """A training that nobody ended."""
    out = tmp_path_factory.mktemp("whole") / "model"
    assert subprocess.run(_training(extracted[0], home, out), cwd=REPOSITORY, capture_output=True).returncode == 0
    return out


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_training_that_was_ended_goes_on(how, whole, extracted, home, tmp_path):
    out = tmp_path / "killed"
    process = _begun(_training(extracted[0], home, out), out, how)
    _, error = process.communicate(timeout=120)
    assert process.returncode == (-signal.SIGKILL if how == signal.SIGKILL else 130), error
    assert not out.exists()
    if how == signal.SIGINT:
        assert "interrupted: run the same command again to continue" in error
        assert "Traceback" not in error
    again = subprocess.run(_training(extracted[0], home, out), cwd=REPOSITORY, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "continuing after epoch" in again.stderr
    for name in ("model.keras", "model.json", "curve.csv", "metrics.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    assert [item.name for item in tmp_path.iterdir()] == ["killed"], "scratch is left"


@pytest.mark.slow
def test_an_extraction_that_was_killed_goes_on(extracted, home, tiny_set, tmp_path):
    command = [
        sys.executable,
        "-m",
        "svs.cli",
        "extract",
        tiny_set[0],
        tmp_path / "store",
        "16",
        "SVS",
        *SMALL,
        "--project",
        home,
    ]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not list(tmp_path.glob(".store.partial/*/tracks/*/runs.npz")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert not (tmp_path / "store").exists()
    assert subprocess.run(command, cwd=REPOSITORY, capture_output=True).returncode == 0
    assert [item.name for item in tmp_path.iterdir()] == ["store"]
    for file in files.files_below(extracted[0]):
        assert (tmp_path / "store" / file.relative_to(extracted[0])).read_bytes() == file.read_bytes()
