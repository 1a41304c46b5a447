"""Audio in and out: sources of samples, decoding, encoding."""
