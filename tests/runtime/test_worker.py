"""A program in another environment: requests and answers, errors, and its end."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from svs.errors import SVSError
from svs.runtime.worker import Worker
from tests.helpers import REPOSITORY
from tests.helpers.processes import gone


def one_line(error: pytest.ExceptionInfo) -> str:
    text = str(error.value)
    assert "\n" not in text and text.startswith("spleeter: ")
    return text


def python(tmp_path: Path, body: str) -> list[str]:
    """A command that runs `body`, after the messages of svs/separators/spleeter_worker.py."""
    path = tmp_path / "program.py"
    source = (REPOSITORY / "svs" / "separators" / "spleeter_worker.py").read_text().split("def network(")[0]
    path.write_text(source + "\n" + body)
    return [sys.executable, "-I", str(path)]


ECHO = "serve('ready', lambda content, first, last: content[first:last])"


def test_requests_and_answers_of_any_size(tmp_path):
    with closing(Worker("spleeter", python(tmp_path, ECHO))) as worker:
        assert worker.greeting == "ready"
        content = os.urandom(5_000_001)
        for first, last in ((0, 0), (3, 10), (0, len(content)), (17, len(content) - 1)):
            assert worker.ask(first, last, content) == content[first:last]
        assert worker.ask(0, 5, b"") == b""
        process = worker.process.pid
    assert gone(process)
    with pytest.raises(SVSError, match="has ended"):
        worker.ask(0, 0, b"")


def test_requests_of_several_threads_are_not_mixed_up(tmp_path):
    wrong = []
    with closing(Worker("spleeter", python(tmp_path, ECHO))) as worker:

        def ask(number: int) -> None:
            content = bytes([number]) * 300_000
            wrong.extend(number for _ in range(10) if worker.ask(0, len(content), content) != content)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


@pytest.mark.parametrize(
    "body, message",
    [
        ("raise ValueError('no such thing')", "ValueError: no such thing"),
        ("import missing_package", "ModuleNotFoundError: No module named 'missing_package'"),
        ("print('what a pity', file=sys.stderr); sys.exit(3)", "what a pity"),
        ("sys.exit(3)", "exit status 3"),
        ("os.kill(os.getpid(), 9)", "killed by signal 9 (out of memory?)"),
        ("print('what a pity'); sys.exit(0)", "what a pity"),
        ("os.write(0, b'svs'); sys.exit(0)", "ended before it answered"),
        ("os.close(0); import time; time.sleep(60)", "it closed its socket"),
    ],
)
def test_a_worker_that_does_not_start(tmp_path, body, message, monkeypatch):
    monkeypatch.setattr("svs.runtime.worker._PATIENCE", 1.0)
    with pytest.raises(SVSError) as error:
        Worker("spleeter", python(tmp_path, body))
    assert message in one_line(error)


def test_a_program_that_is_not_there(tmp_path):
    with pytest.raises(SVSError, match="could not be started"):
        Worker("spleeter", [str(tmp_path / "nothing")])


@pytest.mark.parametrize(
    "how, message",
    [
        ("raise RuntimeError('out of luck\\n\\n  [[node]]')", "RuntimeError: out of luck"),
        ("os.kill(os.getpid(), 11)", "killed by signal 11"),
        ("os._exit(0)", "exit status 0"),
        ("os.write(0, b'\\0\\0\\0\\x10half'); os._exit(1)", "exit status 1"),
    ],
)
def test_a_worker_that_dies_midway(tmp_path, how, message):
    body = f"""
def vocals(content, first, last):
    if first:
        {how}
    return content

serve("ready", vocals)
"""
    worker = Worker("spleeter", python(tmp_path, body))
    assert worker.ask(0, 0, b"fine") == b"fine"
    with pytest.raises(SVSError) as error:
        worker.ask(1, 0, os.urandom(3_000_000))
    assert message in one_line(error)
    assert gone(worker.process.pid)
    with pytest.raises(SVSError, match="has ended"):
        worker.ask(0, 0, b"")


def test_a_worker_that_died_between_requests(tmp_path):
    worker = Worker("spleeter", python(tmp_path, ECHO))
    os.kill(worker.process.pid, signal.SIGKILL)
    with pytest.raises(SVSError, match="killed by signal 9"):
        worker.ask(0, 0, os.urandom(3_000_000))


def test_pages_of_messages_block_nothing(tmp_path):
    body = "print('x' * 5_000_000, file=sys.stderr)\n" + ECHO
    with closing(Worker("spleeter", python(tmp_path, body))) as worker:
        assert worker.ask(0, 4, b"fine") == b"fine"


def test_a_forgotten_worker_ends(tmp_path):
    worker = Worker("spleeter", python(tmp_path, ECHO))
    process = worker.process.pid
    del worker
    gc.collect()
    assert gone(process)


def test_a_worker_that_won_t_end_is_killed(tmp_path):
    body = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + ECHO + "\ntime.sleep(60)"
    worker = Worker("spleeter", python(tmp_path, body))
    worker.close()
    assert gone(worker.process.pid, 0.5)


PARENT = """
import sys, time
from svs.runtime.worker import Worker
worker = Worker("spleeter", sys.argv[1:])
print(worker.process.pid, flush=True)
{then}
"""


@pytest.mark.parametrize(
    "then, end",
    [
        ("", None),
        ("raise ValueError", None),
        ("time.sleep(60)", signal.SIGKILL),
        ("time.sleep(60)", signal.SIGTERM),
        ("time.sleep(60)", signal.SIGINT),
        ("worker.ask(0, 0, b'')", signal.SIGINT),
        ("worker.ask(0, 0, b'')", signal.SIGKILL),
    ],
)
def test_the_worker_ends_with_its_parent(tmp_path, then, end):
    """By itself, by an error, killed, and by Ctrl-C, which a terminal sends to the whole group of processes."""
    slow = ECHO.replace("content[first:last]", "__import__('time').sleep(3) or content")
    with subprocess.Popen(
        [sys.executable, "-c", PARENT.format(then=then), *python(tmp_path, slow)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as parent:
        process = int(parent.stdout.readline())
        if end:
            time.sleep(0.3)
            os.killpg(parent.pid, end)
        parent.wait(20)
    assert gone(process)


def test_a_request_broken_off_by_ctrl_c_ends_the_worker(tmp_path):
    slow = ECHO.replace("content[first:last]", "__import__('time').sleep(30) or content")
    worker = Worker("spleeter", python(tmp_path, slow))
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        worker.ask(0, 0, b"")
    assert gone(worker.process.pid)


def test_what_a_worker_prints_is_no_answer(tmp_path):
    with closing(Worker("spleeter", python(tmp_path, "print('hello')\n" + ECHO))) as worker:
        assert worker.greeting == "ready" and worker.ask(0, 4, b"fine") == b"fine"
