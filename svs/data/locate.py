"""Find a data set on disk; generate or download it first if it is missing."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from svs.config import paths, schema
from svs.config.schema import Download, Settings
from svs.data.musdb import with_subsets
from svs.errors import DataError
from svs.runtime import process
from svs.runtime.download import download, unpack
from svs.runtime.files import fingerprint, read_json, write_json, written
from svs.runtime.progress import progress_bar


def locate(settings: Download, seed: int, root: Path) -> tuple[Path, list[str]]:
    """The folder of the data set, which is generated or downloaded first if it is missing.

    Parameters
    ----------
    settings : Download
    seed : int
        Of the generated data set.
    root : Path
        Folder of generated and downloaded data sets.

    Returns
    -------
    folder : Path
        Contains `train` and `test`.
    validation : list of str
        Validation tracks that the set itself names (may be empty).

    Raises
    ------
    DataError
        `settings.path` is not a data set.
    FetchError
        The download failed.
    """
    if settings.dataset == "tiny":
        return _generated(settings, seed, root / "tiny")
    if settings.path is not None:
        return with_subsets(settings.path), []
    target = root / settings.dataset
    if not target.is_dir():
        assert settings.archive  # as Download checks
        hint = f"or set profiles.*.download.path to a folder of {settings.dataset} data that you have"
        archive = download(settings.archive.url, settings.archive.checksum, root, hint=hint)
        unpack(archive, target)
    return with_subsets(target), []


def _generated(settings: Download, seed: int, folder: Path) -> tuple[Path, list[str]]:
    stamp = folder / "generated.json"
    assert settings.tiny  # as Download checks
    tiny = settings.tiny.model_dump()
    wanted = {"seed": seed, **tiny, "code": fingerprint(code=["svs.data.synthetic"])}
    if stamp.is_file() and (content := read_json(stamp))["settings"] == wanted:
        return folder, content["validation"]
    from svs.data import synthetic  # scipy.signal takes half a second to import, and most stages only read

    shown = partial(progress_bar, unit="track", desc="generate")
    try:
        with written(folder) as temporary:
            names = synthetic.write_dataset(temporary, seed=seed, **tiny, progress=shown)
            write_json(temporary / stamp.name, {"settings": wanted, "validation": names["valid"]})
    except OSError as error:
        raise DataError(
            f"{folder}: can't write the generated data set ({error.strerror or error}); name a folder of MUSDB18 "
            "that you have with --musdb, or a --project that can be written to"
        ) from error
    return folder, names["valid"]


def locate_present(settings: Settings, root: Path) -> Path:
    """The folder of the data set, which is generated if it is `tiny`, but never downloaded.

    Raises
    ------
    DataError
        It is missing.
    """
    download = settings.download
    if download.dataset != "tiny" and download.path is None and not (root / download.dataset).is_dir():
        raise DataError(
            f"the data set {download.dataset} is not here; get it with `dvc repro download`, "
            "or name a folder of MUSDB18 that you have with --musdb"
        )
    return locate(download, settings.seed, root)[0]


def locate_given(folder: Path) -> tuple[Path, list[str]]:
    """What `locate` returns, for a folder of MUSDB18 that the user names."""
    place = with_subsets(folder)
    stamp = place / "generated.json"
    return place, read_json(stamp)["validation"] if stamp.is_file() else []


def _main() -> None:
    parameters = schema.load()
    locate(parameters.download, parameters.seed, paths.DATASETS)


if __name__ == "__main__":
    process.main(_main)
