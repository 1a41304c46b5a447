"""What docs/remotes.md and docs/experiments.md show of DVC: remotes, queues, shared experiments, plots."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from tests.helpers.pipeline import FINISHED, call, commit, dvc, ran, run_once

slow = pytest.mark.slow  # on the run of the whole pipeline
MODEL = "models/vad/model.onnx"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of the run from nothing, with its cache; a Git repository and a folder to share through."""
    source, folder = run_once(tmp_path_factory), tmp_path_factory.mktemp("shared")
    call(folder, "git", "clone", "-q", "--bare", str(source), "hub.git")
    clone = cloned(folder / "hub.git", folder / "first")
    call(clone, "git", "checkout", "-q", "-B", "main", FINISHED)
    dvc(clone, "cache", "dir", "--quiet", "--local", str(source / ".dvc/cache"))
    dvc(clone, "checkout", "--quiet")
    dvc(clone, "remote", "add", "--quiet", "--default", "store", str(folder / "remote"))
    commit(clone, "a remote")
    call(clone, "git", "push", "-q", "--force", "origin", "main")
    return clone


def cloned(hub: Path, folder: Path) -> Path:
    call(hub.parent, "git", "clone", "-q", str(hub), str(folder))
    for key, value in {"name": "test", "email": "test@example.org"}.items():
        call(folder, "git", "config", f"user.{key}", value)
    return folder


def main_of(finished: Path, folder: Path) -> Path:
    """A new clone without a cache."""
    clone = cloned(finished.parent / "hub.git", folder)
    call(clone, "git", "checkout", "-q", "main")
    return clone


@slow
def test_a_folder_holds_everything_that_a_clone_needs(finished, tmp_path):
    clone = main_of(finished, tmp_path / "clone")
    missing = dvc(clone, "pull", "--quiet", check=False)
    assert missing.returncode and "dvc push" not in missing.stdout
    dvc(finished, "push", "--quiet")
    dvc(clone, "pull", "--quiet")
    assert (clone / MODEL).is_file() and ran(dvc(clone, "repro")) == []


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A folder over HTTP, to read only."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def small(tmp_path) -> Path:
    """A repository with one network, whose remote is the folder `remote` beside it."""
    folder = tmp_path / "small"
    (folder / MODEL).parent.mkdir(parents=True)
    (folder / MODEL).write_bytes(b"a network")
    call(folder, "git", "init", "-q", "-b", "main")
    Repo.init(str(folder)).close()
    with Repo(str(folder)) as repo:
        repo.add(str(folder / "models/vad"))
    commit(folder, "a network")
    return folder


def through(small: Path, folder: Path, pushed: dict[str, str], pulled: dict[str, str]) -> bytes:
    """Push the network to a remote, and pull it in a new clone from another or the same one."""
    with Repo(str(small), config={"core": {"remote": "one"}, "remote": {"one": pushed}}) as repo:
        repo.push()
    clone = cloned(small, folder)
    with Repo(str(clone), config={"core": {"remote": "one"}, "remote": {"one": pulled}}) as repo:
        repo.pull()
    return (clone / MODEL).read_bytes()


def test_a_folder_over_http(small, tmp_path):
    (tmp_path / "remote").mkdir()
    with served(tmp_path / "remote") as url:
        assert through(small, tmp_path / "clone", {"url": str(tmp_path / "remote")}, {"url": url}) == b"a network"


def test_s3(small, tmp_path):
    server = pytest.importorskip("moto.server", reason="no moto: pip install 'svs[remotes]'")
    pytest.importorskip("dvc_s3", reason="no dvc-s3: pip install 'svs[remotes]'")
    import boto3

    moto = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    try:
        url = "http://{}:{}".format(*moto.get_host_and_port())
        keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
        boto3.client("s3", endpoint_url=url, **keys).create_bucket(Bucket="svs")
        remote = {"url": "s3://svs/cache", "endpointurl": url, "access_key_id": "a", "secret_access_key": "b"}
        remote["region"] = "us-east-1"
        assert through(small, tmp_path / "clone", remote, remote) == b"a network"
    finally:
        moto.stop()


@slow
def test_a_grid_in_the_queue_and_an_experiment_that_a_colleague_applies(finished, tmp_path):
    target = "score@mixture"  # the method that takes no time
    queued = dvc(finished, "exp", "run", "--queue", "-S", "separate.mixture.share=0.1,0.4", target)
    assert queued.stdout.count("Queued experiment") == 2
    dvc(finished, "exp", "run", "--run-all", "--jobs", "1")
    status = dvc(finished, "queue", "status").stdout
    assert status.count("Success") == 2, status
    name = status.splitlines()[1].split()[1]
    assert name in dvc(finished, "exp", "list", "--names-only", "--all-commits").stdout
    dvc(finished, "exp", "push", "origin", name)
    colleague = main_of(finished, tmp_path / "colleague")
    assert name in dvc(colleague, "exp", "list", "--all-commits", "origin").stdout
    dvc(colleague, "exp", "pull", "origin", name)
    dvc(colleague, "exp", "apply", name)
    share = yaml.safe_load((colleague / "params.yaml").read_text())["separate"]["mixture"]["share"]
    assert share in (0.1, 0.4)
    assert "metrics/mixture.json" in dvc(colleague, "metrics", "diff", "--md").stdout
    assert (colleague / "data/estimates/mixture").is_dir(), "what was computed comes along"


@slow
def test_plots_in_a_browser_without_a_network(finished, browser, tmp_path):
    dvc(finished, "plots", "diff", "HEAD~1", "--out", str(tmp_path / "plots"))
    page = browser.new_page()
    asked: list[str] = []
    wrong: list[str] = []
    page.on("request", lambda sent: asked.append(sent.url) if not sent.url.startswith(("file:", "data:")) else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto((tmp_path / "plots/index.html").as_uri())
    page.wait_for_function("document.querySelectorAll('.vega-embed canvas, .vega-embed svg').length >= 7")
    assert asked == wrong == []
    assert page.locator("a[href^=http]").count() == 0
    page.close()
    text = (tmp_path / "plots/index.html").read_text()
    assert '"mark": {"type": "boxplot"' in text and '"field": "track"' in text and "plots/training/vad.csv" in text


@slow
def test_a_subfolder_a_clone_without_a_remote_and_a_shallow_one(finished, tmp_path):
    """The lines of docs/remotes.md about them."""
    hub = finished.parent / "hub.git"
    call(tmp_path, "git", "clone", "-q", "--depth", "1", "--branch", "main", hub.as_uri(), "shallow")
    shallow = tmp_path / "shallow"
    dvc(shallow, "remote", "remove", "store")
    nowhere = dvc(shallow, "pull", check=False)
    assert nowhere.returncode and "no remote" in (nowhere.stdout + nowhere.stderr).replace("\n", " ").lower()
    lost = call(shallow, "sh", "tools/compare.sh", "HEAD~1", check=False)
    assert lost.returncode == 2 and "git fetch --unshallow" in lost.stderr, lost.stderr
    below = call(finished / "stages", "dvc", "repro", check=False)
    assert below.returncode and "dvc.yaml" in below.stderr
    assert ran(call(finished / "stages", "dvc", "repro", "../dvc.yaml:score_vad")) == []
