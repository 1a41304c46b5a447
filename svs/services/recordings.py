"""Any recording through any methods: what the commands and the web page share.

A method leaves for each song the two audio files, `spectrogram.png`,
`result.json` (the request), and with a reference `scores.json` in museval's
layout.  They lie in one folder, `OUTPUT/SONG/METHOD`, which appears whole, or
where a template says (`svs.config.paths.NAME`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from svs import separators
from svs.audio import encode
from svs.audio.convert import blocks, resample
from svs.audio.reading import decode
from svs.audio.sources import ArraySource, DifferenceSource, RawSource, Source
from svs.config.paths import NAME
from svs.config.project import Project
from svs.config.schema import Passage
from svs.errors import DataError, SettingsError, SVSError
from svs.evaluation.museval_json import BSSEVAL, MEASURES, museval_json, read_scores
from svs.runtime.extras import require
from svs.runtime.files import sha256, write_json, write_text
from svs.runtime.process import log
from svs.separators.base import Separator
from svs.separators.chunking import chunks
from svs.separators.estimates import REQUEST
from svs.services.output import Place, check_name, readable, separation_request
from svs.stems import TARGETS

SCORES, PICTURE = "scores.json", "spectrogram.png"
CLIPS = ("rescale", "clamp", "error")
_FULL_SCALE = 1 - 2.0**-23  # the largest sample of 24 bits
_UNEQUAL = 0.1  # s by which a reference may be longer or shorter (padding of codecs)


@dataclass(frozen=True)
class Order:
    """What is wanted of every recording."""

    methods: tuple[str, ...]  # names in `svs.separators.methods`, or several joined by + for their mean
    output: Path
    start: float = 0.0  # s
    duration: float | None = None  # s; None: to the end
    codec: str = "wav"  # one of `svs.audio.encode.FORMATS`
    bit_depth: str | None = None  # one of `svs.audio.encode.BIT_DEPTHS`; None: the usual one
    bitrate: int | None = None  # kbit/s, of lossy formats; None: the usual one
    overwrite: bool = False  # separate again what is already there
    picture: bool = True  # draw the spectrograms
    names: tuple[str, str] = TARGETS  # of the two audio files
    stem: str | None = None  # the only one of them that is written
    stream: int | None = None  # of the audio streams of a recording, counted from 0; None: the one that players take
    clip: str = "rescale"  # one of `CLIPS`: what is done about samples beyond full scale, except in a float wav
    name: str = NAME  # of the files of a result
    device: str = "auto"  # of networks (`svs.separators.build`)
    strength: float = 1.0  # how much of the second part is taken out of the first; the rest of it is mixed back

    def __post_init__(self) -> None:
        if self.picture:
            require("matplotlib")
        for method in self.methods:
            separators.members(method)
        encode.check_format(self.codec, self.bit_depth, self.bitrate)
        if self.clip not in CLIPS:
            raise SettingsError(f"clip {self.clip}: expected one of {', '.join(CLIPS)}")
        if self.stem not in (None, *self.names):
            raise SettingsError(f"stem {self.stem}: expected one of {', '.join(self.names)}")
        if not (np.isfinite(self.start) and self.start >= 0):
            raise SettingsError(f"start: expected seconds from 0, got {self.start}")
        if self.duration is not None and not (np.isfinite(self.duration) and self.duration > 0):
            raise SettingsError(f"duration: expected seconds above 0, got {self.duration}")
        check_name(self.name, self.methods, self.stem)

    def files(self) -> list[str]:
        """The audio files of a result."""
        return [f"{name}.{self.codec}" for name in self.names if self.stem in (None, name)]

    def place(self, song: str, method: str) -> Place:
        """Where the files of a result go."""
        return Place(self.output, self.name, song, method, tuple(self.files()))


@dataclass(frozen=True)
class Song:
    """An open recording: its audio, and where it comes from."""

    name: str  # of the folder of its results
    mixture: Source
    identity: Mapping[str, Any]  # what distinguishes it from another recording of that name
    tags: Mapping[str, str] = field(default_factory=dict)  # written to the results, in formats that have tags
    references: Mapping[str, Source] | None = None  # the true `vocals` and `accompaniment`
    notes: tuple[str, ...] = ()  # what was special in reading it, in short sentences


@dataclass(frozen=True)
class Result:
    """What a method left of a song."""

    song: str
    method: str
    folder: Path  # of its files; where they share one with other results, the first audio file
    skipped: bool = False  # it was there already
    notes: tuple[str, ...] = ()  # what was special in reading it, and what the encoder had to change
    scores: Mapping[str, np.ndarray] | None = None  # SDR, ISR, SIR, SAR of (targets, frames) in dB
    error: SVSError | None = None  # why the method left nothing


class Service:
    """Separates recordings by methods that are built once.

    Raises
    ------
    UnavailableError, ModelError
        None of the methods can run.
    """

    def __init__(self, project: Project, order: Order):
        self.project, self.order = project, order
        self.unavailable: dict[str, SVSError] = {}  # methods of the order that can't run here, and why
        self.methods: dict[str, Separator | None] = {}  # by name; None: to be built again
        self._written: dict[str, Place] = {}  # by the path of their request, as file systems without upper case know it
        for method in dict.fromkeys(order.methods):
            try:
                self.methods[method] = self._build(method)
            except SVSError as error:
                self.unavailable[method] = error
        if self.unavailable and not self.methods:
            raise next(iter(self.unavailable.values()))
        for method, reason in self.unavailable.items():
            log.warning("%s is left out: %s", method, reason)

    def _build(self, method: str) -> Separator:
        return separators.build(method, self.project.settings, self.project.home, self.order.device)

    def separate(
        self,
        song: Song,
        progress: Callable[[float], None] = lambda seconds: None,
        begin: Callable[[str], None] = lambda title: None,
    ) -> list[Result]:
        """Separate one recording by every method.  A method that fails leaves nothing, and the others go on.

        `progress` is called with the seconds separated since its last call, `begin` with `SONG: METHOD` when a method
        begins.
        """
        results = []
        for method in self.methods:
            begin(f"{song.name}: {method}")
            try:
                results.append(self._by(method, song, progress))
            except SVSError as error:
                results.append(Result(song.name, method, self.order.place(song.name, method).shown, error=error))
                if not isinstance(error, DataError):
                    # The process of this separator may be dead: the next song gets a new one.
                    self.methods[method] = None
        return results

    def _by(self, method: str, song: Song, progress: Callable[[float], None]) -> Result:
        order, place = self.order, self.order.place(song.name, method)
        if self._written.setdefault(str(place.path(REQUEST)).casefold(), place) != place:
            raise DataError(f"{place.shown}: another result of this run goes there too; change --name")
        request = {
            "song": dict(song.identity),
            "start": order.start,
            "duration": order.duration,
            "files": order.files(),
            "bit_depth": order.bit_depth,
            "bitrate": order.bitrate,
            "stream": order.stream,
            **({"clip": order.clip} if encode.has_full_scale(order.codec, order.bit_depth) else {}),
            **({"strength": order.strength} if order.strength < 1 else {}),
            **separation_request(self.project, method),
        }
        if place.is_answered(request, order.overwrite):
            return Result(song.name, method, place.shown, skipped=True, scores=_stored_scores(place.path(SCORES)))
        separator = self.methods[method] or self._build(method)
        self.methods[method] = separator
        with place.written() as folder:
            notes, scores = self._write(folder, song, separator, progress)
            notes = [*song.notes, *notes]
            write_json(folder / REQUEST, {**request, "notes": notes})
        return Result(song.name, method, place.shown, notes=tuple(notes), scores=scores)

    def _write(
        self, folder: Path, song: Song, separator: Separator, progress: Callable[[float], None]
    ) -> tuple[list[str], dict[str, np.ndarray] | None]:
        """Write everything but the request; returns notes and scores."""
        mixture, settings = song.mixture, self.project.settings
        raw = folder.parent / "estimate.f32"  # in the temporary folder around the result, so it is removed with it
        with open(raw, "wb") as file:
            back = np.float32(1 - self.order.strength)
            for mixed, estimate in chunks(separator, mixture, settings.separate.common.chunk, song.references):
                if back:
                    estimate = estimate + back * (mixed - estimate)
                # `tofile` does not report a full disk.
                file.write(np.ascontiguousarray(estimate, dtype="<f4").data)
                progress(len(mixed) / mixture.rate)
        vocals = RawSource(raw, mixture.rate, mixture.channels)
        parts: dict[str, Source] = {"vocals": vocals, "accompaniment": DifferenceSource(mixture, vocals)}
        notes = self._write_parts(folder, parts, song.tags)
        if self.order.picture:
            draw(folder / PICTURE, song, separator.name, vocals, self.project, self.order)
        if song.references is None:
            return notes, None
        from svs.evaluation.scoring import score  # takes long to import

        whole = settings.score.model_copy(update={"passage": Passage(start=0.0, duration=None)})
        scores = score.score_sources(dict(song.references), parts, whole, BSSEVAL)
        write_text(folder / SCORES, museval_json(song.name, scores, settings.score))
        return notes, scores

    def _write_parts(self, folder: Path, parts: Mapping[str, Source], tags: Mapping[str, str]) -> list[str]:
        """Write the audio files; returns what the encoder had to change."""
        order, gain, notes = self.order, 1.0, []
        bounded = encode.has_full_scale(order.codec, order.bit_depth)
        if bounded and order.clip == "rescale" and (peak := max(map(_peak, parts.values()))) > _FULL_SCALE:
            gain = _FULL_SCALE / peak
            notes.append(
                f"samples reach {peak:.3f} times full scale, so both parts are scaled by {gain:.4f} "
                f"({20 * np.log10(gain):.1f} dB) and still sum to the recording; --clip clamp keeps the level"
            )
        clip = "error" if order.clip == "error" else "clamp"
        for name, part in zip(order.names, parts.values(), strict=True):
            if order.stem in (None, name):
                file = f"{name}.{order.codec}"
                depth, bitrate = order.bit_depth, order.bitrate
                changes = encode.encode(
                    part, folder / file, order.codec, tags, bit_depth=depth, bitrate=bitrate, clip=clip, gain=gain
                )
                notes += [f"{file}: {change}" for change in changes]
        return notes


def _peak(source: Source) -> float:
    """The largest magnitude of a source."""
    return max(float(np.abs(block).max()) for block in blocks(source))


def draw(path: Path, song: Song, method: str, vocals: Source, project: Project, order: Order) -> None:
    """Draw the spectrograms of a song and of its vocals by a method."""
    from svs.figures import spectrograms, style

    title, settings = f"{song.name}: {method}", project.settings.plots
    style.save(
        spectrograms.result_picture(title, song.mixture, vocals, settings, name=order.names[0], start=order.start), path
    )


def _stored_scores(path: Path) -> dict[str, np.ndarray] | None:
    if not path.is_file():
        return None
    content = read_scores(path)
    return {measure: np.stack([content[target][measure] for target in TARGETS]) for measure in MEASURES}


@contextmanager
def open_song(
    path: Path, name: str, order: Order, reference: Path | None = None, label: str | None = None
) -> Iterator[Song]:
    """Open anything that ffmpeg reads as a `Song`; it stays decoded as long as the block runs.

    The reference holds the true vocals of the same recording.  The true accompaniment is the recording less these.
    Messages and results call the recording by its label instead of its file name, if it has one.
    Raise DataError if one can't be read, or they differ in length.
    """
    with ExitStack() as stack:
        passage = order.start, order.duration
        recording = stack.enter_context(decode.open_recording(path, *passage, stream=order.stream, name=label))
        identity = {"file": label or readable(path.name), "sha256": sha256([path])}
        references: dict[str, Source] | None = None
        if reference is not None:
            decoded = stack.enter_context(decode.open_recording(reference, *passage))
            vocals = _fitting(decoded, recording, reference)
            references = {"vocals": vocals, "accompaniment": DifferenceSource(recording, vocals)}
            identity["reference"] = sha256([reference])
        yield Song(name, recording, identity, recording.info.tags, references, tuple(recording.notes))


def _fitting(reference: Source, mixture: Source, path: Path) -> Source:
    """The reference with the mixture's rate, channels and length."""
    seconds, expected = reference.samples / reference.rate, mixture.samples / mixture.rate
    if abs(seconds - expected) > _UNEQUAL:
        raise DataError(f"{path}: expected the vocals of the same recording, {expected:.2f} s, got {seconds:.2f} s")
    if (reference.rate, reference.samples, reference.channels) == (mixture.rate, mixture.samples, mixture.channels):
        return reference
    if mixture.channels != 1 and reference.channels not in (1, mixture.channels):
        raise DataError(f"{path}: expected a reference of 1 or {mixture.channels} channels, got {reference.channels}")
    audio = resample(reference.read(0, reference.samples), reference.rate, mixture.rate)[: mixture.samples]
    if mixture.channels == 1:
        audio = audio.mean(axis=1, keepdims=True)
    fitted = np.zeros((mixture.samples, mixture.channels), dtype=audio.dtype)
    fitted[: len(audio)] = audio
    return ArraySource(fitted, mixture.rate)
