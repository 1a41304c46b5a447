"""Every page of the repository: what it links to, and what it names (commands, options, parameters, files), exists."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from dvc.cli import DvcParserError
from dvc.cli.parser import get_main_parser

from svs.cli import app
from svs.cli.options import Tuned
from svs.errors import SVSError
from tests.helpers import REPOSITORY

PAGES = [page for folder in (".", "docs/**") for page in sorted(REPOSITORY.glob(f"{folder}/*.md"))]
each_page = pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(REPOSITORY)) for page in PAGES])
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ADDED = re.compile(r"^  (\w+): \{<<", re.MULTILINE)
NOT_OURS = {
    ".",
    ".ci/run",
    "cat",
    "cd",
    "docker",
    "echo",
    "ffmpeg",
    "git",
    "gto",
    "pip",
    "ruff",
}  # programs of shell blocks that are not looked into
FOLDERS = r"\.ci|\.dvc|\.github|benchmarks|data|docs|metrics|models|plots|results|stages|svs|tests|tools"
PATH = re.compile(rf"({FOLDERS})/[\w.@{{}},*/-]*|[\w-]+\.(md|yaml|toml|lock|txt)")
WIRING = yaml.safe_load((REPOSITORY / "wiring.yaml").read_text())
PARAMETERS = yaml.safe_load((REPOSITORY / "params.yaml").read_text()) | {
    key: WIRING[key] for key in ("methods", "models", "enhancers")
}
PIPELINE = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())


def read(page: Path) -> str:
    """The text of a page, without the old names in the first column of CHANGELOG's tables.

    A name that the page tells its reader to add to wiring.yaml becomes NAME.
    """
    text = page.read_text(encoding="utf-8")
    if page.name == "CHANGELOG.md":
        text = re.sub(r"^\|[^|]*\|", "|", text, flags=re.MULTILINE)
    added = {key for language, block in FENCED.findall(text) if language == "yaml" for key in ADDED.findall(block)}
    return re.sub(rf"\b({'|'.join(added)})\b", "NAME", text) if added else text


def spans(text: str) -> list[str]:
    """Inline code of the prose."""
    return re.findall(r"`([^`]+)`", FENCED.sub("", text))


# Commands


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Command lines of a page, each with the line of output that a block shows below it."""
    for language, block in FENCED.findall(text):
        lines = block.replace("\\\n", " ").splitlines()
        for line, below in itertools.pairwise([*lines, ""]):
            if language == "sh" and line.strip() and not line.startswith("#"):
                yield line, ""
            elif line.startswith("$ "):
                yield line[2:], below
    for span in spans(text):
        if re.match(r"(svs|make|dvc|dask|python -m) \S", span):
            yield span, ""


def simple_commands(line: str) -> Iterator[list[str]]:
    """The words of each command of a line of shell, without the variables set before it."""
    lexer = shlex.shlex(line.replace("…", ""), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for token in [*lexer, ";"]:
        if set(token) <= set("();<>|&"):
            if words:
                yield words
            words = []
        elif words or not re.match(r"[A-Z_]+=", token):
            words.append(token)


def problems(line: str) -> list[str]:
    """What a command line names that does not exist."""
    found = []
    for words in simple_commands(line):
        match words:
            case ["svs", *rest] | ["python", "-m", "svs.cli", *rest]:
                found += of_click(typer.main.get_command(app), rest)
                found += of_parameters(values(rest, "-S", "--set"))
            case ["dask", ("scheduler" | "worker") as name, *rest]:
                found += of_click(import_module(f"distributed.cli.dask_{name}").main, rest)
            case ["dvc", *rest]:
                found += of_dvc(rest)
            case ["make", *rest]:
                found += of_make(rest)
            case ["python", "-m", module, *rest]:
                found += of_module(module, rest)
            case [program, *_] if program not in NOT_OURS:
                found.append(f"{program}: not a program that this test knows")
    return found


def options(words: list[str]) -> set[str]:
    return {word.partition("=")[0] for word in words if re.match(r"--?[A-Za-z]", word)}


def values(words: list[str], *names: str) -> list[str]:
    """What follows an option."""
    return [after for word, after in itertools.pairwise(words) if word in names]


def of_click(command: Any, words: list[str]) -> list[str]:
    """Options and subcommands that a command of click or typer lacks."""
    if names := getattr(command, "commands", None):
        called = next((word for word in words if not word.startswith("-")), None)
        if called is not None and called not in names:
            return [f"{called}: no such command"]
        if called is not None:
            return of_click(names[called], words[words.index(called) + 1 :])
    known = {"-h", "--help"}.union(*([*one.opts, *one.secondary_opts] for one in command.params))
    return [f"{option}: no option of {command.name}" for option in options(words) - known]


def of_dvc(words: list[str]) -> list[str]:
    try:
        parsed = get_main_parser().parse_args(words)
    except DvcParserError:
        return [f"dvc {shlex.join(words)}: not a command of dvc"]
    if parsed.func.__name__ not in ("CmdRepro", "CmdExperimentsRun"):
        return []
    given = getattr(parsed, "set_param", None) or []
    # DVC itself wants a plus before a parameter that is not in the file.
    # A list is a grid in the queue: each of its values is tried.
    given = [
        f"{key}={value}"
        for key, _, values in (one.partition("=") for one in given)
        for value in ([values] if values.startswith(("[", "{")) else values.split(","))
    ]
    absent = [one for one in given if one[0] != "+" and not is_parameter(one.partition("=")[0], inherited=False)]
    return [
        *(f"{target}: no such stage" for target in parsed.targets if not is_stage(target)),
        *(f"{one}: not in params.yaml; write +{one}" for one in absent),
        *of_parameters([one.lstrip("+") for one in given]),
    ]


def is_stage(target: str) -> bool:
    """Whether dvc.yaml has a stage; NAME@PLACEHOLDER stands for one of several."""
    if target.endswith("dvc.yaml"):
        return True
    name, _, item = target.partition("@")
    stage = PIPELINE["stages"].get(name)
    if stage is None or "foreach" not in stage:
        return stage is not None and not item
    return item.isupper() or item in PARAMETERS[stage["foreach"].strip("${}")]


def of_parameters(given: list[str]) -> list[str]:
    """Overrides that svs refuses."""
    if given == ["KEY=VALUE"]:
        return []
    try:
        Tuned(project=REPOSITORY, overrides=given).open()
    except SVSError as error:
        return [str(error)]
    return []


def of_make(words: list[str]) -> list[str]:
    """A target or variable that the Makefile lacks, or what is wrong with the commands that make would run."""
    makefile = (REPOSITORY / "Makefile").read_text()
    named = [word.partition("=")[0] for word in words if "=" in word]
    unknown = [f"{name}: no variable of the Makefile" for name in named if f"\n{name} ?=" not in makefile]
    # `make test` sets variables for the makes below it.
    clean = {
        key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKEOVERRIDES", "ARGS", "REV")
    }
    done = subprocess.run(["make", "--dry-run", *words], cwd=REPOSITORY, env=clean, capture_output=True, text=True)
    if done.returncode:
        return [done.stderr]
    run = [line for line in done.stdout.splitlines() if line.startswith(("svs ", "dvc ", "python -m "))]
    return unknown + [problem for line in run if "pip" not in line for problem in problems(line)]


def of_module(module: str, words: list[str]) -> list[str]:
    """A module that does not exist, or options that it does not declare."""
    if module in ("pip", "venv"):
        return []
    if module == "pytest":
        known = pytest_options()
    else:
        path = REPOSITORY / re.sub(r"\.[A-Z]+$", "", module).replace(".", "/")
        file = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
        if not file.is_file():
            return [f"{module}: no such module"]
        known = {"-h", "--help", *re.findall(r"[\"'](--?[a-z][\w-]*)[\"']", file.read_text(encoding="utf-8"))}
    return [f"{option}: no option of {module}" for option in options(words) - known]


@cache
def pytest_options() -> set[str]:
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "--help"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return set(re.findall(r"(?<!\w)--?[a-z][\w-]*", told.stdout))


@each_page
def test_commands_and_their_options_exist(page):
    wrong = []
    for line, below in commands(read(page)):
        found = problems(line)
        refused = re.match(r"error: no such option: (\S+)", below)  # a block that shows what svs says of a mistake
        if refused:
            assert [problem for problem in found if problem.startswith(f"{refused[1]}: ")], f"{line}: now an option"
        elif found:
            wrong.append(f"{line}: {'; '.join(found)}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("svs seperate song.mp3", "seperate"),
        ("svs separate song.mp3 --methods hpss", "--methods"),
        ("svs separate song.mp3 -m hpss && svs vad song.mp3 --gate 1", "--gate"),
        ("svs separate song.mp3 -S separate.cnn.gat=0.3", "gat"),
        ("make rebuild", "rebuild"),
        ("make gate REVISION=main", "REVISION"),
        ("make test ARGS=--fast", "--fast"),
        ("make repro ARGS=train@lstm", "train@lstm"),
        ("SVS_DEVICES=all dvc repo", "dvc repo"),
        ("dvc metrics dif", "dif"),
        ("dvc repro tarin", "tarin"),
        ("dvc exp run -S profile=smaple", "profile"),
        ("dvc exp run -S separate.cnn_separator.gate=0.3", "+separate"),
        ("python -m benchmarks.leak", "benchmarks.leak"),
        ("python -m benchmarks.bleed --spilt test", "--spilt"),
        ("dask worker tcp://HOST:8786 --threads 1", "--threads"),
        ("conda install svs", "conda"),
    ],
)
def test_a_wrong_command_is_found(line, part):
    assert any(part in problem for problem in problems(line))


# Links


def anchors(page: Path) -> set[str]:
    """GitHub's anchors of a page's headings."""
    found: list[str] = []
    for heading in re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text(encoding="utf-8")), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading).lower()).replace(" ", "-")
        again = sum(slug == one or re.fullmatch(rf"{re.escape(slug)}-\d+", one) is not None for one in found)
        found.append(f"{slug}-{again}" if again else slug)
    return set(found)


def broken_links(text: str, page: Path) -> list[str]:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCED.sub("", text)):
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        if re.match(r"https?://", target):
            continue
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    return broken


@each_page
def test_links_and_anchors_resolve(page):
    assert not broken_links(page.read_text(encoding="utf-8"), page)


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# The `svs` command, twice\n\n# A b\n\n# A b\n\n```\n# no heading\n```\n")
    assert anchors(page) == {"the-svs-command-twice", "a-b", "a-b-1"}
    wrong = ["other.md", "#a-c", "page.md#no-heading"]
    right = ["page.md", "#a-b-1", "page.md#a-b", "https://example.org/#nowhere"]
    assert broken_links("".join(f"[text]({target})" for target in wrong + right), page) == wrong


# Parameters, files, modules and variables


def is_parameter(key: str, inherited: bool = True) -> bool:
    """Whether params.yaml or wiring.yaml has a key; `*` and words in capitals stand for any.

    With `inherited`, the group that a net shares with others counts too.
    """
    shared = re.sub(r"\b(train\.)cnn_\w+", r"\1excerpts", re.sub(r"\b(separate\.)cnn_\w+", r"\1cnn", key))
    return _holds(PARAMETERS, key.split(".")) or (inherited and _holds(PARAMETERS, shared.split(".")))


def _holds(node: Any, parts: list[str]) -> bool:
    if not parts or not isinstance(node, dict):
        return not parts
    any_of_them = parts[0] == "*" or parts[0].isupper()
    children = list(node.values()) if any_of_them else [node[parts[0]]] if parts[0] in node else []
    return any(_holds(child, parts[1:]) for child in children)


def exists(path: str) -> bool:
    """Whether the repository has a path, or the pipeline makes it; {a,b}, * and words in capitals stand for several."""
    if braces := re.search(r"\{([^{}]*)\}", path):
        return all(exists(path.replace(braces[0], one, 1)) for one in braces[1].split(","))
    pattern = re.sub(r"\b[A-Z]{2,}\b(?=/|$|\.)", "*", path.rstrip("/"))
    if pattern == ".dvc/cache":  # DVC makes it
        return True
    if any(REPOSITORY.glob(pattern)):
        return True
    made: list[str] = []
    for stage in PIPELINE["stages"].values():
        stage = stage.get("do", stage)
        for kind in ("outs", "metrics", "plots"):
            made += [out if isinstance(out, str) else next(iter(out)) for out in stage.get(kind, [])]
    made = [out.replace("${key}", key) for out in made for key in ("*", *WIRING["models"], *WIRING["methods"])]
    return any(pattern == out or pattern.startswith(f"{out}/") or out.startswith(f"{pattern}/") for out in made)


def is_module(name: str) -> bool:
    """Whether a dotted name below svs is a module, or a name that one of them (or a class there) defines."""
    parts, path = name.split("."), REPOSITORY
    while parts and ((path / parts[0]).is_dir() or (path / f"{parts[0]}.py").is_file()):
        path /= parts.pop(0)
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = file.read_text(encoding="utf-8")
    return all(
        re.search(rf"\b(def|class|import|as) {part}\b|import .*\b{part}\b|^\s*{part}\b.*[=:]", text, re.MULTILINE)
        for part in parts
    )


def unknown_names(text: str) -> list[str]:
    """Inline code that looks like a parameter, a path, a module or a variable of svs and is none."""
    wrong = []
    for span in spans(text):
        key = span.partition(":")[0]
        if re.fullmatch(r"\w+(\.(\w+|\*))+", key) and key.partition(".")[0] in PARAMETERS:
            wrong += [] if is_parameter(key) else [span]
        elif re.fullmatch(r"svs(\.\w+)+", span):
            wrong += [] if is_module(span) else [span]
        elif PATH.fullmatch(span):
            wrong += [] if exists(span) else [span]
    return wrong + sorted(set(re.findall(r"\bSVS_[A-Z]+\b", text)) - variables())


@cache
def variables() -> set[str]:
    """Variables of the environment that the code reads."""
    sources = [*REPOSITORY.glob("svs/**/*.py"), *REPOSITORY.glob("tools/*.sh"), REPOSITORY / ".ci/run"]
    sources.append(REPOSITORY / "tests/conftest.py")
    return {name for file in sources for name in re.findall(r"\bSVS_[A-Z]+\b", file.read_text(encoding="utf-8"))}


@each_page
def test_parameters_files_modules_and_variables_exist(page):
    assert not unknown_names(read(page))


def test_a_wrong_name_is_found():
    right = ["separate.cnn_separator.gate", "score.engine: museval", "profiles.full.train.*", "svs.separators.build"]
    right += ["svs/separators/NAME.py", "metrics/{scores,frames}.csv", "data/estimates/METHOD", "wiring.yaml"]
    wrong = ["separate.cnn_separator.gait", "score.engines: museval", "profiles.full.trains.*", "svs.nets.layers"]
    wrong += ["svs.separators.make", "svs/nets/NAME.py", "metrics/{scores,tables}.csv", "data/guesses/METHOD"]
    wrong += ["wires.yaml", "metrics/leaks.json"]
    assert unknown_names("".join(f"`{name}` " for name in right + wrong)) == wrong
    assert unknown_names("`SVS_OFFLINE=1`, `SVS_ONLINE=1`") == ["SVS_ONLINE"]
