"""`svs compare`, `svs gate`: the scores of the workspace against those of another revision."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from svs.cli import options
from svs.cli.options import app

Against = Annotated[str, typer.Option("--against", metavar="REV", help="A branch, tag or commit of Git.")]


@app.command()
def compare(
    against: Against,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder for compare.md and compare.png, boxplots of both.", show_default=False
        ),
    ] = None,
    markdown: Annotated[bool, typer.Option("--md", help="Print GitHub's Markdown.")] = False,
    project: options.ProjectFolder = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """How every method's SDR changed since REV, track by track: the median with its interval."""
    from svs.evaluation import revisions
    from svs.runtime import files

    here = options.open_project(project)
    before, after = revisions.committed(against, here.home), revisions.workspace(here.home)
    found = revisions.compare(before, after, here.settings.seed)
    if not quiet:
        print(revisions.as_markdown(found).rstrip() if markdown else revisions.as_text(found))
    if output is not None:
        from svs.figures import scores, style

        files.write_text(output / "compare.md", revisions.as_markdown(found))
        note = "points are tracks; beside the names the medians of the vocals, before and after"
        style.save(
            scores.revisions_boxplot((before.name, before.table), (after.name, after.table), note),
            output / "compare.png",
        )


@app.command()
def gate(
    against: Against,
    tolerance: Annotated[
        float | None,
        typer.Option(min=0.0, help="dB that a method's median paired SDR may fall.", show_default="params.yaml"),
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="A method may vanish, and a track lose its score.")
    ] = False,
    project: options.ProjectFolder = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Exit code 7 where a method's SDR fell since REV: by more than the tolerance, its interval below zero."""
    from svs.evaluation import revisions

    here = options.open_project(project)
    found = revisions.compare(
        revisions.committed(against, here.home), revisions.workspace(here.home), here.settings.seed
    )
    passed = revisions.gate(
        found, here.settings.gate.tolerance if tolerance is None else tolerance, allow_missing=allow_missing
    )
    if not quiet:
        print(passed)
