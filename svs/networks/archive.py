"""Trained networks: a folder with `model.keras` and `model.json`, and windows of a spectrogram through one."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit

from svs.errors import ModelError
from svs.runtime.files import read_json, write_json, written
from svs.runtime.process import quietly

if TYPE_CHECKING:
    import keras

MODEL, CARD = "model.keras", "model.json"
_DATE = (1980, 1, 1, 0, 0, 0)  # of every member of the archive: the earliest that zip knows


def _keras() -> ModuleType:
    with quietly():  # it takes seconds to import, which a separation without it need not wait for
        import keras
    return keras


def save(folder: Path, model: keras.Model, card: dict) -> None:
    """Write `model.keras` and `model.json` into a folder that appears whole.

    The archive is packed anew without dates, so that the same weights are the
    same bytes.
    """
    with written(folder) as temporary:
        temporary.mkdir()
        raw = temporary / "raw.keras"
        # The optimiser and its state are not part of what a trained network is.
        bare = type(model).from_config(model.get_config())  # clone_model would compile it again
        bare.set_weights(model.get_weights())
        bare.save(raw)
        with zipfile.ZipFile(raw) as old, zipfile.ZipFile(temporary / MODEL, "w") as new:
            for name in sorted(old.namelist()):
                content = old.read(name)
                if name == "metadata.json":
                    content = json.dumps({"keras_version": _keras().__version__, "date_saved": ""}).encode()
                new.writestr(zipfile.ZipInfo(name, _DATE), content)
        raw.unlink()
        write_json(temporary / CARD, card)


def load(folder: Path) -> tuple[keras.Model, dict]:
    """The network and card that `save` wrote.

    Raises
    ------
    ModelError
        Something is missing or damaged.
    """
    path = Path(folder) / MODEL
    if not path.is_file():
        raise ModelError(f"{path}: no such model; train it with `dvc repro`")
    keras = _keras()
    try:
        model = keras.models.load_model(path, compile=False)
    except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"{path}: not a model that Keras {keras.__version__} can load "
            f"({' '.join(str(error).split())[:200]}); train it again"
        ) from None
    return model, read_json(Path(folder) / CARD)


def predictions(
    model: keras.Model, spectrum: np.ndarray, width: int, centres: np.ndarray, batch_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Probabilities that a network gives for windows around chosen frames.

    Parameters
    ----------
    model : keras.Model
        From (n, bins, width, 1) magnitudes to logits.
    spectrum : float32 (bins, frames)
        Either end is padded with silence.
    width : int
        Frames of a window, odd.
    centres : int (windows,)
        Centre frames.
    batch_size : int
        Windows predicted at a time.

    Yields
    ------
    centres : int (n,)
    probabilities : float32 (n, ...)
        The model's output through the sigmoid.
    """
    padded = np.pad(spectrum, ((0, 0), (width // 2, width // 2)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, width, axis=1)  # bins, frames, width
    for first in range(0, len(centres), batch_size):
        chosen = centres[first : first + batch_size]
        # Batches of one size: another would be compiled anew.
        batch = np.zeros((batch_size, *windows.shape[::2], 1), dtype=np.float32)
        batch[: len(chosen), ..., 0] = windows[:, chosen].transpose(1, 0, 2)
        yield chosen, expit(np.asarray(model.predict_on_batch(batch))[: len(chosen)])


def averaged(
    predicted: Iterable[tuple[np.ndarray, np.ndarray]], shape: tuple[int, int], label_width: int
) -> np.ndarray:
    """The mean of all that windows predict of each frame.

    Parameters
    ----------
    predicted : iterable of int (n,), float32 (n, bins, label_width)
        Centre frames and predictions of windows, as from `predictions`.
    shape : int, int
        Bins and frames of the result.  Predictions may reach over either end.
    label_width : int
        Frames that a window predicts, odd; at least as many as the hop.

    Returns
    -------
    float32 (bins, frames)
    """
    bins, frames = shape
    total = np.zeros((frames + 2 * label_width, bins), dtype=np.float32)
    count = np.zeros((len(total), 1), dtype=np.float32)
    for centres, probability in predicted:
        for column in range(label_width):
            total[centres + column] += probability[..., column]  # row r is frame r - label_width // 2
            count[centres + column] += 1
    kept = slice(label_width // 2, label_width // 2 + frames)
    return (total[kept] / count[kept]).T
