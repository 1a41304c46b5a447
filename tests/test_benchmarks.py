"""The benchmarks' own arithmetic: limits, the comparison of two runs, and that random nets go through all of it."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from benchmarks import __main__ as bench
from benchmarks import worst
from benchmarks.__main__ import Row, compared


def test_a_row_below_its_limit_says_so_and_ends_with_one(monkeypatch, capsys, tmp_path):
    rows = [Row("slow / fast", 1.0, 2.0, "s", 0.5, 0.8), Row("without a goal", 1.0, 2.0, "s", 0.5, None)]
    monkeypatch.setattr(bench, "measured", lambda options: iter(rows))
    with pytest.raises(SystemExit) as ended:
        bench.run(["--json", str(tmp_path / "new.json")])
    assert ended.value.code == 1
    _, slow, free = capsys.readouterr().out.splitlines()
    assert slow.endswith("0.8  below") and free.endswith("-")
    assert json.loads((tmp_path / "new.json").read_text())["rows"] == [asdict(row) for row in rows]
    monkeypatch.setattr(bench, "measured", lambda options: iter(rows[1:]))
    with pytest.raises(SystemExit) as ended:
        bench.run([])
    assert ended.value.code == 0


def test_two_runs_are_compared_by_their_ratios():
    old = {"rows": [asdict(Row("a", 1, 2, "s", 0.5, 0.8)), asdict(Row("gone", 1, 1, "s", 1.0, None))]}
    new = {"rows": [asdict(Row("a", 10, 10, "s", 1.0, 0.8)), asdict(Row("new", 1, 4, "s", 0.25, None))]}
    head, a, gone, came = compared(old, new).splitlines()
    assert a.split() == ["a", "0.50", "1.00", "+100%", "0.8"]
    assert gone.split()[1:3] == ["1.00", "-"] and came.split()[1:3] == ["-", "0.25"]


def _tone(hertz: float, level: float) -> np.ndarray:
    return level * np.sin(2 * np.pi * hertz * np.arange(44100) / 44100).astype(np.float32)[:, None]


def test_an_error_is_found_in_its_band():
    assert worst.bands(_tone(300, 0.1), 44100) == pytest.approx([0, 1, 0, 0, 0, 0], abs=0.01)
    assert worst.bands(_tone(9000, 0.1) + _tone(60, 0.1), 44100) == pytest.approx([0.5, 0, 0, 0, 0, 0.5], abs=0.01)


def test_an_error_has_its_origin():
    true = {"vocals": _tone(1000, 0.1), "bass": _tone(100, 0.1), "drums": _tone(5000, 0.01)}
    true["mixture"] = sum(true.values())
    halved = worst.origins(true, true["mixture"] / 2, 44100)
    assert halved == pytest.approx({"lost": -6.02, "bass": -6.02, "drums": -26.02}, abs=0.1)
    with_bass = worst.origins(true, true["vocals"] + true["bass"], 44100)
    assert with_bass["bass"] == pytest.approx(0, abs=0.1)
    assert max(with_bass["lost"], with_bass["drums"]) < -30  # the windows leak a little
