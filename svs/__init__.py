"""svs: a reproducible pipeline for singing voice separation.

`svs.load(method)` builds a method that separates arrays; `svs.separate(audio, rate)` separates one with the default.
`svs.services` has what the command `svs` does.
"""

import os
from typing import TYPE_CHECKING, Any

from svs.runtime import caches

if TYPE_CHECKING:
    from svs.api import load, separate

__all__ = ["load", "separate"]
__version__ = "0.1.0"  # the only place but CITATION.cff; a tag vX.Y.Z must agree (.github/workflows/release.yml)

caches.provide()  # before anything imports numba or matplotlib
# Likewise before ONNX Runtime, which from 1.32 on sends Microsoft what it runs, with a lasting number of the machine.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> Any:
    # Imported on first use: the methods import half of the scientific stack.
    if name in __all__:
        from svs import api

        return getattr(api, name)
    raise AttributeError(f"module 'svs' has no attribute {name!r}")
