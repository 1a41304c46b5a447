"""A hook of mkdocs: pages of the site that are made from other files when it is built.

README is the front page, and CHANGELOG and its like are pages.  What pages link to outside docs/ comes along.
The reference is made from the commands (typer) and from params.yaml.
"""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

import typer
from mkdocs.structure.files import File
from typer.cli import get_docs_for_click

from svs.cli import app

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "THIRD_PARTY.md"]
LINK = re.compile(r"(?<=\]\()(?!\w+:)([^)#\s]+)")  # the path of a relative link


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages, and all files outside docs/ that pages link to."""
    linked = [ROOT / page for page in PAGES]
    for page in files.documentation_pages():
        linked += _targets(Path(page.abs_src_path))
    for path in linked:  # grows
        if uri_of(path) not in files.src_uris:
            files.append(File.generated(config, uri_of(path), abs_src_path=str(path)))
            linked += _targets(path)
    files.append(File.generated(config, "assets/icon.svg", abs_src_path=str(ROOT / "svs/app/static/icon.svg")))
    for name, content in [("command-line", command_line()), ("parameters", parameters())]:
        files.append(File.generated(config, f"reference/{name}.md", content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Let links between files of the repository be links between pages of the site."""
    if page.file.abs_src_path is None:
        return markdown
    source, here = Path(page.file.abs_src_path), PurePosixPath(page.file.src_uri).parent
    return LINK.sub(lambda link: os.path.relpath(uri_of(source.parent / link[1]), here), markdown)


def uri_of(path: Path) -> str:
    """Where the site has a file of the repository."""
    name = Path(os.path.normpath(path)).relative_to(ROOT).as_posix()
    if name.startswith("docs/"):
        return name.removeprefix("docs/")
    return name if path.suffix in (".md", ".png") else f"{name}.txt"  # so that browsers show it


def _targets(path: Path) -> list[Path]:
    """What a page links to, outside docs/."""
    if path.suffix != ".md":
        return []
    links = [Path(os.path.normpath(path.parent / link)) for link in LINK.findall(path.read_text(encoding="utf-8"))]
    return [link for link in links if ROOT / "docs" not in link.parents]


def command_line() -> str:
    """The help of all commands."""
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="svs")
    text = get_docs_for_click(obj=command, ctx=context, name="svs", title="Command line")
    return re.sub(r"\*\*Commands\*\*:.*?(?=\n## )", "", text, flags=re.DOTALL)  # a list of shortened texts


def parameters() -> str:
    """A table for each group of params.yaml: key, value and comment of every parameter."""
    rows: list[list[str]] = []
    path: list[str] = []
    above = ""
    for line in (ROOT / "params.yaml").read_text(encoding="utf-8").splitlines():
        content, _, comment = line.partition("#")
        indent, content = len(content) - len(content.lstrip()), content.strip()
        if not content and indent > 20:  # the last comment goes on
            rows[-1][2] += comment
        elif not content:
            above += comment if indent else ""
        elif content.startswith("- "):
            rows[-1][1] += content[1:]
        else:
            key, _, value = content.partition(":")
            path[indent // 2 :] = [key]
            rows.append([".".join(path), value.strip(), above + comment])
            above = ""
    text = ["# Parameters\n\nThe chosen profile (`profiles.NAME`) overrides the shared groups above it."]
    said = [row for row in rows if any(row[1:])]
    for group, members in itertools.groupby(said, key=lambda row: re.match(r"(profiles\.)?\w+", row[0])[0]):
        text += ["", f"## {group}", "", "| parameter | value | meaning |", "| --- | --- | --- |"]
        for key, value, meaning in members:
            cells = [f"`{key}`", f"`{value}`" if value else "", meaning.strip().replace("|", "\\|")]
            text.append(f"| {' | '.join(cells)} |")
    return "\n".join(text)
