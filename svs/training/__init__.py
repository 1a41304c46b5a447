"""Training: the loop, batches of excerpts, batches of mixtures."""
