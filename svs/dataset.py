"""Data sets in MUSDB18's layout: getting one, listing its tracks, opening a track.

Two forms, both found and named by `musdb`: MUSDB18 (`train/*.stem.mp4`, five
AAC streams) and MUSDB18-HQ (`train/<track>/{mixture,drums,bass,other,vocals}.wav`).
A *manifest* lists the tracks that passed inspection, with their split and a
checksum; everything downstream works from it.  Audio is read in blocks; a
`.stem.mp4` is decoded once, by one ffmpeg call, into temporary wav files that
give the samples `musdb` gives.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from svs.audio import Source, SumSource, WavSource
from svs.errors import DataError
from svs.fetch import download, unpack
from svs.files import read_json, sha256, write_json, written
from svs.running import each_in_parallel, progress
from svs.settings import Download, Settings

log = logging.getLogger("svs")

STREAMS = ("mixture", "drums", "bass", "other", "vocals")   # musdb's stem ids 0 to 4
ACCOMPANIMENT = ("drums", "bass", "other")
SUFFIX = ".stem.mp4"
SILENT = 1e-4                                               # peak (-80 dBFS) below which vocals are silent
_BLOCK = 1 << 20                                            # samples inspected at a time


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


@dataclass(frozen=True)
class _Candidate:
    """A track as found on disk, before anybody looked into it."""

    name: str
    subset: str
    path: Path       # the .stem.mp4, or the folder of wav files

    @property
    def is_stem(self) -> bool:
        return self.path.name.endswith(SUFFIX)

    def files(self) -> list[Path]:
        return [self.path] if self.is_stem else [self.path / f"{name}.wav" for name in STREAMS]


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
            raise DataError(f"no {' and no '.join(missing)} track among the {len(self.tracks)} usable ones; "
                            "training needs at least two tracks in train/, scoring one in test/")

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


def locate(settings: Download, seed: int, root: Path) -> tuple[Path, list[str]]:
    """The folder of the data set, generated or downloaded first where it is missing.

    Parameters
    ----------
    settings : Download
    seed : int
        Of the generated data set.
    root : Path
        Where generated and downloaded sets are kept.

    Returns
    -------
    folder : Path
        Holds `train` and `test`.
    validation : list of str
        Names of validation tracks that the set itself names (may be empty).

    Raises
    ------
    DataError, FetchError
    """
    if settings.dataset == "tiny":
        return _generated(settings, seed, root / "tiny")
    if settings.path is not None:
        return _with_subsets(settings.path), []
    target = root / settings.dataset
    if not target.is_dir():
        hint = f"or set profiles.*.download.path to a folder of {settings.dataset} data that you have"
        archive = download(settings.archive.url, settings.archive.checksum, root, hint=hint)
        unpack(archive, target)
    return _with_subsets(target), []


def _generated(settings: Download, seed: int, folder: Path) -> tuple[Path, list[str]]:
    stamp = folder / "generated.json"
    wanted = {"seed": seed, **settings.tiny.model_dump()}
    if stamp.is_file():
        content = json.loads(stamp.read_text())
        if content["settings"] == wanted:
            return folder, content["validation"]
    from svs import synth  # scipy.signal takes half a second to import, and most stages only read

    with written(folder) as temporary:
        names = synth.write_dataset(temporary, seed=seed, **settings.tiny.model_dump(),
                                    progress=partial(progress, unit="track", desc="generate"))
        write_json(temporary / stamp.name, {"settings": wanted, "validation": names["valid"]})
    return folder, names["valid"]


def _with_subsets(folder: Path) -> Path:
    """The folder itself, or the only folder in it, that holds train/ and test/."""
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder that holds train/ and test/ of MUSDB18 or MUSDB18-HQ; "
                        "there is no such folder")
    for place in (folder, *sorted(item for item in folder.iterdir() if item.is_dir())):
        if (place / "train").is_dir() and (place / "test").is_dir():
            return place
    found = ", ".join(sorted(item.name for item in folder.iterdir())[:5]) or "nothing"
    raise DataError(f"{folder}: expected a folder that holds train/ and test/ of MUSDB18 or MUSDB18-HQ; found {found}")


def _candidates(folder: Path) -> list[_Candidate]:
    found = []
    for subset in ("train", "test"):
        for item in sorted((folder / subset).iterdir()):
            if item.name.endswith(SUFFIX) and item.is_file():
                found.append(_Candidate(item.name.removesuffix(SUFFIX), subset, item))
            elif item.is_dir():
                found.append(_Candidate(item.name, subset, item))
    if not found:
        raise DataError(f"{folder}: no tracks; expected train/*{SUFFIX} or train/<track>/mixture.wav")
    if len({candidate.is_stem for candidate in found}) == 2:
        raise DataError(f"{folder}: holds {SUFFIX} files and wav folders together; musdb reads one kind: separate them")
    return found


def inspect(settings: Download, seed: int, folder: Path, validation: Sequence[str],
            wanted: Callable[[str, str], bool] = lambda subset, name: True) -> Manifest:
    """Look into every track and list those that can be used.

    Where `wanted(subset, name)` is false, a track is passed over.

    Splits: test tracks are `test`.  Training tracks are `valid` where the set
    names them so (or musdb does; else a share drawn by `seed`), `unused` where
    `exclude_from_training` says so, and `train` otherwise.

    Raises
    ------
    DataError
        A track is broken (or its vocals silent) and the settings say `error`.
    """
    candidates = [candidate for candidate in _candidates(folder) if wanted(candidate.subset, candidate.name)]
    results = each_in_parallel(partial(_inspect_track, rate=settings.sample_rate), candidates,
                               unit="track", desc="inspect")
    good = []
    for candidate, result in zip(candidates, results, strict=True):
        problem = result if isinstance(result, str) else None
        action = settings.on_bad_track
        if problem is None and result.silent_vocals:
            problem, action = "its vocals are silent", settings.on_silent_vocals
        if problem is None or action == "keep":
            if problem:
                log.warning("%s: %s", candidate.name, problem)
            good.append(result)
        elif action == "error":
            switch = "on_silent_vocals" if not isinstance(result, str) else "on_bad_track"
            raise DataError(f"track {candidate.subset}/{candidate.name}: {problem}; mend or remove it, "
                            f"or set download.{switch}: skip to leave it out")
        else:
            log.warning("left out %s/%s: %s", candidate.subset, candidate.name, problem)
    if not good:
        raise DataError(f"{folder}: not one track is usable; see the warnings above")
    return Manifest(settings.dataset, _split(good, settings, seed, validation))


def _split(tracks: list[Track], settings: Download, seed: int, validation: Sequence[str]) -> list[Track]:
    unused = {track.name for track in tracks if track.subset == "train"
              and any(track.name.startswith(start) for start in settings.exclude_from_training)}
    trainable = [track.name for track in tracks if track.subset == "train" and track.name not in unused]
    if not validation:
        import yaml

        # Found, but not imported: that takes seconds.
        package = Path(find_spec("musdb").origin).parent
        official = yaml.safe_load((package / "configs" / "mus.yaml").read_text())["validation_tracks"]
        validation = [name for name in trainable if name in set(official)]
    if not validation and len(trainable) > 1:
        count = max(1, round(settings.validation_fraction * len(trainable)))
        validation = list(np.random.default_rng([seed, 1]).choice(sorted(trainable), count, replace=False))

    def split(track: Track) -> str:
        if track.subset == "test":
            return "test"
        return "unused" if track.name in unused else "valid" if track.name in validation else "train"

    return [Track(**{**asdict(track), "split": split(track)}) for track in tracks]


def _inspect_track(candidate: _Candidate, rate: int | None) -> Track | str:
    """The track, or what is wrong with it in a few words (any rate will do where none is expected)."""
    missing = [file.name for file in candidate.files() if not file.is_file()]
    if missing:
        return "missing " + ", ".join(missing)
    try:
        with _decoded(candidate, STREAMS) as wavs:
            sources = {name: WavSource(path) for name, path in wavs.items()}
            rates = {source.rate for source in sources.values()}
            if rates != {rate or min(rates)}:
                return f"expected {rate or min(rates)} Hz, found {', '.join(map(str, sorted(rates)))} Hz"
            if any(source.channels != 2 for source in sources.values()):
                return f"expected stereo, found {sorted({source.channels for source in sources.values()})} channels"
            lengths = {source.samples for source in sources.values()}
            if len(lengths) != 1:
                return f"its stems differ in length: {sorted(lengths)} samples"
            samples = lengths.pop()
            if samples == 0:
                return "it holds no audio"
            peaks = {}
            for name, source in sources.items():
                peak = 0.0
                for start in range(0, samples, _BLOCK):
                    block = source.read(start, min(start + _BLOCK, samples))
                    peak = float(np.maximum(peak, np.abs(block).max(initial=0.0)))      # a NaN stays one
                    if not np.isfinite(peak):
                        return f"{name} holds NaN or infinite samples"
                peaks[name] = peak
    except DataError as error:
        return str(error)
    return Track(candidate.name, candidate.subset, "", samples, rate, sha256(candidate.files()),
                 peaks["vocals"] < SILENT)


@contextmanager
def _decoded(candidate: _Candidate, names: Sequence[str], samples: int | None = None) -> Iterator[dict[str, Path]]:
    """Wav files of the named streams, of `samples` samples where that is known; temporary ones where they had to be
    decoded."""
    if not candidate.is_stem:
        yield {name: candidate.path / f"{name}.wav" for name in names}
        return
    with tempfile.TemporaryDirectory(prefix="svs-") as folder:
        yield decode_stems(candidate.path, names, Path(folder), samples)


def decode_stems(path: Path, names: Sequence[str], folder: Path, samples: int | None = None) -> dict[str, Path]:
    """Decode streams of a `.stem.mp4` into 16-bit wav files in `folder` (as musdb does).

    Parameters
    ----------
    path : Path
    names : sequence of str
        Of `STREAMS`.
    folder : Path
    samples : int, optional
        What each stream gave when the file was inspected.  Without it, ffprobe
        is asked for the streams first, which takes as long as decoding seconds
        of them.

    Raises
    ------
    DataError
        The file is truncated or has other streams than MUSDB18's five, or there is no ffmpeg.
    """
    if samples is None:
        seconds, expected = _probed(path)
    else:
        seconds, expected = samples / 44100 * len(names), [samples] * len(STREAMS)
    wavs = {name: folder / f"{name}.wav" for name in names}
    command = ["ffmpeg", "-v", "error", "-nostdin", "-y", "-xerror", "-i", str(path)]
    for name, wav in wavs.items():
        command += ["-map", f"0:a:{STREAMS.index(name)}", "-c:a", "pcm_s16le", "-bitexact", str(wav)]
    try:
        done = subprocess.run(command, capture_output=True)
    except FileNotFoundError:
        raise DataError(f"{path.name}: decoding it needs ffmpeg; run `make setup`") from None
    if done.returncode and b"No space left" in done.stderr:
        raise DataError(f"{folder}: the disk is full; {path.name} needs about "
                        f"{seconds * 0.18:.0f} MB to be decoded; free some space "
                        "or set TMPDIR to another disk")
    if done.returncode:
        raise DataError(f"ffmpeg can't decode {path.name} ({_last_line(done.stderr)}): it is truncated or damaged")
    for name, wav in wavs.items():
        wanted, came = expected[STREAMS.index(name)], WavSource(wav).samples
        if came < wanted - 2048:        # AAC frames are 1024 samples; an edit list may cut up to two
            raise DataError(f"{path.name} is truncated: {name} has {came} of {wanted} samples")
    return wavs


def _probed(path: Path) -> tuple[float, list[int]]:
    """Seconds of all streams together, and samples of each, as ffprobe says.

    Raises
    ------
    DataError
        As `decode_stems`.
    """
    try:
        import stempeg  # at import it looks for ffmpeg and ffprobe
    except RuntimeError as error:
        raise DataError(f"{path.name}: decoding it needs ffmpeg and ffprobe ({error}); run `make setup`") from None
    try:
        info = stempeg.Info(str(path))
    except Exception as error:          # ffmpeg-python raises its own Error, which hides ffprobe's words
        reason = getattr(error, "stderr", b"") or b""
        raise DataError(f"ffprobe can't read {path.name} ({_last_line(reason)}): it is truncated or no mp4") from None
    if info.nb_audio_streams != len(STREAMS):
        raise DataError(f"expected {len(STREAMS)} audio streams ({', '.join(STREAMS)}), "
                        f"{path.name} has {info.nb_audio_streams}")
    return sum(info.duration_streams), [info.samples(index) for index in range(len(STREAMS))]


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "no message"


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
    def open(self, track: Track, names: Sequence[str] = ("mixture", "vocals", "accompaniment")) \
            -> Iterator[dict[str, Source]]:
        """Sources of one track, by name: musdb's five streams and `accompaniment` (drums + bass + other).

        Raises
        ------
        DataError
            The track is gone, or is not the one that was inspected.
        """
        stem = self.folder / track.subset / f"{track.name}{SUFFIX}"
        candidate = _Candidate(track.name, track.subset,
                               stem if stem.is_file() else self.folder / track.subset / track.name)
        if not all(file.is_file() for file in candidate.files()):
            raise DataError(f"{candidate.path}: the track is in the manifest, but its files are gone; "
                            "bring them back, or run `dvc repro --force download`")
        if sha256(candidate.files()) != track.sha256:
            raise DataError(f"{candidate.path}: changed since the manifest was written; "
                            "run `dvc repro --force download`")
        # The very file that was inspected, so there is nothing to ask ffprobe.
        with _sources(candidate, names, track.samples) as sources:
            yield sources


@contextmanager
def _sources(candidate: _Candidate, names: Sequence[str], samples: int) -> Iterator[dict[str, Source]]:
    streams = [name for name in STREAMS if name in names or name in ACCOMPANIMENT and "accompaniment" in names]
    with _decoded(candidate, streams, samples) as wavs:
        sources: dict[str, Source] = {name: WavSource(wav) for name, wav in wavs.items()}
        if "accompaniment" in names:
            sources["accompaniment"] = SumSource([sources[name] for name in ACCOMPANIMENT])
        yield {name: sources[name] for name in names}


def present(settings: Settings, root: Path) -> Path:
    """The data set of the settings, generated where it is `tiny`, but never downloaded.

    Raises
    ------
    DataError
        It is not there.
    """
    download = settings.download
    if download.dataset != "tiny" and download.path is None and not (root / download.dataset).is_dir():
        raise DataError(f"the data set {download.dataset} is not here; get it with `dvc repro download`, "
                        "or name a folder of MUSDB18 that you have with --musdb")
    return locate(download, settings.seed, root)[0]


def at(folder: Path) -> tuple[Path, list[str]]:
    """A person's own folder of MUSDB18: what `locate` gives for a data set of the settings."""
    place = _with_subsets(folder)
    stamp = place / "generated.json"
    return place, read_json(stamp)["validation"] if stamp.is_file() else []


def list_test_tracks(folder: Path) -> list[str]:
    """Names of the test tracks of a folder that holds train/ and test/."""
    return [candidate.name for candidate in _candidates(_with_subsets(folder)) if candidate.subset == "test"]


@contextmanager
def open_test_track(folder: Path, name: str, names: Sequence[str] = ("mixture", "vocals", "accompaniment")) \
        -> Iterator[tuple[str, dict[str, Source]]]:
    """Name and sources of a test track by its name, or by a part of it that no other has.

    Raises
    ------
    DataError
        There is no such track, several are meant, or its files are broken.
    """
    tests = [candidate for candidate in _candidates(_with_subsets(folder)) if candidate.subset == "test"]
    meant = [candidate for candidate in tests if candidate.name == name] or \
        [candidate for candidate in tests if name.casefold() in candidate.name.casefold()]
    if len(meant) != 1:
        raise DataError(f"{name!r}: expected one of {folder}'s {len(tests)} test tracks, found {len(meant)}: "
                        + "; ".join(candidate.name for candidate in (meant or tests)[:5]))
    track = _inspect_track(meant[0], None)
    if isinstance(track, str):
        raise DataError(f"track test/{meant[0].name}: {track}")
    with _sources(meant[0], names, track.samples) as sources:
        yield meant[0].name, sources


def opened(settings: Settings, manifest: Path, root: Path) -> Dataset:
    """The data set that a manifest describes, generated or downloaded again where its audio is missing."""
    folder, _ = locate(settings.download, settings.seed, root)
    return Dataset(folder, Manifest.load(manifest))


def musdb_tracks(folder: Path, subset: str | None = None) -> list:
    """The tracks of a folder through the real `musdb` reader (`musdb.DB`)."""
    import musdb

    is_wav = not any(Path(folder).glob(f"*/*{SUFFIX}"))
    return list(musdb.DB(root=os.fspath(folder), is_wav=is_wav, subsets=subset or ["train", "test"]))


__all__ = ["ACCOMPANIMENT", "STREAMS", "Dataset", "Manifest", "Track", "at", "decode_stems", "inspect",
           "list_test_tracks", "locate",
           "musdb_tracks", "open_test_track", "opened", "present"]
