"""Examples of README and the guides, run as they stand, if they need neither a net trained here nor a download."""

from __future__ import annotations

import re
import shlex

import numpy as np
import pytest
import soundfile as sf

from svs import separators
from tests.helpers import REPOSITORY
from tests.helpers.command import svs, wav

RATE = 8000  # Hz: as little work as possible
PAGES = ["README.md", *(f"docs/{name}.md" for name in ("get-started", "own-songs", "recordings", "options", "voice"))]
TEXT = "\n".join((REPOSITORY / page).read_text(encoding="utf-8") for page in PAGES)
SHELL = [
    line.partition(" #")[0].strip()
    for block in re.findall(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]
# Not: a menu, pipes, networks.
LINES = {
    line for line in SHELL if re.match(r"svs separate [\w']", line) and "|" not in line and "_separator" not in line
}
NOISY = {line for line in SHELL if re.match(r"svs (voice|respiratory) \w+\.wav", line)}
pytestmark = pytest.mark.slow
PYTHON = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture(autouse=True)
def _a_default_without_weights(monkeypatch):
    monkeypatch.setattr(separators, "default", lambda *_, **__: "hpss")


@pytest.fixture
def songs(tmp_path, monkeypatch):
    """The recordings that the examples name, in the working folder.  A name's extension says nothing to svs."""
    noise = np.random.default_rng(0).standard_normal((95 * RATE, 1), dtype=np.float32) / 10
    wav(tmp_path / "film.mkv", noise, RATE)
    for name in ("song.wav", "song.mp3", "song.flac", "album/one.flac", "album/two.flac", "more/three.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        wav(tmp_path / name, noise[: 4 * RATE], RATE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("line", sorted(LINES))
def test_a_command(line, songs):
    words = shlex.split(line)[1:]
    ran = svs(*words, "--no-picture")
    assert ran.code == 0, ran.err
    output = songs / (words[words.index("-o") + 1] if "-o" in words else "separated")
    form = words[words.index("--format") + 1] if "--format" in words else "wav"
    methods = words[words.index("-m") + 1].split(",") if "-m" in words else ["hpss"]
    recordings = 3 if "more/" in words else 1
    for method in methods:
        assert len(list(output.glob(f"*/{method}/vocals.{form}"))) == recordings
        assert len(list(output.glob(f"*/{method}/accompaniment.{form}"))) == recordings


@pytest.mark.parametrize("line", sorted(NOISY))
def test_a_command_on_a_noisy_recording(line, tmp_path, monkeypatch):
    program, command, name, *options = shlex.split(line)
    noise = np.random.default_rng(0).standard_normal((4 * RATE, 1), dtype=np.float32) / 10
    wav(tmp_path / name, noise, RATE)
    monkeypatch.chdir(tmp_path)
    ran = svs(command, name, *options, "--no-picture")
    assert program == "svs" and ran.code == 0, ran.err
    enhanced, residual = sorted(tmp_path.glob(f"enhanced/{name.removesuffix('.wav')}/*/*.wav"))
    np.testing.assert_allclose(sf.read(enhanced)[0] + sf.read(residual)[0], noise[:, 0], atol=1e-6)


@pytest.mark.parametrize("code", PYTHON)
def test_python(code):
    audio = np.random.default_rng(0).standard_normal((44100, 2)).astype(np.float32) / 10
    names: dict = {"audio": audio, "songs": [audio]}
    exec(code, names)
    np.testing.assert_allclose(names["parts"]["vocals"] + names["parts"]["accompaniment"], audio, atol=1e-6)


def test_there_are_examples():
    assert len(LINES) >= 4 and len(NOISY) >= 4 and len(PYTHON) >= 3
