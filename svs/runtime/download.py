"""Download files with a known checksum, and unpack zip archives.

What `download` and `unpack` make is complete or absent.  An error is one line in a `svs.errors.FetchError`.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import pooch
import requests
from filelock import FileLock, Timeout

from svs.errors import FetchError
from svs.runtime.files import written
from svs.runtime.progress import progress_bar

log = logging.getLogger("svs")

PIECE_BYTES = 1 << 16
CONNECT_TIMEOUT_S = 5.0  # per address of the server: an offline machine fails fast
READ_TIMEOUT_S = 30.0
RETRIES = 5
BACKOFF_S = 2.0  # before the first retry, doubled for each more: a minute together

_BUSY = (408, 425, 429, 500, 502, 503, 504)


def offline() -> bool:
    """Whether the environment variable SVS_OFFLINE forbids downloads (any value but 0 and the empty one)."""
    return os.environ.get("SVS_OFFLINE", "0") not in ("", "0")


def download(url: str, known_hash: str | None, folder: Path, filename: str | None = None, *, hint: str = "") -> Path:
    """Download a file into a folder, unless it is there already.

    An interrupted download leaves ``<filename>.part`` in the folder.  The next call resumes it with an HTTP range
    request; the checksum of the complete file decides whether the two parts fit together.  A second process that
    downloads into the same folder waits.

    Parameters
    ----------
    url : str
        An http or https address.
    known_hash : str or None
        ``"md5:..."`` or ``"sha256:..."``, or only its first digits.  None checks nothing and resumes nothing: the
        caller checks the content.
    folder : Path
        Created if it is missing.
    filename : str, optional
        Name in the folder; by default the last part of the URL's path.
    hint : str, optional
        Appended to error messages, for example how to supply the data by hand.

    Returns
    -------
    Path
        The file, absolute.

    Raises
    ------
    FetchError
        The server can't be reached, refuses or keeps breaking off; the checksum is wrong; or the disk can't be written.
    """
    folder = Path(folder).expanduser().resolve()
    destination = folder / (filename or PurePosixPath(unquote(urlsplit(url).path)).name)
    part = destination.with_name(f"{destination.name}.part")
    algorithm, _, digits = (known_hash or "").partition(":")
    with _alone(folder, f"cannot download {_shown(url)} to {destination}", hint):
        if destination.is_file():
            if known_hash is None or pooch.file_hash(destination, algorithm).startswith(digits):
                return destination
            log.warning("%s: the file that is there has another checksum; downloading it again", destination)
        if known_hash is None:
            part.unlink(missing_ok=True)
        _transfer(url, part)
        log.info("%s: computing its checksum", destination.name)
        if known_hash and not (came := pooch.file_hash(part, algorithm)).startswith(digits):
            part.unlink()
            raise FetchError(
                f"its {algorithm} does not match: expected {digits}, got {came}; "
                "the download was thrown away: run again to start anew"
            )
        part.replace(destination)
    return destination


def _transfer(url: str, part: Path) -> None:
    """Append to `part` what it lacks of the file at `url`, with as many requests as that takes."""
    failures, furthest, connected = 0, _size(part), False
    while True:
        # Ranges count the bytes as the server keeps them, so they must come uncompressed.
        headers = {"Range": f"bytes={_size(part)}-", "Accept-Encoding": "identity"}
        timeout = (CONNECT_TIMEOUT_S, READ_TIMEOUT_S)
        try:
            with requests.get(url, headers=headers, stream=True, timeout=timeout) as response:
                connected = True
                return _store(response, part)
        except requests.RequestException as error:
            # Only bytes never had before are progress: a server without ranges may break off again and again.
            failures = 1 if _size(part) > furthest else failures + 1
            furthest = max(furthest, _size(part))
            if not connected or failures > RETRIES:
                reason = _root(error).replace(url, _shown(url))
                raise FetchError(f"{reason} (after {furthest} bytes); check the network and run again") from error
            time.sleep(BACKOFF_S * 2 ** (failures - 1))


def _store(response: requests.Response, part: Path) -> None:
    """Write the body of an answer behind what `part` holds, or in its place if it is the whole file."""
    if response.status_code == 416:  # there is nothing behind the part; the checksum tells whether it is complete
        return
    if not response.ok:
        answer = f"the server answered {response.status_code} {response.reason}"
        busy = response.status_code in _BUSY
        raise requests.HTTPError(answer) if busy else FetchError(f"{answer}; check the address")
    offset = _size(part) if response.status_code == 206 else 0
    length = int(response.headers.get("Content-Length", 0))
    _require_space(part.parent, length)
    bar = progress_bar(desc=part.stem, total=offset + length, initial=offset, unit="B", unit_scale=True)
    with part.open("ab" if offset else "wb") as file, bar:
        for piece in response.iter_content(PIECE_BYTES):
            file.write(piece)
            bar.update(len(piece))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _root(error: BaseException) -> str:
    """The innermost cause of an error, without the addresses that requests and urllib3 wrap around it."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return getattr(error, "strerror", None) or str(error)


def _shown(url: str) -> str:
    """A URL without what may be secret: user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def unpack(archive: Path, target: Path) -> None:
    """Unpack a zip archive whose checksum has been verified into a new folder `target`, all of it or nothing.

    Raises
    ------
    FetchError
        The archive is missing or no zip archive; or the disk lacks space or can't be written to.
    """
    with _alone(target.parent, f"cannot unpack {archive} to {target}"), zipfile.ZipFile(archive) as source:
        members = source.infolist()
        _require_space(target.parent, sum(member.file_size for member in members))
        with written(target) as temporary:
            for member in progress_bar(members, unit="file", desc=f"unpack {archive.name}"):
                source.extract(member, temporary)


@contextmanager
def _alone(folder: Path, failure: str, hint: str = "") -> Iterator[None]:
    """Let no other process download or unpack into the folder, and raise errors as a FetchError of one line."""
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            log.info("%s: another process downloads or unpacks into it; waiting for it", folder)
            lock.acquire()
        yield
    except (FetchError, OSError, zipfile.BadZipFile) as error:
        reason = str(error)
        if isinstance(error, OSError):
            reason = f"{error.strerror or error}; check the path, the disk and its permissions"
        raise FetchError(" ".join(f"{failure}: {reason}{'; ' if hint else ''}{hint}".split())) from error
    finally:
        lock.release()


def _require_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise FetchError(f"not enough disk space: {needed} bytes needed, {free} free; make room and run again")
