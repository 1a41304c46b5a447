"""Train on excerpts of spectrograms (modes SVS, DAE and VAD)."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from svs.config.schema import ExcerptTraining
from svs.errors import ModelError
from svs.features.store import Spectrograms
from svs.networks.archive import load, untrained
from svs.runtime import devices
from svs.runtime.files import Scratch
from svs.runtime.process import log, quietly
from svs.training import loop
from svs.training.excerpts import TRAIN, VALID, Batches

with quietly():
    import keras


def entropy_floor(label_smoothing: float) -> float:
    """Lowest binary cross entropy (nats) that is possible with smoothed labels: the entropy of the label."""
    p = label_smoothing
    return 0.0 if p == 0 else float(-p * np.log(p) - (1 - p) * np.log(1 - p))


def train(
    model_name: str,
    store: Path,
    mode: str,
    settings: ExcerptTraining,
    seed: int,
    scratch: Scratch,
    *,
    initial: Path | None = None,
    curve: Path | None = None,
    logs: Path | None = None,
) -> tuple[keras.Model, dict]:
    """Train a network on the excerpts of a store.

    Parameters
    ----------
    model_name : str
        A network of `svs.networks`.
    store : Path
        Group of the store that the mode reads.
    mode : {"SVS", "DAE", "VAD"}
    settings : ExcerptTraining
    seed : int
        Seeds initial weights, dropout, the draw of excerpts and their order.
    scratch : Scratch
        Holds the state of an interrupted training.
    initial : Path, optional
        Folder of a trained model; all of its weights are the initial weights.
    curve, logs : Path, optional
        CSV of the losses, rewritten after every epoch; folder of TensorBoard logs.

    Returns
    -------
    model : keras.Model
        With the weights of the epoch with the lowest validation loss.
    card : dict
        For `svs.networks.archive.save`.

    Raises
    ------
    DataError
        The store holds no excerpts, or no levels.
    ModelError
        The loss or a weight is not finite, or `initial` has other shapes.
    """
    loop.make_reproducible(seed)
    strategy = devices.strategy(settings.batch_size)
    share = strategy.num_replicas_in_sync if strategy else 1
    size, label, folder = settings.batch_size, settings.label_width, scratch.path / "excerpts"
    batches, validation = (
        Batches(store, mode, split, settings.excerpts, size, label, seed, folder, share) for split in (TRAIN, VALID)
    )
    level, counts = Spectrograms(store).level(mode, TRAIN), {"train": batches.excerpts, "valid": validation.excerpts}
    log.info("%s: %d training, %d validation excerpts, %d batches an epoch", model_name, *counts.values(), len(batches))
    build = partial(_built, model_name, batches, settings, seed, initial)
    kept: dict[str, Any] = {"strategy": strategy, "curve": curve, "logs": logs}
    model, card = loop.train(build, batches, validation, settings, seed, scratch, **kept)
    card |= {"model": model_name, "mode": mode, "representation": batches.representation, "excerpts": counts}
    card |= {"label_width": batches.label_width, "input_gain": settings.input_gain, "level": level}
    return model, card | {"val_loss_floor": entropy_floor(settings.label_smoothing) if mode == "SVS" else None}


def _built(name: str, batches: Batches, settings: ExcerptTraining, seed: int, initial: Path | None) -> keras.Model:
    shape = {"bins": batches.bins, "width": batches.width, "label_width": batches.label_width}
    model = untrained(name, **shape, input_gain=settings.input_gain, seed=seed)
    if initial is not None:
        weights = load(initial)[0].get_weights()
        if [weight.shape for weight in weights] != [tuple(weight.shape) for weight in model.weights]:
            raise ModelError(
                f"{initial}: its weights have other shapes than {model.name}'s; "
                "pretrain with the same width, frame size and label width"
            )
        model.set_weights(weights)
    # Keras smooths towards 0.5, so its number is twice ours, the label's distance from 0 and 1.
    loss = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=2 * settings.label_smoothing)
    model.compile(keras.optimizers.Adam(settings.learning_rate), loss)
    return model
