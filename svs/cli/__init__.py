"""The command `svs`: a thin coat over the library.

Each command imports what it needs when it runs, so `svs --help` answers at once.
"""

from __future__ import annotations

from svs.cli import doctor, report, revisions, separate, tools, vad, voice, web
from svs.cli.options import app
from svs.running import main as run

__all__ = ["doctor", "main", "report", "revisions", "separate", "tools", "vad", "voice", "web"]


def main() -> None:
    """The entry point: an error is one line, and gives its exit code."""
    run(app)
