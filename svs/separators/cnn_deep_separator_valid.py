"""The mask predicted by `svs.networks.cnn_deep_separator_valid`, trained by this repository."""

from __future__ import annotations

from pathlib import Path

from svs.config.schema import Settings
from svs.separators.cnn import NetworkSeparator


def build(settings: Settings, needs: Path) -> NetworkSeparator:
    return NetworkSeparator("cnn_deep_separator_valid", needs, settings.separate.cnn_deep_separator_valid)
