"""Where a data set lies on disk: generated or downloaded first where it is missing."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from svs.config import paths, schema
from svs.config.schema import Download, Settings
from svs.data.musdb import with_subsets
from svs.errors import DataError
from svs.runtime import process
from svs.runtime.download import download, unpack
from svs.runtime.files import read_json, write_json, written
from svs.runtime.progress import progress_bar


def locate(settings: Download, seed: int, root: Path) -> tuple[Path, list[str]]:
    """The folder of the data set, generated or downloaded first where it is missing.

    Parameters
    ----------
    settings : Download
    seed : int
        Of the generated data set.
    root : Path
        Where generated and downloaded sets are kept.

    Returns
    -------
    folder : Path
        Holds `train` and `test`.
    validation : list of str
        Names of validation tracks that the set itself names (may be empty).

    Raises
    ------
    DataError, FetchError
    """
    if settings.dataset == "tiny":
        return _generated(settings, seed, root / "tiny")
    if settings.path is not None:
        return with_subsets(settings.path), []
    target = root / settings.dataset
    if not target.is_dir():
        hint = f"or set profiles.*.download.path to a folder of {settings.dataset} data that you have"
        archive = download(settings.archive.url, settings.archive.checksum, root, hint=hint)
        unpack(archive, target)
    return with_subsets(target), []


def _generated(settings: Download, seed: int, folder: Path) -> tuple[Path, list[str]]:
    stamp = folder / "generated.json"
    wanted = {"seed": seed, **settings.tiny.model_dump()}
    if stamp.is_file():
        content = json.loads(stamp.read_text())
        if content["settings"] == wanted:
            return folder, content["validation"]
    from svs.data import synthetic  # scipy.signal takes half a second to import, and most stages only read

    with written(folder) as temporary:
        names = synthetic.write_dataset(
            temporary,
            seed=seed,
            **settings.tiny.model_dump(),
            progress=partial(progress_bar, unit="track", desc="generate"),
        )
        write_json(temporary / stamp.name, {"settings": wanted, "validation": names["valid"]})
    return folder, names["valid"]


def locate_present(settings: Settings, root: Path) -> Path:
    """The data set of the settings, generated where it is `tiny`, but never downloaded.

    Raises
    ------
    DataError
        It is not there.
    """
    download = settings.download
    if download.dataset != "tiny" and download.path is None and not (root / download.dataset).is_dir():
        raise DataError(
            f"the data set {download.dataset} is not here; get it with `dvc repro download`, "
            "or name a folder of MUSDB18 that you have with --musdb"
        )
    return locate(download, settings.seed, root)[0]


def locate_given(folder: Path) -> tuple[Path, list[str]]:
    """A person's own folder of MUSDB18: what `locate` gives for a data set of the settings."""
    place = with_subsets(folder)
    stamp = place / "generated.json"
    return place, read_json(stamp)["validation"] if stamp.is_file() else []


def _main() -> None:
    parameters = schema.load()
    locate(parameters.download, parameters.seed, paths.DATASETS)


if __name__ == "__main__":
    process.main(_main)
