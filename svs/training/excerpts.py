"""Excerpts: drawn from the index of a store, cut from it, batched for Keras.

An excerpt is nine frames of a chunk of hundreds, which is decompressed whole.
So a training cuts its excerpts once, in the order of the store, into a file
(*gathered*) from which any order of them is read as fast as files are.
"""

from __future__ import annotations

import zlib
from functools import cached_property
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
    """Choose excerpts of a split at random, without replacement, the same number of each track.

    Parameters
    ----------
    spectrograms : Spectrograms
    mode : {"SVS", "DAE", "VAD"}
    split : {"train", "valid"}
    settings : Draw
        `per_track` (training) or `valid_per_track`, and the passage in seconds
        that centre frames come from.
    seed : int

    Returns
    -------
    list of (track, centre frame, label)
        Sorted by track and frame.  A track with too few frames gives all it has.

    Raises
    ------
    DataError
        Not one excerpt can be drawn.
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
        # Drawn track by track, so that one more track leaves the others' excerpts alone.
        random = np.random.default_rng([seed, zlib.crc32(f"{mode}/{split}/{track}".encode())])
        picks = np.sort(random.choice(end[-1], min(count, end[-1]), replace=False))
        # A list of all frames of thousands of tracks would fill the memory: a pick counts along the runs.
        run = np.searchsorted(end, picks, side="right")
        frames = first[run] + picks - (end - length)[run]
        chosen += [(track, *pair) for pair in zip(frames.tolist(), label[run].tolist(), strict=True)]
    if not chosen:
        raise DataError(
            f"mode {mode}: no excerpt of split {split} between {settings.start_point} s and "
            f"{settings.stop_point or 'the end'}; widen the passage or add tracks"
        )
    return chosen


class Batches(keras.utils.PyDataset):
    """Batches of excerpts, read from the store, or from what was gathered of it, as they are needed.

    Every epoch has its own order, which depends on the seed and the number of
    the epoch alone (`epoch`, set from outside), so that a resumed training
    sees the batches that an uninterrupted one would have seen.

    Parameters
    ----------
    path : Path
        Group of a store (`<store>/masks` or `<store>/vad`).
    mode : {"SVS", "DAE", "VAD"}
        SVS: mixture excerpt to mask.  DAE: vocals excerpt to itself, clipped to
        1.  VAD: mixture excerpt to the label of its centre frame.
    split : {"train", "valid"}
        `train` is shuffled, `valid` is not.
    settings : Draw
    batch_size : int
    label_width : int
        Frames of the target (SVS), around the centre.
    seed : int
    gathered : Path, optional
        A folder for the excerpts, cut out: about 55 kB each.  What an
        interrupted training of the same excerpts left there is used again.
    share : int
        Every batch has a multiple of so many excerpts (devices); what is over is left out of an epoch.

    Notes
    -----
    A batch is x float32 (n, bins, width, 1) and y float32 (n, bins, label_width),
    or (n, 1) for VAD.
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
        self._spectrograms = Spectrograms(path)
        self._mode, self._seed, self._batch_size = mode, seed, batch_size
        self._excerpts = draw(self._spectrograms, mode, split, settings, seed)
        self._shuffled = split == TRAIN
        self.representation = {
            key: self._spectrograms.representation[key]
            for key in ("sample_rate", "frame_size", "win_length", "hop_length", "width")
        }
        self.width = self.representation["width"]
        self.bins = self.representation["frame_size"] // 2 + 1
        self.label_width = label_width or self.width
        if self.label_width > self.width or self.label_width % 2 == 0:
            raise DataError(f"label_width {self.label_width}: expected an odd number up to the width {self.width}")
        self._share = share
        if len(self._excerpts) < share:
            raise DataError(
                f"mode {mode}: {len(self._excerpts)} excerpts of split {split} can't be shared by {share} "
                "devices; use fewer"
            )
        self._name = "vocals" if mode == "DAE" else "mixture"
        # What is cut for an excerpt: the array, and its frames around the centre.
        self._parts = [(self._name, self.width)] + [("mask", self.label_width)] * (mode == "SVS")
        self._file = None
        if gathered is not None:
            self._file = gathered / f"{mode}-{split}-{self.label_width}.bin"
            if not self._file.exists():
                self._gather(self._file)
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

    def labels(self) -> np.ndarray:
        """Class of every excerpt in the order of an unshuffled epoch (mode VAD)."""
        return np.array([label for _, _, label in self._excerpts])

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        x = np.empty((len(chosen), self.bins, self.width, 1), dtype=np.float32)
        y = np.empty(
            (len(chosen), 1) if self._mode == "VAD" else (len(chosen), self.bins, self.label_width), dtype=np.float32
        )
        # In the order of the store, so that a chunk is read once for neighbours.
        for place in np.argsort(chosen):
            number = chosen[place]
            heard, *mask = self._read(number) if self._file else self._cut(number)
            x[place, ..., 0] = heard
            if self._mode == "VAD":
                y[place] = self._excerpts[number][2]
            elif self._mode == "DAE":
                aside = (self.width - self.label_width) // 2
                y[place] = np.minimum(x[place, :, aside : self.width - aside, 0], 1)
            else:
                y[place] = mask[0]
        return x, y

    def _cut(self, number: int) -> list[np.ndarray]:
        """Parts of an excerpt, each (bins, frames), from the store."""
        track, centre, _ = self._excerpts[number]
        return [
            self._spectrograms.array(track, name)[centre - width // 2 : centre + width // 2 + 1].T
            for name, width in self._parts
        ]

    def _read(self, number: int) -> list[np.ndarray]:
        """The same from the file."""
        content = np.fromfile(self._file, np.uint8, self._bytes, offset=int(number) * self._bytes)
        parts, start = [], 0
        for dtype, width in self._layout:
            stop = start + dtype.itemsize * self.bins * width
            parts.append(content[start:stop].view(dtype).reshape(self.bins, width))
            start = stop
        return parts

    @cached_property
    def _layout(self) -> list[tuple[np.dtype, int]]:
        """Type and frames of each part of an excerpt in the file."""
        first = self._excerpts[0][0]
        return [(self._spectrograms.array(first, name).dtype, width) for name, width in self._parts]

    @cached_property
    def _bytes(self) -> int:
        return sum(dtype.itemsize * self.bins * width for dtype, width in self._layout)

    def _gather(self, path: Path) -> None:
        """Cut all excerpts into a file, one after the other; a few MB of a track are in memory at a time."""
        half = self.width // 2
        with written(path) as temporary, open(temporary, "wb") as file:
            for (track, _), chosen in groupby(self._excerpts, lambda excerpt: (excerpt[0], excerpt[1] // _SLAB)):
                centres = [centre for _, centre, _ in chosen]
                first = max(0, centres[0] - half)
                slabs = [
                    (self._spectrograms.array(track, name)[first : centres[-1] + half + 1].T, width)
                    for name, width in self._parts
                ]
                for centre in centres:
                    for slab, width in slabs:
                        start = centre - width // 2 - first
                        file.write(np.ascontiguousarray(slab[:, start : start + width]).tobytes())
