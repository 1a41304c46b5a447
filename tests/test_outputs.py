"""`tools/outputs.py`: what counts as the same output."""

from __future__ import annotations

import importlib.util

import pytest

from tests.helpers import REPOSITORY

described = importlib.util.spec_from_file_location("outputs", REPOSITORY / "tools/outputs.py")
outputs = importlib.util.module_from_spec(described)
described.loader.exec_module(outputs)


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        (["hpss 1.08 dB"], ["hpss 1.08 dB"], True),
        (["hpss 1.08 dB"], ["hpss  1.09 dB"], True),
        (["hpss 1.08 dB"], ["hpss 1.80 dB"], False),
        (["hpss -0.31"], ["hpss 0.31"], False),
        (["one", "…", "four"], ["one", "two", "three", "four"], True),
        (["one", "…"], ["one"], True),
        (["one", "…", "four"], ["one", "two", "three"], False),
        (["one"], ["one", "two"], False),
    ],
)
def test_the_same_but_for_rounding(shown, printed, same):
    assert outputs.same(shown, printed) is same


def test_every_page_has_blocks_and_progress_is_left_out(tmp_path):
    for page in outputs.PAGES:
        assert outputs.BLOCK.search((REPOSITORY / page).read_text(encoding="utf-8")), page
    printed = outputs.run(
        r"printf '\rsong:  50%%|##  | 1/2 [00:01<00:01]\r      \rresult 1.5 s\n' >&2; echo $PWD", tmp_path
    )
    assert list(printed) == ["result 1.5 s", str(tmp_path)]
