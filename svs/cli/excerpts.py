"""What `svs extract` and `svs train` share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from svs.errors import DataError, SettingsError

if TYPE_CHECKING:
    from svs.runtime.files import Scratch


Mode = Literal["SVS", "DAE", "VAD", "MIX"]  # as in `svs.features.store`


def refuse_excerpt_options(**given: Any) -> None:
    """Raise SettingsError if options about excerpts are given in mode MIX, which has none."""
    if wrong := [f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None]:
        raise SettingsError(
            f"{', '.join(wrong)}: mode MIX keeps whole stems, of which passages are cut while a "
            "network is trained from its beginning (train.NETWORK in params.yaml); leave it out"
        )


def checked_label_width(mode: str, given: int | None, width: int) -> int | None:
    """Frames of a label: those given or the excerpt's width; None in mode VAD.

    Raise SettingsError if the mode has no width of labels, or the width is even or doesn't fit.
    """
    if mode == "VAD":
        if given is not None:
            raise SettingsError("--label-width: in mode VAD the label is that of the centre frame; leave it out")
        return None
    label = width if given is None else given
    if not 1 <= label <= width or label % 2 == 0:
        raise SettingsError(f"--label-width {label}: expected an odd number of frames up to the width, {width}")
    return label


def require_free(out: Path, overwrite: bool, mark: str, what: str) -> None:
    """Raise DataError if the output exists; with --overwrite, only if the file `mark` doesn't tell its kind."""
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
    """The scratch folder of an output, hidden beside it: an interrupted run goes on from it, a finished run removes it.

    A run with other parameters (`parts`), other contents of its inputs (files and folders), or other code (modules, and
    what they import) starts anew.
    """
    from svs.runtime import files
    from svs.services.output import only_one

    work = f".{out.name}.partial"
    with only_one(out.parent / work):
        scratch = files.Scratch(out.parent, work, files.fingerprint(*parts, inputs=inputs, code=code))
        try:
            yield scratch
            scratch.done()
        finally:
            with suppress(OSError):  # removed already, or not empty: the next run goes on from it
                scratch.path.rmdir()
                scratch.path.parent.rmdir()
