"""Tables of scores, against museval JSON written by hand."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from svs.errors import DataError
from svs.evaluation.museval_json import MEASURES, museval_json, read_scores
from svs.evaluation.tables import (
    DATASET,
    bleed_metrics,
    by_dataset,
    gather,
    method_metrics,
    ranking,
    read_table,
    second_table,
    track_table,
    write_table,
)

NAN = float("nan")


def target(name, sdr, nulls=False):
    """museval's layout; ISR, SIR and SAR are SDR + 1, + 2, + 3."""
    frames = []
    for number, value in enumerate(sdr):
        values = {measure: value + shift for shift, measure in enumerate(MEASURES)}
        if nulls:
            values = {measure: None if math.isnan(value) else value for measure, value in values.items()}
        frames.append({"time": float(number), "duration": 1.0, "metrics": values})
    return {"name": name, "frames": frames}


def write(root, method, track, vocals, accompaniment, protocol="bsseval", nulls=False):
    path = root / method / protocol / "test" / f"{track}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({"targets": [target("vocals", vocals, nulls), target("accompaniment", accompaniment, nulls)]})
    )


@pytest.fixture
def root(tmp_path):
    write(tmp_path, "ours", "b. The Dot", [1.0, 9.0, 3.0], [10.0, 12.0])
    write(tmp_path, "ours", "a", [NAN, 4.0, 8.0, NAN], [NAN, 5.0, 5.0, NAN])
    write(tmp_path, "ours", "silent", [NAN, NAN], [NAN, NAN])
    write(tmp_path, "ours", "a", [-7.0], [-7.0], protocol="dissertation")
    write(tmp_path, "mixture", "a", [-6.0], [6.0])
    write(tmp_path, "left over", "a", [99.0], [99.0])
    return tmp_path


def rows(table):
    return {(row["track"], row["target"]): row for _, row in table.iterrows()}


@pytest.mark.parametrize("nulls", [False, True])
def test_a_row_for_every_track_and_target(root, nulls):
    write(root, "ours", "a", [NAN, 4.0, 8.0, NAN], [NAN, 5.0, 5.0, NAN], nulls=nulls)
    table = track_table(root / "ours", "ours", "bsseval")
    assert list(table.columns) == ["method", "track", "target", *MEASURES, "frames", "silent"]
    assert list(table["track"]) == ["a", "a", "b. The Dot", "b. The Dot", "silent", "silent"]
    assert list(by_dataset(table)) == [""]
    assert list(table["target"]) == ["vocals", "accompaniment"] * 3
    assert set(table["method"]) == {"ours"}
    found = rows(table)
    loud = found["b. The Dot", "vocals"]
    assert [loud[measure] for measure in MEASURES] == [3.0, 4.0, 5.0, 6.0]  # the median, not the mean (4.33)
    assert (loud["frames"], loud["silent"]) == (3, 0)
    partly = found["a", "vocals"]
    assert (partly["SDR"], partly["frames"], partly["silent"]) == (6.0, 4, 2)
    assert found["b. The Dot", "accompaniment"]["SDR"] == 11.0


@pytest.mark.filterwarnings("error")
def test_a_silent_track_has_no_score_but_is_counted(root):
    silent = rows(track_table(root / "ours", "ours", "bsseval"))["silent", "vocals"]
    assert all(math.isnan(silent[measure]) for measure in MEASURES)
    assert (silent["frames"], silent["silent"]) == (2, 2)


def test_protocols_do_not_mix(root):
    table = track_table(root / "ours", "ours", "dissertation")
    assert list(table["SDR"]) == [-7.0, -7.0]


def test_no_scores(root):
    with pytest.raises(DataError, match=r"unet: no bsseval scores; run `dvc repro score@unet`"):
        track_table(root / "unet", "unet", "bsseval")
    with pytest.raises(DataError, match=r"mixture: no dissertation scores"):
        gather(root, ["mixture"], "dissertation")


@pytest.mark.parametrize(
    "content", ["{", "{}", '{"targets": [{"frames": []}]}', '{"targets": [{"name": "vocals"}]}', "[]"]
)
def test_scores_of_another_form(tmp_path, content):
    path = tmp_path / "bsseval" / "test" / "a.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(DataError, match=r"a\.json: expected museval's JSON .*; delete it and run `dvc repro`"):
        track_table(tmp_path, "ours", "bsseval")


def test_musevals_own_json_is_read(tmp_path, settings):
    scores = {measure: np.array([[1.0, 2.0, NAN], [4.0, NAN, 6.0]]) + shift for shift, measure in enumerate(MEASURES)}
    (tmp_path / "a.json").write_text(museval_json("a", scores, settings.score))
    back = read_scores(tmp_path / "a.json")
    assert list(back) == ["vocals", "accompaniment"]
    for index, name in enumerate(back):
        for measure in MEASURES:
            np.testing.assert_allclose(back[name][measure], scores[measure][index], atol=1e-4)


def test_gather_takes_the_list_and_its_order(root):
    table = gather(root, ["ours", "mixture"], "bsseval")
    assert list(dict.fromkeys(table["method"])) == ["ours", "mixture"]  # not "left over", which lies there too
    assert list(dict.fromkeys(gather(root, ["mixture", "ours"], "bsseval")["method"])) == ["mixture", "ours"]
    assert list(table.index) == list(range(8))


def test_metrics_are_nested_medians_over_tracks(root):
    metrics = method_metrics(track_table(root / "ours", "ours", "bsseval"))
    assert set(metrics) == {"tracks", "vocals", "accompaniment"}
    assert metrics["tracks"] == 3
    vocals = metrics["vocals"]
    assert {measure: vocals[measure] for measure in MEASURES} == {
        "SDR": {"median": 4.5},
        "ISR": {"median": 5.5},
        "SIR": {"median": 6.5},
        "SAR": {"median": 7.5},
    }
    assert (vocals["frames"], vocals["silent_frames"], vocals["tracks_without_a_score"]) == (9, 4, 1)
    assert metrics["accompaniment"]["SDR"]["median"] == 8.0
    json.dumps(metrics, allow_nan=False)  # plain numbers only


def test_each_data_set_has_its_own_scores(tmp_path, settings):
    for method in ("ours", "mixture"):
        write(tmp_path, method, "b", [1.0], [2.0], protocol="bsseval/theirs")
        write(tmp_path, method, "a", [3.0], [4.0], protocol="bsseval/mine")
        write(tmp_path, method, "NA", [5.0], [6.0], protocol="bsseval/mine")
        for name, energy in (("theirs", 10.0), ("mine", 1.0)):
            path = tmp_path / method / "bleed" / name / "test" / f"{name}.json"
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps({"seconds": 1.0, "vocals": energy, "mixture": 10.0}))
    table = gather(tmp_path, ["ours", "mixture"], "bsseval")
    write_table(tmp_path / "scores.csv", table)
    table = read_table(tmp_path / "scores.csv", ("method", DATASET, "track"))
    assert list(table.columns)[:4] == ["method", DATASET, "track", "target"]
    rows = {name: list(part["track"].unique()) for name, part in by_dataset(table).items()}
    assert rows == {"mine": ["NA", "a"], "theirs": ["b"]}
    medians = {name: method_metrics(part)["vocals"]["SDR"]["median"] for name, part in by_dataset(table).items()}
    assert medians == {"mine": 4.0, "theirs": 1.0}
    assert [bleed_metrics(tmp_path / "ours", name)["level"] for name in ("mine", "theirs")] == [-10.0, 0.0]
    assert bleed_metrics(tmp_path / "ours")["seconds"] == 2.0
    seconds = second_table(tmp_path, ["ours", "mixture"], settings.score)
    assert list(seconds.columns) == [DATASET, "track", "target", "second", "ours", "mixture"]
    rows = {name: list(part["track"].unique()) for name, part in by_dataset(seconds).items()}
    assert rows == {"mine": ["NA", "a"], "theirs": ["b"]}


def test_metrics_of_nothing_but_silence(tmp_path):
    write(tmp_path, "ours", "a", [NAN], [NAN])
    metrics = method_metrics(track_table(tmp_path / "ours", "ours", "bsseval"))
    assert math.isnan(metrics["vocals"]["SDR"]["median"])  # null in the file
    assert metrics["vocals"]["tracks_without_a_score"] == 1


def test_the_table_on_disk(root, tmp_path):
    table = gather(root, ["ours", "mixture"], "bsseval")
    write_table(tmp_path / "scores.csv", table)
    text = (tmp_path / "scores.csv").read_text()
    lines = text.splitlines()
    assert lines[0] == "method,track,target,SDR,ISR,SIR,SAR,frames,silent"
    assert lines[1] == "ours,a,vocals,6.0000,7.0000,8.0000,9.0000,4,2"
    assert "ours,silent,vocals,,,,,2,2" in lines
    assert "\r" not in text
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "scores.csv"), table)


def test_the_ranking_has_the_best_vocals_first(root):
    write(root, "other", "a", [20.0], [1.0])
    lines = ranking(gather(root, ["mixture", "ours", "other"], "bsseval")).splitlines()
    assert [line.split()[0] for line in lines] == ["method", "other", "ours", "mixture"]
    assert lines[2].split() == ["ours", "4.50", "8.00"]


def test_a_method_that_returned_silence_stays_in_the_ranking(root):
    write(root, "other", "a", [NAN], [NAN])
    lines = ranking(gather(root, ["mixture", "other"], "bsseval")).splitlines()
    assert lines[-1].split() == ["other", "-", "-"]


def test_the_ranking_tells_what_leaks(root):
    write(root, "other", "a", [20.0], [1.0])
    table = gather(root, ["mixture", "ours", "other"], "bsseval")
    lines = ranking(table, {"ours": -30.44, "other": None}).splitlines()
    assert [line.split()[-1] for line in lines] == ["bleed", "-", "-30.44", "-"]
