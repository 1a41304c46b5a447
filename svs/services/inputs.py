"""What a person names to be separated: files, folders, patterns and standard input, and the names of their results."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from svs.audio import find
from svs.config.paths import NAME
from svs.errors import DataError, SettingsError
from svs.runtime.files import read_json
from svs.services.output import ENHANCED, RESULT, song_names
from svs.stems import TARGETS

STDIN = "stdin"  # what messages and folders call a recording from standard input


@dataclass(frozen=True)
class Input:
    """A recording: its file, the folder name of its results, and what messages call it in place of its path."""

    path: Path
    name: str
    label: str | None = None

    def __str__(self) -> str:
        return self.label or str(self.path)


@contextmanager
def open_inputs(
    arguments: Sequence[str], output: Path | None, template: str = NAME
) -> Iterator[tuple[list[Input], list[DataError]]]:
    """The recordings that the arguments name, and an error for each that names none; `-` is standard input.

    Results of svs in a folder are left out.  `output` is the folder of the results and `template` that of their files,
    for the names (`svs.services.output.song_names`).

    Raises
    ------
    SettingsError
        Standard input is a terminal.
    """
    files = [argument for argument in arguments if argument != "-"]
    found, errors = _recordings(files) if files else ([], [])
    with ExitStack() as stack:
        spooled = []
        if len(files) < len(arguments):
            try:
                spooled.append(stack.enter_context(_standard_input()))
            except DataError as error:
                errors.append(error)
        names = song_names([*found, *(Path(STDIN) for _ in spooled)], output, template)
        inputs = [Input(path, name) for path, name in zip(found, names, strict=False)]
        yield [*inputs, *(Input(path, names[-1], STDIN) for path in spooled)], errors


@contextmanager
def _standard_input() -> Iterator[Path]:
    """Standard input as a temporary file, because the index of a recording may be at its end.

    Raises
    ------
    SettingsError, DataError
        It is a terminal; it is empty; or the disk is full.
    """
    if sys.stdin.isatty():
        raise SettingsError("standard input is a terminal; pipe a recording into svs, or name a file")
    with tempfile.NamedTemporaryFile(prefix="svs-") as file:
        try:
            shutil.copyfileobj(sys.stdin.buffer, file)
            file.flush()
        except OSError as error:
            todo = "free some space or set TMPDIR to another disk"
            raise DataError(f"{STDIN}: can't keep it in {tempfile.gettempdir()} ({error.strerror}); {todo}") from None
        if not file.tell():
            raise DataError(f"{STDIN}: expected a recording, it is empty (0 bytes); see what should have written to it")
        yield Path(file.name)


def _recordings(arguments: Sequence[str]) -> tuple[list[Path], list[DataError]]:
    """`svs.audio.find.find_recordings`, without the results of svs in a folder."""
    named = {os.path.abspath(argument) for argument in arguments}
    found, errors = find.find_recordings(arguments)
    wanted = [path for path in found if os.path.abspath(path) in named or not _is_result(path)]
    if found and not wanted:
        errors.append(
            DataError(
                f"{arguments[0]}: expected recordings, found only what svs separated before; "
                "name one of these files if you mean it"
            )
        )
    return wanted, errors


def _is_result(path: Path) -> bool:
    """Whether the request that svs answered with a file lies beside it, under any `svs.config.paths.NAME`."""
    bare = str(path.with_suffix(""))
    parts = [bare.rpartition(stem) for stem in (*TARGETS, *ENHANCED)]
    names = [f"{before}{RESULT}{after}" for before, stem, after in parts if stem]
    if any(os.path.isfile(f"{name}.json") for name in names):  # to `Path.is_file` a name that is too long is an OSError
        return True
    lone = Path(f"{bare}.{RESULT}.json")  # of a name without {stem}: the recording itself may lie there too
    try:
        return os.path.isfile(lone) and any(file.endswith(path.suffix) for file in read_json(lone)["files"])
    except (DataError, KeyError, TypeError, AttributeError):  # not what svs wrote
        return False
