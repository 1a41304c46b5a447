"""What workers run in the tests of parallel work: a module that is imported quickly."""

import os
import signal
import time

from svs.errors import DataError
from svs.runtime import parallel
from svs.runtime.files import written
from svs.runtime.parallel import over_tracks


def twice(number):
    return 2 * number


def broken(item):
    if item == "b":
        raise DataError("it is broken; mend it")
    return item


def defective(item):
    raise ZeroDivisionError(item)


def threads(_):
    import numpy  # noqa: F401
    from threadpoolctl import threadpool_info

    return (
        {pool["num_threads"] for pool in threadpool_info()},
        os.environ.get("OMP_NUM_THREADS"),
        parallel.cores(),
        os.getpid(),
    )


def deadly(item):
    os.kill(os.getpid(), signal.SIGKILL)


def patient(item):
    time.sleep(0.2)
    return item


def spread(function, items, folder):
    """Counted work, which is for processes on one machine."""
    return over_tracks(function, items, [f"track {item}" for item in items], desc="test", folder=folder)


def spread_small(function, items):
    """Few seconds of audio, which are for threads on one machine."""
    return over_tracks(function, items, [f"track {item}" for item in items], desc="test", seconds=[1] * len(items))


def slow_first(item):
    if item == 0:
        time.sleep(0.5)
    return item, os.getpid()


def half_written(folder, item):
    with written(folder / f"{item}.txt") as temporary:
        temporary.write_text("half")
        os.write(1, b"%d\n" % os.getpid())  # in one piece: two of them write at once
        time.sleep(60)
