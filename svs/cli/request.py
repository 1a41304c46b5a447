"""What `svs separate` is asked for, by flags or by the menu."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from svs.errors import SettingsError

if TYPE_CHECKING:
    pass

DEFAULT_OUTPUT = Path("separated")


@dataclass
class Request:
    """What `svs separate` is asked for, by flags or by the menu."""

    songs: list[str] = field(default_factory=list)
    tracks: list[str] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)  # none: the best that is trained here
    output: Path = DEFAULT_OUTPUT
    start: float = 0.0
    duration: float | None = None
    codec: str = "wav"
    wiener: bool = False
    hpss: bool = False
    reference: Path | None = None
    musdb: Path | None = None
    weights: Path | None = None
    overwrite: bool = False
    picture: bool = True
    project: Path | None = None
    overrides: list[str] = field(default_factory=list)

    def command(self) -> str:
        """The command line that asks for the same."""
        words = ["svs", "separate", *(song if not song.startswith("-") else f"./{song}" for song in self.songs)]
        for flag, values in (("--track", self.tracks), ("--method", self.methods)):
            words += [word for value in values for word in (flag, value)]
        words += ["--output", str(self.output)]
        for flag, value in (
            ("--start", self.start or None),
            ("--duration", self.duration),
            ("--format", self.codec if self.codec != "wav" else None),
            ("--reference", self.reference),
            ("--musdb", self.musdb),
            ("--weights", self.weights),
            ("--project", self.project),
        ):
            words += [] if value is None else [flag, f"{value:.10g}" if isinstance(value, float) else str(value)]
        words += [
            flag
            for flag, on in (
                ("--wiener", self.wiener),
                ("--hpss", self.hpss),
                ("--overwrite", self.overwrite),
                ("--no-picture", not self.picture),
            )
            if on
        ]
        words += [word for override in self.overrides for word in ("--set", override)]
        return shlex.join(words)

    def all_overrides(self) -> list[str]:
        """--wiener, --hpss and --weights as parameters, and those of --set."""
        laid = [
            f"separate.cnn.{key}={value}"
            for key, value, on in (("wiener", "1", self.wiener), ("hpss", "true", self.hpss))
            if on
        ]
        if self.weights is not None:
            folder = self.weights.expanduser().resolve()
            laid += [f"methods.{method}.needs={_quoted(folder)}" for method in ("openunmix", "spleeter")]
        return [*laid, *self.overrides]


def _quoted(path: Path) -> str:
    """A path as a string of YAML."""
    import json

    return json.dumps(str(path), ensure_ascii=False)


def split_methods(given: Sequence[str] | None) -> list[str]:
    """Methods of `--method a --method b,c`, each once."""
    names = [name.strip() for text in given or () for name in text.split(",")]
    if not all(names):
        raise SettingsError(f"--method {','.join(given)!r}: expected names of methods; `svs methods` lists them")
    return list(dict.fromkeys(names))
