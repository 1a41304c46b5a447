"""The mask predicted by `svs.models.cnn_separator`, trained by this repository."""

from __future__ import annotations

from pathlib import Path

from svs.separators.network import NetworkSeparator
from svs.settings import CNNOptions


def build(options: CNNOptions, needs: Path) -> NetworkSeparator:
    return NetworkSeparator("cnn_separator", needs, options)
