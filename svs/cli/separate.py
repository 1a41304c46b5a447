"""`svs separate`: vocals and accompaniment of any recording; the menu when nothing is named in a terminal."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from svs.cli import options
from svs.cli.options import app
from svs.errors import DataError, SettingsError, SVSError
from svs.running import log
from svs.scores import TARGETS

if TYPE_CHECKING:
    from svs.project import Project
    from svs.service import Order, Result, Song

DEFAULT_METHOD = "unet_separator where it is trained, else cnn_separator"       # svs.separators.PREFERRED
DEFAULT_OUTPUT = Path("separated")
_BAR = "{desc} {percentage:3.0f}% |{bar}| {n:.0f} of {total:.0f} s [{elapsed}<{remaining}, {rate_noinv_fmt}]"
_OPEN_BAR = "{desc} {n:.0f} s [{elapsed}, {rate_fmt}]"      # a track of MUSDB18 is measured when it is opened


@dataclass
class Request:
    """What `svs separate` is asked for, by flags or by the menu."""

    songs: list[str] = field(default_factory=list)
    tracks: list[str] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)         # none: the best that is trained here
    output: Path = DEFAULT_OUTPUT
    start: float = 0.0
    duration: float | None = None
    codec: str = "wav"
    wiener: bool = False
    hpss: bool = False
    reference: Path | None = None
    musdb: Path | None = None
    weights: Path | None = None
    overwrite: bool = False
    picture: bool = True
    project: Path | None = None
    overrides: list[str] = field(default_factory=list)

    def command(self) -> str:
        """The command line that asks for the same."""
        words = ["svs", "separate", *(song if not song.startswith("-") else f"./{song}" for song in self.songs)]
        for flag, values in (("--track", self.tracks), ("--method", self.methods)):
            words += [word for value in values for word in (flag, value)]
        words += ["--output", str(self.output)]
        for flag, value in (("--start", self.start or None), ("--duration", self.duration),
                            ("--format", self.codec if self.codec != "wav" else None), ("--reference", self.reference),
                            ("--musdb", self.musdb), ("--weights", self.weights), ("--project", self.project)):
            words += [] if value is None else [flag, f"{value:.10g}" if isinstance(value, float) else str(value)]
        words += [flag for flag, on in (("--wiener", self.wiener), ("--hpss", self.hpss),
                                        ("--overwrite", self.overwrite), ("--no-picture", not self.picture)) if on]
        words += [word for override in self.overrides for word in ("--set", override)]
        return shlex.join(words)

    def all_overrides(self) -> list[str]:
        """--wiener, --hpss and --weights as parameters, and those of --set."""
        from svs.settings import NETS

        laid = [f"separate.{method}.{key}={value}" for key, value, on in
                (("wiener", "1", self.wiener), ("hpss", "true", self.hpss)) if on for method in NETS]
        if self.weights is not None:
            folder = self.weights.expanduser().resolve()
            laid += [f"methods.{method}={_quoted(folder)}" for method in ("openunmix", "spleeter")]
        return [*laid, *self.overrides]


def _quoted(path: Path) -> str:
    """A path as a string of YAML."""
    import json

    return json.dumps(str(path), ensure_ascii=False)


@app.command()
def separate(
    songs: Annotated[list[str] | None, typer.Argument(
        metavar="SONG", help="Audio or video files, folders, or patterns like '*.mp3'.", show_default=False)] = None,
    method: Annotated[list[str] | None, typer.Option(
        "--method", "-m", help="A method of `svs methods`; again, or with commas, for several.",
        show_default=DEFAULT_METHOD)] = None,
    output: options.Output = DEFAULT_OUTPUT,
    start: options.Start = 0.0,
    duration: options.Duration = None,
    wiener: Annotated[bool, typer.Option("--wiener", "-w", help="Multichannel Wiener filter (our nets).")] = False,
    hpss: Annotated[bool, typer.Option("--hpss", help="Drop what percussion leaked into the vocals (our nets).")]
    = False,
    codec: options.Format = "wav",
    reference: Annotated[Path | None, typer.Option(
        "--reference", "-r", help="The true vocals of the one song: scores, and oracles.", show_default=False)] = None,
    track: Annotated[list[str] | None, typer.Option(
        "--track", "-t", help="A test track of MUSDB18 by its name or a part of it; its stems are the reference.",
        show_default=False)] = None,
    musdb: Annotated[Path | None, typer.Option(
        help="Folder of MUSDB18 for --track (default: the project's data set).", show_default=False)] = None,
    weights: options.Weights = None,
    overwrite: options.Overwrite = False,
    picture: options.Picture = True,
    project: options.Project = None,
    overrides: options.Overrides = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Separate songs into OUTPUT/SONG/METHOD/{vocals,accompaniment}.

    At the recording's own sample rate and channels.  What is there already is skipped; a song or a method that fails
    does not stop the others.  With no song in a terminal, a menu asks for everything.
    """
    request = Request(list(songs or []), list(track or []), split_methods(method), output, start, duration, codec,
                      wiener, hpss, reference, musdb, weights, overwrite, picture, project, list(overrides or []))
    if not request.songs and not request.tracks:
        if not sys.stdin.isatty():
            raise SettingsError("name a song, a folder, or a --track; in a terminal `svs separate` shows a menu")
        from svs.cli.menu import ask

        request = ask(request)
        print(f"\n{request.command()}\n")
    if code := run(request):
        raise typer.Exit(code)


def split_methods(given: Sequence[str] | None) -> list[str]:
    """Methods of `--method a --method b,c`, each once."""
    names = [name.strip() for text in given or () for name in text.split(",")]
    if not all(names):
        raise SettingsError(f"--method {','.join(given)!r}: expected names of methods; `svs methods` lists them")
    return list(dict.fromkeys(names))


def run(request: Request, names: tuple[str, str] = TARGETS) -> int:
    """Do what is asked, calling the two files `names`; returns the exit code."""
    from svs import project, separators, service
    from svs.settings import NETS

    if request.reference is not None and (len(request.songs) != 1 or request.tracks):
        raise SettingsError("--reference goes with one song: it is the vocals of that recording")
    here = project.find(request.project, request.all_overrides())
    if not request.methods:
        request = replace(request, methods=[separators.default(here.settings, here.home)])
        log.info("by %s, the best that is trained here; --method chooses another", request.methods[0])
    blind = [method for method in request.methods if method in separators.ORACLES]
    if blind and request.songs and request.reference is None:
        raise SettingsError(f"{blind[0]} needs the true stems; give --reference or a --track, or leave it out")
    order = service.Order(tuple(request.methods), request.output, request.start, request.duration, request.codec,
                          request.overwrite, request.picture, names)
    found = service.recordings(request.songs) if request.songs else []
    if request.reference is not None and len(found) != 1:
        raise SettingsError(f"--reference goes with one song; {request.songs[0]} means {len(found)}")
    if (request.wiener or request.hpss) and not set(request.methods) & set(NETS):
        log.warning("--wiener and --hpss change %s alone; not one of them was asked for", ", ".join(NETS))
    jobs = [*zip(found, service.song_names(found), strict=True), *((track, None) for track in request.tracks)]
    with options.resumable(), service.only_one(request.output):
        return _each(here, order, request, jobs)


def _each(here: Project, order: Order, request: Request, jobs: list[tuple[Path | str, str | None]]) -> int:
    from tqdm.contrib.logging import logging_redirect_tqdm

    from svs import service
    from svs.running import bar

    worker = service.Service(here, order)
    failed: list[tuple[str, str, SVSError]] = []        # recording; method, or nothing for all of them; why
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
                        service.opened(path, name, order, request.reference) if name is not None
                        else open_track(here, request.musdb, path, order))
                    if getattr(song.mixture, "silent", False):
                        log.warning("%s: digitally silent throughout", path)
                    results = worker.separate(
                        song, moving.update,
                        lambda method, song=song: moving.set_description(f"{song.name}: {method}"))
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
    from svs import media

    try:
        whole = media.probe(path).seconds or 0.0
    except SVSError:
        return 0.0
    rest = max(0.0, whole - order.start)
    return rest if order.duration is None else min(rest, order.duration)


@contextmanager
def open_track(here: Project, musdb: Path | None, name: str, order: Order) -> Iterator[Song]:
    """A test track of MUSDB18, with its true stems, as a song."""
    from svs import dataset, paths
    from svs.audio import PassageSource, passage
    from svs.service import Song

    folder = musdb if musdb is not None else dataset.present(here.settings, here.path(paths.DATASETS))
    with dataset.open_test_track(folder, name) as (title, sources):
        first, last = passage(sources["mixture"], order.start, order.duration)
        if first >= last:
            mixture = sources["mixture"]
            raise DataError(f"{title}: lasts {mixture.samples / mixture.rate:.2f} s; choose an earlier --start than "
                            f"{order.start:g}")
        cut = {stem: PassageSource(source, first, last) for stem, source in sources.items()}
        mixture = cut.pop("mixture")
        yield Song(title, mixture, {"track": title, "samples": mixture.samples}, {}, cut)


def report(result: Result) -> None:
    """One line on what a method left, and one for each thing that had to be changed."""
    if result.error is not None:
        log.debug("%s failed: %s", result.folder, result.error)       # told at the end
        return
    log.info("%s%s", result.folder, " (was there already)" if result.skipped else "")
    for note in result.notes:
        log.info("  %s", note)


def _summarise(output: Path, results: list[Result]) -> None:
    """With a reference: the table of scores, printed and saved, and the box plot."""
    scored = {result.method: result.scores for result in results if result.scores is not None}
    if not scored:
        return
    from svs import plots, summary

    folder = output / results[0].song
    frames = summary.frame_table(scored)
    summary.write_table(folder / "scores.csv", frames)
    if not frames["SDR"].notna().any():
        log.warning("%s: there is no second in which both parts sound, so there is no score", results[0].song)
        return
    plots.save(plots.measures_boxplot(frames, results[0].song), folder / "scores.png")
    print(f"\n{results[0].song}: BSS Eval v4, median over {frames['frame'].nunique()} frames of one second, in dB")
    print(summary.frame_medians(frames))
