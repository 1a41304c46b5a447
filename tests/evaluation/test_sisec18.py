"""Published scores: reading, checking and aligning them, on made-up ones and on SiSEC18's own."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from svs.config import schema
from svs.data import dataset, inspection
from svs.errors import DataError, UnavailableError
from svs.evaluation import sisec18 as evaluation_sisec18
from svs.evaluation import tables
from svs.evaluation.scoring import bsseval
from tests.helpers import REPOSITORY

RATE = 8000
SECONDS = 20
SECOND = 1.0


@pytest.fixture(scope="module")
def stems() -> dict[str, np.ndarray]:
    """20 s in which every second has another level, so that no two places look alike."""
    rng = np.random.default_rng(3)
    levels = np.repeat(rng.uniform(0.05, 0.5, (2, SECONDS)), RATE, axis=1)[..., None]
    vocals, accompaniment = rng.standard_normal((2, SECONDS * RATE, 2)) * levels
    vocals[5 * RATE : 6 * RATE] = 0
    return {"vocals": vocals, "accompaniment": accompaniment, "mixture": vocals + accompaniment}


def as_json(targets: dict[str, np.ndarray], measures=("SDR", "ISR", "SIR", "SAR")) -> str:
    return json.dumps(
        {
            "targets": [
                {
                    "name": name,
                    "frames": [
                        {
                            "time": float(second),
                            "duration": 1.0,
                            "metrics": {measure: float(value) for measure in measures},
                        }
                        for second, value in enumerate(values)
                    ],
                }
                for name, values in targets.items()
            ]
        }
    )


@pytest.fixture(scope="module")
def published(stems, tmp_path_factory) -> Path:
    """MIX, and a system that is 3 dB better, of one track."""
    folder = tmp_path_factory.mktemp("upstream") / "sigsep-mus-2018-master" / "submissions"
    mix = evaluation_sisec18.mixture_sdr(stems, RATE)
    for system, targets in {
        "MIX": {**mix, "drums": mix["vocals"]},
        "NET1": {name: values + 3 for name, values in mix.items()},
        "VOX1": {"vocals": mix["vocals"] - 1},
    }.items():
        path = folder / system / "test" / "A - B.json"
        path.parent.mkdir(parents=True)
        path.write_text(as_json(targets))
        (path.parents[1] / "description.md").write_text("# words\n")
    return folder


@pytest.fixture
def tracks(stems, tmp_path):
    """A function that makes a data set of passages of the track: name -> (first, last) samples."""

    def make(**passages: tuple[int, int]) -> dataset.Dataset:
        for name, (first, last) in passages.items():
            folder = tmp_path / "set" / "test" / name.replace("_", " ")
            folder.mkdir(parents=True)
            beyond = max(last - SECONDS * RATE, 0)
            audio = {
                stem: np.pad(signal[first:last], ((0, beyond), (0, 0)), constant_values=0.01)
                for stem, signal in stems.items()
            }
            audio["mixture"] = audio["vocals"] + audio["accompaniment"]
            audio |= dict.fromkeys(("drums", "bass", "other"), audio.pop("accompaniment") / 3)
            for stem, signal in audio.items():
                sf.write(folder / f"{stem}.wav", signal, RATE, subtype="FLOAT")
        (tmp_path / "set" / "train").mkdir()
        options = schema.load(REPOSITORY / "params.yaml")
        download = options.download.model_copy(update={"path": tmp_path / "set"})
        return dataset.Dataset(tmp_path / "set", inspection.inspect(download, 0, tmp_path / "set"))

    return make


def options(path: Path | None, start: float = 0.0, duration: float | None = None, **changed):
    loaded = schema.load(REPOSITORY / "params.yaml")
    return (
        loaded.reference.model_copy(update={"source": "sisec18", "path": path, "checksum": None, **changed}),
        loaded.score.model_copy(update={"passage": schema.Passage(start=start, duration=duration)}),
    )


def packed(folder: Path, kind: str, target: Path) -> Path:
    if kind == "folder":
        return folder
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if kind == "zip":
        with zipfile.ZipFile(target, "w") as archive:
            for path in files:
                archive.write(path, path.relative_to(folder.parent))
    else:
        with tarfile.open(target, f"w:{kind}") as archive:
            for path in reversed(files):
                archive.add(path, path.relative_to(folder.parent))
    return target


@pytest.mark.parametrize("kind", ["folder", "zip", "gz", "xz"])
def test_a_folder_and_archives_of_it_hold_the_same(published, tmp_path, kind):
    found = evaluation_sisec18.read(packed(published, kind, tmp_path / "archive"))
    assert set(found) == {"MIX", "NET1", "VOX1"} and list(found["MIX"]) == ["A - B"]
    assert set(found["MIX"]["A - B"]) == {"vocals", "accompaniment", "drums"}
    assert evaluation_sisec18.digest(found) == evaluation_sisec18.digest(evaluation_sisec18.read(published))
    assert not list(tmp_path.glob("**/*.json")), "nothing is unpacked"


def test_the_checksum_is_of_the_values_and_not_of_their_layout(published, tmp_path):
    checksum = evaluation_sisec18.digest(evaluation_sisec18.read(published))
    copy = tmp_path / "NET1" / "test" / "A - B.json"
    for system in ("MIX", "NET1", "VOX1"):
        source = published / system / "test" / "A - B.json"
        target = tmp_path / system / "test" / "A - B.json"
        target.parent.mkdir(parents=True)
        target.write_text(json.dumps(json.loads(source.read_text()), indent=3, sort_keys=True))
    assert evaluation_sisec18.read(tmp_path, checksum)
    content = json.loads(copy.read_text())
    content["targets"][0]["frames"][7]["metrics"]["SDR"] += 0.001
    copy.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"expected scores with reference\.checksum .*reference\.checksum to null"):
        evaluation_sisec18.read(tmp_path, checksum)
    assert evaluation_sisec18.read(tmp_path, None)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nothing.zip", b"", "expected a folder or an archive"),
        ("text.tar.gz", b"these are words", "expected a folder or an archive"),
        ("truncated.tar.xz", None, "expected a folder or an archive"),
    ],
)
def test_what_is_no_archive(published, tmp_path, name, content, message):
    path = tmp_path / name
    if content is None:
        content = packed(published, "xz", tmp_path / "whole").read_bytes()[:-200]
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        evaluation_sisec18.read(path)


@pytest.mark.parametrize(
    "content", ["no json", "[]", '{"targets": [{"name": "vocals", "frames": [{"time": 0}]}]}', '{"targets": 3}']
)
def test_a_file_that_holds_no_scores_is_named(tmp_path, content):
    path = tmp_path / "SYS1" / "test" / "Song.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(DataError, match=r"Song\.json: expected museval's JSON"):
        evaluation_sisec18.read(tmp_path)


def test_pickles_and_names_that_leave_the_folder_are_not_touched(tmp_path):
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("../../SYS/test/Song.pkl", "/SYS/test/Song.pandas", "SYS/test/Song.pickle"):
            info = tarfile.TarInfo(name)
            info.size = 3
            archive.addfile(info, io.BytesIO(b"abc"))
        link = tarfile.TarInfo("SYS/test/Song.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(DataError, match=r"holds no SYSTEM/test/TRACK\.json"):
        evaluation_sisec18.read(path)


def test_sdr_of_the_mixture_is_that_of_bsseval(stems):
    ours = evaluation_sisec18.mixture_sdr(stems, RATE)
    estimates = np.stack([share * stems["mixture"] for share in (0.25, 0.75)])
    references = np.stack([stems["vocals"], stems["accompaniment"]])
    sdr = bsseval.evaluate(references, estimates, win=RATE, hop=RATE)[0]
    finite = np.isfinite(sdr[0])
    assert finite.sum() == SECONDS - 1
    np.testing.assert_allclose(ours["vocals"][finite], sdr[0][finite], atol=1e-6)
    np.testing.assert_allclose(ours["accompaniment"][finite], sdr[1][finite], atol=1e-6)
    assert np.isnan(ours["vocals"][5])


@pytest.mark.parametrize(
    ("start", "duration", "first", "frames"), [(0.0, None, 7, 6), (1.0, 4.0, 8, 4), (0.0, 3.0, 7, 3)]
)
def test_a_passage_is_found_and_its_seconds_are_cut(published, tracks, tmp_path, start, duration, first, frames):
    data = tracks(**{"A_-_B": (7 * RATE, 13 * RATE + 100)})
    places = evaluation_sisec18.bring_in(data, published, *options(published, start, duration), tmp_path / "out")
    (place,) = places
    assert (place.track, place.first, place.frames, place.whole) == ("A - B", first, frames, False)
    assert places[0].deviation < 1e-4
    assert tables.systems(tmp_path / "out") == ["MIX", "NET1", "VOX1"]
    table = tables.published_table(tmp_path / "out", ["MIX", "NET1", "VOX1"])
    assert set(table["target"]) == {"vocals", "accompaniment"} and set(table["frames"]) == {frames}
    assert table["ISR"].isna().all() and table["SIR"].isna().all() and table["SAR"].isna().all()
    whole = evaluation_sisec18.read(published)["NET1"]["A - B"]["vocals"]["SDR"]
    net = table[(table["method"] == "NET1") & (table["target"] == "vocals")]["SDR"].item()
    assert net == pytest.approx(np.median(whole[first : first + frames]))
    with open(tmp_path / "out" / evaluation_sisec18.ALIGNMENT, newline="") as file:
        assert [row["first"] for row in csv.DictReader(file)] == [str(first)]


@pytest.mark.parametrize("more", [0, 100, RATE + 100])
def test_a_whole_track_keeps_all_measures(published, tracks, tmp_path, more):
    data = tracks(**{"A_-_B": (0, SECONDS * RATE + more)})  # re-encoding adds samples, and maybe a frame
    (place,) = evaluation_sisec18.bring_in(data, published, *options(published), tmp_path / "out")
    assert (place.first, place.frames, place.whole) == (0, SECONDS, True)
    table = tables.published_table(tmp_path / "out", ["NET1"])
    assert table["SIR"].notna().all() and set(table["frames"]) == {SECONDS} and list(table["silent"]) == [1, 0]


def test_what_can_not_be_aligned_is_left_out_and_named(published, tracks, tmp_path, caplog, stems):
    data = tracks(**{"A_-_B": (7 * RATE, 13 * RATE), "Unknown": (0, 4 * RATE)})
    with caplog.at_level(logging.WARNING):
        assert len(evaluation_sisec18.bring_in(data, published, *options(published), tmp_path / "out")) == 1
    assert "Unknown: no published scores" in caplog.text


def test_other_audio_under_the_same_name_is_not_aligned(published, tracks, tmp_path, caplog):
    data = tracks(**{"A_-_B": (0, SECONDS * RATE)})
    other = json.loads((published / "MIX/test/A - B.json").read_text())
    for target in other["targets"]:
        for frame in target["frames"]:
            frame["metrics"]["SDR"] += 0.2
    changed = tmp_path / "changed" / "MIX" / "test" / "A - B.json"
    changed.parent.mkdir(parents=True)
    changed.write_text(json.dumps(other))
    with caplog.at_level(logging.WARNING), pytest.raises(UnavailableError, match="none of the 1 test tracks"):
        evaluation_sisec18.bring_in(data, changed.parents[2], *options(changed), tmp_path / "out")
    assert "its MIX is nowhere within 0.05 dB of the published one (at best 0.2" in caplog.text
    assert not (tmp_path / "out").exists()


def test_a_passage_between_the_published_seconds_is_told_where_they_begin(published, tracks, tmp_path, caplog):
    data = tracks(**{"A_-_B": (7 * RATE - RATE // 5, 14 * RATE)})
    with caplog.at_level(logging.WARNING), pytest.raises(UnavailableError):
        evaluation_sisec18.bring_in(data, published, *options(published), tmp_path / "out")
    assert "the published seconds begin 0.20 s into it (second 7" in caplog.text
    (place,) = evaluation_sisec18.bring_in(data, published, *options(published, 0.2), tmp_path / "out")
    assert place.first == 7


def test_a_place_that_is_not_the_only_one_is_refused():
    theirs = {"vocals": {"SDR": np.tile([1.0, 2.0, 3.0], 4)}, "accompaniment": {"SDR": np.tile([4.0, 5.0, 6.0], 4)}}
    first, frames, deviation, following = evaluation_sisec18.place(
        {"vocals": np.array([2.0, 3.0, 1.0]), "accompaniment": np.array([5.0, 6.0, 4.0])}, theirs
    )
    assert (first, frames, deviation, following) == (1, 3, 0.0, 0.0)


def test_frames_of_another_length_are_not_comparable(published, tracks, tmp_path):
    choice, score = options(published)
    with pytest.raises(UnavailableError, match="frames of one second"):
        evaluation_sisec18.bring_in(
            tracks(**{"A_-_B": (0, RATE)}), published, choice, score.model_copy(update={"hop": 0.5}), tmp_path / "out"
        )


def test_where_they_come_from(tmp_path, monkeypatch):
    choice, _ = options(tmp_path / "missing")
    with pytest.raises(DataError, match=r"reference\.path: .*missing is not there"):
        evaluation_sisec18.located(choice)
    with pytest.raises(UnavailableError, match=r"reference\.source is none"):
        evaluation_sisec18.located(choice.model_copy(update={"source": "none"}))
    assert evaluation_sisec18.located(choice.model_copy(update={"path": tmp_path})) == tmp_path
    monkeypatch.setenv("SVS_OFFLINE", "1")
    with pytest.raises(UnavailableError, match=r"SVS_OFFLINE is set.*folder or archive of them in reference\.path"):
        evaluation_sisec18.located(choice.model_copy(update={"path": None}), tmp_path / "cache")


def test_a_download_is_kept_and_checked_by_its_content(published, tmp_path, monkeypatch):
    import functools
    import http.server
    import threading

    monkeypatch.delenv("SVS_OFFLINE", raising=False)
    packed(published, "zip", tmp_path / "master.zip")
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        choice, _ = options(None, url=f"http://127.0.0.1:{server.server_port}/master.zip")
        path = evaluation_sisec18.located(choice, tmp_path / "cache")
        assert set(evaluation_sisec18.read(path)) == {"MIX", "NET1", "VOX1"}
        before = len(asked)
        assert evaluation_sisec18.located(choice, tmp_path / "cache") == path and len(asked) == before
        assert {file.name for file in (tmp_path / "cache").iterdir()} == {path.name, ".lock"}
    finally:
        server.shutdown()
        server.server_close()
    gone = choice.model_copy(update={"url": choice.url.replace("master", "other")})
    with pytest.raises(UnavailableError, match="could not be downloaded"):
        evaluation_sisec18.located(gone, tmp_path / "cache")


@pytest.fixture(scope="module")
def sisec18(previews) -> Path:
    path = Path(os.environ.get("SVS_SISEC18", previews.parent / "sisec18.tar.xz"))
    if not path.is_file():
        pytest.skip(f"no archive of SiSEC18's scores at {path}; name one with SVS_SISEC18")
    return path


@pytest.mark.slow
def test_the_previews_are_found_in_the_published_tracks(previews, sisec18, tmp_path):
    loaded = schema.load(REPOSITORY / "params.yaml")
    download = loaded.download.model_copy(update={"dataset": "sample", "path": previews})
    (tmp_path / "set" / "train").mkdir(parents=True)
    (tmp_path / "set" / "test").symlink_to(previews / "test")  # inspecting the training tracks takes longer
    data = dataset.Dataset(tmp_path / "set", inspection.inspect(download, 0, tmp_path / "set"))
    choice, score = options(sisec18, 0.8, 6.0, checksum=loaded.reference.checksum)
    places = evaluation_sisec18.bring_in(data, sisec18, choice, score, tmp_path / "out")
    with open(sisec18.with_name("preview_seconds.csv"), encoding="utf-8", newline="") as file:
        expected = {row["track"]: int(row["first_full_track_second"]) for row in csv.DictReader(file)}
    assert {place.track: place.first for place in places} == expected
    assert max(place.deviation for place in places) < 0.03
    systems = tables.systems(tmp_path / "out")
    assert len(systems) == 31
    table = tables.published_table(tmp_path / "out", systems)
    medians = table.groupby(["method", "target"])["SDR"].median().round(2)
    # The last columns of the table of published scores: medians on these seconds, to two decimals.
    for system, vocals, accompaniment in (
        ("IRM2", 8.97, 15.02),
        ("IBM1", 7.42, 9.54),
        ("TAU1", 5.97, 13.06),
        ("UHL1", 4.75, 11.34),
        ("STL1", 4.38, 8.97),
        ("WK", 3.99, 9.50),
        ("REP2", 2.91, 7.31),
        ("MIX", 1.32, 5.67),
        ("HPLP", -2.51, 2.44),
    ):
        assert medians[system, "vocals"] == pytest.approx(vocals, abs=0.011)
        assert medians[system, "accompaniment"] == pytest.approx(accompaniment, abs=0.011)
    assert medians["HEL1", "vocals"] == pytest.approx(-0.40, abs=0.011)
    assert ("HEL1", "accompaniment") not in medians.index
