"""`svs methods` as a person calls it."""

from __future__ import annotations

import pytest

from svs import separators
from tests.helpers.command import call

pytestmark = pytest.mark.usefixtures("alone")


def test_methods_are_listed_with_what_they_wait_for(home, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SVS_WEIGHTS", str(tmp_path))
    monkeypatch.delenv("SVS_OFFLINE", raising=False)
    assert call("methods", "--project", home, "-S", "methods.cnn_separator.needs=nowhere") == 0
    lines = capsys.readouterr().out.splitlines()
    states = {line.split()[0]: line.split()[1] for line in lines if not line.startswith(" ")}
    assert list(states) == list(separators.methods())
    assert states["mixture"] == states["hpss"] == states["oracle_ibm"] == "ready"
    assert states["cnn_separator"] == states["openunmix"] == states["spleeter"] == "missing"
    assert any("dvc repro train@cnn_separator" in line for line in lines)
    assert not list(tmp_path.iterdir()), "nothing is downloaded"
