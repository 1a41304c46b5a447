"""Small data sets in MUSDB18's layout for the tests, some of them broken."""

from __future__ import annotations

from pathlib import Path

import musdb
import numpy as np
import soundfile
import stempeg

from svs.data.dataset import Dataset
from svs.data.inspection import inspect
from svs.data.locate import locate
from svs.stems import STREAMS
from tests.helpers.command import ffmpeg

EXAMPLE = Path(stempeg.example_stem_path())
RATE = 44100


def write_track(root, subset, name, samples=2000, rate=RATE, channels=2, silent=False):
    """A small wav track whose mixture is the sum of its stems."""
    folder = root / subset / name
    folder.mkdir(parents=True)
    generator = np.random.default_rng(len(name))
    stems = {stem: generator.integers(-3000, 3000, (samples, channels)).astype(np.int16) for stem in STREAMS[1:]}
    if silent:
        stems["vocals"][:] = 0
    for stem, audio in {**stems, "mixture": sum(stems.values())}.items():
        soundfile.write(folder / f"{stem}.wav", audio, rate, subtype="PCM_16")
    return folder


def write_stem(root, subset, name, source=EXAMPLE):
    folder = root / subset
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.stem.mp4"
    path.symlink_to(source)
    return path


def empty_subsets(root):
    for subset in ("train", "test"):
        (root / subset).mkdir(parents=True, exist_ok=True)


def listed(download, *valid):
    """Settings that name the validation tracks."""
    split = download.split.model_copy(update={"by": "list", "valid": valid})
    return download.model_copy(update={"split": split})


def inspected(download, seed=1):
    return inspect(download, seed, locate(download, seed, Path("nowhere")))


def rewrite(folder, name, audio, rate=RATE, subtype="PCM_16"):
    soundfile.write(folder / f"{name}.wav", audio, rate, subtype=subtype)


def missing_stem(root, name):
    (write_track(root, "train", name) / "bass.wav").unlink()


def empty_track(root, name):
    (root / "train" / name).mkdir(parents=True)


def other_length(root, name):
    rewrite(write_track(root, "train", name), "other", np.zeros((1000, 2)))


def not_a_number(root, name):
    audio = np.full((2000, 2), 0.1, dtype=np.float32)
    audio[1500, 1] = np.nan
    rewrite(write_track(root, "train", name), "drums", audio, subtype="FLOAT")


def infinite(root, name):
    audio = np.full((2000, 2), 0.1, dtype=np.float32)
    audio[3, 0] = -np.inf
    rewrite(write_track(root, "train", name), "vocals", audio, subtype="FLOAT")


def three_channels(root, name):
    write_track(root, "train", name, channels=3)


def no_samples(root, name):
    write_track(root, "train", name, samples=0)


def no_bytes(root, name):
    (write_track(root, "train", name) / "vocals.wav").write_bytes(b"")


def text_wav(root, name):
    (write_track(root, "train", name) / "mixture.wav").write_text("this is no audio\n" * 9)


def cut_wav(root, name):
    path = write_track(root, "train", name) / "other.wav"
    path.write_bytes(path.read_bytes()[:5000])


BAD_WAVS = {
    "missing stem": (missing_stem, "missing bass.wav"),
    "empty track": (empty_track, "missing mixture.wav, drums.wav, bass.wav, other.wav, vocals.wav"),
    "other length": (
        other_length,
        "its stems differ in length: [1000, 2000] samples, by 23 ms; expected at most 10 ms",
    ),
    "not a number": (not_a_number, "drums holds NaN or infinite samples"),
    "infinite": (infinite, "vocals holds NaN or infinite samples"),
    "three channels": (three_channels, "expected mono or stereo, found 3 channels"),
    "no samples": (no_samples, "it holds no audio"),
    "no bytes": (no_bytes, "vocals.wav: expected a wav file, could not read it"),
    "text wav": (text_wav, "mixture.wav: expected a wav file, could not read it"),
    "cut wav": (cut_wav, "its stems differ in length: [1239, 2000] samples"),
}


def cut_stem(root, name, share=0.6):
    folder = root / "train"
    folder.mkdir(parents=True, exist_ok=True)
    content = EXAMPLE.read_bytes()
    (folder / f"{name}.stem.mp4").write_bytes(content[: int(len(content) * share)])


def cut_front_stem(root, name):
    """Cut where the index stands before the audio, so that the beginning still plays."""
    cut = root.parent / "whole.stem.mp4"
    ffmpeg("-i", EXAMPLE, "-map", "0:a", "-c", "copy", "-f", "mp4", "-movflags", "+faststart", cut)
    content = cut.read_bytes()
    (root / "train").mkdir(parents=True, exist_ok=True)
    (root / "train" / f"{name}.stem.mp4").write_bytes(content[: int(len(content) * 0.6)])


def text_stem(root, name):
    (root / "train").mkdir(parents=True, exist_ok=True)
    (root / "train" / f"{name}.stem.mp4").write_text("this is no film\n" * 50)


def one_stream(root, name):
    (root / "train").mkdir(parents=True, exist_ok=True)
    target = root / "train" / f"{name}.stem.mp4"
    ffmpeg("-i", EXAMPLE, "-map", "0:a:0", "-c", "copy", "-f", "mp4", target)


BAD_STEMS = {
    "cut stem": (cut_stem, "truncated"),
    "cut front stem": (cut_front_stem, "truncated"),
    "text stem": (text_stem, "it is truncated or no mp4"),
    "one stream": (
        one_stream,
        "expected 5 audio streams (mixture, drums, bass, other, vocals), one stream.stem.mp4 has 1",
    ),
}
BAD = {**BAD_WAVS, **BAD_STEMS}


def assert_same_as_musdb(folder, manifest, tracks):
    """Check that tracks have the samples that musdb itself reads."""
    subsets = sorted({track.subset for track in tracks})
    is_wav = not any(folder.glob("*/*.stem.mp4"))
    theirs = {
        (track.subset, track.name): track
        for subset in subsets
        for track in musdb.DB(root=str(folder), is_wav=is_wav, subsets=subset)
    }
    assert isinstance(next(iter(theirs.values())), musdb.MultiTrack)
    assert set(theirs) == {(track.subset, track.name) for track in manifest.tracks if track.subset in subsets}
    for track in tracks:
        real = theirs[track.subset, track.name]
        for source in real.sources.values():
            source.audio = source.audio  # read once: musdb starts an ffmpeg for each reading
        expected = {
            "mixture": real.audio,
            **{name: source.audio for name, source in real.sources.items()},
            "accompaniment": real.targets["accompaniment"].audio,
        }
        assert set(expected) == {*STREAMS, "accompaniment"}
        with Dataset(folder, manifest).open(track, [*STREAMS, "accompaniment"]) as sources:
            for name, audio in expected.items():
                assert (sources[name].rate, sources[name].samples) == (real.rate, len(audio))
                np.testing.assert_array_equal(sources[name].read(0, track.samples), audio, err_msg=name)
                part = sources[name].read(1000, 1500)
                np.testing.assert_array_equal(part, audio[1000:1500])
