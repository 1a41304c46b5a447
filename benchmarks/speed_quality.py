"""What speed costs in quality: hops and nets VALID in time, trained alike on real music, scored on validation tracks.

    python -m benchmarks.speed_quality FOLDER [--work build/speed_quality] [--epochs 10] [--json FILE]

FOLDER holds MUSDB18 or its previews (train/ and test/).  Everything is kept in
the working folder, and what is there is not made again: the store, then one net
after the other (from random weights, same seed, same excerpts, same number of
steps; no autoencoder), then the vocals' SDR of each validation track by each
net and hop (BSS Eval v4, median over seconds).  The table holds the median over
tracks of the differences from the dissertation's net with windows one frame apart, and
its bootstrap interval (`svs.evaluation.paired`), beside the speeds of
`benchmarks.inference` on the same nets (`--rounds 0` leaves those out).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from benchmarks import inference
from svs import networks, separators
from svs.config import project
from svs.config.schema import Settings
from svs.data import inspection
from svs.data.dataset import Dataset, Manifest
from svs.evaluation import paired
from svs.evaluation.scoring.score import evaluate
from svs.features import extraction
from svs.networks import archive
from svs.runtime.files import Scratch, read_json, write_json
from svs.runtime.process import log, main
from svs.runtime.progress import progress_bar
from svs.separators import chunking
from svs.separators.cnn import CNNSeparator
from svs.training import on_excerpts

NETS = ("cnn_deep_separator", "cnn_deep_separator_valid", "cnn_separator", "cnn_separator_valid")


def prepared(folder: Path, work: Path, settings: Settings) -> Dataset:
    """The data set, and in the working folder its manifest and its store of spectrograms."""
    if not (work / "manifest.json").exists():
        inspection.inspect(settings.download, settings.seed, folder, lambda song: song.split != "test").save(
            work / "manifest.json"
        )
    data = Dataset(folder, Manifest.load(work / "manifest.json"))
    if not (work / "excerpts.zarr").exists():
        scratch = Scratch(work, "extract", "svs")
        extraction.extract(data, settings.extract, work / "excerpts.zarr", scratch)
        scratch.done()
    return data


def trained(name: str, work: Path, settings: Settings) -> Path:
    """The folder of a net, trained first where it is not there; an interrupted training goes on."""
    folder = work / name
    if not folder.exists():
        scratch = Scratch(work, f"train-{name}", "state")
        model, card = on_excerpts.train(
            name, work / "excerpts.zarr" / "masks", "SVS", networks.training(name, settings), settings.seed, scratch
        )
        archive.save(folder, model, card)
        scratch.done()
    return folder


def sdr(data: Dataset, separator: CNNSeparator, settings: Settings) -> dict[str, float]:
    """Median SDR of the vocals over seconds, in dB, of each validation track (NaN where none is defined)."""
    values = {}
    for track in progress_bar(data.manifest.split("valid"), unit="track", desc=separator.name):
        with data.open(track) as sources:
            true = [sources[name].read(0, track.samples) for name in ("vocals", "accompaniment")]
            pieces = list(chunking.chunks(separator, sources["mixture"], settings.separate.common.chunk))
        mixture, vocals = (np.concatenate(part) for part in zip(*pieces, strict=True))
        scores = evaluate(
            np.stack(true).astype(np.float64),
            np.stack([vocals, mixture - vocals]).astype(np.float64),
            round(settings.score.window * track.rate),
            round(settings.score.hop * track.rate),
        )
        finite = scores["SDR"][0][np.isfinite(scores["SDR"][0])]
        values[track.name] = float(np.median(finite)) if finite.size else float("nan")
    return values


def run(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--work", type=Path, default=Path("build/speed_quality"))
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--per-track", type=int, default=60, help="excerpts of a training track in an epoch")
    parser.add_argument("--valid-per-track", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3, help="of the measurement of speed; 0: none")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args(arguments)
    schedule = {
        "epochs": options.epochs,
        "batch_size": options.batch_size,
        "excerpts": {"per_track": options.per_track, "valid_per_track": options.valid_per_track},
    }
    settings = project.find_project(
        overrides=["profile=sample", *(f"train.{net}.{key}={value}" for net in NETS for key, value in schedule.items())]
    ).settings
    options.work.mkdir(parents=True, exist_ok=True)
    data = prepared(options.folder, options.work, settings)
    for net in options.nets:
        trained(net, options.work, settings)
    place = options.work / "sdr.json"
    found = read_json(place) if place.exists() else {}
    chosen = [(name, hop) for family in inference.FAMILIES for name, hop in family if name in options.nets]
    for name, hop in chosen:
        if f"{name} {hop}" not in found:
            which = separators.options(name, settings).model_copy(update={"hop": hop})
            found[f"{name} {hop}"] = sdr(data, CNNSeparator(name, options.work / name, which), settings)
            write_json(place, found)
    everyone = set(options.nets) == set(NETS) and options.rounds
    speeds = {
        (row["net"], row["hop"]): row
        for row in (inference.measured(options.work, options.rounds, 11.8, [16, 32, 64]) if everyone else [])
    }
    rows = []
    tracks = [track.name for track in data.manifest.split("valid")]
    log.info(
        "vocals SDR in dB, median over %d validation tracks; difference from the dissertation's net, windows one frame "
        "apart",
        len(tracks),
    )
    print(
        f"{'net':25}{'hop':>4}{'loss':>8}{'SDR':>7}{'difference':>12}{'95 % interval':>18}{'better/tie/worse':>18}"
        f"{'x windows':>11}{'x open-unmix':>14}"
    )
    for name, hop in chosen:
        seeds = found.get(f"{name.removesuffix('_valid')} 1")
        values = np.array(
            [np.nan if found[f"{name} {hop}"][track] is None else found[f"{name} {hop}"][track] for track in tracks],
            dtype=float,
        )
        row = {
            "net": name,
            "hop": hop,
            "sdr": float(np.nanmedian(values)),
            "val_loss": read_json(options.work / name / "model.json")["val_loss"],
        }
        if seeds:
            base = np.array([np.nan if seeds[track] is None else seeds[track] for track in tracks], dtype=float)
            row |= vars(paired.median_difference(values - base, settings.seed))
        speed = speeds.get((name, hop), {})
        row |= {key: speed[key] for key in ("ratio", "ratio_to_openunmix") if speed}
        rows.append(row)
        print(
            f"{name:25}{hop:4}{row['val_loss']:8.4f}{row['sdr']:7.2f}"
            + (
                f"{row['difference']:+12.3f}"
                + f"[{row['low']:+.3f}, {row['high']:+.3f}]".rjust(18)
                + f"{row['wins']} / {row['ties']} / {row['losses']}".rjust(18)
                if seeds
                else " " * 48
            )
            + (f"{speed['ratio']:11.2f}{speed['ratio_to_openunmix']:14.2f}" if speed else ""),
            flush=True,
        )
    if options.json:
        write_json(options.json, {"epochs": options.epochs, "per_track": options.per_track, "rows": rows})


if __name__ == "__main__":
    main(run, sys.argv[1:])
