"""How a stage or a command runs: logging, progress, errors, exit codes."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from svs.errors import SVSError

log = logging.getLogger("svs")


class Terminated(SystemExit):
    """Raised where a signal ends the process, so that what has to be cleared away is; its code is 128 + the signal."""


def main(function: Callable[..., None], *arguments: Any) -> None:
    """Run `function`; an `SVSError` is printed as one line and gives its exit code.

    Ctrl-C ends with 130, SIGTERM with 143 and SIGHUP with 129, like an error: what was half-written is removed and
    programs that were started are ended.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow greets with pages of CUDA lines
    logging.basicConfig(level=os.environ.get("SVS_LOG", "INFO"), format="%(message)s", stream=sys.stderr)
    try:
        with _terminable():
            function(*arguments)
    except SVSError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted: run again to continue", file=sys.stderr)
        sys.exit(130)
    except Terminated:
        with suppress(OSError):  # a terminal that is closed
            print("terminated: run again to continue", file=sys.stderr)
        raise
    finally:
        # A process that ends looks through all of TensorFlow's objects for cycles, which takes a second.
        gc.freeze()


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM and SIGHUP, where they would kill, raise `Terminated` inside; once."""
    numbers = [
        number
        for number in (signal.SIGTERM, getattr(signal, "SIGHUP", None))
        if number and signal.getsignal(number) == signal.SIG_DFL
    ]  # nohup has SIGHUP ignored
    if threading.current_thread() is not threading.main_thread():
        numbers = []

    def end(number: int, _: Any) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)  # a second one would end the clearing away
        raise Terminated(128 + number)

    for number in numbers:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def unbroken(undo: Callable[[], Any]) -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP wait until the end of the block, then for `undo`.

    For the start of a program: a signal that came after it ran and before anybody knew of it would leave it behind.

    Parameters
    ----------
    undo : callable
        Called where a signal came and the block itself did not fail, before what the signal raises is raised.
    """
    came: list[tuple[int, Any]] = []
    handlers: dict[int, Any] = {}
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []  # signals are the main thread's
    done = False
    try:
        for number in numbers:
            if callable(signal.getsignal(number)):
                handlers[number] = signal.signal(number, lambda *what: came.append(what))
        yield
        done = True
    finally:
        if came and done:
            undo()
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if came:
            number, frame = came[0]
            handlers[number](number, frame)


@contextmanager
def quietly() -> Iterator[None]:
    """Standard error goes nowhere inside: TensorFlow greets with lines that no setting turns off.

    Only for imports: an error raised inside is an exception, not a line.  Nor
    is rubbish looked for among what they make, which takes TensorFlow's half a second.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        with _silence():
            yield
    finally:
        if collecting:
            gc.enable()


@contextmanager
def _silence() -> Iterator[None]:
    try:
        kept = os.dup(2)
    except OSError:  # there is no standard error
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
