"""Work over tracks, in parallel: on this machine, or on a Dask cluster.

DASK_SCHEDULER_ADDRESS (`tcp://host:8786`) names the scheduler of a cluster, as
for every program that uses dask.distributed.  It is no parameter: everywhere one
numeric thread computes a track, so the bytes are the same.

Workers of a cluster read the data set and write results themselves.  So they
need the same code, and the same paths on a shared file system; each track
begins with a check of both.  Dask gives the tracks of a dead worker to others.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from threadpoolctl import threadpool_limits

from svs.errors import ClusterError, SVSError
from svs.runtime.files import fingerprint
from svs.runtime.process import Terminated, catch_termination, end_children, log
from svs.runtime.progress import progress_bar

ADDRESS = "DASK_SCHEDULER_ADDRESS"
_LARGE = 180.0  # s of audio in all tracks, from which on processes are worth their start (2 to 4 s on two cores)
_LIBRARIES = ("numpy", "onnxruntime", "scipy", "soundfile", "soxr", "torch", "zarr")  # the bytes depend on them
_THREADS = [f"{library}_NUM_THREADS" for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA")]
_THREADS += ["TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"]
_in_worker = False
Outcomes = Generator[tuple[int, Any], None, None]  # index and result of each item, as they come


def cores() -> int:
    """Processors that this process may use; one in a worker."""
    if _in_worker:
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limit_threads() -> None:
    """Make this process a worker with one numeric thread, for libraries loaded already and for those loaded later.

    OpenMP has a limit for each thread, so the thread that computes must call this.
    """
    global _in_worker
    _in_worker = True
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    threadpool_limits(1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def scheduler() -> str | None:
    """Address of the cluster's scheduler, if the environment names one."""
    return os.environ.get(ADDRESS, "").strip() or None


def over_tracks(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    names: Sequence[str],
    *,
    desc: str,
    seconds: Sequence[float] | None = None,
    folder: Path | None = None,
) -> list:
    """`function(item)` for every item, in parallel, each with one numeric thread.

    Threads do small work, because they start at once.  Spawned processes do
    large work, and work whose `seconds` are not given.

    Parameters
    ----------
    function : callable
        It and the items are pickled, once for each item: keep them small, and paths absolute.  Small work must
        be thread-safe, and Ctrl-C waits for the items that are being worked on.
    items : sequence
    names : sequence of str
        Name of each item in error messages.
    desc : str
        Label of the progress bar.
    seconds : sequence of float, optional
        Seconds of audio in each item.
    folder : Path, optional
        Where `function` writes.  Without it the work stays on this machine, even if a cluster is configured.

    Returns
    -------
    list
        Results in the order of `items`.

    Raises
    ------
    SVSError
        `function` raised it (the item's name is put before it), or a process was killed.
    ClusterError
        The scheduler does not answer, a worker does not fit, or workers died over an item.
    """
    calls: list[Callable] = [partial(_named, function, item, name) for item, name in zip(items, names, strict=True)]
    workers, address = min(cores(), len(calls)), scheduler()
    if calls and folder is not None and address is not None:
        outcomes = _on_cluster(address, calls, names, folder, desc)
    elif workers <= 1:
        outcomes = ((index, call()) for index, call in enumerate(calls))
    elif seconds is not None and sum(seconds) < _LARGE:
        outcomes = _in_pool(partial(ThreadPoolExecutor, workers, "svs", threadpool_limits, (1,)), calls, desc)
    else:  # spawned: TensorFlow and numba don't survive a fork
        pool = partial(ProcessPoolExecutor, workers, multiprocessing.get_context("spawn"), _start_process)
        outcomes = _in_pool(pool, [partial(_in_process, call) for call in calls], desc)
    results: list = [None] * len(calls)
    unit, amounts = ("track", [1] * len(calls)) if seconds is None else ("s", [max(1, round(one)) for one in seconds])
    # The last digits of a sum depend on the number of threads, so there is one here too.
    with closing(outcomes), threadpool_limits(1), progress_bar(unit=unit, desc=desc, total=sum(amounts)) as bar:
        for index, result in outcomes:
            results[index] = result
            bar.update(amounts[index])
    return results


def _named(function: Callable[[Any], Any], item: Any, name: str) -> Any:
    """`function(item)`; an error names the item."""
    try:
        return function(item)
    except SVSError as error:
        if name in str(error):
            raise
        raise type(error)(f"{name}: {error}") from None
    except Exception as error:
        if hasattr(error, "add_note"):  # since Python 3.11
            error.add_note(f"while at work on {name}")
        raise


def _in_pool(start: Callable[[], Executor], calls: list[Callable], desc: str) -> Outcomes:
    """Results of calls in threads or processes."""
    # A terminal sends Ctrl-C and hangups to all its processes.  Those that start here inherit the mask, so that
    # only this one gets them; it ends its workers itself.
    restore = _blocked("SIGHUP")
    pool = start()  # SIGINT is unblocked in it
    try:
        _blocked("SIGINT")
        futures = {pool.submit(call): index for index, call in enumerate(calls)}
        restore()
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool:
        kept = "what is finished is kept: run again to continue"
        raise SVSError(f"{desc}: a process died (killed for want of memory?); {kept}") from None
    except (KeyboardInterrupt, Terminated, GeneratorExit):
        for child in multiprocessing.active_children():
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _blocked(*names: str) -> Callable[[], object]:
    """Block signals in this thread, but not on Windows, which can't; returns what restores those blocked before."""
    if not hasattr(signal, "pthread_sigmask"):
        return lambda: None
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {getattr(signal, name) for name in names})
    return partial(signal.pthread_sigmask, signal.SIG_SETMASK, before)


def _start_process() -> None:
    catch_termination()
    limit_threads()


def _in_process(call: Callable) -> Any:
    try:
        return call()
    except Terminated as end:
        # Cleanup is done; the pool would now start the next item.
        end_children()
        os._exit(int(end.code or 1))


def _on_cluster(address: str, calls: list[Callable], names: Sequence[str], folder: Path, desc: str) -> Outcomes:
    """Results of calls on the workers of a cluster."""
    # joblib's Dask backend would be shorter, but it waits for ever for an item that killed its workers.
    from distributed import CancelledError, Client, KilledWorker, as_completed
    from distributed.comm import parse_host_port

    for logger in ("asyncio", "distributed", "distributed.client", "tornado"):
        logging.getLogger(logger).setLevel(logging.CRITICAL)  # errors are raised below, as one line each
    try:
        # Where nobody answers, a Client now and then waits for ever, whatever its timeout.
        place = parse_host_port(address.rpartition("://")[2], default_port=8786)
        socket.create_connection(place, timeout=5).close()
        client = Client(address, timeout=5, set_as_default=False)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        todo = f"start one (`dask scheduler`), or unset {ADDRESS} to work on this machine alone"
        raise ClusterError(f"{ADDRESS}={address}: no scheduler of Dask answers there ({reason}); {todo}") from None
    folder.mkdir(parents=True, exist_ok=True)
    # A worker that sees this file sees the folder; `svs.runtime.files.publish` leaves out what has this ending.
    with client, NamedTemporaryFile(dir=folder.absolute(), suffix=".unfinished") as token:
        if not client.scheduler_info()["workers"]:
            hint = f"waiting (`dask worker {address}` starts one)"
            log.warning("%s: the scheduler %s has no workers yet; %s", desc, address, hint)
        there = partial(_on_worker, token=Path(token.name), code=_code())
        futures = {client.submit(there, call, pure=False): index for index, call in enumerate(calls)}
        try:
            for future in as_completed(futures, loop=client.loop):
                yield futures[future], future.result()
        except KilledWorker as error:
            died = f"{error.allowed_failures + 1} workers died over it, the last at {error.last_worker.address}"
            todo = "see their logs (memory?), then run again to continue"
            raise ClusterError(f"{names[futures[future]]}: {died}; {todo}") from None
        except CancelledError:
            kept = "what is finished is kept: start it and run again to continue"
            raise ClusterError(f"the scheduler {address} was lost; {kept}") from None
        except Exception as error:
            # Errors of the work itself are an SVSError or have a note.
            if isinstance(error, SVSError) or hasattr(error, "__notes__"):
                raise
            todo = "start the workers in this environment"
            raise ClusterError(f"{names[futures[future]]}: a worker can't run this code ({error}); {todo}") from None
        finally:
            # After an error or Ctrl-C no track is started any more; the running ones end by themselves.
            if client.status == "running":
                client.cancel([future for future in futures if not future.done()], force=True)


@cache
def _code() -> dict[str, str]:
    """What the bytes depend on: svs's code and the versions of libraries.

    Cached, so that a worker tells what it has loaded, not what was edited since.
    """
    return {"svs": fingerprint()} | {library: metadata.version(library) for library in _LIBRARIES}


def _on_worker(call: Callable, token: Path, code: dict[str, str]) -> Any:
    """One call, on a worker of the cluster that has the same code and sees the folder of results."""
    host, ours = socket.gethostname(), _code()
    if differing := [f"{name} {ours[name]} instead of {code[name]}" for name in code if ours[name] != code[name]]:
        todo = "give it the same code and environment, and start it again"
        raise ClusterError(f"a worker on {host} runs other code: {', '.join(differing)}; {todo}")
    if not token.exists():
        needed = "the workers need the project and its data under the same paths (a shared file system)"
        raise ClusterError(f"a worker on {host} does not see the folder {token.parent}; {needed}")
    limit_threads()
    try:
        return call()
    except SVSError as error:
        raise type(error)(f"{error} (on {host})") from None
