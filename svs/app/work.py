"""Separations that the web page starts: one works at a time, each can be watched and cancelled."""

from __future__ import annotations

import math
import secrets
import shutil
import time
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock, Thread
from typing import Literal

from tqdm import tqdm

from svs import separators
from svs.audio import encode
from svs.audio.reading import decode
from svs.config.project import Project
from svs.errors import DataError, SettingsError, SVSError
from svs.runtime.files import files_below
from svs.runtime.process import log
from svs.services import doctor, enhancement
from svs.services.output import ENHANCED, song_names
from svs.services.recordings import Order, Result, Service, Song, open_song
from svs.stems import TARGETS

PASSAGE = 30.0  # s: the duration that the form offers
ARCHIVE = "all.zip"
_ROUNDING = 0.05  # s by which a passage may exceed the limit
clock = tqdm.format_interval  # seconds as 03:25 or 1:02:03


def missing(project: Project) -> dict[str, str]:
    """What the methods lack that can't run here, the oracles apart; no network is loaded."""
    found = {}
    for name, method in separators.methods().items():
        check = doctor.method(name, project)
        if method.kind is not separators.Kind.ORACLE and not check.ok:
            # The page itself sets SVS_OFFLINE, so the hint to unset it helps nobody.
            advice = check.advice.replace(" (SVS_OFFLINE is set: nothing is downloaded)", "")
            found[name] = f"{check.found.removeprefix('no ')}; {advice}".replace(f"{project.home}/", "")
    return found


@dataclass(frozen=True)
class Wish:
    """What the form says; `start` and `duration` in seconds, `duration` 0: to the end."""

    recording: Path | None
    methods: tuple[str, ...]
    start: float = 0.0
    duration: float = PASSAGE
    codec: str = "wav"
    wiener: int = 0
    hpss: bool = False
    reference: Path | None = None
    kind: Literal["song", "voice", "respiratory"] = "song"

    @property
    def names(self) -> tuple[str, str]:
        """The two files of a result."""
        return TARGETS if self.kind == "song" else ENHANCED

    def strength(self, project: Project) -> float:
        """How much of the rest is taken out: of a song all of it, of noise what the default of the command says."""
        return 1.0 if self.kind == "song" else getattr(project.settings.enhance, self.kind).strength

    def order(self, output: Path, seconds: float) -> Order:
        """The order for this form, cut to little more than `seconds`; raise SettingsError if a value is impossible."""
        if self.recording is None:
            raise SettingsError("There is no song yet: drop one above, or click to choose a file.")
        if not self.methods:
            raise SettingsError("No method is chosen: tick at least one.")
        # One second more than the limit is enough to see that a passage is too long.
        duration = min(self.duration or math.inf, seconds + 1)
        return Order(self.methods, output, self.start, duration, self.codec, names=self.names)

    def project(self, project: Project) -> Project:
        """The project with the filters of the form in the options of the networks, or with the options for noise."""
        if self.kind != "song":
            return replace(project, settings=enhancement.adapted(project.settings, self.kind))
        over = {"wiener": self.wiener, "hpss": self.hpss}
        separate = project.settings.separate
        separate = separate.model_copy(update={"cnn": {**separate.of("cnn"), **over}})
        return replace(project, settings=project.settings.model_copy(update={"separate": separate}))


def describe(path: Path) -> str:
    """A recording in a few words: length, sampling rate, channels, codec.  Raise DataError if it can't be read."""
    info = decode.probe(path)
    channels = {1: "mono", 2: "stereo"}.get(info.channels, f"{info.channels} channels")
    length = clock(info.seconds) if info.seconds else "length not stated"
    return " · ".join((length, f"{info.rate / 1000:g} kHz", channels, info.codec))


def explained(error: Exception, *files: Path | None) -> str:
    """An error in words for the page, without the folders of `files`; a defect goes to the log with its traceback."""
    if not isinstance(error, SVSError):
        log.error("the web page: a defect", exc_info=error)
        return f"Something went wrong inside svs ({type(error).__name__}); the terminal of `svs app` shows what."
    message = str(error)
    for path in filter(None, files):
        message = message.replace(f"{path.parent}/", "")
    return message


class Cancelled(Exception):
    """The visitor cancelled the separation or closed the page."""


class Job:
    """One separation, method by method, in a thread of its own.

    `folder` holds `SONG/mixture.CODEC`, `SONG/METHOD/` and the archive of all.
    """

    def __init__(self, desk: Desk, wish: Wish):
        self.wish, self.folder = wish, desk.folder / secrets.token_urlsafe(12)
        self.song = song_names([wish.recording])[0] if wish.recording else ""  # name of the folder and the downloads
        self.share, self.words = 0.0, "Waiting for another separation to end"  # 0 to 1, and what is being done
        self.results: list[Result] = []  # grows while it runs
        self.error: str | None = None  # why there are no results
        self.seconds = 0.0  # length of the passage, once it is known
        self._began = self._ended = 0.0
        self.cancelled = self._removed = False  # cancelled: stop at the next piece of audio; finished results stay
        self._desk = desk
        self._known = (wish.recording, wish.reference, self.folder / self.song)  # paths that the page does not show
        # A daemon: Ctrl-C ends the server without waiting for a piece of audio.
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    @property
    def elapsed(self) -> float:
        """Seconds of work, without waiting."""
        return (self._ended or time.monotonic()) - self._began if self._began else 0.0

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the end; False if it has not come in time."""
        self._thread.join(seconds)
        return self.ended

    def remove(self) -> None:
        """Stop, and delete all files."""
        self.cancelled = self._removed = True
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self) -> None:
        try:
            order = self.wish.order(self.folder, self._desk.seconds)
            order = replace(order, strength=self.wish.strength(self._desk.project))
            while not self._desk.turn.acquire(timeout=0.2):
                self._go_on()
            try:
                self._began = time.monotonic()
                self._separate(order)
            finally:
                self._ended = time.monotonic()
                self._desk.turn.release()
        except Exception as error:
            if not self.cancelled:  # otherwise it ended because of that, or nobody is waiting for the error
                self.error = explained(error, *self._known)
        finally:
            if self._removed:
                shutil.rmtree(self.folder, ignore_errors=True)

    def _separate(self, order: Order) -> None:
        assert self.wish.recording is not None  # `Wish.order` refuses a wish without one
        self.words = "Reading the recording"
        with open_song(self.wish.recording, self.song, order, self.wish.reference) as song:
            self.seconds = song.mixture.samples / song.mixture.rate
            if self.seconds > self._desk.seconds + _ROUNDING:
                raise DataError(
                    f"{self.wish.recording}: the passage is longer than {clock(self._desk.seconds)}, the limit of this "
                    "page; choose a shorter duration, or start `svs app` with a larger --max-minutes"
                )
            place = self.folder / self.song
            place.mkdir(parents=True)
            encode.encode(song.mixture, place / f"mixture.{order.codec}", order.codec, song.tags)
            for index, method in enumerate(order.methods):
                self.results.append(self._by(index, replace(order, methods=(method,)), song))
        if all(result.error for result in self.results):
            self.error = str(self.results[0].error)
            return
        self.words = "Packing the archive"
        with zipfile.ZipFile(self.folder / ARCHIVE, "w") as archive:  # stored: audio hardly shrinks
            for path in files_below(place):
                archive.write(path, path.relative_to(self.folder))

    def _by(self, index: int, order: Order, song: Song) -> Result:
        """The result of one method; of a failure, a result that holds the error."""
        method, count, done = order.methods[0], len(self.wish.methods), 0.0
        name = f"{method} ({index + 1} of {count})" if count > 1 else method

        def progress(seconds: float) -> None:
            nonlocal done
            self._go_on()
            done += seconds / self.seconds
            # The rest of the share is for pictures, files and scores.
            self.share = (index + 0.95 * min(done, 1.0)) / count
            self.words = f"{name}: {'separating' if done < 0.999 else 'writing the files'}"

        self._go_on()
        self.share, self.words = index / count, f"{name}: getting ready"
        try:
            result = Service(self.wish.project(self._desk.project), order).separate(song, progress)[0]
            if result.error:
                raise result.error
        except Exception as error:
            self._go_on()  # whatever it is, of a cancelled job nobody asks
            return Result(song.name, method, self.folder, error=SVSError(explained(error, *self._known)))
        self.share = (index + 1) / count
        return result

    def _go_on(self) -> None:
        if self.cancelled:
            raise Cancelled


class Desk:
    """The jobs of all visitors (browser tabs), one for each; `minutes` is the length of the longest passage."""

    def __init__(self, project: Project, folder: Path, minutes: float = 15.0):
        if not (math.isfinite(minutes) and minutes > 0):
            raise SettingsError(f"--max-minutes: expected a number above 0, got {minutes}")
        self.project, self.folder, self.seconds = project, folder, 60 * minutes
        folder.mkdir(parents=True)
        self.turn = Lock()  # held by the job that works
        self._jobs: dict[str | None, Job] = {}

    def start(self, visitor: str | None, wish: Wish) -> Job:
        """Begin a job; the visitor's earlier one is stopped and its files are deleted."""
        self.leave(visitor)
        job = self._jobs[visitor] = Job(self, wish)
        return job

    def cancel(self, visitor: str | None) -> None:
        """Stop a visitor's job."""
        if visitor in self._jobs:
            self._jobs[visitor].cancelled = True

    def leave(self, visitor: str | None) -> None:
        """Stop a visitor's job and delete its files."""
        if job := self._jobs.pop(visitor, None):
            job.remove()

    def close(self) -> None:
        """Stop all jobs, and wait a little for the one that works."""
        for job in self._jobs.values():
            job.cancelled = True
        for job in self._jobs.values():
            job.wait(2.0)
