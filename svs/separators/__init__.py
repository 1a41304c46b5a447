"""Separation methods by name.

A method is one file here with `build(settings, needs)` that returns a
`Separator`, one group of options in `svs.config.schema.Separate`, and one line under
`methods` in `params.yaml`.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from svs.config.schema import Settings
from svs.errors import ModelError, SettingsError
from svs.separators.base import Separator

# Each method, and in a few words what it is (shown by `svs methods`).
REGISTRY = {
    "unet_separator": "U-Net on the stereo spectrogram of whole passages, trained here on random mixtures",
    "cnn_separator": "CNN that predicts the centre frame of the ideal binary mask, trained here",
    "cnn_deep_separator": "deeper CNN, pretrained as an autoencoder, predicting nine frames, trained here",
    "cnn_separator_valid": "cnn_separator without padding in time: an eighth of the work",
    "cnn_deep_separator_valid": "cnn_deep_separator without padding in time, predicting the centre frame",
    "repet_sim": "REPET-SIM: what repeats is accompaniment (Rafii & Pardo 2012; or librosa's variant)",
    "knn_median": "nearest neighbours and median filtering (Fitzgerald 2012)",
    "hpss": "harmonic/percussive median filtering at two resolutions (Fitzgerald & Gainza 2010)",
    "openunmix": "open-unmix: bidirectional LSTM, pretrained on MUSDB18 (umx, umxhq, umxl) or speech (umxse)",
    "spleeter": "spleeter 2 stems: U-Net, pretrained by Deezer",
    "oracle_ibm": "ceiling: the true binary mask",
    "oracle_irm": "ceiling: the true ratio mask",
    "mixture": "floor: a fixed share of the mixture",
}
# Which one is meant where none is named: the first that is trained.
PREFERRED = ("unet_separator", "cnn_separator")
ORACLES = ("oracle_ibm", "oracle_irm")       # they are given the true stems


def build(name: str, settings: Settings, home: Path = Path()) -> Separator:
    """A separation method, ready to use.

    Parameters
    ----------
    name : str
        One of `REGISTRY`.
    settings : Settings
        `methods` says what each method needs (`models/NAME` where it has no line there).
    home : Path
        The folder that those paths are relative to: that of `params.yaml`.

    Raises
    ------
    SettingsError
        There is no method of that name.
    ModelError
        It needs a trained model that is not there.
    UnavailableError
        It needs pretrained weights, or an environment, that can't be had.
    """
    if name not in REGISTRY:
        raise SettingsError(f"methods.{name}: no such method; expected one of {', '.join(REGISTRY)}")
    return import_module(f"svs.separators.{name}").build(settings, home / needs(name, settings))


def default(settings: Settings, home: Path = Path()) -> str:
    """The method where none is named: the best of our nets that is trained.

    Raises
    ------
    ModelError
        Not one of them is.
    """
    for name in PREFERRED:
        if (home / needs(name, settings) / "model.keras").is_file():
            return name
    raise ModelError(f"neither {' nor '.join(PREFERRED)} is trained in {home.resolve()}: `dvc repro "
                     f"train@{PREFERRED[0]}` trains it; or name a method that needs no training: --method repet_sim")


def needs(name: str, settings: Settings) -> Path:
    """What a method waits for: a trained model, weights, the store, or just its own code."""
    if name in settings.methods:
        return settings.methods[name]
    return Path("models/weights" if name in ("openunmix", "spleeter") else "models") / name
