"""The page itself, in gradio."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from svs import separators
from svs.app import markup, work
from svs.app.work import Desk, Method, Piece, Run, Wish
from svs.errors import SVSError

WAITING = 16  # visitors who may wait for their turn
POLL = 0.25  # s between looks at a run
SYSTEM = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Ubuntu", "Cantarell", "Noto Sans", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "Liberation Mono", "monospace")


def theme() -> gr.themes.Base:
    """Fonts of the system: gradio's own themes ask Google for theirs."""
    blue = gr.themes.Color(
        "#f0f6fc",
        "#dcebf8",
        "#bbd7f0",
        "#8dbbe4",
        "#5a99d3",
        "#3a7dc0",
        "#2f6fb2",
        "#275a92",
        "#234c79",
        "#214165",
        "#162a43",
        name="svs",
    )
    base = gr.themes.Base(
        primary_hue=blue,
        secondary_hue=blue,
        neutral_hue=gr.themes.colors.slate,
        font=SYSTEM,
        font_mono=MONO,
        radius_size=gr.themes.sizes.radius_md,
    )
    return base.set(
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_text_color="white",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_500",
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_400",
        block_title_text_color="*neutral_800",
        block_title_text_color_dark="*neutral_100",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_200",
        checkbox_border_color="*neutral_400",
        checkbox_border_color_dark="*neutral_500",
        block_shadow="none",
        block_border_width="1px",
        block_label_text_weight="600",
        block_title_text_weight="600",
    )


def build(desk: Desk) -> gr.Blocks:
    """The page of a desk.

    Parameters
    ----------
    desk : Desk
        It starts the separations; its methods and limits are shown.
    """
    offered = work.methods(desk.project)
    chosen = work.default(offered)
    # The default first, and what can't run out of the way.
    offered.sort(key=lambda method: (method.missing is not None, method.name not in chosen))
    there = sum(method.missing is None for method in offered)
    with gr.Blocks(
        title="Singing voice separation", analytics_enabled=False, delete_cache=(600, 86400), fill_width=False
    ) as page:
        gr.HTML(markup.header(desk.limits.minutes), elem_id="svs-header", apply_default_css=False)
        with gr.Column(elem_classes=["svs-panel"]):
            gr.HTML(markup.heading(1, "Song and passage"), apply_default_css=False)
            with gr.Row(equal_height=False):
                with gr.Column(scale=1, min_width=280):
                    song = gr.File(label="Song (audio or video)", height=203, elem_id="svs-song")
                    about = gr.HTML(visible=False, elem_id="svs-about", apply_default_css=False)
                with gr.Column(scale=1, min_width=280):
                    with gr.Row():
                        start = gr.Number(0, label="Start", info="seconds", elem_id="svs-start", min_width=100)
                        duration = gr.Number(
                            work.PASSAGE,
                            label="Duration",
                            info="seconds; 0: to the end",
                            elem_id="svs-duration",
                            min_width=100,
                        )
                    codec = gr.Radio(
                        [("WAV, 32-bit float", "wav"), ("FLAC, 24 bit", "flac"), ("MP3", "mp3")],
                        value="wav",
                        label="Format of the results",
                        elem_id="svs-format",
                    )
        with gr.Column(elem_classes=["svs-panel"]):
            gr.HTML(markup.heading(2, "Methods"), apply_default_css=False)
            with gr.Group(elem_id="svs-methods"):
                ticks = [_tick(method, method.name in chosen) for method in offered[:there]]
            if offered[there:]:
                with (
                    gr.Accordion(
                        f"Not available here: {len(offered) - there} methods", open=False, elem_id="svs-unavailable"
                    ),
                    gr.Group(elem_id="svs-others"),
                ):
                    ticks += [_tick(method, False) for method in offered[there:]]
            with (
                gr.Accordion(
                    "Advanced: filters after our nets, scores against a reference", open=False, elem_id="svs-advanced"
                ),
                gr.Row(equal_height=False),
            ):
                with gr.Column(scale=1, min_width=280):
                    wiener = gr.Slider(
                        0,
                        work.WIENER,
                        0,
                        step=1,
                        label="Multichannel Wiener filter",
                        info="Iterations after our nets; 0: none",
                        elem_id="svs-wiener",
                    )
                    hpss = gr.Checkbox(
                        False,
                        label="Harmonic filter",
                        elem_id="svs-hpss",
                        info="Drop what percussion leaked into the vocals of our nets",
                    )
                with gr.Column(scale=1, min_width=280):
                    reference = gr.File(
                        label="Reference: the true vocals of this recording", height=150, elem_id="svs-reference"
                    )
        with gr.Row(elem_id="svs-buttons"):
            go = gr.Button("Separate", variant="primary", size="lg", scale=4, elem_id="svs-go")
            stop = gr.Button(
                "Cancel", variant="secondary", size="lg", scale=1, min_width=120, interactive=False, elem_id="svs-stop"
            )
        status = gr.HTML(elem_id="svs-status", apply_default_css=False)
        summary = gr.HTML(visible=False, elem_id="svs-summary", apply_default_css=False)
        cards = {
            method.name: gr.HTML(visible=False, elem_id=f"svs-card-{method.name}", apply_default_css=False)
            for method in offered
        }

        views = _Views(desk, offered)
        private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        song.change(views.look, song, [about, status], queue=False, **private)
        # The desk lets one run work at a time, and says so to those who wait.
        go.click(
            views.separate,
            [song, start, duration, codec, wiener, hpss, reference, *ticks],
            [status, go, stop, summary, *cards.values()],
            concurrency_limit=WAITING,
            trigger_mode="once",
            **private,
        )
        stop.click(views.cancel, None, stop, queue=False, **private)
        page.unload(views.left)
    page.queue(default_concurrency_limit=WAITING, max_size=64)
    return page


def _tick(method: Method, chosen: bool) -> gr.Checkbox:
    if method.missing is None:
        info = f"{method.text}. Recommended." if chosen and method.name in separators.recommended() else method.text
        return gr.Checkbox(
            chosen, label=method.name, info=info, elem_id=f"svs-method-{method.name}", elem_classes="svs-method"
        )
    why = f"{method.missing[:1].upper()}{method.missing[1:]}"
    return gr.Checkbox(
        False,
        label=method.name,
        info=f"{method.text}. {why}.",
        interactive=False,
        elem_id=f"svs-method-{method.name}",
        elem_classes=["svs-method", "svs-missing"],
    )


class _Views:
    """What the page's buttons call."""

    def __init__(self, desk: Desk, offered: list[Method]):
        self._desk, self._offered = desk, offered

    def look(self, request: gr.Request, song: str | None) -> tuple[dict, Any]:
        """What a song is, as soon as it is there; what was said of an earlier one is taken back."""
        status = gr.skip() if self._desk.busy(request.session_hash or "") else ""
        if not song:
            return gr.update(visible=False, value=""), status
        try:
            return gr.update(visible=True, value=markup.file_line(work.describe(Path(song)))), status
        except SVSError as error:
            message = work.plain(str(error), Wish(Path(song), ()))
            return gr.update(visible=True, value=markup.alert(message)), status

    def separate(
        self,
        request: gr.Request,
        song: str | None,
        start: float | None,
        duration: float | None,
        codec: str,
        wiener: float,
        hpss: bool,
        reference: str | None,
        *ticks: bool,
    ) -> Iterator[list]:
        """Start a run, and tell of it until it has ended."""
        methods = tuple(
            method.name for method, tick in zip(self._offered, ticks, strict=True) if tick and method.missing is None
        )
        wish = Wish(
            Path(song) if song else None,
            methods,
            start or 0.0,
            duration or 0.0,
            codec,
            int(wiener),
            hpss,
            Path(reference) if reference else None,
        )
        try:
            wish.order(self._desk.folder, self._desk.limits)  # what need not be decoded is said at once
        except SVSError as error:
            yield self._update(markup.alert(work.plain(str(error), wish)), working=False)
            return
        run = self._desk.start(request.session_hash or "", wish)
        told = 0
        try:
            yield self._update(markup.progress(run.progress, 0.0), working=True, clear=True)
            while not run.wait(POLL):
                ready = run.pieces[told:]
                told += len(ready)
                yield self._update(
                    markup.progress(run.progress, run.elapsed, run.cancelled), working=True, run=run, ready=ready
                )
        finally:  # whoever closes the page is not waiting any more
            if not run.ended:
                run.cancel()
        yield self._update(self._verdict(run), working=False, run=run, ready=run.pieces[told:], ended=True)

    def cancel(self, request: gr.Request) -> dict:
        self._desk.cancel(request.session_hash or "")
        return gr.update(interactive=False)

    def left(self, request: gr.Request) -> None:
        self._desk.cancel(request.session_hash or "")

    def _verdict(self, run: Run) -> str:
        if run.cancelled:
            return markup.alert("Cancelled." + (" What was ready is below." if run.pieces else ""), "note")
        if run.error:
            return markup.alert(run.error)
        failed = [piece.method for piece in run.pieces if piece.result is None]
        words = f"Ready in {work.clock(round(run.elapsed))}."
        return markup.alert(f"{words} {', '.join(failed)} did not work, see below." if failed else words, "good")

    def _update(
        self,
        status: str,
        *,
        working: bool,
        run: Run | None = None,
        ready: Sequence[Piece] = (),
        clear: bool = False,
        ended: bool = False,
    ) -> list:
        """Values for status, both buttons, summary and cards; a card that is there is left alone, or it would fall
        silent."""
        stop = gr.update(interactive=working and not (run is not None and run.cancelled))
        summary: Any = gr.skip()
        if clear:
            summary = gr.update(visible=False, value="")
        elif ended and run is not None and any(piece.result for piece in run.pieces):
            summary = gr.update(visible=True, value=markup.summary(run))
        cards: dict[str, Any] = {}
        for piece in ready:
            if piece.result is not None or not run.error:
                text = next(method.text for method in self._offered if method.name == piece.method)
                cards[piece.method] = gr.update(visible=True, value=markup.card(run, piece, text))
        other = gr.update(visible=False, value="") if clear else gr.skip()
        return [
            status,
            gr.update(interactive=not working),
            stop,
            summary,
            *(cards.get(method.name, other) for method in self._offered),
        ]
