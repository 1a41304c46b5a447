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
    for page in (page for pages in outputs.PAGES for page in pages):
        blocks = outputs.BLOCK.findall((REPOSITORY / page).read_text(encoding="utf-8"))
        assert any(outputs.COMMAND.match(block) for block in blocks), page
    printed = outputs.run(
        r"printf '\rsong:  50%%|##  | 1/2 [00:01<00:01]\r      \rresult 1.5 s\n' >&2; echo $PWD",
        outputs.Place(tmp_path, REPOSITORY),
    )
    assert list(printed) == ["result 1.5 s", str(tmp_path)]


def test_what_another_machine_prints_is_the_same_but_for_numbers():
    one = "cnn_separator         vocals   4.08  1.62  -2.38  [-2.69, -1.51]            0 / 0 / 4      4"
    other = "cnn_separator         vocals  14.08  1.70 -12.38  [-12.69, -1.51]           1 / 0 / 3      4"
    assert outputs.bare(one) == outputs.bare(other)
    assert outputs.bare("SDR in dB, main (a2f92cb) -> workspace") == outputs.bare(
        "SDR in dB, main (1234567) -> workspace"
    )
    assert outputs.bare(one) != outputs.bare(other.replace("vocals", "accompaniment"))
    assert outputs.bare("no score changed") != outputs.bare("error: worse than main")
    assert outputs.bare("$ svs gate --tolerance 1") != outputs.bare("$ svs gate --tolerance 2")
