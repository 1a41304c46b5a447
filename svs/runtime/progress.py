"""Progress on standard error."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

from svs.runtime.process import log


def progress_bar(items: Iterable | None = None, *, unit: str, **options: Any) -> tqdm:
    """A progress bar with rate and time left, over `items` or advanced by `update`; options are those of `tqdm`."""
    # In a log file one line every half minute is enough.
    interval = 0.1 if sys.stderr.isatty() else 30.0
    # --quiet shows errors only.
    quiet = log.getEffectiveLevel() >= logging.ERROR
    return tqdm(items, unit=unit, mininterval=interval, dynamic_ncols=True, disable=quiet, **options)


def advance(bar: tqdm, amount: float) -> None:
    """Move a bar on, at most to its total: a sum of parts may exceed it by rounding."""
    bar.n = bar.n + amount if bar.total is None else min(bar.n + amount, bar.total)
    bar.update(0)
