"""Start the programs ffmpeg and ffprobe, with which MUSDB18's tools decode .stem.mp4 files, and read what they say."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import IO, Any

from svs.errors import DataError

TOLERANCE = 4096  # samples by which healthy lossy files differ from their stated length (padding, delay)


def require_ffmpeg() -> None:
    """Raise DataError unless ffmpeg and ffprobe are on the PATH."""
    for program in ("ffmpeg", "ffprobe"):
        if shutil.which(program) is None:
            raise DataError(
                f"reading a data set's .stem.mp4 files needs ffmpeg and ffprobe, there is no {program} on the "
                "PATH; run `make setup`, `apt install ffmpeg` (Debian, Ubuntu) or `brew install ffmpeg`"
            )


def last_words(output: bytes, path: Path) -> str:
    """The last line that ffmpeg wrote, without the names of the file and of ffmpeg's own parts."""
    text = output.decode(errors="replace").replace(f"file:{path}: ", "")
    lines = [re.sub(r"^\[[^]]* @ 0x[0-9a-f]+\] *", "", line.strip()) for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it gives no reason"


def only_local(path: Path) -> list[str]:
    """ffmpeg's arguments for an input: this local file, and nothing elsewhere that it points to."""
    return ["-protocol_whitelist", "file,pipe", "-i", f"file:{path}"]


def ffprobe(path: Path) -> tuple[dict[str, Any], bytes]:
    """What ffprobe tells of a file: its `format` and `streams`, {} if it can't read it; and its messages."""
    # "warning" tells whether a length is only estimated.
    command = ["ffprobe", "-v", "warning", *only_local(path), "-of", "json", "-show_format", "-show_streams"]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
    return {} if done.returncode else json.loads(done.stdout.decode(errors="replace")), done.stderr


class Running:
    """An ffmpeg at work; leaving its `with` block ends it and closes its pipes.

    Parameters
    ----------
    arguments : sequence of str
        After `ffmpeg` and its general options.
    stdin, stdout : int
        As of `subprocess.Popen`; closed if not given.

    Attributes
    ----------
    process : subprocess.Popen
    errors : int
        Pieces of the input that could not be decoded.
    ended_early : bool
        The container ends before it should.
    full : bool
        The disk is full.
    """

    def __init__(
        self, arguments: Sequence[str], *, stdin: int = subprocess.DEVNULL, stdout: int = subprocess.DEVNULL
    ) -> None:
        command = ["ffmpeg", "-v", "repeat+error", "-nostdin", "-y", *arguments]
        self.errors, self.ended_early, self.full = 0, False, False
        self._lines: deque[bytes] = deque(maxlen=20)
        self.process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE)
        # Read along: ffmpeg waits when the pipe is full.
        self._reader = Thread(target=self._read, args=(self.process.stderr,), daemon=True)
        self._reader.start()

    def _read(self, messages: IO[bytes]) -> None:
        for line in messages:
            self._lines.append(line)
            self.errors += b"Error while decoding" in line or b"Error submitting packet to decoder" in line
            self.ended_early |= b"File ended prematurely" in line or b"partial file" in line
            self.full |= b"No space left" in line

    def ended(self) -> int:
        """Wait for its end; return the exit status."""
        status = self.process.wait()
        self._reader.join()
        return status

    def words(self, path: Path) -> str:
        """`last_words` of what it wrote."""
        return last_words(b"".join(self._lines), path)

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.ended()
        for pipe in filter(None, (self.process.stdin, self.process.stdout, self.process.stderr)):
            with suppress(OSError):  # nobody reads what was still to be written
                pipe.close()
