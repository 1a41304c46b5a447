"""How a stage or a command runs: logging, progress, errors, exit codes."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

from threadpoolctl import threadpool_limits
from tqdm import tqdm

from svs.errors import SVSError

log = logging.getLogger("svs")

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS")


def main(function: Callable[..., None], *arguments: Any) -> None:
    """Run `function`; an `SVSError` is printed as one line and gives its exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")      # TensorFlow greets with pages of CUDA lines
    logging.basicConfig(level=os.environ.get("SVS_LOG", "INFO"), format="%(message)s", stream=sys.stderr)
    try:
        function(*arguments)
    except SVSError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted: run again to continue", file=sys.stderr)
        sys.exit(130)


@contextmanager
def quietly() -> Iterator[None]:
    """Standard error goes nowhere inside: TensorFlow greets with lines that no setting turns off.

    Only for imports: an error raised inside is an exception, not a line.
    """
    try:
        kept = os.dup(2)
    except OSError:         # there is no standard error
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


def log_parameters(**groups: Any) -> None:
    """Write the parameters of a run to the log, one line a group."""
    for name, group in groups.items():
        log.info("%s: %s", name, group)


def progress(items: Iterable, *, unit: str, total: int | None = None, desc: str | None = None) -> Iterable:
    """`items` with a progress bar that shows rate and time left, on standard error."""
    return bar(items, unit=unit, total=total, desc=desc)


def bar(items: Iterable | None = None, *, unit: str, total: float | None = None, desc: str | None = None,
        bar_format: str | None = None) -> tqdm:
    """A progress bar on standard error, over `items` or moved on by `update`."""
    # Where nobody watches (a log file), a line every half minute is enough.
    interval = 0.1 if sys.stderr.isatty() else 30.0
    # --quiet is for errors alone.
    return tqdm(items, total=total, desc=desc, unit=unit, mininterval=interval, dynamic_ncols=True,
                bar_format=bar_format, disable=log.getEffectiveLevel() >= logging.ERROR)


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def single_threaded() -> Iterator[None]:
    """Child processes started inside get one numeric thread each (museval issue 75)."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update({name: "1" for name in _THREADS})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def each_in_parallel(function: Callable[[Any], Any], items: list, *, unit: str, desc: str | None = None) -> list:
    """`function(item)` for every item, in as many processes as there are cores.

    Workers are spawned, never forked (TensorFlow and numba don't survive a
    fork), with one numeric thread each.  An `SVSError` in a worker ends the
    run and is raised here.

    Returns
    -------
    list
        Results in the order of `items`.
    """
    workers = min(cores(), len(items))
    if workers <= 1:
        # As in a worker: the last digits of a sum depend on the number of threads.
        with threadpool_limits(1):
            return [function(item) for item in progress(items, unit=unit, desc=desc)]
    results: list = [None] * len(items)
    with single_threaded(), ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(function, item): index for index, item in enumerate(items)}
        try:
            for future in progress(as_completed(futures), unit=unit, desc=desc, total=len(items)):
                results[futures[future]] = future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return results
