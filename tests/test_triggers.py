"""Which stages a parameter or a file triggers, by what dvc.yaml and wiring.yaml say.

What they feed runs after them if their output changes.  `test_pipeline` asks `dvc status` about some of these rows.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml

from tests.helpers import REPOSITORY

METHODS, MODELS, ENHANCERS = (
    tuple(yaml.safe_load((REPOSITORY / "wiring.yaml").read_text())[key]) for key in ("methods", "models", "enhancers")
)
OF = {"separate": METHODS, "score": METHODS, "denoise": ENHANCERS, "score_denoise": ENHANCERS}


def everything(*stages: str) -> set[str]:
    names = set()
    for stage in stages:
        names |= {f"{stage}@{method}" for method in OF[stage]} if stage in OF else {stage}
    return names


# Which stages a parameter triggers by itself; what they feed runs after them if their output changes.
TRIGGERS = [
    (
        "seed",
        {
            "download",
            "noisy",
            "pretrain",
            "train_vad",
            "summarize",
            *(f"train@{model}" for model in ("cnn_separator", "cnn_deep_separator", "unet_separator")),
        },
    ),
    ("download.on_silent_vocals", {"download"}),
    ("download.layout", {"download"}),
    ("download.sets.more.path", {"download"}),
    ("download.trained", {"download"}),
    ("download.scored", {"download"}),
    ("download.split.by", {"download"}),
    ("download.validation_fraction", {"download"}),
    ("profiles.tiny.download.tiny.test", {"download"}),
    ("extract.masks.hop_length", {"extract", "denoise@oracle_irm"}),
    ("extract.store.compression", {"extract"}),
    ("extract.vad.smoothing", {"extract", "score_vad"}),
    ("extract.stems.sample_rate", {"extract"}),
    ("pretrain.learning_rate", {"pretrain"}),
    ("profiles.tiny.pretrain.excerpts.per_track", {"pretrain"}),
    ("train.excerpts.patience", {"pretrain", "train_vad", "train@cnn_separator", "train@cnn_deep_separator"}),
    ("train.cnn_separator.label_smoothing", {"train@cnn_separator"}),
    ("profiles.tiny.train.cnn_separator.epochs", {"train@cnn_separator"}),
    ("profiles.tiny.train.cnn_deep_separator.excerpts.per_track", {"train@cnn_deep_separator"}),
    ("train.cnn_deep_separator.excerpts.start_point", {"train@cnn_deep_separator"}),
    ("train.unet_separator.other_song", {"train@unet_separator"}),
    ("train.unet_separator.weights.more", {"train@unet_separator"}),
    ("train.cnn_separator.excerpts.weights.more", {"train@cnn_separator"}),
    ("profiles.tiny.train.unet_separator.mixes", {"train@unet_separator"}),
    ("vad.learning_rate", {"train_vad"}),
    ("profiles.tiny.vad.epochs", {"train_vad"}),
    ("separate.common.chunk", everything("separate", "denoise")),
    ("separate.cnn.gate", {"separate@cnn_separator", "separate@cnn_deep_separator"}),
    ("separate.cnn_separator.gate", {"separate@cnn_separator"}),
    ("separate.cnn_deep_separator.hop", {"separate@cnn_deep_separator"}),
    ("separate.repet_sim.variant", {"separate@repet_sim"}),
    ("separate.knn_median.neighbours", {"separate@knn_median"}),
    ("separate.hpss.two_stage.long.frames", {"separate@hpss"}),
    ("separate.openunmix.model", set()),
    ("separate.spleeter.environment", {"separate@spleeter"}),
    (
        "separate.spleeter_finetuned.mask_extension",
        {"separate@spleeter_finetuned", "denoise@speech_blend"},
    ),
    ("train.spleeter_finetuned.frames", set()),
    ("separate.oracle_ibm.channels", {"separate@oracle_ibm"}),
    ("separate.oracle_irm.power", {"separate@oracle_irm", "denoise@oracle_irm"}),
    ("separate.mixture.share", {"separate@mixture"}),
    ("separate.wiener_noise.bias", {"denoise@wiener_noise", "denoise@speech_blend"}),
    ("separate.deepfilternet.context", {"denoise@speech_blend"}),
    ("separate.rnnoise.context", set()),
    ("enhance.voice.strength", set()),
    ("noisy.reverberation", {"noisy"}),
    ("profiles.tiny.noisy.sources", {"noisy"}),
    ("score_enhanced.dnsmos", everything("score_denoise")),
    ("score.engine", everything("score")),
    ("score.rulers", everything("score")),
    ("score.bsseval_v3.hop", everything("score")),
    ("score.window", everything("score", "reference")),
    ("score.hop", everything("score", "reference", "summarize")),
    ("score.dissertation.passage.start", everything("score")),
    ("gate.tolerance", set()),
    ("reference.tolerance", {"reference"}),
    ("plots.dynamic_range", {"pictures"}),
    ("report.passage", set()),
    ("profiles.sample.train.cnn_separator.epochs", set()),
    ("profiles.full.download.path", set()),
]


# The report is made with few parameters and says most of them at its top; of a profile, the chosen one's.
SHOWN = (
    "extract.masks",
    "plots",
    "pretrain",
    "profiles.tiny",
    "report",
    "score.hop",
    "score.window",
    "seed",
    "separate",
    "train",
    "vad",
)


@pytest.fixture(scope="module")
def dependencies() -> dict[str, tuple[list[str], list[str]]]:
    """Files and parameters that each stage depends on, as DVC reads them; in a process of its own."""
    script = """
import json
from dvc.dependency import ParamsDependency
from dvc.repo import Repo
with Repo() as repo:
    print(json.dumps({
        stage.name: (
            [dep.def_path for dep in stage.deps if not isinstance(dep, ParamsDependency)],
            [name for dep in stage.deps if isinstance(dep, ParamsDependency) for name in dep.params],
        )
        for stage in repo.index.stages
    }))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def within(name: str, groups: list[str], separator: str) -> bool:
    """Whether a name is one of the groups, lies in one, or holds one."""
    return any(
        f"{one}{separator}".startswith(f"{two}{separator}")
        for group in groups
        for one, two in ((name, group), (group, name))
    )


@pytest.mark.parametrize(("parameter", "stages"), TRIGGERS, ids=[row[0] for row in TRIGGERS])
def test_a_parameter_triggers_its_stages_and_no_other(dependencies, parameter, stages):
    found = {stage for stage, (_, parameters) in dependencies.items() if within(parameter, parameters, ".")}
    shown = {"report"} if within(parameter, SHOWN, ".") else set()
    assert found == stages | shown


# Which stages an edit of a file makes stale.
READS_TRACKS = {"extract", "score_vad", "reference", "pictures", "report"} | everything("separate", "score")
READS_NOISY = everything("noisy", "denoise", "score_denoise", "summarize", "report")
CODE = [
    ("svs/audio/convert.py", READS_TRACKS | READS_NOISY | {"download"}),  # the resampler
    ("svs/audio/reading/decode.py", READS_TRACKS | {"download"}),  # of all formats but wav
    ("svs/audio/level.py", {"extract", "score_vad"} | everything("separate", "denoise")),
    ("svs/dsp/continuation.py", everything("separate", "denoise")),
    ("svs/data/musdb.py", READS_TRACKS | {"download", "noisy"}),  # the decoder
    ("svs/data/songs.py", READS_TRACKS | {"download"}),
    ("svs/data/splits.py", {"download"}),
    ("svs/data/layouts/__init__.py", {"download"}),
    ("svs/data/layouts/folders.py", {"download"}),
    ("svs/data/noisy.py", {"noisy"}),
    ("svs/evaluation/speech.py", everything("score_denoise", "summarize", "report")),
    ("svs/evaluation/ratios.py", everything("score", "score_denoise", "summarize", "report")),
    ("svs/evaluation/projections.py", everything("score", "score_denoise", "summarize", "report")),
    ("svs/evaluation/scoring/bsseval_v3.py", everything("score")),
    ("svs/evaluation/scoring/log_wmse.py", everything("score")),
    ("svs/evaluation/scoring/spectra.py", everything("score")),
    ("svs/evaluation/scoring/measuring.py", everything("score")),
    ("svs/evaluation/rulers.py", everything("score", "reference", "summarize", "plots", "report")),
    ("svs/evaluation/summary.py", {"summarize"}),
    ("svs/services/cost.py", set()),
    ("svs/services/enhancement.py", everything("denoise")),
    ("svs/separators/wiener_noise.py", {"denoise@wiener_noise", "denoise@speech_blend"}),
    ("svs/vad/silero.py", {"score_vad"}),
    ("svs/figures/improvements.py", {"plots"}),
    (
        "svs/dsp/stft.py",  # `tuned`
        READS_TRACKS - {"reference", "report", "pictures"} | {"train@unet_separator"} | everything("denoise"),
    ),
    ("svs/evaluation/published.py", {"reference", "plots", "report"}),
    ("svs/networks/streaming.py", {"separate@cnn_separator", "separate@cnn_deep_separator"}),
    (
        "svs/networks/inference.py",
        {"score_vad", "separate@spleeter", "separate@spleeter_finetuned", "denoise@speech_blend"}
        | {f"separate@{net}" for net in ("cnn_separator", "cnn_deep_separator", "unet_separator")},
    ),
    ("svs/networks/export.py", {f"train@{model}" for model in MODELS} | {"pretrain", "train_vad"}),
    ("svs/networks/unet_separator.py", {"train@unet_separator"}),
    ("svs/separators/unet_separator.py", {"separate@unet_separator"}),
    ("svs/separators/hpss.py", {"separate@hpss"}),
    ("svs/separators/repetition.py", {"separate@repet_sim", "separate@knn_median"}),
    ("svs/separators/spleeter_worker.py", set()),
    ("svs/networks/spleeter.py", {"separate@spleeter"}),
    ("svs/data/spleeter_weights.py", {"separate@spleeter"}),
    ("svs/separators/segments.py", {"separate@spleeter", "separate@spleeter_finetuned", "denoise@speech_blend"}),
    ("svs/separators/spleeter_finetuned.py", {"separate@spleeter_finetuned", "denoise@speech_blend"}),
    ("svs/models/spleeter_finetuned/model.json", {"separate@spleeter_finetuned", "denoise@speech_blend", "summarize"}),
    ("svs/networks/spleeter_finetuned.py", set()),
    ("svs/networks/quantisation.py", set()),
    ("svs/separators/oracles.py", {"separate@oracle_ibm", "separate@oracle_irm", "denoise@oracle_irm"}),
    ("svs/figures/scores.py", {"plots"}),
    ("svs/runtime/files.py", set()),
    ("svs/cli/separate.py", set()),
]


@pytest.mark.parametrize(("path", "stages"), CODE, ids=[row[0] for row in CODE])
def test_an_edit_of_code_triggers_the_stages_that_run_it_and_no_other(dependencies, path, stages):
    assert (REPOSITORY / path).is_file()
    assert {stage for stage, (files, _) in dependencies.items() if within(path, files, "/")} == stages


def test_every_group_of_parameters_has_a_row():
    groups = set(yaml.safe_load((REPOSITORY / "params.yaml").read_text())) - {"profile", "profiles"}
    assert groups <= {row[0].split(".")[0] for row in TRIGGERS}
