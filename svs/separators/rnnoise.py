"""RNNoise: speech out of noise by a small recurrent network (Valin, MMSP 2018), in its authors' own library.

The package `pyrnnoise` carries the library, with the network inside.
"""

from __future__ import annotations

import ctypes
from typing import Annotated

import numpy as np
from pydantic import Field

from svs.config.schema import Group
from svs.runtime.unavailable import package
from svs.separators.base import Separator, Stems, round_up
from svs.separators.method import Kind, Method

_FULL_SCALE = 32768.0  # of the library's samples
_LEVEL = 0.03  # of what the network hears
_DELAY = 960  # samples by which the library is late


class Options(Group):
    """RNNoise: the context of a chunk in seconds."""

    context: Annotated[float, Field(ge=0.1, le=60)]


class RNNoise(Separator):
    name = "rnnoise"
    sample_rate, level = 48000, _LEVEL

    def __init__(self, options: Options):
        self._context = options.context
        self._library = package("pyrnnoise.rnnoise", "voice")

    def alignment(self, rate: int) -> int:
        return self._library.FRAME_SIZE

    def context(self, rate: int) -> int:
        return round_up(round(self._context * rate), self._library.FRAME_SIZE)

    def vocals(
        self, mixture: np.ndarray, rate: int, references: Stems | None = None, wanted: slice | None = None
    ) -> np.ndarray:
        return np.stack([self.enhanced(channel) for channel in mixture.T], axis=1)

    def enhanced(self, audio: np.ndarray) -> np.ndarray:
        """Speech float32 (samples,) in one channel."""
        size = self._library.FRAME_SIZE
        total = round_up(len(audio) + _DELAY, size)
        samples = np.zeros(total, dtype=np.float32)
        samples[: len(audio)] = audio * _FULL_SCALE
        state, pointer = self._library.create(), ctypes.POINTER(ctypes.c_float)
        for frame in samples.reshape(-1, size):
            place = frame.ctypes.data_as(pointer)
            self._library.lib.rnnoise_process_frame(state, place, place)
        self._library.destroy(state)
        return samples[_DELAY : _DELAY + len(audio)] / np.float32(_FULL_SCALE)


ABOUT = "RNNoise: speech out of noise, small recurrent network, pretrained (Valin 2018)"
METHODS = {
    "rnnoise": Method(
        Kind.PRETRAINED,
        ABOUT,
        Options,
        lambda name, options, needs, settings: RNNoise(options),
        modules=("pyrnnoise",),
    )
}
