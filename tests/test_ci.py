"""The workflow on GitHub: linted, and its own steps run here with a stand-in for `gh`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.helpers import REPOSITORY

PROGRAMS = Path(sys.executable).parent
FILE = REPOSITORY / ".github/workflows/ci.yml"
WORKFLOW = yaml.load(FILE.read_text(), Loader=yaml.BaseLoader)  # BaseLoader: `on` is a word
JOBS = WORKFLOW["jobs"]
STEPS = [(job, step) for job, content in JOBS.items() for step in content["steps"]]


def step(job: str, name: str) -> dict:
    return next(step for step in JOBS[job]["steps"] if name in (step.get("name"), step.get("id")))


def run(script: str, folder: Path, **environment) -> subprocess.CompletedProcess:
    """A step as GitHub runs it."""
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize(
    "words",
    [
        ["zizmor", "--offline", "--no-progress", ".github"],
        ["check-jsonschema", "--builtin-schema", "vendor.github-workflows", str(FILE)],
    ],
)
def test_linters_have_nothing_to_say(words):
    done = subprocess.run([PROGRAMS / words[0], *words[1:]], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "couldn't parse" not in done.stderr, done.stderr  # zizmor goes on after an expression that is none


def test_the_linter_would_find_what_matters(tmp_path):
    """That zizmor is set up to fail: an interpolated title, a movable tag, rights for all."""
    bad = FILE.read_text().replace("printf '\\n'", 'echo "${{ github.event.pull_request.title }}"', 1)
    assert bad != FILE.read_text()
    (tmp_path / "ci.yml").write_text(bad)
    done = subprocess.run([PROGRAMS / "zizmor", "--offline", tmp_path / "ci.yml"], capture_output=True, text=True)
    assert done.returncode and "template-injection" in done.stdout


@pytest.mark.parametrize("script", [item["run"] for _, item in STEPS if "run" in item])
def test_scripts_of_steps(script):
    assert "${{" not in script, "what others write must not become part of a script"
    done = subprocess.run(
        [PROGRAMS / "shellcheck", "--shell", "bash", "-"], input=script, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_actions_are_pinned_and_rights_are_few():
    for _, item in STEPS:
        if "uses" in item:
            assert re.fullmatch(r"actions/[a-z/-]+@[0-9a-f]{40}", item["uses"])
    assert WORKFLOW["permissions"] == {"contents": "read"}
    rights = {job: content.get("permissions") for job, content in JOBS.items()}
    assert rights == {
        "core": None,
        "pipeline": None,
        "comment": {"pull-requests": "write"},
        "pages": {"pages": "read"},
        "publish": {"pages": "write", "id-token": "write"},
    }
    assert "pull_request_target" not in WORKFLOW["on"]
    for job in ("comment", "pages", "publish"):
        assert not any("checkout" in item.get("uses", "") for item in JOBS[job]["steps"]), (
            "a job that may write must not run the code of a branch"
        )


def test_a_pull_request_from_a_fork_needs_no_right_to_comment():
    assert "head.repo.full_name == github.repository" in JOBS["comment"]["if"]
    assert JOBS["comment"]["continue-on-error"] == "true"
    assert all("comment" not in content.get("needs", []) for content in JOBS.values())


def test_what_is_public_holds_generated_audio_only():
    made = step("pipeline", "made")["run"]
    assert "svs report" in made and "--audio generated" in made
    folder = re.search(r"--output (\S+)", made)[1]
    uploads = [item["with"]["path"] for _, item in STEPS if "upload-" in item.get("uses", "")]
    assert uploads.count(folder) == 2  # for whoever looks at the pull request, and for Pages
    assert set(uploads) == {folder, "build/compare", "build/compare/compare.png"}
    assert (REPOSITORY / ".ci/run").read_text().count('tools/compare.sh "$against" build/compare') == 1


def gh(folder: Path, *said: str, code: int = 0) -> str:
    """A stand-in for `gh` that keeps its arguments and the body, for PATH."""
    programs = folder / "programs"
    programs.mkdir()
    (programs / "gh").write_text(
        "#!/bin/sh\nprintf '%s\\n' \"$@\" > called\nfor last; do :; done\n"
        f'[ ! -f "$last" ] || cp "$last" body\nprintf \'%s\\n\' {" ".join(said)}\n'
        f"exit {code}\n"
    )
    (programs / "gh").chmod(0o755)
    return f"{programs}{os.pathsep}{os.environ['PATH']}"


def test_the_comment(tmp_path):
    (tmp_path / "comparison").mkdir()
    (tmp_path / "comparison/comment.md").write_text("## Scores\n")
    item = step("comment", "Write it, or write it anew")
    assert {"GH_TOKEN", "GH_REPO"} <= set(item["env"])
    done = run(item["run"], tmp_path, PATH=gh(tmp_path), NUMBER="7", FIGURE="https://example.org/f", REPORT="")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "called").read_text().split() == [
        "pr",
        "comment",
        "7",
        "--edit-last",
        "--create-if-none",
        "--body-file",
        "comparison/comment.md",
    ]
    assert (tmp_path / "body").read_text() == "## Scores\n\n[Boxplots before and after](https://example.org/f)\n\n"


def test_the_summary(tmp_path):
    (tmp_path / "build/compare").mkdir(parents=True)
    (tmp_path / "build/compare/comment.md").write_text("## Scores\n")
    done = run(
        step("pipeline", "Summary")["run"],
        tmp_path,
        FIGURE="",
        REPORT="https://example.org/r",
        GITHUB_STEP_SUMMARY=str(tmp_path / "summary"),
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "summary").read_text() == "## Scores\n\n[Report, to unpack and open](https://example.org/r)\n"


@pytest.mark.parametrize(("said", "code", "published"), [("workflow", 0, True), ("legacy", 0, False), ("", 1, False)])
def test_pages_are_published_only_where_they_are_switched_on(tmp_path, said, code, published):
    done = run(
        step("pages", "ask")["run"],
        tmp_path,
        PATH=gh(tmp_path, f"'{said}'", code=code),
        GITHUB_REPOSITORY="somebody/svs",
        GITHUB_OUTPUT=str(tmp_path / "out"),
        GITHUB_STEP_SUMMARY=str(tmp_path / "summary"),
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "called").read_text().split()[:2] == ["api", "repos/somebody/svs/pages"]
    assert (tmp_path / "out").exists() == published
    assert (tmp_path / "summary").exists() != published
    if published:
        assert (tmp_path / "out").read_text() == "published=true\n"


def test_the_script_falls_back_to_a_revision_that_is_there(tmp_path):
    """Without REV, and without a branch main: HEAD; and a revision that is none stops it."""
    script = (REPOSITORY / "tools/compare.sh").read_text()
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/compare.sh").write_text(script)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("python", "dvc"):  # what they are asked for; the whole of it runs in test_pipeline.py
        (programs / name).write_text(
            f'#!/bin/sh\necho {name} "$@" >> asked\n'
            "case $* in *--output*) echo changes > build/compare/compare.md;; esac\n"
        )
        (programs / name).chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    command = "sh tools/compare.sh"
    done = run(command, tmp_path, PATH=path, GIT_CEILING_DIRECTORIES=str(tmp_path.parent))
    assert done.returncode == 1 and "there is no commit to compare with" in done.stderr
    who = "git -c user.name=t -c user.email=t@example.org"
    run(f"git init -q -b trunk && {who} commit -q --allow-empty -m start", tmp_path)
    for branch, revision in (("trunk", "HEAD"), ("main", "main")):
        run(f"git checkout -q -B {branch}", tmp_path)
        done = run(command, tmp_path, PATH=path)
        assert done.returncode == 0, done.stderr
        assert f"comparing with {revision}\n" in done.stderr
    asked = (tmp_path / "asked").read_text()
    for words in (
        "python -m svs.cli compare --against main",
        "dvc metrics diff --md main",
        "dvc params diff --md main",
        "dvc plots diff main",
    ):
        assert words in asked


@pytest.mark.slow
def test_no_test_begins_when_its_time_is_over():
    """On a slow machine `.ci/run` ends in time, and says what it left out."""
    words = ["-n0", "-p", "no:cacheprovider", "--slow", "-m", "slow", "--until", "1", "tests/test_memory.py"]
    done = subprocess.run([sys.executable, "-m", "pytest", *words], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0 and "(--until) is over" in done.stdout, done.stdout
    assert re.search(r"^=+ \d+ skipped in ", done.stdout, re.MULTILINE), done.stdout
