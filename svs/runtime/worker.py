"""A program in another Python environment that answers requests over a socket.

Messages are bytes, never pickles: a program from another environment must not choose what this process runs.  The
socket is the program's standard input; `svs/separators/spleeter_worker.py` is such a program.  It ends by itself when
the socket closes, so it never outlives this process.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import struct
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import IO

from svs.errors import SVSError

_REQUEST = struct.Struct("<II")
_PATIENCE = 5.0  # s between the end of its answers and the end of the process


class Worker:
    """The running program, until `close`, garbage collection, or the end of this process.

    The name stands in error messages.  The environment is added to the variables of this process.  `greeting` is the
    worker's first message, which says that it is ready.

    Raises
    ------
    SVSError
        The program can't be started, or ends before it is ready.
    """

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None):
        self._name = name
        self._lock = threading.Lock()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed by _end)
        self._connection, theirs = multiprocessing.Pipe()
        with theirs:
            try:
                self.process = subprocess.Popen(
                    list(command),
                    stdin=theirs.fileno(),
                    stdout=self._log,
                    stderr=self._log,
                    start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the worker
                    env={**os.environ, **(environment or {})},
                )
            except OSError as error:
                raise SVSError(f"{name}: {command[0]} could not be started ({error.strerror})") from None
        self.close = weakref.finalize(self, _end, self.process, self._connection, self._log)
        self.greeting = self._ask().decode(errors="replace")

    def ask(self, first: int, last: int, content: bytes) -> bytes:
        """Send a request and wait for its answer.

        Raises
        ------
        SVSError
            The worker is dead; the message says why.
        """
        return self._ask(_REQUEST.pack(first, last) + content)

    def _ask(self, request: bytes | None = None) -> bytes:
        """The next message of the worker, after a request if there is one."""
        with self._lock:
            if not self.close.alive:
                raise SVSError(f"{self._name}: its process has ended; start again")
            try:
                if request is not None:
                    self._connection.send_bytes(request)
                return self._connection.recv_bytes()
            except (EOFError, OSError):
                reason = self._reason()
                self.close()
                raise SVSError(f"{self._name}: its process ended before it answered: {reason}") from None
            except BaseException:  # interrupted: the next answer would be that of this request
                self.close()
                raise

    def _reason(self) -> str:
        """Why the worker ended: the error in its traceback, otherwise the last line that it printed."""
        try:
            status = self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            return "it closed its socket"
        if status < 0:
            return f"killed by signal {-status}" + (" (out of memory?)" if status == -9 else "")
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().decode(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
        return (errors or lines or [f"it printed nothing, exit status {status}"])[-1][:300]


def _end(process: subprocess.Popen, connection: Connection, log: IO[bytes]) -> None:
    connection.close()
    process.kill()  # it has nothing to clean up
    process.wait()
    log.close()
