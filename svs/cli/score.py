"""`svs score`: the dissertation's test_service."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from svs.cli import options
from svs.cli.options import app
from svs.errors import DataError, SettingsError, SVSError
from svs.runtime.process import log

if TYPE_CHECKING:
    from svs.config.project import Project


@app.command()
def score(
    methods: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="METHOD", help="Methods of `svs methods`, or of the folder of --estimates.", show_default=False
        ),
    ] = None,
    musdb: Annotated[
        Path | None,
        typer.Option(help="Folder of MUSDB18 or MUSDB18-HQ (train/ and test/).", show_default="the project's data set"),
    ] = None,
    output: options.Output = Path("scored"),
    estimates: Annotated[
        Path | None,
        typer.Option(
            help="Score what is there already: test/TRACK/{vocals,accompaniment}.wav, or folders of that.",
            show_default=False,
        ),
    ] = None,
    tracks: Annotated[
        list[str] | None,
        typer.Option(
            "--tracks",
            "-t",
            help="The first so many, or a name or a part of it; again for several.",
            show_default="all test tracks",
        ),
    ] = None,
    start: Annotated[
        float | None,
        typer.Option(min=0.0, help="Second of each track at which scoring starts.", show_default="params.yaml"),
    ] = None,
    duration: Annotated[
        float | None, typer.Option(min=0.001, help="Seconds that are scored.", show_default="params.yaml")
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(help="bsseval (stereo, the whole track) | dissertation (mono, 22,050 Hz, 60 s from second 30)."),
    ] = "bsseval",
    weights: options.Weights = None,
    overwrite: options.Overwrite = False,
    project: options.ProjectFolder = None,
    overrides: options.Overrides = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Separate every test track by every METHOD and score it: the dissertation's test_service.

    OUTPUT/METHOD/test/TRACK/{vocals,accompaniment}.wav, OUTPUT/scores/ (museval's JSON), OUTPUT/scores.csv and
    OUTPUT/sdr_boxplot.{png,svg}.  Tracks that are done are skipped.  Whole tracks are separated, whatever passage is
    scored.
    """
    from svs import separators
    from svs.cli.separate import Request, split_methods
    from svs.config import paths
    from svs.data import locate
    from svs.evaluation.museval_json import DISSERTATION, PROTOCOLS
    from svs.services import output as output_folder

    if protocol not in PROTOCOLS:
        raise SettingsError(f"--protocol {protocol}: expected one of {', '.join(PROTOCOLS)}")
    passage = "score.dissertation.passage" if protocol == DISSERTATION else "score.passage"
    laid = [
        *Request(weights=weights, overrides=list(overrides or ())).all_overrides(),
        *(
            f"{passage}.{key}={value!r}"
            for key, value in (("start", start), ("duration", duration))
            if value is not None
        ),
    ]
    here = options.open_project(project, laid)
    wanted = split_methods(methods) if methods else []
    if estimates is None and not wanted:
        raise SettingsError("name one method or more (`svs methods` lists them), or --estimates")
    unknown = [method for method in wanted if method not in separators.methods()] if estimates is None else []
    if unknown:
        raise SettingsError(f"{unknown[0]}: no such method; expected one of {', '.join(separators.methods())}")
    folders = (
        _estimates(estimates, wanted, output)
        if estimates is not None
        else {method: output / method for method in wanted}
    )
    with options.resumable():
        folder = musdb if musdb is not None else locate.locate_present(here.settings, here.path(paths.DATASETS))
        with output_folder.only_one(output):
            code = _compare(here, folder, folders, estimates is None, output, tracks or (), protocol, overwrite, quiet)
    if code:
        raise typer.Exit(code)


def _estimates(folder: Path, wanted: list[str], output: Path) -> dict[str, Path]:
    """Folders of estimates by method; one folder alone takes the method's name that is given."""
    from svs.services import test_set

    found = test_set.methods_below(folder)
    if (folder / "test").is_dir():
        if len(wanted) > 1:
            raise SettingsError(f"{folder} holds the estimates of one method, but {len(wanted)} are named")
        return {(wanted or list(found))[0]: folder}
    missing = [method for method in wanted if method not in found]
    if missing:
        raise DataError(f"{folder}: no estimates of {', '.join(missing)}; it holds {', '.join(found)}")
    return {method: found[method] for method in wanted or found}


def _compare(
    here: Project,
    musdb: Path,
    folders: dict[str, Path],
    make: bool,
    output: Path,
    wanted: Sequence[str],
    protocol: str,
    overwrite: bool,
    quiet: bool,
) -> int:
    from svs.services import test_set

    data = test_set.open_test_set(here, musdb, wanted)
    tracks = data.manifest.split("test")
    failed: dict[str, SVSError] = {}
    for method, folder in folders.items():
        try:
            if make:
                done = test_set.separate(data, method, here, folder, overwrite=overwrite)
                log.info("%s: %d tracks separated, %d were there already", method, done, len(tracks) - done)
            done = test_set.score(
                data, folder, method, here.settings.score, protocol, output / "scores" / method, overwrite=overwrite
            )
            log.info("%s: %d tracks scored, %d were there already", method, done, len(tracks) - done)
        except SVSError as error:
            if len(folders) == 1:
                raise
            log.warning("%s is left out: %s", method, error)
            failed[method] = error
    scored = [method for method in folders if method not in failed]
    if scored:
        note = f"{len(tracks)} test tracks of {musdb.resolve().name}; protocol {protocol}; points are tracks"
        text = test_set.report(output, scored, tracks, protocol, note)
        if not quiet:
            print(f"median over {len(tracks)} tracks in dB, protocol {protocol}\n{text}")
    for method, error in failed.items():
        print(f"error: {method} was left out: {error}", file=sys.stderr)
    return next(iter(failed.values())).exit_code if failed else 0
