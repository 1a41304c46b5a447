"""`svs app`: the web page."""

from __future__ import annotations

from typing import Annotated

import typer

from svs.cli import options


@options.app.command("app")
def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; by default only this machine can reach it.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port, or the next free one.", min=0, max=65535)] = 7860,
    project: options.ProjectFolder = None,
    max_minutes: Annotated[float, typer.Option(help="Length of the longest passage that is separated.")] = 15.0,
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = True,
    overrides: options.Overrides = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Serve a web page on this machine: drop a song, choose methods, listen to them side by side.

    Nothing is fetched from outside and nothing is sent.
    """
    from svs.app import server

    server.require()

    server.serve(options.open_project(project, overrides or []), host=host, port=port, minutes=max_minutes, show=open_)
