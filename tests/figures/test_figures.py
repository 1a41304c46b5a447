"""Figures: the same bytes from the same input, and what stands in them."""

import hashlib
import os
import subprocess
import sys

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from svs import networks as network_registry
from svs.audio.sources import ArraySource
from svs.config import schema
from svs.errors import DataError
from svs.figures import networks, spectrograms, style, training
from svs.figures import scores as figure_scores
from tests.helpers import REPOSITORY

MEDIANS = {"ours": 3.0, "mixture": -5.0, "oracle_ibm": 8.0, "better": 5.0}


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def scores(medians=MEDIANS):
    return pd.DataFrame(
        [
            {"method": method, "track": f"t{number}", "target": target, "SDR": median + shift + gap}
            for method, median in medians.items()
            for target, gap in (("vocals", 0), ("accompaniment", 6))
            for number, shift in enumerate((-2.0, 0.0, 1.0))
        ]
    )


def curve(*losses):
    return pd.DataFrame({"epoch": range(1, len(losses) + 1), "loss": losses, "val_loss": [x + 0.1 for x in losses]})


def tone(hertz, rate=22050, seconds=4.0):
    return ArraySource(0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate), rate)


def texts(figure):
    return [item.get_text() for item in figure.findobj(matplotlib.text.Text) if item.get_text()]


# -- the same bytes


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, "tests")
import test_plots as t
from svs import plots, settings
folder = Path(sys.argv[1])
picture = settings.load().plots
for suffix in ("png", "svg"):
    plots.save(plots.sdr_boxplot(t.scores(), "a note"), folder / f"box.{suffix}")
plots.save(plots.training_curves({"a": t.curve(3, 2, 1)}, {"a": 2.0}), folder / "curve.svg")
plots.save(plots.separation_picture("a song", t.tone(440), t.tone(880), {"ours": t.tone(300)}, picture),
           folder / "picture.png")
"""


def test_the_same_input_is_the_same_bytes_in_every_process(tmp_path):
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(tmp_path / seed)],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        for seed in ("1", "2")
    ]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    found = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        found.append({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())})
        for path in folder.glob("*.svg"):
            text = path.read_text()
            assert "<dc:date>" not in text and "<svg" in text
        for path in folder.glob("*.png"):
            assert path.read_bytes().startswith(b"\x89PNG") and b"Software" not in path.read_bytes()
    assert len(found[0]) == 4
    assert found[0] == found[1]


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_other_input_is_other_bytes(tmp_path, suffix):
    style.save(figure_scores.sdr_boxplot(scores(), "a note"), tmp_path / f"a.{suffix}")
    style.save(figure_scores.sdr_boxplot(scores({**MEDIANS, "ours": 3.5}), "a note"), tmp_path / f"b.{suffix}")
    assert (tmp_path / f"a.{suffix}").read_bytes() != (tmp_path / f"b.{suffix}").read_bytes()


def test_saving_closes_the_figure_and_leaves_no_litter(tmp_path):
    figure, _ = plt.subplots()
    style.save(figure, tmp_path / "new" / "a.png")
    assert not plt.fignum_exists(figure.number)
    assert [item.name for item in (tmp_path / "new").iterdir()] == ["a.png"]


# -- what stands in them


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


def test_no_marks_without_floor_and_ceiling():
    axis = figure_scores.sdr_boxplot(scores({"ours": 1.0, "theirs": 2.0}), "").axes[0]
    assert not axis.texts and all(line.get_linestyle() != "--" for line in axis.lines)


def test_a_track_without_a_score_is_left_out_of_the_box():
    table = scores()
    table.loc[(table["method"] == "ours") & (table["track"] == "t0"), "SDR"] = np.nan
    ticks = [label.get_text() for label in figure_scores.sdr_boxplot(table, "").axes[0].get_yticklabels()]
    assert "ours  3.50" in ticks


def test_training_curves():
    figure = training.training_curves({"a": curve(3, 1, 2), "b": curve(5, 4)}, {"a": 0.5})
    first, second = figure.axes
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["a", "b"]
    losses = {line.get_label(): list(line.get_ydata()) for line in first.lines}
    assert losses["training"] == [3, 1, 2] and losses["validation"] == pytest.approx([3.1, 1.1, 2.1])
    assert losses["dissertation's validation"] == [0.5, 0.5]
    assert "dissertation's validation" not in [line.get_label() for line in second.lines]
    (best,) = first.texts
    assert (best.get_text(), best.xy) == ("1.1000", (2, 1.1))  # the best epoch, not the last
    assert first.get_xlabel() == "epoch" and "(nats)" in first.get_ylabel()


def test_a_picture_has_axes_in_seconds_and_hertz(settings):
    settings = settings.plots.model_copy(update={"picture_seconds": 2.0, "picture_max_frequency": 8000.0})
    figure = spectrograms.separation_picture(
        "a song", tone(1000), tone(1000), {"ours": tone(1000), "none": tone(0)}, settings
    )
    titles = [axis.get_title(loc="left") for axis in figure.axes[:6]]
    assert titles == ["mixture", "true vocals", "ours: mask", "ours: vocals", "none: mask", "none: vocals"]
    panels = np.array(figure.axes[:6]).reshape(3, 2)
    assert {axis.get_xlabel() for axis in panels[-1]} == {"time (s)"}
    assert {axis.get_ylabel() for axis in panels[:, 0]} == {"frequency (Hz)"}
    labels = {axis.get_ylabel() for axis in figure.axes[6:]}
    assert labels == {"level (dB below the mixture's maximum)", "mask (share that is vocals)"}
    assert "a song" in texts(figure)

    def image(axis):
        mesh = axis.collections[0]
        corners = mesh.get_coordinates()
        values = mesh.get_array()
        return (corners[0, :-1, 0] + corners[0, 1:, 0]) / 2, (corners[:-1, 0, 1] + corners[1:, 0, 1]) / 2, values

    seconds, hertz, values = image(panels[0][0])
    assert seconds[0] == pytest.approx(1.0, abs=0.03) and seconds[-1] == pytest.approx(3.0, abs=0.06)  # the middle
    assert hertz[-1] <= 8000.0
    middle = values[:, values.shape[1] // 2]
    assert hertz[np.argmax(middle)] == pytest.approx(1000, abs=6)
    assert values.max() == pytest.approx(0, abs=1e-3)  # dB below the maximum
    _, _, mask = image(panels[1][0])
    assert mask.min() >= 0 and mask.max() <= 1
    row = np.argmin(np.abs(hertz - 1000))
    np.testing.assert_allclose(mask[row], 1, atol=1e-3)  # the estimate is the mixture
    _, _, none = image(panels[2][0])
    assert not none.any()


def test_a_picture_of_a_track_shorter_than_the_passage(settings):
    figure = spectrograms.separation_picture(
        "short", tone(500, seconds=0.5), tone(500, seconds=0.5), {}, settings.plots
    )
    assert [axis.get_title(loc="left") for axis in figure.axes[:2]] == ["mixture", "true vocals"]


@pytest.mark.parametrize(
    ("name", "boxes"),
    [
        ("cnn_separator", "CCPDCCPDEDE"),
        ("cnn_deep_separator", "CCNPCNCNPEDEDE"),
        ("vad", "CCPDCCPDEDE"),
        ("cnn_deep_separator_valid", "CCNPCNCNPEDEDE"),
    ],
)
def test_a_network_has_one_box_for_each_visible_layer(tmp_path, name, boxes):
    from svs.networks import archive, build

    model = build(name, 257, 9, 1, input_gain=100.0)
    archive.save(tmp_path / name, model, {})
    axis = networks.network(tmp_path / name / "model.keras").axes[0]
    kinds = {"C": "Conv2D", "P": "MaxPooling2D", "D": "Dropout", "E": "Dense", "N": "BatchNormalization"}
    drawn = [
        next(
            (
                kind
                for kind, colour in networks._COLOURS.items()
                if matplotlib.colors.to_rgba(colour) == box.get_facecolor()
            ),
            None,
        )
        for box in sorted(axis.patches, key=lambda box: box.get_x())
    ]
    assert drawn == [None, *(kinds[letter] for letter in boxes), None]  # between input and mask
    visible = [type(layer).__name__ for layer in model.layers if type(layer).__name__ in kinds.values()]
    assert drawn[1:-1] == visible
    # The shapes below are those that Keras computes.
    shown = [item.get_text() for item in axis.texts if item.get_rotation() == 28]
    real = [
        "×".join(map(str, layer.output.shape[1:])) for layer in model.layers if type(layer).__name__ in kinds.values()
    ]
    assert shown[0] == "257×9×1"
    assert shown[1:-1] == real
    assert shown[-1] == "×".join(map(str, model.output_shape[1:]))
    assert name in axis.get_title(loc="left")


@pytest.mark.parametrize(("u_nets", "full_band"), [(1, 0), (0, 1), (2, 3)])
def test_of_a_net_of_passages_one_member_of_each_kind_is_drawn(tmp_path, u_nets, full_band):
    from svs.networks import archive, unet_separator

    size = network_registry.training("unet_separator", schema.load(REPOSITORY / "params.yaml")).network
    size = size.model_copy(
        update={
            "ensemble": u_nets,
            "channels": 6,
            "growth": 2,
            "levels": 2,
            "full_band": size.full_band.model_copy(
                update={"ensemble": full_band, "channels": 24, "bottleneck": 8, "blocks": 3}
            ),
        }
    )
    archive.save(tmp_path / "net", unet_separator.build(320, size, np.zeros(320), np.ones(320), seed=1), {})
    axis = networks.network(tmp_path / "net" / "model.keras").axes[0]
    levels, blocks = 5 * bool(u_nets), 5 * bool(full_band)  # down twice and up again; first, three blocks, last
    assert len(axis.patches) == levels + blocks
    assert len({(box.get_x(), box.get_y()) for box in axis.patches}) == levels + blocks
    (low, high), (left, right) = axis.get_ylim(), axis.get_xlim()
    assert all(
        low < box.get_y()
        and box.get_y() + box.get_height() < high
        and left < box.get_x()
        and box.get_x() + box.get_width() < right
        for box in axis.patches
    )
    said = [text.get_text() for text in axis.texts]
    assert said.count("80 bins × 6") == said.count("40 bins × 8") == 2 * bool(u_nets)
    assert said.count("20 bins × 10") == bool(u_nets)
    assert said.count("24 channels") == 4 * bool(full_band) and said.count("640 channels") == bool(full_band)
    assert sum("conv 3 frames, 8,\n4 apart" in text for text in said) == bool(full_band)
    title = axis.get_title(loc="left")
    assert ("the mask is the mean of 5 (U-Nets: 2, full-band nets: 3)" in title) == (u_nets + full_band > 1)


def test_what_is_no_network(tmp_path):
    (tmp_path / "text.keras").write_text("no archive")
    for name in ("text", "missing"):
        with pytest.raises(DataError, match=rf"{name}\.keras: expected a \.keras archive .*train it with `dvc repro`"):
            networks.network(tmp_path / f"{name}.keras")
