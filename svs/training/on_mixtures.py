"""Train on mixtures (`svs.training.mixtures`): networks that see passages, judged by the audio that comes out."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np

from svs import networks
from svs.config.schema import MixtureTraining, Precision
from svs.dsp.stft import log_magnitude
from svs.errors import DataError
from svs.features.store import Stems
from svs.runtime import devices
from svs.runtime.files import Scratch, write_text
from svs.runtime.process import log, quietly
from svs.training.loop import Checkpoint, computing_in, fit, make_reproducible, trained_in
from svs.training.mixtures import Mixes, Passages, spectra

with quietly():
    import keras

_QUIET = 1e-9  # beside energies: a passage of digital silence
_LEAST = 0.1  # deviation of log magnitudes below which a bin is not amplified
_CLIP = 5.0  # norm of a weight's gradient
_RATE_LEFT = 0.02  # of the learning rate, at the end
_NEVER = 2**30  # steps


class ErrorToMixture(keras.losses.Loss):
    """Energy of the error beside that of the mixture, in dB: the mean over stretches of about a second.

    As the vocals' error is the accompaniment's as well, less of it by 1 dB is
    1 dB more SDR for both (BSS Eval v4: the energy of the true source over that
    of the error, second by second).  The logarithm gives a quiet second the
    weight of a loud one, as the median over seconds does.

    Parameters
    ----------
    stretch : int
        Frames of a stretch.
    floor : float
        dB beside the mixture below which an error is as good as none; where
        nobody sings it limits what silence is worth.
    """

    def __init__(self, stretch: int, floor: float):
        super().__init__(name="error_to_mixture")
        self._stretch, self._floor = stretch, 10 ** (floor / 10)

    def call(self, y_true, y_pred):
        """From `svs.training.mixtures.targets` and logits (n, frames, bins, 2 x members), the mean over members."""
        members = y_pred.shape[-1] // 2
        if members > 1:
            return (
                sum(self.call(y_true, y_pred[..., 2 * member : 2 * member + 2]) for member in range(members)) / members
            )
        ops = keras.ops
        mask = ops.sigmoid(y_pred)
        mixture, shared, vocals = (y_true[..., part] for part in range(3))
        error = self._stretches(ops.maximum(vocals - 2 * mask * shared + mask * mask * mixture, 0.0))
        mixture = self._stretches(mixture)
        return (
            10
            / np.log(10)
            * ops.mean(ops.log(error + self._floor * mixture + _QUIET) - ops.log(mixture + _QUIET), axis=-1)
        )

    def _stretches(self, energy):
        """Sums over bins, channels and the frames of each stretch; frames that are left over are left out."""
        ops = keras.ops
        sums = ops.sum(energy, axis=(2, 3))
        count = max(1, sums.shape[1] // self._stretch)
        length = min(self._stretch, sums.shape[1])
        return ops.sum(ops.reshape(sums[:, : count * length], (-1, count, length)), axis=2)


def standardisation(stems: Stems, tracks: list[str], settings: MixtureTraining) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of the log magnitudes of the songs as they are: float32 (bins,) each."""
    total, squares, count = 0.0, 0.0, 0
    longest = round(60 * stems.rate)  # of each song its first minute will do
    for track in tracks:
        stop = min(stems.samples(track), longest)
        mixture = sum(stems.read(track, stem, 0, stop) for stem in ("vocals", "drums", "bass", "other"))
        level = log_magnitude(np.abs(spectra(mixture, settings))).astype(np.float64)
        total, squares = total + level.sum(axis=(0, 2)), squares + np.square(level).sum(axis=(0, 2))
        count += level.shape[0] * level.shape[2]
    mean = total / count
    return mean.astype(np.float32), (np.sqrt(np.maximum(squares / count - mean**2, 0)) + _LEAST).astype(np.float32)


def optimizer(
    rate: float | keras.optimizers.schedules.LearningRateSchedule, precision: Precision
) -> keras.optimizers.Optimizer:
    """Adam that leaves out a step whose gradient is not finite.

    One such step would make every weight NaN, which ReLU turns into 0 and no
    loss tells; bfloat16 kernels on a CPU have been seen to give one in some
    hundred steps.  It is Keras's loss scaling that leaves it out, here by a factor of 1.
    """
    adam = keras.optimizers.Adam(rate, clipnorm=_CLIP)
    if precision == "mixed_float16":  # for which Keras adds it by itself, with the factor that it needs
        return adam
    return keras.optimizers.LossScaleOptimizer(adam, initial_scale=1.0, dynamic_growth_steps=_NEVER)


def train_on_mixes(
    model_name: str,
    store: Path,
    settings: MixtureTraining,
    seed: int,
    scratch: Scratch,
    *,
    curve: Path | None = None,
    logs: Path | None = None,
) -> tuple[keras.Model, dict]:
    """Train a network on mixtures of a store's stems.

    Parameters, returns: as of `svs.training.on_excerpts.train`.

    Raises
    ------
    DataError
        The store holds a test track, its stems have another rate than the
        network's spectrogram, or no song is as long as a passage.
    ModelError
        The loss is not finite.
    """
    make_reproducible(seed)
    stems = Stems(store)
    if strangers := stems.tracks("test"):
        raise DataError(f"{store}: holds test tracks ({', '.join(strangers[:3])}); nothing may be trained on them")
    representation = settings.representation
    if stems.rate != representation.sample_rate:
        raise DataError(
            f"{store}: its stems have {stems.rate} Hz, the network's spectrogram "
            f"{representation.sample_rate} Hz; make extract.stems.sample_rate the same"
        )
    strategy = devices.strategy(settings.batch_size)
    batches = Mixes(stems, settings.songs, settings, seed)
    validation = Passages(stems, ("valid",), settings)
    network = networks.find_network(model_name)
    mean, deviation = standardisation(stems, stems.tracks(*settings.songs), settings)
    steps = len(batches) * settings.epochs
    warm_up = min(settings.warm_up, steps - 1)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0 if warm_up else settings.learning_rate,
        steps - warm_up,
        alpha=_RATE_LEFT,
        warmup_target=settings.learning_rate if warm_up else None,
        warmup_steps=warm_up,
    )
    stretch = max(1, round(representation.sample_rate / representation.hop_length))
    stretch = settings.frames // max(1, round(settings.frames / stretch))  # a passage holds a whole number

    def built() -> keras.Model:
        return network.build(settings.bins, settings.network, mean, deviation, seed=seed)

    with strategy.scope() if strategy else nullcontext(), computing_in(settings.precision):
        model = built()
        model.compile(optimizer(rate, settings.precision), ErrorToMixture(stretch, settings.loss_floor))
        model.optimizer.build(model.trainable_variables)
    log.info(
        "%s: %d mixtures of %.2f s an epoch, of %d songs; %d validation passages; %d parameters",
        model_name,
        settings.mixes,
        settings.frames * representation.hop_length / representation.sample_rate,
        len(stems.tracks(*settings.songs)),
        validation.passages,
        model.count_params(),
    )
    checkpoint = Checkpoint(scratch.path / "state.npz", settings.patience, curve, batches)
    fit(model, batches, validation, settings.epochs, checkpoint, logs, strategy)
    history = checkpoint.history
    epoch = history.best_epoch if settings.keep == "best" else history.epochs
    if settings.keep == "best":
        model.set_weights(checkpoint.best_weights)
    else:
        checkpoint.restore(model)
    if settings.precision != "float32":
        weights, model = model.get_weights(), built()  # as in `svs.training.on_excerpts.train`
        model.set_weights(weights)
    if curve is not None:
        write_text(curve, history.csv())
    card = {
        "model": model_name,
        "mode": "MIX",
        "parameters": model.count_params(),
        "representation": representation.model_dump(),
        "bins": settings.bins,
        "frames_multiple": settings.frames_multiple,
        "context": settings.context,
        "val_loss": history.val_loss[epoch - 1],
        "loss": history.loss[epoch - 1],
        "best_epoch": epoch,
        "epochs": history.epochs,
        "val_loss_floor": None,
        "songs": {split: len(stems.tracks(split)) for split in settings.songs},
    }
    return model, card | trained_in(settings.precision)
