"""What stands between a browser and the page: nothing from outside, nothing to outside, no other site's requests.

An ASGI middleware.  It answers only to the names that the server goes by (a
site that points a name of its own at 127.0.0.1 is refused), refuses requests
that another site's page makes, closes gradio's routes that would fetch
something, forbids the browser by a Content-Security-Policy to load anything
from elsewhere, and takes out of gradio's HTML what refers to elsewhere.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_EVERYWHERE = ("0.0.0.0", "::", "")
_CLOSED = re.compile(
    r"/(gradio_api/(proxy=|file=https?:|file/https?:|runs|run-history|mcp|deep_link|dev/|openapi"
    r"|custom_component)|monitoring|login|logout|svelte|docs$|redoc$|openapi\.json$)",
    re.IGNORECASE,
)
_OUTSIDE = re.compile(
    r"""<meta[^>]*(?:https?:)?//[^>]*>|<meta\s+(?:property|name)="(?:og|twitter):[^>]*>"""
    r"""|<link[^>]*href=["'](?:https?:)?//[^>]*>|<link rel="manifest"[^>]*>"""
    r"""|<script[^>]*src=["'](?:https?:)?//[^>]*>\s*</script>""",
    re.IGNORECASE,
)
_SCRIPT = re.compile(r"<script(?=[\s>])")

# gradio needs styles in the text of the page, and its HTML component compiles templates (unsafe-eval); scripts in the
# text run only with the answer's nonce.
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-eval'{nonce}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' blob: data:; font-src 'self' data:; connect-src 'self'; "
    "worker-src 'self' blob:; manifest-src 'self'; form-action 'self'; base-uri 'self'; object-src 'none'; "
    "frame-src 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class Guard:
    """Parameters
    ----------
    app : ASGI application
    host : str
        What the server listens on.
    head : str
        HTML laid into the page's <head>.
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], host: str = "127.0.0.1", head: str = ""):
        self._app, self._head = app, head
        self._names = names(host)
        self._any_address = host in _EVERYWHERE

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if refusal := self.refusal(headers, scope["path"]):
            status, text = refusal
            await _answer(send, status, text)
            return
        nonce = secrets.token_urlsafe(16)
        if scope["path"] == "/":  # its text is changed, so it must not come compressed
            scope = {**scope, "headers": [pair for pair in scope["headers"] if pair[0].lower() != b"accept-encoding"]}
            await self._app(scope, receive, _Rewriter(send, nonce, self._head))
        else:
            await self._app(scope, receive, _Rewriter(send))

    def refusal(self, headers: dict[str, str], path: str) -> tuple[int, str] | None:
        """Why a request is not answered: a status and a sentence; None where it is."""
        host = headers.get("host", "")
        if not self.known(host):
            return 421, "This server does not go by that name."
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return 403, "Requests from another site are refused."
        if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
            return 403, "Requests from another site are refused."
        if _CLOSED.match(path):
            return 404, "Not found."
        return None

    def known(self, host: str) -> bool:
        """Is this value of the header Host one of the server's own names?"""
        name = hostname(host)
        if name in self._names:
            return True
        # A name can be pointed anywhere by whoever owns it, an address can not.
        return self._any_address and _is_address(name)


def names(host: str) -> set[str]:
    """What a server on `host` may be called in an address."""
    own = {"localhost", "127.0.0.1", "::1"}
    if host in _EVERYWHERE:
        return own | {socket.gethostname().lower()}
    return own | {host.strip("[]").lower()}


def hostname(value: str) -> str:
    """The name in a header Host, without port and brackets."""
    try:
        return (urlsplit(f"//{value}").hostname or "").lower()
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def cleaned(html: str, nonce: str, head: str = "") -> str:
    """gradio's page without anything from elsewhere, its scripts marked with the nonce."""
    html = _SCRIPT.sub(f'<script nonce="{nonce}"', _OUTSIDE.sub("", html))
    return html.replace("</head>", f"{head}</head>", 1)


class _Rewriter:
    """Adds headers to an answer; with a nonce it changes HTML too."""

    def __init__(self, send: Send, nonce: str | None = None, head: str = ""):
        self._send, self._nonce, self._head = send, nonce, head
        self._start: Message | None = None
        self._body: list[bytes] = []

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            pairs = [(name.lower(), value) for name, value in message["headers"]]
            html = self._nonce is not None and any(
                name == b"content-type" and value.startswith(b"text/html") for name, value in pairs
            )
            policy = POLICY.format(nonce=f" 'nonce-{self._nonce}'" if html else "")
            added = [(name.encode(), value.encode()) for name, value in _policies(policy)]
            mine = {name for name, _ in added}
            pairs = [pair for pair in pairs if pair[0] not in mine] + added
            if html:
                self._start = {**message, "headers": [pair for pair in pairs if pair[0] != b"content-length"]}
                return
            message = {**message, "headers": pairs}
        elif self._start is not None and message["type"] == "http.response.body":
            self._body.append(message.get("body", b""))
            if message.get("more_body"):
                return
            text = cleaned(b"".join(self._body).decode(), self._nonce, self._head).encode()
            length = (b"content-length", str(len(text)).encode())
            await self._send(
                {**self._start, "headers": [*self._start["headers"], length, (b"cache-control", b"no-store")]}
            )
            self._start = None
            message = {"type": "http.response.body", "body": text}
        await self._send(message)


def _policies(policy: str) -> Iterable[tuple[str, str]]:
    yield "content-security-policy", policy
    yield from HEADERS.items()


async def _answer(send: Send, status: int, text: str) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", str(len(text)).encode()),
                (b"connection", b"close"),
            ],
        }
    )
    await send({"type": "http.response.body", "body": text.encode()})
