"""`svs extract`: the dissertation's preprocess_data_tool."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from svs.cli import options
from svs.cli.excerpts import Mode, checked_label_width, refuse_excerpt_options, require_free, scratch_beside
from svs.errors import DataError

if TYPE_CHECKING:
    from svs.config.schema import Extract
    from svs.data.dataset import Dataset, Manifest
    from svs.features.store import DrawDefaults
    from svs.runtime.files import Scratch

VALIDATION = 5  # one excerpt of a validation track is drawn for so many of a training track


@dataclass(kw_only=True)
class Extraction(options.Tuned):
    """The options of `svs extract`."""

    data: Annotated[Path, Argument(help="Folder of a data set (MUSDB18, or any that `svs inspect` takes).")]
    out: Annotated[Path, Argument(help="The store (zarr) to make.")]
    iterations: Annotated[int, Argument(min=1, help="Sets of excerpts (MIX: of mixtures an epoch), one of each song.")]
    mode: Annotated[
        Mode,
        Argument(help="SVS (mixture, mask) | DAE (vocals) | VAD (mixture, sung or not) | MIX (audio of the stems)."),
    ]
    frame_size: Annotated[int | None, options.tuned("-f", help="Samples of the FFT.")] = None
    hop_length: Annotated[int | None, options.tuned("-H", help="Samples between frames.")] = None
    win_length: Annotated[int | None, options.tuned("-w", help="Samples of the Hann window.")] = None
    sample_rate: Annotated[int | None, options.tuned("-sr", help="Hz.")] = None
    width: Annotated[int | None, options.tuned("-iw", help="Frames of an excerpt, odd.")] = None
    start_point: Annotated[float, Option("-sp", min=0.0, help="Seconds into each song at which excerpts begin.")] = 0.0
    label_width: Annotated[int | None, Option("-ow", help="Frames of a label, odd.", show_default="the width")] = None
    overwrite: options.Overwrite = False


def extract(given: Extraction) -> None:
    """Training data from a data set: the dissertation's preprocess_data_tool.

    Whole spectrograms are stored, and an excerpt is cut when a training reads it: ITERATIONS, the start point and the
    label width stay with the store, and `svs train` uses them.  Interrupted, the same command continues.
    """
    from svs.config import schema
    from svs.data import inspection
    from svs.data.dataset import Dataset
    from svs.features import store

    mode = given.mode
    settings = given.open().settings
    group = store.GROUP_OF_MODE[mode]
    cut = {name: getattr(given, name) for name in ("frame_size", "hop_length", "win_length", "width")}
    if mode == "MIX":
        refuse_excerpt_options(start_point=given.start_point or None, label_width=given.label_width, **cut)
        cut = {}
    kept = schema.changed(getattr(settings.extract, group), f"extract.{group}", sample_rate=given.sample_rate, **cut)
    wanted = settings.extract.model_copy(update={"modes": (mode,), group: kept})
    validation_share = max(1, round(given.iterations / VALIDATION))
    label = None if mode == "MIX" else checked_label_width(mode, given.label_width, kept.width)
    draw = store.DrawDefaults(mode, given.iterations, validation_share, given.start_point, label)
    require_free(given.out, given.overwrite, "zarr.json", "a store of spectrograms")
    manifest = inspection.inspect(settings.download, settings.seed, given.data, lambda song: song.split != "test")
    manifest.require("train", "valid")
    with scratch_beside(given.out, wanted, [repr(track) for track in manifest.tracks]) as scratch:
        counts = _extract(Dataset(given.data, manifest), wanted, given.out, draw, scratch)
    given.say(f"{given.out}: {_described(draw, manifest, counts, kept)}")


def _extract(
    data: Dataset, wanted: Extract, out: Path, draw: DrawDefaults, scratch: Scratch
) -> dict[str, dict[str, int]]:
    """Write the store; return what a training will draw of each track, by split: excerpts, or mixtures an epoch."""
    from svs.features import extraction, store
    from svs.runtime import files

    counts = {}
    with files.written(out) as temporary:
        extraction.extract(data, wanted, temporary, scratch)
        group = temporary / store.GROUP_OF_MODE[draw.mode]
        if draw.mode == "MIX":
            stems = store.Stems(group)
            for split, names in (("train", ("train", "unused")), ("valid", ("valid",))):
                counts[split] = dict.fromkeys(stems.tracks(*names), draw.per_track)
        else:
            spectrograms = store.Spectrograms(group)
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


def _described(draw: DrawDefaults, manifest: Manifest, counts: dict[str, dict[str, int]], kept: Any) -> str:
    """What a training will draw, in a few lines."""
    songs, few = len(counts["train"]), len(manifest.split("train"))
    if draw.mode == "MIX":
        more = f" ({songs - few} of which the other modes leave out)" if songs > few else ""
        return (
            f"the stems of {songs} training songs{more} at {kept.sample_rate} Hz (mode MIX)\n"
            f"{draw.per_track} sets of {songs} mixtures in every epoch, and "
            f"{len(counts['valid'])} other songs as they are for validation"
        )
    label = (few, 1) if draw.mode == "VAD" else (few, kept.bins, draw.label_width)
    lines = [
        f"{draw.per_track} sets of {few} excerpts, one of each training song (mode {draw.mode})",
        f"Input shape for set: {(few, kept.bins, kept.width)}",
        f"Output shape for each set: {label}",
        f"{sum(counts['train'].values())} excerpts for training, {sum(counts['valid'].values())} of "
        f"{len(manifest.split('valid'))} other songs for validation",
    ]
    short = [track for track, count in counts["train"].items() if count < draw.per_track]
    if short:
        some = "; ".join(short[:5])
        lines.append(f"{len(short)} songs are too short for {draw.per_track} excerpts and give all they have: {some}")
    return "\n".join(lines)
