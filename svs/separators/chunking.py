"""Separate a song of any length by any method: in chunks, with context, without seams.

The recording is resampled to the method's rate once, as a stream, and so is the estimate on its way back: chunks begin
on whole frames at every rate.  A network trained here gets a recording at the level of its training songs.  Beyond the
ends it gets a continuation: in training, it has seldom heard a sound that breaks off.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from math import gcd
from pathlib import Path

import numpy as np

from svs.audio.convert import Resampled, resampled
from svs.audio.level import gain
from svs.audio.sources import Source, WavWriter
from svs.dsp import continuation
from svs.errors import DataError
from svs.runtime.files import written
from svs.separators.base import Separator, Stems

_FADE = 0.02  # s of cross-fade between chunks, which are equal there unless a method looks beyond its context
_BEYOND = 64  # samples estimated beyond the end of a resampled recording, where the resampling filter would ring


class Ensemble(Separator):
    """The mean of several methods: they hear a song one by one, each at its own sample rate and level (`chunks`).

    Parameters
    ----------
    name : str
    members : sequence of Separator
        Their estimates count alike.
    """

    def __init__(self, name: str, members: Sequence[Separator]):
        self.name, self.members = name, tuple(members)
        self.needs_references = any(member.needs_references for member in members)
        self.uses_all_cores = any(member.uses_all_cores for member in members)

    def vocals(
        self, mixture: np.ndarray, rate: int, references: Stems | None = None, wanted: slice | None = None
    ) -> np.ndarray:
        raise NotImplementedError("a song goes through `chunks`, member by member")


class _Continued:
    """A source with `margin` samples more before its beginning and after its end (`svs.dsp.continuation`)."""

    def __init__(self, source: Source, margin: int):
        self.rate, self.channels, self.samples = source.rate, source.channels, source.samples + 2 * margin
        self._source, self._margin = source, margin

    @cached_property
    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        source, margin = self._source, self._margin
        needed = min(continuation.reach(margin, self.rate), source.samples)
        before = continuation.continuation(source.read(0, needed)[::-1], margin, self.rate)[::-1]
        last = source.read(source.samples - needed, source.samples)
        return before, continuation.continuation(last, margin, self.rate)

    def read(self, start: int, stop: int) -> np.ndarray:
        inner, (before, after) = self._source, self._ends
        first, last = start - self._margin, stop - self._margin  # of the source
        within = inner.read(*(min(max(place, 0), inner.samples) for place in (first, last)))
        beyond = slice(*(max(0, place - inner.samples) for place in (first, last)))
        return np.concatenate([before[start:stop], within, after[beyond]])


class _Given:
    """A recording as a method gets it: at the method's rate and level, and continued beyond its ends.

    Parameters
    ----------
    source : Source
    rate : int
        Hz.
    factor : float
        By which its samples are multiplied.
    reach : int
        Samples, at that rate, by which it may be read beyond either end.
    """

    def __init__(self, source: Source, rate: int, factor: float, reach: int):
        common = gcd(source.rate, rate)
        units = -(-reach * common // rate)  # the margin is a whole number of samples at both rates
        self.samples, self._margin = max(1, round(source.samples * rate / source.rate)), units * rate // common
        whole = _Continued(source, units * source.rate // common) if reach else source
        self._whole = Resampled(whole, rate) if rate != source.rate else whole
        self._factor = np.float32(factor)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Samples [start, stop) as float32 (stop - start, channels); `start` may be negative."""
        return self._whole.read(start + self._margin, stop + self._margin) * self._factor


def chunks(
    separator: Separator, mixture: Source, chunk: float, references: Mapping[str, Source] | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Separate a recording chunk by chunk.

    The memory needed depends on the length of a chunk, not on that of the recording.

    Parameters
    ----------
    separator : Separator
    mixture : Source
    chunk : float
        Seconds separated at a time.
    references : mapping of str to Source, optional
        True stems of the same length, for oracles.

    Yields
    ------
    mixture, vocals : float32 (samples, channels)
        Consecutive pieces that cover the recording.

    Raises
    ------
    DataError
        The recording is empty, or an oracle gets no references.
    """
    if mixture.samples == 0:
        raise DataError("the recording holds no audio")
    if separator.needs_references and not references:
        raise DataError(f"{separator.name} needs the true stems; give references or choose another method")
    done = 0
    for vocals in _vocals(separator, mixture, chunk, references or {}):
        done += len(vocals)
        yield mixture.read(done - len(vocals), done), vocals


def _vocals(
    separator: Separator, mixture: Source, chunk: float, references: Mapping[str, Source]
) -> Iterator[np.ndarray]:
    """Vocals piece after piece, at the rate and of the length of the mixture."""
    if isinstance(separator, Ensemble):
        yield from _mean([_vocals(member, mixture, chunk, references) for member in separator.members])
        return
    done = 0
    estimates = _estimates(separator, mixture, chunk, references)
    for piece in resampled(estimates, separator.sample_rate or mixture.rate, mixture.rate, mixture.channels):
        vocals = piece[: mixture.samples - done]
        if len(vocals):
            done += len(vocals)
            yield vocals
    if done < mixture.samples:  # at a much lower rate, the last sample ends before the recording does
        yield np.zeros((mixture.samples - done, mixture.channels), np.float32)


def _mean(estimates: Sequence[Iterator[np.ndarray]]) -> Iterator[np.ndarray]:
    """The mean of several estimates of the same length, whose pieces end at different samples."""
    held = [next(estimate) for estimate in estimates]
    while all(map(len, held)):
        length = min(map(len, held))
        yield np.asarray(np.mean([piece[:length] for piece in held], axis=0, dtype=np.float32))
        held = [
            piece[length:] if len(piece) > length else next(estimate, piece[:0])
            for piece, estimate in zip(held, estimates, strict=True)
        ]


def _estimates(
    separator: Separator, mixture: Source, chunk: float, references: Mapping[str, Source]
) -> Iterator[np.ndarray]:
    """Vocals chunk after chunk, at the method's rate."""
    rate = separator.sample_rate or mixture.rate
    align, context = separator.alignment(rate), separator.context(rate)
    step = max(1, round(chunk * rate) // align) * align
    fade = min(context, round(_FADE * rate))
    beyond = _BEYOND if separator.continued and rate != mixture.rate else 0
    lead, reach = (context, context + fade + beyond) if separator.continued else (0, 0)
    factor = gain(mixture, separator.level)
    heard = _Given(mixture, rate, factor, reach)
    true = {name: _Given(source, rate, factor, reach) for name, source in references.items()}
    end, tail = heard.samples + beyond, None
    for start in range(0, end, step):
        stop = min(start + step, end)
        # On the right the length of the fade more: the part that is faded out must be exact too.
        left, right = max(-lead, start - context), min(end + lead, stop + context + fade)
        known = {name: source.read(left, right) for name, source in true.items()} or None
        wanted = slice(start - left, min(stop + fade, right) - left)
        estimate = separator.vocals(heard.read(left, right), rate, known, wanted=wanted)
        piece = estimate[start - left : stop - left] / np.float32(factor)
        if tail is not None:
            length = min(len(tail), len(piece))
            weight = np.linspace(0, 1, length, dtype=np.float32)[:, None]
            piece[:length] = tail[:length] * (1 - weight) + piece[:length] * weight
        tail = estimate[stop - left : stop - left + fade] / np.float32(factor) if stop < end else None
        yield piece


def separate_to(
    folder: Path, separator: Separator, mixture: Source, chunk: float, references: Mapping[str, Source] | None = None
) -> None:
    """Write `vocals.wav` and `accompaniment.wav` (32-bit float) into a folder, which appears when both are complete.

    The accompaniment is the mixture less the vocals.
    """
    with written(folder) as temporary:
        temporary.mkdir()
        with (
            WavWriter(temporary / "vocals.wav", mixture.rate, mixture.channels) as vocals,
            WavWriter(temporary / "accompaniment.wav", mixture.rate, mixture.channels) as accompaniment,
        ):
            for mixed, estimate in chunks(separator, mixture, chunk, references):
                vocals.write(estimate)
                accompaniment.write(mixed - estimate)
