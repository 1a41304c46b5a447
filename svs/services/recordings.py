"""Any recording through any methods: what the commands, the web page and `svs.separate` share.

Of a song called SONG a method leaves one folder, `OUTPUT/SONG/METHOD`, which
appears whole: the two audio files, `spectrogram.png`, `result.json` (what was
asked for), and with a reference `scores.json` in museval's layout.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from svs import separators
from svs.audio import decode, encode, find
from svs.audio.convert import resample
from svs.audio.sources import ArraySource, DifferenceSource, RawSource, Source
from svs.config.project import Project
from svs.errors import DataError, SettingsError, SVSError
from svs.evaluation.museval_json import BSSEVAL, museval_json
from svs.runtime.files import files_below, read_json, sha256, write_json, write_text, written
from svs.separators.base import Separator
from svs.separators.chunking import chunks
from svs.stems import TARGETS

log = logging.getLogger("svs")


ENHANCED = ("enhanced", "residual")  # names of the two parts of a voice or breath recording
RESULT, SCORES, PICTURE = "result.json", "scores.json", "spectrogram.png"
_UNEQUAL = 0.1  # s by which a reference may be longer or shorter (padding of codecs)


@dataclass(frozen=True)
class Order:
    """What is wanted of every recording.

    Parameters
    ----------
    methods : tuple of str
        Names in `svs.separators.methods`.
    output : Path
    start, duration : float
        Passage in seconds; `duration` None: to the end.
    codec : str
        One of `svs.audio.encode.FORMATS`.
    overwrite : bool
        Separate again what is already there.
    picture : bool
        Draw the spectrograms.
    names : (str, str)
        Of the two audio files.
    """

    methods: tuple[str, ...]
    output: Path
    start: float = 0.0
    duration: float | None = None
    codec: str = "wav"
    overwrite: bool = False
    picture: bool = True
    names: tuple[str, str] = TARGETS

    def __post_init__(self) -> None:
        for method in self.methods:
            separators.find_method(method)
        if self.codec not in encode.FORMATS:
            raise SettingsError(f"{self.codec}: no such format; expected one of {', '.join(encode.FORMATS)}")
        if not (np.isfinite(self.start) and self.start >= 0):
            raise SettingsError(f"start: expected seconds from 0, got {self.start}")
        if self.duration is not None and not (np.isfinite(self.duration) and self.duration > 0):
            raise SettingsError(f"duration: expected seconds above 0, got {self.duration}")

    def files(self) -> list[str]:
        return [f"{name}.{self.codec}" for name in self.names]


@dataclass(frozen=True)
class Song:
    """A recording that is open: its audio, and where it comes from.

    Parameters
    ----------
    name : str
        Of the folder of its results.
    mixture : Source
    identity : mapping
        What tells it from another recording of that name.
    tags : mapping
        Kept where the format has them.
    references : mapping of str to Source, optional
        The true `vocals` and `accompaniment`.
    """

    name: str
    mixture: Source
    identity: Mapping[str, Any]
    tags: Mapping[str, str] = field(default_factory=dict)
    references: Mapping[str, Source] | None = None


@dataclass(frozen=True)
class Result:
    """What a method left of a song.

    `skipped`: it was there already.  `notes`: what had to be changed, in short
    sentences.  `scores`: SDR, ISR, SIR, SAR of (targets, frames) in dB.
    `error`: why it left nothing.
    """

    song: str
    method: str
    folder: Path
    skipped: bool = False
    notes: tuple[str, ...] = ()
    scores: Mapping[str, np.ndarray] | None = None
    error: SVSError | None = None


class Service:
    """Methods that are ready, and what is wanted of every recording.

    Parameters
    ----------
    project : Project
    order : Order

    Attributes
    ----------
    unavailable : dict of str to str
        Methods of the order that can't run here, and why.

    Raises
    ------
    UnavailableError, ModelError
        Not one of the methods can run.
    """

    def __init__(self, project: Project, order: Order):
        self.project, self.order = project, order
        self._separators: dict[str, Separator | None] = {}
        self.unavailable: dict[str, str] = {}
        problem: SVSError | None = None
        for method in dict.fromkeys(order.methods):
            try:
                self._separators[method] = separators.build(method, project.settings, project.home)
            except SVSError as error:
                self.unavailable[method] = str(error)
                problem = problem or error
        if problem is not None and not self._separators:
            raise problem
        for method, reason in self.unavailable.items():
            log.warning("%s is left out: %s", method, reason)

    @property
    def methods(self) -> list[str]:
        return list(self._separators)

    def separate(
        self,
        song: Song,
        moved: Callable[[float], None] = lambda seconds: None,
        stage: Callable[[str], None] = lambda method: None,
    ) -> list[Result]:
        """One recording by every method; one that fails does not stop the others, and leaves nothing.

        Parameters
        ----------
        song : Song
        moved : callable
            Told the seconds separated since it was called last.
        stage : callable
            Told the method that begins.

        Returns
        -------
        list of Result
            In the order of `methods`.
        """
        results = []
        for method in self._separators:
            stage(method)
            results.append(self._tried(method, song, moved))
        return results

    def _tried(self, method: str, song: Song, moved: Callable[[float], None]) -> Result:
        """The result of a method, or why there is none; all of the song has moved by then."""
        left = song.mixture.samples / song.mixture.rate

        def counted(seconds: float) -> None:
            nonlocal left
            left -= seconds
            moved(seconds)

        try:
            result = self._by(method, song, counted)
        except SVSError as error:
            result = Result(song.name, method, self.order.output / song.name / method, error=error)
            if not isinstance(error, DataError):
                # The next song needs a new one: this one's process may be dead.
                self._separators[method] = None
        if left > 0:
            moved(left)
        return result

    def _by(self, method: str, song: Song, moved: Callable[[float], None]) -> Result:
        folder = self.order.output / song.name / method
        request = self._request(song, method)
        if self._finished(folder, request):
            return Result(song.name, method, folder, skipped=True, scores=_stored_scores(folder))
        separator = self._separators[method] or separators.build(method, self.project.settings, self.project.home)
        self._separators[method] = separator
        try:
            with written(folder) as temporary:
                temporary.mkdir()
                try:
                    notes, scores = self._make(temporary, song, separator, moved)
                except DataError as error:  # it is about the file that was to be
                    raise DataError(str(error).replace(str(temporary), str(folder))) from error
                write_json(temporary / RESULT, {**request, "notes": notes})
        except OSError as error:
            raise DataError(f"{folder}: can't write it ({error.strerror or error}); choose another --output") from error
        finally:
            with suppress(OSError):
                folder.parent.rmdir()  # an empty folder tells nothing
        return Result(song.name, method, folder, notes=tuple(notes), scores=scores)

    def _make(
        self, folder: Path, song: Song, separator: Separator, moved: Callable[[float], None]
    ) -> tuple[list[str], dict[str, np.ndarray] | None]:
        mixture = song.mixture
        raw = folder.parent / "estimate.f32"  # beside the result, so that it goes away with what is unfinished
        _to_disk(raw, separator, song, self.project.settings.separate.common.chunk, moved)
        estimate = RawSource(raw, mixture.rate, mixture.channels)
        rest = DifferenceSource(mixture, estimate)
        notes: list[str] = []
        for name, source in zip(self.order.files(), (estimate, rest), strict=True):
            changes = encode.encode(source, folder / name, self.order.codec, song.tags)
            notes += [f"{name}: {change}" for change in changes]
        if self.order.picture:
            self._draw(folder / PICTURE, song, separator.name, estimate)
        if song.references is None:
            return notes, None
        scores = self._score(song, {"vocals": estimate, "accompaniment": rest})
        write_text(folder / SCORES, museval_json(song.name, scores, self.project.settings.score))
        return notes, scores

    def _draw(self, path: Path, song: Song, method: str, estimate: Source) -> None:
        from svs.figures import spectrograms, style

        figure = spectrograms.result_picture(
            f"{song.name}: {method}",
            song.mixture,
            estimate,
            self.project.settings.plots,
            name=self.order.names[0],
            start=self.order.start,
        )
        style.save(figure, path)

    def _score(self, song: Song, estimates: Mapping[str, Source]) -> dict[str, np.ndarray]:
        from svs.config.schema import Passage
        from svs.evaluation import score

        settings = self.project.settings.score
        whole = settings.model_copy(update={"passage": Passage(start=0.0, duration=None)})
        return score.score_sources(dict(song.references or {}), dict(estimates), whole, BSSEVAL)

    def _request(self, song: Song, method: str) -> dict[str, Any]:
        settings = self.project.settings
        needs = self.project.path(separators.needs(method, settings))
        # Of a folder of weights or a trained net what it holds; of a store (oracles) its parameters are enough.
        model = (
            sha256(files_below(needs))
            if needs.is_dir() and separators.find_method(method).kind is not separators.Kind.ORACLE
            else None
        )
        return {
            "song": dict(song.identity),
            "method": method,
            "start": self.order.start,
            "duration": self.order.duration,
            "files": self.order.files(),
            "model": model,
            "options": separators.options(method, settings).model_dump(mode="json"),
            "chunk": settings.separate.common.chunk,
        }

    def _finished(self, folder: Path, request: Mapping[str, Any]) -> bool:
        """Is the result of this request there?  Raises where something else is, that must not be lost."""
        if not folder.exists():
            return False
        if not (folder / RESULT).is_file():
            raise DataError(
                f"{folder}: expected a folder of svs's results or none, found something else; choose another --output"
            )
        if self.order.overwrite:
            return False
        content = read_json(folder / RESULT)
        different = [key for key, value in request.items() if content.get(key) != value]
        if different:
            raise DataError(
                f"{folder}: holds the result of another request (its {', '.join(different)} "
                f"{'differs' if len(different) == 1 else 'differ'}); "
                "use --overwrite, or choose another --output"
            )
        return True


def _stored_scores(folder: Path) -> dict[str, np.ndarray] | None:
    from svs.evaluation.museval_json import MEASURES, read_scores

    if not (folder / SCORES).is_file():
        return None
    content = read_scores(folder / SCORES)
    return {measure: np.stack([content[target][measure] for target in TARGETS]) for measure in MEASURES}


def _to_disk(path: Path, separator: Separator, song: Song, chunk: float, moved: Callable[[float], None]) -> None:
    with open(path, "wb") as file:
        for mixed, estimate in chunks(separator, song.mixture, chunk, song.references):
            file.write(np.ascontiguousarray(estimate, dtype="<f4").data)  # of a full disk `tofile` says nothing
            moved(len(mixed) / song.mixture.rate)


@contextmanager
def open_song(path: Path, name: str, order: Order, reference: Path | None = None) -> Iterator[Song]:
    """A recording as a `Song`, decoded for as long as the block lasts.

    Parameters
    ----------
    path : Path
        Anything that ffmpeg reads.
    name : str
        Of the folder of its results.
    order : Order
    reference : Path, optional
        The true vocals of the same recording; the true accompaniment is the
        recording less these.

    Raises
    ------
    DataError
        The recording or its reference can't be read, or they differ in length.
    """
    with ExitStack() as stack:
        recording = stack.enter_context(decode.open_recording(path, order.start, order.duration))
        identity = {"file": _readable(Path(path).name), "sha256": sha256([path])}
        references = None
        if reference is not None:
            true = _fitting(
                stack.enter_context(decode.open_recording(reference, order.start, order.duration)), recording, reference
            )
            references = {"vocals": true, "accompaniment": DifferenceSource(recording, true)}
            identity["reference"] = sha256([reference])
        yield Song(name, recording, identity, recording.info.tags, references)


def _fitting(reference: Source, mixture: Source, path: Path) -> Source:
    """The reference with the mixture's rate, channels and length."""
    seconds, expected = reference.samples / reference.rate, mixture.samples / mixture.rate
    if abs(seconds - expected) > _UNEQUAL:
        raise DataError(f"{path}: expected the vocals of the same recording, {expected:.2f} s, got {seconds:.2f} s")
    if (reference.rate, reference.samples, reference.channels) == (mixture.rate, mixture.samples, mixture.channels):
        return reference
    audio = resample(reference.read(0, reference.samples), reference.rate, mixture.rate)
    if mixture.channels == 1:
        audio = audio.mean(axis=1, keepdims=True)
    elif audio.shape[1] == 1:
        audio = np.repeat(audio, mixture.channels, axis=1)
    elif audio.shape[1] != mixture.channels:
        raise DataError(f"{path}: expected a reference of 1 or {mixture.channels} channels, got {audio.shape[1]}")
    audio = np.pad(audio[: mixture.samples], ((0, max(0, mixture.samples - len(audio))), (0, 0)))
    return ArraySource(audio, mixture.rate)


def recordings(arguments: Sequence[str | Path]) -> list[Path]:
    """`svs.audio.find.find_recordings`, without what svs itself left in a folder.

    Raises
    ------
    DataError
        What `svs.audio.find.find_recordings` raises, or there are only results.
    """
    named = {os.path.abspath(argument) for argument in arguments}
    found = [path for path in find.find_recordings(arguments) if os.path.abspath(path) in named or not _is_result(path)]
    if not found:
        raise DataError(
            f"{arguments[0]}: expected recordings, found only what svs separated before; "
            "name one of these files if you mean it"
        )
    return found


def _is_result(path: Path) -> bool:
    return path.stem in (*TARGETS, *ENHANCED) and (path.parent / RESULT).is_file()


def song_names(paths: Sequence[Path]) -> list[str]:
    """A folder's name for each recording: its own without the suffix, with more of the path where two are alike."""

    def depth(path: Path, level: int) -> str:
        if level == 0:
            return _folder_name(path.stem if path.stem.strip(".") else path.name)
        parents = [part for part in path.parent.parts[-(level - 1) :] if part.strip("/.\\")] if level > 1 else []
        return _folder_name(" - ".join([*parents, path.name]))

    levels = dict.fromkeys(range(len(paths)), 0)
    resolved = [Path(os.path.abspath(path)) for path in paths]
    while True:
        names = [depth(path, levels[index]) for index, path in enumerate(resolved)]
        alike = {index for index, name in enumerate(names) if names.count(name) > 1}
        if not alike or max(levels[index] for index in alike) > max(len(path.parts) for path in resolved):
            return names
        for index in alike:
            levels[index] += 1


def _folder_name(name: str) -> str:
    """`name` with at most 200 bytes, as no file system takes more than 255."""
    name = _readable(name)
    if len(name.encode()) <= 200:
        return name
    return f"{name.encode()[:190].decode(errors='ignore')} {hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _readable(name: str) -> str:
    """A file's name as text, whatever its bytes are."""
    return os.fsencode(name).decode(errors="replace")


@contextmanager
def only_one(output: Path) -> Iterator[None]:
    """Holds an output folder, which is made where it is missing, for one run at a time.

    Raises
    ------
    DataError
        Another run holds it, or it can't be written to.
    """
    output = Path(output)
    there = output.exists()
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as error:
        raise DataError(
            f"{output}: expected a folder that can be written to ({error.strerror}); choose another --output"
        ) from None
    # The folder itself is locked: a file for that would be left for people to wonder at.
    folder = os.open(output, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(
                f"{output}: another run of svs is writing there; wait for it, or choose another --output"
            ) from None
        except OSError as error:
            log.debug("%s: this file system has no locks for folders (%s)", output, error.strerror)
        yield
    finally:
        os.close(folder)
        if not there:
            with suppress(OSError):
                output.rmdir()  # where nothing came into it
