"""dvc.yaml against the code: every stage has its script, and depends on the code that it runs."""

from __future__ import annotations

import ast

import grimp
import pytest
import yaml

from svs.networks import networks
from svs.separators import Kind, methods, of_kind
from svs.services import enhancement
from tests.helpers import REPOSITORY

DAG = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]
STAGES = {name: stage.get("do", stage) for name, stage in DAG.items()}
WIRING = yaml.safe_load((REPOSITORY / "wiring.yaml").read_text())

# Code that changes how a stage runs, not what it computes: parameters (DVC tracks their values), processes, files,
# errors and names.  `svs.runtime.files.fingerprint` leaves out the same.
EXEMPT = ("svs/config/", "svs/runtime/", "svs/errors.py", "svs/stems.py")


def imports() -> grimp.ImportGraph:
    """The import graph; what is imported for types alone does not run."""
    return grimp.build_graph("svs", "stages", exclude_type_checking_imports=True, cache_dir=None)


def path_of(module: str) -> str:
    """The file of a module, relative to the repository."""
    path = module.replace(".", "/")
    return f"{path}/__init__.py" if (REPOSITORY / path).is_dir() else f"{path}.py"


def module_of(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def closure(*paths: str, without: tuple[str, ...] = ()) -> set[str]:
    """Everything that files import, directly or not, but for what is exempt."""
    graph = imports()
    for path in without:
        graph.remove_module(module_of(path))
    modules = {module_of(path) for path in paths}
    found = {path_of(module) for start in modules for module in {start} | graph.find_upstream_modules(start)}
    return {path for path in found if not path.startswith(EXEMPT)}


def declared(stage: str, **item: str) -> set[str]:
    """Code that a stage depends on, for one line of wiring.yaml."""
    found = set()
    for dep in STAGES[stage]["deps"]:
        for key, value in item.items():
            dep = dep.replace("${item." + key + "}", str(value))
        found.add(dep)
    return {dep for dep in found if dep.endswith(".py") or (REPOSITORY / dep / "__init__.py").is_file()}


def unused(deps: set[str], code: set[str]) -> set[str]:
    """Dependencies that name no code that runs, as a file or as a folder above it."""
    return {dep for dep in deps if dep not in code and not any(path.startswith(f"{dep}/") for path in code)}


def undeclared(code: set[str], deps: set[str]) -> set[str]:
    """Code that no dependency names, as a file or as a folder above it."""
    return {path for path in code if path not in deps and not any(path.startswith(f"{dep}/") for dep in deps)}


def test_every_stage_is_the_script_of_its_name():
    scripts = {path.stem for path in (REPOSITORY / "stages").glob("*.py")}
    assert scripts == set(STAGES)
    for name, stage in STAGES.items():
        assert stage["cmd"].split()[:3] == ["python", "-m", f"stages.{name}"]


@pytest.mark.parametrize("name", [name for name in STAGES if name not in ("train", "separate", "denoise")])
def test_a_stage_depends_on_the_code_that_it_runs(name):
    # A registry imports these by name.
    named = {"pretrain": ["svs/networks/cnn_deep_separator.py"], "train_vad": ["svs/networks/vad.py"]}
    named["download"] = [f"svs/data/layouts/{path.name}" for path in (REPOSITORY / "svs/data/layouts").glob("*.py")]
    code = closure(f"stages/{name}.py", *named.get(name, []))
    assert not undeclared(code, declared(name)), "a change of these would not run the stage again"
    assert not unused(declared(name), code), "the stage runs nothing of these"


@pytest.mark.parametrize("model", WIRING["models"])
def test_a_training_depends_on_the_code_that_it_runs(model):
    wiring = WIRING["models"][model]
    # A training on excerpts runs nothing of one on mixtures.
    other = {True: "svs/training/on_excerpts.py", False: "svs/training/on_mixtures.py"}[networks()[model].on_mixtures]
    code = closure("stages/train.py", f"svs/networks/{wiring['code']}.py", without=(other,))
    assert not undeclared(code, declared("train", **wiring))
    assert not unused(declared("train", **wiring), code)


@pytest.mark.parametrize("method", WIRING["methods"])
def test_a_method_depends_on_the_code_that_it_runs(method):
    wiring = WIRING["methods"][method]
    code = closure("stages/separate.py", f"svs/separators/{wiring['code']}.py")
    assert not undeclared(code, declared("separate", **wiring))
    assert not unused(declared("separate", **wiring), code)


@pytest.mark.parametrize("method", WIRING["enhancers"])
def test_an_enhancer_depends_on_the_code_that_it_runs(method):
    wiring = WIRING["enhancers"][method]
    code = closure("stages/denoise.py", f"svs/separators/{wiring['code']}.py")
    assert not undeclared(code, declared("denoise", **wiring))
    assert not declared("denoise", **wiring) - code


def test_wiring_names_what_there_is():
    assert set(WIRING["methods"]) <= set(methods())
    assert set(WIRING["models"]) <= set(networks())
    assert set(WIRING["enhancers"]) <= {*enhancement.METHODS, "mixture", *of_kind(Kind.ORACLE)}


def test_an_exemption_is_used():
    graph = imports()
    every = {path_of(found) for name in STAGES for found in graph.find_upstream_modules(f"stages.{name}")}
    for exempt in EXEMPT:
        assert any(path.startswith(exempt) for path in every), exempt


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_has_a_dependency_and_no_absolute_path(name):
    stage = STAGES[name]
    assert stage["deps"], "a stage without dependencies is never restored from the run-cache"
    for entry in (*stage["deps"], *stage.get("outs", [])):
        path = entry if isinstance(entry, str) else next(iter(entry))
        assert not path.startswith(("/", "..")), path


def test_no_dependency_is_a_part_of_an_output():
    """DVC can't restore a stage from its cache that depends on such a part if Git names an output that is not there."""
    outs = {
        entry if isinstance(entry, str) else next(iter(entry))
        for stage in STAGES.values()
        for kind in ("outs", "metrics", "plots")
        for entry in stage.get(kind, [])
    }
    wired = [value for key in ("methods", "models") for item in WIRING[key].values() for value in item.values()]
    for dep in {*(dep for stage in STAGES.values() for dep in stage["deps"]), *wired}:
        assert not [out for out in outs if dep.startswith(f"{out}/")], dep


OF_DVC = REPOSITORY / "svs/services/repositories.py"  # what it is for: networks in DVC's remotes


def test_the_library_knows_nothing_of_dvc_or_stages():
    for path in set((REPOSITORY / "svs").rglob("*.py")) - {OF_DVC}:
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            assert not any(name.split(".")[0] in ("dvc", "stages") for name in names), path
