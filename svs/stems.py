"""The names of what is inside a song: one vocabulary for data, separation and scores."""

from __future__ import annotations

from collections.abc import Iterable

MIXTURE, VOCALS, WHOLE = "mixture", "vocals", "accompaniment"  # WHOLE: all that is not vocals
STREAMS = (MIXTURE, "drums", "bass", "other", VOCALS)  # the streams of a `.stem.mp4`, musdb's stem ids 0 to 4
ACCOMPANIMENT = ("drums", "bass", "other")  # MUSDB18's stems that sum to it
TARGETS = (VOCALS, WHOLE)  # what is separated and scored


def parts(stems: Iterable[str]) -> tuple[str, ...]:
    """Names of the stems that sum to the accompaniment, from the names of a track's stems.

    All that is neither mixture nor vocals is a part, unless the accompaniment is there as a whole.  MUSDB18's own come
    first, in its order: a sum of floats depends on it.
    """
    names = set(stems)
    if WHOLE in names:
        return (WHOLE,)
    own = [name for name in ACCOMPANIMENT if name in names]
    return (*own, *sorted(names - {MIXTURE, VOCALS, *own})) or (WHOLE,)
