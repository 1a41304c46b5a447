"""Figures: boxplots of scores, training curves, spectrograms, networks."""
