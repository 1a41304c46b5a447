"""The names of what is inside a song: one vocabulary for data, separation and scores."""

from __future__ import annotations

VOCALS = "vocals"
STREAMS = ("mixture", "drums", "bass", "other", VOCALS)  # the streams of a `.stem.mp4`, musdb's stem ids 0 to 4
ACCOMPANIMENT = ("drums", "bass", "other")  # the stems that sum to it
TARGETS = (VOCALS, "accompaniment")  # what is separated and scored
