"""Tests of svs.runtime.download against a server on this machine."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections import namedtuple
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from filelock import FileLock

from svs.errors import FetchError
from svs.runtime import download as module
from svs.runtime import progress
from svs.runtime.download import download, unpack
from tests.helpers import REPOSITORY

MIB = 1 << 20
CONTENT = bytes(os.urandom(4 * MIB + 123))
NAME = "data.bin"


def md5(data: bytes) -> str:
    return "md5:" + hashlib.md5(data).hexdigest()


class Server:
    """One file under every path; each request and the bytes sent are kept."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.ranges = True
        self.statuses: list[int] = []  # answered first, one a request
        self.cuts: list[int] = []  # break off after so many bytes, one a request
        self.hold_after: int | None = None  # stop sending there, stay connected
        self.release = threading.Event()
        self.ranges_asked: list[str | None] = []
        self.sent: list[int] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with contextlib.suppress(ConnectionError):
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
        self.ranges_asked.append(asked)
        self.sent.append(0)
        number = len(self.sent) - 1
        if self.statuses:
            request.send_error(self.statuses.pop(0))
            return
        start = 0
        if asked and self.ranges:
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
    monkeypatch.setattr(module, "BACKOFF_S", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def names(folder: Path) -> set[str]:
    """What lies in a folder, besides the file that processes lock."""
    return {path.name for path in folder.iterdir() if path.name != ".lock"}


def leave_partial(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, size: int = 2 * MIB) -> Path:
    """An attempt that broke off after `size` bytes, and its partial file."""
    server.cuts = [size]
    with monkeypatch.context() as patch:
        patch.setattr(module, "RETRIES", 0)
        with pytest.raises(FetchError, match="run again"):
            download(server.url, md5(CONTENT), folder)
    part = folder / f"{NAME}.part"
    assert CONTENT.startswith(part.read_bytes()) and part.stat().st_size > size - module.PIECE_BYTES
    # Of this size, so that tests can tell what is asked for.
    part.write_bytes(CONTENT[:size])
    assert names(folder) == {part.name}
    return part


# -- download ---------------------------------------------------------------


def test_full_download(server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = download(server.url, md5(CONTENT), tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / NAME
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == {NAME}
    assert server.ranges_asked == ["bytes=0-"]
    out, err = capfd.readouterr()
    assert out == ""
    assert NAME in err and "B/s" in err
    assert "Downloading data from" not in err


def test_sha256_and_own_name(server: Server, tmp_path: Path) -> None:
    known = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
    path = download(server.url + "?token=1", known, tmp_path, "own.zip")
    assert path == tmp_path / "own.zip"
    assert path.read_bytes() == CONTENT


def test_cached_file_is_not_downloaded_again(server: Server, tmp_path: Path) -> None:
    first = download(server.url, md5(CONTENT), tmp_path)
    second = download(server.url, md5(CONTENT), tmp_path)
    assert first == second
    assert len(server.sent) == 1


def test_continues_within_one_call(server: Server, tmp_path: Path) -> None:
    server.cuts = [2 * MIB + 500, MIB - 1, 10]
    path = download(server.url, md5(CONTENT), tmp_path)
    assert path.read_bytes() == CONTENT
    assert int(server.ranges_asked[1].strip("bytes=-")) >= 2 * MIB
    # At most the piece that was on its way is fetched twice.
    assert sum(server.sent) < len(CONTENT) + 3 * module.PIECE_BYTES


@pytest.mark.parametrize("right", [True, False])
def test_first_digits_are_enough(server: Server, tmp_path: Path, right: bool) -> None:
    digits = hashlib.sha256(CONTENT if right else b"something else").hexdigest()[:8]
    if right:
        assert download(server.url, f"sha256:{digits}", tmp_path).read_bytes() == CONTENT
    else:
        with pytest.raises(FetchError, match=f"expected {digits}, got {hashlib.sha256(CONTENT).hexdigest()}"):
            download(server.url, f"sha256:{digits}", tmp_path)
    assert names(tmp_path) == ({NAME} if right else set())


def test_without_a_checksum_nothing_is_continued(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_partial(server, tmp_path, monkeypatch)
    assert download(server.url, None, tmp_path).read_bytes() == CONTENT
    assert server.ranges_asked[1:] == ["bytes=0-"] and names(tmp_path) == {NAME}


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
    repository = REPOSITORY
    part = tmp_path / f"{NAME}.part"
    server.hold_after = 2 * MIB

    first = subprocess.Popen(command, cwd=repository, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not part.exists() or part.stat().st_size < 2 * MIB - module.PIECE_BYTES:
            assert first.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        first.send_signal(signal.SIGKILL)
        assert first.wait() == -signal.SIGKILL
    assert not (tmp_path / NAME).exists()
    kept = part.stat().st_size

    subprocess.run(command, cwd=repository, stderr=subprocess.DEVNULL, check=True, timeout=60)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert server.ranges_asked == ["bytes=0-", f"bytes={kept}-"]
    assert not part.exists()


def test_continues_after_ctrl_c(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(progress.tqdm):
        def update(self, n: float = 1) -> None:
            super().update(n)
            if self.n >= 2 * MIB:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(progress, "tqdm", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            download(server.url, md5(CONTENT), tmp_path)
    assert names(tmp_path) == {f"{NAME}.part"}
    assert download(server.url, md5(CONTENT), tmp_path).read_bytes() == CONTENT
    assert server.ranges_asked[1:] == [f"bytes={2 * MIB}-"]


def test_ctrl_c_during_the_last_check_loses_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pooch.file_hash", interrupted)
        with pytest.raises(KeyboardInterrupt):
            download(server.url, md5(CONTENT), tmp_path)
    assert names(tmp_path) == {f"{NAME}.part"}
    assert download(server.url, md5(CONTENT), tmp_path).read_bytes() == CONTENT
    assert sum(server.sent) == len(CONTENT)
    assert names(tmp_path) == {NAME}


def test_server_without_range(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.ranges = False
    leave_partial(server, tmp_path, monkeypatch)
    assert download(server.url, md5(CONTENT), tmp_path).read_bytes() == CONTENT
    assert server.sent[1:] == [len(CONTENT)]


def test_server_without_range_that_always_breaks_is_given_up(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.cuts = [MIB] * 100
    with pytest.raises(FetchError, match="run again"):
        download(server.url, md5(CONTENT), tmp_path)
    # One that got further than ever before, then as many as are allowed.
    assert len(server.sent) == 1 + module.RETRIES


@pytest.mark.parametrize("grows", [0, 1000, -3 * MIB], ids=["same", "longer", "shorter"])
def test_a_part_of_another_file_is_thrown_away(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grows: int
) -> None:
    leave_partial(server, tmp_path, monkeypatch)
    server.content = bytes(os.urandom(len(CONTENT) + grows))
    with pytest.raises(FetchError, match="thrown away: run again"):
        download(server.url, md5(server.content), tmp_path)
    assert names(tmp_path) == set()
    assert download(server.url, md5(server.content), tmp_path).read_bytes() == server.content


def test_a_complete_part_is_not_downloaded_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_partial(server, tmp_path, monkeypatch).write_bytes(CONTENT)
    assert download(server.url, md5(CONTENT), tmp_path).read_bytes() == CONTENT
    assert server.sent[1:] == [0] and names(tmp_path) == {NAME}


def test_wrong_checksum(server: Server, tmp_path: Path) -> None:
    expected = md5(b"something else")
    with pytest.raises(FetchError, match="does not match") as caught:
        download(server.url, expected, tmp_path, hint="see the README")
    message = str(caught.value)
    assert expected[4:] in message and md5(CONTENT)[4:] in message
    assert message.endswith("; see the README")
    assert "\n" not in message
    assert names(tmp_path) == set()


def test_wrong_checksum_keeps_the_file_that_was_there(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / NAME).write_bytes(b"by hand")
    with pytest.raises(FetchError, match="does not match"):
        download(server.url, md5(b"something else"), tmp_path)
    assert f"{NAME}: the file that is there has another checksum" in caplog.text
    assert (tmp_path / NAME).read_bytes() == b"by hand"


def test_connection_refused(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://user:secret@127.0.0.1:{port}/{NAME}?token=secret"
    with pytest.raises(FetchError) as caught:
        download(url, md5(CONTENT), tmp_path, hint="or ask for a copy")
    message = str(caught.value)
    assert message.startswith(
        f"cannot download http://127.0.0.1:{port}/{NAME} to {tmp_path / NAME}: Connection refused"
    )
    assert message.endswith("; or ask for a copy")
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


def test_overloaded_server_is_given_up(server: Server, tmp_path: Path) -> None:
    server.statuses = [503] * 100
    with pytest.raises(FetchError, match="503"):
        download(server.url, md5(CONTENT), tmp_path)
    assert len(server.sent) == 1 + module.RETRIES


def test_silent_server_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READ_TIMEOUT_S", 0.2)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        start = time.monotonic()
        with pytest.raises(FetchError, match="timed out"):
            download(f"http://127.0.0.1:{mute.getsockname()[1]}/{NAME}", md5(CONTENT), tmp_path)
        assert time.monotonic() - start < 30


@pytest.mark.parametrize("url", ["ftp://u:secret@127.0.0.1/x.zip?secret", "http:///x.zip", "x.zip"])
def test_unusable_address(tmp_path: Path, url: str) -> None:
    with pytest.raises(FetchError, match="^cannot download") as caught:
        download(url, md5(CONTENT), tmp_path)
    assert "secret" not in str(caught.value)
    assert names(tmp_path) == set()


@pytest.mark.parametrize(("value", "forbidden"), [("1", True), ("yes", True), ("0", False), ("", False), (None, False)])
def test_offline(monkeypatch: pytest.MonkeyPatch, value: str | None, forbidden: bool) -> None:
    monkeypatch.delenv("SVS_OFFLINE", raising=False)
    if value is not None:
        monkeypatch.setenv("SVS_OFFLINE", value)
    assert module.offline() == forbidden


def test_second_download_at_the_same_time_waits(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    arrived: list[Path] = []
    other = threading.Thread(target=lambda: arrived.append(download(server.url, md5(CONTENT), tmp_path)))
    with caplog.at_level("INFO", logger="svs"), FileLock(tmp_path / ".lock"):
        other.start()
        deadline = time.monotonic() + 60
        while "waiting" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert server.sent == [] and names(tmp_path) == set()
        # Meanwhile the first one finishes.
        (tmp_path / NAME).write_bytes(CONTENT)
    other.join(10)
    assert arrived == [tmp_path / NAME] and server.sent == []


Usage = namedtuple("Usage", "total used free")


def test_too_little_space_for_the_download(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_partial(server, tmp_path, monkeypatch)
    missing = len(CONTENT) - 2 * MIB
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, missing - 1))
    with pytest.raises(FetchError, match=f"not enough disk space: {missing} bytes"):
        download(server.url, md5(CONTENT), tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, missing))
    assert download(server.url, md5(CONTENT), tmp_path).read_bytes() == CONTENT


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_disk_full_in_the_middle(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.open

    def full(path: Path, mode: str = "r", **options: int) -> object:
        return real(Path("/dev/full") if mode == "wb" else path, mode, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        with pytest.raises(FetchError, match="No space left"):
            download(server.url, md5(CONTENT), tmp_path)
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


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_unpack(tmp_path: Path, capfd: pytest.CaptureFixture[str], packing: int) -> None:
    archive = write_zip(tmp_path / "a.zip", FILES, packing)
    target = tmp_path / "new" / "target"
    unpack(archive, target)
    assert tree(target) == FILES
    assert names(target.parent) == {"target"}
    out, err = capfd.readouterr()
    assert out == "" and "unpack a.zip" in err


def test_no_member_leaves_the_folder(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"../x": b"evil", f"{tmp_path}/y": b"evil"}, zipfile.ZIP_STORED)
    (tmp_path / "new").mkdir()
    unpack(archive, tmp_path / "new" / "target")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "new"]
    assert names(tmp_path / "new") == {"target"}


def test_more_than_the_disk_holds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_zip(tmp_path / "a.zip", {"a": bytes(100)}, zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, 99))
    with pytest.raises(FetchError, match="not enough disk space: 100 bytes"):
        unpack(archive, tmp_path / "target")
    assert names(tmp_path) == {"a.zip"}


def test_an_archive_that_is_none(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    archive.write_bytes(b"a tar, perhaps")
    with pytest.raises(FetchError, match=r"^cannot unpack .*a\.zip to .*target: File is not a zip file$"):
        unpack(archive, tmp_path / "target")
    assert names(tmp_path) == {"a.zip"}


def test_missing_archive(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="No such file"):
        unpack(tmp_path / "a.zip", tmp_path / "target")
    assert names(tmp_path) == set()


def test_interrupted_unpacking_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_zip(tmp_path / "a.zip", FILES, zipfile.ZIP_DEFLATED)
    real = zipfile.ZipFile.extract
    seen = []

    def interrupted(*arguments: object) -> None:
        real(*arguments)
        seen.append(tree(tmp_path))
        if len(seen) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "extract", interrupted)
        with pytest.raises(KeyboardInterrupt):
            unpack(archive, tmp_path / "target")
    assert len(seen) == 2 and names(tmp_path) == {"a.zip"}
    unpack(archive, tmp_path / "target")
    assert tree(tmp_path / "target") == FILES
