"""dvc.yaml against the code: every stage has its script, and depends on the code that it runs."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

from svs.networks import ON_MIXES
from svs.separators import REGISTRY

ROOT = Path(__file__).resolve().parent.parent
DAG = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
STAGES = {name: stage.get("do", stage) for name, stage in DAG.items()}

PARAMETERS = yaml.safe_load((ROOT / "params.yaml").read_text())

# Modules without science: a change in them changes how a stage runs, not what it computes.
# (settings: its values are tracked as parameters; audio: reading and writing samples;
# devices: what a batch is spread over; fanout: where tracks are worked on; weights: finding files;
# worker: pipes to another environment.)
PLUMBING = {"svs", "svs.audio.sources", "svs.runtime.unavailable", "svs.training.devices", "svs.errors", "svs.runtime.cluster", "svs.runtime.files",
            "svs.networks", "svs.config.paths", "svs.evaluation.sisec18", "svs.report", "svs.runtime.process", "svs.evaluation.museval_json", "svs.separators",
            "svs.config.schema", "svs.data.pretrained", "svs.runtime.worker"}

# What else a stage imports only to find its data, not to compute with.
READING = {"svs.data.dataset": {"download"}, "svs.data.download": {"download"}, "svs.data.synthetic": {"download"},
           # The names of methods come with the registry, and it with these.
           "svs.separators.base": {"separate"}, "svs.dsp.stft": {"extract", "separate", "score", "score_vad"},
           "svs.networks.archive": {"pretrain", "train", "train_vad"},
           "svs.features.store": {"extract", "pretrain", "train", "train_vad"}}


def imported(module: str) -> set[str]:
    """The svs modules that a module imports by name."""
    path = ROOT / (module.replace(".", "/") + ".py")
    if not path.exists():
        path = ROOT / module.replace(".", "/") / "__init__.py"
    found = set()
    tree = ast.parse(path.read_text())
    # What is imported for the types alone does not run.
    tree.body = [node for node in tree.body
                 if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "svs"}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "svs":
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                is_module = (ROOT / (name.replace(".", "/") + ".py")).exists() or \
                    (ROOT / name.replace(".", "/") / "__init__.py").exists()
                found.add(name if is_module else node.module)
    return found


def closure(module: str) -> set[str]:
    seen, waiting = set(), [module]
    while waiting:
        for found in imported(waiting.pop()) - seen:
            seen.add(found)
            waiting.append(found)
    return seen


def test_every_stage_is_the_script_of_its_name():
    scripts = {path.stem for path in (ROOT / "stages").glob("*.py")}
    assert scripts == set(STAGES)
    for name, stage in STAGES.items():
        assert stage["cmd"].split()[:3] == ["python", "-m", f"stages.{name}"]


@pytest.mark.parametrize("name", [name for name in STAGES if name != "train"])
def test_a_stage_depends_on_the_code_that_it_runs(name):
    declared = {dep for dep in STAGES[name]["deps"] if dep.endswith(".py")}
    assert f"stages/{name}.py" in declared
    modules = closure(f"stages.{name}")
    # What the registries import by name.
    registered = {"pretrain": ["svs.networks.cnn_deep_separator"], "train_vad": ["svs.networks.vad"]}
    for module in registered.get(name, []):
        modules |= closure(module)
        assert module.replace(".", "/") + ".py" in declared
    undeclared(name, modules, declared)


@pytest.mark.parametrize("model", PARAMETERS["train"])
def test_a_training_depends_on_the_code_that_it_runs(model):
    # What params.yaml doesn't list is trained by a line like cnn_separator's.
    source = PARAMETERS["models"].get(model, PARAMETERS["models"]["cnn_separator"])
    # Nets are trained on excerpts or on mixtures, and nothing of the other kind is run.
    excerpts, mixes = {"svs.training.excerpts", "svs.networks.layers"}, {"svs.training.mixtures", "svs.training.on_mixtures"}
    other = excerpts if model in ON_MIXES else mixes
    assert "svs/models/${key}.py" in STAGES["train"]["deps"]
    declared = {*STAGES["train"]["deps"], *source.values(), f"svs/models/{model}.py"}
    undeclared("train", (closure("stages.train") | closure(f"svs.networks.{model}")) - other, declared)


@pytest.mark.parametrize("method", REGISTRY)
def test_a_method_depends_on_the_code_that_it_runs(method):
    declared = {dep for dep in STAGES["separate"]["deps"] if dep.endswith(".py")} | {f"svs/separators/{method}.py"}
    # What a method waits for may be code.
    declared.add(str(PARAMETERS["methods"].get(method)))
    undeclared("separate", closure(f"svs.separators.{method}"), declared)


def undeclared(name, modules, declared):
    for module in modules - PLUMBING:
        if module in READING and name not in READING[module]:
            continue
        path = module.replace(".", "/") + ".py"
        assert path in declared, f"stage {name} runs {path}, but a change in it would not run the stage again"


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_has_a_dependency_and_no_absolute_path(name):
    stage = STAGES[name]
    assert stage["deps"], "a stage without dependencies is never restored from the run-cache"
    for entry in (*stage["deps"], *stage.get("outs", [])):
        path = entry if isinstance(entry, str) else next(iter(entry))
        assert not path.startswith(("/", "..")), path


def test_the_library_knows_nothing_of_dvc_or_stages():
    for path in (ROOT / "svs").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else \
                [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] in ("dvc", "stages") for name in names), path
