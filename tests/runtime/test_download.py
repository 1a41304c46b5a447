"""Tests of svs.runtime.download against a server on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
import warnings
import zipfile
import zlib
from collections import namedtuple
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from svs.errors import FetchError
from svs.runtime import download as data_download
from svs.runtime.download import download, unpack

MIB = 1 << 20
CONTENT = bytes(os.urandom(4 * MIB + 123))
NAME = "data.bin"


def md5(data: bytes) -> str:
    return "md5:" + hashlib.md5(data).hexdigest()


class Server:
    """One file under every path; each request and the bytes sent are kept."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.etag: str | None = '"one"'
        self.ranges = True
        self.obeys_if_range = True
        self.statuses: list[int] = []  # answered first, one a request
        self.cuts: list[int] = []  # break off after so many bytes, one a request
        self.hold_after: int | None = None  # stop sending there, stay connected
        self.release = threading.Event()
        self.ranges_asked: list[str | None] = []
        self.if_ranges: list[str | None] = []
        self.sent: list[int] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/{NAME}"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        asked = request.headers.get("Range")
        if_range = request.headers.get("If-Range")
        self.ranges_asked.append(asked)
        self.if_ranges.append(if_range)
        self.sent.append(0)
        number = len(self.sent) - 1
        if self.statuses:
            request.send_error(self.statuses.pop(0))
            return
        start = 0
        fresh = if_range is None or if_range == self.etag or not self.obeys_if_range
        if asked and self.ranges and fresh:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(self.content):
                request.send_response(416)
                request.send_header("Content-Range", f"bytes */{len(self.content)}")
                request.send_header("Content-Length", "0")
                request.end_headers()
                return
            request.send_response(206)
            last = len(self.content) - 1
            request.send_header("Content-Range", f"bytes {start}-{last}/{len(self.content)}")
        else:
            request.send_response(200)
        request.send_header("Content-Length", str(len(self.content) - start))
        if self.etag:
            request.send_header("ETag", self.etag)
        request.end_headers()
        body = self.content[start:]
        if self.cuts:
            body = body[: self.cuts.pop(0)]
        elif self.hold_after is not None:
            held, self.hold_after = self.hold_after, None
            request.wfile.write(body[:held])
            self.sent[number] = held
            self.release.wait(10)
            return
        request.wfile.write(body)
        self.sent[number] = len(body)

    def close(self) -> None:
        self.release.set()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_download, "BACKOFF_S", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def leave_partial(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, size: int = 2 * MIB) -> Path:
    """An attempt that broke off after `size` bytes, and its partial file."""
    server.cuts = [size]
    with monkeypatch.context() as patch:
        patch.setattr(data_download, "RETRIES", 0)
        with pytest.raises(FetchError, match="broke off"):
            download(server.url, md5(CONTENT), folder)
    part = folder / f"{NAME}.part"
    assert part.read_bytes() == CONTENT[:size]
    assert names(folder) == {part.name, f"{part.name}.json"}
    return part


# -- download ---------------------------------------------------------------


def test_full_download(server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = download(server.url, md5(CONTENT), tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / NAME
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == {NAME}
    assert server.ranges_asked == [None]
    out, err = capfd.readouterr()
    assert out == ""
    assert NAME in err and "B/s" in err
    assert "Downloading data from" not in err


def test_sha256_and_own_name(server: Server, tmp_path: Path) -> None:
    known = "sha256:" + hashlib.sha256(CONTENT).hexdigest().upper()
    path = download(server.url + "?token=1", known, tmp_path, "own.zip")
    assert path == tmp_path / "own.zip"
    assert path.read_bytes() == CONTENT


def test_cached_file_is_not_downloaded_again(server: Server, tmp_path: Path) -> None:
    first = download(server.url, md5(CONTENT), tmp_path)
    second = download(server.url, md5(CONTENT), tmp_path)
    assert first == second
    assert len(server.sent) == 1


def test_continues_within_one_call(server: Server, tmp_path: Path) -> None:
    server.cuts = [2 * MIB]
    path = download(server.url, md5(CONTENT), tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.ranges_asked == [None, f"bytes={2 * MIB}-"]
    assert server.if_ranges == [None, '"one"']
    assert server.sent == [2 * MIB, len(CONTENT) - 2 * MIB]


def test_break_in_the_middle_of_a_piece(server: Server, tmp_path: Path) -> None:
    server.cuts = [MIB + 500_000, MIB - 1, 10]
    path = download(server.url, md5(CONTENT), tmp_path)
    assert path.read_bytes() == CONTENT
    # At most the piece that was on its way is fetched twice.
    assert int(server.ranges_asked[1].strip("bytes=-")) >= MIB
    assert sum(server.sent) < len(CONTENT) + 2 * MIB


def test_continues_in_a_second_call(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_partial(server, tmp_path, monkeypatch)
    path = download(server.url, md5(CONTENT), tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.ranges_asked[1:] == [f"bytes={2 * MIB}-"]
    assert server.sent[1:] == [len(CONTENT) - 2 * MIB]
    assert names(tmp_path) == {NAME}


def test_continues_after_kill(server: Server, tmp_path: Path) -> None:
    script = (
        "import sys, pathlib; from svs.runtime.download import download;"
        "download(sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]))"
    )
    command = [sys.executable, "-c", script, server.url, md5(CONTENT), str(tmp_path)]
    repository = Path(data_download.__file__).parents[1]
    part = tmp_path / f"{NAME}.part"
    server.hold_after = 2 * MIB

    first = subprocess.Popen(command, cwd=repository, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not part.exists() or part.stat().st_size < 2 * MIB:
            assert first.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        first.send_signal(signal.SIGKILL)
        assert first.wait() == -signal.SIGKILL
    assert not (tmp_path / NAME).exists()

    subprocess.run(command, cwd=repository, stderr=subprocess.DEVNULL, check=True, timeout=10)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert server.ranges_asked == [None, f"bytes={2 * MIB}-"]
    assert server.sent == [2 * MIB, len(CONTENT) - 2 * MIB]
    # Neither the partial file nor pooch's temporary file of the killed run.
    assert names(tmp_path) == {NAME}


def test_continues_after_ctrl_c(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = data_download._next_piece
    calls = iter([real, real])

    def interrupted(pieces: Iterator[bytes]) -> bytes:
        for call in calls:
            return call(pieces)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(data_download, "_next_piece", interrupted)
        with pytest.raises(KeyboardInterrupt):
            download(server.url, md5(CONTENT), tmp_path)
    assert names(tmp_path) == {f"{NAME}.part", f"{NAME}.part.json"}
    assert download(server.url, md5(CONTENT), tmp_path).read_bytes() == CONTENT
    assert server.ranges_asked[1:] == [f"bytes={2 * MIB}-"]


def test_ctrl_c_during_the_last_check_loses_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pooch.core.hash_matches", interrupted)
        with pytest.raises(KeyboardInterrupt):
            download(server.url, md5(CONTENT), tmp_path)
    assert not (tmp_path / NAME).exists()
    assert download(server.url, md5(CONTENT), tmp_path).read_bytes() == CONTENT
    assert len(server.sent) == 1
    assert names(tmp_path) == {NAME}


def test_server_without_range(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.ranges = False
    leave_partial(server, tmp_path, monkeypatch)
    assert download(server.url, md5(CONTENT), tmp_path).read_bytes() == CONTENT
    assert server.sent[1:] == [len(CONTENT)]


def test_server_without_range_that_always_breaks_is_given_up(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.cuts = [MIB] * 100
    with pytest.raises(FetchError, match="broke off"):
        download(server.url, md5(CONTENT), tmp_path)
    # One that got further than ever before, then as many as are allowed.
    assert len(server.sent) == 1 + data_download.RETRIES


@pytest.mark.parametrize("obeys", [True, False], ids=["if-range", "etag-only"])
@pytest.mark.parametrize("grows", [0, 1000, -3 * MIB], ids=["same", "longer", "shorter"])
def test_changed_file_starts_anew(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    obeys: bool,
    grows: int,
) -> None:
    leave_partial(server, tmp_path, monkeypatch)
    server.content = bytes(os.urandom(len(CONTENT) + grows))
    server.etag = '"two"'
    server.obeys_if_range = obeys
    path = download(server.url, md5(server.content), tmp_path)
    assert path.read_bytes() == server.content
    assert server.ranges_asked[1] == f"bytes={2 * MIB}-"
    assert server.if_ranges[1] == '"one"'
    assert server.sent[-1] == len(server.content)


def test_changed_size_without_etag_starts_anew(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.etag = None
    leave_partial(server, tmp_path, monkeypatch)
    server.content = bytes(os.urandom(len(CONTENT) + 5))
    path = download(server.url, md5(server.content), tmp_path)
    assert path.read_bytes() == server.content
    assert server.if_ranges[1] is None


def test_another_url_starts_anew(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_partial(server, tmp_path, monkeypatch)
    other = server.url.replace(NAME, f"other/{NAME}")
    assert download(other, md5(CONTENT), tmp_path).read_bytes() == CONTENT
    assert server.ranges_asked[1:] == [None]


def test_partial_without_record_starts_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(b"whose is this?")
    assert download(server.url, md5(CONTENT), tmp_path).read_bytes() == CONTENT
    assert server.ranges_asked == [None]


def test_complete_partial_needs_no_request(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = leave_partial(server, tmp_path, monkeypatch)
    part.write_bytes(CONTENT)
    assert download(server.url, md5(CONTENT), tmp_path).read_bytes() == CONTENT
    assert len(server.sent) == 1


def test_complete_but_spoiled_partial_starts_anew(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = leave_partial(server, tmp_path, monkeypatch)
    part.write_bytes(bytes(len(CONTENT)))
    assert download(server.url, md5(CONTENT), tmp_path).read_bytes() == CONTENT
    assert server.ranges_asked[1:] == [None]


@pytest.mark.parametrize("excess", [0, 7], ids=["complete", "too-long"])
def test_range_not_satisfiable(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, excess: int) -> None:
    part = leave_partial(server, tmp_path, monkeypatch)
    record_path = part.with_name(part.name + ".json")
    record = json.loads(record_path.read_text())
    record["total"] = None  # as after an answer without Content-Length
    record_path.write_text(json.dumps(record))
    part.write_bytes(CONTENT + bytes(excess))
    assert download(server.url, md5(CONTENT), tmp_path).read_bytes() == CONTENT
    again = [None] if excess else []
    assert server.ranges_asked[1:] == [f"bytes={len(CONTENT) + excess}-", *again]


def test_wrong_checksum(server: Server, tmp_path: Path) -> None:
    expected = md5(b"something else")
    with pytest.raises(FetchError, match="wrong checksum") as caught:
        download(server.url, expected, tmp_path, hint="see the README")
    message = str(caught.value)
    assert expected in message and md5(CONTENT) in message
    assert message.endswith("; see the README")
    assert "\n" not in message
    assert names(tmp_path) == set()


def test_wrong_checksum_keeps_the_file_that_was_there(server: Server, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"by hand")
    with pytest.raises(FetchError, match="was not used"):
        download(server.url, md5(b"something else"), tmp_path)
    assert (tmp_path / NAME).read_bytes() == b"by hand"


def test_connection_refused(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://user:secret@127.0.0.1:{port}/{NAME}?token=secret"
    with pytest.raises(FetchError) as caught:
        download(url, md5(CONTENT), tmp_path, hint="or ask for a copy")
    message = str(caught.value)
    assert message.startswith(f"cannot reach http://127.0.0.1:{port}/{NAME}: Connection refused;")
    assert str(tmp_path / NAME) in message and "or ask for a copy" in message
    assert "secret" not in message and "\n" not in message
    assert names(tmp_path) == set()


def test_not_found(server: Server, tmp_path: Path) -> None:
    server.statuses = [404]
    with pytest.raises(FetchError, match="answered 404 Not Found"):
        download(server.url, md5(CONTENT), tmp_path)
    assert len(server.sent) == 1
    assert names(tmp_path) == set()


def test_overloaded_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.statuses = [503, 429]
    assert download(server.url, md5(CONTENT), tmp_path).read_bytes() == CONTENT
    assert len(server.sent) == 3


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x.zip", "file:///etc/hostname", "x.zip", "http://", ""])
def test_other_schemes_are_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(FetchError, match="http or https"):
        download(url, md5(CONTENT), tmp_path, "x.zip")
    assert names(tmp_path) == set()


@pytest.mark.parametrize("known", ["", "md5:12", "crc:12345678", "0" * 64, None])
def test_unusable_checksum(server: Server, tmp_path: Path, known: str) -> None:
    with pytest.raises(FetchError, match="expected a checksum"):
        download(server.url, known, tmp_path)
    assert server.sent == []


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "a\\b"])
def test_unusable_name(server: Server, tmp_path: Path, name: str) -> None:
    with pytest.raises(FetchError, match="plain file name"):
        download(server.url, md5(CONTENT), tmp_path, name)
    assert server.sent == []


def test_second_download_at_the_same_time_is_refused(server: Server, tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    with (tmp_path / f"{NAME}.part.json").open("w") as record:
        fcntl.flock(record, fcntl.LOCK_EX)
        with pytest.raises(FetchError, match="another process is downloading"):
            download(server.url, md5(CONTENT), tmp_path)
    assert server.sent == []
    assert download(server.url, md5(CONTENT), tmp_path).read_bytes() == CONTENT


Usage = namedtuple("Usage", "total used free")


def test_too_little_space_for_the_download(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_partial(server, tmp_path, monkeypatch)
    missing = len(CONTENT) - 2 * MIB
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, missing - 1))
    with pytest.raises(FetchError, match=f"not enough disk space.*{missing} bytes"):
        download(server.url, md5(CONTENT), tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, missing))
    assert download(server.url, md5(CONTENT), tmp_path).read_bytes() == CONTENT


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_disk_full_in_the_middle(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.open

    def full(path: Path, mode: str = "r", **options: int) -> object:
        return real(Path("/dev/full") if mode == "ab" else path, mode, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        with pytest.raises(FetchError, match="disk is full") as caught:
            download(server.url, md5(CONTENT), tmp_path)
    assert f"{len(CONTENT)} bytes" in str(caught.value)
    assert len(server.sent) == 1


# -- unpack -----------------------------------------------------------------

FILES = {
    "train/A & B/mix.wav": os.urandom(MIB + 17),
    "train/A & B/empty.txt": b"",
    "test/ünï.txt": b"text " * 1000,
}


def write_zip(path: Path, files: dict[str, bytes], packing: int) -> Path:
    with zipfile.ZipFile(path, "w", packing) as made:
        made.writestr("train/", b"")
        for name, data in files.items():
            made.writestr(name, data)
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty folder to unpack in, two levels below one that is watched."""
    folder = tmp_path / "deep" / "down"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize(
    "packing",
    [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA],
)
@pytest.mark.parametrize("exists", [False, True])
def test_unpack(tmp_path: Path, capfd: pytest.CaptureFixture[str], packing: int, exists: bool) -> None:
    archive = write_zip(tmp_path / "a.zip", FILES, packing)
    target = tmp_path / "new" / "target"
    if exists:
        target.mkdir(parents=True)
    size = sum(map(len, FILES.values()))
    assert unpack(archive, target, members_max_bytes=size) == target
    assert tree(target) == FILES
    assert names(target.parent) == {"target"}
    out, err = capfd.readouterr()
    assert out == "" and "unpacking a.zip" in err


def test_unpack_through_a_link_to_another_disk(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", FILES, zipfile.ZIP_STORED)
    (tmp_path / "disk" / "real").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "real")
    unpack(archive, tmp_path / "link")
    assert tree(tmp_path / "disk" / "real") == FILES
    assert (tmp_path / "link").is_symlink()


def central(data: bytes, name: str) -> int:
    """Where the entry of a member begins in the central directory."""
    return data.index(name.encode(), data.index(b"PK\x01\x02")) - 46


def patched(path: Path, name: str, offset: int, form: str, value: int) -> None:
    data = bytearray(path.read_bytes())
    struct.pack_into(form, data, central(data, name) + offset, value)
    path.write_bytes(data)


def evil_names(path: Path, *members: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of a duplicate
        with zipfile.ZipFile(path, "w") as made:
            made.writestr("good.txt", b"good")
            for name in members:
                made.writestr(name, b"evil")


def evil_kind(path: Path, kind: int) -> None:
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("good.txt", b"good")
        info = zipfile.ZipInfo("link")
        info.create_system = 3
        info.external_attr = (kind | 0o777) << 16
        made.writestr(info, b"/etc")


def evil_header(path: Path, offset: int, form: str, value: int, packing: int = zipfile.ZIP_DEFLATED) -> None:
    write_zip(path, {"good.txt": b"good", "liar.txt": b"x" * 1000}, packing)
    patched(path, "liar.txt", offset, form, value)


def evil_size_and_crc(path: Path, length: int, packing: int) -> None:
    # The size says 10 of 1000 bytes; the CRC fits the first `length` of them.
    evil_header(path, 24, "<I", 10, packing)
    patched(path, "liar.txt", 16, "<I", zlib.crc32(b"x" * length))


EVIL = {
    "parent": (lambda p: evil_names(p, "../x"), "leave the target"),
    "parent-inside": (lambda p: evil_names(p, "a/../../x"), "leave the target"),
    "absolute": (lambda p: evil_names(p, f"{p.parent}/x"), "absolute"),
    "double-slash": (lambda p: evil_names(p, f"/{p.parent}/x"), "absolute"),
    "drive": (lambda p: evil_names(p, "C:/x"), "absolute"),
    "drive-relative": (lambda p: evil_names(p, "c:x"), "absolute"),
    "backslash": (lambda p: evil_names(p, "..\\x"), "unusable name"),
    "dot": (lambda p: evil_names(p, "./"), "unusable name"),
    "duplicate": (lambda p: evil_names(p, "a", "a"), "two members"),
    "duplicate-spelling": (lambda p: evil_names(p, "a/b", "a/./b"), "two members"),
    "file-and-folder": (lambda p: evil_names(p, "a", "a/"), "two members"),
    "file-as-folder": (lambda p: evil_names(p, "a", "a/b"), "inside another"),
    "symlink": (lambda p: evil_kind(p, stat.S_IFLNK), "link or a device"),
    "device": (lambda p: evil_kind(p, stat.S_IFBLK), "link or a device"),
    "encrypted": (lambda p: evil_header(p, 8, "<H", 1), "liar.txt' is encrypted"),
    "size-too-small": (lambda p: evil_header(p, 24, "<I", 10), "damaged"),
    "size-too-small-stored": (
        lambda p: evil_header(p, 24, "<I", 10, zipfile.ZIP_STORED),
        "damaged",
    ),
    "size-too-large": (lambda p: evil_header(p, 24, "<I", 2000), "damaged"),
    "size-and-crc": (
        lambda p: evil_size_and_crc(p, 10, zipfile.ZIP_DEFLATED),
        "damaged",
    ),
    "size-and-crc-stored": (
        lambda p: evil_size_and_crc(p, 10, zipfile.ZIP_STORED),
        "damaged",
    ),
    "size-and-crc-of-one-more": (
        lambda p: evil_size_and_crc(p, 11, zipfile.ZIP_DEFLATED),
        "more bytes, its header says 10",
    ),
    "crc": (lambda p: evil_header(p, 16, "<I", 1), "damaged"),
    "overlap": (lambda p: evil_header(p, 20, "<I", 100_000), "overlap"),
    "method": (lambda p: evil_header(p, 10, "<H", 77), "damaged"),
    "no-files": (lambda p: write_zip(p, {}, zipfile.ZIP_STORED), "no files"),
}


@pytest.mark.parametrize("case", EVIL)
def test_evil_archive_is_refused(tmp_path: Path, place: Path, case: str) -> None:
    make, message = EVIL[case]
    archive = place / "evil.zip"
    make(archive)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(FetchError) as caught:
        unpack(archive, place / "target", hint="see the README")
    text = str(caught.value)
    # Without the path, which has the name of the case in it.
    assert message in text.replace(str(place), "")
    assert str(archive) in text and text.endswith("; see the README")
    assert "\n" not in text
    assert sorted(tmp_path.rglob("*")) == before


def test_zero_byte_in_a_name_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "evil.zip"
    evil_names(archive, "abQcd")
    archive.write_bytes(archive.read_bytes().replace(b"abQcd", b"ab\0cd"))
    with pytest.raises(FetchError, match="unusable name"):
        unpack(archive, tmp_path / "target")
    assert names(tmp_path) == {"evil.zip"}


def test_more_than_allowed_is_refused(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"a": bytes(100)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(FetchError, match="at most 99 bytes"):
        unpack(archive, tmp_path / "target", members_max_bytes=99)
    assert names(tmp_path) == {"a.zip"}


def test_more_than_the_disk_holds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_zip(tmp_path / "a.zip", {"a": bytes(100)}, zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, 99))
    with pytest.raises(FetchError, match="not enough disk space.*100 bytes"):
        unpack(archive, tmp_path / "target")
    assert names(tmp_path) == {"a.zip"}


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.999])
def test_truncated_archive(tmp_path: Path, keep: float) -> None:
    archive = write_zip(tmp_path / "a.zip", FILES, zipfile.ZIP_DEFLATED)
    data = archive.read_bytes()
    archive.write_bytes(data[: int(keep * len(data)) if keep < 1 else int(keep)])
    with pytest.raises(FetchError, match="damaged or cut short"):
        unpack(archive, tmp_path / "target")
    assert names(tmp_path) == {"a.zip"}


def test_missing_archive(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="found none"):
        unpack(tmp_path / "a.zip", tmp_path / "target")
    assert names(tmp_path) == set()


def test_target_in_use_is_left_alone(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", FILES, zipfile.ZIP_DEFLATED)
    target = tmp_path / "target"
    target.mkdir()
    (target / "mine").write_text("mine")
    with pytest.raises(FetchError, match="a folder with files"):
        unpack(archive, target)
    assert tree(target) == {"mine": b"mine"}
    with pytest.raises(FetchError, match="it is a file"):
        unpack(archive, target / "mine")
    assert tree(target) == {"mine": b"mine"}


def test_interrupted_unpacking_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_zip(tmp_path / "a.zip", FILES, zipfile.ZIP_DEFLATED)
    real = data_download._extract
    seen = []

    def interrupted(*arguments: object) -> None:
        real(*arguments)
        seen.append(tree(tmp_path / ".target.unpacking"))
        if seen[-1]:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(data_download, "_extract", interrupted)
        with pytest.raises(KeyboardInterrupt):
            unpack(archive, tmp_path / "target")
    assert seen[-1]
    assert names(tmp_path) == {"a.zip"}
    assert tree(unpack(archive, tmp_path / "target")) == FILES


def test_leftovers_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", FILES, zipfile.ZIP_DEFLATED)
    leftover = tmp_path / ".target.unpacking"
    (leftover / "old").mkdir(parents=True)
    (leftover / "old" / "half.wav").write_bytes(b"half")
    (leftover / "link").symlink_to(tmp_path)
    assert tree(unpack(archive, tmp_path / "target")) == FILES
    assert names(tmp_path) == {"a.zip", "target"}


def test_second_unpacking_at_the_same_time_is_refused(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    archive = write_zip(tmp_path / "a.zip", FILES, zipfile.ZIP_DEFLATED)
    scratch = tmp_path / ".target.unpacking"
    scratch.mkdir()
    (scratch / "theirs").write_bytes(b"theirs")
    descriptor = os.open(scratch, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(FetchError, match="another process is unpacking"):
            unpack(archive, tmp_path / "target")
        assert tree(scratch) == {"theirs": b"theirs"}
    finally:
        os.close(descriptor)
