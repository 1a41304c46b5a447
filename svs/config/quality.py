"""What `--quality` stands for: named parameters, laid over those of params.yaml and under those of `--set`.

The figures are of `python -m benchmarks.quality`, by the method spleeter_finetuned: SDR of the vocals, mean over the 14
validation tracks (MUSDB18's previews), and the speed on a song of four minutes, start and files included.
"""

from __future__ import annotations

from typing import NamedTuple

from svs.errors import SettingsError


class Quality(NamedTuple):
    """Pitches in semitones that each method hears a song at, and the figures."""

    semitones: tuple[float, ...]
    sdr: float  # dB
    speed: float  # times real time, on two cores

    def __str__(self) -> str:
        return f"{self.sdr:.2f} dB, {self.speed:.0f} times real time on two cores"


QUALITIES = {
    "fast": Quality((0.0,), 7.30, 30),
    "balanced": Quality((0.0, 2.04), 7.44, 19),  # frames of 4096 and 4608 samples
    "best": Quality((-1.12, 0.0, 2.04), 7.44, 13),  # and of 3840
}
DEFAULT = "balanced"


def parameters(name: str) -> tuple[str, ...]:
    """The parameters of a quality, `KEY=VALUE`; raises SettingsError if there is none of this name."""
    if name not in QUALITIES:
        raise SettingsError(f"quality {name}: expected one of {', '.join(QUALITIES)}")
    semitones = list(QUALITIES[name].semitones)
    return (
        f"separate.spleeter.semitones={semitones}",
        "separate.spleeter.separation_exponent=1.0",
        "separate.spleeter.mask_extension=average",
        f"separate.spleeter_finetuned.semitones={semitones}",
        f"separate.unet_separator.semitones={semitones}",
    )
