"""What commands print, as the guides show it: python tools/outputs.py [--check]

Runs the commands of each block that begins with `$ svs` on a preview of MUSDB18, in a project that is trained, and
writes what they print below them.  With --check it writes nothing, and fails if a guide shows something else.  Paths
are shown as of a checkout in /srv/svs.  A line `…` stands for any lines; a block that has one is changed by hand.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from platformdirs import user_cache_path

ROOT = Path(__file__).parent.parent
PAGES = ("docs/own-songs.md", "docs/options.md")
SONG = "Arise - Run Run Run.stem.mp4"
PREVIEWS = Path(os.environ.get("SVS_PREVIEWS", ROOT.parent / "shared/data/musdb18-7"))
BLOCK = re.compile(r"(?<=\n)```(?:console)?\n(\$ .*?)```\n", re.DOTALL)
VARIES = "$ svs vad "  # by a network of ours, which each machine trains a little otherwise: shown, not compared
TOLERANCE = 0.03  # dB and s: another processor rounds otherwise


def main() -> int:
    check = "--check" in sys.argv[1:]
    if (song := preview()) is None:
        print(f"{SONG} is not below {PREVIEWS} (name a folder with SVS_PREVIEWS): nothing is compared", file=sys.stderr)
        return 0
    stale = 0
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        with tempfile.TemporaryDirectory() as folder:
            place = prepared(Path(folder), song)
            new = BLOCK.sub(partial(renewed, page, place, check), text)
        if new != text:
            stale += 1
            print(f"{page}: {'shows something else; run `make docs-outputs`' if check else 'written'}", file=sys.stderr)
            if not check:
                (ROOT / page).write_text(new, encoding="utf-8")
    return stale if check else 0


def preview() -> Path | None:
    """The song of the guides, if it is at hand."""
    return next((song for split in ("test", "train") if (song := PREVIEWS / split / SONG).is_file()), None)


def prepared(folder: Path, song: Path) -> Path:
    """A folder with the song of the guides, and a cache with no weights but spleeter's."""
    for name, stream in (("Arise.flac", 0), ("Arise-vocals.wav", 4)):
        words = [
            "ffmpeg",
            "-v",
            "error",
            "-i",
            song,
            "-map",
            f"0:{stream}",
            "-c:a",
            "flac" if stream == 0 else "pcm_f32le",
        ]
        subprocess.run([*words, folder / name], check=True)
    weights = folder / "cache/svs/weights"
    weights.mkdir(parents=True)
    if (kept := user_cache_path("svs", appauthor=False) / "weights/spleeter").is_dir():
        (weights / "spleeter").symlink_to(kept)
    return folder


def renewed(page: str, folder: Path, check: bool, found: re.Match[str]) -> str:
    """A block with what its commands print now; the block itself where that is the same."""
    shown = found[1].splitlines()
    if not all(line.startswith("$ svs") or " svs " in line for line in shown if line.startswith("$ ")):
        return found[0]
    if check and shown[0].startswith(VARIES):
        return found[0]
    printed = [line for command in shown if command.startswith("$ ") for line in (command, *run(command[2:], folder))]
    if same(shown, printed):
        return found[0]
    print(f"{page}: {shown[0]}\n" + "\n".join(f"  {line}" for line in printed), file=sys.stderr)
    if "…" in shown and not check:
        return found[0]
    return found[0].replace(found[1], "".join(f"{line}\n" for line in printed))


def run(command: str, folder: Path) -> Iterator[str]:
    environment = {**os.environ, "SVS_PROJECT": str(ROOT), "XDG_CACHE_HOME": str(folder / "cache"), "COLUMNS": "120"}
    words = ["bash", "-c", f"({command}) 2>&1"]
    done = subprocess.run(words, cwd=folder, env=environment, stdout=subprocess.PIPE)
    text = re.sub(r"[^\r\n]*\d% ?\|[^\]\n]*\]", "", done.stdout.decode())  # progress
    lines = [line.rpartition("\r")[2].rstrip() for line in text.split("\n")]
    text = "\n".join(line for line in lines if line)
    yield from text.replace(str(folder / "cache"), "/root/.cache").replace(str(ROOT), "/srv/svs").splitlines()


def same(shown: list[str], printed: list[str]) -> bool:
    """Whether lines are the same but for the rounding of numbers; `…` stands for any lines."""
    if not shown:
        return not printed
    if shown[0] == "…":
        return any(same(shown[1:], printed[start:]) for start in range(len(printed) + 1))
    return bool(printed) and alike(shown[0], printed[0]) and same(shown[1:], printed[1:])


def alike(one: str, other: str) -> bool:
    number = r"(?<![\w.])-?\d+\.\d+(?![\w.])"
    pairs = zip(re.findall(number, one), re.findall(number, other), strict=False)
    return re.sub(rf" *{number}", "#", one) == re.sub(rf" *{number}", "#", other) and all(
        abs(float(a) - float(b)) <= TOLERANCE for a, b in pairs
    )


if __name__ == "__main__":
    sys.exit(main())
