"""A program in another Python environment, kept alive, that answers requests over pipes.

Frames of bytes, never pickles: a program from another environment is not trusted to
name what is run here.  `svs/separators/spleeter_worker.py` says what the frames look like and is
the program; it ends by itself when its input does, so it outlives nobody.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import IO

from svs.errors import SVSError
from svs.runtime.process import unbroken

_ANSWER = struct.Struct("<4sI")
_REQUEST = struct.Struct("<4sIII")
_PATIENCE = 5.0  # s that a worker has to end by itself
_LONGEST = 300  # characters of its last words that are repeated


class Worker:
    """The process, from its first answer to `close`, to garbage collection, or to the end of the program.

    Parameters
    ----------
    name : str
        What the worker is called in messages.
    command : sequence of str
    largest : int
        Bytes of the longest answer that is believed.
    environment : mapping, optional
        Variables that it is given beside ours.

    Attributes
    ----------
    greeting : str
        What the worker said when it was ready.

    Raises
    ------
    SVSError
        It can't be started, or ends before it is ready.
    """

    def __init__(
        self, name: str, command: Sequence[str], largest: int = 1 << 28, environment: Mapping[str, str] | None = None
    ):
        self._name, self._largest = name, largest
        self._lock = threading.Lock()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed by _end)
        try:
            with unbroken(lambda: self.close()):
                # A session of its own: Ctrl-C in the terminal is ours to handle, and it then ends with us.
                self._process = subprocess.Popen(
                    list(command),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._log,
                    start_new_session=True,
                    env={**os.environ, **(environment or {})},
                )
                self.close = weakref.finalize(self, _end, self._process, self._log)
        except OSError as error:
            self._log.close()
            raise SVSError(f"{name}: {command[0]} could not be started ({error.strerror})") from None
        try:
            self.greeting = self._answer().decode(errors="replace")
        except BaseException:
            self.close()
            raise

    @property
    def process(self) -> int:
        """Its number."""
        return self._process.pid

    def ask(self, first: int, last: int, content: bytes) -> bytes:
        """Send one request and wait for its answer.

        Raises
        ------
        SVSError
            The worker is dead; its last line says why.
        """
        with self._lock:
            if not self.close.alive:
                raise SVSError(f"{self._name}: its process has been ended; start again")
            try:
                with contextlib.suppress(BrokenPipeError):  # then there is no answer either, and that says why
                    self._process.stdin.write(_REQUEST.pack(b"svsQ", first, last, len(content)))
                    self._process.stdin.write(content)
                    self._process.stdin.flush()
                return self._answer()
            except BaseException:
                # Dead, or interrupted in the middle of an answer: nothing that comes later could be understood.
                self.close()
                raise

    def _answer(self) -> bytes:
        header = self._process.stdout.read(_ANSWER.size)
        if len(header) == _ANSWER.size:
            magic, size = _ANSWER.unpack(header)
            if magic != b"svsA" or size > self._largest:
                raise SVSError(f"{self._name}: its process gave an answer that can't be understood ({header!r})")
            content = self._process.stdout.read(size)
            if len(content) == size:
                return content
        raise SVSError(f"{self._name}: its process ended before it answered: {self._last_words()}")

    def _last_words(self) -> str:
        """The line that says why it ended: of a traceback the error, otherwise the last one."""
        try:
            status = self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            return "it closed its output"
        if status < 0:
            return f"killed by signal {-status}" + (" (out of memory?)" if status == -9 else "")
        size = self._log.seek(0, 2)
        self._log.seek(max(0, size - 65536))
        lines = [line.strip() for line in self._log.read().decode(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
        said = (errors or lines or [f"nothing on standard error, exit status {status}"])[-1]
        return said if len(said) <= _LONGEST else said[:_LONGEST] + "..."

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _end(process: subprocess.Popen, log: IO[bytes]) -> None:
    with contextlib.suppress(OSError):
        process.stdin.close()
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    process.stdout.close()
    log.close()
