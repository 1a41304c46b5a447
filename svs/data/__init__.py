"""Data sets: get one, list its tracks, open a track; pretrained weights."""
