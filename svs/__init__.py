"""svs: a reproducible pipeline for singing voice separation."""

__version__ = "0.1.0"
