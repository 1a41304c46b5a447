"""`svs extract` as a person calls it."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest

from svs.data.dataset import Dataset
from svs.features import extraction, store
from svs.runtime import files
from tests.helpers import REPOSITORY
from tests.helpers.command import SMALL_STORE, call

pytestmark = pytest.mark.usefixtures("alone")


def test_extract_says_what_the_dissertation_says(extracted):
    out, said = extracted
    assert "16 sets of 2 excerpts" in said
    assert "Input shape for set: (2, 257, 5)" in said
    assert "Output shape for each set: (2, 257, 3)" in said
    assert "32 excerpts for training, 3 of 1 other songs for validation" in said
    assert store.DrawDefaults.load(out / "masks") == store.DrawDefaults("SVS", 16, 3, 0.2, 3)
    assert not [item.name for item in out.parent.iterdir() if item.name != out.name], "scratch is left"


def test_extract_writes_what_the_stage_writes(extracted, tiny_set, settings, tmp_path):
    folder, manifest = tiny_set
    wanted = settings.extract.model_copy(
        update={
            "modes": ("SVS",),
            "masks": settings.extract.masks.model_copy(
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
        (["10", "NOPE"], 2, "'MODE': 'NOPE' is not one of 'svs', 'dae', 'vad', 'mix'; see `svs extract -h`"),
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
    assert store.DrawDefaults.load(tmp_path / "vad" / "vad").label_width is None
    # Too late for any excerpt: nothing appears; and over what is there, nothing is lost.
    assert call("extract", folder, tmp_path / "vad", 4, "VAD", *small, "-sp", 60, "--overwrite") == 3
    assert "choose an earlier --start-point" in capsys.readouterr().err
    assert store.DrawDefaults.load(tmp_path / "vad" / "vad").start_point == 0.0


def test_the_stems_are_what_the_stage_writes(stems, tiny_set, settings, tmp_path):
    wanted = settings.extract.model_copy(update={"modes": ("MIX",)})
    extraction.extract(Dataset(*tiny_set), wanted, tmp_path / "store", files.Scratch(tmp_path, "work", "1"))
    ours, theirs = (store.Stems(path / "stems") for path in (stems, tmp_path / "store"))
    assert store.DrawDefaults.load(stems / "stems") == store.DrawDefaults("MIX", 5, 1, 0.0, None)
    for split in ("train", "valid", "unused"):
        assert ours.tracks(split) == theirs.tracks(split)
        for track in ours.tracks(split):
            for stem in ("vocals", "drums", "bass", "other"):
                both = [one.read(track, stem, 0, one.samples(track)) for one in (ours, theirs)]
                np.testing.assert_array_equal(*both)


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
        *SMALL_STORE,
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
