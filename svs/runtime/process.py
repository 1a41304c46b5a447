"""How a stage or a command runs: its log, errors as exit codes, cleanup after a signal."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from svs.errors import DataError, SettingsError, SVSError
from svs.runtime.extras import explained
from svs.runtime.streams import guarded

log = logging.getLogger("svs")

_LEVELS = ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG")
_ENDS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows has no SIGHUP


class Terminated(SystemExit):
    """Raised on SIGTERM and SIGHUP so that cleanup runs; exit code 128 + signal."""


def main(function: Callable[..., None], *arguments: Any) -> None:
    """Run `function(*arguments)` as the whole program.

    An `SVSError` is printed as one line and gives its exit code.  Ctrl-C exits
    with 130, SIGTERM with 143 and SIGHUP with 129: each is raised as an
    exception, so half-written files are removed, and then child programs are ended.
    """
    _require_utf8()
    caught = catch_termination()
    try:
        with guarded():
            _run(function, arguments)
    finally:
        for number in caught:
            signal.signal(number, signal.SIG_DFL)
        # Skips the last garbage collection, which takes a second over TensorFlow's objects.
        gc.freeze()


def _run(function: Callable[..., None], arguments: Sequence[Any]) -> None:
    """Run a function; print an error, or the end by a signal, and exit with its code."""
    level = os.environ.get("SVS_LOG") or "INFO"
    logging.basicConfig(level=level if level in _LEVELS else "INFO", format="%(message)s", stream=sys.stderr)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells of its caches
    try:
        if level not in _LEVELS:
            raise SettingsError(f"SVS_LOG={level}: expected one of {', '.join(_LEVELS)}; choose one, or unset it")
        _require_folders()
        try:
            function(*arguments)
        finally:
            sys.stdout.flush()  # a result that can't be written is an error too
    except (SVSError, ModuleNotFoundError) as error:
        told = error if isinstance(error, SVSError) else explained(error)
        if told is None:
            raise
        print(f"error: {told}", file=sys.stderr)
        sys.exit(told.exit_code)
    except (KeyboardInterrupt, Terminated) as end:
        end_children()
        said, code = ("terminated", end.code) if isinstance(end, Terminated) else ("interrupted", 130)
        print(f"{said}: run again to continue", file=sys.stderr)
        sys.exit(code)


def _require_utf8() -> None:
    """Start again in UTF-8 mode where file names of other characters than the locale's could not be written."""
    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode:
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def _require_folders() -> None:
    """Raise DataError unless the working directory and a folder for temporary files exist."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise DataError("the working directory has been removed; change to another one, and run again") from None
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        raise DataError(
            "expected a folder for temporary files, can write neither to /tmp nor to the working directory; "
            "set TMPDIR to a folder that can be written to"
        ) from None


def catch_termination() -> list[int]:
    """Let SIGTERM and SIGHUP raise `Terminated`, unless they are ignored (as under nohup); returns those caught."""
    numbers = [number for number in _ENDS if signal.getsignal(number) == signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, _terminate)
    return numbers


def _terminate(number: int, _: Any) -> None:
    # A second signal must not interrupt the cleanup.
    for each in _ENDS:
        signal.signal(each, signal.SIG_IGN)
    raise Terminated(128 + number)


def end_children() -> None:
    """Send SIGTERM to all programs below this process."""
    import psutil

    # The code that started one normally ends it, but a signal can arrive before it enters its `try` block.
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.terminate()


@contextmanager
def quietly() -> Iterator[None]:
    """Discard standard error, for the import of TensorFlow, which prints lines that no setting turns off.

    Its later warnings are advice to programmers (a graph traced again for another net), so only its errors are shown.

    Garbage collection is paused too: it costs half a second during that import.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # hides its CUDA messages, which come later too
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    collecting = gc.isenabled()
    gc.disable()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        if collecting:
            gc.enable()


def log_parameters(**groups: Any) -> None:
    """Log the parameters of a run, one line for each group."""
    for name, group in groups.items():
        log.info("%s: %s", name, group)
