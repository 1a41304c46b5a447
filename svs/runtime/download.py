"""Fetch an archive with a checksum, resume after an interruption, unpack safely.

Two functions do the work.  `download` brings one file into a folder and
answers only when its checksum is right; `unpack` turns a zip archive into a
folder that is either whole or not there.  Both report what went wrong as one
line in a `svs.errors.FetchError`.
"""

from __future__ import annotations

import contextlib
import copy
import errno
import hashlib
import http.client
import json
import lzma
import os
import re
import shutil
import stat
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit, urlunsplit

import pooch
import requests
import urllib3
from tqdm import tqdm

from svs.errors import FetchError

try:
    import fcntl
except ImportError:  # Windows: two runs at once are then not told apart
    fcntl = None  # type: ignore[assignment]

PIECE_BYTES = 1 << 20
CONNECT_TIMEOUT_S = 15.0
READ_TIMEOUT_S = 60.0
RETRIES = 5
BACKOFF_S = 1.0
LONGEST_WAIT_S = 60.0

_HEX_DIGITS = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}
# Answers that are worth asking again for; all others above 400 are final.
_PASSING_STATUS = {408, 425, 429, 500, 502, 503, 504}


def download(
    url: str,
    known_hash: str,
    folder: Path,
    filename: str | None = None,
    *,
    hint: str = "",
) -> Path:
    """Bring the file at `url` into `folder`, unless it is there already.

    A file of that name whose checksum is right is used without any request.
    An interrupted download leaves ``<filename>.part`` and
    ``<filename>.part.json`` in the folder, and the next call continues there.

    Parameters
    ----------
    url : str
        An http or https address.
    known_hash : str
        ``"md5:..."`` or ``"sha256:..."`` (sha1 and sha512 work as well).
    folder : Path
        Created if it is missing.
    filename : str, optional
        Name inside the folder; by default the last part of the URL's path.
    hint : str, optional
        Appended to every error message, for example how to supply the data
        by hand.

    Returns
    -------
    Path
        The file, its checksum verified.

    Raises
    ------
    FetchError
        If the URL, the file name or `known_hash` is unusable, the server
        cannot be reached or refuses, the connection keeps breaking off, the
        checksum is wrong, the disk is full or cannot be written to, or
        another process is downloading the same file.
    """
    _require_http(url, hint)
    known_hash = _checked_hash(known_hash, hint)
    if filename is None:
        filename = unquote(urlsplit(url).path.rsplit("/", 1)[-1])
    if not filename or filename in {".", ".."} or re.search(r"[/\\\0]", filename):
        raise _failure(
            f"expected a plain file name for {_shown(url)}, got {filename!r}; give one with `filename`",
            hint,
        )
    folder = Path(folder).expanduser().resolve()
    destination = folder / filename
    part = folder / f"{filename}.part"
    try:
        with _quiet_pooch(), ResumingDownloader(part, known_hash, hint=hint) as fetcher:
            pooch.retrieve(
                url,
                known_hash=known_hash,
                path=folder,
                fname=filename,
                downloader=fetcher,
            )
    except FetchError as error:
        if destination.is_file():
            # Somebody may have put it there by hand; say why it did not count.
            raise FetchError(
                f"{error}; the file already at {destination} was not used, because its checksum is not {known_hash}"
            ) from error
        raise
    except (OSError, ValueError) as error:
        # ValueError is how pooch reports a wrong checksum; the downloader has
        # checked the same bytes, so here it means that the disk altered them.
        raise _failure(
            f"cannot store {destination}: {_reason(error)}; check the disk and "
            "the permissions of the folder, then run again",
            hint,
        ) from error
    return destination


class ResumingDownloader:
    """A pooch downloader that continues where an earlier attempt broke off.

    Use it as a context manager around `pooch.retrieve`: leaving the block
    without an error removes the partial file and its record, leaving it with
    one (or being killed) keeps them for the next attempt.

    Parameters
    ----------
    part : Path
        Where the incomplete file is kept: ``<folder>/<name>.part``.
    known_hash : str
        ``"<algorithm>:<hex digits>"``.
    hint : str, optional
        Appended to every error message.

    Notes
    -----
    Beside the partial file lies ``<name>.part.json`` with the total size and
    the ETag or Last-Modified of the file on the server.  They go back as
    ``If-Range``, so a file that has changed starts anew.  The record is locked
    while a download runs, because two writers would spoil the partial file.
    """

    def __init__(self, part: Path, known_hash: str, *, hint: str = "") -> None:
        self.part = Path(part)
        self.record_path = self.part.with_name(self.part.name + ".json")
        self.known_hash = _checked_hash(known_hash, hint)
        self.hint = hint
        self._record: dict[str, Any] = {}
        self._descriptor: int | None = None
        self._connected = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Without an error the file is in its place, even if this was never
        # called: then an earlier run was killed just before this clean-up.
        with contextlib.suppress(OSError):
            if kind is None or (self._descriptor is not None and self._size() == 0):
                self.part.unlink(missing_ok=True)
                self.record_path.unlink(missing_ok=True)
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __call__(self, url: str, output_file: str | Path, pooch: Any = None) -> None:
        """Download `url` to `output_file`, by way of the partial file.

        Parameters
        ----------
        url : str
            An http or https address.
        output_file : str or Path
            pooch's temporary file, in the folder of the partial file.
        pooch : object
            Part of pooch's calling convention; not used.

        Raises
        ------
        FetchError
            As for `download`.
        """
        _require_http(url, self.hint)
        output = Path(output_file)
        if self._descriptor is None:
            doing = f"downloading {self.part.with_suffix('')}"
            self._descriptor = _locked(self.record_path, os.O_RDWR | os.O_CREAT, doing, self.hint)
        self._take_up(url, output)
        if not self._already_whole():
            self._transfer_with_retries(url)
            self._verify(url)
        # A second name instead of a move: pooch removes its temporary file
        # when it is interrupted while it computes the checksum once more, and
        # the whole download would go with it.
        output.unlink(missing_ok=True)
        try:
            os.link(self.part, output)
        except OSError:  # a file system without hard links
            os.replace(self.part, output)

    # -- the record beside the partial file --------------------------------

    def _take_up(self, url: str, output: Path) -> None:
        """Read what an earlier attempt left; forget it if it does not fit."""
        assert self._descriptor is not None
        try:
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            record = json.loads(os.read(self._descriptor, 1 << 16))
            self._record = record if isinstance(record, dict) else {}
        except ValueError:  # new, or cut short by a kill
            self._record = {}
        # pooch's temporary file outlives a kill; it is of no use to anybody.
        orphan = str(self._record.get("output", ""))
        if re.fullmatch(r"tmp\w+", orphan) and orphan != output.name:
            self.part.with_name(orphan).unlink(missing_ok=True)
        # The digest stands for the URL because a URL can hold a secret token.
        address = hashlib.sha256(url.encode()).hexdigest()
        if self._record.get("address") != address:
            self._start_anew()
        self._record["address"] = address
        self._record["output"] = output.name
        self._write_record()

    def _write_record(self) -> None:
        # In place, not by renaming, because the lock hangs on this very file.
        # One small write is not torn by a kill, and a torn record is only a
        # download from the beginning.
        assert self._descriptor is not None
        text = json.dumps(self._record).encode()
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, text)

    def _start_anew(self) -> None:
        # First the bytes, then the record: old bytes beside a new ETag would
        # be taken for the beginning of the new file.
        self.part.unlink(missing_ok=True)
        for key in ("etag", "last_modified", "total"):
            self._record.pop(key, None)
        self._write_record()

    def _size(self) -> int:
        try:
            return self.part.stat().st_size
        except FileNotFoundError:
            return 0

    # -- checksum ----------------------------------------------------------

    def _already_whole(self) -> bool:
        """Whether an earlier attempt was cut off after the last byte."""
        if self._size() == 0 or self._size() != self._record.get("total"):
            return False
        if self._checksum() == self.known_hash:
            return True
        self._start_anew()
        return False

    def _verify(self, url: str) -> None:
        came = self._checksum()
        if came != self.known_hash:
            size = self._size()
            self._start_anew()
            raise _failure(
                f"wrong checksum for {_shown(url)}: expected {self.known_hash}, "
                f"got {came} ({size} bytes), and discarded them; run again, and if "
                "it stays wrong, the file on the server is another one than expected",
                self.hint,
            )

    def _checksum(self) -> str:
        algorithm = self.known_hash.partition(":")[0]
        digest = hashlib.new(algorithm, usedforsecurity=False)
        label = f"checking {self.part.stem}"
        with self.part.open("rb") as file, _bar(label, self._size()) as bar:
            while piece := file.read(PIECE_BYTES):
                digest.update(piece)
                bar.update(len(piece))
        return f"{algorithm}:{digest.hexdigest()}"

    # -- transfer ----------------------------------------------------------

    def _transfer_with_retries(self, url: str) -> None:
        failures = 0
        furthest = self._size()
        with requests.Session() as session:
            while True:
                try:
                    if self._transfer(session, url):
                        return
                except _Dropped as drop:
                    # Only getting further than ever before counts as progress:
                    # a server without Range that always breaks off at the same
                    # place must not be asked for ever.
                    if self._size() > furthest:
                        furthest = self._size()
                        failures = 0
                    failures += 1
                    if failures > RETRIES:
                        raise _failure(
                            f"the download of {_shown(url)} broke off "
                            f"{failures} times in a row ({drop}) at "
                            f"{self._size()} of {self._record.get('total', '?')} "
                            "bytes; run again to continue there",
                            self.hint,
                        ) from drop
                    wait = max(drop.wait_s, BACKOFF_S * 2 ** (failures - 1))
                    time.sleep(min(wait, LONGEST_WAIT_S))

    def _transfer(self, session: requests.Session, url: str) -> bool:
        """Send one request and store its body; False asks for another one."""
        offset = self._size()
        # A compressed body would make ranges and sizes mean something else.
        headers = {"Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            validator = self._validator()
            if validator:
                headers["If-Range"] = validator
        with self._request(session, url, headers) as response:
            self._connected = True
            status = response.status_code
            if status == 416 and offset:
                if _range_total(response) == offset and not self._changed(response):
                    return True
                self._start_anew()
                return False
            if status not in (200, 206):
                self._refused(url, response)
            total: int | None
            if status == 206:
                start, total = _content_range(response)
                if start != offset or self._changed(response, total):
                    if not offset:
                        raise _failure(
                            f"{_shown(url)} answered a request for the whole file "
                            f"with a piece from byte {start}; try later or use "
                            "another address",
                            self.hint,
                        )
                    # A server that overlooks If-Range.
                    self._start_anew()
                    return False
                if total is None:
                    total = self._record.get("total")
            else:
                if offset:
                    self._start_anew()
                    offset = 0
                total = _number(response.headers.get("Content-Length"))
            if offset == 0:
                self._record["etag"] = response.headers.get("ETag")
                self._record["last_modified"] = response.headers.get("Last-Modified")
            self._record["total"] = total
            self._write_record()
            self._require_space(url, offset, total)
            self._store(url, response, offset, total)
        return True

    def _request(self, session: requests.Session, url: str, headers: dict[str, str]) -> requests.Response:
        try:
            return session.get(
                url,
                headers=headers,
                stream=True,
                timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
            )
        except requests.RequestException as error:
            # A server that was never reached will not be there a second later
            # either; one that has answered before is worth waiting for.
            hopeless = isinstance(error, _HOPELESS) or isinstance(_inner(error), urllib3.exceptions.NewConnectionError)
            broken = isinstance(error, (requests.ConnectionError, requests.Timeout))
            if broken and (self._connected or not hopeless):
                raise _Dropped(_reason(error)) from error
            raise _failure(
                f"cannot reach {_shown(url)}: {_reason(error)}; check the network "
                "and the address and run again, or put the file by hand at "
                f"{self.part.with_suffix('')} ({self.known_hash})",
                self.hint,
            ) from error

    def _refused(self, url: str, response: requests.Response) -> None:
        answer = f"{response.status_code} {response.reason or ''}".strip()
        if response.status_code in _PASSING_STATUS:
            wait = _number(response.headers.get("Retry-After")) or 0
            raise _Dropped(f"the server answered {answer}", float(wait))
        raise _failure(
            f"expected a file at {_shown(url)}, but the server answered {answer}; "
            "check the address, or put the file by hand at "
            f"{self.part.with_suffix('')} ({self.known_hash})",
            self.hint,
        )

    def _validator(self) -> str | None:
        etag = self._record.get("etag")
        # A weak ETag does not promise equal bytes, so RFC 9110 bars it here.
        if etag and not etag.startswith("W/"):
            return etag
        return self._record.get("last_modified")

    def _changed(self, response: requests.Response, total: int | None = None) -> bool:
        """Whether an answer to a range request speaks of another file."""
        expected = self._record.get("total")
        if total and expected and total != expected:
            return True
        for key, name in (("etag", "ETag"), ("last_modified", "Last-Modified")):
            came = response.headers.get(name)
            if came and self._record.get(key):
                # The date only counts where there are no ETags to compare.
                return came != self._record[key]
        return False

    def _require_space(self, url: str, offset: int, total: int | None) -> None:
        if total is None:
            return
        free = shutil.disk_usage(self.part.parent).free
        if total - offset > free:
            raise _failure(
                f"not enough disk space for {_shown(url)}: {_size_text(total - offset)} "
                f"needed in {self.part.parent}, {_size_text(free)} free; make room and "
                "run again",
                self.hint,
            )

    def _store(self, url: str, response: requests.Response, offset: int, total: int | None) -> None:
        # Undecoded, because the checksum belongs to the bytes as they are kept
        # on the server and a range counts those.
        pieces = response.raw.stream(PIECE_BYTES, decode_content=False)
        position = offset
        try:
            # Unbuffered: what has been written survives a kill.
            with (
                self.part.open("ab", buffering=0) as file,
                _bar(self.part.stem, total, offset) as bar,
            ):
                while piece := _next_piece(pieces):
                    rest = memoryview(piece)
                    while rest:
                        rest = rest[file.write(rest) :]
                    position += len(piece)
                    bar.update(len(piece))
        except OSError as error:
            needed = "an unknown number of bytes"
            if total is not None:
                needed = _size_text(total - offset)
            if error.errno in _DISK_FULL:
                problem = f"the disk is full ({needed} needed in all); make room"
            else:
                problem = f"{_reason(error)}; check the disk and its permissions"
            raise _failure(
                f"cannot store {_shown(url)} in {self.part.parent}: {problem} and run again to continue",
                self.hint,
            ) from error
        if total is not None and position < total:
            raise _Dropped("the connection was closed early")
        if total is not None and position > total:
            self._start_anew()
            raise _Dropped("the server sent more than it had announced")


def unpack(
    archive: Path,
    target: Path,
    *,
    members_max_bytes: int | None = None,
    hint: str = "",
) -> Path:
    """Unpack a zip archive into the folder `target`, all of it or nothing.

    Every member is looked at before the first byte is written.  The files go
    to ``.<target>.unpacking`` beside the target, which takes the target's name
    when it is complete; a leftover of an interrupted run is removed first.

    Parameters
    ----------
    archive : Path
        A zip archive.
    target : Path
        A folder that does not exist yet or is empty.
    members_max_bytes : int, optional
        Refuse an archive whose members are larger than this together, once
        unpacked.
    hint : str, optional
        Appended to every error message.

    Returns
    -------
    Path
        The target, absolute.

    Raises
    ------
    FetchError
        If the archive is missing, damaged or incomplete; if a member has an
        absolute path, ``..``, a drive letter, a backslash, the name of another
        member, or is a link, a device or encrypted; if it would take more room
        than allowed or free; if the target is not an empty folder; if the disk
        cannot be written to; or if another process is unpacking to the same
        place.
    """
    archive = Path(archive)
    # Resolved, so that a link to a larger disk keeps pointing there.
    target = Path(target).expanduser().resolve()
    scratch = target.with_name(f".{target.name}.unpacking")
    try:
        _require_empty(target, hint)
        with _opened_zip(archive, hint) as source:
            plan = _checked_members(source, archive, members_max_bytes, hint)
            target.parent.mkdir(parents=True, exist_ok=True)
            with _scratch_folder(scratch, hint):
                # After the leftovers are gone, because they take room as well.
                total = sum(member.file_size for member, _ in plan)
                free = shutil.disk_usage(target.parent).free
                if total > free:
                    raise _failure(
                        f"not enough disk space to unpack {archive}: "
                        f"{_size_text(total)} needed in {target.parent}, "
                        f"{_size_text(free)} free; make room and run again",
                        hint,
                    )
                with _bar(f"unpacking {archive.name}", total) as bar:
                    for member, path in plan:
                        _extract(source, archive, member, scratch / path, bar, hint)
                _require_empty(target, hint)
                if target.exists():
                    target.rmdir()
                scratch.rename(target)
    except OSError as error:
        if error.errno in _DISK_FULL:
            advice = "the disk is full; make room and run again"
        else:
            advice = f"{_reason(error)}; check the disk and its permissions"
        raise _failure(f"cannot unpack {archive} to {target}: {advice}", hint) from error
    return target


def _require_empty(target: Path, hint: str) -> None:
    if not os.path.lexists(target):
        return
    if not target.is_dir() or any(target.iterdir()):
        raise _failure(
            f"expected {target} not to exist or to be an empty folder, but it is "
            f"{'a folder with files' if target.is_dir() else 'a file'}; move it away "
            "and run again",
            hint,
        )


@contextlib.contextmanager
def _opened_zip(archive: Path, hint: str) -> Iterator[zipfile.ZipFile]:
    try:
        source = zipfile.ZipFile(archive)
    except FileNotFoundError as error:
        raise _failure(f"expected an archive at {archive}, found none; download it first", hint) from error
    except (*_BAD_ARCHIVE, ValueError) as error:
        raise _damaged(archive, _reason(error), hint) from error
    with source:
        yield source


def _checked_members(
    source: zipfile.ZipFile, archive: Path, max_bytes: int | None, hint: str
) -> list[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """Return the members with their paths, or refuse the whole archive."""

    def refuse(what: str) -> FetchError:
        return _failure(
            f"refused to unpack {archive}: {what}; nothing was written, get the archive from a source you trust",
            hint,
        )

    plan: list[tuple[zipfile.ZipInfo, PurePosixPath]] = []
    files: set[PurePosixPath] = set()
    seen: set[PurePosixPath] = set()
    for member in source.infolist():
        # zipfile cuts a name off at a zero byte; the original one tells.
        name = member.orig_filename
        path = PurePosixPath(name)
        if path.is_absolute() or re.match(r"[A-Za-z]:", name):
            raise refuse(f"member {name!r} has an absolute path")
        if ".." in path.parts:
            raise refuse(f"member {name!r} would leave the target folder")
        # A backslash is an ordinary letter here and a separator on Windows.
        if "\\" in name or "\0" in name or not path.parts:
            raise refuse(f"member {name!r} has an unusable name")
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise refuse(f"member {name!r} is a link or a device, not a file")
        if member.flag_bits & 0x2041:  # encrypted, strongly so, masked header
            raise refuse(f"member {name!r} is encrypted")
        if path in seen:
            raise refuse(f"two members have the name {str(path)!r}")
        seen.add(path)
        if not member.is_dir():
            files.add(path)
        plan.append((member, path))
    for _, path in plan:
        if not files.isdisjoint(path.parents):
            raise refuse(f"member {str(path)!r} lies inside another member")
    if not files:
        raise refuse("it holds no files")
    # Members that share their bytes are how a small archive gets enormous.
    packed = sum(member.compress_size for member, _ in plan)
    if packed > archive.stat().st_size:
        raise refuse("its members overlap")
    total = sum(member.file_size for member, _ in plan)
    if max_bytes is not None and total > max_bytes:
        raise refuse(f"{_size_text(total)} unpacked, at most {max_bytes} bytes expected")
    return plan


def _extract(
    source: zipfile.ZipFile,
    archive: Path,
    member: zipfile.ZipInfo,
    path: Path,
    bar: tqdm,
    hint: str,
) -> None:
    if member.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    # zipfile stops at the size in the header, also where more bytes follow.
    # Asking for one byte beyond it brings a lie to light.
    beyond = copy.copy(member)
    beyond.file_size += 1
    # "x": on a file system that takes two names for the same, fail.
    with path.open("xb") as file:
        try:
            # zipfile compares the CRC when the member ends.
            with source.open(beyond) as packed:
                while piece := packed.read(PIECE_BYTES):
                    file.write(piece)
                    written += len(piece)
                    bar.update(len(piece))
        except _BAD_ARCHIVE as error:
            raise _damaged(archive, _reason(error), hint) from error
    if written != member.file_size:
        came = "more" if written > member.file_size else str(written)
        raise _damaged(
            archive,
            f"member {member.filename!r} has {came} bytes, its header says {member.file_size}",
            hint,
        )


@contextlib.contextmanager
def _scratch_folder(path: Path, hint: str) -> Iterator[None]:
    """An empty, locked folder that an error takes away again."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    path.mkdir(exist_ok=True)
    descriptor = None
    if fcntl is not None:  # only Windows cannot open a folder
        descriptor = _locked(path, os.O_RDONLY, f"unpacking to {path}", hint)
    try:
        for leftover in path.iterdir():
            if leftover.is_dir() and not leftover.is_symlink():
                shutil.rmtree(leftover)
            else:
                leftover.unlink()
        yield
    except BaseException:
        # Only now: after the rename the name may be another process's folder.
        shutil.rmtree(path, ignore_errors=True)
        raise
    finally:
        if descriptor is not None:
            os.close(descriptor)


class _Dropped(Exception):
    """The connection broke off in a way that is worth another try."""

    def __init__(self, reason: str, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
_HOPELESS = (
    requests.ConnectTimeout,
    requests.exceptions.ProxyError,
    requests.exceptions.SSLError,
)
_BAD_ARCHIVE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    struct.error,
)


def _failure(message: str, hint: str) -> FetchError:
    text = f"{message}; {hint}" if hint else message
    return FetchError(" ".join(text.split()))


def _damaged(archive: Path, reason: str, hint: str) -> FetchError:
    return _failure(
        f"expected a complete zip archive at {archive}, but it is damaged or cut "
        f"short ({reason}); delete it and download it again",
        hint,
    )


def _require_http(url: str, hint: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable:
        raise _failure(f"expected an http or https address, got {url!r}", hint)


def _checked_hash(known_hash: str, hint: str) -> str:
    # Also None, which pooch would take for "do not check".
    algorithm, _, digits = str(known_hash).strip().lower().partition(":")
    length = _HEX_DIGITS.get(algorithm)
    if length is None or not re.fullmatch(f"[0-9a-f]{{{length}}}", digits):
        raise _failure(
            f"expected a checksum like 'md5:<32 hex digits>' or 'sha256:<64 hex digits>', got {known_hash!r}",
            hint,
        )
    return f"{algorithm}:{digits}"


def _shown(url: str) -> str:
    """The URL without what may be secret: user, password, query."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _locked(path: Path, flags: int, doing: str, hint: str) -> int:
    """Open `path` and lock it until it is closed; the kernel frees it on a kill."""
    descriptor = os.open(path, flags, 0o666)
    busy = False
    if fcntl is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The holder before us may have renamed or removed it meanwhile.
            busy = not os.path.exists(path) or not os.path.samestat(os.fstat(descriptor), os.stat(path))
        except BlockingIOError:
            busy = True
        except OSError:  # some network file systems know no locks
            pass
    if busy:
        os.close(descriptor)
        raise _failure(
            f"another process is {doing} right now; wait for it and run again",
            hint,
        )
    return descriptor


def _next_piece(pieces: Iterator[bytes]) -> bytes:
    """The next piece of a body, b"" at its end."""
    try:
        return next(pieces, b"")
    except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
        # Told apart here from an OSError of the disk.
        raise _Dropped(_reason(error)) from error


def _number(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"[0-9]+", text.strip()) else None


def _content_range(response: requests.Response) -> tuple[int | None, int | None]:
    """First byte and total size from the header of a 206."""
    match = re.match(
        r"bytes\s+([0-9]+)-([0-9]+)/([0-9]+|\*)",
        response.headers.get("Content-Range", ""),
    )
    if match is None:
        return None, None
    return int(match[1]), _number(match[3])


def _range_total(response: requests.Response) -> int | None:
    """Total size from the header of a 416."""
    match = re.match(r"bytes\s+\*/([0-9]+)", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _inner(error: BaseException) -> Any:
    """The urllib3 error inside a requests one."""
    cause = error.args[0] if error.args else None
    return getattr(cause, "reason", cause)


def _reason(error: BaseException) -> str:
    """A few words on `error`, without the nesting of requests and urllib3."""
    if isinstance(error, (requests.Timeout, urllib3.exceptions.TimeoutError)):
        return "no answer in time"
    inner = _inner(error) if isinstance(error, requests.RequestException) else error
    if isinstance(inner, urllib3.exceptions.NameResolutionError):
        return "the host name cannot be resolved"
    seen: BaseException | None = inner if isinstance(inner, BaseException) else error
    words = ""
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror:
            words = seen.strerror
        seen = seen.__cause__ or seen.__context__
    if not words and isinstance(inner, BaseException) and inner.args:
        words = str(inner.args[0])
    words = words or str(inner) or type(error).__name__
    return " ".join(words.split())


def _size_text(number: int) -> str:
    return f"{number} bytes ({number / 1e9:.2f} GB)"


def _bar(label: str, total: int | None, initial: int = 0) -> tqdm:
    return tqdm(
        desc=label,
        total=total,
        initial=initial,
        unit="B",
        unit_scale=True,
        file=sys.stderr,
        # A log file gets a line now and then, a terminal a moving bar.
        mininterval=0.5 if sys.stderr.isatty() else 30.0,
        maxinterval=30.0,
    )


@contextlib.contextmanager
def _quiet_pooch() -> Iterator[None]:
    """Keep pooch from announcing what the progress bar shows."""
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")
    try:
        yield
    finally:
        logger.setLevel(level)
