"""TEMPORARY: the old names."""

from svs.runtime import parallel
from svs.runtime.parallel import ADDRESS, scheduler  # noqa: F401


def over_tracks(function, items, names, folder, *, unit, desc, amounts=None):
    return parallel.over_tracks(function, items, names, desc=desc, seconds=amounts, folder=folder)
