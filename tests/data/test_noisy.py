"""Recordings in noise: by rule from a seed, at the SNR asked for, split by speaker, generated or from folders."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import soundfile
from scipy import signal

from svs.config.project import find_project
from svs.data import noisy
from svs.data.noisy_set import entries
from svs.errors import DataError, SettingsError, UnavailableError
from svs.runtime.files import files_below, sha256

SHORT = ("noisy.rates=[8000]", "noisy.sources=3", "noisy.voice.seconds=2", "noisy.respiratory.seconds=4")
CELLS = (
    "noisy.voice.noises=[pink]",
    "noisy.voice.snrs=[0, 10]",
    "noisy.respiratory.noises=[white, pink]",
    "noisy.respiratory.snrs=[5]",
)


def settings(*overrides):
    return find_project(overrides=[*SHORT, *CELLS, *overrides]).settings.noisy


@pytest.fixture(scope="module")
def speakers(tmp_path_factory):
    """Five speakers who say ten words of half a second each, tones of a pitch of their own."""
    folder = tmp_path_factory.mktemp("speech")
    for index, name in enumerate("abcde"):
        for word in range(10):
            tone = 0.3 * np.sin(2 * np.pi * (200 + 100 * index) * np.arange(4000) / 8000)
            soundfile.write(folder / f"{word}_{name}_0.wav", tone * (1 + word) / 10, 8000)
    return folder


def test_every_source_meets_every_noise_at_the_snr_asked_for():
    made = list(noisy.recordings(settings(), 1))
    assert len({recording.entry.name for recording in made}) == len(made) == 3 * 2 + 3 * 2
    for recording in made:
        entry, noise = recording.entry, recording.mixture.astype(float) - recording.clean
        snr = 10 * np.log10(np.mean(recording.clean.astype(float) ** 2) / np.mean(noise**2))
        assert snr == pytest.approx(entry.snr, abs=0.01)
        assert len(recording.clean) == len(recording.mixture) == entry.rate * (2 if entry.kind == "voice" else 4)
    splits = {(recording.entry.source, recording.entry.split) for recording in made}
    assert splits >= {("voice 1", "train"), ("voice 2", "test"), ("breath 1", "train"), ("breath 3", "test")}
    assert len(splits) == 6, "a source is in one split alone"


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        noisy.write(tmp_path / name, noisy.recordings(settings(), seed, ("test",), ("respiratory",)))
    one, same, other = (sha256(files_below(tmp_path / name)) for name in "abc")
    assert one == same != other
    assert [entry.split for entry in entries(tmp_path / "a")] == ["test"] * 4
    clean, rate = soundfile.read(tmp_path / "a" / entries(tmp_path / "a")[0].name / "clean.wav")
    assert rate == 8000 and len(clean) == 4 * rate


def test_what_is_left_out_changes_nothing():
    every = {recording.entry: recording.mixture for recording in noisy.recordings(settings(), 1)}
    for recording in noisy.recordings(settings(), 1, ("test",), ("voice",)):
        np.testing.assert_array_equal(recording.mixture, every[recording.entry])


def test_rates_go_round_from_source_to_source():
    made = noisy.recordings(settings("noisy.rates=[8000, 48000]", "noisy.voice.snrs=[0]"), 1, kinds=("voice",))
    assert [(recording.entry.source[-1], recording.entry.rate, len(recording.clean)) for recording in made] == [
        ("1", 8000, 16000),
        ("2", 48000, 96000),
        ("3", 8000, 16000),
    ]


def test_pink_noise_falls_by_three_decibels_an_octave():
    found, power = signal.welch(noisy.pink(200_000, np.random.default_rng(0)), 8000, nperseg=4096)
    octaves = [power[(found >= low) & (found < 2 * low)].mean() for low in (125, 250, 500, 1000)]
    np.testing.assert_allclose(10 * np.log10(np.divide(octaves[:-1], octaves[1:])), 3, atol=0.5)


def test_hum_is_the_mains_and_its_harmonics():
    spectrum = np.abs(np.fft.rfft(noisy.hum(8000, np.random.default_rng(0), 8000)))  # a bin is 1 Hz
    mains = int(np.argmax(spectrum))
    assert mains in (50, 60)
    assert spectrum[2 * mains] == pytest.approx(spectrum[mains] / 2, rel=1e-6)
    assert spectrum[mains + 5] < 1e-6 * spectrum[mains]


def test_breathing_comes_and_goes():
    """About three seconds a breath, with pauses that are silent."""
    sound = noisy.breathing(60.0, 8000, np.random.default_rng(0))
    level = np.sqrt(np.mean(sound[:480_000].reshape(-1, 800) ** 2, axis=1))  # every 0.1 s
    assert (level < 1e-3 * level.max()).mean() > 0.1
    pauses = np.diff(np.flatnonzero(np.diff((level < 1e-3 * level.max()).astype(int)) == 1)) / 10
    assert 2.4 < np.median(pauses) < 4.0


def test_a_folder_of_speakers(speakers):
    """Words are joined; babble is of other speakers."""
    overrides = (f"noisy.voice.folder={speakers}", "noisy.voice.noises=[babble]", "noisy.voice.snrs=[0]")
    made = list(noisy.recordings(settings(*overrides), 1, kinds=("voice",)))
    assert [(recording.entry.source, recording.entry.split) for recording in made] == [
        ("a", "train"),
        ("b", "test"),
        ("c", "train"),
        ("d", "test"),
        ("e", "train"),
    ]
    for index, recording in enumerate(made):
        clean, noise = (
            np.abs(np.fft.rfft(audio * np.hanning(16000)))
            for audio in (recording.clean, recording.mixture - recording.clean)
        )
        assert np.argmax(clean) / 2 == pytest.approx(200 + 100 * index, abs=3)
        pitch = slice(2 * (200 + 100 * index) - 8, 2 * (200 + 100 * index) + 8)
        assert noise[pitch].max() < 0.1 * noise.max(), "the speaker is in the babble"


def test_noises_from_a_folder(speakers, tmp_path):
    soundfile.write(tmp_path / "fan.wav", np.random.default_rng(0).normal(0, 0.1, 3000), 16000)
    made = noisy.recordings(settings(f"noisy.noise={tmp_path}", "noisy.voice.noises=[]"), 1, kinds=("voice",))
    assert {recording.entry.noise for recording in made} == {"fan"}


def test_folders_that_hold_too_little(speakers, tmp_path):
    with pytest.raises(DataError, match=r"expected recordings, \*.wav"):
        list(noisy.recordings(settings(f"noisy.voice.folder={tmp_path}"), 1))
    with pytest.raises(DataError, match="expected 60 s of each speaker"):
        list(noisy.recordings(settings(f"noisy.voice.folder={speakers}", "noisy.voice.seconds=60"), 1))
    with pytest.raises(DataError, match="expected 4 s or more, got 0.5 s"):
        list(noisy.recordings(settings(f"noisy.respiratory.folder={speakers}"), 1, kinds=("respiratory",)))


def tones(folder, *names: str, seconds: float = 6.0, level: float = 0.3):
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        time = np.arange(round(8000 * seconds)) / 8000
        soundfile.write(folder / f"{name}.wav", level * np.sin(2 * np.pi * (200 + 90 * number) * time), 8000)
    return folder


def silent_file(root):
    return (f"noisy.respiratory.folder={tones(root, 'a', level=0.0)}",)


def broken_file(root):
    (tones(root, "bob/a") / "ann").mkdir()
    (root / "ann" / "b.wav").write_bytes(b"")
    return (f"noisy.voice.folder={root}",)


WRONG = {
    "a name twice": (lambda root: (f"noisy.respiratory.folder={tones(root, 'x/rec', 'y/rec')}",), "found rec twice"),
    "names that meet": (lambda root: (f"noisy.voice.folder={tones(root, 'a b/1', 'a_b/1')}",), "two make this one"),
    "no noise": (lambda root: (f"noisy.noise={root}",), r"expected recordings, \*.wav; name .* noisy.noise"),
    "a noise called pink": (lambda root: (f"noisy.noise={tones(root, 'pink')}",), "two make this one"),
    "silence": (silent_file, r"a\.wav: expected a recording with sound"),
    "a broken file": (broken_file, r"b\.wav: expected a wav file, could not read it"),
    "one speaker": (
        lambda root: (f"noisy.voice.folder={tones(root, 'ann/1')}", "noisy.voice.noises=[babble]"),
        "expected two or more speakers for babble, found ann alone",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_folders_that_would_give_another_set_than_meant(tmp_path, name):
    make, says = WRONG[name]
    (tmp_path / "of").mkdir()
    with pytest.raises(DataError, match=says):
        noisy.write(tmp_path / "set", noisy.recordings(settings(*make(tmp_path / "of")), 1))
    assert not (tmp_path / "set").exists()


def test_files_that_macos_leaves_are_no_recordings(tmp_path):
    (tones(tmp_path, "ann/a", "bob/b") / "ann" / "._a.wav").write_bytes(b"x")
    made = noisy.recordings(settings(f"noisy.voice.folder={tmp_path}"), 1, kinds=("voice",))
    assert {recording.entry.source for recording in made} == {"ann", "bob"}


def test_reverberation(monkeypatch):
    """It decays by 60 dB in the time asked for, and has no delay; without the package the extra is named."""
    monkeypatch.setitem(sys.modules, "pyroomacoustics", None)
    with pytest.raises(UnavailableError, match=r"pip install 'svs\[rooms\]'"):
        noisy.reverberant(np.ones(8), 16000, 0.3, np.random.default_rng(0))
    monkeypatch.undo()
    pytest.importorskip("pyroomacoustics", reason="reverberation needs pyroomacoustics, of svs[rooms]")
    click = np.eye(1, 8000)[0]
    heard = noisy.reverberant(click, 16000, 0.3, np.random.default_rng(0)).astype(float)
    assert np.argmax(np.abs(heard)) == 0
    decay = 10 * np.log10(np.cumsum(heard[::-1] ** 2)[::-1] / np.sum(heard**2))  # Schroeder's integral
    first, last = (np.argmax(decay < level) for level in (-5, -25))
    assert 3 * (last - first) / 16000 == pytest.approx(0.3, rel=0.4)
    with pytest.raises(SettingsError, match="noisy.reverberation: 0.01 s"):
        noisy.reverberant(click, 16000, 0.01, np.random.default_rng(0))
