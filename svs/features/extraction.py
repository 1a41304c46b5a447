"""The dissertation's preprocess_data_tool: write spectrograms, ideal binary masks and singing labels into a store.

The STFT is that of the whole track.  A worker holds one track in memory at a time.
`svs.features.store` describes the layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from svs.audio.convert import mono_at, resample
from svs.audio.level import level
from svs.audio.sources import Source
from svs.config.schema import Extract, Representation, Store
from svs.data.dataset import Dataset, Track
from svs.dsp.masks import ideal_binary_mask
from svs.dsp.stft import frames, magnitude, stft_of_frames
from svs.errors import DataError
from svs.features import singing_labels
from svs.features.store import DATASET, GROUP_OF_MODE, LEVEL, MASKS, STEMS, VAD, track_key
from svs.runtime.files import Scratch, link_tree, written
from svs.runtime.parallel import over_tracks
from svs.stems import VOCALS

_FRAMES_PER_BLOCK = 256
_RUNS = "runs.npz"


def extract(dataset: Dataset, settings: Extract, path: Path, scratch: Scratch) -> dict[str, int]:
    """Extract all training and validation tracks in parallel (`svs.runtime.parallel`) and write their store.

    Finished tracks are kept in `scratch`, so the next run resumes an
    interrupted extraction.  The store appears under `path` at the end.

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
        Number of frames on which excerpts may be centred, by mode.

    Raises
    ------
    DataError
        There is no training track, or a training track is also a test track.
    """
    tracks = dataset.manifest.split("train", "valid", *(("unused",) if "MIX" in settings.modes else ()))
    dataset.manifest.refuse_leaks()
    if not tracks:
        raise DataError("no training tracks in the manifest; nothing to extract")
    finished = scratch.path.absolute() / "tracks"
    places = {track.name: finished / track_key(track.name) for track in tracks}
    waiting = [track for track in tracks if not places[track.name].exists()]
    several = len({track.dataset for track in tracks}) > 1  # else a store says nothing of data sets
    over_tracks(
        partial(_extract_track, dataset.bare(), settings, finished, several),
        waiting,
        [track.name for track in waiting],
        desc="extract",
        seconds=[track.seconds for track in waiting],
        folder=finished,
    )
    index: dict[str, list] = {mode: [] for mode in settings.modes}
    for track in tracks:
        with np.load(places[track.name] / _RUNS) as runs:
            for mode in _modes(settings, track):
                index[mode] += [[track.name, track.split, *map(int, run)] for run in runs[mode]]
    with written(path) as temporary:
        root = zarr.open_group(temporary, mode="w")
        for group in sorted({GROUP_OF_MODE[mode] for mode in settings.modes}):
            modes: dict[str, Any] = {mode: index[mode] for mode in settings.modes if GROUP_OF_MODE[mode] == group}
            representation = getattr(settings, group)
            root.require_group(group).attrs.put({"representation": representation.model_dump(), "index": modes})
        for place in places.values():
            for folder in filter(Path.is_dir, place.iterdir()):
                link_tree(folder, temporary / folder.name)
    return {mode: sum(last - first + 1 for _, _, first, last, _ in rows) for mode, rows in index.items()}


def _modes(settings: Extract, track: Track) -> list[str]:
    """Modes of a track.  Tracks that the dissertation's trainings leave out give their stems alone."""
    return [mode for mode in settings.modes if track.split != "unused" or mode == "MIX"]


def _extract_track(dataset: Dataset, settings: Extract, finished: Path, several: bool, track: Track) -> None:
    """Write the arrays and runs of one track into a folder of its own, which appears whole."""
    modes, key = _modes(settings, track), track_key(track.name)
    groups = {GROUP_OF_MODE[mode] for mode in modes}
    stems = track.parts if STEMS in groups else ()
    writers = {MASKS: _write_masks, VAD: _write_vad, STEMS: _write_stems}
    runs: dict[str, Any] = {}
    with (
        written(finished / key) as temporary,
        dataset.open(track, dict.fromkeys(("mixture", "vocals", "accompaniment", *stems))) as sources,
    ):
        attributes: dict[str, Any] = {LEVEL: level(sources["mixture"])} | ({DATASET: track.dataset} if several else {})
        for group in groups:
            arrays = zarr.open_group(temporary / group / key, mode="w", attributes=attributes)
            wanted = {name: sources[name] for name in (VOCALS, *stems)} if group == STEMS else sources
            runs |= writers[group](arrays, wanted, settings)
        np.savez(temporary / _RUNS, **{mode: runs[mode] for mode in modes})


def _runs(usable: np.ndarray, label: np.ndarray, half: int) -> np.ndarray:
    """Rows [first, last, label] of usable frames of one label, `half` frames off either end."""
    code = np.where(usable, label.astype(np.int64), -1)
    code[:half] = -1
    code[len(code) - half :] = -1
    edges = np.flatnonzero(np.diff(code)) + 1
    starts, stops = np.concatenate([[0], edges]), np.concatenate([edges, [len(code)]])
    rows = [(start, stop - 1, code[start]) for start, stop in zip(starts, stops, strict=True) if code[start] >= 0]
    return np.array(rows, dtype=np.int64).reshape(-1, 3)


def _magnitudes(audio: dict[str, np.ndarray], representation: Representation) -> Iterator[tuple[slice, dict]]:
    """Frames of a block, and the unscaled magnitudes (frames, bins) of each signal in it, block by block."""
    total = frames(len(audio["mixture"]), representation)
    for first in range(0, total, _FRAMES_PER_BLOCK):
        last = min(first + _FRAMES_PER_BLOCK, total)
        sizes = {name: np.abs(stft_of_frames(signal, representation, first, last).T) for name, signal in audio.items()}
        yield slice(first, last), sizes


def _write_masks(group: zarr.Group, sources: dict[str, Source], settings: Extract) -> dict[str, np.ndarray]:
    """Write magnitudes and mask of one track; return the runs of modes SVS and DAE."""
    representation = settings.masks
    rate = representation.sample_rate
    audio = {name: mono_at(sources[name], rate) for name in ("mixture", "vocals", "accompaniment")}
    shape = (frames(len(audio["mixture"]), representation), representation.bins)
    mixture, vocals = (np.empty(shape, dtype=settings.store.dtype) for _ in range(2))
    mask = np.empty(shape, dtype=bool)
    voice = np.empty(len(mask), dtype=np.float32)  # level of the vocals, dB
    for rows, sizes in _magnitudes(audio, representation):
        mixture[rows] = _rounded(magnitude(sizes["mixture"], representation), settings.store.dtype)
        loud = magnitude(sizes["vocals"], representation)
        vocals[rows] = _rounded(loud, settings.store.dtype)
        mask[rows] = ideal_binary_mask(sizes["vocals"], sizes["accompaniment"])
        with np.errstate(divide="ignore"):
            voice[rows] = 10 * np.log10(np.square(loud).sum(axis=1))
    for name, array in (("mixture", mixture), ("vocals", vocals), ("mask", mask)):
        write_array(group, name, array, settings.store)
    everywhere, voiced = np.ones(len(voice), dtype=bool), voice > representation.voiced_above
    half = representation.width // 2
    return {"SVS": _runs(everywhere, everywhere, half), "DAE": _runs(voiced, voiced, half)}


def _write_vad(group: zarr.Group, sources: dict[str, Source], settings: Extract) -> dict[str, np.ndarray]:
    """Write mixture magnitudes and labels of one track; return the runs of mode VAD."""
    representation = settings.vad
    audio = {"mixture": mono_at(sources["mixture"], representation.sample_rate)}
    total = frames(len(audio["mixture"]), representation)
    mixture = np.empty((total, representation.bins), dtype=settings.store.dtype)
    for rows, sizes in _magnitudes(audio, representation):
        mixture[rows] = _rounded(magnitude(sizes["mixture"], representation), settings.store.dtype)
    label = singing_labels.labels(singing_labels.levels(sources["vocals"], representation), representation)
    label = np.pad(label, (0, max(0, total - len(label))), mode="edge")[:total]
    write_array(group, "mixture", mixture, settings.store)
    write_array(group, "label", label, settings.store)
    return {"VAD": _runs(label != singing_labels.UNSURE, label, representation.width // 2)}


def _write_stems(group: zarr.Group, sources: dict[str, Source], settings: Extract) -> dict[str, np.ndarray]:
    """Write the audio of sources in chunks of a second; return the run of mode MIX, the whole track."""
    rate = settings.stems.sample_rate
    for name, source in sources.items():
        audio = resample(source.read(0, source.samples), source.rate, rate).astype(settings.store.dtype)
        write_array(group, name, audio, settings.store, rate)
    return {"MIX": np.array([[0, len(audio) - 1, 0]])}


def _rounded(magnitudes: np.ndarray, dtype: str) -> np.ndarray:
    """The bits of `magnitudes.astype(dtype)`, for float16 in a tenth of the time (not negative, any shape)."""
    if dtype == "float16":
        # numpy is slow below 2^-14, as most magnitudes of music are, unless they are multiples of 2^-24, as there every
        # half float is, and every sum with 0.5 in float32.
        half = np.float32(0.5)
        magnitudes = np.where(magnitudes < 2.0**-14, (magnitudes + half) - half, magnitudes)
    return magnitudes.astype(dtype, copy=False)


def write_array(group: zarr.Group, name: str, array: np.ndarray, settings: Store, chunk: int | None = None) -> None:
    """Write an array (rows, ...) into a group, as one shard of chunks of `chunk` rows (default: the settings')."""
    chunk = chunk or settings.chunk_frames
    shard = (-(-len(array) // chunk) * chunk, *array.shape[1:])
    # Not Blosc: it compresses in several threads, and its bytes depend on which one ends first.
    zstd = ZstdCodec(level=settings.compression)
    group.create_array(name, data=array, chunks=(chunk, *shard[1:]), shards=shard, compressors=[zstd])
