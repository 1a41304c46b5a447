"""The form that keeps the code readable: few files at the root, short functions and classes."""

from __future__ import annotations

import ast

import pytest

from tests.helpers import REPOSITORY

LONGEST = {ast.FunctionDef: 60, ast.AsyncFunctionDef: 60, ast.ClassDef: 150}  # lines


def test_at_most_eight_files_at_the_root():
    assert len(list((REPOSITORY / "svs").glob("*.py"))) <= 8


@pytest.mark.parametrize("folder", ["svs", "stages"])
def test_functions_and_classes_are_short(folder):
    long = []
    for path in sorted((REPOSITORY / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            lines = getattr(node, "end_lineno", 0) - getattr(node, "lineno", 0) + 1
            if lines > LONGEST.get(type(node), lines):
                long.append(f"{path.relative_to(REPOSITORY)}: {node.name}, {lines} lines")
    assert long == []
