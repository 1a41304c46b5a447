"""Find a data set on disk; generate or download it first if it is missing."""

from __future__ import annotations

from pathlib import Path

from svs.config import paths, schema
from svs.config.schema import Download, Settings
from svs.data.layouts.tiny import STAMP
from svs.errors import DataError
from svs.runtime import process
from svs.runtime.download import download, unpack
from svs.runtime.files import fingerprint, read_json, write_json, written


def locate(settings: Download, seed: int, root: Path) -> Path:
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
    Path
        What its layout looks into (`svs.data.layouts`).

    Raises
    ------
    DataError
        `settings.path` is no folder.
    FetchError
        The download failed.
    """
    if settings.dataset == "tiny":
        return _generated(settings, seed, root / "tiny")
    if settings.path is not None:
        if not settings.path.is_dir():
            raise DataError(
                f"{settings.path}: expected a folder that holds a data set; there is no such folder (download.path)"
            )
        return settings.path
    target = root / settings.dataset
    if not target.is_dir():
        assert settings.archive  # as Download checks
        hint = f"or set profiles.*.download.path to a folder of {settings.dataset} data that you have"
        archive = download(settings.archive.url, settings.archive.checksum, root, hint=hint)
        unpack(archive, target)
    return target


def locate_each(settings: Download, seed: int, root: Path) -> dict[str, Path]:
    """The folders of all data sets by name.  Parameters and errors: as of `locate`."""
    return {one.dataset: locate(one, seed, root) for one in settings.each()}


def _generated(settings: Download, seed: int, folder: Path) -> Path:
    stamp = folder / STAMP
    assert settings.tiny  # as Download checks
    tiny = settings.tiny.model_dump()
    wanted = {"seed": seed, **tiny, "code": fingerprint(code=["svs.data.synthetic"])}
    if stamp.is_file() and read_json(stamp)["settings"] == wanted:
        return folder
    from svs.data import synthetic  # scipy.signal takes half a second to import, and most stages only read

    try:
        with written(folder) as temporary:
            names = synthetic.write_dataset(temporary, seed=seed, **tiny)
            write_json(temporary / stamp.name, {"settings": wanted, "validation": names["valid"]})
    except OSError as error:
        raise DataError(
            f"{folder}: can't write the generated data set ({error.strerror or error}); name a folder of MUSDB18 "
            "that you have with --musdb, or a --project that can be written to"
        ) from error
    return folder


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
            "or name a folder of songs that you have with --musdb"
        )
    return locate(download, settings.seed, root)


def _main() -> None:
    parameters = schema.load()
    locate_each(parameters.download, parameters.seed, paths.DATASETS)


if __name__ == "__main__":
    process.main(_main)
