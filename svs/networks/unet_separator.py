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

from typing import TYPE_CHECKING, Annotated, Any

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
        block = self.blocks * self.convolutions  # at the stride of its level
        # On each level the block on the way down, the one on the way up, and the resampling between them.
        u_net = 2 * (block + 1) * (2**self.levels - 1) + block * 2**self.levels
        return max(full_band, u_net if self.ensemble else 0)


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
        wanted = int(self.network.max_frequency * self.representation.frame_size / self.representation.sample_rate) + 1
        return min(-(-wanted // multiple), self.representation.bins // multiple) * multiple

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
    members = [net.u_net(f"unet{number + 1}", heard, settings) for number in range(settings.ensemble)]
    full_band = settings.full_band
    members += [net.full_band(f"fullband{number + 1}", heard, full_band) for number in range(full_band.ensemble)]
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
        self._seed, self._count, self._member = seed, 0, ""

    def layer(self, kind: str, *arguments: Any, **options: Any) -> keras.Layer:
        """A layer of a class of Keras."""
        import keras

        self._count += 1
        name = f"{self._member}_{kind.lower()}_{self._count}"
        return getattr(keras.layers, kind)(*arguments, name=name, **options)

    def weighted(
        self, kind: str, *sizes: int, activation: str | None = "relu", variance: float = 2.0, **options: Any
    ) -> keras.Layer:
        """A layer with weights; convolutions pad with zeros."""
        import keras

        self._seed += 1
        if kind != "Dense":
            options["padding"] = "same"
        initial = keras.initializers.VarianceScaling(variance, "fan_in", "truncated_normal", seed=self._seed)
        return self.layer(kind, *sizes, activation=activation, kernel_initializer=initial, **options)

    def dropout(self, x: keras.KerasTensor, kind: str, settings: Size) -> keras.KerasTensor:
        if not settings.dropout:
            return x
        self._seed += 1
        return self.layer(kind, settings.dropout, seed=self._seed)(x)

    def full_band(self, name: str, heard: keras.KerasTensor, settings: FullBand) -> keras.KerasTensor:
        """One full-band net, from folded bins to the folded logits of both channels."""
        self._member = name
        places, width = heard.shape[2:]
        x = self.layer("Reshape", (-1, places * width))(heard)
        x = self.weighted("Dense", settings.channels)(x)
        for block in range(settings.blocks):
            y = self.weighted("Dense", settings.bottleneck)(x)
            y = self.weighted("Conv1D", settings.bottleneck, 3, dilation_rate=2**block)(y)
            y = self.weighted("Dense", settings.channels, activation=None, variance=_SMALL)(y)
            x = self.layer("Activation", "relu")(self.layer("Add")([x, y]))
        x = self.weighted("Dense", places * width, activation=None, variance=_SMALL)(x)
        return self.layer("Reshape", (-1, places, width))(x)

    def u_net(self, name: str, heard: keras.KerasTensor, settings: Size) -> keras.KerasTensor:
        """One U-Net, from folded bins to the folded logits of both channels."""
        self._member = name
        channels, skips = settings.channels, []
        x = self.weighted("Conv2D", channels, 1)(heard)
        for _ in range(settings.levels):
            x = self.block(x, channels, settings)
            skips.append(x)
            channels += settings.growth
            x = self.weighted("Conv2D", channels, 2, strides=2)(x)
        x = self.block(x, channels, settings)
        for skip in reversed(skips):
            channels -= settings.growth
            x = self.weighted("Conv2DTranspose", channels, 2, strides=2)(x)
            x = self.block(self.layer("Add")([x, skip]), channels, settings)
        x = self.layer("Concatenate")([x, heard])
        x = self.weighted("Conv2D", 2 * channels, 1)(x)
        return self.weighted("Conv2D", 2 * settings.fold, 1, activation=None)(x)

    def block(self, x: keras.KerasTensor, channels: int, settings: Size) -> keras.KerasTensor:
        """Convolutions over time and frequency, then dense layers over frequency; both are added to their input."""
        for _ in range(settings.blocks):
            y = x
            for _ in range(settings.convolutions - 1):
                y = self.weighted("Conv2D", channels, 3)(y)
                y = self.dropout(y, "SpatialDropout2D", settings)
            y = self.weighted("Conv2D", channels, 3, activation=None, variance=_SMALL)(y)
            x = self.layer("Activation", "relu")(self.layer("Add")([x, y]))
        length = x.shape[2]
        y = self.layer("Permute", (1, 3, 2))(x)
        y = self.weighted("Dense", max(16, length // settings.bottleneck))(y)
        y = self.dropout(y, "Dropout", settings)
        y = self.weighted("Dense", length, activation=None, variance=_SMALL)(y)
        return self.layer("Add")([x, self.layer("Permute", (1, 3, 2))(y)])


NETWORKS = {
    "unet_separator": Network(
        build,
        "U-Net on the stereo spectrogram of whole passages, trained here on random mixtures",
        Options,
        recommended=2,
    )
}
