"""Figures that others published, to stand beside ours."""

from __future__ import annotations

# Validation losses of the dissertation, on another split (excerpts of the same songs), in nats.
SEED_VAL_LOSS = {"cnn_deep_separator": 0.4285, "cnn_separator": 0.4397}

# SiSEC18's submissions (Stöter, Liutkus & Ito 2018) that are no systems of their own: masks made from the true
# sources, and the mixture.
ORACLES = ("IRM2", "MWF", "IRM1", "IBM2", "IBM1")
FLOOR = "MIX"
# Those that the dissertation says it outperformed.
OUTPERFORMED = ("HPLP", "HPSS", "REP1", "REP2", "RPCA", "MELO", "RGT2", "STL2", "HEL1", "WK")
