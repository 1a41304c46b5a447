"""The command line itself: help, options, errors of usage."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Annotated

import pytest
import typer
from typer import Argument, Option

from svs.cli import options
from tests.helpers import REPOSITORY
from tests.helpers.command import assert_refused, call, svs

pytestmark = pytest.mark.usefixtures("alone")


HEAVY = {"keras", "tensorflow", "torch", "librosa", "museval", "matplotlib", "pandas", "zarr", "scipy"}


def test_help_imports_nothing_heavy_and_says_every_option():
    code = (
        "import sys; from svs.cli import main\n"
        f"assert not {HEAVY!r} & set(sys.modules), {HEAVY!r} & set(sys.modules)\n"
        "sys.argv = ['svs', '--help']; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for command in ("extract", "train", "score", "methods", "doctor"):
        assert command in done.stdout


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("extract", ["-f", "-H", "-w", "-sr", "-iw", "-sp", "-ow", "-q", "-v", "-h", "ITERATIONS", "MODE"]),
        ("train", ["-e", "-b", "-q", "--init", "--network", "NAME", "STORE", "MODE"]),
        ("score", ["--musdb", "--protocol", "--tracks", "--estimates", "METHOD"]),
        ("methods", ["--weights"]),
        ("doctor", ["--full", "--json"]),
    ],
)
def test_the_options_of_the_dissertation(command, words, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert call(command, "-h") == 0
    said = capsys.readouterr().out
    assert all(word in said for word in words)


USAGE = {
    "an unknown option": (["separate", "a.wav", "--foo"], "no such option: --foo .*see `svs separate -h`"),
    "a command that is none": (["speparate"], "no such command 'speparate'. Did you mean 'separate'.; see `svs -h`"),
    "an option before the command": (["--foo", "separate"], "no such option: --foo; see `svs -h`"),
    "a missing argument": (["extract", "a"], "missing argument 'OUT'; see `svs extract -h`"),
    "no recording": (["voice"], "missing argument 'RECORDING'; see `svs voice -h`"),
    "a missing option": (["compare"], "missing option '--against'; see `svs compare -h`"),
    "too many arguments": (["train", "a", "b", "SVS", "d"], "unexpected extra argument.*see `svs train -h`"),
    "a word for a number": (["separate", "a.wav", "--start", "x"], "'--start': expected a valid number"),
    "a number out of range": (
        ["separate", "a.wav", "--start", "-3"],
        "'--start': expected greater than or equal to 0|'--start': expected to be greater",
    ),
    "a word for a count": (["extract", "a", "b", "many", "SVS"], "'ITERATIONS': expected a valid integer"),
    "an option without its value": (["separate", "a.wav", "-m"], "'-m' requires an argument; see `svs separate -h`"),
    "a value for a flag": (["separate", "a.wav", "--quiet=3"], "'--quiet' does not take a value"),
    "no name of a method": (["separate", "a.wav", "-m", "hpss,"], "--method 'hpss,': expected names of methods"),
}


@pytest.mark.parametrize("kind", USAGE)
def test_usage_errors_are_one_line(kind, place):
    words, match = USAGE[kind]
    assert_refused(svs(*words), match, 2)
    assert os.listdir(place) == []


@pytest.mark.parametrize("words", [["-h"], ["--help"], [], ["separate", "-h"], ["--version"]])
def test_help_is_no_error(words):
    ran = svs(*words)
    assert ran.code == 0 and ran.err == "" and ran.out
    assert words == ["--version"] or "Usage: svs " in ran.out


@dataclass(kw_only=True)
class Given(options.Tuned):
    name: Annotated[str, Argument()]
    label_width: Annotated[int | None, Option("-ow")] = None
    words: Annotated[list[str], Option("--word")] = field(default_factory=list)
    hidden: int = 3


def test_the_fields_of_a_dataclass_are_options(capsys):
    """Called after the fields, those of every command last; a field that is not annotated is none."""
    names = [each.name for each in options.parameters(Given)]
    assert names == ["name", "label_width", "words", "project", "overrides", "quiet", "verbose"]
    asked = []

    def function(given: Given, more: int = 1) -> None:
        asked.append((given, more))

    app = typer.Typer()
    app.command()(options.command(function))
    app(["x", "-ow", "5", "--word", "a", "--word", "b", "-S", "seed=3", "--more", "2"], standalone_mode=False)
    assert asked == [(Given(name="x", label_width=5, words=["a", "b"], overrides=["seed=3"]), 2)]


def test_ctrl_c_ends_with_a_line_that_says_what_to_do(place, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(options.Tuned, "open", interrupted)
    ran = svs("methods")
    assert (ran.code, ran.err) == (130, "interrupted: run again to continue\n")
