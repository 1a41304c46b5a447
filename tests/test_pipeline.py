"""The pipeline as DVC runs it: from nothing, again, after a change."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.helpers.pipeline import WIRED, back, call, changed_parameters, commit, dvc, hashes, ran, run_once

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # of which the run from nothing takes most

METHODS, ENHANCERS = WIRED["methods"], WIRED["enhancers"]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_once(tmp_path_factory)


def test_everything_comes_out(pipeline):
    scores = pd.read_csv(pipeline / "metrics/scores.csv")
    methods = [method for method in METHODS if method != "spleeter"]  # whose weights are not here
    assert json.loads((pipeline / "metrics/spleeter.json").read_text()) == {"tracks": 0}
    assert sorted(scores["method"].unique()) == sorted(methods)
    assert len(scores) == len(methods) * 2 * 2  # two test tracks, two targets
    medians = scores[scores["target"] == "vocals"].groupby("method")["SDR"].median()
    assert min(medians["oracle_ibm"], medians["oracle_irm"]) > medians["mixture"] + 3
    for name in (
        "sdr_boxplot.png",
        "sdr_boxplot.svg",
        "measures_boxplot.png",
        "denoise_boxplot.png",
        "training_curves.png",
        "networks/cnn_separator.png",
    ):
        assert (pipeline / "plots" / name).stat().st_size > 1000
    assert len(list((pipeline / "plots/tracks").glob("*.png"))) == 2
    noisy = pd.read_csv(pipeline / "metrics/denoise.csv").groupby(["kind", "method"])["SI_SDR"].median()
    assert set(noisy["voice"].index) == set(noisy["respiratory"].index) == set(ENHANCERS)
    assert all(noisy[kind, "oracle_irm"] > noisy[kind, "mixture"] + 3 for kind in ("voice", "respiratory"))
    metrics = json.loads((pipeline / "metrics/cnn_separator.json").read_text())
    assert metrics["vocals"]["SDR"]["median"] == pytest.approx(medians["cnn_separator"], abs=1e-3)
    assert list((pipeline / "logs").rglob("events.out.tfevents.*")), "TensorBoard logs"
    assert not list((pipeline / ".cache").iterdir()), "scratch is left after a run that finished"


def test_the_second_run_does_nothing(pipeline):
    done = dvc(pipeline, "repro")
    assert ran(done) == []
    assert "up to date" in done.stdout + done.stderr
    assert call(pipeline, "git", "status", "--porcelain").stdout == "", "a run changed a tracked file"


def stale(workspace: Path) -> set[str]:
    from dvc.repo import Repo

    with Repo(str(workspace)) as repo:
        return {name.split(":")[-1] for name in repo.status()}


# The tables of `test_triggers` say which stages each parameter and file triggers; these rows ask DVC itself.


@pytest.mark.parametrize(
    ("parameter", "value", "stages"),
    [
        ("separate.cnn.gate", 0.3, {"separate@cnn_separator", "separate@cnn_deep_separator", "report"}),
        ("profiles.tiny.vad.epochs", 3, {"train_vad", "report"}),
        ("profiles.sample.vad.epochs", 3, set()),
    ],
)
def test_a_parameter_triggers_its_stages_and_no_other(pipeline, parameter, value, stages):
    path = pipeline / "params.yaml"
    before = path.read_text()
    change = value
    for key in reversed(parameter.split(".")):
        change = {key: change}
    try:
        changed_parameters(pipeline, change)
        assert path.read_text() != before
        assert stale(pipeline) == stages
    finally:
        path.write_text(before)


@pytest.mark.parametrize(
    ("path", "stages"),
    [
        ("svs/data/layouts/folders.py", {"download"}),
        ("svs/networks/streaming.py", {"separate@cnn_separator", "separate@cnn_deep_separator"}),
        ("svs/cli/separate.py", set()),
    ],
)
def test_an_edit_of_code_triggers_the_stages_that_run_it_and_no_other(pipeline, path, stages):
    before = (pipeline / path).read_text()
    try:
        (pipeline / path).write_text(f"{before}# An edit.\n")
        assert stale(pipeline) == stages
    finally:
        (pipeline / path).write_text(before)


def test_a_change_runs_what_depends_on_it_and_nothing_else(pipeline):
    before = hashes(pipeline)
    done = dvc(pipeline, "exp", "run", "-S", "separate.mixture.share=0.5", "--name", "half")
    assert set(ran(done)) == {"separate@mixture", "score@mixture", "summarize", "plots", "pictures", "report"}
    after = hashes(pipeline)
    assert after["separate@mixture"] != before["separate@mixture"]
    assert after["separate@oracle_ibm"] == before["separate@oracle_ibm"]

    diff = dvc(pipeline, "metrics", "diff", "--md", "HEAD").stdout
    assert "metrics/mixture.json" in diff and "vocals.SDR.median" in diff
    assert "metrics/oracle_ibm.json" not in diff
    assert "separate.mixture.share" in dvc(pipeline, "params", "diff", "HEAD").stdout
    assert "half" in dvc(pipeline, "exp", "show", "--csv").stdout
    page = dvc(pipeline, "plots", "diff", "HEAD", "--out", "dvc_plots").stdout.strip()
    html = (pipeline / "dvc_plots" / "index.html").read_text()
    assert page.endswith("index.html")
    assert '"mark": {"type": "boxplot"' in html and '"rev": "workspace"' in html and '"rev": "HEAD"' in html
    shown = dvc(pipeline, "plots", "show", "--out", "dvc_plots").stdout
    assert "index.html" in shown

    # Back to the committed parameters: everything is in the cache, nothing is computed.
    call(pipeline, "git", "checkout", "-q", "--", "params.yaml")
    again = dvc(pipeline, "repro")
    assert "separate@mixture" not in ran(again)
    assert hashes(pipeline) == before


def test_a_method_taken_off_the_list_leaves_the_tables(pipeline):
    path = pipeline / "wiring.yaml"
    parameters = yaml.safe_load(path.read_text())
    del parameters["methods"]["mixture"]
    try:
        path.write_text(yaml.safe_dump(parameters, sort_keys=False))
        assert stale(pipeline) == {"summarize", "plots", "pictures", "report"}
        assert ran(dvc(pipeline, "repro", "summarize")) == ["summarize"]
        assert "mixture" not in set(pd.read_csv(pipeline / "metrics/scores.csv")["method"])
    finally:
        back(pipeline)


PRETRAINED = ("openunmix", "spleeter")


def test_methods_without_their_weights_are_absent_and_run_once_they_are_there(pipeline, monkeypatch):
    """Open-unmix and spleeter with random weights, in the folders that their stages watch."""
    from tests.helpers.spleeter import random_weights, save_npz
    from tests.separators import test_openunmix

    monkeypatch.setenv("SVS_OFFLINE", "1")
    monkeypatch.setenv("SVS_WEIGHTS", str(pipeline / ".cache" / "weights"))
    # As the line in wiring.yaml that adds it: like every method without a helper of its own, such as the mixture.
    openunmix = yaml.safe_load((pipeline / "wiring.yaml").read_text())["methods"]["mixture"] | {
        "code": "openunmix",
        "helper": "data/pretrained",
        "needs": "models/weights/openunmix",
        "params": "separate.openunmix",
    }
    try:
        changed_parameters(pipeline, {"methods": {"openunmix": openunmix}})
        done = dvc(pipeline, "repro")
        assert {"separate@openunmix", "score@openunmix"} <= set(ran(done))
        assert "openunmix is left out: openunmix: " in done.stderr
        for method in PRETRAINED:
            assert f"absent: {method}" in done.stderr
            assert json.loads((pipeline / f"metrics/{method}.json").read_text()) == {"tracks": 0}
            assert not list((pipeline / f"data/estimates/{method}").rglob("*.wav")), "never the mixture in its place"
        assert not set(PRETRAINED) & set(pd.read_csv(pipeline / "metrics/scores.csv")["method"])
        assert ran(dvc(pipeline, "repro")) == []

        weights = pipeline / "models/weights"
        test_openunmix.save(weights / "openunmix", "umxhq", {"vocals": test_openunmix.lively("umxhq")})
        save_npz(weights / "spleeter" / "2stems.npz", random_weights())
        done = dvc(pipeline, "repro")
        assert set(ran(done)) == {"summarize", "plots", "pictures", "report"} | {
            f"{stage}@{method}" for stage in ("separate", "score") for method in PRETRAINED
        }
        scored = pd.read_csv(pipeline / "metrics/scores.csv")
        for method in PRETRAINED:
            assert (scored["method"] == method).sum() == 4
            assert json.loads((pipeline / f"metrics/{method}.json").read_text())["tracks"] == 2
    finally:
        back(pipeline)
        for method in PRETRAINED:
            for file in (pipeline / "models/weights" / method).iterdir():  # which Git ignores
                if file.name != "README.md":
                    shutil.rmtree(file) if file.is_dir() else file.unlink()
    assert ran(dvc(pipeline, "repro")) == []


def test_a_branch_that_is_worse_is_compared_and_stopped(pipeline):
    """The script that CI runs shows what a parameter changed; the gate closes, and opens the other way round."""
    main = call(pipeline, "git", "branch", "--show-current").stdout.strip()
    gate = (sys.executable, "-m", "svs.cli", "gate", "--against")
    assert "no score changed" in call(pipeline, *gate, main).stdout
    try:
        call(pipeline, "git", "checkout", "-q", "-b", "worse")
        # Next to nothing of a voice lies above 8 kHz.
        changed_parameters(pipeline, {"separate": {"repet_sim": {"authors": {"cutoff": 8000.0}}}})
        dvc(pipeline, "repro", "summarize")
        commit(pipeline, "worse")
        call(pipeline, "sh", "tools/compare.sh", main)
        page = (pipeline / "build/compare/comment.md").read_text()
        assert f"## Scores against {main}" in page and "| `repet_sim` | vocals |" in page
        assert "separate.repet_sim.authors.cutoff" in page, "dvc params diff"
        assert "vocals.SDR.median" in page and "metrics/hpss.json" not in page, "dvc metrics diff"
        for name in ("compare.md", "compare.png", "plots/index.html"):
            assert (pipeline / "build/compare" / name).stat().st_size > 100
        closed = call(pipeline, *gate, main, check=False)
        assert closed.returncode == 7, closed.stderr
        assert closed.stderr.startswith(f"error: worse than {main} (") and "repet_sim vocals -" in closed.stderr
        assert "hpss" not in closed.stderr and closed.stdout == ""
        assert call(pipeline, "git", "status", "--porcelain").stdout == "", "comparing changed a tracked file"
    finally:
        call(pipeline, "git", "checkout", "-q", "-f", main)
        back(pipeline)
    assert call(pipeline, *gate, "worse").returncode == 0
    call(pipeline, "git", "branch", "-q", "-D", "worse")


def test_figures_are_redrawn_from_the_tables_in_git(pipeline, tmp_path):
    """`make plots` in a clone with neither data nor models nor a DVC cache: the same bytes."""
    call(tmp_path, "git", "clone", "-q", str(pipeline), "clone")
    workspace = tmp_path / "clone"
    # Tests may run under make itself, whose flags would be this one's too.
    recipe = call(workspace, "make", "--no-print-directory", "-n", "plots", MAKEFLAGS="").stdout.splitlines()[-1]
    figures = [path for path in (workspace / "plots").iterdir() if path.suffix in (".png", ".svg")]
    assert len(figures) >= 5
    for path in figures:
        path.unlink()
    assert ran(call(workspace, *recipe.split())) == ["plots"]
    assert call(workspace, "git", "status", "--porcelain").stdout == ""
    assert all(path.stat().st_size > 1000 for path in figures)
    assert not [path for suffix in ("wav", "keras", "zarr") for path in workspace.rglob(f"*.{suffix}")]
