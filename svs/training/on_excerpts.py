"""Train on excerpts of spectrograms (modes SVS, DAE and VAD)."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from svs import networks
from svs.config.schema import ExcerptTraining
from svs.errors import ModelError
from svs.networks.archive import load
from svs.runtime import devices
from svs.runtime.files import Scratch, write_text
from svs.runtime.process import quietly
from svs.training.excerpts import TRAIN, VALID, Batches
from svs.training.loop import Checkpoint, computing_in, fit, make_reproducible, trained_in

with quietly():
    import keras

log = logging.getLogger("svs")


def entropy_floor(label_smoothing: float) -> float:
    """Lowest binary cross entropy (nats) that smoothed labels allow: the entropy of the label."""
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
    """Train a network on the excerpts of a store, and return it with its best weights.

    Parameters
    ----------
    model_name : str
        A network of `svs.networks`.
    store : Path
        Group of the store that the mode reads.
    mode : {"SVS", "DAE", "VAD"}
    settings : ExcerptTraining
    seed : int
        Of initial weights, dropout, the draw of excerpts and their order.
    scratch : Scratch
        Where the state of an interrupted training is found and kept.
    initial : Path, optional
        Folder of a trained model whose weights, all of them, are the start.
    curve : Path, optional
        CSV of the losses, rewritten after every epoch.
    logs : Path, optional
        Folder of TensorBoard logs.

    Returns
    -------
    model : keras.Model
        With the weights of the epoch that had the lowest validation loss.
    card : dict
        Losses, epochs, representation: what `save` writes beside the model.

    Raises
    ------
    ModelError
        The loss is not finite, or `initial` is of another shape.
    """
    make_reproducible(seed)
    strategy = devices.strategy(settings.batch_size)
    batches, validation = (
        Batches(
            store,
            mode,
            split,
            settings.excerpts,
            settings.batch_size,
            settings.label_width,
            seed,
            scratch.path / "excerpts",
            strategy.num_replicas_in_sync if strategy else 1,
        )
        for split in (TRAIN, VALID)
    )

    def built() -> keras.Model:
        return networks.build(
            model_name, batches.bins, batches.width, batches.label_width, input_gain=settings.input_gain, seed=seed
        )

    with strategy.scope() if strategy else nullcontext(), computing_in(settings.precision):
        model = built()
        if initial is not None:
            _start_from(model, initial)
        # Keras smooths towards 0.5: twice our smoothing, which is the label's distance from 0 and 1.
        loss = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=2 * settings.label_smoothing)
        model.compile(keras.optimizers.Adam(settings.learning_rate), loss)
        model.optimizer.build(model.trainable_variables)
    log.info(
        "%s: %d training and %d validation excerpts, %d batches an epoch",
        model_name,
        batches.excerpts,
        validation.excerpts,
        len(batches),
    )
    checkpoint = Checkpoint(scratch.path / "state.npz", settings.patience, curve, batches)
    fit(model, batches, validation, settings.epochs, checkpoint, logs, strategy)
    if settings.precision != "float32":
        model = built()  # what is saved says nothing of how it was trained
    model.set_weights(checkpoint.best_weights)
    history = checkpoint.history
    if curve is not None:
        write_text(curve, history.csv())
    card = {
        "model": model_name,
        "mode": mode,
        "parameters": model.count_params(),
        "representation": batches.representation,
        "label_width": batches.label_width,
        "input_gain": settings.input_gain,
        "val_loss": history.best,
        "loss": history.loss[history.best_epoch - 1],
        "best_epoch": history.best_epoch,
        "epochs": history.epochs,
        "val_loss_floor": entropy_floor(settings.label_smoothing) if mode == "SVS" else None,
        "excerpts": {"train": batches.excerpts, "valid": validation.excerpts},
    }
    return model, card | trained_in(settings.precision)


def _start_from(model: keras.Model, folder: Path) -> None:
    source, _ = load(folder)
    ours, theirs = ([tuple(weight.shape) for weight in net.weights] for net in (model, source))
    if ours != theirs:
        raise ModelError(
            f"{folder}: its weights have other shapes than {model.name}'s; "
            "pretrain with the same width, frame size and label width"
        )
    model.set_weights(source.get_weights())
