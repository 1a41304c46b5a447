"""Excerpts: drawn from the index of a store, cut from it, batched for Keras.

An excerpt is nine frames, but the store decompresses a chunk of hundreds to give them.  So a training cuts its excerpts
once, in the order of the store, into a file (*gathered*).  From the file it reads them fast in any order.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

import keras
import numpy as np

from svs.config.schema import Draw
from svs.errors import DataError
from svs.features.store import Spectrograms
from svs.runtime.files import written

TRAIN, VALID = "train", "valid"
_SLAB = 1024  # frames of a track that are in memory while its excerpts are cut


def draw(spectrograms: Spectrograms, mode: str, split: str, settings: Draw, seed: int) -> list[tuple[str, int, int]]:
    """Draw excerpts of a split without replacement, the same number from each track.

    Parameters
    ----------
    spectrograms : Spectrograms
    mode : {"SVS", "DAE", "VAD"}
    split : {"train", "valid"}
    settings : Draw
        The number for each track, and the passage (s) that centre frames come from.
    seed : int

    Returns
    -------
    list of (track, centre frame, label)
        Sorted by track and frame.  A track with too few frames gives all of them.

    Raises
    ------
    DataError
        The passage holds no excerpt.
    """
    count = settings.per_track if split == TRAIN else settings.valid_per_track
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
        end = np.cumsum(length)
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


class Cuts:
    """Excerpts of a store by their number, each a record with one array (bins, frames) for each part.

    Parameters
    ----------
    spectrograms, excerpts
        As `draw` takes and gives them.
    widths : dict of str to int
        Frames around the centre of each part: `mixture`, `vocals`, `mask`.
    path : Path, optional
        A file of all excerpts, written if it does not exist, so that an interrupted training does not cut them again.
    """

    def __init__(
        self,
        spectrograms: Spectrograms,
        excerpts: list[tuple[str, int, int]],
        widths: dict[str, int],
        path: Path | None,
    ):
        self._spectrograms, self._excerpts, self._widths, self._path = spectrograms, excerpts, widths, path
        arrays = {name: spectrograms.array(excerpts[0][0], name) for name in widths}
        self._record = np.dtype([(name, arrays[name].dtype, (arrays[name].shape[1], widths[name])) for name in widths])
        if path is not None and not path.exists():
            with written(path) as temporary, open(temporary, "wb") as file:
                for record in self._cut(excerpts):
                    file.write(record.tobytes())

    def __getitem__(self, number: int) -> np.ndarray:
        if self._path is None:
            return next(self._cut([self._excerpts[number]]))
        return np.fromfile(self._path, self._record, 1, offset=int(number) * self._record.itemsize)[0]

    def _cut(self, excerpts: Iterable[tuple[str, int, int]]) -> Iterator[np.ndarray]:
        """Records of excerpts in the order of the store; a few MB of a track are in memory at a time."""
        half = max(self._widths.values()) // 2
        for (track, _), chosen in groupby(excerpts, lambda excerpt: (excerpt[0], excerpt[1] // _SLAB)):
            centres = [centre for _, centre, _ in chosen]
            first = max(0, centres[0] - half)
            frames = slice(first, centres[-1] + half + 1)
            slabs = {name: np.asarray(self._spectrograms.array(track, name)[frames]).T for name in self._widths}
            for centre in centres:
                record = np.empty((), self._record)
                for name, width in self._widths.items():
                    start = centre - width // 2 - first
                    record[name] = slabs[name][:, start : start + width]
                yield record


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
    gathered : Path, optional
        A folder for the excerpts, cut out: about 55 kB each.
    share : int
        Every batch has a multiple of so many excerpts (devices).  An epoch leaves out the remaining ones.

    Notes
    -----
    A batch is x float32 (n, bins, width, 1) and y float32 (n, bins, label_width), or (n, 1) for VAD.

    Raises
    ------
    DataError
        The label does not fit, or there are fewer excerpts than devices.
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
        gathered: Path | None = None,
        share: int = 1,
    ):
        # Two threads that read ahead, in order.  With one, Keras reads inside tf.data, whose thread
        # takes a core from the training step on a machine with two (measured: 14 to 19 s an epoch instead of 10.5).
        super().__init__(workers=2, max_queue_size=4)
        spectrograms = Spectrograms(path)
        self._mode, self._seed, self._batch_size, self._share = mode, seed, batch_size, share
        self._excerpts = draw(spectrograms, mode, split, settings, seed)
        self._shuffled = split == TRAIN
        self.representation = {
            key: spectrograms.representation[key]
            for key in ("sample_rate", "frame_size", "win_length", "hop_length", "width")
        }
        self.width = self.representation["width"]
        self.bins = spectrograms.stft.bins
        self.label_width = label_width or self.width
        if self.label_width > self.width or self.label_width % 2 == 0:
            raise DataError(f"label_width {self.label_width}: expected an odd number up to the width {self.width}")
        if len(self._excerpts) < share:
            raise DataError(
                f"mode {mode}: {len(self._excerpts)} excerpts of split {split} can't be shared by {share} "
                "devices; use fewer"
            )
        self._input = "vocals" if mode == "DAE" else "mixture"
        widths = {self._input: self.width} | ({"mask": self.label_width} if mode == "SVS" else {})
        file = None if gathered is None else gathered / f"{mode}-{split}-{self.label_width}.bin"
        self._cuts = Cuts(spectrograms, self._excerpts, widths, file)
        self.epoch = 0

    @property
    def epoch(self) -> int:
        return self._epoch

    @epoch.setter
    def epoch(self, number: int) -> None:
        self._epoch = number
        order = np.arange(len(self._excerpts))
        if self._shuffled:
            order = np.random.default_rng([self._seed, 2, number]).permutation(order)
        self._order = order[: len(order) // self._share * self._share]

    def __len__(self) -> int:
        return -(-len(self._order) // self._batch_size)

    @property
    def excerpts(self) -> int:
        """Number of excerpts of an epoch."""
        return len(self._excerpts)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        x = np.empty((len(chosen), self.bins, self.width, 1), dtype=np.float32)
        shape = (1,) if self._mode == "VAD" else (self.bins, self.label_width)
        y = np.empty((len(chosen), *shape), dtype=np.float32)
        aside = (self.width - self.label_width) // 2
        # In the order of the store, so that neighbours read a chunk once.
        for place in np.argsort(chosen):
            number = chosen[place]
            cut = self._cuts[number]
            x[place, ..., 0] = cut[self._input]
            if self._mode == "VAD":
                y[place] = self._excerpts[number][2]
            elif self._mode == "DAE":
                y[place] = np.minimum(x[place, :, aside : self.width - aside, 0], 1)
            else:
                y[place] = cut["mask"]
        return x, y
