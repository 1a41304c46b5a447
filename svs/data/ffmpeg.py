"""The programs ffmpeg and ffprobe, as MUSDB18's own tools decode `.stem.mp4` files with them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from svs.errors import DataError


def require_ffmpeg() -> None:
    """Raise DataError unless ffmpeg and ffprobe are on the PATH."""
    for program in ("ffmpeg", "ffprobe"):
        if shutil.which(program) is None:
            raise DataError(
                f"reading a data set's .stem.mp4 files needs ffmpeg and ffprobe, there is no {program} on the "
                "PATH; run `make setup`, `apt install ffmpeg` (Debian, Ubuntu) or `brew install ffmpeg`"
            )


def run(program: str, path: Path, *arguments: str, before: Sequence[str] = ()) -> tuple[int, bytes, str]:
    """Run ffmpeg or ffprobe on a local file, and nothing elsewhere that it points to.

    Returns its exit status, its output, and its last message (or that of a full disk) without the name of the file.
    """
    command = [program, "-v", "error", *before, "-protocol_whitelist", "file,pipe", "-i", f"file:{path}", *arguments]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
    text = done.stderr.decode(errors="replace").replace(f"file:{path}: ", "")
    lines = [re.sub(r"^\[[^]]* @ 0x[0-9a-f]+\] *", "", line.strip()) for line in text.splitlines() if line.strip()]
    full = [line for line in lines if "No space left" in line]
    return done.returncode, done.stdout, (full or lines or ["it gives no reason"])[-1][:200]


def ffprobe(path: Path) -> tuple[dict[str, Any], str]:
    """What ffprobe tells of a file: its `format` and `streams`, {} if it can't read it; and its last message."""
    status, output, words = run("ffprobe", path, "-of", "json", "-show_format", "-show_streams")
    return {} if status else json.loads(output.decode(errors="replace")), words
