"""Fixtures of the tests of data sets."""

import pytest

from svs.runtime import parallel


@pytest.fixture
def here(monkeypatch):
    """Tracks are inspected in this process (other tests inspect in parallel)."""
    monkeypatch.setattr(parallel, "cores", lambda: 1)


@pytest.fixture
def download(settings, tmp_path):
    """Settings for a folder of one's own: tmp_path / "set"."""
    return settings.download.model_copy(update={"dataset": "full", "path": tmp_path / "set", "tiny": None})
