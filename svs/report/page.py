"""The report's HTML: one file with its style, its script and its data in it.

Whatever comes from outside is escaped by the template or written as JSON.  The
policy in its head forbids the browser to load anything but the pictures and
the audio beside the page; style and script are known to it by their hashes,
which works from disk too, where a page has no origin.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from svs import networks
from svs.config.schema import MixtureTraining, Settings
from svs.evaluation.museval_json import BSSEVAL, MEASURES
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
    environment.filters["decibels"] = decibels
    environment.filters["clock"] = clock
    shown = [method for method in gathered.methods if method.here]
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
        medians=medians(gathered),
        paired=_paired(gathered),
        trainings=_trainings(gathered, settings),
        options=_options(gathered, settings),
        counts=_counts(gathered),
        song=_song(gathered, shown),
        summary=_summary(gathered),
        data=_json(_charts(gathered)),
        tracks=[_json(_track(gathered, passage, index)) for index, passage in enumerate(passages)],
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _json(value: Any) -> Markup:
    """JSON that may stand inside a script element, whatever the names in it are."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def decibels(value: float | None) -> str:
    """Two decimals with a real minus sign; a dash where there is no score."""
    return "–" if value is None or value != value else f"{value:.2f}".replace("-", "−")


def clock(seconds: float) -> str:
    """3:25, or 0:06.1 where tenths tell."""
    tenths = round(10 * seconds)
    text = f"{tenths // 600}:{tenths // 10 % 60:02d}"
    return text + (f".{tenths % 10}" if tenths < 600 and tenths % 10 else "")


def medians(gathered: Content) -> list[tuple[Method, dict[str, dict[str, float | None]]]]:
    """Of every method the median over tracks of every measure, best vocals first."""
    rows = []
    for method in gathered.methods:
        scores = gathered.scores[BSSEVAL].get(method.name, {})
        rows.append(
            (
                method,
                {
                    target: {measure: content.median(scores.get(target, {}).get(measure, [])) for measure in MEASURES}
                    for target in TARGETS
                },
            )
        )
    return sorted(rows, key=lambda row: (row[1]["vocals"]["SDR"] is None, -(row[1]["vocals"]["SDR"] or 0.0)))


def _summary(gathered: Content) -> list[tuple[Method, float | None]]:
    """The best method of ours between the floor and the ceiling (a binary mask), with their median SDR of vocals."""
    best: dict[str, tuple[Method, float | None]] = {}
    for method, values in medians(gathered):
        if method.here and (method.kind != content.TOP or method.name == of_kind(Kind.ORACLE)[0]):
            best.setdefault(method.kind, (method, values["vocals"]["SDR"]))
    return [best[kind] for kind in (content.BOTTOM, content.OURS, content.TOP) if kind in best]


def _song(gathered: Content, shown: Sequence[Method]) -> list[dict[str, Any]]:
    """For every track of the manifest, its scores by method, best vocals first."""
    songs = []
    for index, _ in enumerate(gathered.tracks):
        rows = {}
        for method in shown:
            scores = gathered.scores[BSSEVAL].get(method.name, {})
            rows[method.name] = {
                target: {measure: scores[target][measure][index] if target in scores else None for measure in MEASURES}
                for target in TARGETS
            }
        best = [(method, rows[method.name]) for method in shown]
        best.sort(key=lambda row: (row[1]["vocals"]["SDR"] is None, -(row[1]["vocals"]["SDR"] or 0.0)))
        songs.append({"rows": best})
    return songs


def _paired(gathered: Content) -> list[dict[str, Any]]:
    """Rows of the paired table, and where the interval lies in a picture 100 wide."""
    rows = gathered.paired.to_dict("records")
    reach: dict[tuple[str, str], float] = {}  # of what is shown together (dB)
    for row in rows:
        ends = [abs(row[key]) for key in ("low", "high", "difference") if row[key] == row[key]]
        shown = (row["method"], row["target"])
        reach[shown] = max([reach.get(shown, 0.0), *ends])

    def place(row: dict[str, Any], key: str) -> float | None:
        if row[key] != row[key]:
            return None
        return round(50 + 48 * row[key] / (reach[row["method"], row["target"]] or 1.0), 2)

    return [
        {
            **row,
            "left": place(row, "low"),
            "middle": place(row, "difference"),
            "right": place(row, "high"),
            "claimed": row["system"] in content.OUTPERFORMED,
            "sign": bool(row["low"] > 0) - bool(row["high"] < 0),
        }
        for row in rows
    ]


def _trainings(gathered: Content, settings: Settings) -> list[dict[str, Any]]:
    groups = {
        "autoencoder": settings.pretrain,
        **{name: networks.training(name, settings) for name in settings.models},
        "vad": settings.vad,
    }
    rows = []
    for name, result in gathered.trainings.items():
        group = groups[name]
        mixes = isinstance(group, MixtureTraining)
        rows.append(
            {
                "name": name,
                "epochs": group.epochs,
                "batch": group.batch_size,
                "rate": group.learning_rate,
                "smoothing": None if mixes else group.label_smoothing,
                "excerpts": f"{group.mixes} mixtures an epoch" if mixes else group.excerpts.per_track,
                "unit": " dB" if mixes else "",
                "result": result,
                "seed": gathered.curves[name]["seed"],
            }
        )
    return rows


def _options(gathered: Content, settings: Settings) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Methods that take part: name, what it is, options."""
    names = [*(method.name for method in gathered.methods if method.here), *gathered.absent]
    return [(name, find_method(name).about, list(content.flat(options(name, settings)))) for name in names]


def _counts(gathered: Content) -> dict[str, int]:
    return {split: len(gathered.manifest.split(split)) for split in ("train", "valid", "test")}


def _charts(gathered: Content) -> dict[str, Any]:
    return {
        "targets": TARGETS,
        "measures": MEASURES,
        "protocols": content.PROTOCOLS,
        "tracks": gathered.tracks,
        "methods": [
            {"name": method.name, "kind": method.kind, "here": method.here, "text": method.text}
            for method in gathered.methods
        ],
        "limits": [[of_kind(Kind.FLOOR)[0], content.BOTTOM], [of_kind(Kind.ORACLE)[0], content.TOP]],
        "scores": gathered.scores,
        "curves": gathered.curves,
    }


def _track(gathered: Content, passage: Passage, index: int) -> dict[str, Any]:
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
