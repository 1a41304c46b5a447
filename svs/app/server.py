"""The server of the page: one process, one port, one temporary folder that is removed when it ends."""

from __future__ import annotations

import errno
import os
import socket
import tempfile
import threading
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from svs.app.work import Desk
from svs.config.project import Project
from svs.errors import SettingsError
from svs.runtime.extras import require
from svs.runtime.process import log

PORTS = 100  # tried one after another
LOCAL = ("127.0.0.1", "localhost", "::1")
# The browser loads nothing from elsewhere, and no other site shows the page in a frame.  Gradio needs 'unsafe-*'.
POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline';"
    " frame-ancestors 'none'"
)
_OFFLINE = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "SVS_OFFLINE": "1"}  # nothing is downloaded


def application(desk: Desk, host: str) -> Any:
    """The page as an ASGI application, for the address that the server listens on.

    On an address of this machine alone, requests under any other name are refused: a web site can point its own name
    at 127.0.0.1 (DNS rebinding).
    """
    import gradio as gr
    from fastapi import FastAPI, Request
    from fastapi.responses import PlainTextResponse, Response
    from fastapi.staticfiles import StaticFiles
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from svs.app import page

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.middleware("http")
    async def of_this_page(request: Request, call_next: Any) -> Response:
        # Gradio keeps other sites from reading its answers, but does what their requests ask for.
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            return PlainTextResponse("Requests from another site are refused.", status_code=403)
        response = await call_next(request)
        response.headers["content-security-policy"] = POLICY
        return response

    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOCAL, "[::1]"] if host in LOCAL else ["*"])
    # Not by Gradio, whose header Content-Disposition overrules the file names that the page proposes.
    app.mount("/results", StaticFiles(directory=desk.folder))
    return gr.mount_gradio_app(
        app,
        page.build(desk),
        path="/",
        theme=page.THEME,
        css_paths=[page.STATIC / "page.css"],
        head=f"<script>{(page.STATIC / 'page.js').read_text()}</script>",
        favicon_path=str(page.STATIC / "icon.svg"),
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
    )


def listen(host: str, port: int) -> socket.socket:
    """A socket on a port, or on the next free one; raise SettingsError if none is free, or there is no such address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in range(port, port + PORTS):
        try:
            return socket.create_server((host, candidate), family=family)
        except (OSError, OverflowError) as error:
            if getattr(error, "errno", None) != errno.EADDRINUSE:
                expected = "expected an address of this machine and a port up to 65535"
                raise SettingsError(f"--host {host} --port {candidate}: {expected} ({error}); choose others") from None
    raise SettingsError(f"--port: {port} and the {PORTS - 1} ports after it are taken; choose another")


def serve(project: Project, host: str, port: int, minutes: float, show: bool) -> None:
    """Serve the page until the process is interrupted or terminated, and `show` it in a browser.

    Uploads and results lie in one temporary folder, which is removed at the end.  The process should end too: its
    temporary files are directed there.  Where the port is in use, the next free one is taken; 0 means any.  `minutes`
    is the length of the longest passage.

    Raises
    ------
    ModuleNotFoundError
        Gradio is not installed.
    SettingsError
        The host, port or limit is impossible.
    """
    require("gradio")
    with (
        listen(host, port) as endpoint,
        tempfile.TemporaryDirectory(prefix="svs-app-", ignore_cleanup_errors=True) as folder,
    ):
        desk = Desk(project, Path(folder) / "results", minutes)
        # Before Gradio is imported, which reads them then.
        os.environ.update(_OFFLINE, GRADIO_TEMP_DIR=f"{folder}/uploads", TMPDIR=folder)
        tempfile.tempdir = folder
        import uvicorn

        if host not in LOCAL:
            log.warning(
                "warning: --host %s lets everybody who can reach this machine use the page, without a password", host
            )
        app = application(desk, host)
        config = uvicorn.Config(app, log_level="critical", access_log=False, timeout_graceful_shutdown=1)
        url = address(host, endpoint.getsockname()[1])
        print(f"svs is at {url} (Ctrl+C ends it)", flush=True)
        if show:
            threading.Timer(1.0, webbrowser.open, [url]).start()
        try:
            with suppress(KeyboardInterrupt):
                uvicorn.Server(config).run(sockets=[endpoint])
        finally:
            desk.close()


def address(host: str, port: int) -> str:
    """Where a browser on this machine finds the page."""
    name = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{name}]:{port}/" if ":" in name else f"http://{name}:{port}/"
