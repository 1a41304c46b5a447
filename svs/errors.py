"""The errors that svs raises on purpose.

Each message is one line that says what was expected, what came, and what to
do.  Stages and commands print it and exit with the class's `exit_code`; any
other exception is a defect and keeps its traceback.
"""

from __future__ import annotations


class SVSError(Exception):
    """Something the person running svs can put right."""

    exit_code = 1


class SettingsError(SVSError):
    """A parameter is unknown, missing or impossible."""

    exit_code = 2


class DataError(SVSError):
    """A data set, a track or an audio file is not what it should be."""

    exit_code = 3


class FetchError(SVSError):
    """Something could not be downloaded, verified or unpacked."""

    exit_code = 4


class ModelError(SVSError):
    """A trained model is missing, incomplete or does not fit its settings."""

    exit_code = 5


class UnavailableError(SVSError):
    """A method can't run here: its pretrained weights, or the environment that it runs in, can't be had."""

    exit_code = 6


class GateError(SVSError):
    """A method's scores fell against another revision, or are missing."""

    exit_code = 7


class ClusterError(SVSError):
    """The machines that the work was to be spread over can't be had, or don't fit."""

    exit_code = 8


def recording_error(name: object, text: str) -> DataError:
    """An error about a recording: one line that begins with its name, what can't be printed as escapes."""
    return DataError("".join(char if char.isprintable() else repr(char)[1:-1] for char in f"{name}: {text}"))
