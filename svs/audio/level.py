"""The level of a recording, by which networks hear quiet and loud copies of it alike."""

from __future__ import annotations

import numpy as np

from svs.audio.convert import blocks
from svs.audio.sources import Source

_BLOCK = 0.1  # s
_READ = 64  # blocks read at a time
_SILENCE = 1e-9  # level of a silent recording: the least step of 32-bit integers is 5e-10
_RANGE = 0.1  # a block counts whose power is at least this share (-10 dB) of the mean over all that count


def level(source: Source) -> float:
    """Root mean square of the samples of all channels in the blocks that are not quiet; 0 for silence.

    A block of 0.1 s is quiet if it is more than 10 dB below the mean, as in ITU-R BS.1770, but relative to the blocks
    that remain: silence before, after and inside a song does not count.  It takes one pass over the source.  The level
    of a copy at another gain differs by that gain.
    """
    size, means = max(1, round(_BLOCK * source.rate)), []
    for read in blocks(source, _READ * size):
        squares = np.square(read, dtype=np.float64).mean(axis=1)
        means += [squares[first : first + size].mean() for first in range(0, len(squares), size)]
    power = np.array(means)
    while len(kept := power[power >= _RANGE * power.mean()]) < len(power):
        power = kept
    return float(np.sqrt(power.mean()))


def gain(source: Source, wanted: float | None) -> float:
    """The factor from the level of a source to the wanted one; 1 for silence, and where no level is wanted."""
    found = level(source) if wanted else 0.0
    return wanted / found if wanted and found > _SILENCE else 1.0
