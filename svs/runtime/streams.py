"""Standard input, output and error that are closed, full, or pipes that nobody reads.

A result that can't be written to standard output is an error.  What can't be written to standard error is lost, and
the work goes on.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from svs.errors import SVSError

BROKEN_PIPE = 141  # 128 + SIGPIPE, the exit code of a program that the signal ends


@contextmanager
def guarded() -> Iterator[None]:
    """Open the standard streams that are closed, and guard all.

    Inside, writing to standard output raises SVSError if it is closed or full, and SystemExit (`BROKEN_PIPE`) if nobody
    reads it any more.
    """
    _open_closed()
    kept = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Guarded(kept[0], _output_lost), _Guarded(kept[1], lambda _: _to_nowhere(2))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = kept


def copy_to_output(path: Path) -> None:
    """Write the bytes of a file to standard output.  Errors: as inside `guarded`."""
    sys.stdout.flush()
    try:
        with open(path, "rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except OSError as error:
        _output_lost(error)


class _Guarded:
    """A text stream that calls `lost` with the error where it can't be written to; else as the stream itself."""

    def __init__(self, stream: TextIO, lost: Callable[[OSError], None]):
        self._stream, self._lost = stream, lost

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except UnicodeEncodeError:  # a name that this locale has no characters for
            encoding = self._stream.encoding  # the error calls most encodings of one byte charmap
            return self.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except OSError as error:
            self._lost(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._lost(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _output_lost(error: OSError) -> None:
    _to_nowhere(1)
    if isinstance(error, BrokenPipeError):
        sys.exit(BROKEN_PIPE)
    raise SVSError(f"standard output: can't write to it ({error.strerror}); send it to a file or a program") from None


def _to_nowhere(number: int, flags: int = os.O_WRONLY) -> None:
    """Send a stream to the null device, with what its buffer still holds: Python flushes it at the end."""
    nowhere = os.open(os.devnull, flags)
    os.dup2(nowhere, number)
    if nowhere != number:
        os.close(nowhere)


def _open_closed() -> None:
    """Open the standard streams that were closed at the start, so that no other file takes their numbers.

    Standard input is then empty, and standard error leads nowhere.  Standard output is open for reading only: writing
    a result to it fails, as it should.
    """
    streams = (("stdin", "r", os.O_RDONLY), ("stdout", "w", os.O_RDONLY), ("stderr", "w", os.O_WRONLY))
    for number, (name, mode, flags) in enumerate(streams):
        if getattr(sys, name) is None:
            _to_nowhere(number, flags)
            setattr(sys, name, open(number, mode, encoding="utf-8", errors="backslashreplace", closefd=False))  # noqa: SIM115
