"""Where a data set lies: generated once, found in a folder."""

import shutil
from pathlib import Path

import pytest
import soundfile

from svs.config import paths, schema
from svs.data.dataset import Dataset, open_dataset
from svs.data.inspection import inspect
from svs.data.locate import locate
from svs.errors import DataError
from tests.helpers import REPOSITORY
from tests.helpers.datasets import RATE, write_track
from tests.helpers.pipeline import changed_parameters


def test_a_generated_set_and_its_splits(tiny_set):
    folder, manifest = tiny_set
    assert [len(manifest.split(split)) for split in ("train", "valid", "test", "unused")] == [2, 1, 1, 0]
    assert {track.subset for track in manifest.split("train", "valid")} == {"train"}
    assert {track.subset for track in manifest.split("test")} == {"test"}
    for track in manifest.tracks:
        assert track.seconds == pytest.approx(3.0, abs=0.05) and track.rate == RATE and not track.silent_vocals
        assert soundfile.info(folder / track.subset / track.name / "mixture.wav").frames == track.samples


def test_a_generated_set_is_made_once_and_again_when_it_is_gone(tmp_path, here, monkeypatch):
    for name in ("params.yaml", "wiring.yaml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    tiny = {"train": 1, "valid": 1, "test": 1, "train_seconds": 2.0, "test_seconds": 2.0, "real_song": False}
    changed_parameters(tmp_path, {"profiles": {"tiny": {"download": {"tiny": tiny}}}})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    settings = schema.load()
    download = settings.download
    folder = locate(download, settings.seed, paths.DATASETS)
    inspect(download, settings.seed, folder).save(paths.MANIFEST)
    mixture = next(folder.glob("test/*/mixture.wav"))
    stamp = mixture.stat().st_mtime_ns
    assert locate(download, settings.seed, paths.DATASETS) == folder
    assert mixture.stat().st_mtime_ns == stamp
    shutil.rmtree(folder)
    # Another process generates the set again, by the parameters of the project, wherever we are.
    monkeypatch.chdir("/")
    data = open_dataset(settings, tmp_path)
    for track in data.manifest.tracks:  # the checksums still hold: generated again, to the same bytes
        with data.open(track, ["vocals"]) as sources:
            assert sources["vocals"].samples == track.samples
    other = locate(download, settings.seed + 1, tmp_path / paths.DATASETS)
    with (
        pytest.raises(DataError, match="changed since|files are missing"),
        Dataset(other, data.manifest).open(data.manifest.split("test")[0]),
    ):
        pass


def test_a_folder_in_the_folder_is_found(download, here):
    """As archives are unpacked: one folder more."""
    write_track(download.path / "musdb18hq", "train", "a")
    (download.path / "musdb18hq" / "test").mkdir()
    folder = locate(download, 1, Path("nowhere"))
    manifest = inspect(download, 1, folder)
    assert [audio.path for audio in manifest.tracks[0].stems["vocals"]] == ["musdb18hq/train/a/vocals.wav"]
    with Dataset(folder, manifest).open(manifest.tracks[0], ["vocals"]) as sources:
        assert sources["vocals"].samples == 2000


def test_a_place_that_cannot_be_written_to(settings, tmp_path):
    (tmp_path / "root").touch()
    with pytest.raises(DataError, match=r"root/tiny: can't write the generated data set \(File exists\); name a"):
        locate(settings.download, 7, tmp_path / "root")
