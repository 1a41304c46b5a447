"""Read recordings of every format."""
