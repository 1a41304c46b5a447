"""The command `svs`: a thin coat over the library.

Each command imports what it needs when it runs, so `svs --help` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from typer.exceptions import Abort, TyperException

from svs.cli import (
    doctor,
    extract,
    inspect,
    methods,
    models,
    report,
    revisions,
    score,
    separate,
    summary,
    train,
    vad,
    voice,
    web,
)
from svs.cli.options import app, command
from svs.errors import SettingsError
from svs.runtime.process import main as run

# What `svs -h` shows, in its order.
_PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Recordings": (separate.separate, voice.voice, voice.respiratory, vad.vad, web.app),
    "What is here": (methods.methods, doctor.doctor, inspect.inspect, models.fetch),
    "Training and scores": (
        extract.extract,
        train.train,
        score.score,
        summary.summary,
        report.report,
        revisions.compare,
        revisions.gate,
    ),
}
for _panel, _functions in _PANELS.items():
    for _function in _functions:
        app.command(_function.__name__, rich_help_panel=_panel)(command(_function))
app.add_typer(models.app, rich_help_panel="What is here")


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point: an error is one line, and gives its exit code."""
    run(_command, list(sys.argv[1:] if arguments is None else arguments))


def _command(arguments: list[str]) -> None:
    try:
        # typer itself prints an error as a box of several lines.
        code = app(arguments or ["--help"], prog_name="svs", standalone_mode=False)
    except TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else f"svs {arguments[0]}"
        text = " ".join(error.format_message().split()).rstrip(".")
        text = text.replace("Value error, ", "").replace("Input should be", "expected")
        raise SettingsError(f"{text[:1].lower()}{text[1:]}; see `{command} -h`") from None
    except Abort:  # Ctrl-D at a question is as Ctrl-C
        code = 130
    if code == 130:  # what typer makes of Ctrl-C
        raise KeyboardInterrupt
    if code:
        sys.exit(code)
