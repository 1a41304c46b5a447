"""The command `svs`: a thin coat over the library.

Each command imports what it needs when it runs, so `svs --help` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from typer.exceptions import Abort, TyperException

from svs.cli import doctor, extract, methods, report, revisions, score, separate, train, vad, voice, web
from svs.cli.options import app
from svs.errors import SettingsError
from svs.runtime.process import main as run

__all__ = [
    "doctor",
    "extract",
    "main",
    "methods",
    "report",
    "revisions",
    "score",
    "separate",
    "train",
    "vad",
    "voice",
    "web",
]

# What `svs -h` shows, in its order.
_PANELS = {
    "Recordings": ("separate", "voice", "respiratory", "vad", "app"),
    "What is here": ("methods", "doctor"),
    "Training and scores": ("extract", "train", "score", "report", "compare", "gate"),
}
_PLACES = {name: panel for panel, names in _PANELS.items() for name in names}
for _one in app.registered_commands:
    _one.name = _one.name or _one.callback.__name__
    _one.rich_help_panel = _PLACES[_one.name]
app.registered_commands.sort(key=lambda command: list(_PLACES).index(command.name))


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point: an error is one line, and gives its exit code."""
    run(_command, list(sys.argv[1:] if arguments is None else arguments))


def _command(arguments: list[str]) -> None:
    try:
        # What typer itself would make of an error is a box of several lines.
        code = app(arguments or ["--help"], prog_name="svs", standalone_mode=False)
    except TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else f"svs {arguments[0]}"
        text = " ".join(error.format_message().split()).rstrip(".").replace("Input should be", "expected")
        raise SettingsError(f"{text[:1].lower()}{text[1:]}; see `{command} -h`") from None
    except Abort:  # Ctrl-D at a question leaves as Ctrl-C does
        code = 130
    if code:
        sys.exit(code)
