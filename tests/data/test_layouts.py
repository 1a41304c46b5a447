"""Every layout: what it makes of a folder, to the sample; and stems of odd shapes."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from svs import networks
from svs.config import schema
from svs.config.schema import Representation
from svs.data import inspection, layouts
from svs.data.dataset import Dataset, Manifest
from svs.errors import DataError, SettingsError
from svs.features import extraction
from svs.features.store import Stems
from svs.runtime.files import Scratch
from svs.stems import STREAMS, VOCALS
from svs.training.mixtures import Mixes
from tests.helpers import REPOSITORY
from tests.helpers.datasets import empty_subsets, write_stem, write_track

MIR1K = REPOSITORY.parent / "shared" / "data" / "mir1k"


def noise(samples: int = 3000, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Audio (samples, channels) that 16 bits hold exactly."""
    return np.random.default_rng(seed).integers(-3000, 3000, (samples, channels)).astype(np.float32) / 32768


def put(path: Path, audio: np.ndarray, rate: int = 44100) -> np.ndarray:
    """Write audio in the format of its suffix; returns it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, rate, **({} if path.suffix == ".mp3" else {"subtype": "PCM_16"}))
    return audio


def musdb18(root: Path) -> dict:
    empty_subsets(root)
    write_stem(root, "train", "A - One")
    write_stem(root, "test", "A - Two")
    return {"A - One": ("train", {}), "A - Two": ("test", {})}


def musdb18hq(root: Path) -> dict:
    empty_subsets(root)
    write_track(root, "train", "ANiMAL - Rockshow")
    folder = write_track(root, "test", "A - Two")
    stems = {stem: soundfile.read(folder / f"{stem}.wav", dtype="float32")[0] for stem in STREAMS}
    rest = stems["drums"] + stems["bass"] + stems["other"]
    return {"ANiMAL - Rockshow": ("valid", {}), "A - Two": ("test", {**stems, "accompaniment": rest})}


def tiny(root: Path) -> dict:
    musdb18hq(root)
    (root / "generated.json").write_text('{"validation": []}')
    return {"ANiMAL - Rockshow": ("train", {}), "A - Two": ("test", {})}


def mir1k(root: Path) -> dict:
    found = {}
    for number, name in enumerate(("amy_1_01", "amy_1_02", "abjones_3_01")):
        sides = put(root / "Wavfile" / f"{name}.wav", noise(channels=2, seed=number), 16000)
        stems = {"accompaniment": sides[:, :1], "vocals": sides[:, 1:], "mixture": sides[:, :1] + sides[:, 1:]}
        found[name] = ("", stems)
    return found


def dsd100(root: Path) -> dict:
    found = {}
    for subset, split, name in (("Dev", "train", "051 - A - One"), ("Test", "test", "001 - B - Two")):
        stems = {}
        for number, stem in enumerate(("mixture", "bass", "drums", "other", "vocals")):
            kind = "Mixtures" if stem == "mixture" else "Sources"
            stems[stem] = put(root / "DSD100" / kind / subset / name / f"{stem}.wav", noise(channels=2, seed=number))
        rest = stems["drums"] + stems["bass"] + stems["other"]
        found[name] = (split, {**stems, "accompaniment": rest})
    return found


def moisesdb(root: Path) -> dict:
    """As the archive has it: JSON, a folder for each stem, and several files in one."""
    found = {}
    for artist, identity in (("A/C", "0358ee95-1"), ("Bee", "1ab2cd34-2")):
        place, stems, sums = root / "moisesdb_v0.1" / identity, [], {}
        for name, count in (("vocals", 2), ("drums", 1), ("guitar", 2)):
            audio = [noise(channels=2, seed=len(sums) + 7 * each) for each in range(count)]
            files = [f"{name}{each}" for each in range(count)]
            for file, signal in zip(files, audio, strict=True):
                put(place / name / f"{file}.wav", signal)
            tracks = [{"id": file, "extension": "wav", "trackType": "any", "has_bleed": False} for file in files]
            # A stem with several files stands in the card once, or once for each of them.
            parts = [tracks] if name == "vocals" else [[track] for track in tracks]
            stems += [{"id": name, "stemName": name, "tracks": part} for part in parts]
            sums[name] = sum(audio)
        stems.append({"stemName": "piano", "tracks": []})
        (place / "data.json").write_text(json.dumps({"artist": artist, "song": "Song", "genre": "", "stems": stems}))
        rest = sums["drums"] + sums["guitar"]
        made = {**sums, "accompaniment": rest, "mixture": sums["vocals"] + sums["drums"] + sums["guitar"]}
        found[f"{artist.replace('/', '_')} - Song - {identity[:8]}"] = ("", made)
    return found


def folders(root: Path) -> dict:
    """Two albums: a song of parts, and one of a mixture and vocals; and beside them what is no song."""
    vox, keys, bass = (put(root / "First" / "One" / name, noise(seed=7 + k)) for k, name in enumerate(FIRST))
    mix, sung = (put(root / "Second" / "Two" / name, noise(seed=4 + k, channels=2)) for k, name in enumerate(SECOND))
    (root / "First" / "One" / "cover.jpg").write_bytes(b"\0")
    (root / "notes").mkdir()
    one = {VOCALS: vox, "accompaniment": bass + keys, "mixture": vox + bass + keys}
    two = {VOCALS: sung, "accompaniment": mix - sung, "mixture": mix}
    return {"First - One": ("", one), "Second - Two": ("", two)}


FIRST, SECOND = ("Lead Vox.wav", "keys.flac", "bass.wav"), ("MixDown.flac", "vocals.wav")


def csv(root: Path) -> dict:
    sides = put(root / "clips" / "a.wav", noise(channels=2))
    lead, choir = put(root / "lead.wav", noise(seed=1)), put(root / "choir.flac", noise(seed=2))
    band = put(root / "band.wav", noise(seed=3))
    (root / "songs.csv").write_text(
        "track,split,group,vocals,accompaniment\n"
        "a,train,x,clips/a.wav#right,clips/a.wav#left\n"
        "b,test,y,lead.wav; choir.flac,band.wav\n"
    )
    return {
        "a": ("train", {VOCALS: sides[:, 1:], "accompaniment": sides[:, :1]}),
        "b": ("test", {VOCALS: lead + choir, "accompaniment": band, "mixture": lead + choir + band}),
    }


MADE = {
    "musdb18": musdb18,
    "musdb18hq": musdb18hq,
    "tiny": tiny,
    "mir1k": mir1k,
    "dsd100": dsd100,
    "moisesdb": moisesdb,
    "folders": folders,
    "csv": csv,
}


def test_every_layout_is_here_and_is_documented():
    assert set(MADE) == set(layouts.layouts())
    line = next(line for line in (REPOSITORY / "params.yaml").read_text().splitlines() if line.startswith("  layout:"))
    assert set(line.partition("# ")[2].split(" | ")) == {"auto", *MADE}
    guide = (REPOSITORY / "docs" / "own-songs.md").read_text()
    assert [name for name in MADE if f"`{name}`" not in guide] == []


@pytest.mark.parametrize("named", [False, True], ids=["recognised", "named"])
@pytest.mark.parametrize("name", MADE)
def test_a_layout_finds_its_tracks_to_the_sample(download, here, name, named):
    expected = MADE[name](download.path)
    download = download.model_copy(update={"layout": name if named else "auto"})
    _, songs = inspection.find_songs(download, 1, download.path)
    own = {song.name: song.split for song in layouts.songs(download, download.path)[1]}
    assert own == {track: split for track, (split, _) in expected.items()}
    manifest = inspection.inspect(download, 1, download.path)
    assert manifest.layout == name
    assert {track.name: track.split for track in manifest.tracks} == {song.name: song.split for song in songs}
    for track in manifest.tracks:
        stems = expected[track.name][1]
        with Dataset(download.path, manifest).open(track, stems) as sources:
            for stem, audio in stems.items():
                assert (sources[stem].rate, sources[stem].channels) == (track.rate, track.channels)
                np.testing.assert_array_equal(sources[stem].read(0, track.samples), audio, err_msg=stem)
                np.testing.assert_array_equal(sources[stem].read(100, 900), audio[100:900])


def test_a_manifest_of_channels_and_streams_is_loaded_as_it_was_saved(download, here, tmp_path):
    for make in (mir1k, musdb18):
        root = download.path / make.__name__
        make(root)
        manifest = inspection.inspect(download, 1, root)
        manifest.save(tmp_path / "manifest.json")
        loaded = Manifest.load(tmp_path / "manifest.json")
        assert (loaded.layout, loaded.tracks) == (manifest.layout, manifest.tracks)
        with Dataset(root, loaded).open(loaded.tracks[0]) as sources:  # the checksum holds
            assert set(sources) == {"mixture", "vocals", "accompaniment"}


@pytest.mark.skipif(not MIR1K.is_dir(), reason=f"no clips of MIR-1K at {MIR1K}")
def test_the_real_mir1k(settings, here):
    download = settings.download.model_copy(update={"on_bad_track": "error"})
    split = download.split.model_copy(update={"by": "list", "test": ("amy",)})
    download = download.model_copy(update={"split": split})
    layout, songs = inspection.find_songs(download, 1, MIR1K)
    assert layout == "mir1k" and len(songs) == len(list(MIR1K.glob("*.wav")))
    assert {song.groups[0] for song in songs if song.split == "test"} == {"amy"}
    assert {song.groups[0] for song in songs if song.split in ("train", "valid")} == {"abjones"}
    sung = {split: {song.groups[1] for song in songs if song.split == split} for split in ("train", "valid")}
    assert sung["train"] and sung["valid"] and not sung["train"] & sung["valid"]
    (track,) = inspection.look(download, MIR1K, songs[:1])
    assert (track.rate, track.channels, track.silent_vocals) == (16000, 1, False)


def test_the_profile_of_the_guide_has_every_group_that_stages_ask_for():
    """Of MIR-1K in docs/own-songs.md: DVC refuses a profile that lacks a group."""
    guide = (REPOSITORY / "docs" / "own-songs.md").read_text()
    (block,) = re.findall(r"```yaml\n(  mir1k:\n.*?)```", guide, re.DOTALL)
    raw = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    full, ours = raw["profiles"]["full"], yaml.safe_load(block)["mir1k"]
    assert set(full) == set(ours) and set(full["train"]) == set(ours["train"])
    settings = schema.resolve(raw | {"profile": "mir1k", "profiles": {"mir1k": ours}})
    networks.validate(settings)
    assert settings.extract.stems.sample_rate == settings.train["unet_separator"]["representation"]["sample_rate"]
    assert settings.download.split.test == ("amy",)


# Odd stems


def test_stems_of_unlike_rates_channels_lengths_and_formats(download, here):
    """What a folder of stems is like: brought to the mixture's rate, the most channels, the shortest length."""
    place, seconds = download.path / "album" / "song", 0.5
    time = np.arange(round(seconds * 48000)) / 48000
    tone = {name: 0.2 * np.sin(2 * np.pi * hertz * time) for name, hertz in (("vocals", 440), ("keys", 1000))}
    for name, rate in (("vocals", 16000), ("keys", 48000)):
        at = np.arange(round(seconds * rate) + 50) / rate
        put(place / f"{name}.flac", 0.2 * np.sin(2 * np.pi * (440 if name == "vocals" else 1000) * at), rate)
    put(place / "mix.wav", np.stack([tone["vocals"] + tone["keys"]] * 2, axis=1), 48000)
    (track,) = inspection.inspect(download, 1, download.path).tracks
    assert (track.rate, track.channels, track.samples) == (48000, 2, round(seconds * 48000))
    with Dataset(download.path, Manifest("own", [track])).open(track) as sources:
        for name, true in (("vocals", tone["vocals"]), ("accompaniment", tone["keys"])):
            audio = sources[name].read(0, track.samples)
            np.testing.assert_allclose(audio[500:-500, 0], true[500:-500], atol=2e-3)
            np.testing.assert_array_equal(audio[:, 0], audio[:, 1])
    wanted = download.model_copy(update={"sample_rate": 22050})
    (track,) = inspection.inspect(wanted, 1, download.path).tracks
    assert (track.rate, track.samples) == (22050, round(seconds * 22050))


def test_an_mp3_and_a_stem_file_are_read(download, here):
    put(download.path / "a" / "vocals.mp3", noise(44100, 2))
    put(download.path / "a" / "band.mp3", noise(44100, 2, seed=1))
    write_stem(download.path, "b", "song")
    manifest = inspection.inspect(download.model_copy(update={"layout": "folders"}), 1, download.path)
    assert [(track.name, track.channels) for track in manifest.tracks] == [("a", 2), ("b - song", 2)]
    assert set(manifest.tracks[1].stems) == set(STREAMS)


@pytest.mark.parametrize(("tolerance", "good"), [(10.0, False), (30.0, True)])
def test_stems_may_differ_in_length_by_so_much(download, here, tolerance, good):
    put(download.path / "a" / "vocals.wav", noise(4000))
    put(download.path / "a" / "band.wav", noise(3000))  # 23 ms less
    download = download.model_copy(update={"length_tolerance": tolerance})
    if good:
        assert [track.samples for track in inspection.inspect(download, 1, download.path).tracks] == [3000]
        return
    with pytest.raises(DataError, match=r"lengths?: \[3000, 4000\] samples, by 23 ms.*download.length_tolerance"):
        inspection.inspect(download, 1, download.path)


def with_csv(text: str):
    def make(root: Path) -> None:
        put(root / "a.wav", noise())
        (root / "songs.csv").write_text(text)

    return make


WRONG = {
    "mixture alone": (with_csv("track,mixture\na,a.wav\n"), "expected vocals, and a mixture or an accompaniment"),
    "no accompaniment": (with_csv("track,vocals\na,a.wav\n"), "expected vocals, and a mixture or an accompaniment"),
    "no such file": (with_csv("track,vocals,band\na,a.wav,b.wav\n"), "missing b.wav"),
    "no such channel": (with_csv("track,vocals,band\na,a.wav,a.wav#right\n"), "expected channel 2, it has 1"),
    "no such split": (with_csv("track,split,vocals,band\na,tests,a.wav,a.wav\n"), "expected a split of train"),
    "no stem file": (with_csv("track,vocals,band\na,a.wav#vocals,a.wav\n"), "expected a .stem.mp4"),
    "a name of folders": (with_csv("track,vocals,band\na/b,a.wav,a.wav\n"), "expected a name that can be"),
    "a long name": (with_csv(f"track,vocals,band\n{'歌' * 84},a.wav,a.wav\n"), "at most 250 bytes, found 252"),
    "a name twice": (with_csv("track,vocals,band\na,a.wav,a.wav\na,a.wav,a.wav\n"), "another track has the same name"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said(download, here, name):
    make, says = WRONG[name]
    make(download.path)
    with pytest.raises(DataError, match=says) as caught:
        inspection.inspect(download, 1, download.path)
    assert "\n" not in str(caught.value)


def problems(download, **given) -> dict[str, str]:
    """What is wrong with the songs of a folder, by name; empty where nothing is."""
    _, found = inspection.find_songs(download.model_copy(update=given), 1, download.path)
    return {song.name: song.problem for song in found}


def test_a_folder_with_splits_of_ones_own_is_not_musdb18(download, here):
    """It has stems of the same names, or lacks the mixture."""
    for number, split in enumerate(("train", "valid", "test")):
        for stem in ("mixture", *STREAMS):
            put(download.path / split / f"song {number}" / f"{stem}.wav", noise(seed=number))
    layout, found = inspection.find_songs(download, 1, download.path)
    assert layout == "folders" and [song.split for song in found] == ["test", "train", "valid"]
    for path in (*download.path.glob("*/*/mixture.wav"), download.path / "valid" / "song 1"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (download.path / "valid").rmdir()
    assert layouts.recognised(download.path) == "folders"


def test_a_name_in_two_splits_is_lost_in_neither(download, here):
    for split in ("train", "test"):
        put(download.path / split / "One" / "vocals.wav", noise(seed=len(split)))
        put(download.path / split / "One" / "band.wav", noise(seed=9))
    assert set(problems(download, layout="folders").values()) == {""}
    split = download.split.model_copy(update={"by": "train"})
    _, found = inspection.find_songs(
        download.model_copy(update={"split": split, "layout": "folders"}), 1, download.path
    )
    assert [song.problem for song in found] == ["", "another track has the same name"]


def test_stems_that_would_be_summed_by_mistake_are_wrong(download, here):
    put(download.path / "two mixtures" / "Mix.wav", noise())
    put(download.path / "two mixtures" / "Mix (instrumental).wav", noise(seed=1))
    put(download.path / "two exports" / "vocals.wav", noise())
    put(download.path / "two exports" / "vocals.flac", noise())
    for name in ("two mixtures", "two exports", "a link to nothing"):
        put(download.path / name / "vox.wav", noise())
        put(download.path / name / "drums.wav", noise(seed=2))
    (download.path / "a link to nothing" / "bass.wav").symlink_to(download.path / "gone.wav")
    found = problems(download)
    assert "expected one mixture, found Mix (instrumental).wav, Mix.wav" in found["two mixtures"]
    assert "found several of vocals" in found["two exports"]
    with pytest.raises(DataError, match=r"a link to nothing: missing .*bass\.wav"):
        inspection.inspect(download, 1, download.path)


def test_songs_in_many_folders_and_letters_of_macos(download, here):
    deep = download.path / "Music" / "Artist" / "Album" / "CD 1" / "One"
    put(deep / "Sa\u0308nger.wav", noise())  # a and two dots, as macOS writes an umlaut
    put(deep / "band.wav", noise(seed=1))
    (deep / "above").symlink_to(download.path)
    given = {"folders": {"vocals": ["*sänger*"]}}
    layout, (song,) = inspection.find_songs(download.model_copy(update={"layouts": given}), 1, download.path)
    assert layout == "folders", "the patterns that were given are looked at"
    assert song.name == "Music - Artist - Album - CD 1 - One" and set(song.stems) == {VOCALS, "band"}


@pytest.mark.skipif(sys.platform != "linux", reason="names of other systems are always Unicode")
def test_names_that_are_no_utf8(download, here):
    put(download.path / "a" / "vocals.wav", noise())
    put(download.path / "a" / "band.wav", noise(seed=1))
    os.rename(download.path / "a", os.path.join(os.fsencode(download.path), b"Gr\xfcn"))
    (problem,) = problems(download).values()
    assert "in UTF-8" in problem


@pytest.mark.parametrize("inside", [True, False])
def test_a_folder_that_can_not_be_read_is_named(inside, download, here, monkeypatch):
    for name in ("a/vocals.wav", "a/band.wav", "private/vocals.wav"):
        put(download.path / name, noise())
    barred, iterdir = download.path / "private" if inside else download.path, Path.iterdir

    def listed(folder: Path):
        if folder == barred:
            raise PermissionError(13, "Permission denied", str(folder))
        return iterdir(folder)

    monkeypatch.setattr(Path, "iterdir", listed)
    with pytest.raises(DataError, match=rf"{re.escape(str(barred))}: can't look into it \(Permission denied\)"):
        inspection.inspect(download, 1, download.path)


def test_tracks_that_lack_a_part_are_bad_tracks(download, here):
    dsd100(download.path / "one")
    shutil.rmtree(next((download.path / "one").glob("*/Mixtures/Dev/*")))
    moisesdb(download.path / "two")
    next((download.path / "two").glob("*/*/data.json")).unlink()
    for name, says in (("one", r"051 - A - One: missing .*mixture\.wav"), ("two", "missing data.json")):
        with pytest.raises(DataError, match=says):
            inspection.inspect(download, 1, download.path / name)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("track,vocals,band\nGrün,a.wav,a.wav\n".encode("latin-1"), "expected a CSV in UTF-8"),
        (b"track,vocals,vocals,band\na,a.wav,a.wav,a.wav\n", "expected each column once, found vocals"),
        (b"track,vocals,band\na,a.wav,a.wav,b.wav\n", r"row 1 \(a\) has more cells than the header"),
        (b"track;vocals;band\na;a.wav;a.wav\n", "a CSV needs commas between its columns"),
    ],
)
def test_a_csv_that_would_be_misread(download, here, content, says):
    put(download.path / "a.wav", noise())
    (download.path / "songs.csv").write_bytes(content)
    with pytest.raises(DataError, match=says):
        inspection.inspect(download, 1, download.path)


def test_empty_lines_of_a_csv_and_other_tables_are_passed_over(download, here):
    put(download.path / "a.wav", noise())
    (download.path / "songs.csv").write_text("track,vocals,band\na,a.wav,a.wav\n,,\n\n")
    (download.path / "features.csv").write_text("x" * 200_000)
    assert problems(download) == {"a": ""}


def test_a_broken_card_of_moisesdb_is_a_bad_track(download, here):
    moisesdb(download.path)
    broken = next(download.path.glob("*/*/data.json"))
    broken.write_text("{}")
    with pytest.raises(DataError, match="data.json: expected stems with stemName and tracks of id and extension"):
        inspection.inspect(download, 1, download.path)
    broken.write_bytes(b'{"song": "Gr\xfcn"}')
    with pytest.raises(DataError, match=r"data.json: not valid JSON \('utf-8' .*\); get the track again"):
        inspection.inspect(download, 1, download.path)


def test_patterns_of_folders(download, here):
    put(download.path / "a" / "lead.wav", noise())
    put(download.path / "a" / "band.wav", noise(seed=1))
    given = {"layout": "folders", "layouts": {"folders": {"vocals": ["vox*", "*LEAD*"]}}}
    (track,) = inspection.inspect(download.model_copy(update=given), 1, download.path).tracks
    assert set(track.stems) == {VOCALS, "band"}
    wrong = download.model_copy(update={"layout": "folders", "layouts": {"folders": {"voice": ["a"]}}})
    with pytest.raises(SettingsError, match=r"download\.layouts\.folders\.voice: there is no such parameter"):
        inspection.inspect(wrong, 1, download.path)
    with pytest.raises(SettingsError, match="nope: no such layout; expected auto or one of"):
        inspection.inspect(download.model_copy(update={"layout": "nope"}), 1, download.path)


# After inspection


def test_the_same_music_under_another_name_is_refused(download, here):
    """A flac of the same samples, between other stems: no file and no name is the same."""
    for split, suffix in (("train", ".flac"), ("test", ".wav")):
        put(download.path / split / f"song of {split}" / f"vocals{suffix}", noise())
        put(download.path / split / f"song of {split}" / "band.wav", noise(seed=len(split)))
    put(download.path / "train" / "other" / "vocals.wav", noise(seed=9))
    shutil.copy(download.path / "test" / "song of test" / "band.wav", download.path / "train" / "other")
    manifest = inspection.inspect(download.model_copy(update={"layout": "folders"}), 1, download.path)
    ((one, other, what),) = manifest.leaks()
    assert (one.name, other.name, what) == ("song of train", "song of test", "decoded vocals")
    with pytest.raises(DataError, match="song of train has the decoded vocals of song of test: .* download.split"):
        manifest.refuse_leaks()


def test_a_mono_set_goes_into_the_store_and_into_mixtures(download, here, small, settings, tmp_path):
    """Its accompaniment is one stem, the rate is its own, and nets of stereo hear it on both sides."""
    for number, name in enumerate(("amy_1_01", "abjones_1_01", "abjones_2_01")):
        put(download.path / f"{name}.wav", noise(48000, 2, seed=number), 16000)
    split = download.split.model_copy(update={"by": "list", "test": ("amy",)})
    manifest = inspection.inspect(download.model_copy(update={"split": split}), 1, download.path)
    extract = small.extract.model_copy(update={"stems": small.extract.stems.model_copy(update={"sample_rate": 16000})})
    data = Dataset(download.path, manifest)
    extraction.extract(data, extract, tmp_path / "store", Scratch(tmp_path, "extract", "a"))
    stems = Stems(tmp_path / "store" / "stems")
    (name,) = stems.tracks("train")
    assert stems.parts(name) == ("accompaniment",)
    left = soundfile.read(download.path / f"{name}.wav", dtype="float32")[0][:, :1]
    np.testing.assert_allclose(stems.read(name, "accompaniment", 0, 48000), np.repeat(left, 2, axis=1), atol=1e-4)
    given = settings.train["unet_separator"]["representation"] | {"sample_rate": 16000, "frame_size": 1024}
    given |= {"win_length": 1024, "hop_length": 256}
    training = networks.training("unet_separator", settings).model_copy(
        update={"representation": Representation(**given), "frames": 32}
    )
    x, y = Mixes(stems, ("train",), training, 1)[0]
    assert x.shape[-1] == 2 and y.shape[-2:] == (2, 3)
    np.testing.assert_array_equal(x[..., 0], x[..., 1])
