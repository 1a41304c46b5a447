"""Progress bars with a rate and the time left."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

log = logging.getLogger("svs")


def log_parameters(**groups: Any) -> None:
    """Write the parameters of a run to the log, one line a group."""
    for name, group in groups.items():
        log.info("%s: %s", name, group)


def progress(items: Iterable, *, unit: str, total: int | None = None, desc: str | None = None) -> Iterable:
    """`items` with a progress bar that shows rate and time left, on standard error."""
    return bar(items, unit=unit, total=total, desc=desc)


def bar(
    items: Iterable | None = None,
    *,
    unit: str,
    total: float | None = None,
    desc: str | None = None,
    bar_format: str | None = None,
) -> tqdm:
    """A progress bar on standard error, over `items` or moved on by `update`."""
    # Where nobody watches (a log file), a line every half minute is enough.
    interval = 0.1 if sys.stderr.isatty() else 30.0
    # --quiet is for errors alone.
    return tqdm(
        items,
        total=total,
        desc=desc,
        unit=unit,
        mininterval=interval,
        dynamic_ncols=True,
        bar_format=bar_format,
        disable=log.getEffectiveLevel() >= logging.ERROR,
    )
