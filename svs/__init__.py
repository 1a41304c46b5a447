"""svs: a reproducible pipeline for singing voice separation.

`svs.separate(audio, rate, method=...)` separates an array.  `svs.services` has what the command `svs` does.
"""

from typing import Any

from svs.runtime import caches

__version__ = "0.1.0"

caches.provide()  # before anything imports numba or matplotlib


def __getattr__(name: str) -> Any:
    # Imported on first use: the methods import half of the scientific stack.
    if name == "separate":
        from svs.api import separate

        return separate
    raise AttributeError(f"module 'svs' has no attribute {name!r}")
