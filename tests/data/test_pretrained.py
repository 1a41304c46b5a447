"""Pretrained weights: where they are found, and what comes of a download that fails."""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import random
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from svs.data.pretrained import Remote, cache, find_weights
from svs.errors import UnavailableError
from svs.runtime import download

CONTENT = random.Random(7).randbytes(300_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """One file under every path; requests are counted, and answers can be made to break off."""

    def __init__(self):
        self.content, self.status, self.cuts, self.asked = CONTENT, 200, [], 0
        self.starts: list[int] = []  # first byte that each request asks for
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked += 1
                start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
                outer.starts.append(start)
                if outer.status != 200:
                    self.send_error(outer.status)
                    return
                self.send_response(206 if start else 200)
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(outer.content) - 1}/{len(outer.content)}")
                self.send_header("Content-Length", str(len(outer.content) - start))
                self.end_headers()
                body = outer.content[start:]
                if outer.cuts:
                    body = body[: outer.cuts.pop(0)]
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/files/net.pth"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch, tmp_path):
    monkeypatch.setattr(download, "BACKOFF_S", 0.0)
    monkeypatch.setenv("SVS_WEIGHTS", str(tmp_path / "cache"))
    monkeypatch.delenv("SVS_OFFLINE", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name != ".lock"}


def unavailable(*args, **kwargs) -> str:
    with pytest.raises(UnavailableError) as error:
        find_weights(*args, **kwargs)
    text = str(error.value)
    assert "\n" not in text and len(text) < 800
    return text


@pytest.mark.parametrize("digits", [8, 11, 64])
def test_downloaded_once(server, tmp_path, digits):
    remote = Remote("net.pth", server.url, DIGEST[:digits])
    (path,) = find_weights("method", [remote], tmp_path / "own")
    assert path == tmp_path / "cache" / "method" / "net.pth" and path.read_bytes() == CONTENT
    assert names(path.parent) == {"net.pth"} and not (tmp_path / "own").exists()
    asked = server.asked
    server.close()
    assert find_weights("method", [remote], tmp_path / "own") == [path]
    assert find_weights("method", [remote], tmp_path / "own", download=False) == [path]
    assert server.asked == asked == 1


@pytest.mark.parametrize("digits", [8, 64])
def test_another_file_than_published(server, tmp_path, digits):
    published = ("0" if DIGEST[0] != "0" else "1") + DIGEST[1:digits]
    text = unavailable("method", [Remote("net.pth", server.url, published)], tmp_path)
    assert "does not match" in text and published in text and DIGEST in text
    assert names(tmp_path / "cache" / "method") == set()
    server.content = b"now the right one"
    right = Remote("net.pth", server.url, hashlib.sha256(server.content).hexdigest()[:digits])
    assert find_weights("method", [right], tmp_path)[0].read_bytes() == server.content


def test_continues_after_a_break(server, tmp_path):
    server.cuts = [200_000]
    (path,) = find_weights("method", [Remote("net.pth", server.url, DIGEST[:8])], tmp_path)
    assert path.read_bytes() == CONTENT
    assert len(server.starts) == 2 and 200_000 - download.PIECE_BYTES < server.starts[1] <= 200_000


def test_continues_in_the_next_run(server, tmp_path, monkeypatch):
    remote = Remote("net.pth", server.url, DIGEST[:8])
    server.cuts = [200_000]
    with monkeypatch.context() as patch:
        patch.setattr(download, "RETRIES", 0)
        assert "run again" in unavailable("method", [remote], tmp_path)
    assert not (tmp_path / "cache" / "method" / "net.pth").exists()
    assert find_weights("method", [remote], tmp_path)[0].read_bytes() == CONTENT
    assert len(server.starts) == 2 and 200_000 - download.PIECE_BYTES < server.starts[1] <= 200_000


def test_nobody_there(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        remote = Remote("net.pth", f"http://127.0.0.1:{taken.getsockname()[1]}/net.pth", DIGEST)
        start = time.monotonic()
        text = unavailable("some_method", [remote], tmp_path / "own")
        assert time.monotonic() - start < 30
    for part in (
        "some_method",
        "net.pth",
        str(tmp_path / "own"),
        str(tmp_path / "cache" / "some_method"),
        remote.url,
        "refused",
        "put it into",
        "--weights",
        "SVS_WEIGHTS",
    ):
        assert part in text


def test_a_name_that_is_unknown(tmp_path):
    text = unavailable("method", [Remote("net.pth", "http://weights.invalid/net.pth", DIGEST)], tmp_path)
    assert "could not be downloaded" in text


@pytest.mark.parametrize("status", [403, 404, 503])
def test_a_server_that_refuses(server, tmp_path, status):
    server.status = status
    assert str(status) in unavailable("method", [Remote("net.pth", server.url, DIGEST)], tmp_path)


@pytest.mark.parametrize("switch", ["argument", "variable"])
def test_without_trying(server, tmp_path, monkeypatch, switch):
    if switch == "variable":
        monkeypatch.setenv("SVS_OFFLINE", "1")
    text = unavailable("method", [Remote("net.pth", server.url, DIGEST)], tmp_path, download=switch == "variable")
    assert ("SVS_OFFLINE" in text) == (switch == "variable") and server.asked == 0
    assert not (tmp_path / "cache").exists()
    monkeypatch.setenv("SVS_OFFLINE", "0")
    assert find_weights("method", [Remote("net.pth", server.url, DIGEST)], tmp_path)


def test_a_persons_own_file_comes_first_and_may_be_another(server, tmp_path, caplog):
    remote = Remote("net.pth", server.url, DIGEST[:8])
    find_weights("method", [remote], tmp_path / "own")
    own = tmp_path / "own" / "net.pth"
    own.parent.mkdir()
    own.write_bytes(CONTENT)
    with caplog.at_level(logging.INFO, logger="svs"):
        assert find_weights("method", [remote], own.parent) == [own]
        assert not caplog.messages
        own.write_bytes(b"trained at home")
        assert find_weights("method", [remote], own.parent) == [own]
    assert len(caplog.messages) == 1 and "is not the published file" in caplog.text and str(own) in caplog.text


def test_each_file_from_where_it_is(server, tmp_path):
    files = [Remote(name, server.url, DIGEST[:8]) for name in ("a.pth", "b.pth")]
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "b.pth").write_bytes(CONTENT)
    assert find_weights("method", files, tmp_path / "own") == [
        tmp_path / "cache" / "method" / "a.pth",
        tmp_path / "own" / "b.pth",
    ]


def test_a_cache_that_cannot_be_written(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SVS_WEIGHTS", str(tmp_path / "file"))
    assert "could not be downloaded" in unavailable("method", [Remote("net.pth", server.url, DIGEST)], tmp_path)


def _found(remote, folder, answers):
    answers.put(hashlib.sha256(find_weights("method", [remote], folder)[0].read_bytes()).hexdigest())


def test_processes_that_want_the_same_file_wait_for_each_other(server, tmp_path):
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    remote = Remote("net.pth", server.url, DIGEST[:8])
    processes = [context.Process(target=_found, args=(remote, tmp_path, answers)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert [answers.get() for _ in processes] == [DIGEST] * 3
    assert server.asked == 1


def test_where_the_cache_is(monkeypatch, tmp_path):
    assert cache() == tmp_path / "cache"
    monkeypatch.delenv("SVS_WEIGHTS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache().name == "weights" and "svs" in str(cache())
