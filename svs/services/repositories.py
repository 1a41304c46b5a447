"""Trained networks of another repository of svs, fetched through DVC from its remote."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from svs import separators
from svs.config import paths
from svs.config.project import Project
from svs.errors import DataError, FetchError, SettingsError
from svs.networks import CARD, ONNX
from svs.runtime.extras import require
from svs.runtime.files import written
from svs.services.models import Model, find


def artifact(name: str) -> str:
    """The name of a network among the `artifacts` of dvc.yaml, where GTO allows no underscore."""
    return name.replace("_", "-")


def split(source: str) -> tuple[str, str | None]:
    """Repository and revision of `REPO[@REV]`; REV has neither `/` nor `:`, as the address after a user's name has."""
    repository, at, revision = source.rpartition("@")
    return (repository, revision) if at and repository and re.fullmatch(r"[^/:]+", revision) else (source, None)


def fetch(name: str, project: Project, source: str) -> Model:
    """Copy a trained network of another repository into the project's `models`, whole or not at all.

    Parameters
    ----------
    name : str
        A network that is trained here, or `vad`.
    project : Project
    source : str
        `REPO[@REV]`: a folder or an address of a Git repository, and a version that it registered for this network (a
        tag of GTO, `NAME@v1.0.0`) or else a revision of Git.  Without REV, the newest version, or else the last commit.

    Raises
    ------
    DataError
        The project has a network of that name already.
    FetchError
        The repository, the revision or the network can't be had.
    ModuleNotFoundError
        DVC is not installed.
    SettingsError
        The network is not trained here.
    """
    require("dvc")
    find(name, project)  # the name must be that of a network
    if name in separators.of_kind(separators.Kind.PRETRAINED):
        raise SettingsError(f"{name}: its authors publish its weights; `svs fetch {name}` without --from gets them")
    folder = project.path(paths.MODELS / name)
    if folder.exists():
        raise DataError(f"{folder}: is there already; move it away, or name another project with --project")
    with written(folder) as temporary:
        revision = _download(name, *split(source), temporary)
        if missing := [file for file in (ONNX, CARD) if not (temporary / file).is_file()]:
            raise FetchError(
                f"{source}: {paths.MODELS / name} of {revision} lacks {', '.join(missing)}; name another REV"
            )
    return find(name, project)


def _download(name: str, repository: str, revision: str | None, target: Path) -> str:
    """Download `models/NAME`; return the revision of Git that it is of."""
    from dvc.api import DVCFileSystem, artifacts_show
    from dvc.exceptions import ArtifactNotFoundError, DvcException
    from dvc.repo.open_repo import clean_repos
    from dvc_data.index import DataIndexDirError
    from scmrepo.exceptions import SCMError

    at = revision or "HEAD"
    try:
        with suppress(ArtifactNotFoundError):  # where it is no version, it is a revision of Git
            at = artifacts_show(artifact(name), version=revision, repo=repository)["rev"]
        DVCFileSystem(url=repository, rev=at).get((paths.MODELS / name).as_posix(), str(target), recursive=True)
    except (DvcException, DataIndexDirError, SCMError, OSError) as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise FetchError(
            f"{repository}: {name} of {at} can't be fetched ({reason}); the repository must have a commit in which "
            "`dvc repro` has run, and a remote that holds its outputs (docs/remotes.md)"
        ) from error
    finally:
        clean_repos()  # dvc.api leaves its clone and its cache in the folder for temporary files
    return at
