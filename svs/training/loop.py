"""Training: one loop for all networks, reproducible, and resumable from one file.

Keras's own ModelCheckpoint, EarlyStopping and BackupAndRestore lose the best value of a run that was killed, and they
write in several steps.  `Checkpoint` replaces all three with one file that appears whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from svs.config.schema import ExcerptTraining, MixtureTraining, Precision
from svs.errors import ModelError
from svs.networks import find_network
from svs.networks.archive import require_exportable
from svs.runtime import devices
from svs.runtime.files import Scratch, write_text, written
from svs.runtime.process import log, quietly
from svs.runtime.progress import progress_bar

with quietly():
    import keras

if TYPE_CHECKING:
    import tensorflow

    from svs.training.excerpts import Batches
    from svs.training.mixtures import Mixes, Passages


def make_reproducible(seed: int) -> None:
    """Seed every generator and ask for deterministic kernels.

    On a CPU, the same machine (same number of cores) then gives the same bytes.
    """
    keras.utils.set_random_seed(seed)
    if keras.config.backend() == "tensorflow":
        import tensorflow

        tensorflow.config.experimental.enable_op_determinism()
    elif keras.config.backend() == "torch":
        import torch

        torch.use_deterministic_algorithms(True, warn_only=True)


@contextmanager
def computing_in(precision: Precision) -> Iterator[None]:
    """Networks built inside compute with these numbers; their variables and losses are always float32.

    With float16, Keras scales the loss by itself, and keeps the scale among the optimiser's variables.
    """
    if precision == "mixed_bfloat16" and devices.emulates_bfloat16():
        log.warning("this processor has no instructions for bfloat16: precision: float32 would train faster")
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


class Checkpoint(keras.callbacks.Callback):
    """Keeps the best weights, stops early, and saves all state after every epoch.

    Parameters
    ----------
    path : Path
        The state file: weights, optimiser, random state, best weights and losses.
    patience : int
        Epochs without a lower validation loss after which training stops.
    curve : Path or None
        A CSV of the losses, rewritten after every epoch.
    batches : Batches or Mixes
        Gets the number of each epoch.
    seed : int
        With the number of the epoch, it seeds torch's own dropout.
    """

    def __init__(self, path: Path, patience: int, curve: Path | None, batches: Batches | Mixes, seed: int = 0):
        super().__init__()
        self._path, self._patience, self._curve = path, patience, curve
        self._batches, self._seed = batches, seed
        self.losses: list[list[float]] = []  # the training's and the validation's, by epoch
        self.best_weights: list[np.ndarray] = []

    @property
    def best_epoch(self) -> int:
        """Number (from 1) of the epoch with the lowest validation loss; 0 before the first."""
        return int(np.argmin(self.losses, axis=0)[1]) + 1 if self.losses else 0

    def restore(self, model: keras.Model) -> int:
        """Load the state of an interrupted training; returns the number of epochs done."""
        if not self._path.exists():
            return 0
        with np.load(self._path) as state:
            self.losses = state["losses"].tolist()
            arrays = [state[f"arr_{index}"] for index in range(len(state) - 1)]
        variables = self._variables(model)
        for variable, array in zip(variables, arrays, strict=False):
            variable.assign(array)
        self.best_weights = arrays[len(variables) :]
        return len(self.losses)

    @staticmethod
    def _variables(model: keras.Model) -> list:
        # `variables` holds the random state of dropout beside the weights.
        return [*model.variables, *model.optimizer.variables]

    @property
    def exhausted(self) -> bool:
        """Whether the patience is used up."""
        return len(self.losses) - self.best_epoch >= self._patience

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._batches.epoch = epoch
        if keras.config.backend() == "torch":  # its generator is not among the variables that are restored
            import torch

            torch.manual_seed(self._seed * 100_003 + epoch)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        assert logs is not None  # Keras always gives the losses
        loss, val_loss = float(logs["loss"]), float(logs["val_loss"])
        if not np.isfinite(loss) or not np.isfinite(val_loss):
            raise ModelError(
                f"epoch {epoch + 1}: the loss is {loss}, the validation loss {val_loss}; "
                "lower the learning rate or the input gain"
            )
        weights = self.model.get_weights()
        if not all(np.isfinite(weight).all() for weight in weights):  # ReLU hides it from the loss
            raise ModelError(
                f"epoch {epoch + 1}: weights that are not finite (NaN); run again to resume after epoch {epoch}, "
                "or lower the learning rate"
            )
        self.losses.append([loss, val_loss])
        better = self.best_epoch == epoch + 1
        if better:
            self.best_weights = [np.array(weight) for weight in weights]
        self._save()
        log.info("epoch %d: loss %.4f, validation loss %.4f%s", epoch + 1, loss, val_loss, " (best)" if better else "")
        if self.exhausted:
            self.model.stop_training = True

    def _save(self) -> None:
        now = [keras.ops.convert_to_numpy(variable.value) for variable in self._variables(self.model)]
        with written(self._path) as temporary, open(temporary, "wb") as file:
            np.savez(file, *now, *self.best_weights, losses=np.array(self.losses))
        self.write_curve()

    def write_curve(self) -> None:
        """Write the losses so far into the CSV."""
        if self._curve is not None:
            rows = (f"{epoch},{loss:.6f},{valid:.6f}\n" for epoch, (loss, valid) in enumerate(self.losses, start=1))
            write_text(self._curve, "epoch,loss,val_loss\n" + "".join(rows))


def train(
    build: Callable[[], keras.Model],
    batches: Batches | Mixes,
    validation: Batches | Passages,
    settings: ExcerptTraining | MixtureTraining,
    seed: int,
    scratch: Scratch,
    *,
    strategy: tensorflow.distribute.Strategy | None = None,
    keep: Literal["best", "last"] = "best",
    curve: Path | None = None,
    logs: Path | None = None,
) -> tuple[keras.Model, dict]:
    """Train a network until its epochs are done or its patience is used up; an interrupted training resumes.

    Parameters
    ----------
    build : callable
        Gives the compiled network with its initial weights.
    strategy : optional
        From `svs.runtime.devices.strategy`.
    keep : {"best", "last"}
        Which weights to return: those of the epoch with the lowest validation loss, or those of the last epoch.
    others
        As of `svs.training.on_excerpts.train`, and so are the returned model, in float32, and what is raised.  The card
        has the number of parameters, losses and epochs.
    """
    with strategy.scope() if strategy else nullcontext(), computing_in(settings.precision):
        model = build()
        require_exportable(model)
        model.optimizer.build(model.trainable_variables)
    checkpoint = Checkpoint(scratch.path / "state.npz", settings.patience, curve, batches, seed)
    if done := checkpoint.restore(model):
        log.info("continuing after epoch %d", done)
    if strategy or keras.config.backend() != "tensorflow":
        # There Keras looks at a batch before the first epoch.  What was read ahead with it stays in the queue: batches
        # in the order of another epoch, as many as the threads happened to read.
        batches.workers = validation.workers = 1
    if done < settings.epochs and not checkpoint.exhausted:
        with (
            devices.synchronised(model) if strategy else nullcontext(),
            progress_bar(unit="batch", desc=model.name, total=len(batches) * settings.epochs) as bar,
        ):
            bar.update(len(batches) * done)
            moving = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: bar.update(1))
            callbacks = [checkpoint, moving]
            if logs is not None and keras.config.backend() == "tensorflow":
                callbacks.append(keras.callbacks.TensorBoard(os.fspath(logs), write_graph=False))
            given = {"validation_data": validation, "epochs": settings.epochs, "initial_epoch": done}
            model.fit(batches, **given, callbacks=callbacks, verbose=0, shuffle=False)
    return _finished(model, checkpoint, build, settings.precision, keep)


def _finished(
    model: keras.Model, checkpoint: Checkpoint, build: Callable[[], keras.Model], precision: Precision, keep: str
) -> tuple[keras.Model, dict]:
    """The network with the weights to keep, and its card."""
    if keep == "best":
        model.set_weights(checkpoint.best_weights)
    else:
        checkpoint.restore(model)
    if precision != "float32":
        weights, model = model.get_weights(), build()  # so that the saved model does not depend on the precision
        model.set_weights(weights)
    checkpoint.write_curve()
    epochs = len(checkpoint.losses)
    epoch = checkpoint.best_epoch if keep == "best" else epochs
    loss, valid = checkpoint.losses[epoch - 1]
    found = {"loss": loss, "val_loss": valid, "parameters": model.count_params(), "best_epoch": epoch, "epochs": epochs}
    return model, found | ({} if precision == "float32" else {"precision": precision})


def metrics(card: dict) -> dict:
    """The results of a training, its size and data, and the dissertation's own figure if it reports one."""
    wanted = ("val_loss", "loss", "best_epoch", "epochs", "val_loss_floor", "parameters", "excerpts", "songs")
    values = {key: card[key] for key in wanted if card.get(key) is not None}
    published = find_network(card["model"]).dissertation_val_loss
    if card["mode"] == "SVS" and published is not None:
        values["val_loss_of_the_dissertation"] = published
    return values
