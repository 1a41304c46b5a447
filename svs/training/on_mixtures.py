"""Train networks of passages on mixtures (`svs.training.mixtures`); the loss is the error of the audio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from svs import networks
from svs.config import paths
from svs.config.schema import MixtureTraining, Precision
from svs.dsp.stft import log_magnitude
from svs.errors import DataError, ModelError
from svs.features.store import Stems
from svs.networks import MODEL, archive
from svs.runtime import devices
from svs.runtime.files import Scratch, sha256
from svs.runtime.process import log, quietly
from svs.stems import VOCALS
from svs.training import loop
from svs.training.mixtures import Mixes, Passages, spectra

with quietly():
    import keras

_QUIET = 1e-9  # added to energies, for passages of digital silence
_LEAST = 0.1  # added to the deviation of log magnitudes, so that no bin is amplified more than tenfold
_CLIP = 5.0  # norm of a weight's gradient
_RATE_LEFT = 0.02  # of the learning rate, at the end
_NEVER = 2**30  # steps


class ErrorToMixture(keras.losses.Loss):
    """Energy of the error relative to the mixture, in dB: the mean over stretches of about a second.

    The vocals' error is the accompaniment's error too.  So 1 dB less of it gives 1 dB more SDR for both (BSS Eval v4:
    the energy of the true source over that of the error, second by second).  The logarithm gives a quiet second the
    weight of a loud one, as the median over seconds does.

    Parameters
    ----------
    stretch : int
        Frames of a stretch.
    floor : float
        dB relative to the mixture.  A lower error counts as this one, which limits the reward for silence where nobody
        sings.
    """

    def __init__(self, stretch: int, floor: float):
        super().__init__(name="error_to_mixture")
        self._stretch, self._floor = stretch, 10 ** (floor / 10)

    def call(self, y_true, y_pred):
        """From `svs.training.mixtures.targets` and logits (n, frames, bins, 2 x members), the mean over members."""
        members = y_pred.shape[-1] // 2
        if members > 1:
            return sum(self.call(y_true, y_pred[..., 2 * one : 2 * one + 2]) for one in range(members)) / members
        ops, mask = keras.ops, keras.ops.sigmoid(y_pred)
        mixture, shared, vocals = (y_true[..., part] for part in range(3))
        error = self._stretches(ops.maximum(vocals - 2 * mask * shared + mask * mask * mixture, 0.0))
        mixture = self._stretches(mixture)
        level = ops.log(error + self._floor * mixture + _QUIET) - ops.log(mixture + _QUIET)
        return 10 / np.log(10) * ops.mean(level, axis=-1)

    def _stretches(self, energy):
        """Sums over bins, channels and the frames of each stretch; remaining frames are left out."""
        ops = keras.ops
        sums = ops.sum(energy, axis=(2, 3))
        count = max(1, sums.shape[1] // self._stretch)
        length = min(self._stretch, sums.shape[1])
        return ops.sum(ops.reshape(sums[:, : count * length], (-1, count, length)), axis=2)


def standardisation(stems: Stems, tracks: list[str], settings: MixtureTraining) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of the songs' log magnitudes: float32 (bins,) each."""
    total, squares, count = np.zeros(settings.bins), np.zeros(settings.bins), 0
    longest = round(60 * stems.rate)  # the first minute of each song is enough
    for track in tracks:
        stop = min(stems.samples(track), longest)
        mixture = np.add.reduce([stems.read(track, stem, 0, stop) for stem in (VOCALS, *stems.parts(track))])
        level = log_magnitude(np.abs(spectra(mixture, settings))).astype(np.float64)
        total, squares = total + level.sum(axis=(0, 2)), squares + np.square(level).sum(axis=(0, 2))
        count += level.shape[0] * level.shape[2]
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0)) + _LEAST
    return mean.astype(np.float32), deviation.astype(np.float32)


def optimizer(
    rate: float | keras.optimizers.schedules.LearningRateSchedule, precision: Precision
) -> keras.optimizers.Optimizer:
    """Adam that leaves out a step whose gradient is not finite.

    One such step would make every weight NaN; ReLU turns NaN into 0, so no loss would show it.  bfloat16 kernels on a
    CPU give such a step once in some hundred.  Keras's loss scaling, here by a factor of 1, leaves it out.
    """
    adam = keras.optimizers.Adam(rate, clipnorm=_CLIP)
    if precision == "mixed_float16":  # Keras adds loss scaling by itself, with the factor that it needs
        return adam
    return keras.optimizers.LossScaleOptimizer(adam, initial_scale=1.0, dynamic_growth_steps=_NEVER)


def learning_rate(steps: int, settings: MixtureTraining) -> keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate of each of `steps` batches: a linear warm-up, then a cosine."""
    warm_up = min(settings.warm_up, steps - 1)
    return keras.optimizers.schedules.CosineDecay(
        0.0 if warm_up else settings.learning_rate,
        steps - warm_up,
        alpha=_RATE_LEFT,
        warmup_target=settings.learning_rate if warm_up else None,
        warmup_steps=warm_up,
    )


def started(model: keras.Model, name: str, start: str, home: Path) -> dict[str, Any]:
    """Give a network the weights that it starts from (`MixtureTraining.start`); returns what its card says of them.

    Raises
    ------
    ModelError, UnavailableError
        As of `train_on_mixes`.
    """
    published = networks.find_network(name).weights
    if start in published:
        return published[start](model, home / paths.WEIGHTS / start)
    folder = home / start
    if not folder.is_dir():
        expected = " or ".join([*published, "the folder of a trained network"])
        raise ModelError(f"train.{name}.start: expected {expected}, found no {folder}; train it first, or name another")
    trained, card = archive.load(folder)
    weights = trained.get_weights()
    if [weight.shape for weight in weights] != [tuple(weight.shape) for weight in model.weights]:
        raise ModelError(
            f"train.{name}.start: the weights in {folder} have other shapes than {name}'s; give both the same size"
        )
    model.set_weights(weights)
    return {"name": start, "model": card["model"], "sha256": sha256([folder / MODEL])} | {
        key: card[key] for key in ("start",) if key in card
    }


def _stretch(settings: MixtureTraining) -> int:
    """Frames of about a second, of which a passage holds a whole number."""
    second = max(1, round(settings.representation.sample_rate / settings.representation.hop_length))
    return settings.frames // max(1, round(settings.frames / second))


def train_on_mixes(
    model_name: str,
    store: Path,
    settings: MixtureTraining,
    seed: int,
    scratch: Scratch,
    *,
    home: Path = Path(),
    curve: Path | None = None,
    logs: Path | None = None,
) -> tuple[keras.Model, dict]:
    """Train a network on mixtures of a store's stems.

    Parameters, returns: as of `svs.training.on_excerpts.train`.  `home` is the project's folder, to which
    `settings.start` is relative, and in whose `models/weights` published weights may lie.

    Raises
    ------
    DataError
        The store holds a test track or no levels, its stems have another rate than the network's spectrogram, or no
        song is as long as a passage.
    ModelError
        The loss or a weight is not finite, or `settings.start` has other shapes or is no network.
    UnavailableError
        `settings.start` names published weights that can't be had.
    """
    loop.make_reproducible(seed)
    stems, ours = Stems(store), settings.representation
    if strangers := stems.tracks("test"):
        raise DataError(f"{store}: holds test tracks ({', '.join(strangers[:3])}); nothing may be trained on them")
    if stems.rate != ours.sample_rate:
        raise DataError(
            f"{store}: its stems have {stems.rate} Hz, the network's spectrogram {ours.sample_rate} Hz; "
            "make extract.stems.sample_rate the same"
        )
    strategy = devices.strategy(settings.batch_size)
    batches, validation = Mixes(stems, settings.songs, settings, seed), Passages(stems, ("valid",), settings)
    songs, seconds = stems.tracks(*settings.songs), settings.frames * ours.hop_length / ours.sample_rate
    level = stems.level("MIX", *settings.songs)
    mean, deviation = standardisation(stems, songs, settings) if settings.logarithmic else (None, None)
    told = "%s: %d mixtures of %.2f s an epoch, of %d songs; %d validation passages"
    log.info(told, model_name, settings.mixes, seconds, len(songs), len(validation.places))
    origin: dict[str, Any] = {}

    def build() -> keras.Model:
        untrained = networks.find_network(model_name).build
        model = untrained(settings.bins, settings.network, mean, deviation, seed=seed)
        if settings.start is not None:
            origin["start"] = started(model, model_name, settings.start, home)
        rate = learning_rate(len(batches) * settings.epochs, settings)
        model.compile(optimizer(rate, settings.precision), ErrorToMixture(_stretch(settings), settings.loss_floor))
        return model

    kept: dict[str, Any] = {"strategy": strategy, "keep": settings.keep, "curve": curve, "logs": logs}
    model, card = loop.train(build, batches, validation, settings, seed, scratch, **kept)
    size = {name: getattr(settings, name) for name in ("bins", "frames_multiple", "context")}
    card |= origin | size | {"model": model_name, "mode": "MIX", "representation": ours.model_dump(), "level": level}
    counts = {split: len(stems.tracks(split)) for split in settings.songs}
    return model, card | {"val_loss_floor": None, "songs": counts}
