"""The mask predicted by `svs.models.cnn_separator`, trained by this repository."""

from __future__ import annotations

from pathlib import Path

from svs.separators.network import NetworkSeparator
from svs.settings import CNNOptions, Representation


def build(options: CNNOptions, representation: Representation, needs: Path) -> NetworkSeparator:
    # The representation is the one that the net was trained on: its card says which.
    return NetworkSeparator("cnn_separator", needs, options)
