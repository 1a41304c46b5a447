"""The command `svs` as a person calls it, for the tests: in this process, or in one of its own."""

from __future__ import annotations

import io
import logging
import os
import re
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import soundfile

from svs.audio.sources import WavWriter
from svs.runtime.files import written
from tests.helpers import REPOSITORY

RATE = 44100
# Options of `svs extract` for a small store, some with underscores as the dissertation wrote them.
SMALL_STORE = ["--frame_size", "512", "-H", "256", "-w", "512", "-sr", "22050", "-iw", "5", "-sp", "0.2", "-ow", "3"]


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    def lines(self) -> list[str]:
        return self.err.splitlines()


def svs(*words, **environment) -> Ran:
    """Run the command in this process."""
    from svs.cli import main

    out, err = io.StringIO(), io.StringIO()
    root, log, code = logging.getLogger(), logging.getLogger("svs"), 0
    before = root.handlers[:], root.level, log.level
    root.handlers = []  # so that the command sets up its log as in a process of its own
    try:
        with (
            redirect_stdout(out),
            redirect_stderr(err),
            mock.patch.dict(os.environ, environment),
            mock.patch.object(sys, "argv", ["svs", *map(str, words)]),
        ):
            main()
    except SystemExit as leaving:
        code = leaving.code or 0
    finally:
        root.handlers, level, log_level = before
        root.setLevel(level)
        log.setLevel(log_level)
    return Ran(code, out.getvalue(), err.getvalue())


def call(*words) -> int:
    """Run the command in this process, with the output of the test; its exit code."""
    from svs.cli import main

    try:
        main([str(word) for word in words])
    except SystemExit as ended:
        return ended.code or 0
    return 0


def assert_refused(ran: Ran, match: str, code: int = 3) -> None:
    """Check for one line that says why, and the exit code."""
    assert ran.code == code, ran.err
    assert len(ran.lines()) == 1 and ran.err.startswith("error: "), ran.err
    assert re.search(match, ran.err), ran.err
    assert ran.out == ""


def started(*words, **options) -> subprocess.Popen:
    """Begin to run the command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "svs.cli", *map(str, words)],
        stdin=options.pop("stdin", subprocess.DEVNULL),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **options.pop("env", {})},
        **options,
    )


def really(*words, **options) -> Ran:
    """Run the command in a process of its own."""
    process = started(*words, **options)
    out, err = process.communicate(timeout=300)
    return Ran(process.returncode, out, err)


def ffmpeg(*arguments) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y", *map(str, arguments)], check=True)


def project(folder: Path) -> Path:
    """A project with the repository's parameters and no model."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("params.yaml", "wiring.yaml"):
        shutil.copy(REPOSITORY / name, folder)
    return folder


def music(seconds: float, channels: int = 2, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """A loop of four chords, a beat, and a gliding voice in each channel: float32 (samples, channels)."""
    time = np.arange(round(seconds * rate)) / rate
    draw = np.random.default_rng(seed)
    chord = 110 * 2 ** (np.array([0, 5, 7, 3])[(time * 2).astype(int) % 4] / 12)
    back = sum(np.sin(2 * np.pi * np.cumsum(chord * step) / rate) / step for step in (1, 2, 3))
    beat = draw.normal(0, 1, len(time)) * np.exp(-(time % 0.25) * 40)
    pitch = 300 + 60 * np.sin(2 * np.pi * 1.3 * time) + 5 * np.sin(2 * np.pi * 6 * time)
    voice = np.sin(2 * np.pi * np.cumsum(pitch) / rate) * (np.sin(2 * np.pi * 0.4 * time) > -0.3)
    pan = np.linspace(0.6, 1, channels)
    return (0.12 * back[:, None] * pan + 0.1 * beat[:, None] * pan[::-1] + 0.2 * voice[:, None]).astype(np.float32)


def wav(path: Path, audio: np.ndarray, rate: int = RATE) -> Path:
    with written(path) as temporary, WavWriter(temporary, rate, audio.shape[1]) as writer:
        writer.write(audio)
    return path


def read(path: Path) -> tuple[np.ndarray, int]:
    return soundfile.read(path, dtype="float32", always_2d=True)


def below(folder: Path) -> list[str]:
    """Every file below a folder, hidden ones and all."""
    return sorted(str(Path(place, name).relative_to(folder)) for place, _, files in os.walk(folder) for name in files)


def whole(
    folder: Path,
    mixture: np.ndarray,
    rate: int,
    suffix: str = "wav",
    names: tuple[str, str] = ("vocals", "accompaniment"),
) -> np.ndarray:
    """Check the two parts of a recording: its rate, channels and length, and their sum; the first of them."""
    parts = []
    for name in names:
        audio, came = read(folder / f"{name}.{suffix}")
        assert came == rate and audio.shape == mixture.shape
        parts.append(audio)
    np.testing.assert_allclose(parts[0] + parts[1], mixture, atol=1e-6)
    return parts[0]


def mounted(folder: Path, *options: str) -> str | None:
    """Mount a small disk; why that is impossible, or None."""
    folder.mkdir(parents=True, exist_ok=True)
    if sys.platform != "linux" or not shutil.which("mount"):
        return "needs Linux's mount"
    done = subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", str(folder)], capture_output=True, text=True)
    return f"needs the right to mount a small disk ({done.stderr.strip()})" if done.returncode else None


def unmounted(folder: Path) -> None:
    subprocess.run(["umount", str(folder)], capture_output=True)
