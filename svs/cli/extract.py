"""`svs extract`: the dissertation's preprocess_data_tool."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from svs.cli import options
from svs.cli.excerpts import (
    UNDERSCORES,
    VALIDATION,
    checked_label_width,
    checked_mode,
    refuse_excerpt_options,
    require_free,
    scratch_beside,
)
from svs.cli.options import app
from svs.errors import DataError

if TYPE_CHECKING:
    from svs.config.schema import Extract
    from svs.data.dataset import Manifest
    from svs.features.store import DrawDefaults
    from svs.runtime.files import Scratch


@app.command(context_settings=UNDERSCORES)
def extract(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder of MUSDB18 or MUSDB18-HQ (train/ and test/).")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The store (zarr) to make.")],
    iterations: Annotated[
        int,
        typer.Argument(
            metavar="ITERATIONS", min=1, help="Sets of excerpts (MIX: of mixtures, in every epoch), one of each song."
        ),
    ],
    mode: Annotated[
        str,
        typer.Argument(
            metavar="MODE",
            help="SVS (mixture, mask) | DAE (vocals) | VAD (mixture, sung or not) | MIX (the stems' audio, "
            "to be mixed).",
        ),
    ],
    frame_size: Annotated[
        int | None, typer.Option("--frame-size", "-f", help="Samples of the FFT.", show_default="params.yaml")
    ] = None,
    hop_length: Annotated[
        int | None, typer.Option("--hop-length", "-H", help="Samples between frames.", show_default="params.yaml")
    ] = None,
    win_length: Annotated[
        int | None, typer.Option("--win-length", "-w", help="Samples of the Hann window.", show_default="params.yaml")
    ] = None,
    sample_rate: Annotated[
        int | None, typer.Option("--sample-rate", "-sr", help="Hz.", show_default="params.yaml")
    ] = None,
    width: Annotated[
        int | None, typer.Option("--width", "-iw", help="Frames of an excerpt, odd.", show_default="params.yaml")
    ] = None,
    start_point: Annotated[
        float, typer.Option("--start-point", "-sp", min=0.0, help="Seconds into each song at which excerpts begin.")
    ] = 0.0,
    label_width: Annotated[
        int | None, typer.Option("--label-width", "-ow", help="Frames of a label, odd.", show_default="the width")
    ] = None,
    overwrite: options.Overwrite = False,
    project: options.ProjectFolder = None,
    overrides: options.Overrides = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Training data from MUSDB18: the dissertation's preprocess_data_tool.

    Whole spectrograms are stored, and an excerpt is cut when a training reads it: ITERATIONS, the start point and the
    label width stay with the store, and `svs train` uses them.  Interrupted, the same command goes on.
    """
    from svs.config import schema
    from svs.data import dataset, inspection, locate
    from svs.features import store

    mode = checked_mode(mode)
    here = options.open_project(project, overrides or ())
    group = store.GROUP_OF_MODE[mode]
    cut = {"frame_size": frame_size, "hop_length": hop_length, "win_length": win_length, "width": width}
    if mode == "MIX":
        refuse_excerpt_options(start_point=start_point or None, label_width=label_width, **cut)
        cut = {}
    kept = schema.changed(getattr(here.settings.extract, group), f"extract.{group}", sample_rate=sample_rate, **cut)
    wanted = here.settings.extract.model_copy(update={"modes": (mode,), group: kept})
    draw = store.DrawDefaults(
        mode,
        iterations,
        max(1, round(iterations / VALIDATION)),
        start_point,
        None if mode == "MIX" else checked_label_width(mode, label_width, kept.width),
    )
    require_free(out, overwrite, "zarr.json", "a store of spectrograms")
    with options.resumable():
        place, validation = locate.locate_given(data)
        manifest = inspection.inspect(
            here.settings.download, here.settings.seed, place, validation, lambda subset, name: subset == "train"
        )
        manifest.require("train", "valid")
        with scratch_beside(out, wanted, [repr(track) for track in manifest.tracks]) as scratch:
            counts = _extract(dataset.Dataset(place, manifest), wanted, out, draw, scratch)
        if not quiet:
            print(_described(out, draw, manifest, counts, wanted))


def _extract(data: Any, wanted: Extract, out: Path, draw: DrawDefaults, scratch: Scratch) -> dict[str, dict[str, int]]:
    """Write the store; returns what a training will draw of each track, by split: excerpts, or mixtures an epoch."""
    from svs.features import extraction, store
    from svs.runtime import files

    with files.written(out) as temporary:
        extraction.extract(data, wanted, temporary, scratch)
        group = temporary / store.GROUP_OF_MODE[draw.mode]
        if draw.mode == "MIX":
            stems = store.Stems(group)
            draw.save(group)
            return {
                split: dict.fromkeys(stems.tracks(*names), draw.per_track)
                for split, names in (("train", ("train", "unused")), ("valid", ("valid",)))
            }
        spectrograms = store.Spectrograms(group)
        counts = {}
        for split, most in (("train", draw.per_track), ("valid", draw.valid_per_track)):
            frames = spectrograms.available(draw.mode, split, draw.start_point)
            counts[split] = {track: min(most, count) for track, count in frames.items()}
            if not any(counts[split].values()):
                raise DataError(
                    f"no excerpt of mode {draw.mode} after second {draw.start_point:g} in any track of "
                    f"split {split}; choose an earlier --start-point"
                )
        draw.save(group)
    return counts


def _described(
    out: Path, draw: DrawDefaults, manifest: Manifest, counts: dict[str, dict[str, int]], wanted: Extract
) -> str:
    from svs.features.store import GROUP_OF_MODE

    if draw.mode == "MIX":
        songs, few = len(counts["train"]), len(manifest.split("train"))
        more = f" ({songs - few} of which the other modes leave out)" if songs > few else ""
        return "\n".join(
            [
                f"{out}: the stems of {songs} training songs{more} at {wanted.stems.sample_rate} Hz (mode MIX)",
                f"{draw.per_track} sets of {songs} mixtures in every epoch, and "
                f"{len(counts['valid'])} other songs as they are for validation",
            ]
        )
    excerpts = getattr(wanted, GROUP_OF_MODE[draw.mode])
    songs = len(manifest.split("train"))
    label = (songs, 1) if draw.mode == "VAD" else (songs, excerpts.bins, draw.label_width)
    lines = [
        f"{out}: {draw.per_track} sets of {songs} excerpts, one of each training song (mode {draw.mode})",
        f"Input shape for set: {(songs, excerpts.bins, excerpts.width)}",
        f"Output shape for each set: {label}",
        f"{sum(counts['train'].values())} excerpts for training, {sum(counts['valid'].values())} of "
        f"{len(manifest.split('valid'))} other songs for validation",
    ]
    short = [track for track, count in counts["train"].items() if count < draw.per_track]
    if short:
        lines.append(
            f"{len(short)} songs are too short for {draw.per_track} excerpts and give all they have: "
            + "; ".join(short[:5])
        )
    return "\n".join(lines)
