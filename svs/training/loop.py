"""Training the networks: resumable, reproducible, one atomic state file.

Keras's own ModelCheckpoint, EarlyStopping and BackupAndRestore forget the best
value of a run that was killed and write in several steps; `Checkpoint` does the
work of the three from one file.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from svs.config.schema import Precision
from svs.errors import ModelError
from svs.networks import find_network
from svs.runtime import devices
from svs.runtime.files import write_text, written
from svs.runtime.process import quietly
from svs.runtime.progress import progress_bar

with quietly():
    import keras

if TYPE_CHECKING:
    from svs.training.excerpts import Batches
    from svs.training.mixtures import Mixes

log = logging.getLogger("svs")


def make_reproducible(seed: int) -> None:
    """Seed every generator and ask TensorFlow for deterministic kernels.

    On the CPU the same machine (same number of cores) then gives the same bytes.
    """
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        tensorflow.config.experimental.enable_op_determinism()


@contextmanager
def computing_in(precision: Precision) -> Iterator[None]:
    """Networks that are built inside compute with these numbers; their variables are float32 in any case.

    Keras scales the loss by itself where numbers are float16 (its optimiser's
    `LossScaleOptimizer`, whose state is among the optimiser's variables), and
    takes every loss in float32.
    """
    if precision == "mixed_bfloat16" and devices.emulates_bfloat16():
        log.warning("this processor has no instructions for bfloat16: precision: float32 would train faster")
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@dataclass
class History:
    """Losses of the epochs so far."""

    loss: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)

    @property
    def epochs(self) -> int:
        return len(self.val_loss)

    @property
    def best_epoch(self) -> int:
        """Number (from 1) of the epoch with the lowest validation loss; 0 before the first."""
        return int(np.argmin(self.val_loss)) + 1 if self.val_loss else 0

    @property
    def best(self) -> float:
        return min(self.val_loss, default=float("inf"))

    def csv(self) -> str:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["epoch", "loss", "val_loss"])
        writer.writerows(
            [epoch + 1, f"{loss:.6f}", f"{val:.6f}"]
            for epoch, (loss, val) in enumerate(zip(self.loss, self.val_loss, strict=True))
        )
        return text.getvalue()


class Checkpoint(keras.callbacks.Callback):
    """Keeps the best weights, stops early, and saves all state after every epoch.

    Parameters
    ----------
    path : Path
        The state file: weights, optimiser, random state, best weights and
        losses in one file, written beside and renamed.
    patience : int
        Epochs without a lower validation loss after which training stops.
    curve : Path or None
        A CSV of the losses, written anew after every epoch.
    batches : Batches
        Told the number of each epoch.
    """

    def __init__(self, path: Path, patience: int, curve: Path | None, batches: Batches | Mixes):
        super().__init__()
        self._path, self._patience, self._curve, self._batches = path, patience, curve, batches
        self.history = History()
        self.best_weights: list[np.ndarray] = []

    def restore(self, model: keras.Model) -> int:
        """Load the state of an interrupted training; returns the number of epochs done."""
        if not self._path.exists():
            return 0
        with np.load(self._path) as state:
            content = json.loads(str(state["history"]))
            for index, variable in enumerate(self._variables(model)):
                variable.assign(state[f"now{index}"])
            self.best_weights = [state[f"best{index}"] for index in range(len(model.weights))]
        self.history = History(**content)
        return self.history.epochs

    @staticmethod
    def _variables(model: keras.Model) -> list:
        # `variables` holds the random state of dropout beside the weights.
        return [*model.variables, *model.optimizer.variables]

    @property
    def exhausted(self) -> bool:
        return self.history.epochs - self.history.best_epoch >= self._patience

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._batches.epoch = epoch

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        loss, val_loss = float(logs["loss"]), float(logs["val_loss"])
        if not np.isfinite(loss) or not np.isfinite(val_loss):
            raise ModelError(
                f"epoch {epoch + 1}: the loss is {loss}, the validation loss {val_loss}; "
                "lower the learning rate or the input gain"
            )
        weights = self.model.get_weights()
        if not all(np.isfinite(weight).all() for weight in weights):  # ReLU hides it from the loss
            raise ModelError(
                f"epoch {epoch + 1}: there are weights that are not finite (NaN); start again, which "
                f"goes on after epoch {epoch}, and where that doesn't help lower the learning rate"
            )
        better = val_loss < self.history.best
        self.history.loss.append(loss)
        self.history.val_loss.append(val_loss)
        if better:
            self.best_weights = [np.array(weight) for weight in weights]
        state = {
            f"now{index}": np.asarray(keras.ops.convert_to_numpy(variable.value))
            for index, variable in enumerate(self._variables(self.model))
        }
        state |= {f"best{index}": weight for index, weight in enumerate(self.best_weights)}
        with written(self._path) as temporary, open(temporary, "wb") as file:
            np.savez(file, history=json.dumps({"loss": self.history.loss, "val_loss": self.history.val_loss}), **state)
        if self._curve is not None:
            write_text(self._curve, self.history.csv())
        log.info("epoch %d: loss %.4f, validation loss %.4f%s", epoch + 1, loss, val_loss, " (best)" if better else "")
        if self.exhausted:
            self.model.stop_training = True


class ProgressBar(keras.callbacks.Callback):
    """Batches of all epochs in one bar, with rate and time left."""

    def __init__(self, batches: int, epochs: int, done: int, desc: str):
        super().__init__()
        self._bar = progress_bar(unit="batch", desc=desc, total=batches * epochs)
        self._bar.update(batches * done)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._bar.update(1)

    def on_train_end(self, logs: dict | None = None) -> None:
        self._bar.close()


def trained_in(precision: Precision) -> dict[str, str]:
    """What a card says of a precision: nothing of float32."""
    return {} if precision == "float32" else {"precision": precision}


def fit(
    model: keras.Model,
    batches: keras.utils.PyDataset,
    validation: keras.utils.PyDataset,
    epochs: int,
    checkpoint: Checkpoint,
    logs: Path | None,
    strategy: object | None = None,
) -> None:
    """Train a compiled model from where its checkpoint is, until the epochs are done or the patience is out."""
    done = checkpoint.restore(model)
    if done:
        log.info("continuing after epoch %d", done)
    if done < epochs and not checkpoint.exhausted:
        callbacks = [checkpoint, ProgressBar(len(batches), epochs, done, model.name)]
        if logs is not None and keras.backend.backend() == "tensorflow":
            callbacks.append(keras.callbacks.TensorBoard(os.fspath(logs), write_graph=False))
        with devices.synchronised(model) if strategy else nullcontext():
            model.fit(
                batches,
                validation_data=validation,
                epochs=epochs,
                initial_epoch=done,
                callbacks=callbacks,
                verbose=0,
                shuffle=False,
            )


def metrics(card: dict) -> dict:
    """What a training is judged by, with the dissertation's own figure where there is one."""
    wanted = ("val_loss", "loss", "best_epoch", "epochs", "val_loss_floor")
    values = {key: card[key] for key in wanted if card[key] is not None}
    published = find_network(card["model"]).dissertation_val_loss
    if card["mode"] == "SVS" and published is not None:
        values["val_loss_of_the_dissertation"] = published
    return values
