"""The page's own HTML: pure functions from results to text; whatever comes from outside is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

import numpy as np

from svs.app.work import Piece, Progress, Run, clock
from svs.evaluation.museval_json import MEASURES
from svs.services.recordings import PICTURE
from svs.stems import TARGETS

RESULTS = "results"  # where files are served: results/TOKEN/NAME


def header(minutes: float) -> str:
    limit = f"{minutes:g} minute{'' if minutes == 1 else 's'}"
    return (
        '<header class="svs-header"><h1>Singing voice separation</h1>'
        "<p>Drop a song, choose methods and a passage, and listen to what each of them makes of it: "
        "the vocals, and the accompaniment that remains.</p>"
        f'<p class="svs-small">Everything happens on this machine: nothing is uploaded anywhere else, and all '
        f"files are deleted when the server ends. Up to {limit} of audio at a time.</p></header>"
    )


def heading(number: int, text: str) -> str:
    return f'<h2 class="svs-step"><span aria-hidden="true">{number}</span>{escape(text)}</h2>'


def alert(message: str, kind: str = "error") -> str:
    """A box with a message, read aloud by screen readers."""
    titles = {"error": "That did not work", "note": "Note", "good": "Done"}
    role = "alert" if kind == "error" else "status"
    return (
        f'<div class="svs-alert svs-{kind}" role="{role}"><strong>{titles[kind]}</strong>'
        f"<span>{escape(message)}</span></div>"
    )


def file_line(text: str) -> str:
    return f'<p class="svs-small svs-file">{escape(text)}</p>'


def progress(state: Progress, elapsed: float, stopping: bool = False) -> str:
    percent = round(100 * min(max(state.share, 0.0), 1.0))
    words = "Stopping at the next piece of audio" if stopping else state.words
    return (
        '<div class="svs-progress">'
        f'<div class="svs-progress-words"><span>{escape(words)}</span><span>{percent} % · {clock(round(elapsed))}'
        "</span></div>"
        f'<div class="svs-bar" role="progressbar" aria-label="Separation" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{percent}" aria-valuetext="{percent} %: {escape(words)}">'
        f'<div style="width: {max(percent, 2)}%"></div></div></div>'
    )


def card(run: Run, piece: Piece, text: str) -> str:
    """What one method made: three players side by side, the picture, notes."""
    title = f'<h3>{escape(piece.method)}</h3><p class="svs-small">{escape(text)}</p>'
    if piece.result is None:
        return f'<article class="svs-card"><header>{title}</header>{alert(piece.error or "It failed.")}</article>'
    codec = run.wish.codec
    players = [
        player(run, "mixture", f"mixture.{codec}", piece.method),
        *(player(run, target, f"{piece.method}/{target}.{codec}", piece.method) for target in TARGETS),
    ]
    parts = [f'<div class="svs-players">{"".join(players)}</div>']
    if f"{piece.method}/{PICTURE}" in piece.files:
        url = address(run, f"{piece.method}/{PICTURE}")
        words = escape(f"Spectrograms of the mixture, of the vocals by {piece.method}, and the mask between them")
        parts.append(
            f'<a class="svs-picture" href="{url}" target="_blank" rel="noopener" '
            f'title="Open the picture in full size"><img src="{url}" alt="{words}"></a>'
        )
    if piece.result.notes:
        notes = "".join(f"<li>{escape(note)}</li>" for note in piece.result.notes)
        parts.append(f'<ul class="svs-notes">{notes}</ul>')
    return f'<article class="svs-card"><header>{title}</header>{"".join(parts)}</article>'


def player(run: Run, name: str, file: str, method: str) -> str:
    url, path = address(run, file), run.files[file]
    label = name if name == "mixture" else f"{name} by {method}"
    saved = f"{run.song} - {name}{path.suffix}" if name == "mixture" else f"{run.song} - {method} - {name}{path.suffix}"
    return (
        f'<figure class="svs-player svs-{name}"><figcaption>{name.capitalize()}</figcaption>'
        f'<audio controls controlslist="nodownload noplaybackrate" preload="metadata" src="{url}" '
        f'data-run="{run.token}" aria-label="Play the {escape(label)}"></audio>'
        f'<a href="{url}" download="{escape(saved)}" aria-label="Download the {escape(label)}">'
        f"Download {escape(path.suffix[1:])} <span>{size(path)}</span></a></figure>"
    )


def summary(run: Run) -> str:
    """Above the cards: what was done, one download of everything, and scores where there is a reference."""
    begin, end = run.wish.start, run.wish.start + run.seconds
    passage = f"{round(begin, 1):g} to {round(end, 1):g} s"
    if end >= 60:
        passage = f"{clock(round(begin))} to {clock(round(end))}"
    several = "methods" if len(run.pieces) != 1 else "method"
    scored = [piece for piece in run.pieces if piece.result is not None and piece.result.scores]
    return (
        '<section class="svs-summary" aria-label="Results"><div class="svs-summary-line"><div>'
        f'<h2>{escape(run.song)}</h2><p class="svs-small">{passage} · {len(run.pieces)} {several} · '
        f"{clock(round(run.elapsed))} of work</p></div>"
        f'<a class="svs-button" href="{address(run, "all.zip")}" download="{escape(run.song)}.zip">'
        "Download everything (zip)</a></div>"
        '<label class="svs-together"><input type="checkbox" id="svs-together" checked> '
        "Players share one position: start another and it goes on where the last one was</label>"
        f"{scores({piece.method: piece.result.scores for piece in scored}) if scored else ''}</section>"
    )


def scores(table: Mapping[str, Mapping[str, np.ndarray]]) -> str:
    """Medians over frames of each method's SDR, ISR, SIR, SAR of both targets."""
    top = "".join(f'<th colspan="{len(MEASURES)}" scope="colgroup">{target}</th>' for target in TARGETS)
    names = "".join(f'<th scope="col">{measure}</th>' for _ in TARGETS for measure in MEASURES)
    rows = []
    for method, values in table.items():
        cells = "".join(
            f"<td>{median(values[measure][index])}</td>" for index in range(len(TARGETS)) for measure in MEASURES
        )
        rows.append(f'<tr><th scope="row">{escape(method)}</th>{cells}</tr>')
    return (
        '<figure class="svs-scores"><figcaption class="svs-small">Scores against the reference vocals in dB (BSS '
        "Eval v4, medians over 1-second frames; higher is better)</figcaption>"
        '<div class="svs-table" tabindex="0" role="region" aria-label="Scores"><table>'
        f'<thead><tr><th rowspan="2" scope="col">method</th>{top}</tr><tr>{names}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></figure>"
    )


def median(values: Sequence[float]) -> str:
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    return f"{np.median(finite):.2f}" if len(finite) else "–"


def size(path: Path) -> str:
    count = path.stat().st_size
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{max(count / 1e3, 0.1):.1f} kB"


def address(run: Run, name: str) -> str:
    return f"{RESULTS}/{run.token}/{quote(name)}"
