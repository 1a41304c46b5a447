"""`svs vad`: where somebody sings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from svs.cli import options
from svs.errors import SVSError
from svs.runtime.process import log


@dataclass(kw_only=True)
class Listening(options.Tuned):
    """The options of `svs vad`."""

    songs: Annotated[list[str], Argument(metavar="SONG", help="Files, folders or patterns.")]
    output: options.Output = Path("vad")
    start: options.Start = 0.0
    duration: options.Duration = None
    threshold: Annotated[
        float | None,
        Option(min=0.0, max=1.0, help="Probability above which somebody sings.", show_default="tuned on validation"),
    ] = None
    overwrite: options.Overwrite = False
    picture: options.Picture = True


def vad(given: Listening) -> None:
    """Where somebody sings, by the voice activity net: OUTPUT/SONG/{segments.csv,activity.png}."""
    from svs.audio import decode
    from svs.figures import spectrograms
    from svs.runtime.progress import progress_bar
    from svs.services import output as output_folder
    from svs.services import recordings
    from svs.services import vad as results
    from svs.vad.detector import Detector

    here = given.open()
    found = recordings.recordings(given.songs)
    failed: list[tuple[Path, SVSError]] = []

    def listen(path: Path, folder: Path) -> None:
        decode.probe(path)  # raises the right error for a file that can't be read
        request = results.request(path, given.start, given.duration, detector)
        done = not given.overwrite and (folder / results.SEGMENTS).exists()
        if done and output_folder.is_answered(folder, results.REQUEST, request, given.overwrite):
            log.info("%s (was there already)", folder)
            return
        figure = None
        with decode.open_recording(path, given.start, given.duration) as recording:
            activity = detector.listen(recording)
            if given.picture:
                settings = here.settings.plots
                figure = spectrograms.activity_picture(folder.name, recording, activity, settings, given.start)
        results.save(folder, activity, request, figure)
        segments = len(activity.segments())
        log.info("%s: %d segments, %.1f of %.1f s", folder, segments, activity.sung(), activity.seconds)

    with output_folder.only_one(given.output):
        detector = Detector(here, given.threshold)
        with progress_bar(total=len(found), unit="song", desc="vad") as moving:
            for path, name in zip(found, output_folder.song_names(found), strict=True):
                try:
                    listen(path, given.output / name)
                except SVSError as error:
                    failed.append((path, error))
                moving.update(1)
    for path, why in failed:
        options.complain(why, str(path))
    if failed:
        raise typer.Exit(failed[0][1].exit_code)
