"""A data set: the list of its tracks, and opening a track.

A *manifest* lists the tracks that passed inspection: where the audio of each stem lies, their split, rate, channels and
checksums.  All later stages use it, and know nothing of the layout that the files have (`svs.data.layouts`).  Audio is
read in blocks.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from svs.audio.sources import Source
from svs.config import paths
from svs.config.schema import Settings
from svs.data import songs
from svs.data.songs import Audio, Stems
from svs.errors import DataError
from svs.runtime.files import read_json, sha256, write_json
from svs.stems import parts

SILENT = 1e-4  # peak (-80 dBFS) below which vocals are silent


@dataclass(frozen=True)
class Track:
    """One track of a data set.

    Parameters
    ----------
    name : str
    split : {"train", "valid", "test", "unused"}
    samples, rate, channels : int
        Of every stem as it is opened; rate in Hz.
    sha256 : str
        Of its files.
    silent_vocals : bool
    stems : mapping of str to tuple of Audio
        Where the audio of each stem lies.
    dataset : str
        The name of its data set, where a manifest lists several; else empty.
    audio : mapping of str to str
        Checksums (SHA-256) of the decoded samples of `mixture` and `vocals`, unless they are silent: the same music
        under another name or in another lossless format has them too.
    """

    name: str
    split: str
    samples: int
    rate: int
    channels: int
    sha256: str
    silent_vocals: bool
    stems: Stems = field(default_factory=dict)
    audio: Mapping[str, str] = field(default_factory=dict)
    dataset: str = ""

    @property
    def subset(self) -> str:
        """Its folder in MUSDB18's layout, which estimates and scores have: train or test, below its data set's."""
        return f"{self.dataset}/{songs.subset(self.split)}" if self.dataset else songs.subset(self.split)

    @property
    def seconds(self) -> float:
        return self.samples / self.rate

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the stems that sum to the accompaniment."""
        return parts(self.stems)


class Manifest:
    """The tracks of one or several data sets that passed inspection.

    Parameters
    ----------
    dataset : str
        The name of the data set: tiny, sample, full or another; of several, joined by commas.
    tracks : sequence of Track
        No two have one name.
    layout : str
        The layout that they were found by; of several data sets, joined by commas.
    """

    def __init__(self, dataset: str, tracks: Sequence[Track], layout: str = ""):
        self.dataset, self.layout = dataset, layout
        self.tracks = list(tracks)

    @classmethod
    def joined(cls, manifests: Sequence[Manifest]) -> Manifest:
        """Data sets as one; a single one as it is.

        A track keeps its name unless an earlier data set has one of the same name: then its data set is added, `One
        (mir1k)`.  The name stays if one of the two is scored and the other is not: `refuse_leaks` stops there.
        """
        if len(manifests) == 1:
            return manifests[0]
        taken: dict[str, bool] = {}  # whether it is scored
        tracks = []
        for manifest in manifests:
            for track in manifest.tracks:
                name, scored = track.name, track.split == "test"
                while taken.get(name) is scored:
                    name = f"{name} ({manifest.dataset})"
                taken.setdefault(name, scored)
                tracks.append(replace(track, name=name, dataset=manifest.dataset))
        names, layouts = ([getattr(each, key) for each in manifests] for key in ("dataset", "layout"))
        return cls(", ".join(names), tracks, ", ".join(layouts))

    @property
    def datasets(self) -> dict[str, list[Track]]:
        """The tracks of each data set by its name, in the order of the manifest."""
        found: dict[str, list[Track]] = {}
        for track in self.tracks:
            found.setdefault(track.dataset or self.dataset, []).append(track)
        return found

    def split(self, *names: str) -> list[Track]:
        """Tracks of one or more splits, in the order of the manifest."""
        return [track for track in self.tracks if track.split in names]

    def require(self, *names: str) -> None:
        """Raise DataError if a split has no track."""
        if missing := [name for name in names if not self.split(name)]:
            raise DataError(
                f"no {' and no '.join(missing)} track among the {len(self.tracks)} usable ones; "
                "training needs at least two tracks that are not for testing, scoring one for testing (download.split)"
            )

    def leaks(self) -> list[tuple[Track, Track, str]]:
        """Tracks that may be trained on and are scored as well: the two, and what they share in a few words.

        Names, files and decoded audio are compared; the audio of mixture and vocals each.
        """
        tests: dict[tuple[str, str], Track] = {}
        for track in self.split("test"):
            tests |= {mark: track for mark in _marks(track)}
        return [
            (track, tests[mark], mark[0])
            for track in self.split("train", "valid", "unused")
            if (mark := next((mark for mark in _marks(track) if mark in tests), None))
        ]

    def refuse_leaks(self) -> None:
        """Raise DataError if a track may be trained on and is scored as well (`leaks`)."""
        if found := self.leaks():
            some = "; ".join(f"{one.name} has the {what} of {other.name}" for one, other, what in found[:5])
            raise DataError(
                f"{len(found)} tracks are to be trained on and are scored: {some}: a test track must not be trained "
                "on: remove it, or change download.split"
            )

    def save(self, path: Path) -> None:
        rows = [_row(track) for track in self.tracks]
        write_json(path, {"dataset": self.dataset, "layout": self.layout, "tracks": rows})

    @classmethod
    def load(cls, path: Path) -> Manifest:
        content = read_json(path)
        try:
            return cls(content["dataset"], [_track(row) for row in content["tracks"]], content["layout"])
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: expected a manifest of tracks ({error}); delete it and run `dvc repro`") from None


def _marks(track: Track) -> list[tuple[str, str]]:
    """What tells a track from others: kind and value."""
    audio = [(f"decoded {name}", checksum) for name, checksum in sorted(track.audio.items())]
    return [("name", track.name), ("files", track.sha256), *audio]


def _row(track: Track) -> dict[str, Any]:
    """A track as it stands in the manifest."""
    stems = {
        name: [{key: value for key, value in asdict(audio).items() if value is not None} for audio in each]
        for name, each in track.stems.items()
    }
    row = {**vars(track), "stems": stems, "audio": dict(track.audio), "seconds": round(track.seconds, 3)}
    return {key: value for key, value in row.items() if key != "dataset" or value}


def _track(row: Mapping[str, Any]) -> Track:
    stems = {name: tuple(Audio(**audio) for audio in each) for name, each in row["stems"].items()}
    return Track(**{key: value for key, value in row.items() if key != "seconds"} | {"stems": stems})


class Dataset:
    """Tracks of a manifest, opened from the folder that holds their audio.

    Parameters
    ----------
    folder : Path
        The one that was inspected; of several data sets, that of the first.
    manifest : Manifest
    further : mapping of str to Path
        The folders of further data sets, by name.
    """

    def __init__(self, folder: Path, manifest: Manifest, further: Mapping[str, Path] | None = None):
        self.folder, self.further = Path(folder), dict(further or {})
        self.manifest = manifest

    def bare(self) -> Dataset:
        """A copy to pickle with every track: absolute paths, and no manifest, which may list thousands of tracks."""
        further = {name: folder.absolute() for name, folder in self.further.items()}
        return Dataset(self.folder.absolute(), Manifest(self.manifest.dataset, []), further)

    @contextmanager
    def open(
        self, track: Track, names: Iterable[str] = ("mixture", "vocals", "accompaniment")
    ) -> Iterator[dict[str, Source]]:
        """Sources of one track, by name: its stems, and `mixture`, `vocals` and `accompaniment`.

        Raises
        ------
        DataError
            The track is missing, or has changed since it was inspected.
        """
        folder = self.further.get(track.dataset, self.folder)
        place, files = f"{folder}: {track.subset}/{track.name}", songs.files(track.stems, folder)
        if not all(file.is_file() for file in files):
            raise DataError(
                f"{place}: the track is in the manifest, but its files are missing; "
                "restore them, or run `dvc repro --force download`"
            )
        if sha256(sorted(files)) != track.sha256:
            raise DataError(f"{place}: changed since the manifest was written; run `dvc repro --force download`")
        with open_sources(track, folder, names) as sources:
            yield sources


@contextmanager
def open_sources(track: Track, folder: Path, names: Iterable[str]) -> Iterator[dict[str, Source]]:
    """Sources of a track that was inspected, by name: see `Dataset.open`."""
    names = list(names)
    wanted = songs.needed(track.stems, names)
    stems = {name: audio for name, audio in track.stems.items() if name in wanted}
    with songs.opened(stems, folder, track.seconds) as found:
        yield songs.assembled(songs.at_rate(found, track.rate), track.channels, track.samples, names)


def open_dataset(settings: Settings, home: Path = Path()) -> Dataset:
    """The data sets that a project's manifest describes.  Missing audio is generated or downloaded again.

    Parameters
    ----------
    settings : Settings
        Of the project.
    home : Path
        The project's folder.

    Raises
    ------
    DataError
        The audio is missing and can't be restored.
    """
    folders = {one.dataset: home / (one.path or paths.DATASETS / one.dataset) for one in settings.download.each()}
    for folder in folders.values():
        if folder.is_dir():
            continue
        # In another process, because results must not depend on the code that gets the audio: checksums are compared.
        done = subprocess.run([sys.executable, "-m", "svs.data.locate"], cwd=home)
        if done.returncode:
            raise DataError(
                f"{folder}: the audio of the data set is missing and could not be restored (see above); "
                "run `dvc repro --force download`"
            )
    return Dataset(folders.pop(settings.download.dataset), Manifest.load(home / paths.MANIFEST), folders)
