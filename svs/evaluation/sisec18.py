"""The scores that SiSEC18 published, on the seconds of the test tracks that ours are scored on.

Upstream (https://github.com/sigsep/sigsep-mus-2018) keeps museval's JSON of
every submission and track, one frame a second:
`submissions/SYSTEM/test/TRACK.json`.  Archives are not unpacked, and only JSON
is read.

A track of ours may be a passage of the published one, as MUSDB18's previews
are.  `place` finds the passage from the published scores of `MIX` (the mixture
itself as an estimate), which can be computed from the stems.  SDR in BSS Eval v4
is the energy of the true source over the energy of the error in that second
(Stöter, Liutkus & Ito 2018, sec. 3), so it can be compared second by second.
ISR, SIR and SAR depend on filters that were fitted to the whole track, so they
are compared on whole tracks only.
"""

from __future__ import annotations

import hashlib
import logging
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import pooch
from numpy.lib.stride_tricks import sliding_window_view

from svs.audio.convert import passage
from svs.config.schema import Reference, Score
from svs.data.dataset import Dataset, Track
from svs.errors import DataError, FetchError, UnavailableError
from svs.evaluation.museval_json import BSSEVAL, MEASURES, parse_scores
from svs.evaluation.published import FLOOR
from svs.evaluation.tables import write_table
from svs.runtime.download import download, offline
from svs.runtime.files import write_json, written
from svs.runtime.parallel import over_tracks
from svs.runtime.progress import progress_bar
from svs.stems import TARGETS

log = logging.getLogger("svs")


ALIGNMENT = "alignment.csv"
SHARES = {"vocals": 0.25, "accompaniment": 0.75}  # of the mixture that MIX estimates: one and three of four stems
FRAME = 1.0  # s of a published frame, and between frames

Frames = dict[str, dict[str, np.ndarray]]  # target, measure, float64 (frames,)


@dataclass(frozen=True)
class Place:
    """Position of a passage in the published track."""

    track: str
    first: int  # published frame (second) that corresponds to our first one
    frames: int  # that both have from there on
    whole: bool  # whether these are all frames of the published track
    deviation: float  # dB, mean absolute difference between our MIX and the published one


def located(settings: Reference, cache: Path | None = None) -> Path:
    """The folder or archive with the published scores, downloaded if none is named into a folder of the user's cache.

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
    """Scores by system and track: files `SYSTEM/test/TRACK.json` at any depth of a folder, or of a zip or tar archive.

    `checksum` is the expected `digest`.

    Raises
    ------
    DataError
        There are no scores, the archive can't be read, a file is not museval's
        JSON, or the checksum differs.
    """
    systems: dict[str, dict[str, Frames]] = {}
    try:
        for name, content in progress_bar(_files(path), unit="file", desc="published scores"):
            system, _, track = PurePosixPath(name).parts[-3:]
            systems.setdefault(system, {})[track.removesuffix(".json")] = parse_scores(content)
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path}: expected a folder or an archive (zip, tar) of scores ({error}); "
            "get it again, or name another in reference.path"
        ) from None
    except DataError as error:
        raise DataError(f"{path}, {name}: {error}; get it again") from None
    if not systems:
        raise DataError(
            f"{path}: holds no SYSTEM/test/TRACK.json; expected the folder `submissions` of sigsep-mus-2018"
        )
    if checksum is not None and (came := digest(systems)) != checksum:
        raise DataError(
            f"{path}: expected scores with reference.checksum {checksum}, came {came}; get them again, or set "
            "reference.checksum to null to accept them"
        )
    return systems


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of all SYSTEM/test/TRACK.json."""
    if path.is_dir():
        for file in filter(_is_scores, sorted(path.rglob("*.json"))):
            yield file.as_posix(), file.read_bytes()
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in filter(_is_scores, archive.namelist()):
                yield name, archive.read(name)
    else:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isfile() and _is_scores(member.name) and (member_file := archive.extractfile(member)):
                    yield member.name, member_file.read()


def _is_scores(name: str | Path) -> bool:
    return PurePosixPath(name).match("*/test/*.json")


def digest(systems: Mapping[str, Mapping[str, Frames]]) -> str:
    """Checksum of the values, whatever the layout of the JSON and the kind of the archive."""
    total = hashlib.sha256()
    for system, tracks in sorted(systems.items()):
        for track, targets in sorted(tracks.items()):
            for target, measures in sorted(targets.items()):
                total.update(f"{system}\0{track}\0{target}\0".encode())
                for measure in MEASURES:
                    # With five decimals, as published; + 0.0 because -0.0 has another text.
                    total.update(" ".join(f"{value + 0.0:.5f}" for value in measures[measure]).encode())
    return f"sha256:{total.hexdigest()}"


def mixture_sdr(stems: Mapping[str, np.ndarray], rate: int) -> dict[str, np.ndarray]:
    """SDR of SiSEC18's `MIX` in every whole second, by target: dB, float64 (frames,); NaN where the target is silent.

    The stems, float (samples, channels), are `mixture` and the targets.
    """
    length = round(FRAME * rate)
    frames = len(stems["mixture"]) // length
    sdr = {}
    for target, share in SHARES.items():
        true = stems[target].astype(np.float64)
        wanted, error = (
            np.square(signal[: frames * length]).sum(axis=1).reshape(frames, length).sum(axis=1)
            for signal in (true, share * stems["mixture"] - true)
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            sdr[target] = np.where((wanted > 0) & (error > 0), 10 * np.log10(wanted / error), np.nan)
    return sdr


def place(mine: Mapping[str, np.ndarray], published: Frames) -> tuple[int, int, float, float]:
    """Position of our frames (`mixture_sdr`) among the published ones of `MIX`.

    Returns
    -------
    first : int
        The published frame that fits our first one best.
    frames : int
        Number of frames that both have from there on.
    deviation : float
        dB, the mean absolute difference there; infinite if too few frames are finite in both.
    next : float
        dB, the mean absolute difference at the place that fits second best.
    """
    ours = np.stack([mine[target] for target in TARGETS])
    theirs = np.stack([published[target]["SDR"] for target in TARGETS])
    # Re-encoding may make a track a few samples longer, which may add a frame.
    length = min(ours.shape[1], theirs.shape[1])
    if length == 0 or ours.shape[1] > length + 1:
        return 0, length, np.inf, np.inf
    differences = sliding_window_view(theirs, length, axis=1) - ours[:, None, :length]
    differences = np.ma.masked_invalid(np.abs(differences))
    # Silence alone would fit everywhere.
    enough = differences.count(axis=(0, 2)) >= min(length, 3)
    deviations = np.where(enough, differences.mean(axis=(0, 2)).filled(np.inf), np.inf)
    best = int(deviations.argmin())
    return best, length, float(deviations[best]), float(np.delete(deviations, best).min(initial=np.inf))


def _align(
    dataset: Dataset, published: Mapping[str, Frames], score: Score, tolerance: float, track: Track
) -> Place | str:
    """The place of a track of ours, or the reason why it can't be compared."""
    if track.name not in published:
        return f"{track.name}: no published scores"
    with dataset.open(track) as sources:
        first, last = passage(sources["vocals"], score.passage.start, score.passage.duration)
        stems = {name: source.read(0, source.samples) for name, source in sources.items()}
    theirs, length = published[track.name], round(FRAME * track.rate)

    def fitted(begin: int, end: int | None = None) -> tuple[int, int, float, float]:
        return place(mixture_sdr({name: audio[begin:end] for name, audio in stems.items()}, track.rate), theirs)

    found, frames, deviation, following = fitted(first, last)
    if following <= tolerance:
        return f"{track.name}: its MIX fits the published one in more than one place; choose a longer score.passage"
    if deviation <= tolerance:
        whole = found == 0 and frames >= len(theirs["vocals"]["SDR"]) - 1
        return Place(track.name, found, frames, whole, deviation)
    # If it fits a little later, tell the user where.
    for begin in range(0, min(length, track.samples - 3 * length), round(0.01 * track.rate)):
        elsewhere, _, close, _ = fitted(begin)
        if close <= tolerance:
            return (
                f"{track.name}: scored from {first / track.rate:g} s on, but the published seconds begin "
                f"{begin / track.rate:.2f} s into it (second {elsewhere} of the published track); "
                "change score.passage.start"
            )
    return (
        f"{track.name}: its MIX is nowhere within {tolerance:g} dB of the published one "
        f"(at best {deviation:.2f} dB); it is another version, or other seconds"
    )


def bring_in(dataset: Dataset, path: Path, reference: Reference, score: Score, folder: Path) -> list[Place]:
    """Write the published scores of our test tracks, on the seconds that ours are scored on, into a folder.

    It gets `SYSTEM/bsseval/test/TRACK.json` (museval's JSON; vocals and accompaniment; frame 0 is the first second that
    ours are scored on) and `alignment.csv`.

    Returns
    -------
    list of Place
        One for each track that can be compared.  The log names the others.

    Raises
    ------
    DataError
        See `read`.
    UnavailableError
        No track can be compared.
    """
    if (score.window, score.hop) != (FRAME, FRAME):
        raise UnavailableError(
            f"SiSEC18 scored adjacent frames of one second; score.window {score.window:g} and "
            f"score.hop {score.hop:g} give other frames"
        )
    systems = read(path, reference.checksum)
    if FLOOR not in systems:
        raise DataError(f"{path}: has no {FLOOR}, which aligns the tracks; expected all of SiSEC18's submissions")
    tracks = dataset.manifest.split("test")
    align = partial(_align, dataset, systems[FLOOR], score, reference.tolerance)
    places = []
    for found in over_tracks(align, tracks, [track.name for track in tracks], desc="alignment"):
        if isinstance(found, Place):
            places.append(found)
        else:
            log.warning("left out of the comparison with published systems: %s", found)
    if not places:
        raise UnavailableError(f"none of the {len(tracks)} test tracks could be aligned with SiSEC18's scores")
    with written(folder) as temporary:
        for system, scores in systems.items():
            for each in places:
                if each.track in scores:
                    path = temporary / system / BSSEVAL / "test" / f"{each.track}.json"
                    write_json(path, _cut(scores[each.track], each))
        write_table(temporary / ALIGNMENT, pd.DataFrame(map(asdict, places)).astype({"whole": int}))
    return places


def _cut(targets: Frames, where: Place) -> dict:
    """The frames of a passage, as museval's JSON."""
    measures = list(MEASURES) if where.whole else ["SDR"]
    found = []
    for target in TARGETS:
        if target in targets:
            table = pd.DataFrame(targets[target])[measures][where.first : where.first + where.frames]
            frames = [
                {"time": float(frame), "duration": FRAME, "metrics": metrics}
                for frame, metrics in enumerate(table.to_dict("records"))
            ]
            found.append({"name": target, "frames": frames})
    return {"targets": found}
