"""`svs vad`: where somebody sings."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from svs.cli import options
from svs.cli.options import app
from svs.errors import SVSError
from svs.runtime.process import log


@app.command()
def vad(
    songs: Annotated[list[str], typer.Argument(metavar="SONG", help="Files, folders or patterns.")],
    output: options.Output = Path("vad"),
    start: options.Start = 0.0,
    duration: options.Duration = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Probability above which somebody sings (default: the one tuned on validation tracks).",
            show_default=False,
        ),
    ] = None,
    overwrite: options.Overwrite = False,
    picture: options.Picture = True,
    project: options.ProjectFolder = None,
    overrides: options.Overrides = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Where somebody sings, by the voice activity net: OUTPUT/SONG/{segments.csv,activity.png}."""
    from svs.audio import decode
    from svs.figures import spectrograms
    from svs.runtime.progress import bar
    from svs.services import recordings
    from svs.services import vad as vad_results
    from svs.services.output import only_one, song_names
    from svs.vad import detector as vad_detector

    here = options.open_project(project, overrides or ())
    found = recordings.recordings(songs)
    names = song_names(found)
    failed: list[tuple[Path, SVSError]] = []
    with options.resumable(), only_one(output):
        detector = vad_detector.Detector(here, threshold)
        with bar(total=len(found), unit="song", desc="vad") as moving:
            for path, name in zip(found, names, strict=True):
                try:
                    folder = output / name
                    decode.probe(path)  # says why where it can't be read
                    request = vad_results.request(path, start, duration, detector)
                    if vad_results.finished(folder, request, overwrite):
                        log.info("%s (was there already)", folder)
                        continue
                    with decode.open_recording(path, start, duration) as recording:
                        activity = detector.listen(recording)
                        figure = (
                            spectrograms.activity_picture(name, recording, activity, here.settings.plots, start)
                            if picture
                            else None
                        )
                    vad_results.save(folder, activity, request, figure)
                    log.info(
                        "%s: %d segments, %.1f of %.1f s",
                        folder,
                        len(activity.segments()),
                        activity.sung(),
                        activity.seconds,
                    )
                except SVSError as error:
                    failed.append((path, error))
                finally:
                    moving.update(1)
    for path, error in failed:
        print(f"error: {error}" if str(path) in str(error) else f"error: {path}: {error}", file=sys.stderr)
    if failed:
        raise typer.Exit(failed[0][1].exit_code)
