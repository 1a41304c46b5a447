"""Data sets in MUSDB18's layout: the list of its tracks, and opening a track.

Two layouts, those of `musdb`: MUSDB18 (`train/*.stem.mp4`, five AAC streams) and
MUSDB18-HQ (`train/<track>/{mixture,drums,bass,other,vocals}.wav`).  A *manifest*
lists the tracks that passed inspection, with split and checksum; all later
stages use it.  Audio is read in blocks.  One ffmpeg call decodes a `.stem.mp4`
into temporary wav files, which have the samples that `musdb` reads.
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
        """Raise DataError if a split has no track."""
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
        Contains `train` and `test`.
    manifest : Manifest
    """

    def __init__(self, folder: Path, manifest: Manifest):
        self.folder = Path(folder)
        self.manifest = manifest

    def bare(self) -> Dataset:
        """A copy to pickle with every track: an absolute path, and no manifest, which may list thousands of tracks."""
        return Dataset(self.folder.absolute(), Manifest(self.manifest.dataset, []))

    @contextmanager
    def open(
        self, track: Track, names: Sequence[str] = ("mixture", "vocals", "accompaniment")
    ) -> Iterator[dict[str, Source]]:
        """Sources of one track, by name: musdb's five streams and `accompaniment` (drums + bass + other).

        Raises
        ------
        DataError
            The track is missing, or has changed since it was inspected.
        """
        stem = self.folder / track.subset / f"{track.name}{SUFFIX}"
        candidate = Candidate(
            track.name, track.subset, stem if stem.is_file() else self.folder / track.subset / track.name
        )
        if not all(file.is_file() for file in candidate.files()):
            raise DataError(
                f"{candidate.path}: the track is in the manifest, but its files are missing; "
                "restore them, or run `dvc repro --force download`"
            )
        if sha256(candidate.files()) != track.sha256:
            raise DataError(
                f"{candidate.path}: changed since the manifest was written; run `dvc repro --force download`"
            )
        with open_sources(candidate, names, track.samples) as sources:
            yield sources


@contextmanager
def open_sources(candidate: Candidate, names: Sequence[str], samples: int) -> Iterator[dict[str, Source]]:
    """Sources of a track that was inspected and has `samples` samples, by name: see `Dataset.open`."""
    streams = [name for name in STREAMS if name in names or name in ACCOMPANIMENT and "accompaniment" in names]
    with decoded(candidate, streams, samples) as wavs:
        sources: dict[str, Source] = {name: WavSource(wav) for name, wav in wavs.items()}
        if "accompaniment" in names:
            sources["accompaniment"] = SumSource([sources[name] for name in ACCOMPANIMENT])
        yield {name: sources[name] for name in names}


def open_dataset(settings: Settings, manifest: Path, root: Path) -> Dataset:
    """The data set that a manifest describes.  Missing audio is generated or downloaded again.

    Parameters
    ----------
    settings : Settings
    manifest : Path
    root : Path
        Folder of generated and downloaded data sets.

    Raises
    ------
    DataError
        The audio is missing and can't be restored.
    """
    folder = settings.download.path or root / settings.download.dataset
    if not folder.is_dir():
        # In another process, because results must not depend on the code that gets the audio: checksums are compared.
        done = subprocess.run([sys.executable, "-m", "svs.data.locate"])
        if done.returncode:
            raise DataError(
                f"{folder}: the audio of the data set is missing and could not be restored (see above); "
                "run `dvc repro --force download`"
            )
    return Dataset(with_subsets(folder), Manifest.load(manifest))
