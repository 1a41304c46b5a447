"""Spectrograms, masks and singing labels of the training tracks, in a zarr store."""
