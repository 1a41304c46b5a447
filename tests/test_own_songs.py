"""The guide docs/own-songs.md, to the letter: a folder of odd stems, a CSV, and another data set to score on."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from tests.helpers import REPOSITORY
from tests.helpers.datasets import write_stem
from tests.helpers.pipeline import SMALL, call, changed_parameters, clone, commit, ran

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
GUIDE = (REPOSITORY / "docs" / "own-songs.md").read_text(encoding="utf-8")
SECONDS = 3.0
RATES = {"wav": 22050, "flac": 16000, "mp3": 44100}  # Hz, by format
KEPT = {
    "methods": ("unet_separator", "oracle_ibm", "mixture"),
    "models": ("unet_separator",),
    "enhancers": ("mixture",),
}


def section(title: str) -> str:
    """The text below a heading, up to the next one."""
    (text,) = re.findall(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", GUIDE, re.MULTILINE | re.DOTALL)
    return text


def commands(title: str) -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```$", section(title), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def sound(path: Path, number: int, channels: int = 1) -> None:
    """A tone of its own that comes and goes, in the format of its suffix, a little longer than the others."""
    rate = RATES[path.suffix[1:]]
    time = np.arange(round(SECONDS * rate) + 20 * (number % 3)) / rate
    hertz, pulse = 200 + 330 * (number % 9), np.sin(2 * np.pi * (0.4 + 0.1 * (number % 5)) * time)
    tone = 0.2 * np.sin(2 * np.pi * hertz * time) * (pulse > -0.5)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.stack([tone] * channels, axis=1), rate)


def sides(path: Path, number: int) -> None:
    """A voice at the right, and at the left the noise of a band."""
    sound(path, number, 2)
    audio, rate = soundfile.read(path)
    audio[:, 0] = np.random.default_rng(number).normal(0, 0.05, len(audio))
    soundfile.write(path, audio, rate)


def written(tree: str, root: Path) -> list[str]:
    """Make the files of the guide's picture of a folder; the names of its songs."""
    songs = []
    for line in tree.strip().splitlines():
        folder, names = re.fullmatch(r"(.*)/\{(.*)\}", line).groups()
        for name in names.split(","):
            sound(root / folder / name, len(list(root.parent.rglob("*.*"))), 2 if name == "mix.wav" else 1)
        songs.append(" - ".join(Path(folder).parts[2:]))
    return songs


def reduced(folder: Path) -> Path:
    """A clone with few methods, and with trainings of seconds for the profile `own`."""
    workspace = clone(folder, KEPT)
    small = {key: value for key, value in SMALL["profiles"]["tiny"].items() if key != "download"}
    changed_parameters(workspace, {"profiles": {"own": small}})
    commit(workspace, "reduced")
    return workspace


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a clone, and beside it the songs of the guide and its CSV."""
    root = tmp_path_factory.mktemp("own")
    reduced(root / "svs")
    tree, table = re.findall(r"^```text\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    written(tree, root / "svs")
    (root / "table").mkdir()
    (root / "table" / "songs.csv").write_text(table)
    for number, name in enumerate(("one/lead.wav", "one/choir.wav", "one/band.flac"), 20):
        sound(root / "table" / name, number)
    sides(root / "table" / "two.wav", 30)
    write_stem(root, "table", "three")
    return root


def follow(place: Path, line: str, code: int = 0):
    done = call(place / "svs", *shlex.split(line.partition(" #")[0]), check=False)
    assert done.returncode == code, f"{line}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done


def scored_songs(workspace: Path) -> list[str]:
    tracks = json.loads((workspace / "data/manifest.json").read_text())["tracks"]
    return [track["name"] for track in tracks if track["split"] == "test"]


def assert_all_came_out(workspace: Path) -> None:
    """A trained net, a scored table and a report."""
    assert (workspace / "models/unet_separator/model.onnx").stat().st_size > 10_000
    curve = pd.read_csv(workspace / "plots/training/unet_separator.csv")
    assert np.isfinite(curve[["loss", "val_loss"]].to_numpy()).all() and len(curve) == 2
    scores = pd.read_csv(workspace / "metrics/scores.csv")
    assert set(scores["method"]) == set(KEPT["methods"]) and set(scores["track"]) == set(scored_songs(workspace))
    vocals = scores[scores["target"] == "vocals"].groupby("method")["SDR"].median()
    assert vocals["oracle_ibm"] > vocals["mixture"] + 3
    page = (workspace / "plots/report/index.html").read_text()
    assert all(f'">{name}</h3>' in page for name in scored_songs(workspace))
    assert len(list((workspace / "plots/report/tracks").rglob("unet_separator.vocals.mp3"))) == len(
        scored_songs(workspace)
    )


STEPS = commands("Your own songs: from a folder of stems to a trained net, a scored table and a report")


def test_the_guide_has_the_steps_that_are_followed():
    assert [line.split()[:2] for line in STEPS] == [["svs", "inspect"]] * 2 + [["dvc", "exp"], ["svs", "separate"]]


@pytest.fixture(scope="module")
def trained(place) -> Path:
    """After the guide's section on a folder of stems."""
    look, patterns, train, use = STEPS
    said = follow(place, look, code=3).stdout
    assert "First Album - One: expected vocals, and a mixture or an accompaniment" in said
    said = follow(place, patterns).stdout
    assert "layout folders, 4 tracks" in said and "wrong" not in said
    follow(place, train)
    sound(place / "svs" / "song.mp3", 40, 2)
    follow(place, use)
    return place / "svs"


def test_a_folder_of_stems(trained):
    assert_all_came_out(trained)
    assert list((trained / "separated" / "song" / "unet_separator").glob("vocals.wav"))


@pytest.fixture(scope="module")
def elsewhere(trained) -> tuple[Path, list[str]]:
    """After the guide's command that scores the same nets on another data set; the stages that ran."""
    for number in range(2):
        sides(trained.parent / "MIR-1K" / f"amy_{number + 1}_01.wav", 50 + number)
    weights, line = commands("Several data sets")
    assert "download.scored" in line and ".weights." in weights
    return trained, ran(follow(trained.parent, line))


def test_the_same_nets_are_scored_on_another_set(elsewhere):
    workspace, stages = elsewhere
    assert {"download", "separate@unet_separator", "score@unet_separator", "report"} <= set(stages)
    assert not [stage for stage in stages if "train" in stage], "the trainings stay as they are"
    assert scored_songs(workspace) == ["amy_1_01", "amy_2_01"]
    assert len(list((workspace / "data/estimates/unet_separator/mir1k/test").glob("*/vocals.wav"))) == 2
    scores = pd.read_csv(workspace / "metrics/scores.csv")
    assert set(scores["dataset"]) == {"mir1k"} and set(scores["track"]) == set(scored_songs(workspace))
    metrics = json.loads((workspace / "metrics/mixture.json").read_text())
    assert list(metrics) == ["mir1k"] and metrics["mir1k"]["tracks"] == 2


def test_both_sets_are_scored_each_by_itself(elsewhere):
    workspace, _ = elsewhere
    line = "dvc exp run -S download.scored=null"
    stages = ran(follow(workspace.parent, line))
    assert not [stage for stage in stages if "train" in stage]
    scores = pd.read_csv(workspace / "metrics/scores.csv")
    assert set(scores["dataset"]) == {"mir1k", "own"}
    metrics = json.loads((workspace / "metrics/unet_separator.json").read_text())
    for name, rows in scores[scores["method"] == "unet_separator"].groupby("dataset"):
        median = rows.loc[rows["target"] == "vocals", "SDR"].median()
        assert metrics[name]["vocals"]["SDR"]["median"] == pytest.approx(median, abs=1e-3)
        assert metrics[name]["tracks"] == rows["track"].nunique()
    assert set(pd.read_csv(workspace / "metrics/frames.csv")["dataset"]) == {"mir1k", "own"}
    assert set(json.loads((workspace / "metrics/vad.json").read_text())["datasets"]) == {"mir1k", "own"}
    page = (workspace / "plots/report/index.html").read_text()
    assert all(f'id="medians-{name}"' in page for name in ("own", "mir1k"))
    assert all(f'aria-label="Voice activity, {name}"' in page for name in ("own", "mir1k"))
    assert '"BSS Eval v4, own"' in page and '"BSS Eval v4, mir1k"' in page


def test_a_csv(place):
    """In a clone of its own: the same commands, another folder."""
    root = place / "csv"
    shutil.copytree(place / "table", root / "table", symlinks=True)
    reduced(root / "svs")
    look, train = commands("From a CSV")
    assert "layout csv, 3 tracks" in follow(root, look).stdout
    follow(root, train)
    workspace = root / "svs"
    assert scored_songs(workspace) == ["Two"]
    assert_all_came_out(workspace)
