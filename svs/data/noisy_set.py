"""A set of recordings in noise on disk: `svs.data.noisy` makes it, methods and scores read it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from svs.runtime.files import read_json

LIST = "recordings.json"  # in the folder of a set, beside NAME/{mixture,clean}.wav
KINDS = ("voice", "respiratory")  # as the commands


@dataclass(frozen=True)
class Entry:
    """What a recording is made of: kind, source and its split, noise, SNR in dB, sample rate in Hz."""

    kind: str
    source: str
    split: str
    noise: str
    snr: float
    rate: int

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.kind}-{self.source}-{self.noise}-{self.snr:g}dB".replace(" ", "_")


def entries(folder: Path) -> list[Entry]:
    """The recordings of a set in a folder."""
    return [Entry(**row) for row in read_json(folder / LIST)]
