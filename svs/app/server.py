"""The server under the page: one process, one port, one folder that is removed when it ends."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
import webbrowser
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from svs.app.guard import Guard
from svs.app.markup import RESULTS
from svs.app.work import Desk, Limits, Run
from svs.config.project import Project
from svs.errors import SettingsError, UnavailableError

if TYPE_CHECKING:
    from fastapi import FastAPI

log = logging.getLogger("svs")

STATIC = Path(__file__).parent / "static"
PORTS = 100  # tried one after another
LOCAL = ("127.0.0.1", "localhost", "::1")
_TYPES = {
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".mp3": "audio/mpeg",
    ".png": "image/png",
    ".json": "application/json",
}
# gradio and what it brings along look at these when they are imported.
_QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_SHARE": "False",
    "GRADIO_SSR_MODE": "False",
    "GRADIO_MCP_SERVER": "False",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_ALLOWED_PATHS": "",
    "GRADIO_WATCH_DIRS": "",
    "GRADIO_ROOT_PATH": "",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "SVS_OFFLINE": "1",  # weights that are not there are not fetched either
}
_HEAD = (
    "<title>Singing voice separation</title>"
    '<link rel="icon" type="image/svg+xml" href="./svs/icon.svg">'
    '<link rel="stylesheet" href="./svs/page.css"><script src="./svs/page.js" defer></script>'
)


def require() -> None:
    """Raise UnavailableError where gradio is not installed."""
    from importlib.util import find_spec

    if find_spec("gradio") is None:
        raise UnavailableError("the web page needs gradio, which is not installed; run pip install 'svs[app]'")


def application(desk: Desk, host: str = "127.0.0.1") -> Guard:
    """The page and the files of its results, as an ASGI application."""
    require()
    import gradio as gr
    from fastapi import FastAPI

    from svs.app import page

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    _serve_files(app, desk)
    gr.mount_gradio_app(
        app,
        page.build(desk),
        path="/",
        theme=page.theme(),
        footer_links=[],
        run_history=False,
        allowed_paths=[],
        blocked_paths=[],
        max_file_size=desk.limits.bytes,
        show_error=False,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        root_path="",
        favicon_path=str(STATIC / "icon.svg"),
    )
    return Guard(app, host, _HEAD)


def _serve_files(app: FastAPI, desk: Desk) -> None:
    from fastapi import HTTPException
    from fastapi.responses import FileResponse, StreamingResponse

    static = {path.name: path for path in STATIC.iterdir() if path.is_file()}

    @app.get("/svs/{name}")
    def own(name: str) -> FileResponse:
        if name not in static:
            raise HTTPException(404)
        return FileResponse(static[name], headers={"cache-control": "no-cache"})

    @app.get(f"/{RESULTS}/{{token}}/{{name:path}}")
    def result(token: str, name: str):
        run = desk.run(token)
        if run is not None and name == "all.zip" and run.files:
            return StreamingResponse(archive(run), media_type="application/zip")
        path = run.files.get(name) if run is not None else None  # by name: no path leads anywhere else
        if path is None or not path.is_file():
            raise HTTPException(404)
        return FileResponse(path, media_type=_TYPES.get(path.suffix, "application/octet-stream"))


class _Pipe:
    """A file to write to whose content is taken away as it comes."""

    def __init__(self):
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def archive(run: Run) -> Iterator[bytes]:
    """A zip of a run's files, made while it is sent: it takes no disk and no memory.  Audio is not compressed again."""
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED, allowZip64=True) as target:
        for name, path in run.files.items():
            entry = zipfile.ZipInfo.from_file(path, f"{run.song}/{name}")
            with open(path, "rb") as source, target.open(entry, "w", force_zip64=entry.file_size > 2**31) as member:
                while block := source.read(1 << 20):
                    member.write(block)
                    yield pipe.take()
    yield pipe.take()


def listen(host: str, port: int) -> socket.socket:
    """A socket on a port, or on the next free one.

    Raises
    ------
    SettingsError
        There is none, or no such host.
    """
    if not 0 <= port < 65536:
        raise SettingsError(f"--port: expected 0 to 65535, got {port}")
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host.strip("[]") or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise SettingsError(f"--host {host}: no such address ({getattr(error, 'strerror', error)})") from None
    for candidate in range(port, min(port + PORTS, 65536)):
        endpoint = socket.socket(family, socket.SOCK_STREAM)
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            endpoint.bind((address[0], candidate, *address[2:]))
            endpoint.listen(128)
            return endpoint
        except OSError as error:
            endpoint.close()
            if error.errno != errno.EADDRINUSE:
                raise SettingsError(
                    f"{host}:{candidate}: can't listen there ({error.strerror}); choose another --host or --port"
                ) from None
    raise SettingsError(f"--port: {port} and the {PORTS - 1} ports after it are taken; choose another")


@contextmanager
def workplace() -> Iterator[Path]:
    """A temporary folder for all that the server keeps, the temporary files of svs and gradio included.

    It is removed at the end, which a SIGTERM or SIGHUP is too.
    """
    before = {name: os.environ.get(name) for name in (*_QUIET, "GRADIO_TEMP_DIR", "TMPDIR")}
    directory = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="svs-app-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        for part in ("uploads", "results", "temporary"):
            (folder / part).mkdir()
        os.environ.update(_QUIET, GRADIO_TEMP_DIR=str(folder / "uploads"), TMPDIR=str(folder / "temporary"))
        tempfile.tempdir = str(folder / "temporary")
        try:
            yield folder
        finally:
            tempfile.tempdir = directory
            for key, value in before.items():
                if value is None:
                    os.environ.pop(key, None)
                else:
                    os.environ[key] = value


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP raise SystemExit, so that what has to be cleared away is."""

    def leave(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, leave) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def serve(
    project: Project, *, host: str = "127.0.0.1", port: int = 7860, minutes: float = 15.0, show: bool = False
) -> None:
    """Serve the page until the process is interrupted or terminated.

    Parameters
    ----------
    project : Project
        Its parameters and models are used.
    host : str
        Address to listen on; others than this machine's own are warned of.
    port : int
        Or the next free one; 0: any.
    minutes : float
        Length of the longest passage.
    show : bool
        Open it in a browser.

    Raises
    ------
    UnavailableError
        gradio is not installed.
    SettingsError
        The host, port or limit is impossible.
    """
    limits = Limits(minutes)
    require()
    with _ended_by_signals(), listen(host, port) as endpoint, workplace() as folder:
        import uvicorn

        if host not in LOCAL:
            log.warning(
                "warning: --host %s lets everybody who can reach this machine use the page, and there is no password",
                host,
            )
        desk = Desk(project, limits, folder / "results")
        app = application(desk, host)
        url = address(host, endpoint.getsockname()[1])
        server = uvicorn.Server(
            uvicorn.Config(
                app, log_level="critical", access_log=False, server_header=False, timeout_graceful_shutdown=1
            )
        )
        print(f"svs is at {url} (Ctrl+C ends it)", flush=True)
        if show:
            threading.Timer(1.0, webbrowser.open, [url]).start()
        try:
            with suppress(KeyboardInterrupt):
                server.run(sockets=[endpoint])
        finally:
            desk.close()
            sys.stdout.flush()


def address(host: str, port: int) -> str:
    """Where a browser on this machine finds the page."""
    name = "127.0.0.1" if host in ("0.0.0.0", "") else "::1" if host == "::" else host.strip("[]")
    return f"http://[{name}]:{port}/" if ":" in name else f"http://{name}:{port}/"
