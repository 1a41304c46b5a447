"""Boxplots: order, medians, marks, and tracks without a score."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
import pytest

from svs.evaluation import denoised
from svs.figures import improvements, style
from svs.figures import scores as figure_scores
from tests.helpers.figures import MEDIANS, scores, texts


def test_boxes_are_sorted_by_the_median_of_the_vocals():
    figure = figure_scores.sdr_boxplot(scores(), "scored: everything")
    vocals, accompaniment = figure.axes
    assert (vocals.get_title(loc="left"), accompaniment.get_title(loc="left")) == ("vocals", "accompaniment")
    ticks = [label.get_text() for label in vocals.get_yticklabels()]
    assert ticks == ["oracle_ibm  8.00", "better  5.00", "ours  3.00", "mixture  -5.00"]
    top, bottom = sorted(vocals.get_ylim(), reverse=True)
    assert vocals.yaxis_inverted() and (top, bottom) == (3.5, -0.5)  # the best on top
    for axis in figure.axes:
        assert "SDR in dB" in axis.get_xlabel()
    assert "scored: everything" in texts(figure)


def test_dollar_signs_are_no_formulas(tmp_path):
    """In the name of the folder of a data set or of somebody's estimates."""
    figure = figure_scores.sdr_boxplot(scores({"$_$": 1.0}), "3 test tracks of $50%_$100; points are tracks")
    style.save(figure, tmp_path / "boxes.png")
    assert {r"\$_\$  1.00", r"3 test tracks of \$50%_\$100; points are tracks"} <= set(texts(figure))


def test_each_data_set_has_a_row():
    published = scores({"MIX": -6.0})  # of songs of mine
    figure = figure_scores.sdr_boxplot(two_sets(), "", published)
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert titles == ["mine: vocals", "mine: accompaniment", "theirs: vocals", "theirs: accompaniment"]
    ticks = [[label.get_text() for label in axis.get_yticklabels()] for axis in figure.axes[::2]]
    assert ticks == [
        ["oracle_ibm  8.00", "better  5.00", "ours  3.00", "mixture  -5.00", "MIX  -6.00"],
        ["ours  9.00", "mixture  1.00"],
    ]


@pytest.mark.parametrize(("index", "gap"), [(0, 0.0), (1, 6.0)])
def test_boxes_show_the_medians_of_their_target(index, gap):
    axis = figure_scores.sdr_boxplot(scores(), "").axes[index]
    medians = [
        line.get_xdata()[0]
        for line in axis.lines
        if len(set(line.get_xdata())) == 1 and len(line.get_xdata()) == 2 and line.get_linestyle() == "-"
    ]
    for method in MEDIANS.values():
        assert any(value == pytest.approx(method + gap) for value in medians)
    points = np.concatenate([np.asarray(dots.get_offsets())[:, 0] for dots in axis.collections])
    assert len(points) == 12  # every track is a point


@pytest.mark.parametrize(("index", "gap"), [(0, 0.0), (1, 6.0)])
def test_floor_and_ceiling_are_marked(index, gap):
    axis = figure_scores.sdr_boxplot(scores(), "").axes[index]
    dashed = sorted(line.get_xdata()[0] for line in axis.lines if line.get_linestyle() == "--")
    assert dashed == [-5.0 + gap, 8.0 + gap]
    marks = {item.get_text(): item.xy[0] for item in axis.texts}
    assert marks == {"floor": -5.0 + gap, "ceiling": 8.0 + gap}
    grey = matplotlib.colors.to_rgb(style.LIMIT)
    colours = [box.get_facecolor()[:3] for box in axis.patches]
    assert [np.allclose(colour, grey, atol=0.15) for colour in colours] == [True, False, False, True]


def test_methods_that_others_trained_are_no_method_of_ours():
    axes = figure_scores.sdr_boxplot(scores(MEDIANS | {"spleeter": 6.0}), "").axes
    legend = axes[1].get_legend()
    colours = {
        text.get_text(): patch.get_facecolor()
        for text, patch in zip(legend.get_texts(), legend.get_patches(), strict=True)
    }
    assert list(colours) == ["this repository", "pretrained by others", "floors and ceilings"]
    order = [label.get_text().split()[0] for label in axes[0].get_yticklabels()]
    box = axes[0].patches[order.index("spleeter")].get_facecolor()
    assert np.allclose(box, colours["pretrained by others"], atol=0.15)  # seaborn desaturates
    assert not np.allclose(box, colours["this repository"], atol=0.15)


def test_no_marks_without_floor_and_ceiling():
    axis = figure_scores.sdr_boxplot(scores({"ours": 1.0, "theirs": 2.0}), "").axes[0]
    assert not axis.texts and all(line.get_linestyle() != "--" for line in axis.lines)


def test_a_track_without_a_score_is_left_out_of_the_box():
    table = scores()
    table.loc[(table["method"] == "ours") & (table["track"] == "t0"), "SDR"] = np.nan
    ticks = [label.get_text() for label in figure_scores.sdr_boxplot(table, "").axes[0].get_yticklabels()]
    assert "ours  3.50" in ticks


@pytest.mark.parametrize("target", ["vocals", "accompaniment"])
def test_a_target_without_any_score_has_no_boxes(target):
    """One test track whose vocals are silent."""
    table = scores().assign(ISR=1.0, SIR=2.0, SAR=3.0)
    table.loc[table["target"] == target, "SDR"] = np.nan
    figures = [
        figure_scores.sdr_boxplot(table, ""),
        figure_scores.revisions_boxplot(("main", table), ("branch", table), ""),
    ]
    for figure in figures:
        empty = [axis.get_title(loc="left") for axis in figure.axes if not axis.patches]
        assert empty == [target]
    table["SDR"] = np.nan
    assert not figure_scores.measures_boxplot(table, "").axes[0].patches


def test_rulers_have_panels_with_their_units():
    table = scores().assign(ISR=1.0, SIR=2.0, SAR=3.0, uSDR=4.0, MR_STFT=90.0, NSDR=float("nan"))
    axes = figure_scores.measures_boxplot(table, "").axes
    titles = [axis.get_title(loc="left") for axis in axes]
    assert titles == ["SDR", "ISR", "SIR", "SAR", "uSDR", "MR_STFT"], "a figure without a value has no panel"
    assert axes[-1].get_xlabel() == "nats, lower is better" and axes[-2].get_xlabel() == "dB"
    assert len(figure_scores.measures_boxplot(table.drop(columns=["uSDR", "MR_STFT", "NSDR"]), "").axes) == 4


def two_sets():
    """Scores of two data sets; the second has fewer methods."""
    other = scores({"ours": 9.0, "mixture": 1.0}).assign(dataset="theirs")
    other["track"] += " of theirs"
    return pd.concat([scores().assign(dataset="mine"), other], ignore_index=True)


def named(axis):
    return [label.get_text() for label in axis.get_yticklabels()]


def test_measures_of_each_data_set_have_a_row():
    table = two_sets().assign(ISR=1.0, SIR=2.0, SAR=3.0)
    figure = figure_scores.measures_boxplot(table, "")
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert titles == [f"{name}: {measure}" for name in ("mine", "theirs") for measure in ("SDR", "ISR", "SIR", "SAR")]
    assert named(figure.axes[0]) == ["oracle_ibm", "better", "ours", "mixture"]
    assert named(figure.axes[4]) == ["ours", "mixture"]
    assert not any(axis.get_legend() for axis in figure.axes) and len(figure.legends) == 1


def test_revisions_of_each_data_set_have_a_row():
    """The earlier revision scored one of the two alone, and its table has no column of data sets."""
    figure = figure_scores.revisions_boxplot(("main", scores()), ("branch", two_sets()), "")
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert titles == ["mine: vocals", "mine: accompaniment", "theirs: vocals", "theirs: accompaniment"]
    assert named(figure.axes[0])[2:] == ["ours  3.00 → 3.00", "mixture  -5.00 → -5.00"]
    assert named(figure.axes[2]) == ["ours  – → 9.00", "mixture  – → 1.00"]
    assert not any(axis.get_legend() for axis in figure.axes) and len(figure.legends) == 1


def test_no_recording_in_noise_is_no_box(tmp_path):
    figure = improvements.improvement_boxplot(pd.DataFrame(columns=list(denoised.COLUMNS)), "0 recordings in noise")
    style.save(figure, tmp_path / "boxes.png")
    assert texts(figure) == ["0 recordings in noise"] and not figure.axes
