"""docs/adding.md, followed to the letter: its code and its lines of wiring, in a copy of the checkout."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.helpers import REPOSITORY
from tests.helpers.command import music, wav, whole
from tests.helpers.pipeline import call, clone, dvc

GUIDE = (REPOSITORY / "docs" / "adding.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
CODE = {text.split("\n", 1)[0].removeprefix("# "): text for kind, text in BLOCKS if kind == "python"}
NETWORKS = ("small_separator", "torch_separator")
ADDED = ("centre", *NETWORKS)


def follow(workspace: Path) -> None:
    """Write the guide's files, and add its lines under their groups of wiring.yaml."""
    for path, text in CODE.items():
        (workspace / path).write_text(text)
    wiring = workspace / "wiring.yaml"
    for kind, text in BLOCKS:
        if kind == "yaml":
            for group, lines in re.findall(r"^(\w+):\n((?:  .*\n)+)", text, re.MULTILINE):
                wiring.write_text(wiring.read_text().replace(f"\n{group}:\n", f"\n{group}:\n{lines}"))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Path:
    """A checkout to which the guide's method and networks are added."""
    folder = clone(tmp_path_factory.mktemp("adding") / "checkout")
    follow(folder)
    return folder


def svs(workspace: Path, *words: str) -> str:
    return call(workspace, sys.executable, "-m", "svs.cli", *map(str, words)).stdout


def stage(workspace: Path, name: str, *words: str, **variables: str):
    return call(workspace, sys.executable, "-m", f"stages.{name}", *words, **variables)


def test_the_guide_adds_one_file_each():
    assert list(CODE) == [
        "svs/separators/centre.py",
        "svs/networks/small_separator.py",
        "svs/networks/torch_separator.py",
        "svs/data/layouts/ccmixter.py",
    ]


def test_svs_methods_lists_them(workspace):
    listed = dict(re.findall(r"^(\w+) +(ready|missing) ", svs(workspace, "methods"), re.MULTILINE))
    assert {name: listed[name] for name in ADDED} == {"centre": "ready"} | dict.fromkeys(NETWORKS, "missing")


def test_the_method_separates(workspace, tmp_path):
    mixture = music(3.0)
    song = wav(tmp_path / "song.wav", mixture)
    svs(workspace, "separate", song, "-m", "centre", "-o", tmp_path / "plain")
    vocals = whole(tmp_path / "plain" / "song" / "centre", mixture, 44100)
    assert np.abs(vocals).max() > 0 and np.abs(vocals - mixture).max() > 1e-3
    svs(workspace, "separate", song, "-m", "centre", "-o", tmp_path / "sharp", "-S", "separate.centre.sharpness=64")
    assert np.square(whole(tmp_path / "sharp" / "song" / "centre", mixture, 44100)).sum() < np.square(vocals).sum()


def test_the_layout_finds_its_tracks(workspace, tmp_path):
    for number, name in enumerate(("one", "two", "three")):
        band, voice = (music(1.0, seed=2 * number + part) for part in (0, 1))
        for file, audio in {"mix": band + voice, "source-01": band, "source-02": voice}.items():
            wav(tmp_path / "set" / name / f"{file}.wav", audio)
    said = svs(workspace, "inspect", tmp_path / "set")
    assert f"{tmp_path / 'set'}: layout ccmixter, 3 tracks, 3.0 s" in said
    assert {line.split()[0] for line in said.splitlines() if "mixture, accompaniment, vocals" in line} == {
        "one",
        "two",
        "three",
    }


def test_dvc_knows_their_stages(workspace):
    stages = {line.split()[0] for line in dvc(workspace, "stage", "list", "--all").stdout.splitlines()}
    expected = {f"{stage}@{name}" for stage in ("separate", "score") for name in ADDED}
    assert expected | {f"train@{name}" for name in NETWORKS} <= stages
    assert "train@torch_separator" in dvc(workspace, "status").stdout


def test_the_dag_test_passes(workspace):
    """Each stage of theirs depends on the code that it runs."""
    call(workspace, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_dag.py")


@pytest.fixture(scope="module")
def extracted(workspace) -> Path:
    for name in ("download", "extract"):
        stage(workspace, name)
    return workspace


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_network_trains_and_separates(extracted, name, tmp_path):
    stage(extracted, "train", name)
    folder = extracted / "models" / name
    first = {file.name: file.read_bytes() for file in folder.iterdir()}
    curve = (extracted / f"plots/training/{name}.csv").read_text().splitlines()
    assert len(curve) == 4 and sorted(first) == ["model.json", "model.keras", "model.onnx"]
    assert float(curve[-1].split(",")[1]) < float(curve[1].split(",")[1]), "it learns"
    stage(extracted, "separate", name)
    estimates = sorted(folder.parent.parent.glob(f"data/estimates/{name}/test/*/vocals.wav"))
    tracks = [track for track in yaml.safe_load((extracted / "data/manifest.json").read_text())["tracks"]]
    assert len(estimates) == sum(track["split"] == "test" for track in tracks) > 0
    # Again, and again interrupted after the first epoch: the same bytes.
    shutil.rmtree(folder)
    stop = "import sys; from svs.training import loop; done = loop.Checkpoint.on_epoch_end\n"
    stop += "def end(self, epoch, logs=None):\n    done(self, epoch, logs)\n    sys.exit(9)\n"
    stop += "loop.Checkpoint.on_epoch_end = end\n"
    begin = f"from svs import networks; networks.choose_backend({name!r})\n"
    run = f"from stages import train; train.run({name!r})\n"
    assert call(extracted, sys.executable, "-c", begin + stop + run, check=False).returncode == 9
    (extracted / "svs/cli/doctor.py").write_text((extracted / "svs/cli/doctor.py").read_text() + "# edited\n")
    done = stage(extracted, "train", name)
    assert "continuing after epoch 1" in done.stderr, "an edit of code that it does not use discards the training"
    again = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert [name for name in first | again if first.get(name) != again.get(name)] == []
    mixture = music(2.0)
    svs(extracted, "separate", wav(tmp_path / "song.wav", mixture), "-m", name, "-o", tmp_path)
    assert np.abs(whole(tmp_path / "song" / name, mixture, 44100)).max() > 0
