"""`svs separate`: vocals and accompaniment of any recording; the menu when nothing is named in a terminal."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import typer

from svs.cli import options
from svs.cli.request import Request, split_methods
from svs.errors import DataError, SettingsError, SVSError, UnavailableError
from svs.runtime.extras import require
from svs.runtime.process import log
from svs.runtime.streams import copy_to_output
from svs.stems import TARGETS

if TYPE_CHECKING:
    from svs.config.project import Project
    from svs.services.inputs import Input
    from svs.services.recordings import Order, Result, Service, Song

_Failure = tuple[str, str, SVSError]  # recording; method, or nothing for all of them; why

_BAR = "{desc} {percentage:3.0f}% |{bar}| {n:.0f} of {total:.0f} s [{elapsed}<{remaining}, {rate_noinv_fmt}]"
_OPEN_BAR = "{desc} {n:.0f} s [{elapsed}, {rate_fmt}]"  # the length of a track of MUSDB18 isn't known in advance


def separate(request: Request) -> None:
    """Separate songs into OUTPUT/SONG/METHOD/{vocals,accompaniment}.

    The results keep the sample rate and channels of the recording.  Existing results are skipped; a song or a method
    that fails does not stop the others.  With no song in a terminal, a menu asks for everything.
    """
    request = replace(request, methods=split_methods(request.methods))
    if not request.songs and not request.tracks:
        if not sys.stdin.isatty():
            raise SettingsError("name a song, a folder, or a --track; in a terminal `svs separate` shows a menu")
        from svs.cli.menu import ask

        request = ask(request)
        print(f"\n{request.command()}\n")
    run(request)


def run(request: Request, names: tuple[str, str] = TARGETS) -> None:
    """Do what is asked; the two files of each result get the `names`.  The exit code is that of the first error."""
    from svs import separators
    from svs.config.paths import NAME
    from svs.services import recordings
    from svs.services.inputs import open_inputs

    if request.reference is not None and (len(request.songs) != 1 or request.tracks):
        raise SettingsError("--reference goes with one song: it is the vocals of that recording")
    if request.reference is not None or request.tracks:
        require("pandas", "seaborn")  # for the table of scores
    here = request.open()
    shared = {each.name for each in fields(recordings.Order)} & {each.name for each in fields(request)}
    shared -= {"methods", "strength"}  # which depend on the project
    order = recordings.Order((), names=names, **{name: getattr(request, name) for name in shared})  # checked at once
    if not request.methods:
        request = replace(request, methods=[separators.default(here.settings, here.home, fetch=True)])
        log.info("by %s, the best that is available; --method chooses another", request.methods[0])
    named = {member for method in request.methods for member in separators.members(method)}
    blind = sorted(named & set(separators.of_kind(separators.Kind.ORACLE)))
    if blind and request.songs and request.reference is None:
        raise SettingsError(f"{blind[0]} needs the true stems; give --reference or a --track, or leave it out")
    nets = separators.of_group("cnn")
    if (request.wiener or request.hpss) and not named & set(nets):
        log.warning("--wiener and --hpss change %s alone; not one of them was asked for", ", ".join(nets))
    order = replace(order, methods=tuple(request.methods))
    if request.strength is not None:
        order = replace(order, strength=request.strength)
    if request.piped:
        _require_pipe(request)
    with open_inputs(request.songs, None if request.piped else request.output, order.name) as (inputs, errors):
        if (request.piped or request.reference is not None) and len(inputs) > 1:
            what = "-o -" if request.piped else "--reference"
            raise SettingsError(f"{what} goes with one song; {request.songs[0]} means {len(inputs)}")
        with tempfile.TemporaryDirectory(prefix="svs-") if request.piped else nullcontext() as holder:
            if holder is not None:
                order = replace(order, output=Path(holder) / "out", picture=False, name=NAME)
            if code := _each(here, order, request, inputs, errors):
                raise typer.Exit(code)
            if holder is not None:  # complete
                copy_to_output(next(order.output.glob(f"*/*/{order.files()[0]}")))


def _require_pipe(request: Request) -> None:
    """Raise SettingsError unless one stem of one song by one method goes to a pipe or a file."""
    if request.stem is None:
        raise SettingsError("-o - writes one file to standard output; say which with --stem, such as --stem vocals")
    for what, number in (("song", len(request.songs) + len(request.tracks)), ("method", len(request.methods))):
        if number != 1:
            raise SettingsError(f"-o - writes one file to standard output, but {number} {what}s are named; name one")
    if sys.stdout.isatty():
        raise SettingsError("standard output is a terminal; send it to a file or a program, or name a folder with -o")


def _each(here: Project, order: Order, request: Request, inputs: list[Input], errors: list[DataError]) -> int:
    """Separate the inputs and the tracks one after another; tell what failed, `errors` first; return the exit code."""
    from svs.services import output as output_folder
    from svs.services import recordings

    failed: list[_Failure] = [(str(error).partition(": ")[0], "", error) for error in errors]
    unavailable: dict[str, SVSError] = {}
    if inputs or request.tracks:
        with output_folder.only_one(order.output):
            worker = recordings.Service(here, order)
            unavailable = worker.unavailable
            failed += _separated(here, worker, request, inputs)
    for path, method, why in failed:
        options.complain(why, path, method)
    for name, reason in unavailable.items():
        print(f"error: {name} was left out: {reason}", file=sys.stderr)
    count = len(inputs) + len(request.tracks) + len(errors)
    if failed and count > 1:
        print(f"{len({path for path, *_ in failed})} of {count} recordings failed", file=sys.stderr)
    if failed:
        return failed[0][2].exit_code
    return UnavailableError.exit_code if unavailable else 0


def _separated(here: Project, worker: Service, request: Request, inputs: list[Input]) -> list[_Failure]:
    """Separate the inputs and the tracks, with a bar of the progress; return what failed."""
    from tqdm.contrib.logging import logging_redirect_tqdm

    from svs.runtime.progress import advance, progress_bar
    from svs.services import recordings

    order, count = worker.order, len(worker.methods)
    failed: list[_Failure] = []
    jobs: list[tuple[str, float, AbstractContextManager[Song]]] = []
    for one in inputs:
        recording = recordings.open_song(one.path, one.name, order, request.reference, one.label)
        jobs.append((str(one), _seconds(one.path, order), recording))
    jobs += [(track, 0.0, open_track(here, request.musdb, track, order)) for track in request.tracks]
    total = sum(seconds for _, seconds, _ in jobs) * count
    # The log is written above the bar, not through it.
    bar = progress_bar(total=total or None, unit="s", desc="separate", bar_format=_BAR if total else _OPEN_BAR)
    with logging_redirect_tqdm(), bar as moving:
        for label, seconds, opened in jobs:
            end = moving.n + seconds * count
            try:
                with opened as song:
                    true = song.mixture.samples / song.mixture.rate  # a file may hold more or less than it states
                    end = moving.n + true * count
                    if moving.total is not None:
                        moving.total += (true - seconds) * count
                    if getattr(song.mixture, "silent", False):
                        log.warning("%s: digitally silent throughout", label)
                    results = worker.separate(song, partial(advance, moving), moving.set_description)
                for result in results:
                    if result.error is None and not request.piped:  # errors are printed at the end
                        log.info("%s%s", result.folder, " (was there already)" if result.skipped else "")
                    for note in result.notes:
                        log.info("  %s", note)
                failed += [(label, result.method, result.error) for result in results if result.error is not None]
                _summarise(order.output, results, sys.stderr if request.piped else sys.stdout)
            except SVSError as error:
                failed.append((label, "", error))
            advance(moving, end - moving.n)  # what failed or was there already is done too
    return failed


def _seconds(path: Path, order: Order) -> float:
    """About how long the passage of a recording is; 0 if that can't be told (separating it will say why)."""
    from svs.audio.reading import decode

    try:
        rest = max(0.0, (decode.probe(path, order.stream).seconds or 0.0) - order.start)
    except SVSError:
        return 0.0
    return rest if order.duration is None else min(rest, order.duration)


@contextmanager
def open_track(here: Project, musdb: Path | None, name: str, order: Order) -> Iterator[Song]:
    """A test track of a data set, with its true stems, as a song."""
    from svs.audio.convert import passage
    from svs.audio.sources import PassageSource
    from svs.data import inspection
    from svs.services.recordings import Song

    settings, folder = here.settings, options.musdb_folder(here, musdb)
    with inspection.open_test_track(settings.download, settings.seed, folder, name) as (title, sources):
        mixture = sources["mixture"]
        first, last = passage(mixture, order.start, order.duration)
        if first >= last:
            seconds = mixture.samples / mixture.rate
            raise DataError(f"{title}: lasts {seconds:.2f} s; choose an earlier --start than {order.start:g}")
        cut = {stem: PassageSource(source, first, last) for stem, source in sources.items()}
        yield Song(title, cut.pop("mixture"), {"track": title, "samples": last - first}, {}, cut)


def _summarise(output: Path, results: list[Result], stream: TextIO) -> None:
    """With a reference: print (into the stream) and save the table of scores, and save the boxplot."""
    scored = {result.method: result.scores for result in results if result.scores is not None}
    if not scored:
        return
    from svs.evaluation import tables
    from svs.figures import scores, style

    song = results[0].song
    frames = tables.frame_table(scored)
    tables.write_table(output / song / "scores.csv", frames)
    if not frames["SDR"].notna().any():
        log.warning("%s: there is no second in which both parts sound, so there is no score", song)
        return
    style.save(scores.measures_boxplot(frames, song), output / song / "scores.png")
    print(f"\n{song}: BSS Eval v4, median over {frames['frame'].nunique()} frames of one second, in dB", file=stream)
    print(tables.frame_medians(frames), file=stream)
