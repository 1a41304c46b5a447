"""The voice or the breath in a noisy recording: which methods fit, and which one is the default."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import yaml

from svs import separators
from svs.audio.sources import DifferenceSource, Source, WavSource, WavWriter
from svs.config.project import find_model
from svs.config.schema import Settings, merge
from svs.data.noisy_set import entries
from svs.runtime.files import written

if TYPE_CHECKING:
    from svs.separators.base import Separator

Wanted = Literal["voice", "respiratory"]
METHODS = ("speech_blend", "deepfilternet", "rnnoise", "wiener_noise", "spectral_gate", "repet_sim", "openunmix")
# Where speech and breath differ from songs (docs/voice.md).  A word resembles other words of the speaker, so its
# neighbours must include the pauses close by; and the mask of librosa's example is made for music.
SPEECH = (
    "separate.mixture.share=1.0",  # the floor is the recording itself
    "separate.openunmix.model=umxse",
    "separate.repet_sim.authors.distance=0.1",
    "separate.repet_sim.librosa.margin=1.0",
)
# Breath hardly pauses, so the minimum of the noise is looked for over two breaths, with little smoothing.
BREATH = (*SPEECH, "separate.wiener_noise.search=8.0", "separate.wiener_noise.smoothing=0.03")


def overrides(wanted: Wanted) -> tuple[str, ...]:
    """Parameters of the methods that differ from those for songs (voice) or for speech (respiratory)."""
    return BREATH if wanted == "respiratory" else SPEECH


def adapted(settings: Settings, wanted: Wanted) -> Settings:
    """Settings with `overrides` laid over the options of the methods."""
    separate = settings.separate.model_dump()
    for line in overrides(wanted):
        key, _, value = line.partition("=")
        laid = yaml.safe_load(value)
        for part in reversed(key.split(".")[1:]):
            laid = {part: laid}
        separate = merge(separate, laid)
    return settings.model_copy(update={"separate": type(settings.separate).model_validate(separate)})


def default(wanted: Wanted, settings: Settings, home: Path = Path()) -> str:
    """The first method of `enhance.WANTED.methods` that can run here; the last one always can."""
    names = getattr(settings.enhance, wanted).methods
    ready = (
        name
        for name in names
        if separators.find_method(name).can_run(find_model(home, separators.needs(name, settings)), False)
    )
    return next(ready, names[-1])


def enhanced(separator: Separator, mixture: Source, chunk: float, clean: Source | None = None) -> np.ndarray:
    """What a method makes of a recording of one channel, in chunks of so many seconds: float32 (samples,).

    An oracle needs the clean source.
    """
    from svs.separators.chunking import chunks  # scipy takes half a second, and the help needs the names alone

    true = {"vocals": clean, "accompaniment": DifferenceSource(mixture, clean)} if clean is not None else None
    return np.concatenate([estimate for _, estimate in chunks(separator, mixture, chunk, true)])[:, 0]


def enhance_all(recordings: Path, build: Callable[[str], Separator], chunk: float, folder: Path) -> float:
    """Enhance every recording of a set (`svs.data.noisy_set`) by one method; returns how many seconds they last.

    Parameters
    ----------
    recordings : Path
    build : callable
        From the kind of recording, "voice" or "respiratory", to the method with the options for it.
    chunk : float
        Seconds that are enhanced at a time.
    folder : Path
        Gets `NAME.wav`; it appears when all of them are there.
    """
    listed, seconds = entries(recordings), 0.0
    methods = {kind: build(kind) for kind in dict.fromkeys(entry.kind for entry in listed)}
    with written(folder) as temporary:
        temporary.mkdir()
        for entry in listed:
            mixture, clean = (WavSource(recordings / entry.name / f"{name}.wav") for name in ("mixture", "clean"))
            method = methods[entry.kind]
            estimate = enhanced(method, mixture, chunk, clean if method.needs_references else None)
            with WavWriter(temporary / f"{entry.name}.wav", entry.rate, 1) as file:
                file.write(estimate[:, None])
            seconds += mixture.samples / mixture.rate
    return seconds
