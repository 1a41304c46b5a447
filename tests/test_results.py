"""`results/` and the pages that are made of it."""

from __future__ import annotations

import importlib.util
import json
import shutil
from types import ModuleType

import pandas as pd
import pytest

from svs.errors import DataError
from tests.helpers import REPOSITORY

PAGES = ("README.md", "docs/results.md", "docs/literature.md")


def tool() -> ModuleType:
    described = importlib.util.spec_from_file_location("results", REPOSITORY / "tools/results.py")
    module = importlib.util.module_from_spec(described)
    described.loader.exec_module(module)
    return module


def test_pages_say_what_the_tables_say():
    """`make results` writes them anew."""
    assert {path.name for path, text in tool().generated().items() if path.read_text(encoding="utf-8") != text} == set()


def test_there_is_no_audio_and_the_run_is_named():
    assert {path.suffix for path in (REPOSITORY / "results").iterdir()} == {".csv", ".json", ".md"}
    run = json.loads((REPOSITORY / "results/run.json").read_text())
    scores = pd.read_csv(REPOSITORY / "results/scores.csv")
    assert run["profile"] in ("sample", "full") and len(run["commit"]) == 7
    assert run["tracks"] == scores["track"].nunique() and run["methods"] == list(dict.fromkeys(scores["method"]))


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> ModuleType:
    """The tool on a copy of the pages and tables."""
    module = tool()
    shutil.copytree(REPOSITORY / "results", tmp_path / "results")
    for page in PAGES:
        (tmp_path / page).parent.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / page, tmp_path / page)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    return module


def test_another_score_makes_the_pages_stale_and_writing_mends_them(elsewhere, monkeypatch, capsys):
    table = pd.read_csv(elsewhere.RESULTS / "scores.csv")
    table.loc[(table["method"] == "hpss") & (table["target"] == "vocals"), "SDR"] = 7.77
    table.to_csv(elsewhere.RESULTS / "scores.csv", index=False)
    monkeypatch.setattr("sys.argv", ["results.py", "--check"])
    assert elsewhere.main() == 1 and "README.md: differs from results/" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["results.py"])
    assert elsewhere.main() == 0
    assert (elsewhere.ROOT / elsewhere.FIGURE).stat().st_size > 50_000
    rows = [line for line in (elsewhere.ROOT / "README.md").read_text().splitlines() if line.startswith("| `hpss`")]
    assert len(rows) == 1 and "| 7.77 |" in rows[0]
    monkeypatch.setattr("sys.argv", ["results.py", "--check"])
    assert elsewhere.main() == 0


def test_figures_of_the_literature_have_sources_and_other_rulers_are_greyed():
    rows = pd.read_csv(REPOSITORY / "results/literature.csv", dtype=str, keep_default_na=False)
    assert rows["source"].str.match(r"https://\S+$").all() and rows["year"].between("2018", "2026").all()
    assert ((rows["four_stems"] != "") == (rows["ruler"] == "mean of four stems")).all()
    page = (REPOSITORY / "docs/literature.md").read_text()
    for row in rows.itertuples():
        (line,) = [line for line in page.splitlines() if line.startswith(f"| [{row.system}](")]
        assert ("greyed" in line) == (row.ruler != "museval")
        figure = row.vocals or row.four_stems
        assert float(figure) > 0 and f"{figure}<" in line or f" {figure} |" in line


def test_a_system_of_sisec18_stands_beside_ours_on_the_same_seconds(elsewhere):
    systems = pd.read_csv(elsewhere.RESULTS / "published.csv")
    of_stl1 = systems[(systems["method"] == "STL1") & (systems["target"] == "vocals")]["SDR"].median()
    (line,) = [
        line for line in elsewhere.generated()[elsewhere.ROOT / "docs/literature.md"].splitlines() if "STL1" in line
    ]
    assert line.split("|")[-3].strip() == f"{of_stl1:.2f}"


def test_a_run_of_whole_songs_without_published_scores(elsewhere):
    for name in ("published", "paired"):
        pd.read_csv(elsewhere.RESULTS / f"{name}.csv").iloc[:0].to_csv(elsewhere.RESULTS / f"{name}.csv", index=False)
    run = json.loads((elsewhere.RESULTS / "run.json").read_text()) | {"seconds": [0.0, None]}
    (elsewhere.RESULTS / "run.json").write_text(json.dumps(run))
    pages = elsewhere.generated()
    assert "10 test tracks, all of each from second 0" in pages[elsewhere.ROOT / "docs/results.md"]
    assert "SiSEC18's best (" not in pages[elsewhere.ROOT / "README.md"]


def test_generated_songs_are_no_results(elsewhere):
    with pytest.raises(DataError, match="its profile is tiny"):
        elsewhere.take(REPOSITORY)
