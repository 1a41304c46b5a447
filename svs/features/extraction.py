"""The dissertation's preprocess_data_tool: spectrograms, ideal binary masks and activity labels into a store.

The STFT is of the whole track; a process has one track in memory at a time.  See
`svs.features.store` for the layout.
"""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import zarr

from svs.audio.convert import mono, resample
from svs.audio.sources import Source
from svs.config.schema import Extract, Representation, Store
from svs.data.dataset import Dataset, Track
from svs.dsp.masks import ideal_binary_mask
from svs.dsp.stft import blocks, frames, magnitude, stft
from svs.errors import DataError
from svs.features import singing_labels
from svs.features.shards import write_array, write_group
from svs.features.store import GROUP_OF_MODE, MASKS, STEMS, VAD, track_key
from svs.runtime.cluster import over_tracks
from svs.runtime.files import Scratch, written

_FRAMES_PER_BLOCK = 256
_RUNS = "runs.npz"
_TAKEN = ".taken"


def extract(dataset: Dataset, settings: Extract, path: Path, scratch: Scratch) -> dict[str, int]:
    """Write the store of all training and validation tracks, which are extracted side by side (`svs.runtime.cluster`).

    Finished tracks are kept in `scratch`, so an interrupted extraction goes on
    where it was; the store appears under `path` at the end.

    Parameters
    ----------
    dataset : Dataset
    settings : Extract
    path : Path
        Where the store appears, replacing an older one.
    scratch : Scratch

    Returns
    -------
    dict
        Frames on which excerpts may be centred, by mode.
    """
    tracks = dataset.manifest.split("train", "valid", *(("unused",) if "MIX" in settings.modes else ()))
    _refuse_test_tracks(dataset, tracks)
    if not tracks:
        raise DataError("no training tracks in the manifest; nothing to extract")
    finished = scratch.path.absolute() / "tracks"
    places = {track.name: finished / track_key(track.name) for track in tracks}
    waiting = [track for track in tracks if not places[track.name].exists()]
    over_tracks(
        partial(_extract_into, dataset.bare(), settings, finished),
        waiting,
        [track.name for track in waiting],
        finished,
        unit="s",
        desc="extract",
        amounts=[track.seconds for track in waiting],
    )
    index: dict[str, list] = {mode: [] for mode in settings.modes}
    for track in tracks:
        with np.load(places[track.name] / _RUNS) as runs:
            for mode in _modes(settings, track):
                index[mode] += [[track.name, track.split, *map(int, run)] for run in runs[mode]]
    groups = _groups(settings)
    with written(path) as temporary:
        root = zarr.open_group(temporary, mode="w")
        for group in sorted(groups):
            modes = {mode: index[mode] for mode in settings.modes if GROUP_OF_MODE[mode] == group}
            representation = getattr(settings, group)
            root.require_group(group).attrs.put({"representation": representation.model_dump(), "index": modes})
        for name, place in places.items():
            _move_into(temporary, place, track_key(name))
    return {mode: sum(last - first + 1 for _, _, first, last, _ in rows) for mode, rows in index.items()}


def _move_into(store: Path, finished: Path, key: str) -> None:
    """Move what was extracted of a track into a store."""
    # Out of the scratch as a whole, so that what is killed now leaves no half of a track for the next run.
    taken = store / _TAKEN
    shutil.move(finished, taken)
    for group in (STEMS, MASKS, VAD):
        if (taken / group).is_dir():
            os.rename(taken / group / key, store / group / key)
    shutil.rmtree(taken)


def _refuse_test_tracks(dataset: Dataset, tracks: list[Track]) -> None:
    """A song that is in the test set as well, by its name or by its bytes, can't be trained on."""
    tests = dataset.manifest.split("test")
    names, sums = {track.name for track in tests}, {track.sha256 for track in tests}
    if shared := [track.name for track in tracks if track.name in names or track.sha256 in sums]:
        raise DataError(
            f"in train/ and in test/: {', '.join(shared[:5])}; nothing that is scored may be trained on: "
            "take it out of train/"
        )


def _groups(settings: Extract) -> set[str]:
    return {GROUP_OF_MODE[mode] for mode in settings.modes}


def _modes(settings: Extract, track: Track) -> list[str]:
    """What is extracted of a track: of one that the dissertation's trainings leave out, its stems alone."""
    return [mode for mode in settings.modes if track.split != "unused" or mode == "MIX"]


def _extract_into(dataset: Dataset, settings: Extract, finished: Path, track: Track) -> None:
    """One track into a folder of its own, which appears whole: a store of that track alone, and its runs."""
    with written(finished / track_key(track.name)) as temporary:
        runs = _extract_track(dataset, track, settings, temporary)
        np.savez(temporary / _RUNS, **runs)


def _extract_track(dataset: Dataset, track: Track, settings: Extract, staging: Path) -> dict[str, np.ndarray]:
    modes = _modes(settings, track)
    groups = {GROUP_OF_MODE[mode] for mode in modes}
    stems = ("drums", "bass", "other") if STEMS in groups else ()
    with dataset.open(track, ("mixture", "vocals", "accompaniment", *stems)) as sources:
        runs = {}
        if MASKS in groups:
            group = staging / MASKS / track_key(track.name)
            write_group(group)
            level = _write_svs(group, sources, settings)
            half = settings.masks.width // 2
            everywhere = np.ones(len(level), dtype=bool)
            runs["SVS"] = _runs(everywhere, everywhere, half)
            voiced = level > settings.masks.voiced_above
            runs["DAE"] = _runs(voiced, voiced, half)
        if VAD in groups:
            group = staging / VAD / track_key(track.name)
            write_group(group)
            label = _write_vad(group, sources, settings)
            runs["VAD"] = _runs(label != singing_labels.UNSURE, label, settings.vad.width // 2)
        if STEMS in groups:
            group = staging / STEMS / track_key(track.name)
            write_group(group)
            runs["MIX"] = np.array([[0, _write_stems(group, sources, settings) - 1, 0]])
    return {mode: runs[mode] for mode in modes}


def _runs(usable: np.ndarray, label: np.ndarray, half: int) -> np.ndarray:
    """Rows [first, last, label] of usable frames of one label, `half` frames off either end."""
    code = np.where(usable, label.astype(np.int64), -1)
    code[:half] = -1
    code[len(code) - half :] = -1
    edges = np.flatnonzero(np.diff(code)) + 1
    starts, stops = np.concatenate([[0], edges]), np.concatenate([edges, [len(code)]])
    rows = [(start, stop - 1, code[start]) for start, stop in zip(starts, stops, strict=True) if code[start] >= 0]
    return np.array(rows, dtype=np.int64).reshape(-1, 3)


def _mono_at(source: Source, representation: Representation):
    """Mono audio (samples,) at the representation's rate."""
    whole = mono(source.read(0, source.samples))
    return resample(whole, source.rate, representation.sample_rate)


def _write_svs(group: Path, sources: dict[str, Source], settings: Extract) -> np.ndarray:
    """Write magnitudes and mask of one track; returns the vocals' level in dB of each frame."""
    representation = settings.masks
    audio = {name: _mono_at(sources[name], representation) for name in ("mixture", "vocals", "accompaniment")}
    samples = len(audio["mixture"])
    total = frames(samples, representation)
    shape = (total, representation.bins)
    mixture, vocals = (np.empty(shape, dtype=settings.store.dtype) for _ in range(2))
    mask = np.empty(shape, dtype=bool)
    level = np.empty(total, dtype=np.float32)
    for first, last, start, stop, skip in blocks(samples, representation, _FRAMES_PER_BLOCK):
        own = slice(skip, skip + last - first)
        sizes = {name: np.abs(stft(signal[start:stop], representation)[:, own].T) for name, signal in audio.items()}
        mixture[first:last] = rounded(magnitude(sizes["mixture"], representation), settings.store.dtype)
        loud = magnitude(sizes["vocals"], representation)
        vocals[first:last] = rounded(loud, settings.store.dtype)
        mask[first:last] = ideal_binary_mask(sizes["vocals"], sizes["accompaniment"])
        with np.errstate(divide="ignore"):
            level[first:last] = 10 * np.log10(np.square(loud).sum(axis=1))
    for name, array in (("mixture", mixture), ("vocals", vocals), ("mask", mask)):
        _write(group, name, array, settings.store)
    return level


def _write_vad(group: Path, sources: dict[str, Source], settings: Extract) -> np.ndarray:
    """Write mixture magnitudes and labels of one track; returns the labels."""
    representation = settings.vad
    audio = _mono_at(sources["mixture"], representation)
    total = frames(len(audio), representation)
    mixture = np.empty((total, representation.bins), dtype=settings.store.dtype)
    for first, last, start, stop, skip in blocks(len(audio), representation, _FRAMES_PER_BLOCK):
        spectrum = stft(audio[start:stop], representation)[:, skip : skip + last - first].T
        mixture[first:last] = rounded(magnitude(spectrum, representation), settings.store.dtype)
    label = singing_labels.labels(singing_labels.levels(sources["vocals"], representation), representation)
    label = np.pad(label, (0, max(0, total - len(label))), mode="edge")[:total]
    _write(group, "mixture", mixture, settings.store)
    _write(group, "label", label, settings.store)
    return label


def _write_stems(group: Path, sources: dict[str, Source], settings: Extract) -> int:
    """Write the audio of one track's stems; returns their samples."""
    rate = settings.stems.sample_rate
    for name in ("vocals", "drums", "bass", "other"):
        source = sources[name]
        audio = resample(source.read(0, source.samples), source.rate, rate).astype(settings.store.dtype)
        _write(group, name, audio, settings.store, rate)
    return len(audio)


def rounded(values: np.ndarray, dtype: str) -> np.ndarray:
    """Magnitudes in the store's type, float16 or float32; the bits of `values.astype(dtype)`.

    numpy rounds one value after the other, and takes 50 ns of each below 6e-5,
    as most magnitudes of music are.

    Parameters
    ----------
    values : float32, at least 0
    dtype : str

    Returns
    -------
    array of `dtype`, same shape
    """
    if dtype != "float16" or values.size and not values.max() < 65504:  # beyond are infinity and NaN
        return values.astype(dtype)
    bits = values.view(np.uint32)
    # To ten bits of fraction instead of 23, ties to even; the exponent counts from -15, not from -127.
    normal = ((bits + (0xFFF + ((bits >> 13) & 1))) >> 13) - (112 << 10)
    # Below 2^-14 a half float is a multiple of 2^-24, as float32 is between 1/2 and 1.
    tiny = (values + np.float32(0.5)).view(np.uint32) - np.float32(0.5).view(np.uint32)
    return np.where(values < 2.0**-14, tiny, normal).astype(np.uint16).view(np.float16)


def _write(group: Path, name: str, array: np.ndarray, settings: Store, length: int | None = None) -> None:
    write_array(group / name, array, length or settings.chunk_frames, settings.compression)  # stems: a second
