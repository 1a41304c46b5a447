"""The pictures of the guides: python tools/pictures.py [--project FOLDER]

Of a project in which the pipeline ran, and of the song of the guides (tools/outputs.py):

  docs/images/separate.png   the picture that the default method of `svs separate` leaves
  docs/images/web_page.png   the web page, after the default method and repet_sim
  docs/images/report.png     the real song in the report of the pipeline

It needs Chromium, the extras `app` and `test`, and MUSDB18's previews.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from outputs import ROOT, with_a_song
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from svs.data.synthetic import REAL_SONG

FOLDER = ROOT / "docs/images"
WIDTH = 1280  # pixels
COLOURS = 256  # of a picture, so that it has about half a MB at most
SECOND = "repet_sim"  # the method beside the default


def svs(*words: object) -> list[str]:
    return [sys.executable, "-m", "svs.cli", *map(str, words)]


@contextmanager
def served(project: Path) -> Iterator[str]:
    """The address of the web page."""
    command = svs("app", "--no-open", "--port", 0, "--project", project)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        lines = []
        for line in process.stdout or ():
            lines.append(line)
            if found := re.search(r"http://\S+/", line):
                yield found[0]
                return
        sys.exit(f"`svs app` ended without an address:\n{''.join(lines)}")
    finally:
        process.terminate()
        process.wait()


def show_results(page: Page, url: str, song: Path) -> None:
    """Fill the form of the web page as a person does, and wait for the results."""
    page.goto(url)
    page.wait_for_selector("#svs-go")
    page.wait_for_timeout(3000)  # the page may be shown before its scripts listen
    page.locator("#svs-song input[type=file]").set_input_files(song)
    page.locator("#svs-about").get_by_text("kHz").wait_for()
    page.locator(".svs-method", has=page.get_by_text(SECOND, exact=True)).locator("input").check()
    page.locator("#svs-go").click()
    page.get_by_text("Ready in").wait_for()
    page.wait_for_function("[...document.images].every(image => image.complete)")
    page.wait_for_timeout(1000)  # players show how long their audio is


def separated(song: Path, project: Path) -> str:
    """The picture beside the results of the default method; returns its name."""
    out = song.parent / "out"
    subprocess.run(svs("separate", song, "--project", project, "-o", out, "-q"), check=True)
    picture = next(out.rglob("spectrogram.png"))
    shutil.copy(picture, FOLDER / "separate.png")
    return picture.parent.name


def browsed(song: Path, project: Path, method: str) -> None:
    """The web page and the report in a browser."""
    with served(project) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 900})
        page.set_default_timeout(60_000)
        show_results(page, url, song)
        page.screenshot(path=FOLDER / "web_page.png", full_page=True)
        page.goto((project / "plots/report/index.html").absolute().as_uri())
        track = page.locator("article.track", has=page.get_by_role("heading", name=REAL_SONG))
        if track.locator("details").first.get_attribute("open") is None:
            track.locator("summary").first.click()
        track.locator(f"input[value='{method}.vocals']").check(force=True)  # it lies under its label
        page.wait_for_timeout(1000)  # pictures are loaded when they are seen
        track.screenshot(path=FOLDER / "report.png")
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, default=ROOT)
    project = parser.parse_args().project
    with tempfile.TemporaryDirectory() as folder:
        if (place := with_a_song(Path(folder))) is None:
            sys.exit(1)
        song = place.folder / "Arise.flac"
        browsed(song, project, separated(song, project))
    for name in ("separate", "web_page", "report"):
        with Image.open(FOLDER / f"{name}.png") as picture:
            few = picture.convert("RGB").quantize(COLOURS)
        few.save(FOLDER / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
