"""`svs summary`: the results of a run as one table for a thesis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from typer import Option

from svs.cli.options import Tuned, complain
from svs.errors import SVSError

if TYPE_CHECKING:
    from svs.config.project import Project
    from svs.services.cost import Cost


def summary(
    common: Tuned,
    form: Annotated[Literal["text", "markdown", "latex"], Option("--format", "-f", help="Of the table.")] = "text",
    measure: Annotated[
        bool, Option("--measure", help="Also measure each method's speed and memory on this machine.")
    ] = False,
    seconds: Annotated[float, Option(min=1.0, help="Of the longest test track that --measure separates.")] = 30.0,
) -> None:
    """Every method of the last run in one table: SDR with its interval, parameters, what it was trained on.

    The pipeline writes the same table, without what --measure adds, as metrics/summary.md and summary.tex.
    """
    from svs.config import paths
    from svs.evaluation import summary as tables
    from svs.evaluation.tables import TRACK_COLUMNS, read_table

    here = common.open()
    scores = read_table(here.path(paths.METRICS / "scores.csv"), TRACK_COLUMNS)
    found = tables.table(scores, tables.cards(here.settings, here.home), here.settings.seed)
    if measure:
        found = tables.with_costs(found, _costs(here, list(dict.fromkeys(found["method"])), seconds))
    printed = {"text": tables.as_text, "markdown": tables.as_markdown, "latex": tables.as_latex}[form](found)
    common.say(printed.rstrip())


def _costs(here: Project, methods: list[str], seconds: float) -> dict[str, Cost]:
    """What each method costs, one after the other; those that can't run here are named and left out."""
    from svs.runtime.progress import progress_bar
    from svs.services import cost

    found = {}
    for method in progress_bar(methods, unit="method", desc="measure"):
        try:
            found[method] = cost.of_method(here, method, seconds)
        except SVSError as error:
            complain(error, method)
    return found
