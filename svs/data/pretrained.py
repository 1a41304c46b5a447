"""Pretrained weights of other projects: where svs finds them.

A file is taken from a folder of the repository that the user may fill (`models/weights/METHOD`), else from the cache
(`cache()`).  Otherwise it is downloaded into the cache, and its checksum is verified.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pooch

from svs.errors import FetchError, UnavailableError
from svs.runtime.download import download as fetch
from svs.runtime.download import offline
from svs.runtime.files import sha256

log = logging.getLogger("svs")


@dataclass(frozen=True)
class Remote:
    """A file of weights and the address where its authors publish it."""

    name: str  # of the file
    url: str
    sha256: str  # hex digest, or its first digits where only those are published


def cache() -> Path:
    """The folder of downloaded weights: `$SVS_WEIGHTS`, or `weights` in the user's cache folder of svs."""
    named = os.environ.get("SVS_WEIGHTS")
    return Path(named).expanduser() if named else Path(pooch.os_cache("svs")) / "weights"


def find_weights(method: str, remotes: Sequence[Remote], folder: Path, *, download: bool = True) -> list[Path]:
    """Find the files of a method's weights; download those that are missing.

    Parameters
    ----------
    method : str
        Names the folder inside the cache, and appears in messages.
    remotes : sequence of Remote
    folder : Path
        Files that the user supplied.  They need not have the published checksums.
    download : bool
        Whether to download what is missing.  `SVS_OFFLINE=1` forbids it.

    Returns
    -------
    list of Path
        One for each of `remotes`.

    Raises
    ------
    UnavailableError
        A file is in neither place and can't be downloaded.
    """
    folder, cached = Path(folder), cache() / method
    paths = []
    for remote in remotes:
        own, kept = folder / remote.name, cached / remote.name
        if own.is_file():
            came = sha256([own])[: len(remote.sha256)]
            if came != remote.sha256:
                log.info(
                    "%s: %s is not the published file (sha256 %s..., published %s); using it all the same",
                    method,
                    own,
                    came,
                    remote.sha256,
                )
        elif not kept.is_file():
            try:
                if offline():
                    raise FetchError(f"{remote.url}: SVS_OFFLINE is set")
                if not download:
                    raise FetchError(f"{remote.url}: downloading is switched off")
                fetch(remote.url, f"sha256:{remote.sha256}", cached, remote.name)
            except FetchError as error:
                raise UnavailableError(
                    f"{method}: {remote.name} is neither in {folder} nor in {cached}, and could not be downloaded "
                    f"({error}); put it into {folder}, or name a folder with --weights / SVS_WEIGHTS"
                ) from None
        paths.append(own if own.is_file() else kept)
    return paths
