"""Data sets: the samples of the real musdb reader, musdb's splits, and every broken track named."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import musdb
import numpy as np
import pytest
import soundfile
import stempeg
import yaml

from svs.data import dataset
from svs.data.dataset import Dataset, Manifest, Track, open_dataset
from svs.data.inspection import inspect
from svs.data.locate import locate
from svs.data.musdb import musdb_tracks
from svs.errors import DataError
from svs.runtime import parallel
from svs.stems import STREAMS
from tests.helpers import REPOSITORY

EXAMPLE = Path(stempeg.example_stem_path())
RATE = 44100
OFFICIAL = yaml.safe_load((Path(musdb.__path__[0]) / "configs" / "mus.yaml").read_text())["validation_tracks"]


@pytest.fixture
def here(monkeypatch):
    """Tracks are inspected in this process (other tests inspect in parallel)."""
    monkeypatch.setattr(parallel, "cores", lambda: 1)


@pytest.fixture
def download(settings, tmp_path):
    """Settings for a folder of one's own: tmp_path / "set"."""
    return settings.download.model_copy(update={"dataset": "full", "path": tmp_path / "set", "tiny": None})


def write_track(root, subset, name, samples=2000, rate=RATE, channels=2, silent=False):
    """A small wav track whose mixture is the sum of its stems."""
    folder = root / subset / name
    folder.mkdir(parents=True)
    generator = np.random.default_rng(len(name))
    stems = {stem: generator.integers(-3000, 3000, (samples, channels)).astype(np.int16) for stem in STREAMS[1:]}
    if silent:
        stems["vocals"][:] = 0
    for stem, audio in {**stems, "mixture": sum(stems.values())}.items():
        soundfile.write(folder / f"{stem}.wav", audio, rate, subtype="PCM_16")
    return folder


def write_stem(root, subset, name, source=EXAMPLE):
    folder = root / subset
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.stem.mp4"
    path.symlink_to(source)
    return path


def empty_subsets(root):
    for subset in ("train", "test"):
        (root / subset).mkdir(parents=True, exist_ok=True)


def inspected(download, validation=(), seed=1):
    folder, _ = locate(download, seed, Path("nowhere"))
    return inspect(download, seed, folder, validation)


# -- the same samples as musdb


def assert_same_as_musdb(folder, manifest, tracks):
    subsets = sorted({track.subset for track in tracks})
    theirs = {(track.subset, track.name): track for subset in subsets for track in musdb_tracks(folder, subset)}
    assert isinstance(next(iter(theirs.values())), musdb.MultiTrack)
    assert set(theirs) == {(track.subset, track.name) for track in manifest.tracks if track.subset in subsets}
    for track in tracks:
        real = theirs[track.subset, track.name]
        for source in real.sources.values():
            source.audio = source.audio  # read once: musdb starts an ffmpeg for each reading
        expected = {
            "mixture": real.audio,
            **{name: source.audio for name, source in real.sources.items()},
            "accompaniment": real.targets["accompaniment"].audio,
        }
        assert set(expected) == {*STREAMS, "accompaniment"}
        with Dataset(folder, manifest).open(track, [*STREAMS, "accompaniment"]) as sources:
            for name, audio in expected.items():
                assert (sources[name].rate, sources[name].samples) == (real.rate, len(audio))
                np.testing.assert_array_equal(sources[name].read(0, track.samples), audio, err_msg=name)
                part = sources[name].read(1000, 1500)
                np.testing.assert_array_equal(part, audio[1000:1500])


def test_wav_samples_are_those_of_musdb(tiny_set):
    folder, manifest = tiny_set
    assert_same_as_musdb(folder, manifest, [manifest.split("train", "valid")[0], manifest.split("test")[0]])


def test_a_generated_set_and_its_splits(tiny_set):
    folder, manifest = tiny_set
    assert [len(manifest.split(split)) for split in ("train", "valid", "test", "unused")] == [2, 1, 1, 0]
    assert {track.subset for track in manifest.split("train", "valid")} == {"train"}
    assert {track.subset for track in manifest.split("test")} == {"test"}
    for track in manifest.tracks:
        assert track.seconds == pytest.approx(3.0, abs=0.05) and track.rate == RATE and not track.silent_vocals
        assert soundfile.info(folder / track.subset / track.name / "mixture.wav").frames == track.samples


def test_a_stem_file_has_the_samples_of_musdb(download, tmp_path, here):
    empty_subsets(download.path)
    write_stem(download.path, "train", "The Easton Ellises - Falcon 69")
    manifest = inspected(download)
    assert_same_as_musdb(download.path, manifest, manifest.tracks)


def test_only_what_is_asked_for_is_decoded(tiny_set):
    folder, manifest = tiny_set
    with Dataset(folder, manifest).open(manifest.tracks[0], ["vocals"]) as sources:
        assert list(sources) == ["vocals"]


PREVIEWED = {"A Classic Education - NightOwl": "train", "ANiMAL - Rockshow": "valid", "Music Delta - Rock": "unused"}


def test_previews_have_musdbs_samples_and_splits(download, previews):
    names = {name: split for name, split in PREVIEWED.items() if (previews / "train" / f"{name}.stem.mp4").is_file()}
    for name in names:
        write_stem(download.path, "train", name, previews / "train" / f"{name}.stem.mp4")
    test = sorted((previews / "test").glob("*.stem.mp4"))[0]
    write_stem(download.path, "test", test.name.removesuffix(".stem.mp4"), test)
    manifest = inspected(download)
    assert {track.name: track.split for track in manifest.tracks if track.subset == "train"} == names
    assert [track.name for track in manifest.split("test")] == [test.name.removesuffix(".stem.mp4")]
    assert_same_as_musdb(download.path, manifest, manifest.split("test"))


@pytest.mark.slow
def test_all_previews_are_split_as_musdb_does(download, previews):
    manifest = inspected(download.model_copy(update={"path": previews}))
    present = {
        subset: {item.name.removesuffix(".stem.mp4") for item in (previews / subset).glob("*.stem.mp4")}
        for subset in ("train", "test")
    }
    unused = {name for name in present["train"] if name.startswith("Music Delta")}
    expected = {
        "valid": present["train"] & set(OFFICIAL),
        "unused": unused,
        "test": present["test"],
        "train": present["train"] - set(OFFICIAL) - unused,
    }
    for split, names in expected.items():
        assert {track.name for track in manifest.split(split)} == names
    if len(present["train"]) == 94:
        assert [len(expected[split]) for split in ("train", "valid", "unused")] == [73, 14, 7]
    valid = musdb.DB(root=os.fspath(previews), subsets=["train"], split="valid")
    assert {track.name for track in valid} == expected["valid"]


# -- splits


def splits(manifest):
    return {track.name: track.split for track in manifest.tracks}


def test_musdbs_validation_tracks_and_exclusions(download, here):
    kinds = {
        "ANiMAL - Rockshow": "valid",
        "Young Griffo - Pennies": "valid",
        "Music Delta - Rock": "unused",
        "The Music Delta": "train",
        "b": "train",
    }
    for name in kinds:
        write_track(download.path, "train", name)
    write_track(download.path, "test", "Music Delta - Gospel")  # excluded from training only
    assert splits(inspected(download)) == {**kinds, "Music Delta - Gospel": "test"}


def test_the_sets_own_validation_tracks_come_first(download, here):
    for name in ("ANiMAL - Rockshow", "a", "b"):
        write_track(download.path, "train", name)
    (download.path / "test").mkdir()
    assert splits(inspected(download, ["b"])) == {"ANiMAL - Rockshow": "train", "a": "train", "b": "valid"}


def test_validation_is_drawn_by_the_seed_where_nobody_names_it(download, here):
    for number in range(10):
        write_track(download.path, "train", f"track {number}", samples=50)
    write_track(download.path, "test", "test")
    drawn = {
        seed: frozenset(name for name, split in splits(inspected(download, seed=seed)).items() if split == "valid")
        for seed in range(6)
    }
    assert {len(names) for names in drawn.values()} == {2}  # 0.2 of 10
    assert len(set(drawn.values())) > 1
    again = splits(inspected(download, seed=3))
    assert {name for name, split in again.items() if split == "valid"} == drawn[3]
    assert again["test"] == "test"


def test_a_small_set_has_one_validation_track(download, here):
    for name in ("a", "b"):
        write_track(download.path, "train", name, samples=50)
    (download.path / "test").mkdir()
    assert sorted(splits(inspected(download)).values()) == ["train", "valid"]


# -- the manifest


def test_a_manifest_is_loaded_as_it_was_saved(tiny_set, tmp_path):
    _, manifest = tiny_set
    manifest.save(tmp_path / "manifest.json")
    loaded = Manifest.load(tmp_path / "manifest.json")
    assert loaded.dataset == manifest.dataset and loaded.tracks == manifest.tracks
    loaded.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "manifest.json").read_bytes()
    rows = json.loads((tmp_path / "manifest.json").read_text())["tracks"]
    assert [row["seconds"] for row in rows] == [round(track.samples / RATE, 3) for track in manifest.tracks]
    assert not any(str(value).startswith("/") for row in rows for value in row.values())


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        '{"dataset": "tiny"}',
        '{"dataset": "tiny", "tracks": [{"name": "a"}]}',
        '{"dataset": "tiny", "tracks": [{"nome": "a"}]}',
        "[]",
    ],
)
def test_a_manifest_of_another_form_is_refused(tmp_path, content):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(DataError, match=r"manifest\.json: .*dvc repro"):
        Manifest.load(tmp_path / "manifest.json")


def test_no_manifest(tmp_path):
    with pytest.raises(DataError, match=r"manifest\.json: no such file; run `dvc repro` first"):
        Manifest.load(tmp_path / "manifest.json")


def test_a_track_that_changed_is_refused(download, here):
    folder = write_track(download.path, "train", "a")
    (download.path / "test").mkdir()
    manifest = inspected(download)
    audio, rate = soundfile.read(folder / "bass.wav", dtype="int16")
    audio[1234, 1] ^= 1  # the smallest change there is
    soundfile.write(folder / "bass.wav", audio, rate, subtype="PCM_16")
    with (
        pytest.raises(DataError, match=r"train/a: changed since the manifest was written; run `dvc repro --force"),
        Dataset(download.path, manifest).open(manifest.tracks[0]),
    ):
        pass


@pytest.mark.parametrize("gone", ["vocals.wav", None])
def test_a_track_that_is_gone_is_refused(download, here, gone):
    folder = write_track(download.path, "train", "a")
    (download.path / "test").mkdir()
    manifest = inspected(download)
    if gone:
        (folder / gone).unlink()
    else:
        shutil.rmtree(folder)
    with (
        pytest.raises(DataError, match="train/a: the track is in the manifest, but its files are gone; bring them"),
        Dataset(download.path, manifest).open(manifest.tracks[0]),
    ):
        pass


def test_a_generated_set_is_made_once_and_again_when_it_is_gone(settings, tmp_path, here):
    tiny = settings.download.tiny.model_copy(
        update={"train": 1, "valid": 1, "test": 1, "train_seconds": 2.0, "test_seconds": 2.0, "real_song": False}
    )
    download = settings.download.model_copy(update={"tiny": tiny})
    changed = settings.model_copy(update={"download": download})
    folder, validation = locate(download, settings.seed, tmp_path / "musdb")
    assert len(validation) == 1
    inspect(download, settings.seed, folder, validation).save(tmp_path / "manifest.json")
    mixture = next(folder.glob("test/*/mixture.wav"))
    stamp = mixture.stat().st_mtime_ns
    assert locate(download, settings.seed, tmp_path / "musdb") == (folder, validation)
    assert mixture.stat().st_mtime_ns == stamp
    shutil.rmtree(folder)
    data = open_dataset(changed, tmp_path / "manifest.json", tmp_path / "musdb")
    for track in data.manifest.tracks:  # the checksums still hold: generated again, to the same bytes
        with data.open(track, ["vocals"]) as sources:
            assert sources["vocals"].samples == track.samples
    other, _ = locate(download, settings.seed + 1, tmp_path / "musdb")
    with (
        pytest.raises(DataError, match="changed since|files are gone"),
        Dataset(other, data.manifest).open(data.manifest.split("test")[0]),
    ):
        pass


# -- folders that are no data set


def no_folder(root):
    pass


def a_file(root):
    root.write_text("x")


def nothing(root):
    root.mkdir()


def only_train(root):
    write_track(root, "train", "a", samples=50)


def other_things(root):
    (root / "songs").mkdir(parents=True)
    (root / "readme.txt").write_text("x")


def no_tracks(root):
    empty_subsets(root)
    (root / "train" / "notes.txt").write_text("x")


def both_kinds(root):
    empty_subsets(root)
    write_track(root, "train", "a", samples=50)
    write_stem(root, "test", "b")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (no_folder, r"expected a folder that holds train/ and test/.*there is no such folder"),
        (a_file, r"expected a folder that holds train/ and test/.*there is no such folder"),
        (nothing, r"expected a folder that holds train/ and test/.*found nothing"),
        (only_train, r"expected a folder that holds train/ and test/.*found train"),
        (other_things, r"expected a folder that holds train/ and test/.*found readme\.txt, songs"),
        (no_tracks, r"no tracks; expected train/\*\.stem\.mp4 or train/<track>/mixture\.wav"),
        (both_kinds, r"\.stem\.mp4 files and wav folders together; musdb reads one kind: separate them"),
    ],
)
@pytest.mark.parametrize("action", ["error", "skip"])
def test_folders_that_are_no_data_set(download, here, make, says, action):
    make(download.path)
    with pytest.raises(DataError, match=says) as caught:
        inspected(download.model_copy(update={"on_bad_track": action}))
    assert str(caught.value).startswith(f"{download.path}: ")
    assert "\n" not in str(caught.value)


def test_a_folder_in_the_folder_is_found(download, here):
    """As archives are unpacked: one folder more."""
    write_track(download.path / "musdb18hq", "train", "a")
    (download.path / "musdb18hq" / "test").mkdir()
    folder, validation = locate(download, 1, Path("nowhere"))
    assert (folder, validation) == (download.path / "musdb18hq", [])


# -- tracks that are not as they should be


def rewrite(folder, name, audio, rate=RATE, subtype="PCM_16"):
    soundfile.write(folder / f"{name}.wav", audio, rate, subtype=subtype)


def missing_stem(root, name):
    (write_track(root, "train", name) / "bass.wav").unlink()


def empty_track(root, name):
    (root / "train" / name).mkdir(parents=True)


def other_length(root, name):
    rewrite(write_track(root, "train", name), "other", np.zeros((1999, 2)))


def not_a_number(root, name):
    audio = np.full((2000, 2), 0.1, dtype=np.float32)
    audio[1500, 1] = np.nan
    rewrite(write_track(root, "train", name), "drums", audio, subtype="FLOAT")


def infinite(root, name):
    audio = np.full((2000, 2), 0.1, dtype=np.float32)
    audio[3, 0] = -np.inf
    rewrite(write_track(root, "train", name), "vocals", audio, subtype="FLOAT")


def telephone(root, name):
    write_track(root, "train", name, rate=8000, channels=1)


def one_other_rate(root, name):
    rewrite(write_track(root, "train", name), "bass", np.zeros((2000, 2)), rate=48000)


def one_channel(root, name):
    write_track(root, "train", name, channels=1)


def no_samples(root, name):
    write_track(root, "train", name, samples=0)


def no_bytes(root, name):
    (write_track(root, "train", name) / "vocals.wav").write_bytes(b"")


def text_wav(root, name):
    (write_track(root, "train", name) / "mixture.wav").write_text("this is no audio\n" * 9)


def cut_wav(root, name):
    path = write_track(root, "train", name) / "other.wav"
    path.write_bytes(path.read_bytes()[:5000])


BAD_WAVS = {
    "missing stem": (missing_stem, "missing bass.wav"),
    "empty track": (empty_track, "missing mixture.wav, drums.wav, bass.wav, other.wav, vocals.wav"),
    "other length": (other_length, "its stems differ in length: [1999, 2000] samples"),
    "not a number": (not_a_number, "drums holds NaN or infinite samples"),
    "infinite": (infinite, "vocals holds NaN or infinite samples"),
    "telephone": (telephone, "expected 44100 Hz, found 8000 Hz"),
    "one other rate": (one_other_rate, "expected 44100 Hz, found 44100, 48000 Hz"),
    "one channel": (one_channel, "expected stereo, found [1] channels"),
    "no samples": (no_samples, "it holds no audio"),
    "no bytes": (no_bytes, "vocals.wav: expected a wav file, could not read it"),
    "text wav": (text_wav, "mixture.wav: expected a wav file, could not read it"),
    "cut wav": (cut_wav, "its stems differ in length: [1239, 2000] samples"),
}


def cut_stem(root, name, share=0.6):
    folder = root / "train"
    folder.mkdir(parents=True, exist_ok=True)
    content = EXAMPLE.read_bytes()
    (folder / f"{name}.stem.mp4").write_bytes(content[: int(len(content) * share)])


def cut_front_stem(root, name):
    """Cut where the index stands before the audio, so that the beginning still plays."""
    cut = root.parent / "whole.stem.mp4"
    subprocess.run(
        [
            "ffmpeg",
            "-v",
            "error",
            "-y",
            "-i",
            str(EXAMPLE),
            "-map",
            "0:a",
            "-c",
            "copy",
            "-f",
            "mp4",
            "-movflags",
            "+faststart",
            str(cut),
        ],
        check=True,
    )
    content = cut.read_bytes()
    (root / "train").mkdir(parents=True, exist_ok=True)
    (root / "train" / f"{name}.stem.mp4").write_bytes(content[: int(len(content) * 0.6)])


def text_stem(root, name):
    (root / "train").mkdir(parents=True, exist_ok=True)
    (root / "train" / f"{name}.stem.mp4").write_text("this is no film\n" * 50)


def one_stream(root, name):
    (root / "train").mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [
            "ffmpeg",
            "-v",
            "error",
            "-y",
            "-i",
            str(EXAMPLE),
            "-map",
            "0:a:0",
            "-c",
            "copy",
            "-f",
            "mp4",
            str(root / "train" / f"{name}.stem.mp4"),
        ],
        check=True,
    )


BAD_STEMS = {
    "cut stem": (cut_stem, "truncated"),
    "cut front stem": (cut_front_stem, "truncated"),
    "text stem": (text_stem, "it is truncated or no mp4"),
    "one stream": (
        one_stream,
        "expected 5 audio streams (mixture, drums, bass, other, vocals), one stream.stem.mp4 has 1",
    ),
}
BAD = {**BAD_WAVS, **BAD_STEMS}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_track_ends_the_run_with_one_line(download, name):
    make, says = BAD[name]
    empty_subsets(download.path)
    make(download.path, name)
    with pytest.raises(DataError) as caught:
        inspected(download)
    message = str(caught.value)
    assert message.startswith(f"track train/{name}: ")
    assert says in message
    assert message.endswith("mend or remove it, or set download.on_bad_track: skip to leave it out")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("bad", "good"), [(BAD_WAVS, write_track), (BAD_STEMS, lambda root, subset, name: write_stem(root, subset, name))]
)
def test_bad_tracks_are_left_out_with_a_warning_each(download, here, caplog, bad, good):
    empty_subsets(download.path)
    good(download.path, "train", "a good one")
    good(download.path, "test", "z good one")
    for name, (make, _) in bad.items():
        make(download.path, name)
    manifest = inspected(download.model_copy(update={"on_bad_track": "skip"}))
    assert [track.name for track in manifest.tracks] == ["a good one", "z good one"]
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == len(bad)
    for name, (_, says) in bad.items():
        (line,) = [warning for warning in warnings if warning.startswith(f"left out train/{name}: ")]
        assert says in line and "\n" not in line


def test_a_set_without_one_usable_track(download, here):
    empty_subsets(download.path)
    no_bytes(download.path, "a")
    with pytest.raises(DataError, match="not one track is usable; see the warnings above"):
        inspected(download.model_copy(update={"on_bad_track": "skip"}))


@pytest.mark.parametrize("action", ["error", "skip", "keep"])
def test_silent_vocals(download, here, caplog, action):
    write_track(download.path, "train", "sung")
    write_track(download.path, "train", "instrumental", silent=True)
    (download.path / "test").mkdir()
    # on_bad_track is set against it: the two switches don't touch each other.
    choices = {"on_silent_vocals": action, "on_bad_track": "skip" if action == "error" else "error"}
    download = download.model_copy(update=choices)
    if action == "error":
        with pytest.raises(
            DataError, match="track train/instrumental: its vocals are silent; .*set download.on_silent_vocals: skip"
        ):
            inspected(download)
        return
    kept = {track.name: track.silent_vocals for track in inspected(download).tracks}
    assert kept == ({"instrumental": True, "sung": False} if action == "keep" else {"sung": False})
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "instrumental" in warning and "its vocals are silent" in warning
    assert warning.startswith("left out") == (action == "skip")


@pytest.mark.parametrize(("peak", "silent"), [(3, True), (4, False)])
def test_vocals_below_80_decibels_are_silent(download, here, peak, silent):
    """-80 dBFS is 3.3 steps of 16 bits."""
    folder = write_track(download.path, "train", "a")
    (download.path / "test").mkdir()
    audio = np.zeros((2000, 2), dtype=np.int16)
    audio[777, 1] = -peak
    rewrite(folder, "vocals", audio)
    assert inspected(download).tracks[0].silent_vocals is silent


def test_no_litter_is_left_by_decoding(download, here, tmp_path, monkeypatch):
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    monkeypatch.setattr(dataset.tempfile, "tempdir", str(scratch))
    empty_subsets(download.path)
    write_stem(download.path, "train", "good")
    text_stem(download.path, "text")
    manifest = inspected(download.model_copy(update={"on_bad_track": "skip"}))
    with Dataset(download.path, manifest).open(manifest.tracks[0], ["vocals"]):
        assert len(list(scratch.iterdir())) == 1
    assert list(scratch.iterdir()) == []


def test_a_track_knows_its_seconds():
    assert Track("a", "train", "train", 66150, RATE, "", False).seconds == 1.5


# -- as a user runs it


@pytest.fixture
def copy(tmp_path):
    """The repository's code and a params.yaml to change."""
    for name in ("stages", "svs"):
        shutil.copytree(REPOSITORY / name, tmp_path / "copy" / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "copy"


def run_download(copy, root, **options):
    raw = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    raw["profile"] = "sample"
    raw["profiles"]["sample"]["download"] = {"dataset": "sample", "path": str(root), **options}
    (copy / "params.yaml").write_text(yaml.safe_dump(raw))
    return subprocess.run(
        [sys.executable, "-m", "stages.download"], cwd=copy, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize(
    ("make", "says", "code"),
    [
        (lambda root: None, "there is no such folder", 3),
        (lambda root: (empty_subsets(root), cut_stem(root, "cut")), "track train/cut: ", 3),
        (lambda root: (empty_subsets(root), not_a_number(root, "nan")), "track train/nan: drums holds NaN", 3),
    ],
)
def test_the_stage_says_one_line_and_writes_nothing(copy, tmp_path, make, says, code):
    make(tmp_path / "set")
    done = run_download(copy, tmp_path / "set")
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert says in error
    assert done.stderr.splitlines()[-1] == error
    assert not (copy / "data" / "manifest.json").exists()


def test_the_stage_refuses_a_misspelt_key(copy, tmp_path):
    done = run_download(copy, tmp_path, on_bad_trak="skip")
    assert done.returncode == 2
    assert done.stderr == (
        "error: params.yaml, profile sample: download.on_bad_trak: Extra inputs are not permitted (got 'skip')\n"
    )


def test_the_stage_leaves_out_what_is_bad_when_told_to(copy, tmp_path):
    root = tmp_path / "set"
    for name in ("a", "b"):
        write_track(root, "train", name)
    write_track(root, "test", "c")
    missing_stem(root, "bad")
    done = run_download(copy, root, on_bad_track="skip")
    assert done.returncode == 0, done.stderr
    assert "left out train/bad: missing bass.wav" in done.stderr.splitlines()
    assert "sample: 1 train, 1 valid, 1 test, 0 unused tracks, 0 s" in done.stderr
    manifest = Manifest.load(copy / "data" / "manifest.json")
    assert [track.name for track in manifest.tracks] == ["a", "b", "c"]


def test_a_manifest_without_a_split_that_is_needed_is_refused(tiny_set):
    _, manifest = tiny_set
    manifest.require("train", "valid", "test")
    without = dataset.Manifest("tiny", manifest.split("train", "valid"))
    with pytest.raises(DataError, match="no test track among the 3 usable ones; training needs at least two"):
        without.require("train", "valid", "test")
