"""What svs needs, what of it is there, and what to do about the rest."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from svs.config import paths, schema
from svs.config.project import Project, find_project
from svs.errors import ModelError, SVSError

OK, DIFFERS, MISSING = "ok", "differs", "missing"
PYTHON = (3, 11)
# Without one of these a separation, a training or a score stops; the others are named where they differ.
NEEDED = (
    "keras",
    "tensorflow",
    "librosa",
    "numpy",
    "scipy",
    "soundfile",
    "soxr",
    "norbert",
    "zarr",
    "musdb",
    "museval",
    "stempeg",
    "pandas",
    "matplotlib",
    "seaborn",
    "pydantic",
    "typer",
    "dvc",
)
OPTIONAL = {
    "torch": "open-unmix",
    "torchaudio": "open-unmix",
    "openunmix": "open-unmix",
    "gradio": "`svs app`",
    "questionary": "the menu of `svs separate`",
}
_FREE = 5.0  # GiB under which the disk is called full
_TRAINED = {"autoencoder": "dvc repro pretrain", "vad": "dvc repro train_vad"}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Parameters
    ----------
    group, name : str
    state : {"ok", "differs", "missing"}
    found : str
        What is there, in a few words.
    advice : str
        What to do; nothing where there is nothing to do.
    needed : bool
        Whether the methods of params.yaml can't do without it.
    """

    group: str
    name: str
    state: str
    found: str
    advice: str = ""
    needed: bool = False

    @property
    def ok(self) -> bool:
        return self.state == OK

    @property
    def fatal(self) -> bool:
        return self.needed and self.state == MISSING


def checks(given: Path | None = None, *, full: bool = False) -> list[Check]:
    """Everything, in the order in which it should be put right.

    Parameters
    ----------
    given : Path, optional
        The project's folder: see `svs.config.project.find_project`.
    full : bool
        Load Keras and torch too, which takes some seconds, and ask for their devices.
    """
    found: list[Check] = [_python(), *_programs()]
    project: Project | None = None
    try:
        project = find_project(given)
        found.append(Check("system", "project", OK, f"{project.home}, profile {project.settings.profile}"))
    except SVSError as error:
        found.append(Check("system", "project", MISSING, "no parameters", str(error), needed=True))
    home = project.home if project else Path.cwd()
    found += [_disk(home), *_packages(home), _backend(), *(_devices() if full else [])]
    if project:
        found.append(_data(project))
        found += [_trained(name, project, command) for name, command in _TRAINED.items()]
        found += [method(name, project) for name in _methods()]
    return found


def as_json(found: list[Check]) -> str:
    """The checks for machines."""
    return json.dumps(
        {"ok": not any(check.fatal for check in found), "checks": [asdict(check) for check in found]},
        indent=2,
        ensure_ascii=False,
    )


def as_text(found: list[Check]) -> str:
    """The checks for people: aligned, a group after another, and below a problem what to do."""
    width = max(len(check.name) for check in found)
    lines: list[str] = []
    for position, check in enumerate(found):
        if position == 0 or found[position - 1].group != check.group:
            lines += ["", check.group] if lines else [check.group]
        lines.append(f"  {check.name:<{width}}  {check.state:<7}  {check.found}".rstrip())
        if check.advice:
            lines.append(f"  {'':<{width}}           -> {check.advice}")
    fatal = [check.name for check in found if check.fatal]
    lines += [
        "",
        f"missing: {', '.join(fatal)}" if fatal else "everything that the methods of params.yaml need is there",
    ]
    return "\n".join(lines)


def _python() -> Check:
    right = sys.version_info[:2] == PYTHON
    wanted = ".".join(map(str, PYTHON))
    return Check(
        "system",
        "Python",
        OK if right else DIFFERS,
        f"{platform.python_version()}, svs {version('svs')} in {paths.PACKAGE}",
        "" if right else f"svs is made for Python {wanted}; install it and run `make setup`",
    )


def _programs() -> Iterator[Check]:
    for name, why in (("ffmpeg", "make setup"), ("ffprobe", "make setup")):
        path = shutil.which(name)
        words = _said([path, "-version"]).split() if path else []
        # "ffmpeg version 5.1.6-0+deb12u1 Copyright ..."
        yield Check(
            "system",
            name,
            OK if len(words) > 2 else MISSING,
            f"{words[2]} ({path})" if len(words) > 2 else "",
            "" if len(words) > 2 else f"`{why}` installs it; or install ffmpeg with your system's packages",
            needed=True,
        )


def _said(command: list) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def _disk(home: Path) -> Check:
    free = shutil.disk_usage(home).free / 2**30
    return Check(
        "system",
        "free disk",
        OK if free >= _FREE else DIFFERS,
        f"{free:.1f} GiB in {home}",
        "" if free >= _FREE else "MUSDB18-HQ takes 22 GB, a store of it about as much; free some space",
    )


def pins(home: Path) -> dict[str, str]:
    """Versions of packages that `requirements.txt` names."""
    path = home / "requirements.txt"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    found = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)", text, re.MULTILINE)
    return {name.lower().replace("_", "-"): pinned for name, pinned in found}


def _packages(home: Path) -> Iterator[Check]:
    pinned = pins(home)
    named = {**dict.fromkeys(NEEDED, ""), **OPTIONAL}
    for name, use in named.items():
        state, came, advice = _package(name, pinned.get(name))
        if state == MISSING and use:
            came = f"{use} needs it"
        yield Check("packages", name, state, came, advice, needed=not use)
    others = {name: _package(name, wanted) for name, wanted in pinned.items() if name not in named}
    odd = [name for name, (state, _, _) in others.items() if state != OK]
    if others:
        yield Check(
            "packages",
            "others",
            DIFFERS if odd else OK,
            f"{len(others) - len(odd)} of {len(others)} as pinned in requirements.txt",
            f"`make setup` installs {', '.join(odd[:6])}{' and more' if len(odd) > 6 else ''}" if odd else "",
        )


def _package(name: str, wanted: str | None) -> tuple[str, str, str]:
    """State, version and advice."""
    try:
        came = version(name)
    except PackageNotFoundError:
        return MISSING, "", "`make setup` installs it"
    # The local part of a version (+cpu) names one index's build.
    if wanted is not None and came.partition("+")[0] != wanted.partition("+")[0]:
        return DIFFERS, f"{came}, pinned {wanted}", "`make setup` installs the pinned version"
    return OK, came, ""


def _backend() -> Check:
    configured = os.environ.get("KERAS_BACKEND") or _keras_file().get("backend") or "tensorflow"
    try:
        version({"tensorflow": "tensorflow", "torch": "torch", "jax": "jax", "openvino": "openvino"}[configured])
        return Check("devices", "Keras backend", OK, configured, needed=True)
    except (PackageNotFoundError, KeyError):
        return Check(
            "devices",
            "Keras backend",
            MISSING,
            configured,
            "install it, or unset KERAS_BACKEND (the default is tensorflow)",
            needed=True,
        )


def _keras_file() -> dict:
    path = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "keras.json"
    try:
        content = json.loads(path.read_text())
        return content if isinstance(content, dict) else {}
    except (OSError, ValueError):
        return {}


def _devices() -> Iterator[Check]:
    from svs.runtime.process import quietly

    def keras() -> str:
        import keras

        if keras.backend.backend() == "tensorflow":
            import tensorflow

            listed = ", ".join(device.name for device in tensorflow.config.list_physical_devices())
        else:
            listed = ", ".join(map(str, keras.distribution.list_devices()))
        return f"Keras {keras.__version__}: {listed}"

    def torch() -> str:
        import torch

        return f"cuda: {torch.cuda.get_device_name(0)}" if torch.cuda.is_available() else "cpu (no cuda)"

    for name, ask, needed in (("Keras devices", keras, True), ("torch device", torch, False)):
        try:
            with quietly():
                found = ask()
            yield Check("devices", name, OK, found, needed=needed)
        except Exception as error:  # a broken build raises anything at import
            yield Check(
                "devices",
                name,
                MISSING,
                f"{type(error).__name__}: {' '.join(str(error).split())[:120]}",
                "`make setup` installs it anew",
                needed=needed,
            )


def _data(project: Project) -> Check:
    from svs.data import inspection, locate

    download = project.settings.download
    folder = download.path or project.path(paths.DATASETS) / download.dataset
    try:
        place, _ = locate.locate_given(folder)
        count = len(inspection.list_test_tracks(place))
        return Check("data and models", "data set", OK, f"{download.dataset} in {place}, {count} test tracks")
    except SVSError as error:
        if download.dataset == "tiny":
            return Check("data and models", "data set", OK, "tiny, generated when it is needed")
        return Check(
            "data and models",
            "data set",
            MISSING,
            download.dataset,
            str(error)
            if download.path
            else "`dvc repro download` gets it; "
            f"or name yours: profiles.{project.settings.profile}.download.path in params.yaml",
        )


def _trained(name: str, project: Project, command: str) -> Check:
    state, found, advice = model(project.path(paths.MODELS) / name, command)
    return Check("data and models", name, state, found, advice)


def model(folder: Path, command: str) -> tuple[str, str, str]:
    """State of a trained model, what its card says, and advice; nothing is loaded."""
    if not (folder / "model.keras").is_file():
        return MISSING, f"no {folder / 'model.keras'}", f"`{command}` trains it"
    try:
        card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        return (
            OK,
            (f"validation loss {card['val_loss']:.4f} after epoch {card['best_epoch']} of {card['epochs']} ({folder})"),
            "",
        )
    except (OSError, ValueError, KeyError, TypeError):
        return MISSING, f"{folder / 'model.json'} is missing or damaged", f"`{command}` trains it anew"


def _methods() -> tuple[str, ...]:
    from svs import separators

    return tuple(separators.methods())


def method(name: str, project: Project) -> Check:
    """Whether a separation method can run here; no network is loaded and nothing is downloaded."""
    from svs import separators
    from svs.separators import Kind

    settings = project.settings
    needs = project.path(separators.needs(name, settings))
    look: Callable[[], tuple[str, str, str]] = {
        **{net: lambda: _of_ours(name, project, needs) for net in separators.of_kind(Kind.NET)},
        "openunmix": lambda: _openunmix(project, needs),
        "spleeter": lambda: _spleeter(project, needs),
    }.get(name, lambda: (OK, "", ""))
    try:
        state, found, advice = look()
    except ImportError as error:
        state, found, advice = MISSING, str(error), "`make setup` installs what is missing"
    if separators.find_method(name).kind is Kind.ORACLE:
        found = "with the true stems: `svs score`, or `svs separate` with --track or --reference"
    if name == default(project):
        found = f"the default of `svs separate`: {found}"
    return Check("methods", name, state, found, advice, needed=name in settings.methods)


def default(project: Project) -> str | None:
    """The method that `svs separate` takes where none is named; None where none of those is trained."""
    from svs import separators

    try:
        return separators.default(project.settings, project.home)
    except ModelError:
        return None


def _of_ours(name: str, project: Project, folder: Path) -> tuple[str, str, str]:
    state, found, advice = model(folder, f"dvc repro train@{name}")
    if state != OK and name not in project.settings.models:
        advice = f"add its lines under `models` and `methods` in {schema.WIRING}, then {advice}"
    return state, found, advice


def _openunmix(project: Project, folder: Path) -> tuple[str, str, str]:
    from svs import separators
    from svs.data import pretrained
    from svs.separators import openunmix

    options = separators.options("openunmix", project.settings)
    files = list(openunmix.remotes(options.model).values())
    files = files[:1] if options.targets == "vocals" else files
    try:
        found = pretrained.find_weights("openunmix", files, folder, download=False)
    except SVSError:
        return _fetchable(f"weights of {options.model}", ", ".join(file.name for file in files), folder)
    return OK, f"{options.model}: {', '.join(str(path) for path in found)}", ""


def _spleeter(project: Project, folder: Path) -> tuple[str, str, str]:
    from svs import separators
    from svs.separators import spleeter

    options = separators.options("spleeter", project.settings)
    problems: list[tuple[str, str, str]] = []
    try:
        with _offline():
            where = str(spleeter.find(folder))
    except SVSError as error:
        absent = " is neither in " in str(error)
        problems.append(
            _fetchable("weights of 2stems", spleeter.ARCHIVE.name, folder)
            if absent
            else (MISSING, "weights", str(error))
        )
    try:
        with _offline():
            spleeter.environment(options)
    except SVSError:
        problems.append((MISSING, f"its own environment {options.environment}", "`make spleeter` makes it (2.4 GB)"))
    if problems:
        return MISSING, " and ".join(found for _, found, _ in problems), "; ".join(text for *_, text in problems)
    return OK, where, ""


def _fetchable(what: str, names: str, folder: Path) -> tuple[str, str, str]:
    if os.environ.get("SVS_OFFLINE", "0") not in ("", "0"):
        return MISSING, what, f"put {names} into {folder} (SVS_OFFLINE is set: nothing is downloaded)"
    return MISSING, what, f"downloaded when the method is first used; or put {names} into {folder}"


@contextmanager
def _offline() -> Iterator[None]:
    """Nothing is downloaded or installed inside."""
    before = os.environ.get("SVS_OFFLINE")
    os.environ["SVS_OFFLINE"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["SVS_OFFLINE"]
        else:
            os.environ["SVS_OFFLINE"] = before
