"""Recordings for the tests of audio: every format, a tone, what is decoded or refused."""

from pathlib import Path

import numpy as np
import pytest
import stempeg

from svs.audio.reading import decode
from svs.errors import DataError
from tests.helpers.command import RATE

EXAMPLE = Path(stempeg.example_stem_path())


HEALTHY = {
    "pcm16.wav": (["-c:a", "pcm_s16le"], 0),
    "pcm24.wav": (["-c:a", "pcm_s24le"], 0),
    "pcm32.wav": (["-c:a", "pcm_s32le"], 0),
    "pcm8.wav": (["-c:a", "pcm_u8"], 0),
    "float.wav": (["-c:a", "pcm_f32le"], 0),
    "double.wav": (["-c:a", "pcm_f64le"], 0),
    "rf64.wav": (["-c:a", "pcm_s16le", "-rf64", "always"], 0),
    "adpcm.wav": (["-c:a", "adpcm_ima_wav"], 2048),
    "plain.flac": ([], 0),
    "plain.aiff": ([], 0),
    "plain.au": ([], 0),
    "plain.caf": ([], 0),
    "plain.w64": ([], 0),
    "alac.m4a": (["-c:a", "alac"], 0),
    "plain.wv": ([], 0),
    "plain.tta": ([], 0),
    "cbr.mp3": (["-b:a", "128k"], 0),
    "vbr.mp3": (["-q:a", "4"], 0),
    "noxing.mp3": (["-b:a", "128k", "-write_xing", "0"], 2304),  # nothing tells the encoder's delay
    "vbr-noxing.mp3": (["-q:a", "4", "-write_xing", "0"], 2304),  # nor the length
    "plain.mp2": ([], 1152),
    "plain.aac": ([], 2048),
    "plain.m4a": ([], 1024),
    "fragments.mp4": (["-c:a", "aac", "-movflags", "frag_keyframe+empty_moov"], 2048),
    "vorbis.ogg": (["-c:a", "libvorbis"], 128),
    "flac.ogg": (["-c:a", "flac"], 0),
    "plain.wma": ([], 4096),
    "plain.ac3": ([], 1536),
    "plain.ts": (["-c:a", "aac"], 2048),
    "vorbis.mka": (["-c:a", "libvorbis"], 1024),
    "live.mkv": (["-c:a", "aac", "-live", "1"], 2048),  # states no length
    "plain.avi": (["-c:a", "pcm_s16le"], 0),
    "plain.opus": ([], 1),
    "opus.webm": (["-c:a", "libopus"], 1),
}


def decoded(path, **options):
    with decode.open_recording(path, **options) as recording:
        return recording.read(0, recording.samples), recording


def refused(path, match, **options):
    """The message with which a recording is refused: one line that names it."""
    with pytest.raises(DataError, match=match) as caught, decode.open_recording(path, **options):
        pass
    message = str(caught.value)
    assert "\n" not in message and len(message) < 700
    return message


def tone(samples, channels=2, rate=RATE, seed=0):
    """Sines of another pitch in each channel, and a little noise."""
    generator = np.random.default_rng(seed)
    time = np.arange(samples)[:, None] / rate
    hertz = 200.0 * np.arange(1, channels + 1)
    noise = generator.normal(0, 0.01, (samples, channels))
    return (0.4 * np.sin(2 * np.pi * hertz * time) + noise).astype(np.float32)


def level(audio):
    return np.sqrt(np.mean(np.square(audio, dtype=np.float64), axis=0))
