"""Where decoded frames lie in time: gaps and a late start become silence, jitter does not.

Conventions: seconds.  Timestamps are those of the container; the timeline
begins where its earliest stream does, so that a video's sound stays in sync.
"""

from __future__ import annotations

_EARLIEST = 0.005  # s; a smaller delay at the beginning is the rounding of timestamps (Matroska: 1 ms)
_SYNC = 0.05  # s by which sound may be off before silence is inserted or an overlap is cut
_DRIFT = 1e-4  # by which the clocks of sound and timestamps may differ for ever: no reason for a hole in a song
_OVERLAP = 1.0  # s; a larger step back is a new beginning (joined files), not an overlap
LONGEST = 600.0  # s of silence in one gap; a larger step is a broken timestamp
_MOST = 3600.0  # s of silence in a recording


class Timeline:
    """Decides before each frame how much silence is due.

    Parameters
    ----------
    start : float, optional
        Timestamp at which the timeline begins; without it, at the first frame.
    """

    def __init__(self, start: float | None = None):
        self._expected, self._owed = start, 0.0
        self._begun = self._cutting = False
        self.delay = self.silence = self.cut = 0.0  # s of silence at the beginning and in gaps, of overlaps left out
        self.gaps = self.jumps = 0  # gaps filled; steps that were too large to be believed
        self.skipped = 0.0  # s of such steps forward

    def step(self, time: float | None, seconds: float) -> float:
        """Silence due before a frame of so many seconds with this timestamp; negative: so much of it is left out."""
        expected, begun = self._expected, self._begun
        self._begun = True
        jump = 0.0 if time is None or expected is None else time - expected
        if time is not None:
            self._expected = time
        if self._expected is not None:
            self._expected += seconds
        if not -_OVERLAP < jump <= LONGEST or self.silence + jump > _MOST:
            self.jumps += begun or jump > 0
            self.skipped += max(jump, 0.0)
            return 0.0
        if not begun:
            self.delay = jump if jump >= _EARLIEST else 0.0
            return self.delay
        self._owed += jump - max(min(self._owed, _DRIFT * seconds), -_DRIFT * seconds)
        if abs(self._owed) < _SYNC and not self._cutting:
            return 0.0
        due = max(self._owed, -seconds)
        self._owed -= due
        self._cutting = self._owed < 0
        if due > 0:
            self.gaps += 1
            self.silence += due
        else:
            self.cut -= due
        return due

    def notes(self) -> list[str]:
        """What was done, in short sentences."""
        notes = []
        if self.delay:
            notes.append(f"its sound begins {self.delay:.2f} s after the picture: silence was put before it")
        if self.gaps:
            what = "a gap" if self.gaps == 1 else f"{self.gaps} gaps"
            notes.append(f"{what} of {self.silence:.2f} s in its timestamps became silence")
        if self.cut:
            notes.append(f"{self.cut:.2f} s that overlap what is before them were left out")
        if self.jumps:
            notes.append(
                f"its timestamps jump by too much to be true in {self.jumps} place(s): joined there without a gap"
            )
        return notes
