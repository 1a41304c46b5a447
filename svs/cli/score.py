"""`svs score`: the dissertation's test_service."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from typer import Argument, Option

from svs.cli import options
from svs.cli.request import split_methods, weights_as_parameters
from svs.errors import SettingsError, SVSError
from svs.runtime.extras import require
from svs.runtime.process import log

if TYPE_CHECKING:
    from svs.config.project import Project
    from svs.data.dataset import Dataset


@dataclass(kw_only=True)
class Scoring(options.Tuned):
    """The options of `svs score`."""

    methods: Annotated[
        list[str], Argument(metavar="METHOD", help="Methods of `svs methods`, or of the folder of --estimates.")
    ] = field(default_factory=list)
    musdb: options.Musdb = None
    output: options.Output = Path("scored")
    estimates: Annotated[
        Path | None,
        Option(help="Score existing estimates: test/TRACK/{vocals,accompaniment}.wav, or folders of that."),
    ] = None
    tracks: Annotated[
        list[str], Option("-t", help="The first so many, or (a part of) a name; again for several.", show_default="all")
    ] = field(default_factory=list)
    start: Annotated[float | None, options.tuned(min=0.0, help="Second of each track at which scoring starts.")] = None
    duration: Annotated[float | None, options.tuned(min=0.001, help="Seconds that are scored.")] = None
    protocol: Annotated[
        Literal["bsseval", "dissertation"],
        Option(
            help="bsseval (the audio as it is, by default whole) | dissertation (mono, 22,050 Hz, 60 s from second 30)."
        ),
    ] = "bsseval"
    weights: options.Weights = None
    overwrite: options.Overwrite = False


def score(given: Scoring) -> None:
    """Separate every test track by every METHOD and score it: the dissertation's test_service.

    OUTPUT/METHOD/test/TRACK/{vocals,accompaniment}.wav, OUTPUT/scores/ (museval's JSON), OUTPUT/scores.csv and
    OUTPUT/sdr_boxplot.{png,svg}.  Tracks that are done are skipped.  Whole tracks are separated, whatever passage is
    scored.
    """
    from svs import separators
    from svs.evaluation.museval_json import DISSERTATION
    from svs.services import output as output_folder
    from svs.services import test_set

    require("pandas", "seaborn")  # for the table of scores, which is made last
    passage = "score.dissertation.passage" if given.protocol == DISSERTATION else "score.passage"
    here = given.open(
        weights_as_parameters(given.weights), options.assignments(passage, start=given.start, duration=given.duration)
    )
    if "log_WMSE" in here.settings.score.rulers:
        require("torch_log_wmse")
    wanted = split_methods(given.methods)
    if given.estimates is not None:
        folders = test_set.methods_below(given.estimates, wanted)
    else:
        if not wanted:
            raise SettingsError("name one method or more (`svs methods` lists them), or --estimates")
        for method in wanted:
            separators.members(method)
        folders = {method: given.output / method for method in wanted}
    musdb = options.musdb_folder(here, given.musdb)
    with output_folder.only_one(given.output):
        data = test_set.open_test_set(here, musdb, given.tracks)
        failed = _scored(given, here, data, folders)
        tracks = data.manifest.split("test")
        if done := [method for method in folders if method not in failed]:
            note = f"{len(tracks)} test tracks of {musdb.resolve().name}; protocol {given.protocol}; points are tracks"
            text = test_set.report(given.output, done, tracks, given.protocol, note)
            given.say(f"median over {len(tracks)} tracks in dB, protocol {given.protocol}\n{text}")
    for method, error in failed.items():
        options.complain(f"{method} was left out: {error}")
    if failed:
        raise typer.Exit(next(iter(failed.values())).exit_code)


def _scored(given: Scoring, here: Project, data: Dataset, folders: dict[str, Path]) -> dict[str, SVSError]:
    """Separate (unless the estimates are given) and score by each method; return those that failed, and why."""
    from svs.services import test_set

    count = len(data.manifest.split("test"))
    failed: dict[str, SVSError] = {}
    for method, folder in folders.items():
        try:
            if given.estimates is None:
                done = test_set.separate(data, method, here, folder, overwrite=given.overwrite)
                log.info("%s: %d tracks separated, %d were there already", method, done, count - done)
            scores, settings = given.output / "scores" / method, here.settings.score
            done = test_set.score(data, folder, method, settings, given.protocol, scores, overwrite=given.overwrite)
            log.info("%s: %d tracks scored, %d were there already", method, done, count - done)
        except SVSError as error:
            if len(folders) == 1:
                raise
            log.warning("%s is left out: %s", method, error)
            failed[method] = error
    return failed
