"""The table of a run as a thesis prints it, from scores and cards written by hand."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd

from svs.config.schema import MethodWiring, ModelWiring
from svs.evaluation import summary
from svs.evaluation.paired import median_difference
from svs.evaluation.summary import Card
from tests.helpers import REPOSITORY
from tests.helpers.command import svs

SEED = 20
SDR = {"net": [1.0, 2.0, 6.0], "50%_better": [5.0, 7.0, 8.5], "floor": [-1.0, float("nan"), float("nan")]}


def scores(**extra) -> pd.DataFrame:
    rows = [
        {"method": method, "track": str(number), "target": target, "SDR": value + (10 if target != "vocals" else 0)}
        | {"ISR": 0.0, "SIR": 0.0, "SAR": 0.0, "frames": 3.0, "silent": 0.0}
        | {name: values[number] for name, values in extra.items()}
        for method, values in SDR.items()
        for number, value in enumerate(values)
        for target in ("vocals", "accompaniment")
    ]
    return pd.DataFrame(rows)


def test_a_row_has_the_median_the_mean_and_the_interval_over_tracks():
    found = summary.table(scores(uSDR=[2.0, 3.0, 7.0]), {"net": Card(1_234_567, "6 songs")}, SEED)
    assert found["method"].tolist() == ["50%_better", "net", "floor"]  # the best vocals first
    row = found.set_index("method").loc["net"]
    assert (row["vocals SDR"], row["vocals mean"], row["vocals uSDR"]) == (2.0, 3.0, 4.0)
    assert (row["accompaniment SDR"], row["accompaniment mean"]) == (12.0, 13.0)
    interval = median_difference(np.array(SDR["net"]), SEED)
    assert row["vocals 95 %"] == f"{interval.low:.2f} to {interval.high:.2f}" == "1.00 to 6.00"
    assert (row["parameters"], row["trained on"]) == (1_234_567, "6 songs")
    floor = found.set_index("method").loc["floor"]
    assert floor["vocals SDR"] == -1.0 and floor["vocals 95 %"] == "–" and np.isnan(floor["parameters"])


def test_data_sets_have_rows_of_their_own():
    found = summary.table(scores().assign(dataset=["one", "one", "two", "two", "two", "two"] * 3), {}, SEED)
    assert list(found)[:2] == ["method", "dataset"] and len(found) == 6
    assert found.set_index(["method", "dataset"]).loc[("net", "two"), "vocals SDR"] == 4.0


def test_markdown_and_latex_hold_the_same_cells():
    found = summary.table(scores(), {"net": Card(1_234_567, "6 songs & more")}, SEED)
    found = summary.with_costs(found, {"net": (12.34, 567.8)})
    lines = summary.as_markdown(found).splitlines()
    assert lines[0] == summary.CAPTION and lines[1] == ""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert cells[0][-4:] == ["parameters", "x real time", "MB", "trained on"]
    assert cells[1][1].endswith(":") and cells[1][0].startswith(":"), "numbers to the right, names to the left"
    assert cells[3][0] == "net" and cells[3][-4:] == ["1.23 M", "12.3", "568", "6 songs & more"]
    assert cells[4][-4:] == ["–"] * 4
    latex = summary.as_latex(found)
    body = latex.split(r"\midrule")[1].split(r"\bottomrule")[0]
    rows = [re.split(r" & ", line.removesuffix(r" \\")) for line in body.strip().splitlines()]
    plain = [[cell.replace(r"\%", "%").replace(r"\_", "_").replace(r"\&", "&") for cell in row] for row in rows]
    assert [[cell for cell in row if cell] for row in plain] == cells[2:]
    assert r"50\%\_better" in latex and r"\toprule" in latex and r"\caption{" in latex


def test_a_card_says_what_a_method_was_trained_on(settings, tmp_path):
    training = tmp_path / "metrics/training"
    training.mkdir(parents=True)
    for name, results in {
        "cnn_separator": {"parameters": 7, "excerpts": {"train": 360, "valid": 64}},
        "unet_separator": {"parameters": 8, "songs": {"train": 73, "unused": 7}},
        "cnn_deep_separator": {"val_loss": 0.5},  # of an older version
    }.items():
        (training / f"{name}.json").write_text(json.dumps(results))
    names = ("cnn_separator", "unet_separator", "cnn_deep_separator")
    wired = {
        "models": {name: ModelWiring(store="data", start="models") for name in names},
        "methods": {name: MethodWiring(needs=f"models/{name}") for name in (*names, "hpss", "oracle_irm", "spleeter")}
        | {"spleeter_finetuned": MethodWiring(needs="svs/models/spleeter_finetuned")},
    }
    found = summary.cards(settings.model_copy(update=wired), tmp_path)
    assert found["cnn_separator"] == Card(7, "360 excerpts, here") and found["unet_separator"] == Card(
        8, "80 songs, here"
    )
    assert found["cnn_deep_separator"] == Card(None, "")
    assert found["hpss"] == Card(None, "no training") and found["oracle_irm"] == Card(None, "the true stems")
    card = json.loads((REPOSITORY / "svs/models/spleeter_finetuned/model.json").read_text())
    assert found["spleeter_finetuned"].parameters == found["spleeter"].parameters == card["parameters"]
    assert found["spleeter_finetuned"].trained_on.startswith(
        "80 songs of the 7-second previews of MUSDB18, from Deezer"
    )


def test_the_command_prints_it(tmp_path):
    parameters = (REPOSITORY / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(parameters)
    (tmp_path / "wiring.yaml").write_text("methods: {}\nmodels: {}\nenhancers: {}\n")
    without = svs("summary", "--project", tmp_path)
    assert without.code == 3 and "run `dvc repro` first" in without.err
    (tmp_path / "metrics").mkdir()
    scores().to_csv(tmp_path / "metrics/scores.csv", index=False)
    printed = svs("summary", "--project", tmp_path, "-f", "markdown")
    assert printed.code == 0 and printed.out.startswith(summary.CAPTION) and "| 50%_better " in printed.out
    printed = svs("summary", "--project", tmp_path)
    assert printed.out.splitlines()[1].split()[:3] == ["50%_better", "7.00", "6.83"]
