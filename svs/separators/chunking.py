"""Separate a song of any length by any method: in chunks, with context, without seams."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from svs.audio.sources import Source, WavWriter
from svs.errors import DataError
from svs.runtime.files import written
from svs.separators.base import Separator

_FADE = 0.02  # s of cross-fade between chunks, which are equal there unless a method looks beyond its context


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
    rate = mixture.rate
    align, context = separator.alignment(rate), separator.context(rate)
    step = max(1, round(chunk * rate) // align) * align
    fade = min(context, round(_FADE * rate))
    tail = None
    for start in range(0, mixture.samples, step):
        stop = min(start + step, mixture.samples)
        # On the right the length of the fade more: the part that is faded out must be exact too.
        left, right = max(0, start - context), min(mixture.samples, stop + context + fade)
        audio = mixture.read(left, right)
        true = {name: source.read(left, right) for name, source in (references or {}).items()} or None
        estimate = separator.vocals(audio, rate, true, wanted=slice(start - left, min(stop + fade, right) - left))
        piece = estimate[start - left : stop - left].copy()
        if tail is not None:
            length = min(len(tail), len(piece))
            weight = np.linspace(0, 1, length, dtype=np.float32)[:, None]
            piece[:length] = tail[:length] * (1 - weight) + piece[:length] * weight
        tail = estimate[stop - left : stop - left + fade] if stop < mixture.samples else None
        yield audio[start - left : stop - left], piece


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
