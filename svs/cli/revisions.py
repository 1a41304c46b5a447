"""`svs compare`, `svs gate`: the scores of the workspace against those of another revision."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from svs.cli.options import Common, tuned

Against = Annotated[str, Option("--against", metavar="REV", help="A branch, tag or commit of Git.")]
Folder = Annotated[
    Path | None, Option("--output", "-o", help="Folder for compare.md and compare.png, boxplots of both.")
]
Tolerance = Annotated[float | None, tuned(min=0.0, help="dB that a method's median paired SDR may fall.")]
Missing = Annotated[bool, Option("--allow-missing", help="A method may vanish, and a track lose its score.")]


def compare(
    common: Common,
    against: Against,
    output: Folder = None,
    markdown: Annotated[bool, Option("--md", help="Print GitHub's Markdown.")] = False,
) -> None:
    """How every method's scores changed since REV, track by track: the median with its interval."""
    from svs.evaluation import revisions
    from svs.runtime import files

    here = common.open()
    before, after = revisions.committed(against, here.home), revisions.workspace(here.home)
    found = revisions.compare(before, after, here.settings.seed)
    common.say(revisions.as_markdown(found).rstrip() if markdown else revisions.as_text(found))
    if output is not None:
        from svs.figures import scores, style
        from svs.services.output import writing

        with writing(output, output):
            files.write_text(output / "compare.md", revisions.as_markdown(found))
        note = "points are tracks; beside the names the medians of the vocals, before and after"
        figure = scores.revisions_boxplot((before.name, before.songs), (after.name, after.songs), note)
        style.save(figure, output / "compare.png")


def gate(common: Common, against: Against, tolerance: Tolerance = None, allow_missing: Missing = False) -> None:
    """Exit code 7 if a method's scores fell since REV by more than the tolerance, with the interval below zero."""
    from svs.evaluation import revisions

    here = common.open()
    before, after = revisions.committed(against, here.home), revisions.workspace(here.home)
    found = revisions.compare(before, after, here.settings.seed)
    fall = here.settings.gate.tolerance if tolerance is None else tolerance
    common.say(revisions.gate(found, fall, allow_missing=allow_missing))
