"""`svs score` as a person calls it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest

from svs import separators
from svs.config import project as config_project
from svs.data.dataset import Dataset
from svs.errors import DataError
from svs.evaluation import tables
from svs.evaluation.scoring import score
from svs.runtime import extras, files
from svs.separators import estimates
from svs.services import test_set
from tests.helpers.command import call

pytestmark = pytest.mark.usefixtures("alone")


def test_score_is_what_the_stages_compute(tiny_set, home, tmp_path, capsys):
    folder, manifest = tiny_set
    out = tmp_path / "out"
    words = ["score", "mixture", "--musdb", folder, "-o", out, "--start", 0.5, "--duration", 2, "--project", home]
    assert call(*words) == 0
    said = capsys.readouterr().out
    data = Dataset(folder, manifest)
    parameters = config_project.find_project(home, ["score.passage.start=0.5", "score.passage.duration=2"]).settings
    separator = separators.build("mixture", parameters)
    estimates.separate_all(
        data, separator, parameters.separate.common.chunk, tmp_path / "theirs", files.Scratch(tmp_path, "work", "1")
    )
    score.score_method(data, tmp_path / "theirs", parameters.score, tmp_path / "scores" / "mixture", "mixture")
    table = tables.gather(tmp_path / "scores", ["mixture"], "bsseval")
    tables.write_table(tmp_path / "scores.csv", table)
    assert (out / "scores.csv").read_bytes() == (tmp_path / "scores.csv").read_bytes()
    assert tables.ranking(table) in said
    name = manifest.split("test")[0].name
    for stem in ("vocals", "accompaniment"):
        ours, theirs = (place / "test" / name / f"{stem}.wav" for place in (out / "mixture", tmp_path / "theirs"))
        assert ours.read_bytes() == theirs.read_bytes()
    json_of = Path("mixture/bsseval/test") / f"{name}.json"
    assert (out / "scores" / json_of).read_bytes() == (tmp_path / "scores" / json_of).read_bytes()
    assert (out / "sdr_boxplot.png").stat().st_size > 1000 and (out / "sdr_boxplot.svg").stat().st_size > 1000


def test_score_skips_what_is_done_and_refuses_another_request(tiny_set, home, tmp_path, capsys, monkeypatch):
    words = ["score", "mixture", "--musdb", tiny_set[0], "-o", tmp_path / "out", "--project", home]
    assert call(*words) == 0
    table = (tmp_path / "out" / "scores.csv").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(test_set.estimates, "separate_tracks", None)
        patch.setattr(test_set.evaluation_score, "score_method", None)
        assert call(*words) == 0
    assert (tmp_path / "out" / "scores.csv").read_bytes() == table
    capsys.readouterr()
    assert call(*words, "-S", "separate.mixture.share=0.5") == 3
    assert "its options differs" in capsys.readouterr().err
    assert (tmp_path / "out" / "scores.csv").read_bytes() == table
    assert call(*words, "-S", "separate.mixture.share=0.5", "--overwrite") == 0
    assert (tmp_path / "out" / "scores.csv").read_bytes() != table
    # Another passage needs other scores, not other estimates.
    with monkeypatch.context() as patch:
        patch.setattr(test_set.estimates, "separate_tracks", None)
        assert call(*words, "-S", "separate.mixture.share=0.5", "--duration", 2) == 0
    assert set(pd.read_csv(tmp_path / "out" / "scores.csv")["frames"]) == {2}


def test_rulers_of_an_earlier_request_are_not_in_the_table(tiny_set, home, tmp_path):
    words = ["score", "mixture", "--musdb", tiny_set[0], "-o", tmp_path / "out", "--project", home, "--duration"]
    assert call(*words, 1, "-S", "score.rulers=[uSDR]") == 0
    assert "uSDR" in pd.read_csv(tmp_path / "out" / "scores.csv")
    assert call(*words, 2, "-S", "score.rulers=[]") == 0
    assert list(pd.read_csv(tmp_path / "out" / "scores.csv")) == list(tables.TRACK_COLUMNS)


def test_score_goes_on_without_a_method_that_cannot_run(tiny_set, home, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SVS_OFFLINE", "1")
    monkeypatch.setenv("SVS_WEIGHTS", str(tmp_path / "none"))
    words = ["--musdb", tiny_set[0], "-o", tmp_path / "out", "--project", home, "--protocol", "dissertation"]
    assert call("score", "openunmix", "mixture", *words) == 6
    said = capsys.readouterr()
    assert "error: openunmix was left out" in said.err and "mixture" in said.out
    assert list(pd.read_csv(tmp_path / "out" / "scores_dissertation.csv")["method"].unique()) == ["mixture"]
    assert not (tmp_path / "out" / "scores.csv").exists(), "two protocols in one table"
    assert call("score", "openunmix", *words) == 6


def test_estimates_of_others(tiny_set, home, tmp_path, capsys):
    words = ["--musdb", tiny_set[0], "--project", home]
    assert call("score", "mixture", "oracle_ibm", *words, "-o", tmp_path / "made") == 0
    assert call("score", "--estimates", tmp_path / "made", *words, "-o", tmp_path / "scored") == 0
    assert (tmp_path / "scored" / "scores.csv").read_bytes() == (tmp_path / "made" / "scores.csv").read_bytes()
    assert call("score", "theirs", "--estimates", tmp_path / "made" / "mixture", *words, "-o", tmp_path / "one") == 0
    assert set(pd.read_csv(tmp_path / "one" / "scores.csv")["method"]) == {"theirs"}
    capsys.readouterr()
    assert call("score", "nope", "--estimates", tmp_path / "made", *words, "-o", tmp_path / "one") == 3
    assert "it holds mixture, oracle_ibm" in capsys.readouterr().err
    next((tmp_path / "made" / "mixture" / "test").glob("*/vocals.wav")).unlink()
    assert call("score", "--estimates", tmp_path / "made" / "mixture", *words, "-o", tmp_path / "two") == 3
    assert "1 of 1 tracks lack vocals.wav or accompaniment.wav" in capsys.readouterr().err
    # What svs did not make is not replaced, not even when asked to.
    (tmp_path / "made" / "mixture" / "test" / tiny_set[1].split("test")[0].name / test_set.estimates.REQUEST).unlink()
    assert call("score", "mixture", *words, "-o", tmp_path / "made", "--overwrite") == 3
    assert "expected a folder of svs's results" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "name one method"),
        (["nope"], 2, "no such method"),
        (["mixture", "--protocol", "nope"], 2, "'--protocol': 'nope' is not one of 'bsseval', 'dissertation'"),
        (["mixture", "--musdb", "nowhere"], 3, "there is no such folder"),
        (["--estimates", "nowhere"], 3, "museval's layout"),
        (["mixture", "-t", "nope"], 3, "found 0"),
        (["mixture", "-t", "7"], 3, "expected 1 to 1"),
        (["mixture", "--start", "500"], 3, "choose an earlier"),
    ],
)
def test_score_refuses_the_impossible(words, code, said, tiny_set, home, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = words if "--musdb" in words else [*words, "--musdb", tiny_set[0]]
    assert call("score", *words, "--project", home, "-q") == code
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1, error
    assert not (tmp_path / "scored" / "scores.csv").exists()


def test_choice_of_tracks(settings, tmp_path):
    for subset, name in (("train", "x"), ("test", "A - One"), ("test", "A - Two"), ("test", "A - Two and a half")):
        (tmp_path / subset / name).mkdir(parents=True)
    names = ["A - One", "A - Two", "A - Two and a half"]
    assert test_set.choose(settings, tmp_path, []) == names
    assert test_set.choose(settings, tmp_path, ["2"]) == names[:2]
    assert test_set.choose(settings, tmp_path, ["half", "one"]) == [names[0], names[2]]
    assert test_set.choose(settings, tmp_path, ["A - Two"]) == [names[1]]
    for wrong in (["two"], ["0"], ["4"], ["x"]):
        with pytest.raises(DataError):
            test_set.choose(settings, tmp_path, wrong)


@pytest.mark.parametrize("module", ["seaborn", "torch_log_wmse"])
def test_score_separates_nothing_that_it_cannot_score(module, tiny_set, home, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == module else find_spec(name))
    words = ["score", "mixture", "hpss", "--musdb", tiny_set[0], "-o", tmp_path / "out", "--project", home]
    assert call(*words) == 6
    assert f"{module} is not installed; pip install 'svs[pipeline]' installs it" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
