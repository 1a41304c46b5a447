"""svs: a reproducible pipeline for singing voice separation.

`svs.separate(audio, rate, method=...)` separates an array; `svs.services.recordings` has
the rest of what the command `svs` does.
"""

__version__ = "0.1.0"


def __getattr__(name: str):
    # Not at import: the methods bring in half of the scientific stack.
    if name == "separate":
        from svs.api import separate

        return separate
    raise AttributeError(f"module 'svs' has no attribute {name!r}")
