"""Tracks fan out: over the workers of a Dask cluster where one is named, otherwise over threads or processes here.

DASK_SCHEDULER_ADDRESS names the cluster's scheduler (`tcp://host:8786`), as it
does for every program that uses dask.distributed; its other settings
(certificates, timeouts) are Dask's own too.  It is no parameter of the
pipeline, since the results are the same bytes: every track is worked on by one
thread, wherever that is.

Workers write what they make into a folder, so they must see it, and the data
set, under the same paths: a file system that all machines share.  That, and
that they run the same code, is looked at before a track is begun.

Dask gives the tracks of a worker that dies to others; a track in whose company
more than `distributed.scheduler.allowed-failures` (3) workers died is given
up.  What is finished stays finished, so the same command goes on from there.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from svs.errors import ClusterError, SVSError
from svs.runtime.files import fingerprint
from svs.runtime.parallel import each_in_parallel, stay_single_threaded
from svs.runtime.process import log
from svs.runtime.progress import bar

if TYPE_CHECKING:
    from distributed import Client

ADDRESS = "DASK_SCHEDULER_ADDRESS"
# s in which a scheduler answers: those of a cluster do in milliseconds.
_PATIENCE = 10
# s that processes must save to be started: they import as much as this one did, all at the same time.
_WORTH = 5.0
# Their versions decide on the bytes.
_LIBRARIES = ("librosa", "numpy", "scipy", "soundfile", "soxr", "torch", "zarr")


def scheduler() -> str | None:
    """Address of the cluster's scheduler, where the environment names one."""
    return os.environ.get(ADDRESS, "").strip() or None


def over_tracks(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    names: Sequence[str],
    folder: Path,
    *,
    unit: str,
    desc: str,
    amounts: Sequence[float] | None = None,
) -> list:
    """`function(item)` for every item: on the workers of the cluster, or in threads or processes here.

    Parameters
    ----------
    function : callable
        It and the items are pickled, once for each item: what is large does
        not belong into them, and paths must be absolute.
    items : sequence
    names : sequence of str
        What each item is called in an error.
    folder : Path
        Where `function` writes.
    unit, desc : str
        For the progress bar.
    amounts : sequence of float, optional
        How much of `unit` each item is (one, when not given).

    Returns
    -------
    list
        Results in the order of `items`.

    Raises
    ------
    SVSError
        As raised by `function`, with the item's name.
    ClusterError
        The scheduler can't be reached or was lost, workers don't see `folder`
        or run other code, or died over an item.
    """
    pairs = list(zip(names, items, strict=True))
    amounts = [1] * len(pairs) if amounts is None else [max(1, round(amount)) for amount in amounts]
    address = scheduler()
    if address is None:
        return each_in_parallel(
            partial(_named, function), pairs, unit=unit, desc=desc, amounts=amounts, worth=_WORTH, threads=True
        )
    # A run that finds all its tracks finished needs no cluster.
    return _on_cluster(address, function, pairs, folder, unit, desc, amounts) if pairs else []


def _named(function: Callable[[Any], Any], pair: tuple[str, Any]) -> Any:
    """`function` of one item; an error says which."""
    name, item = pair
    try:
        return function(item)
    except SVSError as error:
        if name in str(error):
            raise
        raise type(error)(f"{name}: {error}") from None
    except Exception as error:
        error.add_note(f"while at work on {name}")
        raise


# The cluster


def _on_cluster(
    address: str,
    function: Callable[[Any], Any],
    pairs: list[tuple[str, Any]],
    folder: Path,
    unit: str,
    desc: str,
    amounts: Sequence[float],
) -> list:
    from distributed import CancelledError, KilledWorker, as_completed

    results: list = [None] * len(pairs)
    with (
        _connected(address) as client,
        _token(folder) as token,
        bar(unit=unit, desc=desc, total=sum(amounts)) as moving,
    ):
        if not client.scheduler_info()["workers"]:
            log.warning(
                "%s: the scheduler %s has no workers yet; waiting (`dask worker %s` starts one)", desc, address, address
            )
        run, packed = uuid.uuid4().hex[:8], pickle.dumps(partial(_named, function))
        futures = {
            client.submit(
                _on_worker,
                packed,
                pickle.dumps(pair),
                token,
                _code(),
                pure=False,
                key=f"{desc}: {pair[0]}-{run}-{index}",
            ): index
            for index, pair in enumerate(pairs)
        }
        try:
            for future in as_completed(futures, loop=client.loop):
                index = futures[future]
                try:
                    results[index] = future.result()
                except KilledWorker as error:
                    raise ClusterError(
                        f"{pairs[index][0]}: {error.allowed_failures + 1} workers died over it, the "
                        f"last at {error.last_worker.address}; see their logs (memory?), then run again "
                        "to continue"
                    ) from None
                except CancelledError:
                    raise ClusterError(
                        f"the scheduler {address} was lost; what is finished is kept: start it and "
                        "run again to continue"
                    ) from None
                except (ImportError, AttributeError, pickle.UnpicklingError) as error:
                    if not _of_another_environment(error):
                        raise
                    raise ClusterError(
                        f"{pairs[index][0]}: a worker can't run this code ({error}); start the workers "
                        "in this environment"
                    ) from None
                moving.update(amounts[index])
        finally:
            # After an error or Ctrl-C nothing more is begun; what runs ends as a track that nobody waits for.
            if client.status == "running":
                client.cancel([future for future in futures if not future.done()], force=True)
    return results


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    from distributed import Client
    from distributed.comm import get_address_host_port, parse_address

    # What goes wrong is said below in one line.
    for name in ("asyncio", "distributed", "distributed.client", "tornado"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        if parse_address(address)[0] in ("tcp", "tls"):
            # Dask's own connection is tried again and again; this one says at once that nobody listens.
            socket.create_connection(get_address_host_port(address, strict=True), _PATIENCE).close()
        client = Client(address, timeout=_PATIENCE, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise ClusterError(
            f"{ADDRESS}={address}: no scheduler of Dask answers there ({_line(error)}); start one "
            f"(`dask scheduler`), or unset {ADDRESS} to work on this machine alone"
        ) from None
    try:
        yield client
    finally:
        client.close(timeout=_PATIENCE)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def _token(folder: Path) -> Iterator[Path]:
    """A file by which a worker knows that it sees the folder."""
    # With the ending of what `svs.runtime.files.publish` leaves out.
    path = folder.absolute() / f".{uuid.uuid4().hex}.unfinished"
    folder.mkdir(parents=True, exist_ok=True)
    path.touch()
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


@cache
def _code() -> dict[str, str]:
    """What the bytes depend on here: svs's code and the versions of the libraries under it.

    Cached, so that a worker says what it has loaded, not what has been edited since.
    """
    found = {"svs": fingerprint()}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = "missing"
    return found


def _of_another_environment(error: BaseException) -> bool:
    """Whether an error comes from taking the task out of its wrapping, not from the work."""
    frames, trace = [], error.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    return _named.__name__ not in frames


def _on_worker(packed: bytes, pair: bytes, token: Path, code: dict[str, str]) -> Any:
    """One item, on a worker."""
    here, ours = socket.gethostname(), _code()
    differing = [
        f"{name} {ours.get(name)} instead of {wanted}" for name, wanted in code.items() if ours.get(name) != wanted
    ]
    if differing:
        raise ClusterError(
            f"a worker on {here} runs other code: {', '.join(differing)}; give it the same code and "
            "environment, and start it again"
        )
    if not token.exists():
        raise ClusterError(
            f"a worker on {here} does not see the folder {token.parent}; the workers need the project "
            "and its data under the same paths (a shared file system)"
        )
    stay_single_threaded()
    try:
        return pickle.loads(packed)(pickle.loads(pair))
    except SVSError as error:
        raise type(error)(f"{error} (on {here})") from None
