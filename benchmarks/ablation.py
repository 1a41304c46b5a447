"""What each part of the U-Net separator gives: trainings with one thing changed, on validation tracks.

    python -m benchmarks.ablation [VARIANT ...] [--net u_net] [--batches 800] [--seeds 1] [--work build/ablation]
                                  [--json FILE]

Run where the pipeline has run its stage `extract` on real music (profile
`sample` or `full`): trains one U-Net (or one full-band net) of
`train.unet_separator` in params.yaml on the store's training songs, for the
same number of batches in every variant, and separates the validation tracks
with its last weights; test tracks are not touched.  Prints, for each variant,
the medians over tracks and the median of the paired differences to `base` with
its bootstrap interval (svs.evaluation.paired): SDR of both, and the bleed, which is the
level of what is called vocals when the accompaniment is all there is, beside it
in dB.  A variant is trained from `--seeds` seeds, one that has a part of the
songs on every part of them, and a track's score is the mean of these
trainings.  A training that is done is not repeated.  SDR is BSS Eval v4's,
which does not depend on its distortion filters: energy of the source over that
of the error, second by second, the median over seconds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import norbert
import numpy as np

from benchmarks.bleed import energies
from benchmarks.oracle_ceiling import sdr
from svs import networks
from svs.audio.sources import ArraySource
from svs.config import paths, project, schema
from svs.config.schema import MixtureTraining, merge
from svs.data import dataset
from svs.data.dataset import Dataset, Track
from svs.dsp.stft import magnitude
from svs.evaluation.paired import median_difference
from svs.networks import archive
from svs.runtime import files
from svs.runtime.process import log, main
from svs.separators import chunking
from svs.separators.base import Separator
from svs.separators.unet_separator import UNetSeparator
from svs.training.on_mixtures import train_on_mixes
from svs.vad.detector import Detector

BASE = "base"
NETS = {
    "u_net": {"ensemble": 1, "full_band": {"ensemble": 0}},
    "full_band": {"ensemble": 0, "full_band": {"ensemble": 1}},
}


class WienerFiltered(UNetSeparator):
    """Followed by one iteration of the multichannel Wiener filter (Nugraha et al. 2016, in norbert)."""

    def estimate(self, mixture: np.ndarray, references: Mapping[str, np.ndarray]) -> np.ndarray:
        share = self.mask(magnitude(mixture, self.representation)).transpose(2, 1, 0).astype(np.float64)
        x = mixture.transpose(2, 1, 0).astype(np.complex128)  # a copy: norbert rescales it
        sources = np.stack([share * np.abs(x), (1 - share) * np.abs(x)], axis=-1)
        return norbert.wiener(sources, x, iterations=1, use_softmask=False)[..., 0].transpose(2, 1, 0)


class VoiceGated(UNetSeparator):
    """Nothing where the voice activity net (models/vad) hears nobody, faded from frame to frame."""

    def __init__(self, folder: Path):
        super().__init__("unet_separator", folder)
        self._detector = Detector(project.find_project(Path()))

    def vocals(
        self,
        mixture: np.ndarray,
        rate: int,
        references: Mapping[str, np.ndarray] | None = None,
        wanted: slice | None = None,
    ) -> np.ndarray:
        heard = self._detector.listen(ArraySource(mixture, rate))
        gate = np.interp(np.arange(len(mixture)) / rate, heard.times, heard.active().astype(np.float32))
        return super().vocals(mixture, rate, references, wanted) * gate[:, None].astype(np.float32)


def at_three_pitches(folder: Path) -> Separator:
    """The mean of what a net says of a song as it is, one semitone lower and two higher."""
    return UNetSeparator("unet_separator", folder, (0.0, -1.0, 2.0))


@dataclass(frozen=True)
class Variant:
    """What is changed in `train.unet_separator`, or what is done with the masks of a net."""

    train: dict = field(default_factory=dict)
    parts: int = 1  # into which the songs are dealt: trained on one, as many times
    of: str | None = None  # separates with the net that another variant has trained
    separator: Callable[[Path], Separator] = UNetSeparator


VARIANTS = {
    BASE: Variant(),
    "a full-band net instead": Variant({"network": {"ensemble": 0, "full_band": {"ensemble": 1}}}),
    "a full-band net beside": Variant({"network": {"full_band": {"ensemble": 1}}}),
    "two of each": Variant({"network": {"ensemble": 2, "full_band": {"ensemble": 2}}}),
    "half of the songs": Variant(parts=2),
    "a quarter of the songs": Variant(parts=4),
    "songs as they are": Variant({"other_song": 0.0}),
    "other songs half as often": Variant({"other_song": 0.35}),
    "no Music Delta": Variant({"songs": ["train"]}),
    "no dropout": Variant({"network": {"dropout": 0.0}}),
    "fold 8, more channels": Variant({"network": {"fold": 8, "channels": 32, "growth": 32}}),
    "at three pitches": Variant(of=BASE, separator=at_three_pitches),
    "Wiener filter": Variant(of=BASE, separator=WienerFiltered),
    "voice activity gate": Variant(of=BASE, separator=VoiceGated),
}


def dealt(store: Path, parts: int, part: int, work: Path) -> Path:
    """A store of stems, by links: of each training split every `parts`-th song from song `part` on, and validation."""
    folder = work / f"songs_{part}_of_{parts}"
    folder.mkdir(exist_ok=True)
    content = files.read_json(store / "zarr.json")
    songs: dict[str, list] = {}
    for entry in content["attributes"]["index"]["MIX"]:
        songs.setdefault(entry[1], []).append(entry)
    content["attributes"]["index"]["MIX"] = [
        entry for split, entries in songs.items() for entry in (entries if split == "valid" else entries[part::parts])
    ]
    files.write_json(folder / "zarr.json", content)
    for child in store.iterdir():
        if child.is_dir() and not (folder / child.name).exists():
            (folder / child.name).symlink_to(child.resolve())
    return folder


@dataclass(frozen=True)
class Trainings:
    """What all trainings of a run of this benchmark have in common."""

    base: MixtureTraining
    net: str  # of NETS
    batches: int
    work: Path

    def options(self, variant: Variant) -> MixtureTraining:
        # One net, and never on the songs that it is judged by, whatever the profile's last training does.
        laid = merge(
            self.base.model_dump(),
            {
                "songs": [split for split in self.base.songs if split != "valid"],
                "keep": "last",
                "network": NETS[self.net],
            },
        )
        laid = merge(laid, variant.train)
        return type(self.base).model_validate(
            laid | {"mixes": self.batches // _EPOCHS * laid["batch_size"], "epochs": _EPOCHS}
        )

    def done(self, name: str, variant: Variant, seed: int, part: int) -> tuple[Path, float]:
        """The folder of a net, trained now unless it has been, and the minutes that its training took."""
        of_part = [str(part)] if variant.parts > 1 else []
        folder = self.work / "_".join([self.net, name.replace(" ", "_"), str(seed), *of_part])
        options, store = self.options(variant), paths.STORE / "stems"
        if variant.parts > 1:
            store = dealt(store, variant.parts, part, self.work)
        code = ["svs.training.on_mixtures", "svs.networks.unet_separator"]
        mark = files.fingerprint(options, seed, inputs=[store], code=code)
        done = folder / "done.json"
        if not done.is_file() or files.read_json(done)["of"] != mark:
            scratch = files.Scratch(self.work, f".{folder.name}", mark)
            start = time.perf_counter()
            model, card = train_on_mixes("unet_separator", store, options, seed, scratch)
            archive.save(folder, model, card)
            files.write_json(done, {"of": mark, "minutes": (time.perf_counter() - start) / 60})
            scratch.done()
        return folder, files.read_json(done)["minutes"]


def scored(separator: Separator, data: Dataset, tracks: list[Track], chunk: float) -> list[tuple[float, float, float]]:
    """SDR of vocals and accompaniment of every track, and its bleed.

    The bleed is the level of the vocal estimate of the accompaniment alone, relative to the accompaniment, in dB.
    """
    results = []
    for track in tracks:
        with data.open(track) as sources:
            true = {
                name: sources[name].read(0, track.samples).astype(np.float64)
                for name in ("mixture", "vocals", "accompaniment")
            }
            vocals = np.concatenate([part for _, part in chunking.chunks(separator, sources["mixture"], chunk)])
        leaked, heard = energies(separator, data, track, chunk)
        with np.errstate(divide="ignore"):  # nothing at all: -inf
            bleed = 10 * np.log10(np.divide(leaked, heard))
        vocals = vocals.astype(np.float64)
        results.append(
            (
                sdr(true["vocals"], vocals, track.rate),
                sdr(true["accompaniment"], true["mixture"] - vocals, track.rate),
                bleed,
            )
        )
    return results


_EPOCHS = 10


def run(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("variants", nargs="*", metavar="VARIANT", help=f"of: {', '.join(VARIANTS)} (default: all)")
    parser.add_argument("--net", choices=NETS, default="u_net", help="what is trained, but for variants that say it")
    parser.add_argument("--batches", type=int, default=800, help="of every training")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of every variant")
    parser.add_argument("--work", type=Path, default=Path("build/ablation"), help="where the nets are kept")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args(arguments)
    if unknown := set(options.variants) - set(VARIANTS):
        parser.error(f"{', '.join(sorted(unknown))}: expected {', '.join(VARIANTS)}")
    parameters = schema.load()
    data = dataset.open_dataset(parameters)
    tracks = data.manifest.split("valid")
    options.work.mkdir(parents=True, exist_ok=True)
    log.info("%d validation tracks, %d batches a training", len(tracks), options.batches)
    figures: dict[str, dict] = {}
    trainings = Trainings(networks.training("unet_separator", parameters), options.net, options.batches, options.work)
    for name in dict.fromkeys([BASE, *(options.variants or VARIANTS)]):
        variant = VARIANTS[name]
        of = variant.of or name
        minutes, scores = [], []
        for seed, part in product(range(parameters.seed, parameters.seed + options.seeds), range(VARIANTS[of].parts)):
            folder, took = trainings.done(of, VARIANTS[of], seed, part)
            minutes.append(took)
            scores.append(scored(variant.separator(folder), data, tracks, parameters.separate.common.chunk))
        figures[name] = {"minutes": float(np.mean(minutes)), "scores": np.mean(scores, axis=0).tolist()}
        _print(name, figures)
    if options.json:
        files.write_json(options.json, figures)


def _print(name: str, figures: dict[str, dict]) -> None:
    if name == BASE:
        print(
            f"{'variant':24}{'minutes':>8}{'vocals':>8}{'accomp.':>8}{'bleed':>8}   difference to base: vocals, "
            "accompaniment, bleed"
        )
    scores, base = (np.array(figures[which]["scores"]) for which in (name, BASE))
    differences = [median_difference(scores[:, part] - base[:, part], seed=0) for part in range(3)]
    told = (
        ""
        if name == BASE
        else "   ".join(f"{each.difference:+.2f} [{each.low:+.2f}, {each.high:+.2f}]" for each in differences)
    )
    vocals, accompaniment, bleed = np.nanmedian(scores, axis=0)
    print(
        f"{name:24}{figures[name]['minutes']:>8.1f}{vocals:>8.2f}{accompaniment:>8.2f}{bleed:>8.1f}   {told}",
        flush=True,
    )


if __name__ == "__main__":
    main(run, sys.argv[1:])
