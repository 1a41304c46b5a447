"""Run ffmpeg and ffprobe, and turn what they say into errors of one line."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread

from svs.errors import DataError
from svs.runtime.process import unbroken


def require_ffmpeg() -> None:
    for program in ("ffmpeg", "ffprobe"):
        if shutil.which(program) is None:
            raise DataError(
                f"reading and writing recordings needs ffmpeg and ffprobe, there is no {program} on the "
                "PATH; run `make setup`, `apt install ffmpeg` (Debian, Ubuntu) or `brew install ffmpeg`"
            )


def require_file(path: Path) -> None:
    """Raise DataError where `path` is not a file with something in it that may be read."""
    try:
        kind = path.stat()
        if stat.S_ISREG(kind.st_mode):
            open(path, "rb").close()
    except FileNotFoundError:
        raise recording_error(path, "expected a recording, there is no such file; check the name") from None
    except (OSError, ValueError) as error:
        raise recording_error(
            path, f"expected a recording, can't open it ({getattr(error, 'strerror', error)})"
        ) from None
    if stat.S_ISDIR(kind.st_mode):
        raise recording_error(path, "expected a recording, this is a folder; name a file in it")
    if not stat.S_ISREG(kind.st_mode):
        raise recording_error(path, "expected a recording, this is a pipe or a device; save it to a file first")
    if kind.st_size == 0:
        raise recording_error(path, "expected a recording, the file is empty (0 bytes); fetch or copy it again")


def only_local(path: Path) -> list[str]:
    """ffmpeg's arguments for an input: the local file of that name and nothing that it points to elsewhere."""
    return ["-protocol_whitelist", "file,pipe", "-i", f"file:{path}"]


def recording_error(path: Path, text: str) -> DataError:
    return DataError(one_line(f"{path}: {text}"))


def one_line(text: str) -> str:
    """`text` with what a terminal would not show as a character written as an escape."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def last_words(output: bytes, path: Path) -> str:
    """The last thing ffmpeg said, without the name of the file and of its own parts."""
    text = output.decode(errors="replace").replace(f"file:{path}: ", "")
    lines = [re.sub(r"^\[[^]]* @ 0x[0-9a-f]+\] *", "", line.strip()) for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it gives no reason"


class Running:
    """ffmpeg at work; what it says is kept (the last of it) and its complaints are counted."""

    def __init__(self, arguments: Sequence[str], **pipes: int):
        command = ["ffmpeg", "-v", "repeat+error", "-nostdin", "-y", *arguments]
        self.errors = 0  # pieces that could not be decoded
        self.ended_early = False  # the container ends before it should
        self.full = False  # the disk is
        self._lines: deque[bytes] = deque(maxlen=20)
        with unbroken(self.stop):
            self.process = subprocess.Popen(command, stderr=subprocess.PIPE, **pipes)
            # Read along, or ffmpeg would wait when the pipe is full.
            self._reader = Thread(target=self._read, daemon=True)
            self._reader.start()

    def _read(self) -> None:
        for line in self.process.stderr:
            self._lines.append(line)
            self.errors += b"Error while decoding" in line or b"Error submitting packet to decoder" in line
            self.ended_early |= b"File ended prematurely" in line or b"partial file" in line
            self.full |= b"No space left" in line

    def ended(self) -> int:
        """Wait; the exit status."""
        status = self.process.wait()
        self._reader.join()
        return status

    def words(self, path: Path) -> str:
        return last_words(b"".join(self._lines), path)

    def stop(self) -> None:
        """End it where it still runs."""
        self.process.kill()
        self.ended()
        for pipe in filter(None, (self.process.stdin, self.process.stdout)):
            with suppress(OSError):  # nobody reads what was still to be written
                pipe.close()
        self.process.stderr.close()
