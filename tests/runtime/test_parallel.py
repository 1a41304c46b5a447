"""Tracks in threads, in processes and on a real Dask cluster on loopback: the same bytes, whatever happens."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from svs import networks, separators
from svs.config.schema import MethodWiring
from svs.data.dataset import Dataset
from svs.errors import ClusterError, DataError, SVSError
from svs.evaluation.scoring import score
from svs.features import extraction
from svs.networks import archive
from svs.runtime import parallel
from svs.runtime.files import Scratch
from svs.separators import estimates
from tests.helpers.jobs import (
    broken,
    deadly,
    defective,
    patient,
    slow_first,
    spread,
    spread_small,
    threads,
    twice,
)

REPOSITORY = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
METHODS = ("cnn_separator", "hpss", "repet_sim", "oracle_irm")


# The cluster


def started(*command: str | Path, log: Path, **variables: str) -> subprocess.Popen:
    """A program of the cluster; workers can import what the tests hand over."""
    paths = variables.pop("first", "") + os.pathsep.join(("", str(REPOSITORY), str(HERE)))
    environment = {**os.environ, "PYTHONPATH": paths.strip(os.pathsep), **variables}
    environment.pop(parallel.ADDRESS, None)
    with open(log, "ab") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "dask", *map(str, command)], cwd=log.parent, env=environment, stdout=out, stderr=out
        )


def stopped(*processes: subprocess.Popen) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def until(condition, seconds: float = 60.0):
    """What `condition()` is, once it is true."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return found


def scheduler(folder: Path) -> tuple[subprocess.Popen, str]:
    """One that gives a track up when the second worker has died over it."""
    process = started(
        "scheduler",
        "--host",
        "127.0.0.1",
        "--port",
        0,
        "--no-dashboard",
        "--scheduler-file",
        folder / "scheduler.json",
        log=folder / "scheduler.log",
        DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="1",
    )
    until(lambda: (folder / "scheduler.json").exists() and (folder / "scheduler.json").read_text().endswith("}"))
    return process, json.loads((folder / "scheduler.json").read_text())["address"]


def workers(address: str, folder: Path, number: int = 2, **variables: str) -> subprocess.Popen:
    """Workers that are told to use four threads each for a product of matrices."""
    return started(
        "worker",
        address,
        "--nworkers",
        number,
        "--nthreads",
        1,
        "--no-dashboard",
        "--host",
        "127.0.0.1",
        "--local-directory",
        folder,
        log=folder / "workers.log",
        OMP_NUM_THREADS="4",
        OPENBLAS_NUM_THREADS="4",
        **variables,
    )


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Address of a scheduler with two workers."""
    folder = tmp_path_factory.mktemp("cluster")
    main, address = scheduler(folder)
    helpers = workers(address, folder)
    yield address
    stopped(helpers, main)


@pytest.fixture
def on_cluster(cluster, monkeypatch):
    monkeypatch.setenv(parallel.ADDRESS, cluster)


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    monkeypatch.delenv(parallel.ADDRESS, raising=False)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


# Without a cluster


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(parallel, "cores", lambda: 2)


def test_processes_in_order(two_cores, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    before = dict(os.environ)
    found = spread(slow_first, list(range(5)), tmp_path)
    assert [item for item, _ in found] == list(range(5))
    processes = {process for _, process in found}
    assert os.getpid() not in processes and len(processes) <= 2
    for pools, one, cores, _ in spread(threads, [1, 2], tmp_path):
        assert pools == {1} and (one, cores) == ("1", 1)
    assert dict(os.environ) == before


def test_threads_do_small_work(two_cores, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    found = spread_small(threads, list(range(6)))
    assert {process for *_, process in found} == {os.getpid()}
    assert {thread_limits for pools, *_ in found for thread_limits in pools} == {1}
    # Two at a time, as each waits for another; in order.
    both = threading.Barrier(2, timeout=60)
    assert spread_small(lambda item: (both.wait(), item)[1], [3, 1, 2, 4]) == [3, 1, 2, 4]


def test_one_item_is_done_here(two_cores, tmp_path):
    assert spread(slow_first, ["a"], tmp_path) == [("a", os.getpid())]
    assert spread(twice, [], tmp_path) == []


def test_one_core_needs_no_worker(tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "cores", lambda: 1)
    found = spread(threads, [1, 2, 3], tmp_path)
    assert {process for *_, process in found} == {os.getpid()}
    assert {thread_limits for pools, *_ in found for thread_limits in pools} == {1}


@pytest.mark.parametrize("where", ["one core", "threads", "processes"])
def test_an_error_names_its_track(where, tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "cores", lambda: 1 if where == "one core" else 2)
    work = spread_small if where == "threads" else partial(spread, folder=tmp_path)
    with pytest.raises(DataError, match="^track b: it is broken; mend it$") as caught:
        work(broken, ["a", "b", "c"])
    assert caught.value.exit_code == 3
    with pytest.raises(ZeroDivisionError) as caught:
        work(defective, ["a", "b"])
    assert re.search("while at work on track [ab]", str(caught.value.__notes__))


def test_a_killed_process_is_one_line(two_cores, tmp_path):
    with pytest.raises(SVSError, match="^test: a process died .*what is finished is kept: run again to continue$"):
        spread(deadly, [1, 2], tmp_path)


def free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:{port}", "127.0.0.1:{port}", "nonsense", "tcp://127.0.0.1"])
def test_no_scheduler_is_one_line_and_soon(tmp_path, monkeypatch, address):
    address = address.format(port=free_port())
    monkeypatch.setenv(parallel.ADDRESS, address)
    start = time.monotonic()
    with pytest.raises(ClusterError) as caught:
        spread(twice, [1], tmp_path)
    assert time.monotonic() - start < 60
    text = str(caught.value)
    assert text.startswith(f"DASK_SCHEDULER_ADDRESS={address}: no scheduler of Dask answers there (")
    assert "`dask scheduler`" in text and "unset DASK_SCHEDULER_ADDRESS" in text and "\n" not in text
    assert caught.value.exit_code == 8
    assert spread(twice, [], tmp_path) == []  # nothing to do, nobody needed


def test_dask_is_imported_only_where_a_cluster_is_named(tmp_path):
    script = (
        "import sys\n"
        "from svs.evaluation.scoring import score\n"
        "from svs.features import extraction\n"
        "from svs.separators import estimates\n"
        "from svs.runtime.parallel import over_tracks\n"
        "over_tracks(abs, [-1], ['one'], desc='test', folder=__import__('pathlib').Path('.'))\n"
        "assert not {'dask', 'distributed'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, check=True, stderr=subprocess.DEVNULL)


def test_what_a_worker_looks_at_first(tmp_path):
    token, code = tmp_path / "token", parallel._code()
    with pytest.raises(ClusterError, match=re.escape(f"does not see the folder {tmp_path}; ") + ".*same paths"):
        parallel._on_worker(print, token, code)
    token.touch()
    with pytest.raises(ClusterError, match=r"runs other code: numpy \S+ instead of 1\.0; .*start it again"):
        parallel._on_worker(print, token, code | {"numpy": "1.0"})


# On the cluster


@pytest.mark.slow
def test_order_threads_and_errors_on_the_cluster(on_cluster, tmp_path):
    assert spread(twice, [3, 1, 2], tmp_path) == [6, 2, 4]
    found = spread(threads, list(range(8)), tmp_path)
    assert {(tuple(pools), one, cores) for pools, one, cores, _ in found} == {((1,), "1", 1)}
    assert os.getpid() not in {process for *_, process in found}
    with pytest.raises(DataError, match=f"^track b: it is broken; mend it \\(on {re.escape(socket.gethostname())}\\)$"):
        spread(broken, ["a", "b", "c"], tmp_path)
    with pytest.raises(ZeroDivisionError) as caught:
        spread(defective, ["a"], tmp_path)
    assert "while at work on track a" in caught.value.__notes__
    assert not list(tmp_path.iterdir()), "the token is left"


@pytest.fixture(scope="module")
def models_folder(small, tmp_path_factory) -> Path:
    """A small net with random weights."""
    folder = tmp_path_factory.mktemp("nets") / "cnn_separator"
    representation = {
        key: getattr(small.extract.masks, key)
        for key in ("sample_rate", "frame_size", "win_length", "hop_length", "width")
    }
    archive.save(
        folder,
        networks.build("cnn_separator", small.extract.masks.bins, 9, 1, input_gain=100.0, seed=1),
        {"label_width": 1, "representation": representation},
    )
    return folder


def everything(tiny_set, small, models_folder: Path, root: Path, methods=METHODS) -> dict[str, bytes]:
    """Files of the store, and of the estimates and scores of methods."""
    folder, manifest = tiny_set
    data = Dataset(folder, manifest)
    extraction.extract(data, small.extract, root / "store", Scratch(root / "scratch", "extract", "1"))
    parameters = small.model_copy(
        update={
            "methods": small.methods
            | {
                "cnn_separator": MethodWiring(needs=models_folder),
                "oracle_irm": MethodWiring(needs=root / "store" / "masks"),
            }
        }
    )
    for method in methods:
        build = partial(separators.build, method, parameters)
        estimates.separate_all(
            data, build(), 1.0, root / "estimates" / method, Scratch(root / "scratch", method, "1"), build
        )
        score.score_method(data, root / "estimates" / method, parameters.score, root / "scores" / method, method)
    shutil.rmtree(root / "scratch")
    return contents(root)


@pytest.mark.slow
def test_the_same_bytes_on_the_cluster_and_here(cluster, tiny_set, small, models_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "cores", lambda: 1)
    here = everything(tiny_set, small, models_folder, tmp_path / "here")
    monkeypatch.setattr(parallel, "cores", lambda: 2)
    in_threads = everything(tiny_set, small, models_folder, tmp_path / "threads", ("repet_sim", "hpss"))
    monkeypatch.setattr(parallel, "_LARGE", 0.0)
    processes = everything(tiny_set, small, models_folder, tmp_path / "processes", ("repet_sim",))
    monkeypatch.setenv(parallel.ADDRESS, cluster)
    there = everything(tiny_set, small, models_folder, tmp_path / "there")
    assert len(here) > 2 * len(METHODS) * 2 and any(name.startswith("store/masks/") for name in here)
    assert len(processes) > 20 and set(processes) < set(in_threads) < set(here) == set(there)
    assert [name for other in (in_threads, processes, there) for name in other if other[name] != here[name]] == []


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_of_a_track_loses_nothing(on_cluster, tiny_set, settings, tmp_path):
    """kill -9 of the process that holds an unfinished track, as soon as one is seen.

    Once: the scheduler of these tests gives a track up after the second worker, whichever track that one was at.
    """
    data = Dataset(*tiny_set)
    scratch = Scratch(tmp_path / "scratch", "extract", "1")
    killed: list[str] = []
    done = threading.Event()

    def kill() -> None:
        while not killed and not done.is_set():
            for holder in (scratch.path / "tracks").glob(".*.unfinished"):
                match = re.fullmatch(r"\.(.+)\.(\d+)@.*\.unfinished", holder.name)
                if match:
                    os.kill(int(match[2]), signal.SIGKILL)
                    killed.append(match[1])
                    break
            time.sleep(0.002)

    murderer = threading.Thread(target=kill)
    murderer.start()
    try:
        extraction.extract(data, settings.extract, tmp_path / "there", scratch)
    finally:
        done.set()
        murderer.join()
    assert killed, "no worker was killed in the middle"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(parallel.ADDRESS)
        extraction.extract(data, settings.extract, tmp_path / "here", Scratch(tmp_path / "scratch", "extract", "2"))
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


@pytest.mark.slow
def test_a_track_that_kills_its_workers_is_given_up(on_cluster, tmp_path):
    with pytest.raises(ClusterError, match="^track 1: 2 workers died over it, the last at tcp://.*run again"):
        spread(deadly, [1], tmp_path)


@pytest.mark.slow
def test_a_scheduler_that_is_lost_and_workers_that_come_late(tmp_path, monkeypatch, caplog):
    main, address = scheduler(tmp_path)
    monkeypatch.setenv(parallel.ADDRESS, address)
    late: list[subprocess.Popen] = []
    arriving = threading.Timer(2.0, lambda: late.append(workers(address, tmp_path, 1)))
    arriving.start()
    try:
        with caplog.at_level("WARNING", logger="svs"):
            assert spread(twice, [1, 2], tmp_path) == [2, 4]
        assert f"has no workers yet; waiting (`dask worker {address}` starts one)" in caplog.text
        threading.Timer(2.0, main.kill).start()
        with pytest.raises(ClusterError, match="was lost; what is finished is kept: start it and run again"):
            spread(patient, list(range(200)), tmp_path)
    finally:
        arriving.join()
        stopped(*late, main)


@pytest.mark.slow
def test_a_worker_with_other_code_is_refused(tmp_path, monkeypatch):
    main, address = scheduler(tmp_path)
    monkeypatch.setenv(parallel.ADDRESS, address)
    shutil.copytree(REPOSITORY / "svs", tmp_path / "other" / "svs")
    with open(tmp_path / "other" / "svs" / "dsp" / "masks.py", "a") as file:
        file.write("# changed\n")
    helper = workers(address, tmp_path, 1, first=str(tmp_path / "other"))
    try:
        with pytest.raises(ClusterError, match="runs other code: svs [0-9a-f]{16} instead of [0-9a-f]{16}; give it"):
            spread(twice, [1], tmp_path)
    finally:
        stopped(helper, main)


INTERRUPTED = """
import sys
from pathlib import Path
from tests.helpers import jobs
from svs.runtime.process import main
if __name__ == "__main__":
    print("ready", flush=True)
    main(jobs.spread, jobs.patient, list(range(2000)), Path(sys.argv[1]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("where", ["here", "cluster"])
def test_ctrl_c_cleans_up(cluster, tmp_path, where):
    variables = {"PYTHONPATH": os.pathsep.join((str(REPOSITORY), str(HERE)))}
    if where == "cluster":
        variables[parallel.ADDRESS] = cluster
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)],
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout.readline() == "ready\n"
    if where == "cluster":
        until(lambda: list(tmp_path.iterdir()))
    time.sleep(5)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert said.strip().endswith("interrupted: run again to continue") and "Traceback" not in said
    assert not list(tmp_path.iterdir()), "the token is left"
    if where == "cluster":
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(parallel.ADDRESS, cluster)
            start = time.monotonic()
            assert spread(twice, [1], tmp_path) == [2]
            # All of it would take 200 s.
            assert time.monotonic() - start < 90, "the cluster still works on what was interrupted"


SIGNALLED = """
import sys
from functools import partial
from pathlib import Path
from tests.helpers import jobs
from svs.runtime import parallel
from svs.runtime.process import main
parallel.cores = lambda: 2
if __name__ == "__main__":
    folder = Path(sys.argv[1])
    main(jobs.spread, partial(jobs.half_written, folder), list(range(8)), folder)
"""


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
@pytest.mark.parametrize("to", ["the program", "all its processes"])
def test_a_signal_ends_the_processes_and_removes_what_they_were_writing(tmp_path, name, code, to):
    variables = {"PYTHONPATH": os.pathsep.join((str(REPOSITORY), str(HERE)))}
    process = subprocess.Popen(
        [sys.executable, "-c", SIGNALLED, str(tmp_path)],
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    children = [int(process.stdout.readline()) for _ in range(2)]
    assert len(list(tmp_path.iterdir())) == 2
    number = getattr(signal, name)
    if to == "the program":
        process.send_signal(number)
    else:
        os.killpg(process.pid, number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert said.strip().endswith("run again to continue") and "Traceback" not in said
    assert list(tmp_path.iterdir()) == []
    for child in children:
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)
