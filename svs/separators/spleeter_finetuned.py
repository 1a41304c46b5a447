"""Spleeter's networks trained on by this repository (`svs.networks.spleeter_finetuned`), in spleeter's segments.

A trained network lies in the package, so the method needs neither a training nor a download.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.special import expit

from svs.config.schema import Group, Settings
from svs.errors import ModelError
from svs.separators.base import Semitones
from svs.separators.method import Kind, Method
from svs.separators.segments import BINS, REPRESENTATION, Extension, SegmentMask, Segments

NAME = "spleeter_finetuned"


class Options(Group):
    """Pitches at which the networks hear a song, and the mask above 11 kHz, which they do not see."""

    semitones: Semitones
    mask_extension: Extension


class Mask(SegmentMask):
    """The vocals of one segment.

    Parameters
    ----------
    name : str
    folder : Path
        The trained network.
    options : Options
    device : str
        As of `svs.networks.inference.Net`.

    Raises
    ------
    ModelError
        The network is missing, damaged, or another kind of network.
    UnavailableError
        There is no such device.

    Attributes
    ----------
    level : float or None
        Of the songs that it was trained on.
    """

    def __init__(self, name: str, folder: Path, options: Options, device: str = "auto"):
        super().__init__(name, options.semitones, options.mask_extension)
        from svs.networks.inference import load  # ONNX Runtime takes a while to import

        self.net, card = load(folder, device)
        self.level = card.get("level")
        if card.get("representation") != REPRESENTATION.model_dump() or card.get("bins") != BINS:
            raise ModelError(f"{folder}: expected the card of spleeter's networks, trained on; train it again")

    def mask(self, magnitude: np.ndarray) -> np.ndarray:
        # The network multiplies by the sum of the window.
        heard = magnitude.transpose(2, 1, 0)[None] / np.float32(REPRESENTATION.win_length / 2)
        return expit(self.net(np.ascontiguousarray(heard))[0]).transpose(2, 1, 0)


def build(name: str, options: Options, needs: Path, settings: Settings, device: str = "auto") -> Segments:
    mask = Mask(name, needs, options, device)
    return Segments(name, lambda audio: mask.vocals(audio, REPRESENTATION.sample_rate), mask.level, mask.net.each)


ABOUT = "spleeter's U-Nets, fine-tuned on random mixtures: in the package"
METHODS = {NAME: Method(Kind.NET, ABOUT, Options, build, recommended=4, on_device=True)}
