"""What the web page does, apart from how it looks: its methods, its limits, and separations to watch and to stop."""

from __future__ import annotations

import logging
import math
import secrets
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event, Lock, Thread

from svs import separators
from svs.audio import decode, encode
from svs.config.project import Project
from svs.errors import DataError, SettingsError, SVSError
from svs.services.recordings import PICTURE, Order, Result, Service, open_song

log = logging.getLogger("svs")

FORMATS = encode.FORMATS
PASSAGE = 30.0  # s, unless something else is asked for
WIENER = 3  # iterations, at most
KEPT = 8  # separations whose files are kept: the last ones
_PER_MINUTE = 50_000_000  # bytes of a recording: 96 kHz stereo, 32-bit float
_LEAST = 50_000_000  # bytes that may always be uploaded
_ROUNDING = 0.05  # s by which a passage may be longer than the limit says


@dataclass(frozen=True)
class Method:
    """A method as the page offers it; `missing` says why it can't run here."""

    name: str
    text: str
    missing: str | None = None


def methods(project: Project) -> list[Method]:
    """All methods but the oracles, looked at without loading one."""
    return [
        Method(name, _sentence(known.about), _missing(name, project))
        for name, known in separators.methods().items()
        if known.kind is not separators.Kind.ORACLE
    ]


def _sentence(text: str) -> str:
    """A text with a capital, unless it begins with a method's name."""
    return text if "_" in text.split()[0] else text[:1].upper() + text[1:]


def default(offered: Sequence[Method]) -> list[str]:
    """What is chosen to begin with: the best of our nets, or where none is trained something that needs no training."""
    here = [method.name for method in offered if method.missing is None]
    return [name for name in (*separators.recommended(), "repet_sim", *here) if name in here][:1]


def _missing(name: str, project: Project) -> str | None:
    from svs.services import doctor

    check = doctor.method(name, project)
    if check.state == doctor.OK:
        return None
    advice = check.advice.replace(" (SVS_OFFLINE is set: nothing is downloaded)", "")  # the page sets it itself
    words = "; ".join(filter(None, (f"missing {check.found.removeprefix('no ')}".strip(), advice)))
    return words.replace(f"{project.home}/", "")


@dataclass(frozen=True)
class Limits:
    """How much one separation may ask for."""

    minutes: float = 15.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.minutes) and self.minutes > 0):
            raise SettingsError(f"--max-minutes: expected a number above 0, got {self.minutes}")

    @property
    def seconds(self) -> float:
        return 60 * self.minutes

    @property
    def bytes(self) -> int:
        """Of an upload."""
        return max(_LEAST, round(_PER_MINUTE * self.minutes))

    def check(self, path: Path, seconds: float) -> None:
        """Raise DataError where a passage is too long."""
        if seconds > self.seconds + _ROUNDING:
            raise DataError(
                f"{path}: the passage is {clock(seconds)} long, this page separates up to "
                f"{clock(self.seconds)}; choose a shorter duration (or start `svs app` with a larger "
                "--max-minutes)"
            )


@dataclass(frozen=True)
class Wish:
    """What the form says.  `duration` 0: to the end."""

    recording: Path | None
    methods: tuple[str, ...]
    start: float = 0.0
    duration: float = PASSAGE
    codec: str = "wav"
    wiener: int = 0
    hpss: bool = False
    reference: Path | None = None

    def order(self, output: Path, limits: Limits) -> Order:
        """The order that the wish amounts to.

        Raises
        ------
        SVSError
            It can't be done, and the recording need not be decoded to know.
        """
        if self.recording is None:
            raise SettingsError("There is no song yet: drop one above, or click to choose a file.")
        if not self.methods:
            raise SettingsError("No method is chosen: tick at least one.")
        for name, value in (("start", self.start), ("duration", self.duration)):
            if not (math.isfinite(value) and value >= 0):
                raise SettingsError(f"{name}: expected seconds from 0, got {value:g}")
        info = decode.probe(self.recording)
        wanted = self.duration or math.inf
        if info.seconds is not None and not info.estimated:
            limits.check(self.recording, min(wanted, max(info.seconds - self.start, 0.0)))
        # Decoding ends a little after the limit: where no length is stated, that is enough to see that it is too long.
        duration = min(wanted, limits.seconds + 1)
        return Order(self.methods, output, self.start, duration, self.codec)

    def project(self, project: Project) -> Project:
        """The project with the filters of the form laid over the nets' parameters."""
        over = {"wiener": min(max(int(self.wiener), 0), WIENER), "hpss": bool(self.hpss)}
        separate = project.settings.separate
        separate = separate.model_copy(update={"cnn": {**separate.of("cnn"), **over}})
        return replace(project, settings=project.settings.model_copy(update={"separate": separate}))


def describe(path: Path) -> str:
    """A recording in a few words: length, rate, channels, codec.

    Raises
    ------
    DataError
        It is none.
    """
    info = decode.probe(path)
    channels = {1: "mono", 2: "stereo"}.get(info.channels, f"{info.channels} channels")
    words = [
        clock(info.seconds) if info.seconds else "length not stated",
        f"{info.rate / 1000:g} kHz",
        channels,
        info.codec,
    ]
    return " · ".join(words)


def clock(seconds: float) -> str:
    """Seconds as people write them: 0:07, 3:25, 1:02:03; below a minute with a decimal where it has one."""
    if seconds < 60 and round(seconds, 1) != round(seconds):
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Cancelled(Exception):
    """Whoever asked for it changed their mind."""


@dataclass(frozen=True)
class Piece:
    """What a method came to: files to be served under their names, or why it failed."""

    method: str
    files: dict[str, Path] = field(default_factory=dict)
    result: Result | None = None
    error: str | None = None


@dataclass(frozen=True)
class Progress:
    """Where a separation is: a share (0 to 1), and in words."""

    share: float
    words: str


class Run:
    """A separation in a thread of its own, method by method.

    Attributes
    ----------
    token : str
        Unguessable; its files are served under it.
    song : str
        Its name.
    progress : Progress
    pieces : list of Piece
        Grows while it runs.
    files : dict of str to Path
        What may be served: names below the token.
    error : str or None
        Why nothing came of it, in one sentence.
    seconds : float
        Length of the passage, once it is known.
    """

    def __init__(self, project: Project, wish: Wish, limits: Limits, folder: Path, turn: Lock):
        self.token = secrets.token_urlsafe(18)
        self.folder = folder / self.token
        self.wish, self.song = wish, _song_name(wish.recording)
        self.progress = Progress(0.0, "Waiting for another separation to end")
        self.pieces: list[Piece] = []
        self.files: dict[str, Path] = {}
        self.error: str | None = None
        self.seconds = 0.0
        self._started, self._ended = time.monotonic(), math.inf
        self._project, self._limits, self._turn = project, limits, turn
        self._stop = Event()
        self._thread = Thread(target=self._run, name=f"svs {self.token[:6]}", daemon=True)

    def start(self) -> Run:
        self._thread.start()
        return self

    def cancel(self) -> None:
        """Stop at the next piece of audio."""
        self._stop.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it has ended; False where it has not."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    @property
    def elapsed(self) -> float:
        """Seconds that it has taken."""
        return min(time.monotonic(), self._ended) - self._started

    @property
    def cancelled(self) -> bool:
        return self._stop.is_set()

    def remove(self) -> None:
        """Delete its files, which are served no more."""
        self.cancel()
        self.files = {}
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self) -> None:
        while not self._turn.acquire(timeout=0.2):
            if self.cancelled:
                return
        try:
            self._go_on()
            self._separate()
        except Exception as error:
            if not self.cancelled:  # else whatever it is, nobody waits for it, and its folder may be gone
                self.error = self._words(error)
        finally:
            self._ended = time.monotonic()
            self._turn.release()
            if self.cancelled and not self.files:
                shutil.rmtree(self.folder, ignore_errors=True)

    def _separate(self) -> None:
        self.progress = Progress(0.0, "Reading the recording")
        wish = self.wish
        order = wish.order(self.folder, self._limits)
        project = wish.project(self._project)
        with open_song(wish.recording, "song", order, wish.reference) as song:
            song = replace(song, name=self.song)
            self.seconds = song.mixture.samples / song.mixture.rate
            self._limits.check(wish.recording, self.seconds)
            self._go_on()
            mixture = self.folder / f"mixture.{order.codec}"
            encode.encode(song.mixture, mixture, order.codec, song.tags)
            self.files[mixture.name] = mixture
            for index, method in enumerate(wish.methods):
                self.pieces.append(self._piece(project, replace(order, methods=(method,)), song, index))
        if not any(piece.result for piece in self.pieces):
            self.error = self.pieces[0].error

    def _piece(self, project: Project, order: Order, song, index: int) -> Piece:
        method, count = order.methods[0], len(self.wish.methods)
        number = f" ({index + 1} of {count})" if count > 1 else ""
        done = 0.0

        def moved(seconds: float) -> None:
            nonlocal done
            self._go_on()
            done += seconds
            share = min(done / self.seconds, 1.0)
            words = "separating" if share < 1 else "writing files" + (" and scoring" if song.references else "")
            self.progress = Progress((index + 0.95 * share) / count, f"{method}{number}: {words}")

        self._go_on()
        self.progress = Progress(index / count, f"{method}{number}: getting ready")
        try:
            service = Service(project, order)
            self.progress = Progress(index / count, f"{method}{number}: separating")
            result = service.separate(song, moved)[0]
            if result.error is not None:
                raise result.error
        except Exception as error:
            self._go_on()
            return Piece(method, error=self._words(error))
        names = [*order.files(), PICTURE, *(["scores.json"] if result.scores is not None else [])]
        files = {f"{method}/{name}": result.folder / name for name in names if (result.folder / name).is_file()}
        self.files.update(files)
        self.progress = Progress((index + 1) / count, f"{method}{number}: done")
        return Piece(method, files, result)

    def _go_on(self) -> None:
        if self.cancelled:
            raise Cancelled

    def _words(self, error: Exception) -> str:
        """An error as a sentence for people who see file names, not where the server keeps them."""
        if not isinstance(error, SVSError):
            log.error("the web page: a defect", exc_info=error)
            return (
                f"Something went wrong inside svs ({type(error).__name__}); where `svs app` was started it says what."
            )
        return plain(str(error), self.wish, self.folder)


def plain(message: str, wish: Wish, folder: Path | None = None) -> str:
    """A message without the folders of the server's temporary files."""
    for path in filter(None, (wish.recording, wish.reference)):
        message = message.replace(str(path), Path(path).name)
    return message.replace(f"{folder}/", "") if folder else message


def _song_name(recording: Path | None) -> str:
    """A folder's name for the song; whatever it is called, it is one folder below another."""
    name = Path(recording).stem if recording else ""
    kept = "".join(char if char.isprintable() and char not in '/\\:*?"<>|' else "_" for char in name).strip(". ")
    while len(kept.encode()) > 120:
        kept = kept[:-1]
    return kept or "song"


class Desk:
    """The runs of all visitors: one at a time works, the last few are kept.

    Parameters
    ----------
    project : Project
    limits : Limits
    folder : Path
        Where results are kept.
    """

    def __init__(self, project: Project, limits: Limits, folder: Path):
        self.project, self.limits, self.folder = project, limits, Path(folder)
        self._turn, self._guard = Lock(), Lock()
        self._runs: dict[str, Run] = {}  # the one of each visitor, oldest first

    def start(self, visitor: str, wish: Wish) -> Run:
        """Begin; the visitor's earlier run is stopped and its files are deleted."""
        run = Run(self.project, wish, self.limits, self.folder, self._turn)
        with self._guard:
            gone = [self._runs.pop(visitor)] if visitor in self._runs else []
            over = [name for name, other in self._runs.items() if other.ended][: max(0, len(self._runs) - KEPT + 1)]
            gone += [self._runs.pop(name) for name in over]
            self._runs[visitor] = run
        for old in gone:
            old.remove()
        return run.start()

    def busy(self, visitor: str) -> bool:
        """Does a visitor's run still work, or wait?"""
        run = self._runs.get(visitor)
        return run is not None and not run.ended

    def cancel(self, visitor: str) -> None:
        """Stop a visitor's run where it still works."""
        if self.busy(visitor):
            self._runs[visitor].cancel()

    def run(self, token: str) -> Run | None:
        """The run of a token."""
        with self._guard:
            return next((run for run in self._runs.values() if run.token == token), None)

    def close(self, patience: float = 2.0) -> None:
        """Stop all runs, and wait a little for them."""
        with self._guard:
            runs = list(self._runs.values())
        for run in runs:
            run.cancel()
        for run in runs:
            run.wait(patience / max(len(runs), 1))
