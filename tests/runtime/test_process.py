"""How a program runs: exit codes, log, and signals, after which nothing is left."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from svs.errors import DataError, FetchError, ModelError, SettingsError, SVSError
from svs.runtime.process import log_parameters, main, quietly

REPOSITORY = Path(__file__).resolve().parents[2]


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


def gone(process: int, seconds: float = 10.0) -> bool:
    """Whether a process ends soon."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":  # an orphan that init has not collected yet
            return True
        time.sleep(0.05)
    return False


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


STARTING = """
import os, signal, subprocess, time
from svs.runtime.process import main
from svs.runtime.worker import Worker

start = subprocess.Popen

def slow(*arguments, **options):
    program = start(*arguments, **options)
    print(program.pid, flush=True)
    os.kill(os.getpid(), signal.{name})     # before anybody knows the number of the program
    time.sleep(0.01)
    return program

subprocess.Popen = slow
main(lambda: {work})
"""


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
@pytest.mark.parametrize(
    "work",
    [
        "subprocess.Popen(['sleep', '60'])",
        "Worker('a worker', ['sleep', '60'])",
    ],
)
def test_a_program_that_is_just_starting_is_ended_too(work, name, code):
    done = subprocess.run(
        [sys.executable, "-c", STARTING.format(work=work, name=name)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    assert done.returncode == code
    assert gone(int(done.stdout))


def test_who_ignores_hangups_goes_on():
    """As below nohup."""
    done = run(
        "import os, signal\n    os.kill(os.getpid(), signal.SIGHUP)\n    print('still here')",
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    assert (done.returncode, done.stdout) == (0, "still here\nafter\n")


def test_signals_act_as_before_afterwards():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    main(lambda: None)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_success_passes_arguments_and_logs_to_stderr():
    done = run("log.info('seen %s', arguments)")
    assert (done.returncode, done.stdout, done.stderr) == (0, "after\n", "seen ('one', 2)\n")
    assert run("log.info('seen %s', arguments)", SVS_LOG="WARNING").stderr == ""


def test_parameters_are_logged_by_group(caplog):
    with caplog.at_level("INFO", logger="svs"):
        log_parameters(score={"window": 1}, seed=3)
    assert caplog.messages == ["score: {'window': 1}", "seed: 3"]


def test_no_folder_for_temporary_files(monkeypatch, capsys):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc"])
    with pytest.raises(SystemExit) as ended:
        main(lambda: None)
    error = capsys.readouterr().err
    assert ended.value.code == 3 and error.count("\n") == 1
    assert error.startswith("error: expected a folder for temporary files") and "set TMPDIR to a folder" in error


def test_a_working_directory_that_is_gone(tmp_path, monkeypatch, capsys):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(SystemExit) as ended:
        main(lambda: None)
    assert (ended.value.code, capsys.readouterr().err) == (
        3,
        "error: the working directory has been removed; change to another one, and run again\n",
    )


def test_a_level_of_the_log_that_is_none():
    done = run("log.info('seen')", SVS_LOG="loud")
    assert done.returncode == 2 and done.stderr.startswith("error: SVS_LOG=loud: expected one of CRITICAL, ")
    assert done.stderr.count("\n") == 1 and run("log.info('seen')", SVS_LOG="").stderr == "seen\n"


def test_quietly_is_quiet_inside_only(capfd):
    with quietly():
        os.write(2, b"a greeting")
    os.write(2, b"an error")
    assert capfd.readouterr().err == "an error"
