"""MUSDB18-HQ: `train/TRACK` and `test/TRACK` with `{mixture,drums,bass,other,vocals}.wav`."""

from __future__ import annotations

from svs.data.layouts.musdb18 import layout

LAYOUTS = {"musdb18hq": layout("wav", "train/TRACK and test/TRACK with mixture, drums, bass, other and vocals .wav")}
