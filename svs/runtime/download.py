"""Download files with a known checksum, and unpack zip archives.

`download` brings one file into a folder through pooch, which verifies its checksum.  `unpack` turns a zip archive
into a folder.  What they make is complete or absent.  An error is one line in a `svs.errors.FetchError`.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import stat
import sys
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import pooch
import requests
from filelock import FileLock, Timeout
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3.util import Retry

from svs.errors import FetchError

log = logging.getLogger("svs")

PIECE_BYTES = 1 << 16
CONNECT_TIMEOUT_S = 5.0  # per address of the server: an offline machine fails fast
READ_TIMEOUT_S = 30.0
RETRIES = 5
BACKOFF_S = 1.0
WAIT_S = 60  # at most, before a retry

_BUSY = (408, 425, 429, 500, 502, 503, 504)
_DAMAGED_ARCHIVE = (zipfile.BadZipFile, zlib.error, EOFError)


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
        ``"md5:..."`` or ``"sha256:..."``.  Of a sha256 the first 8 digits or more are enough; a file that is there
        already is then used without a check.  None checks nothing and resumes nothing: the caller checks the content.
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
    part, digits = destination.with_name(f"{destination.name}.part"), (known_hash or "").removeprefix("sha256:")
    abbreviated = 8 <= len(digits) < 64 and ":" not in digits

    def downloader(url: str, output: str, _: object) -> None:
        if known_hash is None:
            part.unlink(missing_ok=True)
        os.unlink(output)  # pooch created it empty
        _transfer(url, part)
        log.info("%s: computing its checksum", destination.name)
        if abbreviated and not (came := pooch.file_hash(part)).startswith(digits):
            raise ValueError(f"SHA256 hash of {destination.name} does not match: expected {digits}, got {came}.")
        try:  # pooch deletes `output` if it is interrupted during its own check; a hard link keeps the part
            os.link(part, output)
        except OSError:  # a file system without hard links
            os.replace(part, output)

    pooch.get_logger().setLevel("WARNING")  # below that, it prints the URL with its secrets
    rejected = " (the file that is there has another checksum)" if destination.is_file() else ""
    with _alone(folder, f"cannot download {_shown(url)} to {destination}{rejected}", hint):
        try:
            pooch.retrieve(url, None if abbreviated else known_hash, destination.name, folder, downloader=downloader)
        except ValueError as error:  # pooch's message goes on with guesses
            part.unlink(missing_ok=True)
            reason = str(error).partition(" Deleted")[0]
            raise FetchError(f"{reason} The download was thrown away: run again to start anew") from error
        part.unlink(missing_ok=True)
    return destination


def _transfer(url: str, part: Path) -> None:
    """Append to `part` what it lacks of the file at `url`, with as many requests as that takes."""
    # A server that can't be connected to fails at once; one that is busy is asked again.
    retries = Retry(
        RETRIES, connect=0, read=1, other=0, status_forcelist=_BUSY, backoff_factor=BACKOFF_S, retry_after_max=WAIT_S
    )
    furthest, failures, connected = _size(part), 0, False
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(max_retries=retries))
        session.mount("https://", HTTPAdapter(max_retries=retries))
        # Ranges count the bytes as the server keeps them, so they must come uncompressed.
        session.headers["Accept-Encoding"] = "identity"
        while True:
            missing = {"Range": f"bytes={_size(part)}-"} if _size(part) else {}
            try:
                with session.get(
                    url, headers=missing, stream=True, timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S)
                ) as response:
                    connected = True
                    return _store(response, part)
            except requests.RequestException as error:
                # Only bytes never had before are progress: a server without ranges may break off again and again.
                failures = 1 if _size(part) > furthest else failures + 1
                furthest = max(furthest, _size(part))
                if not connected or failures > RETRIES:
                    reason = _root(error).replace(url, _shown(url))
                    raise FetchError(f"{reason} (after {furthest} bytes); check the network and run again") from error
                time.sleep(min(BACKOFF_S * 2 ** (failures - 1), WAIT_S))


def _store(response: requests.Response, part: Path) -> None:
    """Write the body of an answer behind what `part` holds, or in its place if it is the whole file."""
    if response.status_code == 416:  # there is nothing behind the part; the checksum tells whether it is complete
        return
    if not response.ok:
        raise FetchError(f"the server answered {response.status_code} {response.reason}; check the address")
    offset = _size(part) if response.status_code == 206 else 0
    length = int(response.headers.get("Content-Length", 0))
    _require_space(part.parent, length)
    with part.open("ab" if offset else "wb") as file, _bar(part.stem, offset + length, offset) as bar:
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


def unpack(archive: Path, target: Path, *, hint: str = "") -> Path:
    """Unpack a zip archive into the folder `target`, all of it or nothing.

    The files go to ``.<target>.unpacking`` beside the target, which is renamed when it is complete.  A leftover of
    an interrupted run is replaced.

    Parameters
    ----------
    archive : Path
        A zip archive whose checksum has been verified.
    target : Path
        A folder that does not exist yet or is empty.
    hint : str, optional
        Appended to every error message.

    Returns
    -------
    Path
        The target, absolute.

    Raises
    ------
    FetchError
        The archive is missing or damaged, or a member has an absolute path, ``..`` or is a link; the target is not
        an empty folder; or the disk is full or can't be written to.
    """
    # Resolved, so that a link to a larger disk keeps pointing there.
    archive, target = Path(archive), Path(target).expanduser().resolve()
    scratch = target.with_name(f".{target.name}.unpacking")
    with _alone(target.parent, f"cannot unpack {archive} to {target}", hint), zipfile.ZipFile(archive) as source:
        if target.is_file() or (target.is_dir() and any(target.iterdir())):
            raise FetchError("expected the target not to exist or to be an empty folder; move it away and run again")
        for member in source.infolist():
            path = PurePosixPath(member.filename)
            if path.is_absolute() or ".." in path.parts or stat.S_ISLNK(member.external_attr >> 16):
                raise FetchError(f"member {member.filename!r} leaves the folder; get the archive elsewhere")
        shutil.rmtree(scratch, ignore_errors=True)
        size = sum(member.file_size for member in source.infolist())
        _require_space(target.parent, size)
        try:
            scratch.mkdir()
            with _bar(f"unpacking {archive.name}", size) as bar:
                for member in source.infolist():
                    source.extract(member, scratch)
                    bar.update(member.file_size)
            scratch.replace(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return target


@contextmanager
def _alone(folder: Path, failure: str, hint: str) -> Iterator[None]:
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
    except (FetchError, OSError, *_DAMAGED_ARCHIVE) as error:
        reason = str(error)
        if isinstance(error, _DAMAGED_ARCHIVE):
            reason = f"the archive is damaged ({error}); delete it and download it again"
        elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = "the disk is full; make room and run again"
        elif isinstance(error, OSError):
            reason = f"{error.strerror or error}; check the path, the disk and its permissions"
        raise FetchError(" ".join(f"{failure}: {reason}{'; ' if hint else ''}{hint}".split())) from error
    finally:
        lock.release()


def _require_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise FetchError(f"not enough disk space: {needed} bytes needed, {free} free; make room and run again")


def _bar(label: str, total: int, initial: int = 0) -> tqdm:
    # A log file gets a line now and then, a terminal a moving bar; --quiet leaves errors alone.
    interval = 0.5 if sys.stderr.isatty() else 30.0
    quiet = log.getEffectiveLevel() >= logging.ERROR
    return tqdm(None, label, total, mininterval=interval, disable=quiet, unit="B", unit_scale=True, initial=initial)
