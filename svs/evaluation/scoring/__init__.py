"""The scores of estimates: BSS Eval v4 and v3, log-WMSE, the distance of spectra; and scoring a method with them."""
