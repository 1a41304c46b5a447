"""The systems of SiSEC18 by name: which are floors and ceilings, and which the dissertation names."""

from __future__ import annotations

# SiSEC18's submissions (Stöter, Liutkus & Ito 2018) that are no systems of their own: masks made from the true
# sources, and the mixture.
ORACLES = ("IRM2", "MWF", "IRM1", "IBM2", "IBM1")
FLOOR = "MIX"
# Those that the dissertation says it outperformed.
OUTPERFORMED = ("HPLP", "HPSS", "REP1", "REP2", "RPCA", "MELO", "RGT2", "STL2", "HEL1", "WK")
