"""Voice activity: where somebody sings."""
