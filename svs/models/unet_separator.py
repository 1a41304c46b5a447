"""The U-Net separator: a stereo mask over whole passages, from frequency bands folded into channels.

The seed's nets see nine frames in mono; this one sees all of a passage in
stereo.  What it is made of, and where from:

- log magnitudes, each bin standardised (open-unmix, Stöter et al. 2019);
- neighbouring bins folded into channels, so that convolutions run over a short
  frequency axis with many channels, which is what a CPU multiplies fast, and
  the resolution stays (subband nets: Liu et al. 2020);
- blocks of convolutions over time and frequency, each followed by two dense
  layers along the frequency axis, shared by all frames and channels (TFC-TDF,
  Choi et al. 2020), as residuals whose last layer starts small, which spares
  batch normalisation (Zhang et al. 2019, "Fixup");
- a U-Net over time and frequency, whose skips are added.

It is convolutional along time: passages may have any number of frames that is a
multiple of `frames_multiple`, and a frame's mask depends on `context` frames on
either side.
"""

from __future__ import annotations

import keras
import numpy as np

from svs.settings import UNet

_SMALL = 0.08            # variance of a residual's last layer: a fifth of He's deviation


def frames_multiple(settings: UNet) -> int:
    """What the number of frames of a passage must be a multiple of."""
    return 2 ** settings.levels


def context(settings: UNet) -> int:
    """Frames on either side that the mask of a frame depends on."""
    reach, stride = 0, 1
    for _ in range(settings.levels):
        # The block on the way down, the one on the way up, and the resampling between them.
        reach += 2 * settings.blocks * settings.convolutions * stride + 2 * stride
        stride *= 2
    return reach + settings.blocks * settings.convolutions * stride


def build(bins: int, settings: UNet, mean: np.ndarray, deviation: np.ndarray, *, seed: int) -> keras.Model:
    """An untrained network.

    Parameters
    ----------
    bins : int
        A multiple of `settings.fold` times 2 to the number of levels (`svs.settings.MixTraining.bins`).
    settings : UNet
    mean, deviation : float (bins,)
        Of the training songs' log magnitudes (`svs.spectral.log_magnitude`).
    seed : int

    Returns
    -------
    keras.Model
        From log magnitudes (n, frames, bins, 2) to logits of the members' masks (n, frames, bins, 2 x members).
    """
    net = _Builder(seed)
    level = keras.Input((None, bins, 2), name="log_magnitude")
    # In float32 whatever the rest computes with: levels reach over 90 dB.
    heard = keras.layers.Normalization(axis=2, mean=mean, variance=np.square(deviation), name="standardised",
                                       dtype="float32")(level)
    heard = keras.layers.Reshape((-1, bins // settings.fold, 2 * settings.fold), name="folded")(heard)
    members = [net.member(heard, settings) for _ in range(settings.members)]
    x = members[0] if len(members) == 1 else keras.layers.Concatenate(name="members")(members)
    logits = keras.layers.Permute((1, 2, 4, 3), name="by_bin")(keras.layers.Reshape(
        (-1, bins // settings.fold, 2 * settings.members, settings.fold), name="unfolded")(x))
    logits = keras.layers.Reshape((-1, bins, 2 * settings.members), name="mask_logits")(logits)
    return keras.Model(level, logits, name="unet_separator")


class _Builder:
    """Layers by their order: each initialised from its own seed, and named so that a second net has the same names."""

    def __init__(self, seed: int):
        self._seed, self._count = seed, 0

    def he(self, variance: float = 2.0) -> keras.initializers.Initializer:
        self._seed += 1
        return keras.initializers.VarianceScaling(variance, "fan_in", "truncated_normal", seed=self._seed)

    def named(self, layer: keras.Layer) -> keras.Layer:
        self._count += 1
        layer.name = f"{type(layer).__name__.lower()}_{self._count}"
        return layer

    def convolution(self, x: keras.KerasTensor, channels: int, size: int, *, stride: int = 1,
                    activation: str | None = "relu", variance: float = 2.0) -> keras.KerasTensor:
        return self.named(keras.layers.Conv2D(channels, size, strides=stride, padding="same", activation=activation,
                                              kernel_initializer=self.he(variance)))(x)

    def dropout(self, x: keras.KerasTensor, kind: type[keras.layers.Dropout], settings: UNet) -> keras.KerasTensor:
        if not settings.dropout:
            return x
        self._seed += 1
        return self.named(kind(settings.dropout, seed=self._seed))(x)

    def member(self, heard: keras.KerasTensor, settings: UNet) -> keras.KerasTensor:
        """One U-Net, from folded bins to the folded logits of both channels."""
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
            x = self.named(keras.layers.Conv2DTranspose(channels, 2, strides=2, padding="same", activation="relu",
                                                        kernel_initializer=self.he()))(x)
            x = self.block(self.named(keras.layers.Add())([x, skip]), channels, settings)
        x = self.named(keras.layers.Concatenate())([x, heard])
        x = self.convolution(x, 2 * channels, 1)
        return self.convolution(x, 2 * settings.fold, 1, activation=None)

    def block(self, x: keras.KerasTensor, channels: int, settings: UNet) -> keras.KerasTensor:
        """Convolutions over time and frequency, then dense layers over frequency; both added to what came in."""
        for _ in range(settings.blocks):
            y = x
            for number in range(1, settings.convolutions + 1):
                last = number == settings.convolutions
                y = self.convolution(y, channels, 3, activation=None if last else "relu",
                                     variance=_SMALL if last else 2.0)
                if not last:
                    y = self.dropout(y, keras.layers.SpatialDropout2D, settings)
            x = self.named(keras.layers.Activation("relu"))(self.named(keras.layers.Add())([x, y]))
        length = x.shape[2]
        y = self.named(keras.layers.Permute((1, 3, 2)))(x)
        y = self.named(keras.layers.Dense(max(16, length // settings.bottleneck), activation="relu",
                                          kernel_initializer=self.he()))(y)
        y = self.dropout(y, keras.layers.Dropout, settings)
        y = self.named(keras.layers.Dense(length, kernel_initializer=self.he(_SMALL)))(y)
        return self.named(keras.layers.Add())([x, self.named(keras.layers.Permute((1, 3, 2)))(y)])
