"""The menu of `svs separate`: it asks for what the flags say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import questionary

from svs.cli import options
from svs.cli.request import Request
from svs.config.quality import QUALITIES, parameters
from svs.errors import SVSError

_FILE, _TRACK = "a recording of my own", "a test track of the data set"


def ask(given: Request) -> Request:
    """Ask for everything that `svs separate` needs; the flags that were given are the defaults."""
    from svs import separators
    from svs.data import inspection
    from svs.services import doctor

    here = given.open()
    try:
        folder = options.musdb_folder(here, given.musdb)
        tracks = [song.name for song in inspection.list_test_songs(here.settings.download, here.settings.seed, folder)]
    except SVSError as error:
        tracks = []
        questionary.print(f"no test tracks to choose from: {error}", style="fg:ansiyellow")
    source = _FILE if not tracks else questionary.select("What shall be separated?", [_TRACK, _FILE]).unsafe_ask()
    songs, chosen = given.songs, given.tracks
    if source == _TRACK:
        chosen = [questionary.select("Track", tracks, use_search_filter=True, use_jk_keys=False).unsafe_ask()]
    else:
        path = questionary.path("Path of the recording", validate=_exists).unsafe_ask().strip()
        songs = [str(Path(path).expanduser())]
    oracles = separators.of_kind(separators.Kind.ORACLE) if source == _FILE and given.reference is None else ()
    # If none of our nets is trained, a method that needs no training.
    ticked = given.methods or [doctor.default(here) or "repet_sim"]
    choices = []
    for name, method in separators.methods().items():
        # Untrained nets of ours can't be chosen.  (Weights of others are downloaded when needed.)
        untrained = method.kind is separators.Kind.NET and not doctor.method(name, here).ok
        disabled, checked = "not trained" if untrained else None, name in ticked and not untrained
        if name not in oracles:
            choices.append(questionary.Choice(f"{name}: {method.about}", name, disabled=disabled, checked=checked))
    methods = questionary.checkbox(
        "Methods (space to choose)",
        validate=lambda picked: bool(picked) or "choose at least one",
        choices=choices,
    ).unsafe_ask()
    quality = given.quality
    if any(parameter.startswith(f"separate.{method}.") for method in methods for parameter in parameters(quality)):
        choices_of_quality = [questionary.Choice(f"{name}: {kind}", name) for name, kind in QUALITIES.items()]
        quality = questionary.select("Quality", choices_of_quality, default=given.quality).unsafe_ask()
    start = questionary.text("Start in seconds", default=f"{given.start:.10g}", validate=_seconds).unsafe_ask()
    duration = questionary.text(
        "Duration in seconds (empty: to the end)",
        validate=lambda text: not text.strip() or _seconds(text),
        default="" if given.duration is None else f"{given.duration:.10g}",
    ).unsafe_ask()
    output = questionary.path("Folder of the results", default=str(given.output), only_directories=True).unsafe_ask()
    wiener = given.wiener
    if set(methods) & set(separators.of_group("cnn")):
        wiener = questionary.confirm("Wiener filter after the cnn_* networks?", default=given.wiener).unsafe_ask()
    return replace(
        given,
        songs=songs,
        tracks=chosen,
        methods=methods,
        quality=quality,
        start=float(start),
        duration=float(duration) if duration.strip() else None,
        output=Path(output).expanduser(),
        wiener=wiener,
    )


def _exists(text: str) -> bool | str:
    return Path(text.strip()).expanduser().exists() or "there is no such file"


def _seconds(text: str) -> bool | str:
    try:
        return 0 <= float(text) < float("inf") or "a number of seconds from 0"
    except ValueError:
        return "a number of seconds, for instance 30"
