"""The report: its bytes, what it says, whose audio it holds, and the page in a real headless Chromium, from disk."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
import shutil
import subprocess
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import yaml
from typer.testing import CliRunner

from svs import networks
from svs.audio.reading import decode
from svs.cli.options import app
from svs.config import paths
from svs.config.schema import Settings, merge, read, resolve
from svs.data import dataset, inspection, locate, synthetic
from svs.data.noisy_set import Entry
from svs.errors import DataError
from svs.evaluation import tables
from svs.evaluation.museval_json import MEASURES
from svs.figures import spectrograms
from svs.report import content, listening, noise
from svs.report import page as report_page
from svs.report.build import build
from svs.runtime import unavailable
from svs.stems import TARGETS
from tests.helpers import REPOSITORY
from tests.helpers.command import assert_refused, project, svs, wav

RATE = 44100
METHODS = {"cnn_separator": 0.6, "spleeter": 0.4, "oracle_ibm": 0.9, "mixture": 0.25}  # shares: stand-in estimates
SYSTEMS = ("MIX", "IBM1", "WK", "TAK1")
EVIL = 'A "quoted" & <img src=x onerror=alert(1)> #1 100% 😀 </script>'


class Home:
    """What the pipeline leaves, on a small scale: a data set, estimates, tables."""

    def __init__(self, folder: Path, **changes):
        self.folder = folder
        raw = read(REPOSITORY / "params.yaml")
        raw["methods"] = {name: raw["methods"][name] for name in METHODS}
        raw = merge(raw, {"report": {"bitrate": 96}, **changes})
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "params.yaml").write_text(yaml.safe_dump(raw))
        (folder / "dvc.yaml").touch()
        self.settings: Settings = resolve(raw)
        place = locate.locate(self.settings.download, self.settings.seed, folder / paths.DATASETS)
        self.manifest = inspection.inspect(self.settings.download, self.settings.seed, place)
        self.manifest.save(folder / paths.MANIFEST)
        self.tracks = self.manifest.split("test")
        for track in self.tracks:
            mixture, _ = sf.read(place / "test" / track.name / "mixture.wav", dtype="float32")
            for method, share in METHODS.items():
                for target, part in zip(TARGETS, (share, 1 - share), strict=True):
                    wav(
                        folder / paths.ESTIMATES / method / "test" / track.name / f"{target}.wav",
                        mixture * np.float32(part),
                        RATE,
                    )
        self.tables()

    def tables(self, systems: tuple[str, ...] = SYSTEMS) -> None:
        rng = np.random.default_rng(3)

        def scores(methods) -> pd.DataFrame:
            rows = [
                {
                    "method": method,
                    "track": track.name,
                    "target": target,
                    **{measure: rng.normal(3, 3) for measure in MEASURES},
                    "frames": 4,
                    "silent": 0,
                }
                for method in methods
                for track in self.tracks
                for target in TARGETS
            ]
            return pd.DataFrame(rows, columns=["method", "track", "target", *MEASURES, "frames", "silent"])

        metrics = self.folder / paths.METRICS
        metrics.mkdir(exist_ok=True)
        ours, theirs = scores(METHODS), scores(systems)
        ours.loc[0, list(MEASURES)] = np.nan  # nothing sung in the first track
        theirs[["ISR", "SIR", "SAR"]] = np.nan
        ours.to_csv(metrics / "scores.csv", index=False)
        scores(METHODS).to_csv(metrics / "scores_dissertation.csv", index=False)
        theirs.to_csv(metrics / "published.csv", index=False)
        frames = [
            {
                "track": track.name,
                "target": target,
                "second": float(second),
                **{method: rng.normal(3, 3) if second else np.nan for method in METHODS},
            }
            for track in self.tracks
            for target in TARGETS
            for second in range(4)
        ]
        pd.DataFrame(frames).to_csv(metrics / "frames.csv", index=False)
        rows = [
            {
                "method": method,
                "system": system,
                "target": target,
                "tracks": len(self.tracks),
                "difference": (middle := rng.normal()),
                "low": middle - 1,
                "high": middle + 1,
                "wins": 2,
                "ties": 0,
                "losses": 1,
            }
            for method in METHODS
            for system in systems
            for target in TARGETS
        ]
        pd.DataFrame(
            rows,
            columns=["method", "system", "target", "tracks", "difference", "low", "high", "wins", "ties", "losses"],
        ).to_csv(metrics / "paired.csv", index=False)
        for name in ("vad.json", "training"):
            source, target = REPOSITORY / "metrics" / name, metrics / name
            (shutil.copytree if source.is_dir() else shutil.copy)(
                source, target, **({"dirs_exist_ok": True} if source.is_dir() else {})
            )
        shutil.copytree(REPOSITORY / "plots" / "training", self.folder / paths.CURVES, dirs_exist_ok=True)

    def build(self, folder: Path, **report) -> Path:
        group = self.settings.report.model_copy(update=report)
        return build(self.folder, self.settings.model_copy(update={"report": group}), folder)


TINY = {
    "profiles": {
        "tiny": {
            "download": {
                "tiny": {
                    "train": 1,
                    "valid": 1,
                    "test": 2,
                    "train_seconds": 2.0,
                    "test_seconds": 4.0,
                    "real_song": True,
                }
            }
        }
    }
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home"), **TINY)


@pytest.fixture(scope="module")
def report(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`index.html` with the audio of all tracks."""
    return home.build(tmp_path_factory.mktemp("built") / "report")


@pytest.fixture
def copied(home: Home, tmp_path: Path) -> Home:
    """The home with tables of its own, to be changed."""
    copy = object.__new__(Home)
    vars(copy).update(vars(home), folder=tmp_path / "home")
    copy.folder.mkdir()
    for name in ("params.yaml", "dvc.yaml", "data"):
        (copy.folder / name).symlink_to(home.folder / name)
    for name in ("metrics", "plots"):
        shutil.copytree(home.folder / name, copy.folder / name)
    return copy


def test_recordings_in_noise_have_a_section(copied: Home, tmp_path: Path):
    """Medians, the boxplot and players; without those scores the page has no such section."""
    from svs.data import noisy
    from svs.evaluation import denoised, speech
    from svs.figures import improvements, style
    from svs.runtime.files import write_json

    assert 'id="noise"' not in html_of(copied)
    settings = copied.settings.model_copy(update={"enhancers": dict.fromkeys(("mixture", "half"))})
    place = tmp_path / "here"
    place.mkdir()
    for name in ("metrics", "plots"):
        (place / name).symlink_to(copied.folder / name)
    group = settings.noisy.model_copy(update={"rates": (8000,), "sources": 2})
    listed = noisy.write(place / paths.NOISY, noisy.recordings(group, 1, ("test",), ("respiratory",)))
    for entry in listed:
        mixture, rate = sf.read(place / paths.NOISY / entry.name / "mixture.wav")
        clean, _ = sf.read(place / paths.NOISY / entry.name / "clean.wav")
        wav(place / paths.DENOISED / "half" / f"{entry.name}.wav", (clean + mixture)[:, None] / 2, rate)
        wav(place / paths.DENOISED / "mixture" / f"{entry.name}.wav", mixture[:, None], rate)
    for method in ("mixture", "half"):
        rows = speech.score(place / paths.NOISY, place / paths.DENOISED / method, method, opinion=False)
        write_json(place / paths.DENOISED_SCORES / method / denoised.SCORES, rows)
    table = denoised.table(place / paths.DENOISED_SCORES, ["mixture", "half"])
    tables.write_table(place / paths.METRICS / "denoise.csv", table)
    tables.write_table(place / paths.METRICS / "denoise_paired.csv", denoised.against_floor(table, 1))
    style.save(improvements.improvement_boxplot(table, "a title"), place / paths.PLOTS / noise.BOXPLOT)
    out = tmp_path / "page"
    out.mkdir()
    section = noise.make(place, settings, out)
    assert section is not None and [line.method for line in section.lines] == ["half", "mixture"]
    assert section.lines[0].medians["SI_SDR_IMPROVEMENT"] == pytest.approx(6.02, abs=0.1)
    heard = [address for files in section.players.values() for address in files.values()]
    assert len(heard) == 3 * len({entry.noise for entry in listed}) and all((out / one).is_file() for one in heard)
    page = report_page.render(content.gather(copied.folder, copied.settings), [], copied.settings, section)
    assert 'id="noise"' in page and all(f'src="{address}"' in page for address in heard)
    silent = settings.model_copy(update={"report": settings.report.model_copy(update={"audio": "none"})})
    assert noise.make(place, silent, out).players == {}


def html_of(home: Home, audio: str = "none") -> str:
    """The page of a home without the files beside it."""
    passages = [
        listening.Passage(
            track.name,
            f"tracks/{number:02d}",
            track.seconds,
            0.0,
            track.seconds,
            listening.allowed(audio, home.manifest.dataset, track.name),
            11025.0,
        )
        for number, track in enumerate(home.tracks, start=1)
    ]
    return report_page.render(content.gather(home.folder, home.settings), passages, home.settings)


def test_each_data_set_has_its_scores(copied: Home, tmp_path: Path):
    """A row of facts, a choice of the chart and a table of medians for each."""
    sets = {track.name: "mine" if number < 2 else "theirs" for number, track in enumerate(copied.tracks)}
    estimates = (copied.folder / paths.ESTIMATES).resolve()
    (copied.folder / "data").unlink()  # that of all tests
    (copied.folder / "data").mkdir()
    (copied.folder / paths.ESTIMATES).symlink_to(estimates)
    tracks = [dataclasses.replace(track, dataset=sets.get(track.name, "mine")) for track in copied.manifest.tracks]
    dataset.Manifest("mine, theirs", tracks).save(copied.folder / paths.MANIFEST)
    for name in ("scores", "scores_dissertation"):
        path = copied.folder / paths.METRICS / f"{name}.csv"
        table = pd.read_csv(path)
        table.assign(dataset=table["track"].map(sets)).to_csv(path, index=False)
    gathered = content.gather(copied.folder, copied.settings)
    assert list(gathered.protocols) == [
        f"{protocol}, {name}" for protocol in ("bsseval", "dissertation") for name in ("mine", "theirs")
    ]
    ours = {name: gathered.scores[f"bsseval, {name}"]["spleeter"]["vocals"]["SDR"] for name in ("mine", "theirs")}
    for name, values in ours.items():
        has = {track for track, value in zip(gathered.tracks, values, strict=True) if value is not None}
        assert has == {track for track, which in sets.items() if which == name}
    html = html_of(copied)
    for name, count in (("mine", 2), ("theirs", 1)):
        assert f'id="medians-{name}"' in html and f"Vocals, median SDR, {name}" in html
        assert f"<b>{name}</b>, {count} test tracks" in html
        assert f'value="bsseval, {name}"' in html and f"BSS Eval v4, {name}" in html
    table = gathered.table[gathered.table["method"].isin(SYSTEMS)]
    assert set(table["dataset"]) == {"mine", "theirs"}, "published scores are those of the tracks' data sets"


# Files


def test_the_same_input_gives_the_same_bytes(home: Home, report: Path, tmp_path: Path):
    again = home.build(tmp_path / "report").parent
    files = {path.relative_to(again): path.read_bytes() for path in again.rglob("*") if path.is_file()}
    assert set(files) == {path.relative_to(report.parent) for path in report.parent.rglob("*") if path.is_file()}
    assert all((report.parent / name).read_bytes() == bytes_ for name, bytes_ in files.items())
    # index, and of 3 tracks: mixture, 2 true sources, 2 of each method, as sound and as picture
    assert len(files) == 1 + 3 * 2 * (3 + 2 * len(METHODS))


def made(home: Home, folder: Path, audible: bool, **report) -> listening.Passage:
    """The first track of a home, by one method."""
    data = dataset.open_dataset(home.settings, home.folder)
    changed = home.settings.report.model_copy(update={"audio": "all" if audible else "none", **report})
    return listening.make(
        (1, home.tracks[0]),
        data=data,
        methods=["spleeter"],
        folder=folder,
        estimates=home.folder / paths.ESTIMATES,
        settings=home.settings.model_copy(update={"report": changed}),
    )


def test_a_passage_of_a_long_track_is_its_middle_at_its_true_level(home: Home, tmp_path: Path):
    passage = made(home, tmp_path, True, passage=1.5)
    assert (passage.start, passage.length, passage.seconds) == (1.25, 1.5, 4.0)
    original, _ = sf.read(
        home.folder / paths.ESTIMATES / "spleeter/test" / home.tracks[0].name / "vocals.wav", dtype="float32"
    )
    expected = original[round(1.25 * RATE) : round(2.75 * RATE)]
    with decode.open_recording(tmp_path / "tracks/01/spleeter.vocals.mp3") as recording:
        heard = recording.read(0, recording.samples)
    assert len(heard) == pytest.approx(len(expected), abs=1)
    assert np.corrcoef(heard[: len(expected)].ravel(), expected.ravel())[0, 1] > 0.97
    level = 10 * np.log10(np.mean(heard.astype(float) ** 2) / np.mean(expected.astype(float) ** 2))
    assert abs(level) < 0.15
    html = report_page.render(content.gather(home.folder, home.settings), [passage], home.settings)
    assert "0:04, here 0:01.2 to 0:02.8" in html


@pytest.mark.parametrize(
    ("audio", "heard"),
    [("all", [True, True, True]), ("generated", [True, True, False]), ("none", [False, False, False])],
)
def test_whose_audio_goes_into_it(home: Home, audio: str, heard: list[bool]):
    assert [track.name.startswith("Synthetic") for track in home.tracks] == [True, True, False]
    assert [listening.allowed(audio, "tiny", track.name) for track in home.tracks] == heard
    html = html_of(home, audio)
    assert html.count('class="transport"') == sum(heard)
    assert html.count("Its audio is not in this copy") == 3 - sum(heard)


@pytest.mark.parametrize(
    ("heard", "changes", "generated"),
    [
        ("pink", {}, True),
        ("babble", {}, True),
        ("pink", {"voice": "folder"}, False),
        ("babble", {"respiratory": None, "voice": "folder"}, False),
        ("cafe", {"noise": "folder"}, False),
    ],
)
def test_a_recording_in_noise_is_generated_if_its_source_and_its_noise_are(settings, heard, changes, generated):
    folders = {key: folder and Path(folder) for key, folder in changes.items()}
    plans = {
        kind: getattr(settings.noisy, kind).model_copy(update={"folder": folders.get(kind)})
        for kind in ("voice", "respiratory")
    }
    noisy = settings.noisy.model_copy(update={"noise": folders.get("noise"), **plans})
    kind = "respiratory" if "respiratory" in changes else "voice"
    entry = Entry(kind=kind, source="one", split="test", noise=heard, snr=0.0, rate=16000)
    assert noise.is_generated(noisy, entry) is generated


def test_songs_of_other_data_sets_are_not_generated_whatever_they_are_called():
    name = f"{synthetic.ARTIST} - Test 01"
    assert listening.allowed("generated", "tiny", name) and not listening.allowed("generated", "full", name)


def test_without_audio_there_are_pictures_alone(home: Home, tmp_path: Path):
    made(home, tmp_path, False)
    assert {path.name for path in (tmp_path / "tracks/01").iterdir()} == {
        f"{name}.webp"
        for name in ("mixture", *(f"{method}.{target}" for method in ("true", "spleeter") for target in TARGETS))
    }


def test_pictures_show_levels_and_shares(settings: Settings):
    from svs.audio.sources import ArraySource

    tone = (0.5 * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)).astype(np.float32)
    mixed = spectrograms.levels(ArraySource(tone, RATE), listening.COLUMNS, settings.plots)
    row = int(np.argmax(mixed[:, 450]))
    low, high = spectrograms.row_edges(RATE, settings.plots)[row : row + 2]
    assert low < 1000 < high
    drawn = listening.picture(mixed * np.float32(0.5), mixed, settings.plots)
    assert drawn.shape == (2 * spectrograms.ROWS, listening.COLUMNS, 3) and drawn.dtype == np.uint8
    from matplotlib import colormaps

    half = np.round(255 * np.array(colormaps["viridis"](0.5)[:3]))
    assert np.abs(drawn[2 * spectrograms.ROWS - 1 - row, 450] - half).max() <= 2  # the tone's row, from the bottom
    silent = np.zeros_like(mixed)
    assert np.isfinite(listening.picture(silent, silent, settings.plots)).all()


def test_a_folder_with_something_else_in_it_is_left_alone(home: Home, tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="expected no such folder, an empty one or an old report"):
        home.build(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_what_fails_leaves_the_old_report(copied: Home, tmp_path: Path, report: Path):
    target = tmp_path / "report"
    shutil.copytree(report.parent, target)
    (copied.folder / "metrics/frames.csv").unlink()
    with pytest.raises(DataError, match=r"frames\.csv: no such file; run `dvc repro` first"):
        copied.build(target)
    assert (target / "index.html").read_bytes() == report.read_bytes()


@pytest.mark.parametrize(("text", "says"), [("a,b\n1,2\n", r".*\(no method"), ("", r".*\(No columns")])
def test_a_table_that_is_none_is_named(copied: Home, text: str, says: str):
    (copied.folder / "metrics/paired.csv").write_text(text)
    with pytest.raises(DataError, match=f"paired.csv: expected a table with the columns {says}"):
        content.gather(copied.folder, copied.settings)


def test_the_command_makes_the_same_page(home: Home, tmp_path: Path, monkeypatch):
    done = CliRunner().invoke(
        app, ["report", "--project", str(home.folder), "--output", str(tmp_path / "report"), "--audio", "generated"]
    )
    assert done.exit_code == 0 and done.output.strip().endswith("report/index.html"), done.output
    assert sorted({path.parent.name for path in (tmp_path / "report").rglob("*.mp3")}) == ["01", "02"]
    done = CliRunner().invoke(app, ["report", "--project", str(home.folder), "--audio", "some"])
    assert "report.audio: expected 'all', 'generated' or 'none'" in str(done.exception)


@pytest.mark.parametrize(
    ("output", "says", "code"),
    [
        (".", "can't replace the working directory or one above it", 2),
        ("..", "can't replace the working directory or one above it", 2),
        ("taken/report", "taken/report: can't write it .*; choose another --output", 3),
    ],
)
def test_a_folder_that_it_can_not_make_is_refused_at_once(output: str, says: str, code: int, tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    (tmp_path / "work/taken").touch()
    monkeypatch.chdir(tmp_path / "work")
    assert_refused(svs("report", "--project", project(tmp_path / "project"), "-o", output), says, code)
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["taken"]


# What it says


def test_methods_and_published_systems_that_are_absent_are_named_with_the_reason(copied: Home):
    data = copied.folder / "data"
    data.unlink()
    data.mkdir()
    shutil.copytree(copied.folder.parent / "home/metrics", data / "unused")
    copied.manifest.save(copied.folder / paths.MANIFEST)
    unavailable.record(copied.folder / paths.ESTIMATES / "spleeter", "spleeter", "its weights <are> elsewhere")
    unavailable.record(copied.folder / paths.PUBLISHED, "published systems", "SVS_OFFLINE is set")
    for name in ("scores.csv", "scores_dissertation.csv", "frames.csv"):
        table = pd.read_csv(copied.folder / "metrics" / name)
        table = table[table["method"] != "spleeter"] if "method" in table else table.drop(columns="spleeter")
        table.to_csv(copied.folder / "metrics" / name, index=False)
    for name in ("published.csv", "paired.csv"):
        path = copied.folder / "metrics" / name
        path.write_text(path.read_text().splitlines()[0] + "\n")
    html = html_of(copied)
    assert "<b>spleeter</b> is absent, it could not run: its weights &lt;are&gt; elsewhere" in html
    assert html.count("left out: SVS_OFFLINE is set") == 2
    assert 'value="spleeter.vocals"' not in html and 'value="cnn_separator.vocals"' in html


def test_whatever_a_track_is_called_it_is_text(tmp_path: Path):
    folder = tmp_path / "music"
    name = EVIL.replace("</script>", "")  # a slash can't be in the name of a folder
    for subset, track in (("train", "a"), ("train", "b"), ("test", name), ("test", "NA")):
        synthetic.write_song(folder / subset / track, synthetic.song(1, 2.0), RATE)
    home = Home(tmp_path / "home", profile="full", profiles={"full": {"download": {"path": str(folder)}}})
    index = home.build(tmp_path / "report", passage=1.0)
    html = index.read_text()
    assert "<img src=x" not in html and "&lt;img src=x onerror=alert(1)&gt; #1 100% 😀" in html
    assert {path.name for path in (index.parent / "tracks").iterdir()} == {"01", "02"}
    data = json.loads(re.search(r'id="data">(.*?)</script>', html)[1])
    assert data["tracks"] == [track.name for track in home.tracks] and name in data["tracks"] and "NA" in data["tracks"]
    assert len(data["scores"]["bsseval"]["spleeter"]["vocals"]["SDR"]) == 2


def test_names_can_not_end_the_script(home: Home, copied: Home):
    path = copied.folder / "metrics/published.csv"
    path.write_text(path.read_text().replace("TAK1", EVIL.replace('"', "'")))
    html = html_of(copied)
    assert html.count("</script>") == html_of(home).count("</script>")
    assert "<img src=x" not in html


def test_missing_scores_are_dashes(report: Path):
    html = report.read_text()
    assert "SDR – dB" in html
    assert not re.search(r">(nan|None|inf)<", html)


def test_rulers_are_measures_of_ours(copied: Home, browser, tmp_path: Path):
    path = copied.folder / paths.METRICS / "scores.csv"
    table = pd.read_csv(path)
    table["uSDR"], table["MR_STFT"] = np.arange(len(table)), 1.5
    table.to_csv(path, index=False)
    gathered = content.gather(copied.folder, copied.settings)
    assert gathered.measures == [*MEASURES, "uSDR", "MR_STFT"]
    ours = table[(table["method"] == "mixture") & (table["target"] == "vocals")]["uSDR"]
    assert gathered.scores["bsseval"]["mixture"]["vocals"]["uSDR"] == ours.tolist()
    assert set(gathered.scores["bsseval"]["WK"]["vocals"]["uSDR"]) == {None}, "nobody published it"
    assert "uSDR" not in gathered.scores["dissertation"]["mixture"]["vocals"]
    file = tmp_path / "index.html"
    file.write_text(html_of(copied))
    assert "median MR_STFT of vocals in nats, lower is better" in file.read_text()
    context = browser.new_context()
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(file.as_uri())
    page.locator("#box-controls input[value=MR_STFT]").check(force=True)
    label = page.locator("#boxes .row[data-name=mixture]").get_attribute("aria-label")
    assert "median 1.50" in label and "dB" not in label
    assert page.locator("#boxes .row").count() == len(METHODS)
    assert "nats, lower is better" in page.locator("#boxes-note").inner_text()
    page.locator("#box-controls input[value=dissertation]").check(force=True)
    assert page.locator("#boxes .row").count() == 0 and errors == []
    context.close()


def test_it_says_where_it_comes_from(report: Path, home: Home):
    html = report.read_text()
    assert "<b>tiny</b>, 3 test tracks; 1 to train on, 1 to validate on; seed 20" in html
    assert "make repro" in html and "svs report --output report" in html
    assert "gate&nbsp;<b>0.15</b>" in html and "engine&nbsp;<b>native</b>" in html
    assert f"{networks.training('cnn_separator', home.settings).epochs}</td>" in html


def test_nothing_in_it_is_from_elsewhere(report: Path):
    html = report.read_text()
    markup = re.sub(r"<script.*?</script>|<style>.*?</style>", "", html, flags=re.DOTALL)
    for address in re.findall(r"""(?:src|href|srcset|poster|action)="([^"]*)""", markup):
        assert address.startswith(("#", "data:image/svg+xml,")), address
    assert not re.search(r"\son\w+=|\sstyle=|javascript:", markup)
    assert not re.search(r"@import|url\(", html)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1].replace("&#39;", "'")
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy and "http" not in policy
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        text = re.search(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy


def test_the_commit_is_the_last_that_results_follow_from(tmp_path: Path):
    def git(*arguments: str) -> str:
        command = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org", *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    assert content.commit(tmp_path) == content.Commit(content.UNKNOWN, False)
    git("init", "-q")
    assert content.commit(tmp_path).name == content.UNKNOWN
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    git("add", "-A")
    git("commit", "-qm", "parameters")
    first = git("rev-parse", "HEAD")
    (tmp_path / "notes.txt").write_text("results\n")
    assert content.commit(tmp_path) == content.Commit(first, False)
    git("add", "-A")
    git("commit", "-qm", "results")
    assert content.commit(tmp_path) == content.Commit(first, False) and git("rev-parse", "HEAD") != first
    (tmp_path / "params.yaml").write_text("seed: 2\n")
    assert content.commit(tmp_path) == content.Commit(first, True)


@pytest.mark.parametrize(("seconds", "text"), [(6.08, "0:06.1"), (5.0, "0:05"), (205.3, "3:25"), (59.96, "1:00")])
def test_clock(seconds: float, text: str):
    assert report_page.clock(seconds) == text


# In a browser


@pytest.fixture
def open_page(browser, report: Path):
    """Opens the report from disk; at the end nothing may have been asked of anybody, and nothing have gone wrong."""
    contexts, outside, errors = [], [], []

    def opened(width: int = 1280, scheme: str = "light"):
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)
        page.on(
            "request",
            lambda request: (
                outside.append(request.url) if not request.url.startswith((report.parent.as_uri(), "data:")) else None
            ),
        )
        page.on(
            "console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(report.as_uri())
        page.wait_for_selector("#boxes .row")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert outside == [] and errors == []


def until(page, expression: str) -> None:
    """Wait until an expression is true (the page's own policy forbids playwright to wait inside it)."""
    deadline = time.monotonic() + 60
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(20)


# What can be heard, every 10 ms: [time in s, [source, position in s], ...].
WATCH = """() => { window.heard = []; window.watching = setInterval(() => window.heard.push([performance.now() / 1000,
    ...[...document.querySelectorAll('audio')].filter(a => !a.paused && !a.muted && a.volume > 0.01)
    .map(a => [a.dataset.source, a.currentTime])]), 10); }"""
POSITION = "Number(document.querySelector('#track-1 .seek').value)"


def test_it_plays_and_switches_at_the_same_position(open_page):
    page = open_page()
    assert page.locator("audio").count() == 0  # nothing is loaded before somebody listens
    track = page.locator("#track-1")
    track.get_by_role("button", name="Play").click()
    until(page, f"{POSITION} > 0.3")
    page.evaluate(WATCH)
    track.get_by_label(re.compile("^vocals by spleeter")).check()
    until(page, "window.heard.some(([, ...all]) => all.length === 1 && all[0][0] === 'spleeter.vocals')")
    page.wait_for_timeout(200)
    heard = page.evaluate("clearInterval(window.watching), window.heard")
    assert {source for _, *all_ in heard for source, _ in all_} == {"mixture", "spleeter.vocals"}
    silence = [later[0] - sooner[0] for sooner, later in pairwise(heard) if len(sooner) == 1]
    assert sum(silence) < 0.05, "a gap between the two"
    positions = [(at, all_[-1][1] if all_[-1][0] == "spleeter.vocals" else all_[0][1]) for at, *all_ in heard if all_]
    drift = [position - at for at, position in positions]
    assert max(drift) - min(drift) < 0.12, "the position jumped"
    assert page.locator("#track-1 .seen").inner_text() == "vocals by spleeter"
    assert "spleeter.vocals.webp" in page.locator("#track-1 .upper").get_attribute("src")
    until(page, "document.querySelector('#track-1 .upper').naturalWidth === 900")


def test_quick_switches_end_with_the_last(open_page):
    page = open_page()
    page.locator("#track-1 .play").click()
    until(page, f"{POSITION} > 0.2")
    page.locator("#track-1 input[value=mixture]").focus()
    for _ in range(5):
        page.keyboard.press("ArrowDown")
    chosen = page.locator("#track-1 .sources input:checked").get_attribute("value")
    until(
        page,
        """(() => { const all = [...document.querySelectorAll('audio')].filter(a => !a.paused);
        const chosen = document.querySelector('#track-1 .sources input:checked').value;
        return all.length === 1 && !all[0].muted && all[0].volume === 1 && all[0].dataset.source === chosen; })()""",
    )
    assert chosen not in ("mixture", "true.vocals")


def test_the_keyboard_is_enough(open_page):
    page = open_page()
    page.locator("#track-1 input[value=mixture]").focus()
    page.keyboard.press("Space")
    until(page, f"{POSITION} > 0.2")
    page.keyboard.press("Space")
    stopped = page.evaluate(POSITION)
    assert page.locator("#track-1 .play").get_attribute("aria-label") == "Play"
    page.keyboard.press("ArrowDown")  # while it rests, too, the position stays
    assert page.evaluate(POSITION) == pytest.approx(stopped, abs=0.01)
    page.locator("#track-1 .seek").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate(POSITION) == pytest.approx(stopped + 1, abs=0.02)
    page.keyboard.press("Space")
    until(page, f"{POSITION} > {stopped + 1.2}")
    assert "of 0:04.0" in page.locator("#track-1 .seek").get_attribute("aria-valuetext")
    page.locator("#boxes .row").first.focus()
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement === document.querySelectorAll('#boxes .row')[1]")
    assert "quartiles" in page.locator("#tip").inner_text()
    page.keyboard.press("Escape")
    assert page.locator("#tip").is_hidden()
    head = page.locator("#medians thead button").first
    head.focus()
    page.keyboard.press("Enter")
    assert page.locator("#medians th[aria-sort=ascending]").inner_text().startswith("method")


def test_one_track_plays_at_a_time_and_the_end_rewinds(open_page):
    page = open_page()
    page.locator("#track-1 .play").click()
    until(page, f"{POSITION} > 0.2")
    page.locator("#track-2 summary").first.click()
    page.locator("#track-2 .play").click()
    until(
        page,
        "document.querySelector('#track-2').classList.contains('playing') && "
        "Number(document.querySelector('#track-2 .seek').value) > 0.2",
    )
    playing = page.evaluate(
        "[...document.querySelectorAll('audio')].filter(a => !a.paused).map(a => a.closest('.track').id)"
    )
    assert playing == ["track-2"] and page.evaluate(POSITION) > 0.2
    until(page, "!document.querySelector('.playing')")
    assert page.locator("#track-2 .at").inner_text() == "0:00.0"
    page.locator("#track-2 .loop input").check()
    page.locator("#track-2 .view").first.click(position={"x": 5, "y": 20})
    box = page.locator("#track-2 .view").first.bounding_box()
    page.locator("#track-2 .view").first.click(position={"x": box["width"] * 0.95, "y": 20})
    assert float(page.locator("#track-2 .seek").input_value()) == pytest.approx(3.8, abs=0.05)
    page.locator("#track-2 .play").click()
    until(page, "(at => at > 0.1 && at < 2)(Number(document.querySelector('#track-2 .seek').value))")
    assert page.locator("#track-2.playing").count() == 1


def test_boxes_are_those_of_numpy_and_sort(open_page, home: Home):
    page = open_page()
    scores = pd.read_csv(home.folder / "metrics/scores.csv")
    published = pd.read_csv(home.folder / "metrics/published.csv")

    def rows() -> list[tuple[str, str]]:
        return page.evaluate(
            "[...document.querySelectorAll('#boxes .row')].map(r => "
            "[r.dataset.name, r.querySelector('.value').textContent.replace('−', '-')])"
        )

    def expected(target: str, measure: str, table: pd.DataFrame) -> dict[str, float]:
        return table[table["target"] == target].groupby("method")[measure].median().dropna().to_dict()

    sdr = expected("vocals", "SDR", pd.concat([scores, published]))
    assert [name for name, _ in rows()] == sorted(sdr, key=sdr.get, reverse=True)
    assert {name: float(text) for name, text in rows()} == pytest.approx(sdr, abs=0.006)
    first = page.locator("#boxes .row[data-name=spleeter]").get_attribute("aria-label")
    values = scores[(scores["method"] == "spleeter") & (scores["target"] == "vocals")]["SDR"]
    low, high = (f"{value:.2f}".replace("-", "−") for value in np.percentile(values, [25, 75]))
    assert f"quartiles {low} to {high}" in first
    page.get_by_role("radio", name="name", exact=True).check()
    assert [name for name, _ in rows()] == sorted(sdr, key=str.casefold)
    page.get_by_role("radio", name="accompaniment").first.check()
    page.get_by_role("radio", name="SIR", exact=True).check()
    assert {name: float(text) for name, text in rows()} == pytest.approx(
        expected("accompaniment", "SIR", scores), abs=0.006
    )
    assert "4 without such a score" in page.locator("#boxes-note").inner_text()
    page.get_by_role("checkbox", name="floors and ceilings").uncheck()
    assert [name for name, _ in rows()] == ["cnn_separator", "spleeter"]
    page.get_by_role("checkbox", name="pretrained").uncheck()
    assert [name for name, _ in rows()] == ["cnn_separator"]
    page.get_by_role("checkbox", name="pretrained").check()
    page.get_by_role("radio", name="dissertation's").check()
    assert len(rows()) == 2


def test_tables_sort_and_filter(open_page, home: Home):
    page = open_page()
    table = page.locator("#medians")
    table.get_by_role("button", name="SDR").last.click()
    values = table.locator("tbody tr td:nth-child(6)").all_inner_texts()
    numbers = [float(text.replace("−", "-")) for text in values if text != "–"]
    assert numbers == sorted(numbers, reverse=True)
    table.get_by_role("button", name="ISR").first.click()
    texts = table.locator("tbody tr td:nth-child(3)").all_inner_texts()
    assert texts[-len(SYSTEMS) :] == ["–"] * len(SYSTEMS), "what has no value is last"
    assert table.locator("th[aria-sort=descending]").count() == 1
    visible = page.locator("#paired-table tbody tr:visible")
    assert visible.count() == len(SYSTEMS)
    page.locator("#paired-controls select").select_option("mixture")
    assert visible.count() == len(SYSTEMS)
    paired = pd.read_csv(home.folder / "metrics/paired.csv")
    mine = paired[(paired["method"] == "mixture") & (paired["target"] == "vocals")].set_index("system")["difference"]
    order = [text.split()[0] for text in visible.locator("th").all_inner_texts()]
    assert order == list(mine.sort_values(ascending=False).index)


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (390, "dark"), (1280, "dark")])
def test_nothing_is_cut_off(open_page, width: int, scheme: str):
    page = open_page(width, scheme)
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    page.wait_for_timeout(400)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    light = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0] > 128")
    assert light == (scheme == "light")
    nameless = page.evaluate("""[...document.querySelectorAll('input, button, select')].filter(e =>
        e.offsetParent && !(e.labels && e.labels.length) && !e.innerText && !e.ariaLabel).length""")
    assert nameless == 0
    # Text that is darker or lighter than its ground by WCAG's 4.5.
    low = page.evaluate("""() => {
        const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
        const light = (colour) => { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
            const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map(v => v / 255)
                .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
        const ground = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
            if (!/, 0\\)$|transparent|\\/ 0\\)/.test(c)) return c; } return 'white'; };
        return ['.small', '.intro', 'th.ours', 'th.pretrained', 'th.floor', 'th.published',
            '.facts dt', '.pill > span', 'summary']
            .map(s => [s, document.querySelector(s)]).filter(([, e]) => e).map(([s, e]) => {
                const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
                return [s, (a + 0.05) / (b + 0.05)]; }).filter(([, ratio]) => ratio < 4.5); }""")
    assert low == []


def test_a_file_that_is_gone_is_said(browser, report: Path, tmp_path: Path):
    folder = tmp_path / "report"
    shutil.copytree(report.parent, folder)
    (folder / "tracks/01/mixture.mp3").unlink()
    context = browser.new_context()
    page = context.new_page()
    page.goto((folder / "index.html").as_uri())
    page.locator("#track-1 .play").click()
    page.get_by_text("its file is missing or can't be played").wait_for()
    assert page.locator(".playing").count() == 0
    context.close()
