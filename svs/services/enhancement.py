"""The voice or the breath in a noisy recording: which methods fit, and which one is the default."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from svs import separators
from svs.config.project import find_model
from svs.config.schema import Settings

Wanted = Literal["voice", "respiratory"]
METHODS = ("speech_blend", "deepfilternet", "rnnoise", "wiener_noise", "spectral_gate", "repet_sim", "openunmix")
# Where speech and breath differ from songs (docs/voice.md).  A word resembles other words of the speaker, so its
# neighbours must include the pauses close by; and the mask of librosa's example is made for music.
SPEECH = (
    "separate.openunmix.model=umxse",
    "separate.repet_sim.authors.distance=0.1",
    "separate.repet_sim.librosa.margin=1.0",
)
# Breath hardly pauses, so the minimum of the noise is looked for over two breaths, with little smoothing.
BREATH = (*SPEECH, "separate.wiener_noise.search=8.0", "separate.wiener_noise.smoothing=0.03")


def overrides(wanted: Wanted) -> tuple[str, ...]:
    """Parameters of the methods that differ from those for songs (voice) or for speech (respiratory)."""
    return BREATH if wanted == "respiratory" else SPEECH


def default(wanted: Wanted, settings: Settings, home: Path = Path()) -> str:
    """The first method of `enhance.WANTED.methods` that can run here; the last one always can."""
    names = getattr(settings.enhance, wanted).methods
    ready = (
        name
        for name in names
        if separators.find_method(name).ready(find_model(home, separators.needs(name, settings)), False)
    )
    return next(ready, names[-1])
