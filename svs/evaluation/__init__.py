"""Scores: BSS Eval v4, tables, paired comparisons, published systems, revisions."""
