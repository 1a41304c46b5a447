"""Processes that tests start and expect to end."""

from __future__ import annotations

import time
from pathlib import Path


def gone(process: int, within: float = 20.0) -> bool:
    """Whether a process ends (one that nobody has waited for yet counts as ended)."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False
