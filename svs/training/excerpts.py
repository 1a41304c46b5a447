"""Excerpts: drawn from the index of a store, cut from it, batched for Keras.

An excerpt is nine frames, but the store decompresses a chunk of hundreds to give them.  So a training cuts its excerpts
once, in the order of the store, into a file (*gathered*).  From the file it reads them fast in any order.
"""

from __future__ import annotations

import zlib
from itertools import groupby
from pathlib import Path

import keras
import numpy as np

from svs.config.schema import Draw, Representation
from svs.errors import DataError
from svs.features.store import Spectrograms
from svs.runtime.files import written

TRAIN, VALID = "train", "valid"
_SLAB = 1024  # frames of a track that are in memory while its excerpts are cut


def draw(spectrograms: Spectrograms, mode: str, split: str, settings: Draw, seed: int) -> list[tuple[str, int, int]]:
    """Draw excerpts of a split without replacement, the same number from each track, times the weight of its data set.

    Parameters
    ----------
    spectrograms : Spectrograms
    mode : {"SVS", "DAE", "VAD"}
    split : {"train", "valid"}
    settings : Draw
        The number for each track, weights, and the passage (s) that centre frames come from.
    seed : int

    Returns
    -------
    list of (track, centre frame, label)
        Sorted by track and frame.  A track with too few frames gives all of them.

    Raises
    ------
    DataError
        The passage holds no excerpt, or there is no data set that a weight names.
    """
    each = settings.per_track if split == TRAIN else settings.valid_per_track
    weights = spectrograms.weights(mode, settings.weights)
    rate = spectrograms.representation["sample_rate"] / spectrograms.representation["hop_length"]
    earliest = round(settings.start_point * rate)
    latest = np.inf if settings.stop_point is None else round(settings.stop_point * rate)
    available: dict[str, list[tuple[int, int, int]]] = {}
    for run in spectrograms.runs(mode, split):
        first, last = max(run.first, earliest), min(run.last, latest)
        if first <= last:
            available.setdefault(run.track, []).append((first, last - first + 1, run.label))
    chosen = []
    for track, runs in available.items():
        first, length, label = np.array(runs, dtype=np.int64).T
        end, count = np.cumsum(length), round(each * weights[track])
        # Each track has its own generator, so that one more track does not change the others' excerpts.
        random = np.random.default_rng([seed, zlib.crc32(f"{mode}/{split}/{track}".encode())])
        picks = np.sort(random.choice(end[-1], min(count, end[-1]), replace=False))
        # A pick counts along the runs: a list of all frames of thousands of tracks would fill the memory.
        place = np.searchsorted(end, picks, side="right")
        frames = first[place] + picks - (end - length)[place]
        chosen += [(track, *pair) for pair in zip(frames.tolist(), label[place].tolist(), strict=True)]
    if not chosen:
        raise DataError(
            f"mode {mode}: no excerpt of split {split} between {settings.start_point} s and "
            f"{settings.stop_point or 'the end'}; widen the passage or add tracks"
        )
    return chosen


class Batches(keras.utils.PyDataset):
    """Batches of excerpts.

    Every epoch has its own order.  It depends on the seed and the number of the epoch alone (`epoch`, set from
    outside), so a resumed training sees the batches of an uninterrupted one.

    Parameters
    ----------
    path : Path
        Group of a store (`<store>/masks` or `<store>/vad`).
    mode : {"SVS", "DAE", "VAD"}
        SVS: mixture excerpt to mask.  DAE: vocals excerpt to itself, clipped to 1.  VAD: mixture excerpt to the label
        of its centre frame.
    split : {"train", "valid"}
        `train` is shuffled, `valid` is not.
    settings : Draw
    batch_size : int
    label_width : int or None
        Frames of the target (SVS), around the centre.  None: all of the excerpt.
    seed : int
    gathered : Path
        A folder for the excerpts, cut out: about 55 kB each.
    share : int
        Every batch has a multiple of so many excerpts (devices).  An epoch leaves out the remaining ones.

    Notes
    -----
    A batch is x float32 (n, bins, width, 1) and y float32 (n, bins, label_width), or (n, 1) for VAD.

    Raises
    ------
    DataError
        The label does not fit.
    """

    def __init__(
        self,
        path: Path,
        mode: str,
        split: str,
        settings: Draw,
        batch_size: int,
        label_width: int | None,
        seed: int,
        gathered: Path,
        share: int = 1,
    ):
        # Two threads that read ahead, in order.  With one, Keras reads inside tf.data, whose thread
        # takes a core from the training step on a machine with two (measured: 14 to 19 s an epoch instead of 10.5).
        super().__init__(workers=2, max_queue_size=4)
        self._mode, self._seed, self._batch_size, self._share = mode, seed, batch_size, share
        self._shuffled, self.epoch = split == TRAIN, 0
        spectrograms = Spectrograms(path)
        excerpts = draw(spectrograms, mode, split, settings, seed)
        self.excerpts = len(excerpts)
        names = (*Representation.model_fields, "width")
        self.representation = {name: spectrograms.representation[name] for name in names}
        self.width, self.bins = self.representation["width"], spectrograms.stft.bins
        self.label_width = label_width or self.width
        if self.label_width > self.width or self.label_width % 2 == 0:
            raise DataError(f"label_width {self.label_width}: expected an odd number up to the width {self.width}")
        self._input = "vocals" if mode == "DAE" else "mixture"
        widths = {self._input: self.width} | ({"mask": self.label_width} if mode == "SVS" else {})
        arrays = {name: spectrograms.array(excerpts[0][0], name) for name in widths}
        parts = [(name, array.dtype, (self.bins, widths[name])) for name, array in arrays.items()]
        self._record = np.dtype([("label", np.float32), *parts])
        self._file = gathered / f"{mode}-{split}-{self.label_width}.bin"
        if not self._file.exists():  # an interrupted training does not cut its excerpts again
            self._gather(spectrograms, excerpts, widths)

    def _gather(self, spectrograms: Spectrograms, excerpts: list[tuple[str, int, int]], widths: dict[str, int]) -> None:
        """Cut excerpts into the file, in the order of the store; a few MB of a track are in memory at a time."""
        half = self.width // 2
        with written(self._file) as temporary, open(temporary, "wb") as file:
            for (track, _), chosen in groupby(excerpts, lambda excerpt: (excerpt[0], excerpt[1] // _SLAB)):
                near = list(chosen)
                first = max(0, near[0][1] - half)
                frames = slice(first, near[-1][1] + half + 1)
                slabs = {name: np.asarray(spectrograms.array(track, name)[frames]).T for name in widths}
                for _, centre, label in near:
                    cut = np.empty((), self._record)
                    cut["label"] = label
                    for name, width in widths.items():
                        start = centre - width // 2 - first
                        cut[name] = slabs[name][:, start : start + width]
                    file.write(cut.tobytes())

    def order(self) -> np.ndarray:
        """Numbers of the excerpts of this epoch, in its order."""
        order = np.arange(self.excerpts)
        if self._shuffled:
            order = np.random.default_rng([self._seed, 2, self.epoch]).permutation(order)
        return order[: len(order) // self._share * self._share]

    def __len__(self) -> int:
        return -(-(self.excerpts // self._share * self._share) // self._batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        places = self.order()[index * self._batch_size : (index + 1) * self._batch_size] * self._record.itemsize
        cut = np.concatenate([np.fromfile(self._file, self._record, 1, offset=int(place)) for place in places])
        x = cut[self._input][..., None].astype(np.float32)
        if self._mode == "VAD":
            return x, cut["label"][:, None].copy()
        if self._mode == "SVS":
            return x, cut["mask"].astype(np.float32)
        aside = (self.width - self.label_width) // 2
        return x, np.minimum(x[:, :, aside : self.width - aside, 0], 1)
