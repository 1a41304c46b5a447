"""Paired differences: the median, its interval, and the table against published systems."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from svs.evaluation.paired import against_published, median_difference, standing
from svs.evaluation.tables import PAIRED_COLUMNS, published_table, second_table
from tests.evaluation.test_tables import NAN, write


def test_median_and_counts():
    found = median_difference(np.array([1.0, -2.0, 0.005, NAN, 3.0]), 1)
    assert (found.tracks, found.difference) == (4, pytest.approx(0.5025))
    assert (found.wins, found.ties, found.losses) == (2, 1, 1)
    assert found.low <= found.difference <= found.high


@pytest.mark.parametrize(
    ("values", "low", "high"), [([], NAN, NAN), ([NAN], NAN, NAN), ([2.0], NAN, NAN), ([2.0, 2.0, 2.0], 2.0, 2.0)]
)
def test_intervals_of_little(values, low, high):
    found = median_difference(np.array(values), 1)
    np.testing.assert_equal((found.low, found.high), (low, high))


def test_the_interval_covers_the_true_median_as_often_as_it_says():
    rng = np.random.default_rng(5)
    covered = [
        found.low <= 0.5 <= found.high
        for found in (median_difference(rng.laplace(0.5, 1.0, 50), seed) for seed in range(300))
    ]
    assert 0.9 <= np.mean(covered) <= 0.99


def test_the_interval_is_the_order_statistics_of_the_binomial():
    # Without resampling: the median's interval lies between order statistics with at least 95 % between them.
    values = np.sort(np.random.default_rng(6).normal(size=50))
    found = median_difference(values, 1)
    from scipy.stats import binom

    lowest, highest = int(binom.ppf(0.005, 50, 0.5)) - 1, int(binom.ppf(0.995, 50, 0.5)) + 1
    assert values[lowest] <= found.low <= values[24] and values[25] <= found.high <= values[highest]


def test_the_seed_decides_the_interval():
    values = np.random.default_rng(7).normal(size=20)
    assert median_difference(values, 3) == median_difference(values, 3)


def test_few_tracks_of_one_sign_exclude_zero_and_others_do_not():
    assert median_difference(-np.array([0.1, 0.2, 0.3, 0.4]), 1).high < 0
    found = median_difference(np.array([-0.1, -0.2, -0.3, 0.4]), 1)
    assert found.low < 0 < found.high


@pytest.fixture
def folders(tmp_path):
    write(tmp_path / "ours", "net", "a", [1.0, 2.0, NAN, 4.0], [5.0, 6.0, NAN, 8.0])
    write(tmp_path / "ours", "net", "b", [3.0], [3.0])
    write(tmp_path / "theirs", "SYS1", "a", [0.0, NAN, 7.0, 3.0, 9.0], [5.0, NAN, 7.0, 8.0, 9.0])
    write(tmp_path / "theirs", "SYS1", "not ours", [0.0], [0.0])
    return tmp_path


def test_tracks_are_paired_on_the_frames_that_are_finite_in_both(folders):
    table = against_published(folders / "ours", ["net"], folders / "theirs", ["SYS1"], 1)
    assert list(table.columns) == list(PAIRED_COLUMNS)
    vocals, accompaniment = table.to_dict("records")
    # Frames 0 and 3: ours 1 and 4, theirs 0 and 3.
    assert (vocals["tracks"], vocals["difference"], vocals["wins"]) == (1, 1.0, 1)
    assert (accompaniment["difference"], accompaniment["ties"]) == (0.0, 1)


def test_all_in_one_ranking():
    columns = ["method", "track", "target", "SDR"]
    ours = pd.DataFrame(
        [
            ("net", "a", "vocals", 4.0),
            ("net", "a", "accompaniment", 9.0),
            ("net", "b", "vocals", 6.0),
            ("net", "b", "accompaniment", 8.0),
            ("old", "a", "vocals", 1.0),
            ("old", "a", "accompaniment", 2.0),
        ],
        columns=columns,
    )
    published = pd.DataFrame(
        [("SYS1", "a", "vocals", 4.5), ("SYS1", "a", "accompaniment", 7.0), ("REST", "a", "accompaniment", 3.0)],
        columns=columns,
    )
    comparison = pd.DataFrame(
        [
            ("net", "SYS1", "vocals", 5, 1.234, 0.5, 2.0, 5, 0, 0),
            ("net", "SYS1", "accompaniment", 5, -9.0, -10.0, 8.0, 5, 0, 0),
            ("old", "SYS1", "vocals", 5, 7.0, 7.0, 7.0, 0, 0, 5),
        ],
        columns=list(PAIRED_COLUMNS),
    )
    lines = standing(ours, published, comparison, ["old", "net"]).splitlines()
    assert "net less that" in lines[0]
    assert [line.split() for line in lines[1:]] == [
        ["net", "5.00", "8.50"],
        ["SYS1", "4.50", "7.00", "+1.23", "[+0.50,", "+2.00]", "-9.00", "[-10.00,", "+8.00]"],
        ["old", "1.00", "2.00"],
        ["REST", "-", "3.00"],
    ]


def test_without_published_systems_the_tables_have_their_columns(folders):
    assert list(against_published(folders / "ours", ["net"], folders / "theirs", [], 1).columns) == list(PAIRED_COLUMNS)
    assert published_table(folders / "theirs", []).empty


def test_seconds_of_every_track_side_by_side(folders, settings):
    write(folders / "ours", "other", "a", [9.0, 9.0, 9.0, 9.0], [9.0, 9.0, 9.0, 9.0])
    passage = settings.score.passage.model_copy(update={"start": 0.8})
    table = second_table(folders / "ours", ["net", "other"], settings.score.model_copy(update={"passage": passage}))
    assert list(table.columns) == ["track", "target", "second", "net", "other"]
    assert list(table["second"][:4]) == [0.8, 1.8, 2.8, 3.8] and len(table) == 10
    assert list(table["target"][:5]) == ["vocals"] * 4 + ["accompaniment"]
    np.testing.assert_equal(list(table["net"][:4]), [1.0, 2.0, NAN, 4.0])
    assert table["other"].isna().sum() == 2  # it has no track b
