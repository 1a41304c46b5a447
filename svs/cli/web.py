"""`svs app`: the web page."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from svs.cli.options import Quality, Tuned
from svs.config.quality import DEFAULT, parameters


def app(
    common: Tuned,
    host: Annotated[str, Option(help="Address to listen on; by default only this machine can reach it.")] = "127.0.0.1",
    port: Annotated[int, Option(help="Port, or the next free one.", min=0, max=65535)] = 7860,
    quality: Quality = DEFAULT,
    max_minutes: Annotated[float, Option(help="Length of the longest passage that is separated.")] = 15.0,
    open_: Annotated[bool, Option("--open/--no-open", help="Open the page in a browser.")] = True,
) -> None:
    """Serve a web page on this machine: drop a song, choose methods, listen to them side by side.

    Nothing is fetched from outside and nothing is sent.
    """
    from svs.app import server

    server.serve(common.open(parameters(quality)), host, port, max_minutes, open_)
