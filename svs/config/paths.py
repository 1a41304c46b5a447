"""Where everything lies, relative to the root of the repository."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parent.parent  # the folder `svs`, wherever it is installed

PARAMS = Path("params.yaml")

DATASETS = Path("data/musdb")  # generated and downloaded data sets, one folder each
MANIFEST = Path("data/manifest.json")
STORE = Path("data/excerpts.zarr")
ESTIMATES = Path("data/estimates")  # <method>/test/<track>/{vocals,accompaniment}.wav
SCORES = Path("data/scores")  # <method>/<protocol>/test/<track>.json
PUBLISHED = Path("data/published")  # <system>/bsseval/test/<track>.json, the seconds that ours are scored on

MODELS = Path("models")
AUTOENCODER = MODELS / "autoencoder"
VAD = MODELS / "vad"

METRICS = Path("metrics")
PLOTS = Path("plots")
CURVES = PLOTS / "training"  # one CSV of losses by epoch for each training
LOGS = Path("logs")  # TensorBoard, untracked

SCRATCH = Path(".cache")  # what an interrupted run continues from, untracked
