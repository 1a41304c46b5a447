"""`svs compare` and `svs gate`, on repositories with branches whose scores are really other ones."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from svs.errors import DataError, GateError
from svs.evaluation import revisions, tables
from svs.evaluation.museval_json import BSSEVAL, MEASURES, museval_json
from svs.evaluation.paired import median_difference
from svs.evaluation.scoring import bsseval
from svs.figures import scores as figure_scores
from svs.runtime.files import write_text
from tests.helpers import command

SEED = 20


def test_usdr_is_judged_where_both_revisions_have_it(tmp_path):
    git(tmp_path, "init", "-q")
    committed(tmp_path, table(ours=[5, 6, 7]), "without")
    better = table(ours=[5, 6, 7]).assign(uSDR=8.0, SI_SDR=1.0)
    kept(tmp_path, better)
    found = revisions.compare(revisions.committed("HEAD", tmp_path), revisions.workspace(tmp_path), SEED)
    assert {change.target for change in found.changes} == {"vocals", "accompaniment"}
    assert "no score changed" in revisions.gate(found, 0.5)
    committed(tmp_path, better, "with")
    kept(tmp_path, better.assign(uSDR=[7.0, 8.0] * 3, SI_SDR=-50.0))  # the vocals fall by 1 dB
    found = revisions.compare(revisions.committed("HEAD", tmp_path), revisions.workspace(tmp_path), SEED)
    with pytest.raises(GateError, match=r"ours vocals uSDR -1\.00 dB") as closed:
        revisions.gate(found, 0.5)
    assert "accompaniment" not in str(closed.value) and "SI_SDR" not in str(closed.value)
    assert revisions.workspace(tmp_path).songs["target"].isin(["vocals", "accompaniment"]).all()


def test_recordings_in_noise_are_judged_too(tmp_path):
    """A method that got worse on voices closes the gate; a revision from before there were such scores is no fall."""
    git(tmp_path, "init", "-q")
    songs = table(ours=[5, 6])
    committed(tmp_path, songs, "songs alone")

    def noisy(sdr):
        rows = [("ours", f"voice {number}", "voice", sdr + number) for number in range(3)]
        scores = pd.DataFrame(rows, columns=["method", "recording", "kind", "SI_SDR"])
        tables.write_table(tmp_path / revisions.DENOISED, scores)

    noisy(8.0)
    found = revisions.compare(revisions.committed("HEAD", tmp_path), revisions.workspace(tmp_path), SEED)
    assert "no score changed" in revisions.gate(found, 0.5)
    committed(tmp_path, songs, "voices too")
    noisy(7.0)
    found = revisions.compare(revisions.committed("HEAD", tmp_path), revisions.workspace(tmp_path), SEED)
    with pytest.raises(GateError, match=r"ours voice -1\.00 dB"):
        revisions.gate(found, 0.5)
    assert "ours" in revisions.as_text(found) and len(revisions.workspace(tmp_path).songs) == 4


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=test", "-c", "user.email=test@example.org", *words],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def table(**methods) -> pd.DataFrame:
    """Scores by method: SDR of the vocals of each track; the accompaniment's is 5 dB above."""
    rows = [
        (method, f"song {number}", target, sdr + shift, 6, 0)
        for method, values in methods.items()
        for number, sdr in enumerate(values)
        for target, shift in (("vocals", 0), ("accompaniment", 5))
    ]
    return pd.DataFrame(rows, columns=["method", "track", "target", "SDR", "frames", "silent"])


def kept(folder: Path, scores: pd.DataFrame) -> None:
    path = folder / revisions.SCORES
    path.parent.mkdir(parents=True, exist_ok=True)
    tables.write_table(path, scores)


def committed(folder: Path, scores: pd.DataFrame | None, message: str = "scores") -> None:
    if scores is not None:
        kept(folder, scores)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", message)


@pytest.fixture
def repository(tmp_path) -> Path:
    """A project in a repository, its branch main without a commit."""
    home = command.project(tmp_path / "project")
    write_text(home / "dvc.yaml", "stages: {}\n")
    git(home, "init", "-q", "--initial-branch", "main")
    return home


def compared(before: pd.DataFrame, after: pd.DataFrame) -> revisions.Comparison:
    return revisions.compare(revisions.Revision("main", before), revisions.Revision("branch", after), SEED)


def test_each_data_set_is_judged_by_itself():
    """What is won on one set does not hide what is lost on another; a revision of one set alone says none."""
    sets = {f"song {number}": "mine" if number < 6 else "theirs" for number in range(12)}
    before, after = table(ours=[5] * 12), table(ours=[8] * 6 + [4] * 6)
    named = after.assign(dataset=after["track"].map(sets))
    for old in (before, before.assign(dataset=before["track"].map(sets))):
        found = compared(old, named)
        assert [change.target for change in found.changes] == [
            f"{target}, {name}" for name in ("mine", "theirs") for target in ("vocals", "accompaniment")
        ]
        assert [change.paired.difference for change in found.changes] == [3, 3, -1, -1]
        with pytest.raises(GateError, match=r"ours vocals, theirs -1\.00 dB .* on 6 tracks") as caught:
            revisions.gate(found, 0.5)
        assert "mine" not in str(caught.value)
    assert [change.target for change in compared(before, after).changes] == ["vocals", "accompaniment"]


# Scores that were really measured: each track separated with some of its accompaniment left in the vocals.

TRACKS = 4


def measured(folder: Path, bleeds: dict[str, float]) -> pd.DataFrame:
    """Score estimates of `ours` and `other`, in which so much of the accompaniment leaks into the vocals."""
    from svs.config import schema

    parameters = schema.load(command.REPOSITORY / "params.yaml").score
    for number in range(TRACKS):
        vocals = command.music(1.0, channels=1, seed=number) * np.float32(0.5)
        accompaniment = command.music(1.0, channels=1, seed=100 + number)[::-1]
        references = np.stack([vocals, accompaniment])
        for method, leak in bleeds.items():
            estimates = np.stack([vocals + leak * accompaniment, (1 - leak) * accompaniment])
            with threadpool_limits(1):  # faster than threads for so little
                scores = dict(zip(MEASURES, bsseval.evaluate(references, estimates), strict=True))
            name = f"song {number}"
            write_text(folder / method / BSSEVAL / "test" / f"{name}.json", museval_json(name, scores, parameters))
    return tables.gather(folder, list(bleeds), BSSEVAL)


@pytest.fixture(scope="module")
def branches(tmp_path_factory) -> Path:
    """A repository with the branches main, worse, better and unchanged."""
    folder = tmp_path_factory.mktemp("branches")
    home = command.project(folder / "project")
    write_text(home / "dvc.yaml", "stages: {}\n")
    git(home, "init", "-q", "--initial-branch", "main")
    before = measured(folder / "main", {"ours": 0.3, "other": 0.5})
    committed(home, before)
    for branch, leak in (("worse", 0.6), ("better", 0.1), ("unchanged", None)):
        git(home, "checkout", "-q", "-b", branch, "main")
        ours = before[before["method"] == "ours"] if leak is None else measured(folder / branch, {"ours": leak})
        committed(home, pd.concat([ours, before[before["method"] == "other"]]), branch)
    return home


def test_the_gate_closes_before_a_branch_that_is_worse(branches):
    git(branches, "checkout", "-q", "worse")
    ran = command.svs("gate", "--against", "main", "--project", branches)
    assert ran.code == GateError.exit_code == 7
    assert ran.out == ""
    assert len(ran.lines()) == 1
    # 0.3 to 0.6 of the same noise is 20 log10 2 = 6.02 dB on every track; accompaniment 20 log10 (0.6 / 0.3) as well.
    commit = git(branches, "rev-parse", "main")[:7]
    assert ran.lines()[0].startswith(
        f"error: worse than main ({commit}): ours vocals -6.02 dB [-6.02, -6.02] on "
        "4 tracks; ours accompaniment -6.02 dB [-6.02, -6.02] on 4 tracks"
    )
    assert "other" not in ran.err
    assert "tolerance 0.5 dB" in ran.err and "svs compare" in ran.err


def test_the_gate_is_a_real_exit_code(branches):
    git(branches, "checkout", "-q", "worse")
    assert command.really("gate", "--against", "main", cwd=branches).code == 7


@pytest.mark.parametrize(
    ("branch", "said"), [("better", "no method fell against main"), ("unchanged", "no score changed against main")]
)
def test_the_gate_lets_through(branches, branch, said):
    git(branches, "checkout", "-q", branch)
    ran = command.svs("gate", "--against", "main", "--project", branches)
    assert (ran.code, ran.err) == (0, "")
    assert said in ran.out and "methods: 2" in ran.out
    assert command.svs("gate", "--against", "main", "--project", branches, "-q").out == ""


def test_the_tolerance_is_the_parameters_or_the_options(branches):
    git(branches, "checkout", "-q", "worse")
    assert command.svs("gate", "--against", "main", "--tolerance", "6.1", "--project", branches).code == 0
    assert command.svs("gate", "--against", "main", "--tolerance", "6.0", "--project", branches).code == 7
    assert command.svs("gate", "--against", "main", "--tolerance", "-1", "--project", branches).code == 2
    parameters = branches / "params.yaml"
    before = parameters.read_text()
    try:
        parameters.write_text(before.replace("tolerance: 0.5  ", "tolerance: 7.0  "))
        assert command.svs("gate", "--against", "main", "--project", branches).code == 0
        parameters.write_text(before.replace("tolerance: 0.5  ", "tolerance: -7.0  "))
        refused = command.svs("gate", "--against", "main", "--project", branches)
        assert refused.code == 2 and "gate.tolerance" in refused.err
    finally:
        parameters.write_text(before)


def test_what_is_worse_one_way_is_better_the_other(branches):
    git(branches, "checkout", "-q", "worse")
    assert command.svs("gate", "--against", "better", "--project", branches).code == 7
    git(branches, "checkout", "-q", "better")
    assert command.svs("gate", "--against", "worse", "--project", branches).code == 0


def test_compare_prints_and_leaves_a_page_and_a_figure(branches, tmp_path):
    git(branches, "checkout", "-q", "worse")
    ran = command.svs("compare", "--against", "main", "--project", branches, "--output", tmp_path / "out")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0].startswith("SDR in dB, main (") and lines[0].endswith("-> workspace")
    row = next(line for line in lines if line.startswith("ours") and "vocals" in line).split()
    before, after = float(row[2]), float(row[3])
    assert after - before == pytest.approx(-6.02, abs=0.011)
    assert row[4:7] == ["-6.02", "[-6.02,", "-6.02]"] and row[7:] == ["0", "/", "0", "/", "4", "4"]
    assert "the same on every track: other" in lines
    assert command.below(tmp_path / "out") == ["compare.md", "compare.png"]
    page = (tmp_path / "out/compare.md").read_text()
    assert "| `ours` | vocals |" in page and "**-6.02** | [-6.02, -6.02] | 0 / 0 / 4 | 4 |" in page
    assert command.svs("compare", "--against", "main", "--project", branches, "--md").out == page
    first = (tmp_path / "out/compare.png").read_bytes()
    command.svs("compare", "--against", "main", "--project", branches, "--output", tmp_path / "out", "-q")
    assert (tmp_path / "out/compare.png").read_bytes() == first


@pytest.mark.parametrize("revision", ["main", "v1", "worse~1", "refs/heads/main", "HEAD^"])
def test_whatever_git_resolves(branches, revision):
    git(branches, "checkout", "-q", "worse")
    git(branches, "tag", "-f", "v1", "main")
    found = revisions.committed(revision, branches)
    pd.testing.assert_frame_equal(found.table, revisions.committed("main", branches).table)
    short = git(branches, "rev-parse", "main")[:10]
    assert revisions.committed(short, branches).name == short[:7]


# The rule.


def test_the_interval_must_lie_below_zero():
    before = table(ours=[5.0, 5.0, 5.0, 5.0])
    assert "no method fell" in revisions.gate(compared(before, table(ours=[2.0, 2.0, 2.0, 5.5])), 0.5)
    with pytest.raises(GateError, match=r"ours vocals -3\.00 dB \[-3\.00, -0\.10\] on 4 tracks"):
        revisions.gate(compared(before, table(ours=[2.0, 2.0, 2.0, 4.9])), 0.5)


def test_the_median_must_fall_by_more_than_the_tolerance():
    before, after = table(ours=[5.0] * 8), table(ours=[4.6] * 8)
    assert revisions.gate(compared(before, after), 0.5)
    with pytest.raises(GateError):
        revisions.gate(compared(before, after), 0.3)


def test_each_target_counts():
    after = table(ours=[5.0] * 4)
    after.loc[after["target"] == "accompaniment", "SDR"] -= 2
    with pytest.raises(GateError, match=r"ours accompaniment -2\.00") as raised:
        revisions.gate(compared(table(ours=[5.0] * 4), after), 0.5)
    assert "vocals" not in str(raised.value)


@pytest.mark.parametrize("tracks", [2, 3, 4, 5])
def test_with_fewer_than_six_tracks_the_interval_is_the_range(tracks):
    differences = np.random.default_rng(tracks).normal(size=tracks)
    found = median_difference(differences, SEED)
    assert (found.low, found.high) == (differences.min(), differences.max())


def test_with_more_tracks_it_is_less():
    differences = np.array([-3.0, -2.8, -2.5, -2.4, -2.2, -2.0, -1.9, 0.5])
    found = median_difference(differences, SEED)
    assert found.low > differences.min() and found.high < 0
    with pytest.raises(GateError):
        revisions.gate(compared(table(ours=[5.0] * 8), table(ours=5 + differences)), 0.5)


def test_one_track_has_no_interval_and_cannot_fail():
    found = compared(table(ours=[5.0]), table(ours=[-5.0]))
    assert "nothing to judge" in revisions.gate(found, 0.5)
    assert "[no interval]" in revisions.as_text(found)


def test_floor_and_ceiling_are_held_to_it_too():
    with pytest.raises(GateError, match="oracle_ibm vocals"):
        revisions.gate(compared(table(oracle_ibm=[9.0] * 4), table(oracle_ibm=[7.0] * 4)), 0.5)


def test_a_method_that_vanished_fails_unless_it_may():
    found = compared(table(ours=[5.0] * 4, other=[3.0] * 4), table(ours=[5.0] * 4, brand_new=[1.0] * 4))
    with pytest.raises(GateError, match="other is missing"):
        revisions.gate(found, 0.5)
    assert revisions.gate(found, 0.5, allow_missing=True)
    said = revisions.as_text(found)
    assert "methods that are new: brand_new" in said and "methods that are gone: other" in said


def test_a_track_that_lost_its_score_fails_unless_it_may():
    """An estimate that is silent all along has no score: leaving it out must not look like a gain."""
    before, after = table(ours=[5.0, 1.0, 4.0], other=[1.0] * 3), table(ours=[5.0, 1.0, 4.0], other=[1.0] * 3)
    lost = (after["method"] == "ours") & (after["track"] == "song 1") & (after["target"] == "vocals")
    after.loc[lost, ["SDR", "silent"]] = [np.nan, 6]
    found = compared(before, after)
    with pytest.raises(GateError, match="ours vocals has no score any more for song 1"):
        revisions.gate(found, 0.5)
    assert revisions.gate(found, 0.5, allow_missing=True)
    assert "frames without a score, so left out, 0 -> 6" in revisions.as_text(found)
    after = after[~((after["method"] == "ours") & (after["track"] == "song 1"))]
    with pytest.raises(GateError, match="ours vocals has no score any more for song 1"):
        revisions.gate(compared(before, after), 0.5)


def test_tracks_that_differ_are_named_and_not_compared():
    before = table(ours=[5.0, 5.0, 5.0, 9.0])
    after = table(ours=[5.0, 5.0, 5.0, -9.0]).replace({"track": {"song 3": "a song"}})
    found = compared(before, after)
    assert [change.paired.tracks for change in found.changes] == [3, 3]
    assert revisions.gate(found, 0.5)
    said = revisions.as_text(found)
    assert "tracks that are new: a song" in said and "tracks that are gone: song 3" in said
    with pytest.raises(DataError, match="no track in common"):
        compared(before, after[after["track"] == "a song"])


def test_many_tracks_are_counted():
    said = revisions.as_text(compared(table(ours=[5.0]), table(ours=[5.0] * 30)))
    assert "song 1, song 10, song 11" in said and " and 17 more" in said and said.count("song") == 12


def test_markdown_leaves_names_as_they_are():
    names = {"track": {"song 1": "a | `b` <img src=x>\n@c"}}
    said = revisions.as_markdown(compared(table(**{"o|u": [5.0]}), table(**{"o|u": [4.0, 5.0]}).replace(names)))
    assert "| `o¦u` |" in said
    assert "tracks that are new: `a ¦ 'b' <img src=x> @c`" in said


def test_the_figure_has_a_box_for_each_revision():
    before, after = table(ours=[1.0, 2.0, 3.0], gone=[0.0] * 3), table(ours=[2.0, 4.0, 6.0], come=[1.0] * 3)
    figure = figure_scores.revisions_boxplot(("main", before), ("branch", after), "a note")
    try:
        axis = figure.axes[0]
        assert [label.get_text() for label in axis.get_yticklabels()] == [
            "ours  2.00 → 4.00",
            "come  – → 1.00",
            "gone  0.00 → –",
        ]
        medians = sorted(
            {
                round(float(np.mean(line.get_xdata())), 6)
                for line in axis.lines
                if len(line.get_xdata()) == 2 and np.ptp(line.get_xdata()) == 0
            }
        )
        assert 2.0 in medians and 4.0 in medians
        assert [text.get_text() for text in figure.legends[0].get_texts()] == ["before: main", "after: branch"]
    finally:
        plt.close(figure)


# What can't be compared.


@pytest.mark.parametrize("revision", ["nope", "origin/main", "-n", "--help", "", "HEAD~9", "a b"])
@pytest.mark.parametrize("word", ["compare", "gate"])
def test_a_revision_that_is_none(repository, word, revision):
    committed(repository, table(ours=[1.0, 2.0]))
    ran = command.svs(word, f"--against={revision}", "--project", repository)
    assert ran.code == 2
    assert f"{revision!r}: no such revision" in ran.err and "git fetch" in ran.err


def test_a_file_of_the_revision_is_no_revision(repository):
    committed(repository, table(ours=[1.0, 2.0]))
    assert command.svs("gate", "--against", "HEAD:params.yaml", "--project", repository).code == 2


def test_a_revision_without_scores(repository):
    committed(repository, None, "start")
    committed(repository, table(ours=[1.0, 2.0]))
    ran = command.svs("gate", "--against", "HEAD~1", "--project", repository)
    assert ran.code == 3 and "HEAD~1 (" in ran.err and "holds no metrics/scores.csv" in ran.err


def test_a_workspace_without_scores(repository):
    committed(repository, table(ours=[1.0, 2.0]))
    (repository / revisions.SCORES).unlink()
    ran = command.svs("compare", "--against", "HEAD", "--project", repository)
    assert ran.code == 3 and "scores.csv: no such file; run `dvc repro`" in ran.err


def test_outside_a_repository(tmp_path):
    home = command.project(tmp_path / "project")
    kept(home, table(ours=[1.0, 2.0]))
    ran = command.svs("gate", "--against", "HEAD", "--project", home, GIT_CEILING_DIRECTORIES=str(tmp_path))
    assert ran.code == 3 and "expected a Git repository" in ran.err


def test_without_git(repository, tmp_path):
    committed(repository, table(ours=[1.0, 2.0]))
    ran = command.svs("gate", "--against", "HEAD", "--project", repository, PATH=str(tmp_path))
    assert ran.code == 3 and "git is not installed" in ran.err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "No columns"),
        ("method,track\n", "(no target, SDR, silent)"),
        ("method,track,target,SDR,silent\n", "expected one row"),
        ("method,track,target,SDR,silent\na,b,vocals,loud,0\n", "loud"),
        ("\0\xff\n1,2,3\n", "expected a table"),
        ("method,track,target,SDR,silent\na,b,vocals,1,0\na,b,vocals,2,0\n", "expected one row"),
    ],
)
def test_a_table_that_is_none(repository, content, said):
    committed(repository, table(ours=[1.0, 2.0]))
    (repository / revisions.SCORES).write_text(content)
    ran = command.svs("gate", "--against", "HEAD", "--project", repository)
    assert ran.code == 3 and said in ran.err and "scores.csv: expected " in ran.err
    git(repository, "commit", "-qam", "broken")
    kept(repository, table(ours=[1.0, 2.0]))
    ran = command.svs("gate", "--against", "HEAD", "--project", repository)
    assert ran.code == 3 and "HEAD (" in ran.err and said in ran.err


def test_a_song_may_be_called_na(repository):
    committed(repository, table(ours=[1.0, 2.0]).replace({"track": {"song 0": "NA", "song 1": "001"}}))
    assert set(revisions.workspace(repository).table["track"]) == {"NA", "001"}
    assert command.svs("gate", "--against", "HEAD", "--project", repository).code == 0


def test_a_project_in_a_folder_of_a_repository(repository):
    below = repository / "below"
    below.mkdir()
    shutil.copy(repository / "params.yaml", below)
    committed(below, table(ours=[1.0, 2.0]))
    kept(below, table(ours=[-1.0, 0.0]))
    assert command.svs("gate", "--against", "HEAD", "--project", below).code == 7


def test_a_project_that_is_not_there_is_not_taken_for_a_missing_git(tmp_path):
    with pytest.raises(DataError, match="nowhere: no such folder"):
        revisions._git(tmp_path / "nowhere", "status")
