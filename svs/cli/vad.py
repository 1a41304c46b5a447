"""`svs vad`: where somebody sings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from typer import Argument, Option

from svs.cli import options
from svs.errors import SVSError
from svs.runtime.extras import require
from svs.runtime.process import log

if TYPE_CHECKING:
    from svs.services.inputs import Input


@dataclass(kw_only=True)
class Listening(options.Tuned):
    """The options of `svs vad`."""

    songs: Annotated[list[str], Argument(metavar="SONG", help="Files, folders, patterns, or - (standard input).")]
    output: options.Output = Path("vad")
    start: options.Start = 0.0
    duration: options.Duration = None
    stream: options.Stream = None
    method: Annotated[
        Literal["net", "silero"],
        Option(
            "--method", "-m", help="net: trained here, on songs; silero: Silero VAD, trained on speech (svs[voice])."
        ),
    ] = "net"
    threshold: Annotated[
        float | None,
        Option(min=0.0, max=1.0, help="Probability above which somebody sings.", show_default="tuned on validation"),
    ] = None
    overwrite: options.Overwrite = False
    picture: options.Picture = options.PICTURES


def vad(given: Listening) -> None:
    """Where somebody sings, by the voice activity net or Silero VAD: OUTPUT/SONG/{segments.csv,activity.png}."""
    from svs.audio.reading import decode
    from svs.runtime.progress import progress_bar
    from svs.services import output as output_folder
    from svs.services import vad as results
    from svs.services.inputs import open_inputs
    from svs.vad.detector import Detector

    here = given.open()
    if given.picture:
        require("matplotlib")

    def listen(one: Input, folder: Path) -> None:
        decode.probe(one.path, given.stream, one.label)  # raises the right error for a file that can't be read
        request = results.request(one.path, given.start, given.duration, given.stream, detector)
        done = not given.overwrite and (folder / results.SEGMENTS).exists()
        if done and output_folder.is_answered(folder, results.REQUEST, request, given.overwrite):
            log.info("%s (was there already)", folder)
            return
        figure = None
        passage = given.start, given.duration
        with decode.open_recording(one.path, *passage, stream=given.stream, name=one.label) as recording:
            for note in recording.notes:
                log.info("%s: %s", one, note)
            activity = detector.listen(recording)
            if given.picture:
                from svs.figures import spectrograms

                settings = here.settings.plots
                figure = spectrograms.activity_picture(folder.name, recording, activity, settings, given.start)
        results.save(folder, activity, request, figure)
        segments = len(activity.segments())
        log.info("%s: %d segments, %.1f of %.1f s", folder, segments, activity.sung(), activity.seconds)

    with open_inputs(given.songs, given.output) as (inputs, errors):
        failed: list[tuple[str, SVSError]] = [("", error) for error in errors]
        if inputs:
            with output_folder.only_one(given.output):
                detector = Detector(here, given.threshold, given.method)
                for one in progress_bar(inputs, unit="song", desc="vad"):
                    try:
                        listen(one, given.output / one.name)
                    except SVSError as error:
                        failed.append((str(one), error))
    for label, why in failed:
        options.complain(why, label)
    if failed:
        raise typer.Exit(failed[0][1].exit_code)
