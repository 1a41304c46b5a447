"""Stands in for svs/separators/spleeter_worker.py in test_spleeter.py: its messages, another network.

Segments are multiplied by a gain that depends on all of the segment (or by 1, with the
extension "average"), in the frames of spleeter's STFT.
"""

import importlib.util
import sys
from pathlib import Path

import numpy as np

path = Path(__file__).resolve().parents[2] / "svs" / "separators" / "spleeter_worker.py"
spec = importlib.util.spec_from_file_location("spleeter_worker", path)
worker = importlib.util.module_from_spec(spec)
spec.loader.exec_module(worker)

checkpoint, exponent, extension = sys.argv[1:]
window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(4096) / 4096)


def vocals(content, first, last):
    audio = np.frombuffer(content, "<f4").reshape(527360, 2)
    gain = 1.0 if extension == "average" else np.tanh(5 * np.abs(audio).mean())
    sum_of_frames = np.zeros(((last - first - 1) * 1024 + 4096, 2))
    for frame in range(first, last):
        there, here = frame * 1024, (frame - first) * 1024
        sum_of_frames[here : here + 4096] += gain * 2 / 3 * window[:, None] ** 2 * audio[there : there + 4096]
    return sum_of_frames.astype("<f4").tobytes()


worker.serve(f"loaded {checkpoint} with exponent {exponent}", vocals)
