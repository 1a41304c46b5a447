"""dvc.yaml against the code: every stage has its script, and depends on the code that it runs."""

from __future__ import annotations

import ast

import pytest
import yaml

from svs.networks import networks
from svs.separators import methods
from tests.helpers import REPOSITORY

DAG = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]
STAGES = {name: stage.get("do", stage) for name, stage in DAG.items()}
WIRING = yaml.safe_load((REPOSITORY / "wiring.yaml").read_text())

# Code that changes how a stage runs, not what it computes: parameters (their values are tracked), processes, files and
# errors, and names.  The look of a figure is tracked by the figures' stages alone.
EXEMPT = ("svs/__init__.py", "svs/config/", "svs/runtime/", "svs/errors.py", "svs/stems.py")


def path_of(module: str) -> str | None:
    """The file of a module, relative to the repository."""
    for path in (f"{module.replace('.', '/')}.py", f"{module.replace('.', '/')}/__init__.py"):
        if (REPOSITORY / path).is_file():
            return path
    return None


def imported(path: str) -> set[str]:
    """Files below svs/ that a file imports by name, wherever in it."""
    tree = ast.parse((REPOSITORY / path).read_text())
    # What is imported for the types alone does not run.
    tree.body = [
        node for node in tree.body if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    ]
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    found = {path_of(module) for module in modules if module.split(".")[0] == "svs"} - {None}
    return {file for file in found if not empty(file)}


def empty(path: str) -> bool:
    """Whether a package's `__init__.py` holds nothing but its docstring."""
    return path.endswith("__init__.py") and len(ast.parse((REPOSITORY / path).read_text()).body) <= 1


def closure(*paths: str, without: tuple[str, ...] = ()) -> set[str]:
    """Everything that files import, and what that imports, but for what is exempt."""
    seen, waiting = set(paths), list(paths)
    while waiting:
        for found in imported(waiting.pop()) - seen - set(without):
            if not found.startswith(EXEMPT):
                seen.add(found)
                waiting.append(found)
    return seen


def declared(stage: str, **item: str) -> set[str]:
    """Code that a stage depends on, for one line of wiring.yaml."""
    found = set()
    for dep in STAGES[stage]["deps"]:
        for key, value in item.items():
            dep = dep.replace("${item." + key + "}", str(value))
        found.add(dep)
    return {dep for dep in found if dep.endswith(".py")}


def undeclared(code: set[str], deps: set[str]) -> set[str]:
    return {path for path in code if path not in deps and not any(path.startswith(f"{dep}/") for dep in deps)}


def test_every_stage_is_the_script_of_its_name():
    scripts = {path.stem for path in (REPOSITORY / "stages").glob("*.py")}
    assert scripts == set(STAGES)
    for name, stage in STAGES.items():
        assert stage["cmd"].split()[:3] == ["python", "-m", f"stages.{name}"]


@pytest.mark.parametrize("name", [name for name in STAGES if name not in ("train", "separate")])
def test_a_stage_depends_on_the_code_that_it_runs(name):
    # What a registry imports by name.
    named = {"pretrain": ["svs/networks/cnn_deep_separator.py"], "train_vad": ["svs/networks/vad.py"]}
    # A training on excerpts runs nothing of one on mixtures.
    code = closure(f"stages/{name}.py", *named.get(name, []))
    assert not undeclared(code, declared(name)), "a change of these would not run the stage again"
    assert not declared(name) - code, "the stage runs nothing of these"


@pytest.mark.parametrize("model", WIRING["models"])
def test_a_training_depends_on_the_code_that_it_runs(model):
    wiring = WIRING["models"][model]
    other = {True: "svs/training/on_excerpts.py", False: "svs/training/on_mixtures.py"}[networks()[model].on_mixtures]
    code = closure("stages/train.py", f"svs/networks/{wiring['code']}.py", without=(other,))
    assert not undeclared(code, declared("train", **wiring))
    assert not declared("train", **wiring) - code


@pytest.mark.parametrize("method", WIRING["methods"])
def test_a_method_depends_on_the_code_that_it_runs(method):
    wiring = WIRING["methods"][method]
    code = closure("stages/separate.py", f"svs/separators/{wiring['code']}.py")
    assert not undeclared(code, declared("separate", **wiring))
    assert not declared("separate", **wiring) - code


def test_wiring_names_what_there_is():
    assert set(WIRING["methods"]) <= set(methods())
    assert set(WIRING["models"]) <= set(networks())


def test_an_exemption_is_used():
    every = {found for name in STAGES for found in imported(f"stages/{name}.py")}
    for exempt in EXEMPT[1:3]:
        assert any(path.startswith(exempt) for path in every), exempt


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_has_a_dependency_and_no_absolute_path(name):
    stage = STAGES[name]
    assert stage["deps"], "a stage without dependencies is never restored from the run-cache"
    for entry in (*stage["deps"], *stage.get("outs", [])):
        path = entry if isinstance(entry, str) else next(iter(entry))
        assert not path.startswith(("/", "..")), path


def test_the_library_knows_nothing_of_dvc_or_stages():
    for path in (REPOSITORY / "svs").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            assert not any(name.split(".")[0] in ("dvc", "stages") for name in names), path
