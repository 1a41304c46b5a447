"""Pretrained weights of others: where they are looked for, and how they are got.

A file is taken from the folder of the repository that a person may fill
(`models/weights/METHOD`), else from the cache (`cache()`), else it is
downloaded into the cache, its checksum verified.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pooch
import requests

from svs.errors import FetchError, UnavailableError
from svs.runtime import download as data_download
from svs.runtime.files import sha256

try:
    import fcntl
except ImportError:  # Windows: a second process is then told that the file is being downloaded
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger("svs")

CONNECT_S = 5.0  # per address of the server
REACH_S = 15.0  # in all, the look-up of the name included


@dataclass(frozen=True)
class Remote:
    """A file of weights and where its authors publish it.

    Parameters
    ----------
    name : str
        File name.
    url : str
    sha256 : str
        Hex digest, or its first digits (at least 8) where only those are published.
    """

    name: str
    url: str
    sha256: str

    def __post_init__(self):
        if not re.fullmatch("[0-9a-f]{8,64}", self.sha256):
            raise ValueError(f"{self.name}: expected 8 to 64 hex digits of a sha256, got {self.sha256!r}")


def cache() -> Path:
    """Where downloaded weights are kept: `$SVS_WEIGHTS`, or `weights` in the user's cache folder of svs."""
    named = os.environ.get("SVS_WEIGHTS")
    return Path(named).expanduser() if named else Path(pooch.os_cache("svs")) / "weights"


def find_weights(method: str, remotes: Sequence[Remote], folder: Path, *, download: bool = True) -> list[Path]:
    """The files of a method's weights, downloaded where need be.

    Parameters
    ----------
    method : str
        Names the folder inside the cache, and appears in messages.
    remotes : sequence of Remote
    folder : Path
        What a person supplied; its files need not have the published checksums.
    download : bool
        Whether to download what is missing.  `SVS_OFFLINE=1` forbids it.

    Returns
    -------
    list of Path
        One for each of `remotes`.

    Raises
    ------
    UnavailableError
        A file is in none of the places and can't be downloaded.
    """
    folder, cached = Path(folder), cache() / method
    if os.environ.get("SVS_OFFLINE", "0") not in ("", "0"):
        refusal = "SVS_OFFLINE is set"
    else:
        refusal = "" if download else "downloading is switched off"
    paths = []
    for remote in remotes:
        own, kept = folder / remote.name, cached / remote.name
        if own.is_file():
            _compare(method, remote, own)
        elif not kept.is_file():
            try:
                if refusal:
                    raise FetchError(refusal)
                _fetch(remote, kept)
            except (FetchError, OSError) as error:
                reason = " ".join(str(error).split())
                raise UnavailableError(
                    f"{method}: {remote.name} is neither in {folder} nor in {cached}, and could not be downloaded from "
                    f"{remote.url} ({reason}); put it into {folder}, or name a folder with --weights / SVS_WEIGHTS"
                ) from None
        paths.append(own if own.is_file() else kept)
    return paths


def _compare(method: str, remote: Remote, path: Path) -> None:
    came = sha256([path])
    if not came.startswith(remote.sha256):
        log.info(
            "%s: %s is not the published file (sha256 %s..., published %s); using it all the same",
            method,
            path,
            came[: len(remote.sha256)],
            remote.sha256,
        )


def _fetch(remote: Remote, target: Path) -> None:
    """Download a file, verify it, and only then give it its name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone(target.parent):
        if target.is_file():  # another process was faster
            return
        reach(remote.url)
        arrived = target.with_name(f".{target.name}.verified")
        with _PublishedDigits(target.with_name(f"{target.name}.part"), remote.sha256) as fetcher:
            fetcher(remote.url, arrived)
            os.replace(arrived, target)


class _PublishedDigits(data_download.ResumingDownloader):
    """A resuming download whose sha256 must begin with the published digits."""

    def __init__(self, part: Path, digits: str):
        super().__init__(part, "sha256:" + digits.ljust(64, "0"))
        self.known_hash = f"sha256:{digits}"

    def _checksum(self) -> str:
        came = super()._checksum()
        return self.known_hash if came.startswith(self.known_hash) else came


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait for other processes that download into the folder."""
    with open(folder / ".lock", "w") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def reach(url: str) -> None:
    """Ask the server for the file without taking it: a machine without a network learns so in seconds.

    A download is more patient with a server that is there.  In a thread,
    because nothing else bounds the look-up of a name.

    Raises
    ------
    FetchError
        The server does not answer.
    """
    said: list[str] = []

    def ask() -> None:
        try:
            requests.get(url, stream=True, timeout=(CONNECT_S, REACH_S)).close()
            said.append("")
        except Exception as error:  # whatever it is: the thread has nobody else to tell
            said.append(data_download._reason(error))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(REACH_S)
    if not said:
        raise FetchError(f"no answer within {REACH_S:g} s")
    if said[0]:
        raise FetchError(said[0])
