"""How stages run: order, errors, threads of workers, exit codes."""

import os
import signal
import subprocess
import sys
import time

import pytest

from svs.audio import ffmpeg
from svs.errors import DataError, FetchError, ModelError, SettingsError, SVSError
from svs.runtime import parallel
from svs.runtime import process as runtime_process
from svs.runtime.parallel import each_in_parallel, single_threaded
from svs.runtime.worker import Worker
from tests.helpers import REPOSITORY

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS")


# Workers are spawned, so what they run stands at the top of the module.
def _work(item):
    if item == "bad":
        raise DataError("track bad: it is broken; mend it")
    if item == 0:
        time.sleep(0.5)  # the first item is done last
    return item, os.getpid(), {name: os.environ.get(name) for name in THREADS}


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(parallel, "cores", lambda: 2)


def test_order_processes_and_threads(two_cores, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = dict(os.environ)
    results = each_in_parallel(_work, list(range(5)), unit="item")
    assert [item for item, _, _ in results] == list(range(5))
    processes = {process for _, process, _ in results}
    assert os.getpid() not in processes and len(processes) <= 2
    for _, _, threads in results:
        assert threads == dict.fromkeys(THREADS, "1")
    assert dict(os.environ) == before


def test_an_error_in_a_worker_comes_through(two_cores, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with pytest.raises(DataError, match="track bad: it is broken; mend it") as caught:
        each_in_parallel(_work, ["bad", "a", "b"], unit="item")
    assert caught.value.exit_code == 3
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_one_item_runs_here(two_cores):
    assert each_in_parallel(_work, ["a"], unit="item")[0][1] == os.getpid()
    assert each_in_parallel(_work, [], unit="item") == []


def test_threads_are_restored_after_an_error(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with pytest.raises(ZeroDivisionError), single_threaded():
        assert os.environ["OMP_NUM_THREADS"] == "1"
        raise ZeroDivisionError
    assert "OMP_NUM_THREADS" not in os.environ


def run(body, preexec_fn=None, **environment):
    script = (
        f"from svs import errors\nfrom svs.runtime.process import log, main\ndef work(*arguments):\n    {body}\n"
        "main(work, 'one', 2)\nprint('after')\n"
    )
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        preexec_fn=preexec_fn,
    )


@pytest.mark.parametrize(
    ("error", "code"), [(SVSError, 1), (SettingsError, 2), (DataError, 3), (FetchError, 4), (ModelError, 5)]
)
def test_an_svs_error_is_one_line_and_an_exit_code(error, code):
    done = run(f"raise errors.{error.__name__}('x.wav: expected a, got b; do c')")
    assert done.returncode == code == error.exit_code
    assert done.stderr == "error: x.wav: expected a, got b; do c\n"
    assert done.stdout == ""


def test_a_defect_keeps_its_traceback():
    done = run("raise ZeroDivisionError('a defect')")
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "ZeroDivisionError: a defect" in done.stderr


def test_an_interruption():
    done = run("raise KeyboardInterrupt")
    assert (done.returncode, done.stderr) == (130, "interrupted: run again to continue\n")


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_clears_away_and_a_second_one_does_not_stop_that(name, code):
    kill = f"os.kill(os.getpid(), signal.{name})"
    done = run(
        f"import os, signal, time\n    try:\n        {kill}\n        time.sleep(5)\n"
        f"    finally:\n        {kill}\n        print('cleared away')"
    )
    assert (done.returncode, done.stdout) == (code, "cleared away\n")
    assert done.stderr == "terminated: run again to continue\n"


def _signalled_while_it_starts(monkeypatch, name):
    """The programs that are started from now on; a signal comes before their number is known."""
    started, start = [], subprocess.Popen

    def slow(*arguments, **options):
        started.append(start(*arguments, **options))
        os.kill(os.getpid(), getattr(signal, name))
        time.sleep(0.01)  # a handler would run here
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", slow)
    return started


@pytest.mark.parametrize(
    ("name", "raised"),
    [("SIGTERM", runtime_process.Terminated), ("SIGHUP", runtime_process.Terminated), ("SIGINT", KeyboardInterrupt)],
)
@pytest.mark.parametrize("kind", ["ffmpeg", "worker"])
def test_a_program_that_is_just_starting_is_ended_too(kind, name, raised, monkeypatch):
    number = getattr(signal, name)
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    started = _signalled_while_it_starts(monkeypatch, name)
    with pytest.raises(raised) as caught, runtime_process._terminable():
        if kind == "ffmpeg":
            ffmpeg.Running(["-f", "lavfi", "-i", "anullsrc", "-f", "null", "-"], stdin=subprocess.DEVNULL)
        else:
            Worker("a worker", ["sleep", "60"])
    assert raised is KeyboardInterrupt or caught.value.code == 128 + number
    assert len(started) == 1 and started[0].returncode in (-signal.SIGKILL, -signal.SIGTERM)
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_a_signal_counts_more_than_a_program_that_cannot_start(monkeypatch):
    def fail(*arguments, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(subprocess, "Popen", fail)
    with pytest.raises(runtime_process.Terminated), runtime_process._terminable():
        Worker("a worker", ["no-such-program"])


def test_who_ignores_hangups_goes_on():
    """As below nohup."""
    done = run(
        "import os, signal\n    os.kill(os.getpid(), signal.SIGHUP)\n    print('still here')",
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    assert (done.returncode, done.stdout) == (0, "still here\nafter\n")


def test_the_children_of_a_terminated_run_end():
    script = (
        "import sys, time\nfrom tests.test_running import _sleep\nfrom svs import running\n"
        "running.cores = lambda: 2\n"
        "if __name__ == '__main__':\n"
        "    running.main(lambda: running.each_in_parallel(_sleep, [1, 2], unit='item'))\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        children = [int(process.stdout.readline()) for _ in range(2)]
        process.terminate()
        assert process.wait(30) == 143
    for child in children:
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)


def _sleep(item):
    os.write(1, b"%d\n" % os.getpid())  # in one piece: two of them write at once
    time.sleep(60)


def test_success_passes_arguments_and_logs_to_stderr():
    done = run("log.info('seen %s', arguments)")
    assert (done.returncode, done.stdout, done.stderr) == (0, "after\n", "seen ('one', 2)\n")
    assert run("log.info('seen %s', arguments)", SVS_LOG="WARNING").stderr == ""
