"""Figures that others published, to stand beside ours."""

from __future__ import annotations

# Validation losses of the dissertation, on another split (excerpts of the same songs), in nats.
SEED_VAL_LOSS = {"cnn_deep_separator": 0.4285, "cnn_separator": 0.4397}
