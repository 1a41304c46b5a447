"""The picture of the web page in its guide: python tools/web_page.py [--project FOLDER]

Serves the page of the project, gives it the song of the guides (tools/outputs.py), separates it by the default method
and by repet_sim, and writes docs/images/web_page.png.  It needs Chromium, the extras `app` and `test`, and MUSDB18's
previews.
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

from outputs import ROOT, prepared, preview
from PIL import Image
from playwright.sync_api import Page, sync_playwright

PICTURE = ROOT / "docs/images/web_page.png"
WIDTH = 1280  # pixels
COLOURS = 128  # of the picture: half a MB
SECOND = "repet_sim"  # the method beside the default


@contextmanager
def served(project: Path) -> Iterator[str]:
    """The address of the page."""
    command = [sys.executable, "-m", "svs.cli", "app", "--no-open", "--port", "0", "--project", str(project)]
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


def separated(page: Page, url: str, song: Path) -> None:
    """Fill the form as a person does, and wait for the results."""
    page.set_default_timeout(60_000)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, default=ROOT)
    options = parser.parse_args()
    song = preview()
    if song is None:
        sys.exit("MUSDB18's previews are not at hand; name their folder with SVS_PREVIEWS")
    with tempfile.TemporaryDirectory() as folder, served(options.project) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 900})
        separated(page, url, prepared(Path(folder), song) / "Arise.flac")
        page.screenshot(path=PICTURE, full_page=True)
        browser.close()
    with Image.open(PICTURE) as picture:
        few = picture.convert("RGB").quantize(COLOURS)
    few.save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
