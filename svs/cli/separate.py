"""`svs separate`: vocals and accompaniment of any recording; the menu when nothing is named in a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from svs.cli import options
from svs.cli.options import app
from svs.cli.request import DEFAULT_OUTPUT, Request, split_methods
from svs.errors import DataError, SettingsError, SVSError
from svs.runtime.process import log
from svs.stems import TARGETS

if TYPE_CHECKING:
    from svs.config.project import Project
    from svs.services.recordings import Order, Result, Song

DEFAULT_METHOD = "unet_separator where it is trained, else cnn_separator"  # svs.separators.recommended
_BAR = "{desc} {percentage:3.0f}% |{bar}| {n:.0f} of {total:.0f} s [{elapsed}<{remaining}, {rate_noinv_fmt}]"
_OPEN_BAR = "{desc} {n:.0f} s [{elapsed}, {rate_fmt}]"  # a track of MUSDB18 is measured when it is opened


@app.command()
def separate(
    songs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SONG", help="Audio or video files, folders, or patterns like '*.mp3'.", show_default=False
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            "-m",
            help="A method of `svs methods`; again, or with commas, for several.",
            show_default=DEFAULT_METHOD,
        ),
    ] = None,
    output: options.Output = DEFAULT_OUTPUT,
    start: options.Start = 0.0,
    duration: options.Duration = None,
    wiener: Annotated[bool, typer.Option("--wiener", "-w", help="Multichannel Wiener filter (our nets).")] = False,
    hpss: Annotated[
        bool, typer.Option("--hpss", help="Drop what percussion leaked into the vocals (our nets).")
    ] = False,
    codec: options.Format = "wav",
    reference: Annotated[
        Path | None,
        typer.Option(
            "--reference", "-r", help="The true vocals of the one song: scores, and oracles.", show_default=False
        ),
    ] = None,
    track: Annotated[
        list[str] | None,
        typer.Option(
            "--track",
            "-t",
            help="A test track of MUSDB18 by its name or a part of it; its stems are the reference.",
            show_default=False,
        ),
    ] = None,
    musdb: Annotated[
        Path | None,
        typer.Option(help="Folder of MUSDB18 for --track (default: the project's data set).", show_default=False),
    ] = None,
    weights: options.Weights = None,
    overwrite: options.Overwrite = False,
    picture: options.Picture = True,
    project: options.ProjectFolder = None,
    overrides: options.Overrides = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Separate songs into OUTPUT/SONG/METHOD/{vocals,accompaniment}.

    At the recording's own sample rate and channels.  What is there already is skipped; a song or a method that fails
    does not stop the others.  With no song in a terminal, a menu asks for everything.
    """
    request = Request(
        list(songs or []),
        list(track or []),
        split_methods(method),
        output,
        start,
        duration,
        codec,
        wiener,
        hpss,
        reference,
        musdb,
        weights,
        overwrite,
        picture,
        project,
        list(overrides or []),
    )
    if not request.songs and not request.tracks:
        if not sys.stdin.isatty():
            raise SettingsError("name a song, a folder, or a --track; in a terminal `svs separate` shows a menu")
        from svs.cli.menu import ask

        request = ask(request)
        print(f"\n{request.command()}\n")
    if code := run(request):
        raise typer.Exit(code)


def run(request: Request, names: tuple[str, str] = TARGETS) -> int:
    """Do what is asked, calling the two files `names`; returns the exit code."""
    from svs import separators
    from svs.services import recordings
    from svs.services.output import only_one, song_names

    if request.reference is not None and (len(request.songs) != 1 or request.tracks):
        raise SettingsError("--reference goes with one song: it is the vocals of that recording")
    here = options.open_project(request.project, request.all_overrides())
    if not request.methods:
        request = replace(request, methods=[separators.default(here.settings, here.home)])
        log.info("by %s, the best that is trained here; --method chooses another", request.methods[0])
    blind = [method for method in request.methods if separators.find_method(method).kind is separators.Kind.ORACLE]
    if blind and request.songs and request.reference is None:
        raise SettingsError(f"{blind[0]} needs the true stems; give --reference or a --track, or leave it out")
    order = recordings.Order(
        tuple(request.methods),
        request.output,
        request.start,
        request.duration,
        request.codec,
        request.overwrite,
        request.picture,
        names,
    )
    found = recordings.recordings(request.songs) if request.songs else []
    if request.reference is not None and len(found) != 1:
        raise SettingsError(f"--reference goes with one song; {request.songs[0]} means {len(found)}")
    nets = separators.of_group("cnn")
    if (request.wiener or request.hpss) and not set(request.methods) & set(nets):
        log.warning("--wiener and --hpss change %s alone; not one of them was asked for", ", ".join(nets))
    jobs = [*zip(found, song_names(found), strict=True), *((track, None) for track in request.tracks)]
    with options.resumable(), only_one(request.output):
        return _each(here, order, request, jobs)


def _each(here: Project, order: Order, request: Request, jobs: list[tuple[Path | str, str | None]]) -> int:
    from tqdm.contrib.logging import logging_redirect_tqdm

    from svs.runtime.progress import bar
    from svs.services import recordings

    worker = recordings.Service(here, order)
    failed: list[tuple[str, str, SVSError]] = []  # recording; method, or nothing for all of them; why
    lengths = [_seconds(path, order) if name is not None else 0.0 for path, name in jobs]
    total = sum(lengths) * len(worker.methods)
    form = _BAR if total else _OPEN_BAR
    # Lines of the log above the bar, not through it.
    with logging_redirect_tqdm(), bar(total=total or None, unit="s", desc="separate", bar_format=form) as moving:
        for (path, name), length in zip(jobs, lengths, strict=True):
            begun = moving.n
            try:
                with ExitStack() as stack:
                    song = stack.enter_context(
                        recordings.open_song(path, name, order, request.reference)
                        if name is not None
                        else open_track(here, request.musdb, path, order)
                    )
                    if getattr(song.mixture, "silent", False):
                        log.warning("%s: digitally silent throughout", path)
                    results = worker.separate(
                        song, moving.update, lambda method, song=song: moving.set_description(f"{song.name}: {method}")
                    )
                for result in results:
                    report(result)
                failed += [(str(path), result.method, result.error) for result in results if result.error is not None]
                _summarise(order.output, results)
            except SVSError as error:
                failed.append((str(path), "", error))
                moving.update(max(0.0, begun + length * len(worker.methods) - moving.n))
    for path, method, error in failed:
        # What of it the message does not say by itself.
        said = [part for part in (path, method) if part and part not in str(error)]
        print(": ".join(["error", *said, str(error)]), file=sys.stderr)
    for name, reason in worker.unavailable.items():
        print(f"error: {name} was left out: {reason}", file=sys.stderr)
    if failed and len(jobs) > 1:
        print(f"{len({path for path, *_ in failed})} of {len(jobs)} recordings failed", file=sys.stderr)
    if failed:
        return failed[0][2].exit_code
    return 6 if worker.unavailable else 0


def _seconds(path: Path, order: Order) -> float:
    """About how long the passage of a recording is; 0 where it can't be told (separating it will say why)."""
    from svs.audio import decode

    try:
        whole = decode.probe(path).seconds or 0.0
    except SVSError:
        return 0.0
    rest = max(0.0, whole - order.start)
    return rest if order.duration is None else min(rest, order.duration)


@contextmanager
def open_track(here: Project, musdb: Path | None, name: str, order: Order) -> Iterator[Song]:
    """A test track of MUSDB18, with its true stems, as a song."""
    from svs.audio.convert import passage
    from svs.audio.sources import PassageSource
    from svs.config import paths
    from svs.data import inspection, locate
    from svs.services.recordings import Song

    folder = musdb if musdb is not None else locate.locate_present(here.settings, here.path(paths.DATASETS))
    with inspection.open_test_track(folder, name) as (title, sources):
        first, last = passage(sources["mixture"], order.start, order.duration)
        if first >= last:
            mixture = sources["mixture"]
            raise DataError(
                f"{title}: lasts {mixture.samples / mixture.rate:.2f} s; choose an earlier --start than {order.start:g}"
            )
        cut = {stem: PassageSource(source, first, last) for stem, source in sources.items()}
        mixture = cut.pop("mixture")
        yield Song(title, mixture, {"track": title, "samples": mixture.samples}, {}, cut)


def report(result: Result) -> None:
    """One line on what a method left, and one for each thing that had to be changed."""
    if result.error is not None:
        log.debug("%s failed: %s", result.folder, result.error)  # told at the end
        return
    log.info("%s%s", result.folder, " (was there already)" if result.skipped else "")
    for note in result.notes:
        log.info("  %s", note)


def _summarise(output: Path, results: list[Result]) -> None:
    """With a reference: the table of scores, printed and saved, and the box plot."""
    scored = {result.method: result.scores for result in results if result.scores is not None}
    if not scored:
        return
    from svs.evaluation import tables
    from svs.figures import scores, style

    folder = output / results[0].song
    frames = tables.frame_table(scored)
    tables.write_table(folder / "scores.csv", frames)
    if not frames["SDR"].notna().any():
        log.warning("%s: there is no second in which both parts sound, so there is no score", results[0].song)
        return
    style.save(scores.measures_boxplot(frames, results[0].song), folder / "scores.png")
    print(f"\n{results[0].song}: BSS Eval v4, median over {frames['frame'].nunique()} frames of one second, in dB")
    print(tables.frame_medians(frames))
