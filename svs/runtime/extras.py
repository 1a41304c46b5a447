"""The extras of svs: packages that parts of it need, and which one brings a package that is missing."""

from __future__ import annotations

import re
from importlib.util import find_spec

from svs.errors import UnavailableError

# What each is for.  A package of several belongs to the first.
EXTRAS = {
    "pictures": "spectrograms",
    "openunmix": "open-unmix",
    "app": "`svs app`",
    "voice": "`svs voice`",
    "rooms": "reverberation of recordings in noise",
    "pesq": "PESQ",
    "pipeline": "the pipeline",
}
_PACKAGES = {"sklearn": "scikit-learn", "torch_log_wmse": "torch-log-wmse"}  # modules that are called otherwise


def packages() -> dict[str, str]:
    """The extra of each package that svs names, or an empty string: of the core."""
    from importlib import metadata  # it takes longer to import than the rest

    lines = metadata.requires("svs") or ()
    found: dict[str, str] = {}
    for extra in ("", *EXTRAS):
        for line in lines:
            asked = re.search(r"extra == ['\"](\w+)", line)
            if (asked[1] if asked else "") == extra:
                found.setdefault(re.split(r"[^\w.-]", line)[0].lower(), extra)
    return found


def require(*modules: str) -> None:
    """Raise ModuleNotFoundError unless all modules are installed; nothing is imported."""
    for module in modules:
        if find_spec(module) is None:
            raise ModuleNotFoundError(f"{module} is not installed", name=module)


def explained(error: ModuleNotFoundError) -> UnavailableError | None:
    """What to install where a package of an extra is missing; None for any other module."""
    module = (error.name or "").partition(".")[0]
    extra = packages().get(_PACKAGES.get(module, module))
    return UnavailableError(f"{module} is not installed; pip install 'svs[{extra}]' installs it") if extra else None
