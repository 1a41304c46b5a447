"""`svs methods`: list the separation methods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from svs.cli import options
from svs.cli.options import app

if TYPE_CHECKING:
    pass


@app.command()
def methods(
    weights: options.Weights = None,
    project: options.ProjectFolder = None,
    overrides: options.Overrides = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Every separation method, and whether it can run here."""
    from svs import separators
    from svs.cli.request import Request
    from svs.services import doctor

    here = options.open_project(project, Request(weights=weights, overrides=list(overrides or ())).all_overrides())
    states = {method: doctor.method(method, here) for method in separators.methods()}
    column = max(map(len, states))
    chosen = doctor.default(here)
    for method, check in states.items():
        word = " (the default)" if method == chosen else ""
        print(
            f"{method:<{column}}  {'ready  ' if check.ok else 'missing'}  {separators.find_method(method).about}{word}"
        )
        if check.advice:
            print(f"{'':<{column}}           {check.advice}")
