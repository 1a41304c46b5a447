"""What commands print, as the guides show it: python tools/outputs.py [--check]

Runs the commands of each block that begins with `$ svs` or `$ dvc`, in a project that is trained, and writes what they
print below them: in some pages on a preview of MUSDB18, in others in a copy of the project, after the experiment that
the page describes.  With --check it writes nothing, and fails if a guide shows something else.  Paths are shown as of a
checkout in /srv/svs.  A line `…` stands for any lines; a block that has one is changed by hand.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from platformdirs import user_cache_path

ROOT = Path(__file__).parent.parent
SONG = "Arise - Run Run Run.stem.mp4"
PREVIEWS = Path(os.environ.get("SVS_PREVIEWS", ROOT.parent / "shared/data/musdb18-7"))
BLOCK = re.compile(r"(?<=\n)```(?:console)?\n(\$ .*?)```\n", re.DOTALL)
COMMAND = re.compile(r"\$ (?:[A-Z_]+=\S+ )?(?:svs|dvc|git checkout) ")
QUEUE = "$ dvc exp run --queue "  # names are drawn, and states depend on when one looks: shown, not run
EXPERIMENT = ("--name", "tight-judo", "-S", "+separate.cnn_separator.gate=0.5")  # the second one of docs/experiments.md
VARIES = "$ svs vad "  # by a network of ours, which each machine trains a little otherwise: shown, not compared
TOLERANCE = 0.03  # dB and s: another processor rounds otherwise


class Place(NamedTuple):
    """Where the commands of a page run.

    In a `trained` project scores depend on the machine, and names and times on the run: numbers are not compared.
    """

    folder: Path
    project: Path
    trained: bool = False


def main() -> int:
    check = "--check" in sys.argv[1:]
    stale = 0
    for pages, prepare in PAGES.items():
        with tempfile.TemporaryDirectory() as folder:
            if (place := prepare(Path(folder))) is None:
                continue
            for page in pages:
                text = (ROOT / page).read_text(encoding="utf-8")
                new = BLOCK.sub(partial(renewed, page, place, check), text)
                if new == text:
                    continue
                stale += 1
                told = "shows something else; run `make docs-outputs`" if check else "written"
                print(f"{page}: {told}", file=sys.stderr)
                if not check:
                    (ROOT / page).write_text(new, encoding="utf-8")
    return stale if check else 0


def preview() -> Path | None:
    """The song of the guides, if it is available."""
    return next((song for split in ("test", "train") if (song := PREVIEWS / split / SONG).is_file()), None)


def with_a_song(folder: Path) -> Place | None:
    """A folder with the song of the guides, and a cache with no weights but spleeter's."""
    if (song := preview()) is None:
        print(f"{SONG} is not below {PREVIEWS} (name a folder with SVS_PREVIEWS): nothing is compared", file=sys.stderr)
        return None
    for name, stream, codec in (("Arise.flac", 0, "flac"), ("Arise-vocals.wav", 4, "pcm_f32le")):
        words = ["ffmpeg", "-v", "error", "-i", song, "-map", f"0:{stream}", "-c:a", codec, folder / name]
        subprocess.run(words, check=True)
    weights = folder / "cache/svs/weights"
    weights.mkdir(parents=True)
    if (kept := user_cache_path("svs", appauthor=False) / "weights/spleeter").is_dir():
        (weights / "spleeter").symlink_to(kept)
    return Place(folder, ROOT)


def after_an_experiment(folder: Path) -> Place | None:
    """A copy of the checkout with its results as they are, in which `EXPERIMENT` has run."""
    copy = folder / "svs"
    cache = subprocess.run(["dvc", "cache", "dir"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
    changed = subprocess.run(
        ["git", "diff", "--name-only", "--diff-filter=d", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    subprocess.run(["git", "clone", "-q", ROOT, copy], check=True)
    for name in changed.stdout.splitlines():
        shutil.copy2(ROOT / name, copy / name)
    author = ("-c", "user.name=svs", "-c", "user.email=svs@example.org")
    for words in (
        ("git", "checkout", "-q", "-B", "main"),
        ("git", *author, "commit", "-q", "--all", "--allow-empty", "-m", "as it is"),
        ("dvc", "config", "-q", "--local", "cache.dir", cache),
        ("dvc", "config", "-q", "--local", "cache.type", "symlink"),
        ("dvc", "checkout", "-q"),
        ("dvc", "exp", "run", "-q", *EXPERIMENT),
    ):
        done = subprocess.run(words, cwd=copy, capture_output=True, text=True)
        if done.returncode:
            print(f"{' '.join(words)}: {done.stderr}\nrun `make repro` first: nothing is compared", file=sys.stderr)
            return None
    return Place(copy, copy, trained=True)


PAGES: dict[tuple[str, ...], Callable[[Path], Place | None]] = {
    ("docs/own-songs.md", "docs/options.md"): with_a_song,
    ("docs/experiments.md", "docs/compare.md"): after_an_experiment,  # the last block of the second one takes it back
}


def renewed(page: str, place: Place, check: bool, found: re.Match[str]) -> str:
    """A block with what its commands print now; the block itself where that is the same."""
    shown = found[1].splitlines()
    if shown[0].startswith(QUEUE) or not all(COMMAND.match(line) for line in shown if line.startswith("$ ")):
        return found[0]
    if check and shown[0].startswith(VARIES):
        return found[0]
    printed = [line for command in shown if command.startswith("$ ") for line in (command, *run(command[2:], place))]
    if same(shown, printed) or (
        check and place.trained and same(*(list(map(bare, each)) for each in (shown, printed)))
    ):
        return found[0]
    print(f"{page}: {shown[0]}\n" + "\n".join(f"  {line}" for line in printed), file=sys.stderr)
    if "…" in shown and not check:
        return found[0]
    return found[0].replace(found[1], "".join(f"{line}\n" for line in printed))


def run(command: str, place: Place) -> Iterator[str]:
    cache = place.folder / "cache"
    environment = {**os.environ, "SVS_PROJECT": str(place.project), "XDG_CACHE_HOME": str(cache), "COLUMNS": "120"}
    words = ["bash", "-c", f"({command}) 2>&1"]
    done = subprocess.run(words, cwd=place.folder, env=environment, stdout=subprocess.PIPE)
    text = re.sub(r"[^\r\n]*\d% ?\|[^\]\n]*\]", "", done.stdout.decode())  # progress
    lines = [line.rpartition("\r")[2].rstrip() for line in text.split("\n")]
    text = "\n".join(line for line in lines if line)
    yield from text.replace(str(cache), "/root/.cache").replace(str(place.project), "/srv/svs").splitlines()


def same(shown: list[str], printed: list[str]) -> bool:
    """Whether lines are the same but for the rounding of numbers; `…` stands for any lines."""
    if not shown:
        return not printed
    if shown[0] == "…":
        return any(same(shown[1:], printed[start:]) for start in range(len(printed) + 1))
    return bool(printed) and alike(shown[0], printed[0]) and same(shown[1:], printed[1:])


def bare(line: str) -> str:
    """A line of output without what differs from run to run: numbers, commits, times, and the widths of columns."""
    if line.startswith("$ "):
        return line
    line = re.sub(r"\b[0-9a-f]{7}\b|\d\d:\d\d [AP]M|[-+]?\b\d+(\.\d+)?\b", "#", line)
    return re.sub(r"[-\s]{2,}", " ", line)


def alike(one: str, other: str) -> bool:
    number = r"(?<![\w.])-?\d+\.\d+(?![\w.])"
    pairs = zip(re.findall(number, one), re.findall(number, other), strict=False)
    return re.sub(rf" *{number}", "#", one) == re.sub(rf" *{number}", "#", other) and all(
        abs(float(a) - float(b)) <= TOLERANCE for a, b in pairs
    )


if __name__ == "__main__":
    sys.exit(main())
