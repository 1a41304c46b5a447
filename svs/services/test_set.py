"""Methods compared on the test tracks of a data set, without a pipeline: the dissertation's test_service.

One folder gets `METHOD/test/TRACK/{vocals,accompaniment}.wav` (museval's
layout, whole tracks), `scores/METHOD/PROTOCOL/test/TRACK.json` (museval's
JSON), and a table and a boxplot for each protocol.  Results of an earlier run
are kept where they answer the same request.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from svs import separators
from svs.config.project import Project
from svs.config.schema import Score, Settings
from svs.data import inspection
from svs.data.dataset import Dataset, Track
from svs.errors import DataError, SettingsError
from svs.evaluation import tables
from svs.evaluation.museval_json import BSSEVAL, DISSERTATION
from svs.evaluation.rulers import RULERS
from svs.evaluation.scoring import score as evaluation_score
from svs.runtime.files import read_json, sha256, write_json
from svs.separators import estimates
from svs.services.output import is_answered, separation_request
from svs.stems import TARGETS


def choose(settings: Settings, folder: Path, wanted: Sequence[str]) -> list[str]:
    """Test tracks of the data set in a folder.

    `wanted` is nothing for all tracks, one number N for the first N, or names, or parts of names that only one track
    has.

    Raises
    ------
    DataError
        A name fits no track or several tracks, or the data set has no test track.
    """
    tests = inspection.list_test_songs(settings.download, settings.seed, folder)
    names = [song.name for song in tests]
    if not names:
        raise DataError(
            f"{folder}: no test tracks; expected some in test/ (or set download.split); `svs inspect` tells more"
        )
    if not wanted:
        return names
    if len(wanted) == 1 and wanted[0].isascii() and wanted[0].isdigit() and wanted[0] not in names:
        count = int(wanted[0])
        if not 1 <= count <= len(names):
            raise DataError(f"{count} tracks: expected 1 to {len(names)}, which {folder} holds")
        return names[:count]
    chosen = {inspection.find_test_song(tests, folder, text).name for text in wanted}
    return [name for name in names if name in chosen]


def open_test_set(project: Project, folder: Path, wanted: Sequence[str]) -> Dataset:
    """Open the chosen test tracks (see `choose`) of a data set."""
    settings = project.settings
    names = choose(settings, folder, wanted)
    manifest = inspection.inspect(
        settings.download, settings.seed, folder, lambda song: song.split == "test" and song.name in names
    )
    return Dataset(folder, manifest)


def methods_below(folder: Path, wanted: Sequence[str]) -> dict[str, Path]:
    """Folders of estimates by method: the folder itself (of the one method wanted), or those in it that are wanted.

    Raises
    ------
    SettingsError, DataError
        The folder holds no estimates, or not those of the methods wanted.
    """
    if (folder / "test").is_dir():
        if len(wanted) > 1:
            raise SettingsError(f"{folder} holds the estimates of one method, but {len(wanted)} are named")
        return {(wanted or [folder.resolve().name])[0]: folder}
    below = sorted(folder.iterdir()) if folder.is_dir() else []
    found = {item.name: item for item in below if (item / "test").is_dir() and item.name != "scores"}
    if not found:
        raise DataError(
            f"{folder}: expected estimates in museval's layout, test/<track>/vocals.wav and "
            "accompaniment.wav, here or in folders named after methods; found "
            + (", ".join(item.name for item in below[:5]) or "nothing")
        )
    if missing := [method for method in wanted if method not in found]:
        raise DataError(f"{folder}: no estimates of {', '.join(missing)}; it holds {', '.join(found)}")
    return {method: found[method] for method in wanted or found}


def separate(data: Dataset, method: str, project: Project, folder: Path, *, overwrite: bool = False) -> int:
    """Separate every track of a data set by one method; returns how many tracks this run separated.

    The folder gets `test/<track>/{vocals,accompaniment}.wav`, each track as soon as it is done.  What is already there
    is kept, unless `overwrite`.

    Raises
    ------
    DataError
        The folder of a track holds something else.
    SVSError
        The method can't run here (see `svs.separators.build`).
    """
    shared = separation_request(project, method)
    requests = {track.name: {**shared, "track": track.sha256} for track in data.manifest.split("test")}
    advice = "choose another --output, or score it with --estimates"
    waiting = [
        track
        for track in data.manifest.split("test")
        if not is_answered(estimates.place(folder, track), estimates.REQUEST, requests[track.name], overwrite, advice)
    ]
    if waiting:
        build = partial(separators.build, method, project.settings, project.home.absolute())
        chunk = project.settings.separate.common.chunk
        estimates.separate_tracks(data, waiting, build(), chunk, folder, build, requests)
    return len(waiting)


def score(
    data: Dataset, made: Path, method: str, settings: Score, protocol: str, folder: Path, *, overwrite: bool = False
) -> int:
    """Score the estimates of one method; returns how many tracks this run scored.

    The estimates are `test/<track>/{vocals,accompaniment}.wav` in `made`.  The folder gets
    `<protocol>/test/<track>.json`; scores that are there already are kept, unless `overwrite`.

    Raises
    ------
    DataError
        A track has no estimates, or they don't fit it.
    """
    tracks = data.manifest.split("test")
    wavs = {track.name: [estimates.place(made, track) / f"{target}.wav" for target in TARGETS] for track in tracks}
    missing = [name for name, paths in wavs.items() if not all(path.is_file() for path in paths)]
    if missing:
        raise DataError(
            f"{made}: {len(missing)} of {len(tracks)} tracks lack vocals.wav or accompaniment.wav: "
            + "; ".join(missing[:5])
            + "; add them, or choose others with --tracks"
        )
    waiting = 0
    content = settings.model_dump(mode="json")
    for track in tracks:
        result = folder / protocol / track.subset / f"{track.name}.json"
        stamp = folder / protocol / "requests" / f"{track.name}.json"
        request = {"track": track.sha256, "estimates": sha256(wavs[track.name]), "settings": content}
        if result.exists() and stamp.exists() and not overwrite and read_json(stamp) == request:
            continue
        waiting += 1
        # In this order a score always belongs to the request beside it, even if the run is killed between the two.
        result.unlink(missing_ok=True)
        if protocol == BSSEVAL:  # beside it; another request may name no rulers
            (folder / RULERS / track.subset / result.name).unlink(missing_ok=True)
        write_json(stamp, request)
    if waiting:
        evaluation_score.score_method(data, made, settings, folder, f"score {method}", [protocol])
    return waiting


def report(folder: Path, methods: Sequence[str], tracks: Sequence[Track], protocol: str, note: str) -> str:
    """Write the table and the boxplot of a protocol; returns the medians as text.

    The folder holds `scores/METHOD/PROTOCOL`, and gets `scores.csv` and `sdr_boxplot.{png,svg}`.  Scores of other
    tracks are left out.  The note is a line below the figure.
    """
    from svs.figures import scores, style

    table = tables.gather(folder / "scores", methods, protocol)
    table = table[table["track"].isin([track.name for track in tracks])].reset_index(drop=True)
    suffix = f"_{protocol}" if protocol == DISSERTATION else ""  # scores of two protocols never share a table
    tables.write_table(folder / f"scores{suffix}.csv", table)
    for kind in ("png", "svg"):
        style.save(scores.sdr_boxplot(table, note), folder / f"sdr_boxplot{suffix}.{kind}")
    return tables.ranking(table)
