"""The U-Net separator: a stereo mask over whole passages, from frequency bands folded into channels.

The dissertation's networks see nine frames in mono; this one sees a whole passage in stereo.  Its parts and their
sources:

- log magnitudes, each bin standardised (open-unmix, Stöter et al. 2019);
- neighbouring bins folded into channels: convolutions run over a short frequency axis with many channels, which a CPU
  multiplies fast, and the resolution stays (subband networks: Liu et al. 2020);
- blocks of convolutions over time and frequency, each followed by two dense layers along the frequency axis, shared by
  all frames and channels (TFC-TDF, Choi et al. 2020); they are residuals whose last layer starts small, which
  replaces batch normalisation (Zhang et al. 2019, "Fixup");
- a U-Net over time and frequency, with skips that are added;
- optionally, networks of another kind in the same ensemble: all bins at once in a few hundred channels, then dilated
  convolutions over time in residual blocks (temporal convolutions, Lea et al. 2017, as in Conv-TasNet, Luo & Mesgarani
  2019).  They know a bin by its place, the U-Net knows it by its surroundings.  So their errors differ, and the mean of
  the masks has a smaller error.

It is convolutional along time: a passage may have any multiple of `Options.frames_multiple` frames, and the mask of a
frame depends on `Options.context` frames on either side.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field, model_validator

from svs.config.schema import Count, Group, MixtureTraining, Positive
from svs.networks import Network

if TYPE_CHECKING:
    import keras

_SMALL = 0.08  # variance of a residual's last layer: a fifth of He's deviation


class FullBand(Group):
    """Size of the networks that see all bins at once: number of networks, channels, blocks."""

    ensemble: Annotated[int, Field(ge=0, le=8)]
    channels: Positive
    bottleneck: Positive
    blocks: Annotated[int, Field(ge=1, le=8)]


class Size(Group):
    """Size of the U-Nets and the full-band nets: number of networks, highest frequency (Hz), bins, channels, layers."""

    ensemble: Annotated[int, Field(ge=0, le=8)]
    max_frequency: Annotated[float, Field(gt=0)]
    fold: Positive
    channels: Positive
    growth: Count
    levels: Annotated[int, Field(ge=1, le=6)]
    blocks: Positive
    convolutions: Positive
    bottleneck: Positive
    dropout: Annotated[float, Field(ge=0, lt=1)]
    full_band: FullBand

    @model_validator(mode="after")
    def _some(self) -> Size:
        if not self.ensemble + self.full_band.ensemble:
            raise ValueError("ensemble 0 and full_band.ensemble 0: expected one net at least")
        return self

    @property
    def context(self) -> int:
        """Frames on either side that the mask of a frame depends on."""
        full_band = 2**self.full_band.blocks - 1 if self.full_band.ensemble else 0
        if not self.ensemble:
            return full_band
        reach, stride = 0, 1
        for _ in range(self.levels):
            # The block on the way down, the one on the way up, and the resampling between them.
            reach += 2 * self.blocks * self.convolutions * stride + 2 * stride
            stride *= 2
        return max(full_band, reach + self.blocks * self.convolutions * stride)


class Options(MixtureTraining):
    """A training of the U-Net separator."""

    network: Size

    @model_validator(mode="after")
    def _even(self) -> Options:
        if self.frames % self.frames_multiple:
            raise ValueError(
                f"frames {self.frames}: expected a multiple of {self.frames_multiple} ({self.network.levels} levels)"
            )
        return self

    @property
    def bins(self) -> int:
        """Bins from 0 Hz up that the network takes and masks: those below `max_frequency`, as many as fold."""
        multiple = self.network.fold * 2**self.network.levels
        there = self.representation.bins
        wanted = min(
            there,
            int(self.network.max_frequency * self.representation.frame_size / self.representation.sample_rate) + 1,
        )
        return min(-(-wanted // multiple), there // multiple) * multiple

    @property
    def frames_multiple(self) -> int:
        return 2**self.network.levels

    @property
    def context(self) -> int:
        return self.network.context


def build(bins: int, settings: Size, mean: np.ndarray, deviation: np.ndarray, *, seed: int) -> keras.Model:
    """An untrained network.

    Parameters
    ----------
    bins : int
        A multiple of `settings.fold` times 2 to the number of levels (`Options.bins`).
    settings : Size
    mean, deviation : float (bins,)
        Of the log magnitudes of the training songs (`svs.dsp.stft.log_magnitude`).
    seed : int

    Returns
    -------
    keras.Model
        From log magnitudes (n, frames, bins, 2) to logits of the members' masks (n, frames, bins, 2 x members),
        the U-Nets' first.
    """
    import keras  # it takes seconds

    net = _Builder(seed)
    level = keras.Input((None, bins, 2), name="log_magnitude")
    # Always in float32, because levels span more than 90 dB.
    heard = keras.layers.Normalization(
        axis=2, mean=mean, variance=np.square(deviation), name="standardised", dtype="float32"
    )(level)
    heard = keras.layers.Reshape((-1, bins // settings.fold, 2 * settings.fold), name="folded")(heard)
    members = [net.u_net(heard, settings) for _ in range(settings.ensemble)]
    members += [net.full_band(heard, settings.full_band) for _ in range(settings.full_band.ensemble)]
    x = members[0] if len(members) == 1 else keras.layers.Concatenate(name="members")(members)
    logits = keras.layers.Permute((1, 2, 4, 3), name="by_bin")(
        keras.layers.Reshape((-1, bins // settings.fold, 2 * len(members), settings.fold), name="unfolded")(x)
    )
    logits = keras.layers.Reshape((-1, bins, 2 * len(members)), name="mask_logits")(logits)
    return keras.Model(level, logits, name="unet_separator")


class _Builder:
    """Builds layers, each with its own seed and a name by its order, so that a second net has the same names.

    A name begins with the member of the ensemble: `unet1`, `unet2`, ..., `fullband1`, ...
    """

    def __init__(self, seed: int):
        import keras

        self._keras, self._seed, self._count, self._member = keras, seed, 0, ""
        self._members: Counter[str] = Counter()

    def begin(self, kind: str) -> None:
        self._members[kind] += 1
        self._member = f"{kind}{self._members[kind]}"

    def he(self, variance: float = 2.0) -> keras.initializers.Initializer:
        self._seed += 1
        return self._keras.initializers.VarianceScaling(variance, "fan_in", "truncated_normal", seed=self._seed)

    def named(self, layer: keras.Layer) -> keras.Layer:
        self._count += 1
        layer.name = f"{self._member}_{type(layer).__name__.lower()}_{self._count}"
        return layer

    def convolution(
        self,
        x: keras.KerasTensor,
        channels: int,
        size: int,
        *,
        stride: int = 1,
        activation: str | None = "relu",
        variance: float = 2.0,
    ) -> keras.KerasTensor:
        return self.named(
            self._keras.layers.Conv2D(
                channels,
                size,
                strides=stride,
                padding="same",
                activation=activation,
                kernel_initializer=self.he(variance),
            )
        )(x)

    def dropout(self, x: keras.KerasTensor, kind: type[keras.layers.Dropout], settings: Size) -> keras.KerasTensor:
        if not settings.dropout:
            return x
        self._seed += 1
        return self.named(kind(settings.dropout, seed=self._seed))(x)

    def dense(
        self, x: keras.KerasTensor, channels: int, *, activation: str | None = "relu", variance: float = 2.0
    ) -> keras.KerasTensor:
        return self.named(
            self._keras.layers.Dense(channels, activation=activation, kernel_initializer=self.he(variance))
        )(x)

    def full_band(self, heard: keras.KerasTensor, settings: FullBand) -> keras.KerasTensor:
        """One full-band net, from folded bins to the folded logits of both channels."""
        self.begin("fullband")
        places, width = heard.shape[2:]
        x = self.dense(self.named(self._keras.layers.Reshape((-1, places * width)))(heard), settings.channels)
        for block in range(settings.blocks):
            y = self.dense(x, settings.bottleneck)
            y = self.named(
                self._keras.layers.Conv1D(
                    settings.bottleneck,
                    3,
                    dilation_rate=2**block,
                    padding="same",
                    activation="relu",
                    kernel_initializer=self.he(),
                )
            )(y)
            y = self.dense(y, settings.channels, activation=None, variance=_SMALL)
            x = self.named(self._keras.layers.Activation("relu"))(self.named(self._keras.layers.Add())([x, y]))
        x = self.dense(x, places * width, activation=None, variance=_SMALL)
        return self.named(self._keras.layers.Reshape((-1, places, width)))(x)

    def u_net(self, heard: keras.KerasTensor, settings: Size) -> keras.KerasTensor:
        """One U-Net, from folded bins to the folded logits of both channels."""
        self.begin("unet")
        channels, skips = settings.channels, []
        x = self.convolution(heard, channels, 1)
        for _ in range(settings.levels):
            x = self.block(x, channels, settings)
            skips.append(x)
            channels += settings.growth
            x = self.convolution(x, channels, 2, stride=2)
        x = self.block(x, channels, settings)
        for skip in reversed(skips):
            channels -= settings.growth
            x = self.named(
                self._keras.layers.Conv2DTranspose(
                    channels, 2, strides=2, padding="same", activation="relu", kernel_initializer=self.he()
                )
            )(x)
            x = self.block(self.named(self._keras.layers.Add())([x, skip]), channels, settings)
        x = self.named(self._keras.layers.Concatenate())([x, heard])
        x = self.convolution(x, 2 * channels, 1)
        return self.convolution(x, 2 * settings.fold, 1, activation=None)

    def block(self, x: keras.KerasTensor, channels: int, settings: Size) -> keras.KerasTensor:
        """Convolutions over time and frequency, then dense layers over frequency; both are added to their input."""
        for _ in range(settings.blocks):
            y = x
            for number in range(1, settings.convolutions + 1):
                last = number == settings.convolutions
                y = self.convolution(
                    y, channels, 3, activation=None if last else "relu", variance=_SMALL if last else 2.0
                )
                if not last:
                    y = self.dropout(y, self._keras.layers.SpatialDropout2D, settings)
            x = self.named(self._keras.layers.Activation("relu"))(self.named(self._keras.layers.Add())([x, y]))
        length = x.shape[2]
        y = self.named(self._keras.layers.Permute((1, 3, 2)))(x)
        y = self.dense(y, max(16, length // settings.bottleneck))
        y = self.dropout(y, self._keras.layers.Dropout, settings)
        y = self.dense(y, length, activation=None, variance=_SMALL)
        return self.named(self._keras.layers.Add())([x, self.named(self._keras.layers.Permute((1, 3, 2)))(y)])


NETWORKS = {
    "unet_separator": Network(
        build,
        "U-Net on the stereo spectrogram of whole passages, trained here on random mixtures",
        Options,
        recommended=2,
    )
}
