"""Methods compared on the test tracks of a data set: the dissertation's test_service, without a pipeline around it.

Below one folder: `METHOD/test/TRACK/{vocals,accompaniment}.wav` (museval's
layout, whole tracks), `scores/METHOD/PROTOCOL/test/TRACK.json` (museval's
JSON), one table and one boxplot for each protocol.  What is there from an
earlier run is kept where it answers the same request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from svs import separators
from svs.config.project import Project
from svs.config.schema import Score
from svs.data import inspection, locate
from svs.data.dataset import Dataset, Track
from svs.errors import DataError
from svs.evaluation import score as evaluation_score
from svs.evaluation import tables
from svs.evaluation.museval_json import DISSERTATION
from svs.runtime.files import files_below, read_json, sha256, write_json, written
from svs.runtime.progress import bar
from svs.separators.base import Separator
from svs.separators.chunking import separate_to
from svs.stems import TARGETS

RESULT = "result.json"  # beside the estimates of a track: what was asked for
_SUFFIX = {DISSERTATION: "_seed"}  # of the files of a protocol: its scores are never in one table with others


def choose(folder: Path, wanted: Sequence[str]) -> list[str]:
    """Test tracks of a data set by number or name.

    Parameters
    ----------
    folder : Path
        Holds `train` and `test`.
    wanted : sequence of str
        Nothing for all tracks, one number for the first so many, or names (or
        parts of names that no other track has).

    Raises
    ------
    DataError
        A name is no track's or several tracks', or there is no test track.
    """
    names = inspection.list_test_tracks(folder)
    if not names:
        raise DataError(f"{folder}: no test tracks; expected some in test/")
    if not wanted:
        return names
    if len(wanted) == 1 and wanted[0].isascii() and wanted[0].isdigit() and wanted[0] not in names:
        count = int(wanted[0])
        if not 1 <= count <= len(names):
            raise DataError(f"{count} tracks: expected 1 to {len(names)}, which {folder} holds")
        return names[:count]
    chosen = set()
    for text in wanted:
        meant = [name for name in names if name == text] or [
            name for name in names if text.casefold() in name.casefold()
        ]
        if len(meant) != 1:
            raise DataError(
                f"{text!r}: expected one of {folder}'s {len(names)} test tracks, found {len(meant)}: "
                + "; ".join((meant or names)[:5])
            )
        chosen.add(meant[0])
    return [name for name in names if name in chosen]


def open_comparison(project: Project, folder: Path, wanted: Sequence[str]) -> Dataset:
    """The chosen test tracks of a data set, inspected."""
    place, _ = locate.locate_given(folder)
    names = choose(place, wanted)
    manifest = inspection.inspect(
        project.settings.download,
        project.settings.seed,
        place,
        [],
        lambda subset, name: subset == "test" and name in names,
    )
    return Dataset(place, manifest)


def methods_below(folder: Path) -> dict[str, Path]:
    """Estimates that are there already, by method: the folder's own, or those of the folders in it.

    Raises
    ------
    DataError
        There are none.
    """
    folder = Path(folder)
    if (folder / "test").is_dir():
        return {folder.resolve().name: folder}
    below = sorted(folder.iterdir()) if folder.is_dir() else []
    found = {item.name: item for item in below if (item / "test").is_dir() and item.name != "scores"}
    if not found:
        raise DataError(
            f"{folder}: expected estimates in museval's layout, test/<track>/vocals.wav and "
            "accompaniment.wav, here or in folders named after methods; found "
            + (", ".join(item.name for item in below[:5]) or "nothing")
        )
    return found


def separate(data: Dataset, separator: Separator, project: Project, folder: Path, *, overwrite: bool = False) -> int:
    """Every track of a data set by one method; returns how many were separated now.

    Parameters
    ----------
    data : Dataset
    separator : Separator
    project : Project
    folder : Path
        Gets `test/<track>/{vocals,accompaniment}.wav`, each track as soon as it is done.
    overwrite : bool
        Separate again what is already there.

    Raises
    ------
    DataError
        Something else is there already.
    """
    tracks = data.manifest.split("test")
    requests = {track: _request(separator, project, track) for track in tracks}
    waiting = [track for track in tracks if not _finished(_place(folder, track), requests[track], overwrite)]
    if not waiting:
        return 0
    names = ("mixture", *TARGETS) if separator.needs_references else ("mixture",)
    chunk = project.settings.separate.common.chunk
    with bar(total=round(sum(track.seconds for track in waiting)), unit="s", desc=separator.name) as moving:
        for track in waiting:
            with data.open(track, names) as sources, written(_place(folder, track)) as temporary:
                references = {name: sources[name] for name in TARGETS} if separator.needs_references else None
                separate_to(temporary, separator, sources["mixture"], chunk, references)
                write_json(temporary / RESULT, requests[track])
            moving.update(round(track.seconds))
    return len(waiting)


def _place(folder: Path, track: Track) -> Path:
    return folder / track.subset / track.name


def _request(separator: Separator, project: Project, track: Track) -> dict[str, Any]:
    settings, method = project.settings, separator.name
    needs = project.path(separators.needs(method, settings))
    oracle = separators.find_method(method).kind is separators.Kind.ORACLE
    request = {
        "method": method,
        "track": track.sha256,
        "options": separators.options(method, settings).model_dump(mode="json"),
        "chunk": settings.separate.common.chunk,
    }
    # Of a trained net or a folder of weights what it holds; an oracle has the spectrogram of the nets.
    request["model"] = sha256(files_below(needs)) if needs.is_dir() and not oracle else None
    request["spectrogram"] = settings.extract.masks.model_dump(mode="json") if oracle else None
    return request


def _finished(place: Path, request: Mapping[str, Any], overwrite: bool) -> bool:
    """Are the estimates of this request there?  Raises where something else is, that must not be lost."""
    if not place.exists():
        return False
    if not (place / RESULT).is_file():
        raise DataError(
            f"{place}: expected estimates that svs made or nothing, found something else; choose another "
            "--output, or score them with --estimates"
        )
    if overwrite:
        return False
    content = read_json(place / RESULT)
    different = [key for key, value in request.items() if content.get(key) != value]
    if different:
        raise DataError(
            f"{place}: holds estimates of another request (its {', '.join(different)} "
            f"{'differs' if len(different) == 1 else 'differ'}); use --overwrite, "
            "or choose another --output"
        )
    return True


def score(
    data: Dataset,
    estimates: Path,
    method: str,
    settings: Score,
    protocol: str,
    folder: Path,
    *,
    overwrite: bool = False,
) -> int:
    """Score the estimates of one method; returns how many tracks were scored now.

    Parameters
    ----------
    data : Dataset
    estimates : Path
        `test/<track>/{vocals,accompaniment}.wav` below it.
    method : str
    settings : Score
    protocol : {"bsseval", "dissertation"}
    folder : Path
        Gets `<protocol>/test/<track>.json`.
    overwrite : bool
        Score again what is scored already.

    Raises
    ------
    DataError
        A track has no estimates, or they don't fit it.
    """
    tracks = data.manifest.split("test")
    missing = [
        track.name
        for track in tracks
        if not all((_place(estimates, track) / f"{target}.wav").is_file() for target in TARGETS)
    ]
    if missing:
        raise DataError(
            f"{estimates}: {len(missing)} of {len(tracks)} tracks lack vocals.wav or accompaniment.wav: "
            + "; ".join(missing[:5])
            + "; add them, or choose others with --tracks"
        )
    waiting = 0
    for track in tracks:
        result = folder / protocol / track.subset / f"{track.name}.json"
        stamp = folder / protocol / "requests" / f"{track.name}.json"
        wavs = [_place(estimates, track) / f"{target}.wav" for target in TARGETS]
        request = {"track": track.sha256, "estimates": sha256(wavs), "settings": settings.model_dump(mode="json")}
        if result.exists() and stamp.exists() and not overwrite and read_json(stamp) == request:
            continue
        waiting += 1
        # In this order: a score that is there is always that of the request beside it, whenever a run ends.
        result.unlink(missing_ok=True)
        write_json(stamp, request)
    if waiting:
        evaluation_score.score_method(data, estimates, settings, folder, f"score {method}", [protocol])
    return waiting


def report(folder: Path, methods: Sequence[str], tracks: Sequence[Track], protocol: str, note: str) -> str:
    """Write the table and the boxplot of a protocol; returns the medians as text.

    Parameters
    ----------
    folder : Path
        Holds `scores/METHOD/PROTOCOL`; gets `scores.csv` and `sdr_boxplot.{png,svg}`.
    methods : sequence of str
    tracks : sequence of Track
        Scores of other tracks that lie there are left out.
    protocol : {"bsseval", "dissertation"}
    note : str
        The line below the figure.
    """
    from svs.figures import scores, style

    table = tables.gather(folder / "scores", methods, protocol)
    table = table[table["track"].isin([track.name for track in tracks])].reset_index(drop=True)
    suffix = _SUFFIX.get(protocol, "")
    tables.write_table(folder / f"scores{suffix}.csv", table)
    for kind in ("png", "svg"):
        style.save(scores.sdr_boxplot(table, note), folder / f"sdr_boxplot{suffix}.{kind}")
    return tables.ranking(table)
