"""The site of the documentation: built strictly, complete, and opened in a real browser from disk."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

from svs.cli import app
from tests.helpers import REPOSITORY

pytestmark = pytest.mark.slow
LOADED = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)=[\"']?((?:https?:)?//[^\"'\s>]+)")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    pytest.importorskip("mkdocs", reason="no mkdocs: pip install 'svs[docs]'")
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_no_page_loads_anything_from_elsewhere(site):
    texts = {page: page.read_text(encoding="utf-8") for page in site.rglob("*.html")}
    assert len(texts) > 20
    assert {page.name: found for page, text in texts.items() if (found := LOADED.findall(text))} == {}
    styles = "".join(style.read_text(encoding="utf-8") for style in site.rglob("*.css"))
    assert not re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//[^)\s]+", styles)


def test_the_reference_is_complete(site):
    commands = (site / "reference/command-line.html").read_text(encoding="utf-8")
    for name, command in typer.main.get_command(app).commands.items():
        assert f'id="svs-{name}"' in commands
        options = {option for one in command.params for option in one.opts if option.startswith("--")}
        assert not [option for option in options if option not in commands]
    parameters = (site / "reference/parameters.html").read_text(encoding="utf-8")
    rows = dict(re.findall(r"<td><code>([\w.]+)</code></td>\s*<td>(?:<code>)?(.*?)(?:</code>)?</td>", parameters))
    expected = leaves(yaml.safe_load((REPOSITORY / "params.yaml").read_text()))
    inline = tuple(f"{row}." for row, value in rows.items() if value.startswith("{"))  # {epochs: 6, mixes: 40}
    assert [key for key in expected if key not in rows and not key.startswith(inline)] == []
    assert rows["gate.tolerance"] == str(expected["gate.tolerance"])
    assert "dB that a method's median paired SDR may fall" in parameters


def leaves(tree: dict, above: str = "") -> dict:
    """Every parameter by its dotted key."""
    found = {}
    for key, value in tree.items():
        found |= leaves(value, f"{above}{key}.") if isinstance(value, dict) else {f"{above}{key}": value}
    return found


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_pages_in_a_browser(site, browser, width, scheme):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda sent: wrong.append(sent.url) if sent.url.startswith("http") else None)
    for name in ("index", "pipeline", "results", "adding", "reference/command-line", "reference/parameters"):
        page.goto((site / f"{name}.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} scrolls sideways"
        assert page.evaluate("[...document.images].filter(i => i.complete && !i.naturalWidth).length") == 0
    page.keyboard.press("/")
    page.keyboard.type("bleed")
    page.wait_for_selector(".md-search-result__item a[href*='results.html']")
    assert wrong == []
    context.close()
