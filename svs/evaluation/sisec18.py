"""The scores that SiSEC18 published, on the seconds of a test track that ours are scored on.

Upstream (https://github.com/sigsep/sigsep-mus-2018) keeps museval's JSON of
every submission and track, one frame a second:
`submissions/SYSTEM/test/TRACK.json`.  Archives are read without being
unpacked, and nothing but JSON is read.

A track of ours may be a passage of the published one: MUSDB18's previews are.
Where the passage lies is found by `place`, from the published scores of `MIX`
(the mixture itself as an estimate), which anybody who has the stems can compute.
SDR in BSS Eval v4 is the energy of the true source over the energy of the error
in that second (Stöter, Liutkus & Ito 2018, sec. 3), so it can be compared second
by second; ISR, SIR and SAR depend on filters that were fitted to the whole
track, and are compared on whole tracks only.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
import pooch

from svs.audio.convert import passage
from svs.config.schema import Reference, Score
from svs.data.dataset import Dataset, Track
from svs.errors import DataError, FetchError, UnavailableError
from svs.evaluation.museval_json import BSSEVAL, MEASURES
from svs.evaluation.published import FLOOR
from svs.runtime.download import download, offline
from svs.runtime.files import write_json, write_text, written
from svs.runtime.parallel import each_in_parallel
from svs.runtime.progress import progress
from svs.stems import TARGETS

log = logging.getLogger("svs")


ALIGNMENT = "alignment.csv"
SHARES = {"vocals": 0.25, "accompaniment": 0.75}  # of the mixture in MIX: one stem of four, three of four
LARGEST = 16 << 20  # bytes of one JSON file; published ones have at most 0.5 MB
FRAME = 1.0  # s of a published frame, and between frames

Frames = dict[str, dict[str, np.ndarray]]  # target, measure, float64 (frames,)


@dataclass(frozen=True)
class Place:
    """Where a passage lies in the published track.

    Attributes
    ----------
    track : str
    first : int
        Published frame (second) that our first frame is.
    frames : int
        That both have from there on.
    whole : bool
        Whether these are all frames of the published track.
    deviation : float
        dB, mean difference (without sign) between our MIX and the published one.
    """

    track: str
    first: int
    frames: int
    whole: bool
    deviation: float


def located(settings: Reference, cache: Path | None = None) -> Path:
    """The folder or archive with the published scores, downloaded if none is named.

    Parameters
    ----------
    settings : Reference
    cache : Path, optional
        Where a download is kept; by default the user's cache folder of svs.

    Raises
    ------
    DataError
        `path` is named and is not there.
    UnavailableError
        They are not wanted, or could not be downloaded.
    """
    if settings.source == "none":
        raise UnavailableError("reference.source is none")
    if settings.path is not None:
        path = settings.path.expanduser()
        if not path.exists():
            raise DataError(
                f"reference.path: {path} is not there; expected a folder or an archive (zip, tar) that "
                "holds SYSTEM/test/TRACK.json, or null to download it"
            )
        return path
    cache = Path(pooch.os_cache("svs")) / "published" if cache is None else cache
    try:
        if offline():
            raise FetchError("SVS_OFFLINE is set")
        name = f"sisec18-{hashlib.sha256(settings.url.encode()).hexdigest()[:8]}.zip"
        # GitHub makes the archive on demand, so its bytes have no checksum.  `read` has one of the scores in it.
        return download(settings.url, None, cache, name)
    except FetchError as error:
        raise UnavailableError(
            f"SiSEC18's scores could not be downloaded from {settings.url} ({error}); "
            "name a folder or archive of them in reference.path"
        ) from None


def read(path: Path, checksum: str | None = None) -> dict[str, dict[str, Frames]]:
    """All scores below a folder, or in an archive.

    Parameters
    ----------
    path : Path
        A folder, or a zip or tar archive, in which files `SYSTEM/test/TRACK.json` lie at any depth.
    checksum : str, optional
        What `digest` must give.

    Returns
    -------
    dict of system to dict of track to dict of target to dict of measure to float64 (frames,)

    Raises
    ------
    DataError
        No such file, an archive that can't be read, a file that is not museval's
        JSON, or a checksum that is not the expected one.
    """
    systems: dict[str, dict[str, Frames]] = {}
    try:
        for name, content in progress(_files(Path(path)), unit="file", desc="published scores"):
            system, _, track = PurePosixPath(name).parts[-3:]
            systems.setdefault(system, {})[track.removesuffix(".json")] = _frames(name, content)
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path}: expected a folder or an archive (zip, tar) of scores ({error}); "
            "get it again, or name another in reference.path"
        ) from None
    if not systems:
        raise DataError(
            f"{path}: holds no SYSTEM/test/TRACK.json; expected the layout of sigsep-mus-2018's folder `submissions`"
        )
    if checksum is not None and (came := digest(systems)) != checksum:
        raise DataError(
            f"{path}: the scores in it are not those expected (reference.checksum {checksum}, came "
            f"{came}); get them again, or set reference.checksum to null to take them as they are"
        )
    return {system: dict(sorted(tracks.items())) for system, tracks in sorted(systems.items())}


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of all SYSTEM/test/TRACK.json."""
    if path.is_dir():
        for file in sorted(path.rglob("*.json")):
            if _is_scores(file.as_posix()):
                yield file.as_posix(), file.read_bytes()
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if not member.is_dir() and _is_scores(member.filename) and member.file_size <= LARGEST:
                    yield member.filename, archive.read(member)
    else:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isfile() and _is_scores(member.name) and member.size <= LARGEST:
                    yield member.name, archive.extractfile(member).read()


def _is_scores(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return len(parts) >= 3 and parts[-2] == "test" and name.endswith(".json")


def _frames(name: str, content: bytes) -> Frames:
    try:
        return {
            target["name"]: {
                measure: np.array([frame["metrics"].get(measure) for frame in target["frames"]], dtype=np.float64)
                for measure in MEASURES
            }
            for target in json.loads(content)["targets"]
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{name}: expected museval's JSON ({type(error).__name__}: {error}); get the archive again"
        ) from None


def digest(systems: Mapping[str, Mapping[str, Frames]]) -> str:
    """Checksum of the values: the same however the JSON is laid out or packed."""
    total = hashlib.sha256()
    for system, tracks in sorted(systems.items()):
        for track, targets in sorted(tracks.items()):
            for target, measures in sorted(targets.items()):
                total.update(f"{system}\0{track}\0{target}\0".encode())
                for measure in MEASURES:
                    # As text of five decimals, which is what was published.
                    total.update(" ".join(f"{value + 0.0:.5f}" for value in measures[measure]).encode())
    return f"sha256:{total.hexdigest()}"


def mixture_sdr(stems: Mapping[str, np.ndarray], rate: int, starts: np.ndarray) -> dict[str, np.ndarray]:
    """SDR of SiSEC18's `MIX`, in seconds that begin at given samples.

    Parameters
    ----------
    stems : mapping of str to float (samples, channels)
        mixture, and the targets.
    rate : int
        Hz.
    starts : int (frames,)

    Returns
    -------
    dict of target to float64 (frames,)
        dB; NaN where the target is silent.
    """
    length = round(FRAME * rate)
    sdr = {}
    for target, share in SHARES.items():
        true = stems[target].astype(np.float64)
        energies = [
            np.concatenate([[0.0], np.cumsum((signal**2).sum(axis=1))])
            for signal in (true, share * stems["mixture"] - true)
        ]
        wanted, error = (total[starts + length] - total[starts] for total in energies)
        with np.errstate(divide="ignore", invalid="ignore"):
            sdr[target] = np.where((wanted > 0) & (error > 0), 10 * np.log10(wanted / error), np.nan)
    return sdr


def place(ours: Mapping[str, np.ndarray], theirs: Frames) -> tuple[int, float, float]:
    """Where our frames lie among the published ones.

    Parameters
    ----------
    ours : mapping of target to float (frames,)
        `mixture_sdr`.
    theirs : Frames
        Of the published `MIX`.

    Returns
    -------
    first : int
        The published frame that fits our first one best.
    deviation : float
        dB, the mean difference (without sign) there; infinite where nothing can be compared.
    next : float
        dB, the same at the place that fits second best.
    """
    length = len(ours["vocals"])
    places = max(len(theirs["vocals"]["SDR"]) - length + 1, 1)
    deviations = np.full(places, np.inf)
    for first in range(places):
        differences = np.concatenate(
            [
                values[: len(published)] - published
                for values, published in (
                    (ours[target], theirs[target]["SDR"][first : first + length])
                    for target in TARGETS
                    if target in theirs
                )
            ]
        )
        differences = np.abs(differences[np.isfinite(differences)])
        # A place that shares only silence fits anything.
        if len(differences) >= min(length, 3):
            deviations[first] = differences.mean()
    best = int(deviations.argmin())
    return best, float(deviations[best]), float(np.delete(deviations, best).min(initial=np.inf))


def _align(
    dataset: Dataset, published: Mapping[str, Frames], score: Score, tolerance: float, track: Track
) -> Place | str:
    """Where a track of ours lies, or why it can't be compared."""
    if track.name not in published:
        return f"{track.name}: no published scores"
    with dataset.open(track) as sources:
        first, last = passage(sources["vocals"], score.passage.start, score.passage.duration)
        stems = {name: source.read(0, source.samples) for name, source in sources.items()}
    theirs, length = published[track.name], round(FRAME * track.rate)
    total = len(theirs["vocals"]["SDR"])

    def fitted(begin: int, end: int) -> tuple[int, int, float, float]:
        ours = mixture_sdr(stems, track.rate, np.arange(begin, end - length + 1, length))
        frames = len(ours["vocals"])
        # A re-encoded track may be a few samples longer, and so have one frame more.
        if frames == 0 or frames > total + 1:
            return 0, frames, float("inf"), float("inf")
        found, deviation, following = place(ours, theirs)
        return found, min(frames, total), deviation, following

    found, frames, deviation, following = fitted(first, last)
    if following <= tolerance:
        return f"{track.name}: its MIX fits the published one in more than one place; choose a longer score.passage"
    if deviation <= tolerance:
        return Place(track.name, found, frames, found == 0 and frames >= total - 1, deviation)
    # Does it fit a little later? Then the person need only be told.
    for begin in range(0, min(length, track.samples - 3 * length), round(0.01 * track.rate)):
        elsewhere, _, close, _ = fitted(begin, begin + (track.samples - begin) // length * length)
        if close <= tolerance:
            return (
                f"{track.name}: scored from {first / track.rate:g} s on, but the published seconds begin "
                f"{begin / track.rate:.2f} s into it (there it is second {elsewhere} of the published track); "
                "change score.passage.start"
            )
    return (
        f"{track.name}: its MIX is nowhere within {tolerance:g} dB of the published one "
        f"(at best {deviation:.2f} dB); it is another version, or other seconds"
    )


def bring_in(dataset: Dataset, path: Path, reference: Reference, score: Score, folder: Path) -> list[Place]:
    """Write the published scores of our test tracks, on our seconds, into a folder.

    Parameters
    ----------
    dataset : Dataset
    path : Path
        `located`.
    reference : Reference
    score : Score
    folder : Path
        Gets `SYSTEM/bsseval/test/TRACK.json` (museval's JSON; vocals and
        accompaniment; frame 0 is the first second that ours are scored on) and
        `alignment.csv`.

    Returns
    -------
    list of Place
        One for each track that can be compared; the others are named in the log.

    Raises
    ------
    DataError
        See `read`.
    UnavailableError
        Not one track can be compared.
    """
    if (score.window, score.hop) != (FRAME, FRAME):
        raise UnavailableError(
            f"SiSEC18 scored frames of one second, one after the other; score.window "
            f"{score.window:g} and score.hop {score.hop:g} give others"
        )
    systems = read(path, reference.checksum)
    if FLOOR not in systems:
        raise DataError(f"{path}: has no {FLOOR}, by which tracks are aligned; expected all of SiSEC18's submissions")
    tracks = dataset.manifest.split("test")
    found = each_in_parallel(
        partial(_align, dataset, systems[FLOOR], score, reference.tolerance), tracks, unit="track", desc="alignment"
    )
    for reason in found:
        if isinstance(reason, str):
            log.warning("left out of the comparison with published systems: %s", reason)
    places = [each for each in found if isinstance(each, Place)]
    if not places:
        raise UnavailableError(f"not one of the {len(tracks)} test tracks could be aligned with SiSEC18's scores")
    with written(folder) as temporary:
        for system, scores in systems.items():
            for each in places:
                if each.track in scores:
                    write_json(
                        temporary / system / BSSEVAL / "test" / f"{each.track}.json", _cut(scores[each.track], each)
                    )
        table = io.StringIO()
        rows = csv.writer(table, lineterminator="\n")
        rows.writerow(["track", "first", "frames", "whole", "deviation"])
        rows.writerows(
            [each.track, each.first, each.frames, int(each.whole), f"{each.deviation:.4f}"] for each in places
        )
        write_text(temporary / ALIGNMENT, table.getvalue())
    return places


def _cut(targets: Frames, where: Place) -> dict:
    """museval's JSON of the frames of a passage."""
    measures = MEASURES if where.whole else ("SDR",)
    return {
        "targets": [
            {
                "name": target,
                "frames": [
                    {
                        "time": float(frame),
                        "duration": FRAME,
                        "metrics": {
                            measure: float(targets[target][measure][where.first + frame]) for measure in measures
                        },
                    }
                    for frame in range(min(where.frames, len(targets[target]["SDR"]) - where.first))
                ],
            }
            for target in TARGETS
            if target in targets
        ]
    }
