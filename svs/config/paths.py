"""Where everything lies, relative to the root of the repository."""

from __future__ import annotations

from pathlib import Path

from platformdirs import user_data_path

PACKAGE = Path(__file__).parent.parent  # the folder `svs`, wherever it is installed

PARAMS = Path("params.yaml")
PACKAGED = PACKAGE / "config" / PARAMS  # in a wheel, whose build puts params.yaml and wiring.yaml there
DEFAULTS = PACKAGED if PACKAGED.is_file() else PACKAGE.parent / PARAMS  # what svs comes with

DATASETS = Path("data/musdb")  # generated and downloaded data sets, one folder each
MANIFEST = Path("data/manifest.json")
STORE = Path("data/excerpts.zarr")
ESTIMATES = Path("data/estimates")  # <method>/test/<track>/{vocals,accompaniment}.wav
SCORES = Path("data/scores")  # <method>/<protocol>/test/<track>.json
PUBLISHED = Path("data/published")  # <system>/bsseval/test/<track>.json, the seconds that ours are scored on
NOISY = Path("data/noisy")  # <recording>/{mixture,clean}.wav, and recordings.json
DENOISED = Path("data/denoised")  # <method>/<recording>.wav
DENOISED_SCORES = Path("data/denoised_scores")  # <method>/scores.json

MODELS = Path("models")
WEIGHTS = MODELS / "weights"  # of others: the user may put them there
AUTOENCODER = MODELS / "autoencoder"
VAD = MODELS / "vad"

METRICS = Path("metrics")
PLOTS = Path("plots")
CURVES = PLOTS / "training"  # one CSV of losses by epoch for each training
LOGS = Path("logs")  # TensorBoard, untracked
NAME = "{song}/{method}/{stem}"  # of each file that `svs separate` writes into its output folder, without its extension


def user_data() -> Path:
    """The user's folder of svs: the project of those who have none, and in its `models` nets for every project."""
    return user_data_path("svs", appauthor=False)


SCRATCH = Path(".cache")  # what an interrupted run continues from, untracked
