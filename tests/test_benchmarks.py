"""The benchmarks' own arithmetic: limits, the comparison of two runs, and that random nets go through all of it."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from benchmarks import __main__ as bench
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
