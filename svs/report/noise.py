"""The report's section on voices and breathing in noise: medians, a boxplot, and some recordings to hear."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from svs.audio.encode import encode
from svs.audio.sources import WavSource
from svs.config import paths
from svs.config.schema import Noisy, Settings
from svs.data.noisy_set import Entry, entries
from svs.evaluation.denoised import COLUMNS, PAIRED
from svs.evaluation.speech import MEASURES
from svs.evaluation.tables import present, read_table

BOXPLOT = "denoise_boxplot.png"
_SHOWN = tuple(name for name in MEASURES if name != "SI_SDR")  # its improvement says more


@dataclass(frozen=True)
class Line:
    """A method on one kind of recording: medians by measure, and the 95 % interval of what it improves, in dB."""

    kind: str
    method: str
    medians: Mapping[str, float]
    low: float
    high: float


@dataclass(frozen=True)
class Section:
    """What the page shows: lines, and the audio files of some recordings by title and by method."""

    measures: tuple[str, ...]
    lines: list[Line]
    players: Mapping[str, Mapping[str, str]]


def make(home: Path, settings: Settings, folder: Path) -> Section | None:
    """Write the section's picture and audio into the report's folder; None where nothing was measured.

    To be heard are, of every noise, the first source at the lowest SNR: generated ones, or all (`report.audio`).
    """
    table = home / paths.METRICS / "denoise.csv"
    if not table.is_file():
        return None
    scores = read_table(table, COLUMNS)
    paired = read_table(home / paths.METRICS / "denoise_paired.csv", PAIRED).set_index(["kind", "method"])
    shutil.copy(home / paths.PLOTS / BOXPLOT, folder / BOXPLOT)
    medians = scores.groupby(["kind", "method"])[list(_SHOWN)].median()
    order = medians.sort_values(["kind", "SI_SDR_IMPROVEMENT"], ascending=False, kind="stable")
    ends = paired.reindex(order.index)[["low", "high"]]
    lines = [Line(kind, method, row.to_dict(), *ends.loc[(kind, method)]) for (kind, method), row in order.iterrows()]
    players = {
        f"{entry.kind}: {entry.source} in {entry.noise} at {entry.snr:g} dB": _audio(home, settings, folder, entry)
        for entry in _chosen(entries(home / paths.NOISY))
        if settings.report.audio == "all"
        or (settings.report.audio == "generated" and is_generated(settings.noisy, entry))
    }
    return Section(_SHOWN, lines, players)


def is_generated(noisy: Noisy, entry: Entry) -> bool:
    """Whether svs made both the source and the noise of a recording."""
    plan = getattr(noisy, entry.kind)
    others = noisy.voice.folder if entry.noise == "babble" else noisy.noise if entry.noise not in plan.noises else None
    return plan.folder is None and others is None


def _chosen(listed: list[Entry]) -> list[Entry]:
    """For each kind and noise the first source at the lowest SNR."""
    found: dict[tuple[str, str], Entry] = {}
    for entry in sorted(listed, key=lambda entry: entry.snr):
        found.setdefault((entry.kind, entry.noise), entry)
    return sorted(found.values(), key=listed.index)


def _audio(home: Path, settings: Settings, folder: Path, entry: Entry) -> dict[str, str]:
    """Encode a recording, its clean source and all estimates; their addresses, relative to the page."""
    place = home / paths.NOISY / entry.name
    wavs = {"recording": place / "mixture.wav", "clean": place / "clean.wav"} | {
        method: home / paths.DENOISED / method / f"{entry.name}.wav"
        for method in present(home / paths.DENOISED, list(settings.enhancers))
        if method != "mixture"
    }
    found = {}
    for name, wav in wavs.items():
        address = f"noisy/{entry.name}/{name}.flac"
        (folder / address).parent.mkdir(parents=True, exist_ok=True)
        encode(WavSource(wav), folder / address, "flac")
        found[name] = quote(address)
    return found
