"""The mask predicted by `svs.models.cnn_separator_valid`, trained by this repository."""

from __future__ import annotations

from pathlib import Path

from svs.separators.network import NetworkSeparator
from svs.settings import Settings


def build(settings: Settings, needs: Path) -> NetworkSeparator:
    return NetworkSeparator("cnn_separator_valid", needs, settings.separate.cnn_separator_valid)
