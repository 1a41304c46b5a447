"""What a layout says of a track: where the audio of its stems lies; and reading that audio.

Stems are named freely.  `mixture`, `vocals` and `accompaniment` have their meaning everywhere.  All others are parts of
the accompaniment.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from svs.audio.convert import Resampled
from svs.audio.reading.decode import open_recording
from svs.audio.sources import (
    ChannelSource,
    DifferenceSource,
    PassageSource,
    Source,
    SumSource,
    WavSource,
    WidenedSource,
)
from svs.data.musdb import SUFFIX, decode_stems
from svs.errors import DataError
from svs.stems import MIXTURE, VOCALS, WHOLE, parts


@dataclass(frozen=True)
class Audio:
    """Audio in a file: of one stream of a `.stem.mp4` (a name of `STREAMS`), of one channel (from 0), or all of it.

    `path` is relative to the folder of the data set, or absolute.
    """

    path: str
    stream: str | None = None
    channel: int | None = None


Stems = Mapping[str, tuple[Audio, ...]]  # of a track, by name; the files of one stem are summed


@dataclass(frozen=True)
class Song:
    """A track as its layout found it, before anybody looked into its files.

    Parameters
    ----------
    name : str
        Differs from that of every other track of the data set, and may be the name of a folder.
    stems : mapping of str to tuple of Audio
    split : {"", "train", "valid", "test", "unused"}
        As the data set says, or empty.  `svs.data.splits` assigns the final one.
    groups : tuple of str
        What the track shares with others, the largest group first: the singer, then the song; the artist.
    problem : str
        Why it can't be a track, if that shows by names alone.
    """

    name: str
    stems: Stems
    split: str = ""
    groups: tuple[str, ...] = ()
    problem: str = ""

    @property
    def subset(self) -> str:
        """Its folder in MUSDB18's layout: train or test."""
        return subset(self.split)

    def files(self, folder: Path) -> list[Path]:
        """Its files, each once, in the order of its stems."""
        return files(self.stems, folder)


def subset(split: str) -> str:
    """The folder of a split in MUSDB18's layout."""
    return "test" if split == "test" else "train"


def files(stems: Stems, folder: Path) -> list[Path]:
    """The files of stems below the folder of a data set, each once, in their order."""
    return list(dict.fromkeys(folder / audio.path for parts in stems.values() for audio in parts))


def lacking(stems: Iterable[str]) -> str:
    """Why nothing can be trained or scored with stems of these names, in a few words; empty if it can."""
    names = set(stems)
    if VOCALS in names and len(names) > 1 or {MIXTURE, WHOLE} <= names:
        return ""
    found = ", ".join(sorted(names)) or "nothing"
    return f"expected vocals, and a mixture or an accompaniment (whole or in parts); found {found}"


@contextmanager
def opened(stems: Stems, folder: Path, seconds: float | None = None) -> Iterator[dict[str, list[Source]]]:
    """The sources of stems by name, one for each of their files, as they are.

    Parameters
    ----------
    stems : mapping of str to tuple of Audio
    folder : Path
        Of the data set.
    seconds : float, optional
        Of a track that was inspected: a `.stem.mp4` is not probed again.

    Raises
    ------
    DataError
        A file can't be read, or lacks the channel.
    """
    wanted = list(dict.fromkeys(audio for each in stems.values() for audio in each))
    with ExitStack() as stack:
        whole: dict[tuple[str, str | None], Source] = {}
        for path in dict.fromkeys(audio.path for audio in wanted):
            streams = list(dict.fromkeys(audio.stream for audio in wanted if audio.path == path))
            for stream, source in _read(stack, folder / path, streams, seconds).items():
                whole[path, stream] = source
        found = {}
        for audio in wanted:
            source = whole[audio.path, audio.stream]
            if audio.channel is not None and audio.channel >= source.channels:
                raise DataError(
                    f"{Path(audio.path).name}: expected channel {audio.channel + 1}, it has {source.channels}"
                )
            found[audio] = source if audio.channel is None else ChannelSource(source, audio.channel)
        yield {name: [found[audio] for audio in each] for name, each in stems.items()}


def _read(
    stack: ExitStack, path: Path, streams: Sequence[str | None], seconds: float | None
) -> dict[str | None, Source]:
    """The sources of streams of a file: of MUSDB18's by their names, of another file the one that is None."""
    names = [stream for stream in streams if stream is not None]
    found: dict[str | None, Source] = {}
    if names and not path.name.endswith(SUFFIX):
        raise DataError(f"{path.name}: expected a {SUFFIX}, which has a stream of {names[0]}")
    if names:
        place = stack.enter_context(tempfile.TemporaryDirectory(prefix="svs-"))
        found |= {name: WavSource(wav) for name, wav in decode_stems(path, names, Path(place), seconds).items()}
    if None in streams:
        is_wav = path.suffix.lower() == ".wav"
        found[None] = WavSource(path) if is_wav else stack.enter_context(open_recording(path))
    return found


def common_form(found: Mapping[str, Sequence[Source]], rate: int | None) -> tuple[int, int]:
    """Rate (Hz) and channels that the sources of stems are brought to.

    The rate is `rate`, or else that of the mixture, or else the highest.  The channels are the most that one has.
    """
    everything = [source for sources in found.values() for source in sources]
    theirs = max(source.rate for source in found.get(MIXTURE, everything))
    return rate or theirs, max(source.channels for source in everything)


def at_rate(found: Mapping[str, Sequence[Source]], rate: int) -> dict[str, list[Source]]:
    """The sources at one rate (Hz)."""
    return {
        name: [source if source.rate == rate else Resampled(source, rate) for source in sources]
        for name, sources in found.items()
    }


def assembled(
    found: Mapping[str, Sequence[Source]], channels: int, samples: int, names: Iterable[str]
) -> dict[str, Source]:
    """Sources of one shape by name; mixture, vocals and accompaniment are made where they are missing.

    Parameters
    ----------
    found : mapping of str to sequence of Source
        Of one rate.
    channels, samples : int
        Mono sources are repeated to so many channels, longer ones are cut.
    names : iterable of str
        Of those in `found`, and `mixture`, `vocals`, `accompaniment`.
    """

    def shaped(source: Source) -> Source:
        source = source if source.channels == channels else WidenedSource(source, channels)
        return source if source.samples == samples else PassageSource(source, 0, samples)

    def summed(sources: Sequence[Source]) -> Source:
        return sources[0] if len(sources) == 1 else SumSource(sources)

    def made(name: str) -> Source:
        if name in found:
            return summed([shaped(source) for source in found[name]])
        pieces = parts(found)
        if name == MIXTURE:
            return summed([made(VOCALS), *map(made, pieces)])
        if name == WHOLE and pieces != (WHOLE,):
            return summed([made(piece) for piece in pieces])
        if name in (VOCALS, WHOLE):
            return DifferenceSource(made(MIXTURE), made(WHOLE if name == VOCALS else VOCALS))
        raise DataError(f"there is no stem {name}; expected {', '.join(found)}")

    return {name: made(name) for name in names}


def needed(stems: Iterable[str], names: Iterable[str]) -> set[str]:
    """Which of a track's stems have to be opened for the sources of `assembled`."""
    there = set(stems)
    wanted: set[str] = set()
    for name in names:
        if name in there:
            wanted.add(name)
        elif name == WHOLE and parts(there) != (WHOLE,):
            wanted |= set(parts(there))
        elif name == MIXTURE:
            wanted |= {VOCALS, *parts(there)}
        else:
            wanted |= there & {MIXTURE, VOCALS, WHOLE}
    return wanted & there
