"""Short-time Fourier transform and masks."""
