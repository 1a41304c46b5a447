"""Extraction: what the store contains, its layout on disk, and that it resumes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import zarr

from svs.audio.level import level
from svs.audio.sources import WavSource
from svs.data.dataset import Dataset
from svs.errors import DataError
from svs.features import extraction, singing_labels, store
from svs.runtime.files import Scratch


def extracted(tiny_set, extract, root: Path, **options) -> tuple[Path, dict]:
    folder, manifest = tiny_set
    path = root / "excerpts.zarr"
    counts = extraction.extract(Dataset(folder, manifest), extract, path, Scratch(root, "extract", "a"), **options)
    return path, counts


@pytest.fixture(scope="module")
def made(tiny_set, small, tmp_path_factory):
    """A store of all modes, and what `extract` returned."""
    return extracted(tiny_set, small.extract, tmp_path_factory.mktemp("store"))


def contents(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def stereo(folder: Path, track, name: str) -> np.ndarray:
    audio, _ = soundfile.read(folder / track.subset / track.name / f"{name}.wav", dtype="float64", always_2d=True)
    return audio


def spectrum(audio: np.ndarray, rate: int, representation) -> np.ndarray:
    """Complex spectrogram (frames, bins) of the mean of the channels, straight from librosa."""
    single = librosa.resample(
        audio.mean(axis=1).astype(np.float32), orig_sr=rate, target_sr=representation.sample_rate, res_type="soxr_hq"
    )
    return librosa.stft(
        single,
        n_fft=representation.frame_size,
        hop_length=representation.hop_length,
        win_length=representation.win_length,
        pad_mode="constant",
    ).T


def direct(folder: Path, track, representation) -> dict[str, np.ndarray]:
    """Mixture, vocals (magnitudes) and mask of a track, computed without svs."""
    stems = {name: stereo(folder, track, name) for name in ("mixture", "vocals", "drums", "bass", "other")}
    stems["accompaniment"] = stems["drums"] + stems["bass"] + stems["other"]
    spectra = {
        name: spectrum(stems[name], track.rate, representation) for name in ("mixture", "vocals", "accompaniment")
    }
    scale = 1 / np.hanning(representation.win_length + 1)[:-1].sum()  # periodic Hann
    return {
        "mixture": np.abs(spectra["mixture"]) * scale,
        "vocals": np.abs(spectra["vocals"]) * scale,
        "V": np.abs(spectra["vocals"]),
        "A": np.abs(spectra["accompaniment"]),
    }


@pytest.mark.parametrize("dtype, relative, absolute", [("float16", 2.0**-11, 2.0**-25), ("float32", 1e-5, 1e-8)])
def test_magnitudes_and_mask_equal_a_direct_computation(tiny_set, small, tmp_path, dtype, relative, absolute):
    folder, manifest = tiny_set
    extract = small.extract.model_copy(
        update={"modes": ("SVS",), "store": small.extract.store.model_copy(update={"dtype": dtype})}
    )
    path, _ = extracted(tiny_set, extract, tmp_path)
    spectrograms = store.Spectrograms(path / "masks")
    for track in manifest.split("train", "valid"):
        expected = direct(folder, track, extract.masks)
        for name in ("mixture", "vocals"):
            came = spectrograms.array(track.name, name)
            assert came.dtype == dtype
            np.testing.assert_allclose(
                came[:].astype(np.float64), expected[name], rtol=relative * 1.01, atol=absolute + 2e-8
            )
        mask = spectrograms.array(track.name, "mask")[:]
        assert mask.dtype == bool and 0 < mask.mean() < 1
        # Where the two are equal up to rounding (silence), either answer will do.
        clear = np.abs(expected["V"] - expected["A"]) > 1e-5 * (expected["V"] + expected["A"]) + 1e-6
        assert clear.mean() > 0.5
        np.testing.assert_array_equal(mask[clear], (expected["V"] > expected["A"])[clear])


def test_float32_magnitudes_are_exactly_those_of_the_whole_signal(tiny_set, small, tmp_path):
    """At the track's own rate nothing is resampled, and blocks must not show: every bit is the same."""
    folder, manifest = tiny_set
    masks = small.extract.masks.model_copy(update={"sample_rate": 44100, "hop_length": 64, "win_length": 256})
    extract = small.extract.model_copy(
        update={"modes": ("SVS",), "masks": masks, "store": small.extract.store.model_copy(update={"dtype": "float32"})}
    )
    path, _ = extracted(tiny_set, extract, tmp_path)
    spectrograms = store.Spectrograms(path / "masks")
    scale = np.float32(1 / librosa.filters.get_window("hann", masks.win_length).sum())
    for track in manifest.split("train"):
        source = WavSource(folder / track.subset / track.name / "mixture.wav")
        single = source.read(0, source.samples).mean(axis=1, dtype=np.float32)
        whole = librosa.stft(single, n_fft=512, hop_length=64, win_length=256, pad_mode="constant").T
        came = spectrograms.array(track.name, "mixture")[:]
        assert len(came) > 2 * 1024  # frames: more than two blocks
        np.testing.assert_array_equal(came, np.abs(whole) * scale)


def test_voice_activity_arrays(tiny_set, small, made):
    folder, manifest = tiny_set
    vad = small.extract.vad
    spectrograms = store.Spectrograms(made[0] / "vad")
    seen = set()
    for track in manifest.split("train", "valid"):
        expected = direct(folder, track, vad)["mixture"]
        came = spectrograms.array(track.name, "mixture")[:]
        np.testing.assert_allclose(came.astype(np.float64), expected, rtol=2.0**-10, atol=1e-7)
        label = spectrograms.array(track.name, "label")[:]
        assert len(label) == len(came)
        vocals = WavSource(folder / track.subset / track.name / "vocals.wav")
        np.testing.assert_array_equal(
            label, singing_labels.labels(singing_labels.levels(vocals, vad), vad)[: len(label)]
        )
        seen |= set(label.tolist())
    assert {singing_labels.SINGING, singing_labels.SILENT} <= seen <= {1, 0, -1}


def test_the_level_of_a_mode_is_the_median_of_its_tracks_mixtures(tiny_set, made):
    folder, manifest = tiny_set
    levels = {
        track.name: level(WavSource(folder / track.subset / track.name / "mixture.wav"))
        for track in manifest.split("train", "valid")
    }
    trained = [levels[track.name] for track in manifest.split("train")]
    assert len(set(levels.values())) == 3 and min(levels.values()) > 0.01
    for group, mode in (("masks", "SVS"), ("vad", "VAD")):
        found = store.Spectrograms(made[0] / group)
        assert found.level(mode, "train") == np.median(trained)
        assert found.level(mode, "train", "valid") == np.median([*levels.values()])
    assert store.Stems(made[0] / "stems").level("MIX", "train") == np.median(trained)


def test_layout_is_zarr_v3_with_one_shard_an_array(tiny_set, small, made):
    path, _ = made
    for metadata in path.rglob("zarr.json"):
        assert json.loads(metadata.read_text())["zarr_format"] == 3
    names = {"masks": {"mixture", "vocals", "mask"}, "vad": {"mixture", "label"}}
    tracks = {track.name for track in tiny_set[1].split("train", "valid")}
    for group, arrays in names.items():
        assert {item.name for item in (path / group).iterdir() if item.is_dir()} == tracks
        for track in tracks:
            assert {item.name for item in (path / group / track).iterdir() if item.is_dir()} == arrays
            for name in arrays:
                files = [file for file in (path / group / track / name).rglob("*") if file.is_file()]
                assert len(files) == 2, files  # zarr.json and the shard
                array = zarr.open_array(path / group / track / name, mode="r")
                assert array.chunks[0] == small.extract.store.chunk_frames
                assert array.shards is not None and array.shards[0] >= array.shape[0]


def test_test_tracks_never_enter_the_store(tiny_set, made):
    path, _ = made
    text = "\n".join(
        [*(str(file) for file in path.rglob("*")), *(file.read_text() for file in path.rglob("zarr.json"))]
    )
    assert tiny_set[1].split("test")
    for track in tiny_set[1].split("train", "valid"):
        assert track.name in text
    for track in tiny_set[1].split("test"):
        assert track.name not in text


def test_two_extractions_give_the_same_bytes(tiny_set, small, made, tmp_path):
    again, counts = extracted(tiny_set, small.extract, tmp_path)
    assert counts == made[1]
    first, second = contents(made[0]), contents(again)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


class Killed(BaseException):
    pass


def test_an_interrupted_extraction_goes_on_where_it_was(tiny_set, small, made, tmp_path):
    folder, manifest = tiny_set
    copy = tmp_path / "music"
    shutil.copytree(folder, copy)
    path, scratch = tmp_path / "out" / "excerpts.zarr", Scratch(tmp_path / "scratch", "extract", "a")
    tracks = manifest.split("train", "valid")

    whole = extraction.np.savez

    def interrupted(file, **runs):
        """Killed when everything of the second track but its runs is written."""
        if file.parent.name == store.track_key(tracks[1].name):
            raise Killed
        whole(file, **runs)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(extraction.np, "savez", interrupted)
        extraction.extract(Dataset(copy, manifest), small.extract, path, scratch)
    assert not path.exists() and not list(path.parent.glob("*") if path.parent.exists() else [])
    # The finished track is not read again, so its files may be gone.
    shutil.rmtree(copy / tracks[0].subset / tracks[0].name)
    # Half a track, as a killed process leaves it.
    debris = scratch.path / "tracks" / f".{tracks[1].name}.0@elsewhere.unfinished" / tracks[1].name / "masks"
    debris.mkdir(parents=True)
    (debris / "zarr.json").write_text("{")
    counts = extraction.extract(Dataset(copy, manifest), small.extract, path, scratch)
    assert counts == made[1]
    assert contents(path) == contents(made[0])


def test_a_changed_track_is_refused(tiny_set, small, tmp_path):
    folder, manifest = tiny_set
    copy = tmp_path / "music"
    shutil.copytree(folder, copy)
    track = manifest.split("train")[0]
    with open(copy / track.subset / track.name / "vocals.wav", "r+b") as file:
        file.seek(5000)
        file.write(b"\x01\x02\x03\x04")
    with pytest.raises(DataError, match="changed since"):
        extraction.extract(Dataset(copy, manifest), small.extract, tmp_path / "s", Scratch(tmp_path / "x", "e", "a"))
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    "modes, groups", [(("SVS",), {"masks"}), (("VAD",), {"vad"}), (("DAE", "VAD"), {"masks", "vad"})]
)
def test_only_the_modes_that_were_asked_for(tiny_set, small, made, tmp_path, modes, groups):
    extract = small.extract.model_copy(update={"modes": modes})
    path, counts = extracted(tiny_set, extract, tmp_path)
    assert counts == {mode: made[1][mode] for mode in modes}
    assert {item.name for item in path.iterdir() if item.is_dir()} == groups
    for mode in ("SVS", "DAE", "VAD"):
        group = path / store.GROUP_OF_MODE[mode]
        if mode in modes:
            everything = store.Spectrograms(made[0] / store.GROUP_OF_MODE[mode])
            assert store.Spectrograms(group).runs(mode, "train") == everything.runs(mode, "train")
        elif group.exists():
            with pytest.raises(DataError, match=f"mode {mode}.*extract.modes"):
                store.Spectrograms(group).runs(mode, "train")


def test_index_lies_inside_the_tracks_and_covers_what_it_should(tiny_set, small, made):
    folder, manifest = tiny_set
    path, counts = made
    silent = 0
    for mode in ("SVS", "DAE", "VAD"):
        group = store.GROUP_OF_MODE[mode]
        representation = getattr(small.extract, group)
        spectrograms = store.Spectrograms(path / group)
        assert spectrograms.representation == representation.model_dump()
        half, total = representation.width // 2, 0
        for track in manifest.split("train", "valid"):
            mixture = spectrograms.array(track.name, "mixture")
            frames = mixture.shape[0]
            assert frames == 1 + -(-track.samples * representation.sample_rate // track.rate) // 256
            runs = [run for run in spectrograms.runs(mode, track.split) if run.track == track.name]
            code = np.full(frames, -1)
            for run in runs:
                assert half <= run.first <= run.last <= frames - 1 - half
                assert np.all(code[run.first : run.last + 1] == -1), "runs overlap"
                code[run.first : run.last + 1] = run.label
            total += np.sum(code >= 0)
            inside = slice(half, frames - half)
            if mode == "SVS":
                expected = np.ones(frames, dtype=int)
            elif mode == "DAE":
                level = np.square(direct(folder, track, representation)["vocals"]).sum(axis=1)
                expected = np.where(level > 10 ** (representation.voiced_above / 10), 1, -1)
                silent += np.sum(expected == -1)
            else:
                expected = spectrograms.array(track.name, "label")[:]
            np.testing.assert_array_equal(code[inside], expected[inside])
        assert total == counts[mode] > 0
    assert silent > 0, "nobody stops singing in these tracks: they don't test mode DAE"


def test_a_track_shorter_than_an_excerpt_gives_no_runs():
    assert extraction._runs(np.ones(8, bool), np.ones(8, int), 4).shape == (0, 3)
    assert extraction._runs(np.ones(9, bool), np.ones(9, int), 4).tolist() == [[4, 4, 1]]
    assert extraction._runs(np.ones(3, bool), np.array([0, 1, 1]), 0).tolist() == [[0, 0, 0], [1, 2, 1]]
    assert extraction._runs(np.zeros(3, bool), np.ones(3, int), 1).shape == (0, 3)


def test_no_training_tracks_is_a_data_error(tiny_set, small, tmp_path):
    folder, manifest = tiny_set
    only_test = type(manifest)("tiny", manifest.split("test"))
    with pytest.raises(DataError, match="no training tracks"):
        extraction.extract(Dataset(folder, only_test), small.extract, tmp_path / "s", Scratch(tmp_path, "e", "a"))


def test_magnitudes_are_rounded_as_numpy_rounds_them():
    """All half floats, the values half-way between two, and their neighbours."""
    halves = np.arange(0, 0x7BFF, dtype=np.uint16).view(np.float16).astype(np.float32)
    ties = (halves[1:] + halves[:-1]) / 2
    for values in (
        halves,
        ties,
        np.nextafter(ties, np.float32(0)),
        np.nextafter(ties, np.float32(1e9)),
        np.float32([0, 1e-30, 65503, 65519, 65520, 1e30, np.inf, np.nan]),
        np.zeros((0, 3), np.float32),
    ):
        with np.errstate(over="ignore"):
            expected = values.astype(np.float16)
            came = extraction._rounded(values, "float16")
        assert came.dtype == np.float16
        np.testing.assert_array_equal(came.view(np.uint16), expected.view(np.uint16))
    assert extraction._rounded(ties, "float32").dtype == np.float32


@pytest.mark.parametrize("dtype", ["float16", "float32", "bool", "int8"])
@pytest.mark.parametrize("shape", [(600, 5), (512,), (3, 2), (600, 2, 3)])
@pytest.mark.parametrize("silence", ["nowhere", "in a chunk", "everywhere", "negative"])
def test_an_array_is_one_shard_that_zarr_reads_back(small, tmp_path, dtype, shape, silence):
    """The same bytes each time, in at most one file beside the metadata."""
    array = (np.random.default_rng(1).normal(size=shape) * 9).astype(dtype)
    if silence == "negative":
        array[256:] = -0.0 if array.dtype.kind == "f" else 0
    elif silence != "nowhere":
        array[slice(256, 512) if silence == "in a chunk" else slice(None)] = 0
    for name in ("one", "two"):
        extraction.write_array(zarr.open_group(tmp_path / name, mode="w"), "a", array, small.extract.store)
    found = contents(tmp_path / "one")
    assert found == contents(tmp_path / "two")
    shard = "/".join(["a/c", *["0"] * len(shape)])
    assert set(found) == {"zarr.json", "a/zarr.json", *([] if silence == "everywhere" else [shard])}
    read = zarr.open_group(tmp_path / "one", mode="r")["a"][:]
    assert read.dtype == array.dtype and read.tobytes() == array.tobytes()
