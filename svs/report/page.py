"""The report's HTML: one file with its style, its script and its data in it.

The template escapes every name; data for the script is JSON.  The policy in
the page's head lets the browser load only the pictures and the audio beside the
page.  It allows style and script by their hashes, which works from disk too,
where a page has no origin.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import pandas as pd
from markupsafe import Markup

from svs import networks
from svs.config.schema import ExcerptTraining, MixtureTraining, Settings
from svs.evaluation.museval_json import BSSEVAL, MEASURES
from svs.evaluation.published import OUTPERFORMED
from svs.report import content
from svs.report.content import Content, Method
from svs.report.listening import LOWEST, Passage
from svs.separators import Kind, find_method, of_kind, options
from svs.stems import TARGETS

_HERE = Path(__file__).parent
_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" '
    'fill="#2f6fb2"/><g stroke="#fff" stroke-width="2.6" stroke-linecap="round"><path d="M7 13v6M12 9v14"/>'
    '<path d="M17 6v20M22 11v10M26 14v4" opacity=".55"/></g></svg>'
)


def render(gathered: Content, passages: Sequence[Passage], settings: Settings) -> str:
    """The page as text.

    Parameters
    ----------
    gathered : Content
    passages : sequence of Passage
        Of every test track, in the order in which they are shown.
    settings : Settings
    """
    style, script = ((_HERE / "static" / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src 'self' file: "
        "data:; media-src 'self' file:; base-uri 'none'; form-action 'none'"
    )
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"decibels": decibels, "clock": clock}
    shown = [method for method in gathered.methods if method.here]
    names = [*(method.name for method in shown), *gathered.absent]
    rows = medians(gathered)
    return environment.get_template("report.html.j2").render(
        policy=policy,
        style=Markup(style),
        script=Markup(script),
        icon="data:image/svg+xml," + quote(_ICON),
        content=gathered,
        passages=passages,
        settings=settings,
        targets=TARGETS,
        measures=MEASURES,
        protocols=content.PROTOCOLS,
        shown=shown,
        published=[item for item in gathered.methods if not item.here],
        medians=rows,
        paired=_paired(gathered.paired),
        trainings=_trainings(gathered, settings),
        options=[(name, find_method(name).about, list(content.flat(options(name, settings)))) for name in names],
        songs=[_song(gathered, shown, index) for index, _ in enumerate(gathered.tracks)],
        summary=_summary(rows),
        data=_json(_charts(gathered)),
        tracks=[_json(_track(gathered, passage)) for passage in passages],
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _json(value: Any) -> Markup:
    """JSON that can stand inside a script element, whatever names it holds."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def decibels(value: float | None) -> str:
    """Two decimals with a real minus sign; a dash for a missing score."""
    return "–" if value is None or value != value else f"{value:.2f}".replace("-", "−")


def clock(seconds: float) -> str:
    """Minutes and seconds: 3:25; with tenths below a minute: 0:06.1."""
    tenths = round(10 * seconds)
    text = f"{tenths // 600}:{tenths // 10 % 60:02d}"
    return text + (f".{tenths % 10}" if tenths < 600 and tenths % 10 else "")


Row = tuple[Method, dict[str, dict[str, float | None]]]  # a method, and by target and measure its score (dB)


def _ranked(
    gathered: Content, methods: Sequence[Method], pick: Callable[[Sequence[float | None]], float | None]
) -> list[Row]:
    """What `pick` makes of the scores of every track, for each method; best vocals first."""
    rows = []
    for method in methods:
        scores = gathered.scores[BSSEVAL].get(method.name, {})
        values = {
            target: {measure: pick(scores[target][measure] if target in scores else []) for measure in MEASURES}
            for target in TARGETS
        }
        rows.append((method, values))
    return sorted(rows, key=lambda row: (row[1]["vocals"]["SDR"] is None, -(row[1]["vocals"]["SDR"] or 0.0)))


def medians(gathered: Content) -> list[Row]:
    """The median over tracks of every measure, for each method; best vocals first."""
    return _ranked(gathered, gathered.methods, content.median)


def _song(gathered: Content, shown: Sequence[Method], index: int) -> list[Row]:
    """The scores of one track."""
    return _ranked(gathered, shown, lambda values: values[index] if values else None)


def _summary(rows: Sequence[Row]) -> list[tuple[Method, float | None]]:
    """The best method of ours between the floor and the ceiling (a binary mask), with their median SDR of vocals."""
    best: dict[str, tuple[Method, float | None]] = {}
    for method, values in rows:
        if method.here and (method.kind != content.TOP or method.name == of_kind(Kind.ORACLE)[0]):
            best.setdefault(method.kind, (method, values["vocals"]["SDR"]))
    return [best[kind] for kind in (content.BOTTOM, content.OURS, content.TOP) if kind in best]


def _paired(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of the paired table, and where the interval lies in a picture 100 wide."""
    ends = table[["low", "high", "difference"]].abs().max(axis=1)
    shown_together = ends.groupby([table["method"], table["target"]]).transform("max")
    rows = []
    for row, reach in zip(table.to_dict("records"), shown_together.tolist(), strict=True):
        left, middle, right = (
            None if math.isnan(row[key]) else round(50 + 48 * row[key] / (reach or 1.0), 2)
            for key in ("low", "difference", "high")
        )
        claimed, sign = row["system"] in OUTPERFORMED, bool(row["low"] > 0) - bool(row["high"] < 0)
        rows.append({**row, "left": left, "middle": middle, "right": right, "claimed": claimed, "sign": sign})
    return rows


def _trainings(gathered: Content, settings: Settings) -> list[dict[str, Any]]:
    groups: dict[str, ExcerptTraining | MixtureTraining] = {
        "autoencoder": settings.pretrain,
        **{name: networks.training(name, settings) for name in settings.models},
        "vad": settings.vad,
    }
    rows = []
    for name, result in gathered.trainings.items():
        group = groups[name]
        row = {"name": name, "epochs": group.epochs, "batch": group.batch_size, "rate": group.learning_rate}
        if isinstance(group, MixtureTraining):
            row |= {"smoothing": None, "excerpts": f"{group.mixes} mixtures an epoch", "unit": " dB"}
        else:
            row |= {"smoothing": group.label_smoothing, "excerpts": group.excerpts.per_track, "unit": ""}
        rows.append({**row, "result": result, "seed": gathered.curves[name]["seed"]})
    return rows


def _charts(gathered: Content) -> dict[str, Any]:
    return {
        "targets": TARGETS,
        "measures": MEASURES,
        "protocols": content.PROTOCOLS,
        "tracks": gathered.tracks,
        "methods": [asdict(method) for method in gathered.methods],
        "limits": [[of_kind(Kind.FLOOR)[0], content.BOTTOM], [of_kind(Kind.ORACLE)[0], content.TOP]],
        "scores": gathered.scores,
        "curves": gathered.curves,
    }


def _track(gathered: Content, passage: Passage) -> dict[str, Any]:
    return {
        "folder": passage.folder,
        "seconds": round(passage.seconds, 3),
        "start": round(passage.start, 3),
        "length": round(passage.length, 3),
        "audible": passage.audible,
        "lowest": LOWEST,
        "highest": passage.highest,
        "frames": gathered.frames.get(passage.name),
    }
