"""The report's HTML: one file with its style, its script and its data in it.

The template escapes every name; data for the script is JSON.  The policy in
the page's head lets the browser load only the pictures and the audio beside the
page.  It allows style and script by their hashes, which works from disk too,
where a page has no origin.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import pandas as pd
from markupsafe import Markup

from svs import networks
from svs.config.schema import Settings
from svs.evaluation import rulers
from svs.evaluation.published import OUTPERFORMED
from svs.evaluation.tables import by_dataset
from svs.figures.spectrograms import LOWEST
from svs.report import content
from svs.report.content import Content, Method
from svs.report.listening import Passage
from svs.report.noise import Section
from svs.separators import Kind, find_method, of_kind, options
from svs.stems import TARGETS

_HERE = Path(__file__).parent
_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" '
    'fill="#2f6fb2"/><g stroke="#fff" stroke-width="2.6" stroke-linecap="round"><path d="M7 13v6M12 9v14"/>'
    '<path d="M17 6v20M22 11v10M26 14v4" opacity=".55"/></g></svg>'
)


def render(gathered: Content, passages: Sequence[Passage], settings: Settings, section: Section | None = None) -> str:
    """The page as text, with the passages of every test track in the order in which they are shown.

    `section` is that on voices and breathing in noise; without it the page has none.
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
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    shown = [method for method in gathered.methods if method.here]
    names = [*(method.name for method in shown), *gathered.absent]
    table = gathered.table.set_index(["method", "target"])
    medians = _medians(gathered)
    return environment.get_template("report.html.j2").render(
        policy=policy,
        style=Markup(style),
        script=Markup(script),
        icon="data:image/svg+xml," + quote(_ICON),
        content=gathered,
        passages=passages,
        section=section,
        settings=settings,
        targets=TARGETS,
        measures=gathered.measures,
        units=rulers.UNITS,
        shown=shown,
        published=[item for item in gathered.methods if not item.here],
        medians=medians,
        paired=_paired(gathered.paired),
        trainings={
            "autoencoder": settings.pretrain,
            **{name: networks.training(name, settings) for name in settings.models},
            "vad": settings.vad,
        },
        options=[
            (name, find_method(name).about, list(content.flat(options(name, settings).model_dump(mode="json"))))
            for name in names
        ],
        songs=[_ranked(shown, table.loc[table["track"] == track, gathered.measures]) for track in gathered.tracks],
        summaries={name: _summary(rows) for name, rows in medians.items()},
        data=_charts(gathered),
        tracks=[
            {**asdict(passage), "lowest": LOWEST, "frames": gathered.frames.get(passage.name)} for passage in passages
        ],
    )


def _medians(gathered: Content) -> dict[str, list[Row]]:
    """Medians over tracks by data set, methods in the order of `_ranked`."""
    return {
        name: _ranked(
            [method for method in gathered.methods if method.name in set(rows["method"])],
            rows.groupby(["method", "target"])[gathered.measures].median(),
        )
        for name, rows in by_dataset(gathered.table).items()
    }


def _charts(gathered: Content) -> dict[str, Any]:
    return {
        "targets": TARGETS,
        "measures": gathered.measures,
        "units": rulers.UNITS,
        "protocols": gathered.protocols,
        "tracks": gathered.tracks,
        "methods": [asdict(method) for method in gathered.methods],
        "limits": [[of_kind(Kind.FLOOR)[0], content.BOTTOM], [of_kind(Kind.ORACLE)[0], content.TOP]],
        "scores": gathered.scores,
        "curves": gathered.curves,
    }


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def decibels(value: float) -> str:
    """Two decimals with a real minus sign; a dash for a missing score."""
    return "–" if value != value else f"{value:.2f}".replace("-", "−")


def clock(seconds: float) -> str:
    """Minutes and seconds: 3:25; with tenths below a minute: 0:06.1."""
    tenths = round(10 * seconds)
    text = f"{tenths // 600}:{tenths // 10 % 60:02d}"
    return text + (f".{tenths % 10}" if tenths < 600 and tenths % 10 else "")


Row = tuple[Method, dict[str, dict[str, float]]]  # a method, and by target and measure its score (dB) or NaN


def _ranked(methods: Sequence[Method], scores: pd.DataFrame) -> list[Row]:
    """Methods with their scores (index method and target), best vocals first."""
    every = scores.reindex(pd.MultiIndex.from_product([[method.name for method in methods], TARGETS]))
    order = every.xs("vocals", level=1)["SDR"].sort_values(ascending=False, kind="stable").index
    by_name = {method.name: method for method in methods}
    return [(by_name[name], every.loc[name].to_dict("index")) for name in order]


def _summary(rows: Sequence[Row]) -> list[tuple[Method, float]]:
    """Floor, best method of ours, best pretrained one, ceiling (a binary mask), with their median SDR of vocals."""
    best: dict[str, tuple[Method, float]] = {}
    for method, values in rows:
        if method.here and (method.kind != content.TOP or method.name == of_kind(Kind.ORACLE)[0]):
            best.setdefault(method.kind, (method, values["vocals"]["SDR"]))
    return [best[kind] for kind in (content.BOTTOM, content.OURS, content.PRETRAINED, content.TOP) if kind in best]


def _paired(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of the paired table, and where the interval lies in a picture 100 wide."""
    ends = table[["low", "high", "difference"]].abs().max(axis=1)
    reach = ends.groupby([table["method"], table["target"]]).transform("max").replace(0, 1)
    places = {"left": "low", "middle": "difference", "right": "high"}
    places = {place: (50 + 48 * table[column] / reach).round(2) for place, column in places.items()}
    sign = (table["low"] > 0).astype(int) - (table["high"] < 0)
    return table.assign(**places, claimed=table["system"].isin(OUTPERFORMED), sign=sign).to_dict("records")
