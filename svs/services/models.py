"""Trained networks: which there are, where they lie, and how to get or copy them."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from svs import separators
from svs.config import paths
from svs.config.project import Project
from svs.errors import DataError, ModelError, SettingsError, UnavailableError
from svs.networks import CARD, MODEL, ONNX
from svs.runtime.files import read_json, write_json, written
from svs.services import doctor
from svs.services.output import writing


@dataclass(frozen=True)
class Model:
    """A network: the file or folder that holds it (or would), its files, what it was trained on, and advice."""

    name: str
    path: Path
    files: tuple[Path, ...]  # none: it is missing
    about: str
    advice: str = ""

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(file.stat().st_size for file in self.files)


def models(project: Project) -> list[Model]:
    """The networks of every method that has one in files, and the voice activity net."""
    return [find(name, project) for name in _names()]


def _names() -> list[str]:
    names = separators.of_kind(separators.Kind.NET, separators.Kind.PRETRAINED)
    return [*(name for name in names if not separators.find_method(name).modules), paths.VAD.name]


def find(name: str, project: Project) -> Model:
    """A network by its name; it may be missing.

    Raises
    ------
    SettingsError
        There is none of that name.
    """
    if name not in _names():
        raise SettingsError(f"{name}: no network has that name; expected one of {', '.join(_names())}")
    if name in separators.of_kind(separators.Kind.PRETRAINED):
        files = tuple(_published(name, project, download=False))
        folder = project.model(separators.needs(name, project.settings))
        path = files[0] if len(files) == 1 else files[0].parent if files else folder
        advice = f"`svs models fetch {name}` downloads it"
        return Model(name, path, files, separators.find_method(name).about, advice)
    check = doctor.trained(name, project) if name == paths.VAD.name else doctor.method(name, project)
    folder = project.model(paths.MODELS / name if name == paths.VAD.name else separators.needs(name, project.settings))
    files = tuple(sorted(file for file in folder.glob("*") if file.is_file())) if check.ok else ()
    return Model(name, folder, files, _trained_on(folder) if check.ok else "trained here", check.advice)


def _published(name: str, project: Project, *, download: bool) -> list[Path]:
    """Files of published weights, none if they are not available; raises UnavailableError if a download fails."""
    from svs.data import pretrained, spleeter_weights
    from svs.separators import openunmix

    folder, options = (
        project.model(separators.needs(name, project.settings)),
        separators.options(name, project.settings),
    )
    if isinstance(options, openunmix.Options):
        try:
            return pretrained.find_weights(name, list(openunmix.needed(options).values()), folder, download=download)
        except UnavailableError:
            if download:
                raise
            return []
    if download:
        spleeter_weights.load(folder)
    place = spleeter_weights.at_hand(folder)
    return [place] if place else []


def _trained_on(folder: Path) -> str:
    """What the card of a network says about its training."""
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "no card"
    if "trained_on" in card:
        return str(card["trained_on"])
    counts = card.get("excerpts")
    what = f"{counts['train']} excerpts" if counts else f"mixtures of {card['songs']['train']} songs"
    return f"trained here: {card['epochs']} epochs of {what}"


def fetch(name: str, project: Project) -> Model:
    """Download the published weights of a method, unless they are available.

    Raises
    ------
    SettingsError
        The network is trained here and published nowhere, or there is none of that name.
    UnavailableError
        The weights can't be fetched.
    """
    model = find(name, project)
    if name not in separators.of_kind(separators.Kind.PRETRAINED):
        raise SettingsError(f"{name}: it is published nowhere{f'; {model.advice}' if model.advice else ''}")
    _published(name, project, download=True)
    return find(name, project)


def export(
    name: str, project: Project, folder: Path, *, eight_bits: bool = False, trained_on: str | None = None
) -> Model:
    """Copy a network into a new folder, which appears whole.

    Parameters
    ----------
    name : str
    project : Project
    folder : Path
    eight_bits : bool
        A small file, to run and not to train on: `svs.networks.quantisation`.
    trained_on : str, optional
        What the card then says of its training: the music, and its terms.

    Raises
    ------
    DataError
        The folder is there already.
    SettingsError
        8 bits or a card are asked for, but the network was not trained here.
    ModelError, UnavailableError
        The network is missing.
    """
    model = present(name, project)
    ours = {file.name for file in model.files} >= {ONNX, CARD}
    if (eight_bits or trained_on) and not ours:
        raise SettingsError(f"{name}: expected a network that was trained here, with {ONNX} and {CARD}")
    if folder.exists():
        raise DataError(f"{folder}: is there already; choose another name")
    with writing(folder, folder), written(folder) as temporary:
        temporary.mkdir()
        for file in model.files:
            if not (eight_bits and file.name == MODEL):
                shutil.copy(file, temporary / file.name)
        if eight_bits:
            from svs.networks.quantisation import in_8_bits  # onnx takes a while to import

            (temporary / ONNX).write_bytes(in_8_bits((temporary / ONNX).read_bytes()))
        if eight_bits or trained_on:
            said = {"weights": "8 bits"} if eight_bits else {}
            said |= {"trained_on": trained_on} if trained_on else {}
            write_json(temporary / CARD, read_json(temporary / CARD) | said)
    return replace(model, files=tuple(sorted(file for file in folder.glob("*") if file.is_file())))


def present(name: str, project: Project) -> Model:
    """As `find`, but ModelError or UnavailableError where it is missing."""
    model = find(name, project)
    if model.files:
        return model
    kind = UnavailableError if name in separators.of_kind(separators.Kind.PRETRAINED) else ModelError
    raise kind(f"{name}: not in {model.path}; {model.advice}")
