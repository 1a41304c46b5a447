"""The committed scores of the default run: what they must show, and that they can be had again."""

from __future__ import annotations

import io
import subprocess

import pandas as pd
import pytest

from svs import separators
from svs.audio.sources import ArraySource, SumSource, WavSource
from svs.config.schema import Representation
from svs.data import synthetic
from svs.evaluation.museval_json import MEASURES
from svs.evaluation.scoring.score import score_sources
from svs.separators.chunking import chunks
from svs.separators.mixture import Mixture
from svs.stems import TARGETS
from tests.helpers import REPOSITORY
from tests.helpers.separation import oracle_ibm


@pytest.fixture(scope="module")
def committed() -> pd.DataFrame:
    """metrics/scores.csv as it is in Git, whatever a run has written since."""
    shown = subprocess.run(["git", "show", "HEAD:metrics/scores.csv"], cwd=REPOSITORY, capture_output=True, text=True)
    if shown.returncode:
        pytest.skip("not a git checkout with committed metrics/scores.csv")
    return pd.read_csv(io.StringIO(shown.stdout))


def medians(table: pd.DataFrame, target: str) -> pd.Series:
    return table[table["target"] == target].groupby("method")["SDR"].median()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("which", ["committed", "this run's"])
def test_oracle_above_nets_above_floor(committed, which, target):
    path = REPOSITORY / "metrics/scores.csv"
    if which != "committed" and not path.exists():
        pytest.skip("no run yet; make repro")
    median = medians(committed if which == "committed" else pd.read_csv(path), target)
    for net in ("cnn_separator", "cnn_deep_separator", "unet_separator"):
        assert median["oracle_ibm"] > median[net] + 3
        assert median[net] > median["mixture"]


def test_floor_and_ceiling_of_the_real_song_come_out_again(committed, settings, tmp_path):
    """Scores that depend on no training: the same to 0.01 dB on any machine."""
    folder = tmp_path / "song"
    name = synthetic.write_stempeg_song(folder)
    stems = {stem: WavSource(folder / f"{stem}.wav") for stem in (*synthetic.STEMS, "mixture")}
    references = {
        "vocals": stems["vocals"],
        "accompaniment": SumSource([stems[stem] for stem in ("drums", "bass", "other")]),
    }
    mixture = stems["mixture"]
    whole = mixture.read(0, mixture.samples)
    svs = settings.extract.masks
    representation = Representation(**{field: getattr(svs, field) for field in Representation.model_fields})
    for separator in (
        Mixture(separators.options("mixture", settings).share),
        oracle_ibm(representation, separators.options("oracle_ibm", settings).channels),
    ):
        ((_, vocals),) = chunks(separator, mixture, 60.0, references if separator.needs_references else None)
        estimates = {
            "vocals": ArraySource(vocals, mixture.rate),
            "accompaniment": ArraySource(whole - vocals, mixture.rate),
        }
        scores = score_sources(references, estimates, settings.score, "bsseval")
        rows = committed[(committed["method"] == separator.name) & (committed["track"] == name)].set_index("target")
        for index, target in enumerate(TARGETS):
            for measure in MEASURES:
                frames = pd.Series(scores[measure][index])
                assert frames.median() == pytest.approx(rows.loc[target, measure], abs=0.01), (separator.name, target)
