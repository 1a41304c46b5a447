"""The page itself, in Gradio."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import gradio as gr
import jinja2
import numpy as np

from svs import separators
from svs.app.work import ARCHIVE, PASSAGE, Desk, Job, Wish, clock, describe, explained, missing
from svs.audio.encode import FORMATS
from svs.errors import SVSError
from svs.evaluation.museval_json import MEASURES
from svs.services import doctor, enhancement
from svs.services.recordings import PICTURE
from svs.stems import TARGETS

STATIC = Path(__file__).parent / "static"
# The fonts are the system's: none is loaded.
THEME = gr.themes.Base(
    neutral_hue="slate", radius_size="md", font=("system-ui", "sans-serif"), font_mono=("ui-monospace", "monospace")
)
POLL = 0.25  # s between looks at a job
VISITORS = 16  # jobs that may run or wait at the same time
WIENER = 3  # iterations at most
_KINDS = [("a song", "song"), ("a voice in noise", "voice"), ("breathing in noise", "respiratory")]
_HEADER = """# Singing voice separation
Drop a song, choose methods and a passage, and compare what each method makes of it: the vocals, and the accompaniment
that remains. Or take a voice, or breathing, out of a noisy recording.

Everything happens on this machine, nothing is sent anywhere else. Results are deleted when this page is closed, uploads
when the server ends. A passage may be up to {minutes:g} min long.
"""


def build(desk: Desk) -> gr.Blocks:
    """The page for a desk, which starts the separations."""
    texts = {name: method.about for name, method in separators.methods().items()}
    lacking = missing(desk.project)
    best = doctor.default(desk.project) or "repet_sim"
    here = [name for name in texts if name not in (*lacking, *separators.of_kind(separators.Kind.ORACLE))]
    here.sort(key=lambda name: name != best)
    with gr.Blocks(title="Singing voice separation", analytics_enabled=False, delete_cache=(600, 86400)) as page:
        gr.Markdown(_HEADER.format(minutes=desk.seconds / 60))
        with gr.Column(elem_classes="svs-panel"):
            gr.Markdown("## 1. Song and passage")
            with gr.Row(equal_height=False):
                with gr.Column(min_width=280):
                    song = gr.File(label="Song (audio or video)", height=180, elem_id="svs-song")
                    about = gr.HTML(elem_id="svs-about", apply_default_css=False)
                with gr.Column(min_width=280):
                    with gr.Row():
                        start = gr.Number(0, label="Start", info="seconds", min_width=100)
                        duration = gr.Number(PASSAGE, label="Duration", info="seconds; 0: to the end", min_width=100)
                    kind = gr.Radio(_KINDS, value="song", label="What it is", elem_id="svs-kind")
                    codec = gr.Radio(FORMATS, value=FORMATS[0], label="Format of the results")
        with gr.Column(elem_classes="svs-panel"):
            gr.Markdown("## 2. Methods")
            with gr.Group(elem_id="svs-methods"):
                ticks = [
                    gr.Checkbox(name == best, label=name, info=texts[name], elem_classes="svs-method") for name in here
                ]
            if lacking:
                with gr.Accordion(f"Not available here: {len(lacking)} methods", open=False):
                    gr.HTML(HTML.missing(lacking, texts), apply_default_css=False)
            advanced = gr.Accordion("Advanced: filters after our networks, scores against a reference", open=False)
            with advanced, gr.Row(equal_height=False):
                with gr.Column(min_width=280):
                    wiener = gr.Slider(
                        0, WIENER, 0, step=1, label="Multichannel Wiener filter", info="iterations; 0: none"
                    )
                    hpss = gr.Checkbox(
                        label="Harmonic filter", info="Removes percussion from the vocals of our networks"
                    )
                with gr.Column(min_width=280):
                    reference = gr.File(label="Reference: the true vocals of this recording", height=150)
        with gr.Row():
            go = gr.Button("Separate", variant="primary", size="lg", scale=4, elem_id="svs-go")
            stop = gr.Button("Cancel", size="lg", min_width=120, interactive=False, elem_id="svs-stop")
        view = gr.HTML(elem_id="svs-view", apply_default_css=False)

        views = _Views(desk, here)
        form = [song, kind, start, duration, codec, wiener, hpss, reference, *ticks]
        private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        kind.change(views.suggest, kind, ticks, queue=False, **private)
        song.change(views.look, song, about, queue=False, **private)
        # One job works at a time: the desk makes the others wait, and they can be cancelled meanwhile.
        go.click(views.separate, form, [view, go, stop], concurrency_limit=VISITORS, **private)
        stop.click(views.cancel, None, stop, queue=False, **private)
        page.unload(views.leave)
    return page


class _Views:
    """What the buttons of the page call."""

    def __init__(self, desk: Desk, names: list[str]):
        self._desk, self._names = desk, names

    def look(self, song: str | None) -> str:
        """The recording in a few words, or why it is none."""
        if not song:
            return ""
        try:
            return escape(describe(Path(song)))
        except SVSError as error:
            return HTML.alert("error", explained(error, Path(song)))

    def suggest(self, kind: str) -> list[dict]:
        """Tick the method that is the default for this kind of recording."""
        project = self._desk.project
        if kind == "song":
            best = doctor.default(project)
        else:
            best = enhancement.default(cast(enhancement.Wanted, kind), project.settings, project.home)
        return [gr.update(value=name == best) for name in self._names]

    def separate(self, request: gr.Request, *form: Any) -> Iterator:
        """Start a job, and show it until it has ended."""
        song, kind, start, duration, codec, wiener, hpss, reference, *ticks = form
        chosen = tuple(name for name, tick in zip(self._names, ticks, strict=True) if tick)
        recording, truth = (Path(path) if path else None for path in (song, reference))
        truth = truth if kind == "song" else None
        wish = Wish(recording, chosen, start or 0.0, duration or 0.0, codec, int(wiener), hpss, truth, kind)
        job = self._desk.start(request.session_hash, wish)
        while not job.wait(POLL):
            yield HTML.job(job), gr.update(interactive=False), gr.update(interactive=not job.cancelled)
        yield HTML.job(job), gr.update(interactive=True), gr.update(interactive=False)

    def cancel(self, request: gr.Request) -> dict:
        self._desk.cancel(request.session_hash)
        return gr.update(interactive=False)

    def leave(self, request: gr.Request) -> None:
        self._desk.leave(request.session_hash)


def _url(path: Path, job: Job) -> str:
    """Where the server has a file of a job; nobody can guess the name of the job's folder."""
    return quote(f"results/{path.relative_to(job.folder.parent)}")


def _median(frames: np.ndarray) -> str:
    """Median over frames in dB; frames without a score (silence) do not count."""
    finite = np.asarray(frames)[np.isfinite(frames)]
    return f"{np.median(finite):.2f}" if finite.size else "–"


_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(STATIC), autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined
)
_TEMPLATES.filters.update(clock=clock, url=_url, median=_median)
_TEMPLATES.globals.update(archive=ARCHIVE, measures=MEASURES, picture=PICTURE, targets=TARGETS)
HTML: Any = _TEMPLATES.get_template("job.html").module  # its macros
