"""What `svs extract` and `svs train` share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from svs.errors import DataError, SettingsError

if TYPE_CHECKING:
    from svs.runtime.files import Scratch
if TYPE_CHECKING:
    from svs.runtime.files import Scratch

# The dissertation wrote --frame_size.
UNDERSCORES = {"token_normalize_func": lambda name: name.replace("_", "-")}


VALIDATION = 5  # of the excerpts of a training track, one in so many is drawn of a validation track


def checked_mode(given: str) -> str:
    from svs.features.store import MODES

    if given.upper() not in MODES:
        raise SettingsError(f"mode {given}: expected one of {', '.join(MODES)}")
    return given.upper()


def refuse_excerpt_options(**given: Any) -> None:
    """Refuse what is said of excerpts in the mode that has none."""
    if wrong := [f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None]:
        raise SettingsError(
            f"{', '.join(wrong)}: mode MIX keeps whole stems, of which passages are cut while a "
            "network is trained from its beginning (train.NETWORK in params.yaml); leave it out"
        )


def checked_label_width(mode: str, given: int | None, width: int) -> int | None:
    if mode == "VAD":
        if given is not None:
            raise SettingsError("--label-width: in mode VAD the label is that of the centre frame; leave it out")
        return None
    label = width if given is None else given
    if not 1 <= label <= width or label % 2 == 0:
        raise SettingsError(f"--label-width {label}: expected an odd number of frames up to the width, {width}")
    return label


def require_free(out: Path, overwrite: bool, mark: str, what: str) -> None:
    """Refuse an output that exists; with --overwrite, one that isn't of the kind to be replaced."""
    if not out.exists() and not out.is_symlink():
        return
    if not overwrite:
        raise DataError(f"{out}: is there already; choose another name, or --overwrite")
    if not (out / mark).is_file():
        raise DataError(f"{out}: expected {what} to overwrite, found something else; choose another name")


@contextmanager
def scratch_beside(
    out: Path, *parts: Any, inputs: Sequence[Path] = (), code: Sequence[str] = ("svs",)
) -> Iterator[Scratch]:
    """Where an interrupted run goes on from, hidden beside its output; gone when the run is done."""
    from svs.runtime import files
    from svs.services import recordings

    work = f".{out.name}.partial"
    with recordings.only_one(out.parent / work):
        scratch = files.Scratch(out.parent, work, files.fingerprint(*parts, inputs=inputs, code=code))
        try:
            yield scratch
            scratch.done()
        finally:
            with suppress(OSError):  # nothing to go on from, or it is done
                scratch.path.rmdir()
                scratch.path.parent.rmdir()
