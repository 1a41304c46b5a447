"""The oracle's ceiling for different spectrograms, on training tracks.

    python -m benchmarks.oracle_ceiling FOLDER [--tracks N]

FOLDER holds MUSDB18's (or its previews') train/ and test/.  Prints the median
over tracks of the median SDR over seconds of the ideal binary mask, for each
representation and for one mask or one per channel.  BSS Eval v4's SDR does not
depend on its distortion filters, so it is computed directly.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

import numpy as np

from svs.config import schema
from svs.config.schema import Representation
from svs.data import inspection
from svs.data.dataset import Dataset, Track
from svs.dsp.masks import ideal_binary_mask
from svs.runtime.parallel import over_tracks
from svs.runtime.process import log, main
from svs.separators import chunking
from svs.separators.oracles import Oracle

REPRESENTATIONS = (
    Representation(sample_rate=44100, frame_size=4096, win_length=2048, hop_length=512),
    Representation(sample_rate=22050, frame_size=4096, win_length=1024, hop_length=256),
    Representation(sample_rate=44100, frame_size=4096, win_length=4096, hop_length=1024),
)
CHANNELS = ("shared", "each")


def sdr(reference: np.ndarray, estimate: np.ndarray, window: int) -> float:
    """Median over windows of 10 log10 |s|^2 / |s - e|^2, in dB (museval's SDR)."""
    values = []
    for start in range(0, len(reference) - window + 1, window):
        s, e = reference[start : start + window], estimate[start : start + window]
        if s.any() and e.any():
            values.append(10 * np.log10((s**2).sum() / ((s - e) ** 2).sum()))
    return float(np.median(values)) if values else float("nan")


def measure(data: Dataset, track: Track) -> list[tuple[float, float]]:
    """SDR of vocals and accompaniment for every representation and kind of mask."""
    results = []
    with data.open(track) as sources:
        audio = {name: source.read(0, source.samples).astype(np.float64) for name, source in sources.items()}
        for representation in REPRESENTATIONS:
            for channels in CHANNELS:
                separator = Oracle("oracle_ibm", representation, ideal_binary_mask, channels)
                pieces = list(chunking.chunks(separator, sources["mixture"], 60.0, sources))
                vocals = np.concatenate([estimate for _, estimate in pieces]).astype(np.float64)
                results.append(
                    (
                        sdr(audio["vocals"], vocals, track.rate),
                        sdr(audio["accompaniment"], audio["mixture"] - vocals, track.rate),
                    )
                )
    return results


def run(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tracks", type=int, help="the first N training tracks only")
    options = parser.parse_args(arguments)
    download = schema.load().download.model_copy(update={"dataset": "sample", "path": options.folder})
    folder = download.path
    manifest = inspection.inspect(download, 0, folder)
    tracks = manifest.split("train", "valid")[: options.tracks]
    results = np.array(
        over_tracks(
            partial(measure, Dataset(folder, manifest)), tracks, [track.name for track in tracks], desc="tracks"
        )
    )
    log.info("ideal binary mask, %d training tracks: median SDR in dB", len(tracks))
    print(f"{'rate':>6} {'frame':>6} {'window':>7} {'hop':>5}  {'mask':<8}{'vocals':>8}{'accompaniment':>15}")
    cells = iter(np.nanmedian(results, axis=0))
    for representation in REPRESENTATIONS:
        for channels in CHANNELS:
            vocals, accompaniment = next(cells)
            print(
                f"{representation.sample_rate:>6} {representation.frame_size:>6} {representation.win_length:>7} "
                f"{representation.hop_length:>5}  {channels:<8}{vocals:>8.2f}{accompaniment:>15.2f}"
            )


if __name__ == "__main__":
    main(run, sys.argv[1:])
