"""What the tests share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def shared(tests: pytest.TempPathFactory) -> Path:
    """The temporary folder of this run of tests, the same for all workers."""
    folder = tests.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
