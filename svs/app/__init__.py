"""The web page of `svs app`: drop a song, choose methods, listen to what each of them makes of it.

`work` separates (it knows nothing of pages), `markup` makes HTML of results,
`page` is the form in gradio, `guard` keeps everything on this machine, and
`server` serves it.  gradio is imported by `page` and `server` only when they
are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from svs.app.server import application, require, serve
from svs.app.work import Desk, Limits
from svs.config.project import Project

if TYPE_CHECKING:
    from pathlib import Path

    import gradio as gr

__all__ = ["Desk", "Limits", "application", "build", "require", "serve"]


def build(project: Project, folder: Path, minutes: float = 15.0) -> gr.Blocks:
    """The page as gradio's Blocks.

    Parameters
    ----------
    project : Project
    folder : Path
        Where results are kept.
    minutes : float
        Length of the longest passage.
    """
    require()
    from svs.app import page

    return page.build(Desk(project, Limits(minutes), folder))
