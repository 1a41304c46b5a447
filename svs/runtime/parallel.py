"""Work on many items in threads or processes, one numeric thread each."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from typing import Any

from threadpoolctl import threadpool_limits
from tqdm import tqdm

from svs.errors import SVSError
from svs.runtime.process import Terminated
from svs.runtime.progress import bar

_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


_most_cores: int | None = None  # in a worker: one


def cores() -> int:
    """Processors that this process may use."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, _most_cores or allowed)


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


def stay_single_threaded() -> None:
    """One numeric thread in this process from now on, for libraries that are loaded and for those that will be.

    For the process of a worker, which does the same again for every track:
    OpenMP's limit is one of each thread.
    """
    global _most_cores
    _most_cores = 1
    os.environ.update({name: "1" for name in _THREADS})
    threadpool_limits(1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


# Cores up to which threads do as well as processes; with more of them they would wait for Python's lock.
_FEW_CORES = 4


def each_in_parallel(
    function: Callable[[Any], Any],
    items: list,
    *,
    unit: str,
    desc: str | None = None,
    amounts: Sequence[float] | None = None,
    worth: float = 0.0,
    threads: bool = False,
) -> list:
    """`function(item)` for every item, on as many processors as there are, each with one numeric thread.

    Processes are spawned, never forked (TensorFlow and numba don't survive a
    fork).  An `SVSError` in one of them ends the run and is raised here.

    Parameters
    ----------
    function : callable
        It and the items are pickled.
    items : list
    unit, desc : str
        For the progress bar.
    amounts : sequence of float, optional
        How much of `unit` each item is (one, when not given).
    worth : float
        Seconds that processes must save to be started.  Until so much work is
        seen to be left, items are done here.
    threads : bool
        `function` spends its time in other programs and in libraries that let go
        of Python's lock: on few cores threads will do, which cost nothing to start.

    Returns
    -------
    list
        Results in the order of `items`.

    Raises
    ------
    SVSError
        As raised by `function`; or a process was killed.
    """
    amounts = [1] * len(items) if amounts is None else amounts
    results: list = [None] * len(items)
    workers = min(cores(), len(items))
    with bar(unit=unit, desc=desc, total=sum(amounts)) as moving:
        if threads and workers > 1 and cores() <= _FEW_CORES:
            busy: set[int] = set()
            # OpenMP's limit is one of each thread.
            with threadpool_limits(1), ThreadPoolExecutor(workers, "svs", threadpool_limits, (1,)) as pool:
                _gather(
                    pool,
                    partial(_known_busy, function, busy),
                    items,
                    results,
                    amounts,
                    moving,
                    0,
                    partial(_interrupt_threads, busy),
                )
            return results
        done = _here(function, items, results, amounts, moving, workers, worth)
        workers = min(cores(), len(items) - done)
        if not workers:
            return results
        with single_threaded(), ProcessPoolExecutor(workers, get_context("spawn"), _start_child) as pool:
            try:
                _gather(pool, partial(_unless_ended, function), items, results, amounts, moving, done, _end_processes)
            except BrokenProcessPool:
                raise SVSError(
                    f"{desc or 'work'}: a process died (killed for want of memory?); what is finished is "
                    "kept: run again to continue"
                ) from None
    return results


def _gather(
    pool: Executor,
    function: Callable[[Any], Any],
    items: list,
    results: list,
    amounts: Sequence[float],
    moving: tqdm,
    done: int,
    interrupt: Callable[[Executor], None],
) -> None:
    """All items from number `done` on through a pool; after an error nothing more is begun."""
    futures = {pool.submit(function, item): index for index, item in enumerate(items) if index >= done}
    try:
        for future in as_completed(futures):
            results[futures[future]] = future.result()
            moving.update(amounts[futures[future]])
    except (KeyboardInterrupt, Terminated):
        interrupt(pool)
        pool.shutdown(cancel_futures=True)
        raise
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise


def _end_processes(pool: ProcessPoolExecutor) -> None:
    for child in list(pool._processes.values()):
        child.terminate()


def _known_busy(function: Callable[[Any], Any], busy: set[int], item: Any) -> Any:
    busy.add(threading.get_ident())
    try:
        return function(item)
    finally:
        busy.discard(threading.get_ident())


def _interrupt_threads(busy: set[int], pool: ThreadPoolExecutor) -> None:
    # Ctrl-C is raised in the main thread alone; the others clean up only where it is raised in them too.
    pool.shutdown(wait=False, cancel_futures=True)
    for thread in list(busy):
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(KeyboardInterrupt))


def _here(
    function: Callable[[Any], Any],
    items: list,
    results: list,
    amounts: Sequence[float],
    moving: tqdm,
    workers: int,
    worth: float,
) -> int:
    """Do items in this process for as long as others would not pay; returns how many."""
    if workers > 1 and worth <= 0:
        return 0
    fastest, first = float("inf"), 0.0  # s for one of `unit`; s for the first item
    # As in a worker: the last digits of a sum depend on the number of threads.
    with threadpool_limits(1):
        for index, item in enumerate(items):
            saved = fastest * sum(amounts[index:]) * (1 - 1 / workers)
            # The first item pays for imports too, so a quick one says little.
            if workers > 1 and index and saved > worth and (index > 1 or first > worth):
                return index
            start = time.perf_counter()
            results[index] = function(item)
            took = time.perf_counter() - start
            first = first if index else took
            fastest = min(fastest, took / max(amounts[index], 1e-9))
            moving.update(amounts[index])
    return len(items)


_ended = False


def _start_child() -> None:
    # Ctrl-C reaches all processes of a terminal; ours tells its children to clean up and end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)


def _end(*_: Any) -> None:
    global _ended
    _ended = True
    sys.exit(1)


def _unless_ended(function: Callable[[Any], Any], item: Any) -> Any:
    # A child that was told to end finds one more item in its queue.
    if _ended:
        sys.exit(1)
    return function(item)
