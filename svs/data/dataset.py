"""Data sets in MUSDB18's layout: getting one, listing its tracks, opening a track.

Two forms, both found and named by `musdb`: MUSDB18 (`train/*.stem.mp4`, five
AAC streams) and MUSDB18-HQ (`train/<track>/{mixture,drums,bass,other,vocals}.wav`).
A *manifest* lists the tracks that passed inspection, with their split and a
checksum; everything downstream works from it.  Audio is read in blocks; a
`.stem.mp4` is decoded once, by one ffmpeg call, into temporary wav files that
give the samples `musdb` gives.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from svs.audio.sources import Source, SumSource, WavSource
from svs.config.schema import Settings
from svs.data.musdb import SUFFIX, Candidate, decoded, with_subsets
from svs.errors import DataError
from svs.runtime.files import read_json, sha256, write_json
from svs.stems import ACCOMPANIMENT, STREAMS

SILENT = 1e-4  # peak (-80 dBFS) below which vocals are silent


@dataclass(frozen=True)
class Track:
    """One track of a data set; `split` is train, valid, test or unused."""

    name: str
    subset: str
    split: str
    samples: int
    rate: int
    sha256: str
    silent_vocals: bool

    @property
    def seconds(self) -> float:
        return self.samples / self.rate


class Manifest:
    """The tracks of a data set that passed inspection.

    Parameters
    ----------
    dataset : str
        tiny, sample or full.
    tracks : sequence of Track
    """

    def __init__(self, dataset: str, tracks: Sequence[Track]):
        self.dataset = dataset
        self.tracks = list(tracks)

    def split(self, *names: str) -> list[Track]:
        """Tracks of one or more splits, in the order of the manifest."""
        return [track for track in self.tracks if track.split in names]

    def require(self, *names: str) -> None:
        """Raise DataError where a split has no track."""
        if missing := [name for name in names if not self.split(name)]:
            raise DataError(
                f"no {' and no '.join(missing)} track among the {len(self.tracks)} usable ones; "
                "training needs at least two tracks in train/, scoring one in test/"
            )

    def save(self, path: Path) -> None:
        rows = [{**asdict(track), "seconds": round(track.seconds, 3)} for track in self.tracks]
        write_json(path, {"dataset": self.dataset, "tracks": rows})

    @classmethod
    def load(cls, path: Path) -> Manifest:
        content = read_json(path)
        try:
            rows = [{key: value for key, value in row.items() if key != "seconds"} for row in content["tracks"]]
            return cls(content["dataset"], [Track(**row) for row in rows])
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: expected a manifest of tracks ({error}); delete it and run `dvc repro`") from None


class Dataset:
    """Tracks of a manifest, opened from the folder that holds their audio.

    Parameters
    ----------
    folder : Path
        Holds `train` and `test`.
    manifest : Manifest
    """

    def __init__(self, folder: Path, manifest: Manifest):
        self.folder = Path(folder)
        self.manifest = manifest

    def bare(self) -> Dataset:
        """Enough of it to open a track that one has, anywhere: no manifest, whose thousands of tracks would be
        pickled with each of them, and an absolute path."""
        return Dataset(self.folder.absolute(), Manifest(self.manifest.dataset, []))

    @contextmanager
    def open(
        self, track: Track, names: Sequence[str] = ("mixture", "vocals", "accompaniment")
    ) -> Iterator[dict[str, Source]]:
        """Sources of one track, by name: musdb's five streams and `accompaniment` (drums + bass + other).

        Raises
        ------
        DataError
            The track is gone, or is not the one that was inspected.
        """
        stem = self.folder / track.subset / f"{track.name}{SUFFIX}"
        candidate = Candidate(
            track.name, track.subset, stem if stem.is_file() else self.folder / track.subset / track.name
        )
        if not all(file.is_file() for file in candidate.files()):
            raise DataError(
                f"{candidate.path}: the track is in the manifest, but its files are gone; "
                "bring them back, or run `dvc repro --force download`"
            )
        if sha256(candidate.files()) != track.sha256:
            raise DataError(
                f"{candidate.path}: changed since the manifest was written; run `dvc repro --force download`"
            )
        # The very file that was inspected, so there is nothing to ask ffprobe.
        with open_sources(candidate, names, track.samples) as sources:
            yield sources


@contextmanager
def open_sources(candidate: Candidate, names: Sequence[str], samples: int) -> Iterator[dict[str, Source]]:
    streams = [name for name in STREAMS if name in names or name in ACCOMPANIMENT and "accompaniment" in names]
    with decoded(candidate, streams, samples) as wavs:
        sources: dict[str, Source] = {name: WavSource(wav) for name, wav in wavs.items()}
        if "accompaniment" in names:
            sources["accompaniment"] = SumSource([sources[name] for name in ACCOMPANIMENT])
        yield {name: sources[name] for name in names}


def open_dataset(settings: Settings, manifest: Path, root: Path) -> Dataset:
    """The data set that a manifest describes.  Where its audio is missing, it is generated or downloaded again.

    Parameters
    ----------
    settings : Settings
    manifest : Path
    root : Path
        Where generated and downloaded sets are kept.

    Raises
    ------
    DataError
        The audio is missing and can't be had.
    """
    folder = settings.download.path or root / settings.download.dataset
    if not folder.is_dir():
        # In a process of its own: no result depends on how the audio came here, as checksums are compared.
        done = subprocess.run([sys.executable, "-m", "svs.data.locate"])
        if done.returncode:
            raise DataError(
                f"{folder}: the audio of the data set is missing and could not be brought back (see above); "
                "run `dvc repro --force download`"
            )
    return Dataset(with_subsets(folder), Manifest.load(manifest))
