"""Synthetic songs in the layout of MUSDB18-HQ, and the real song that comes with stempeg.

A synthetic song has four stems.  The voice is a source-filter model: glottal
pulses with vibrato and glides pass through the formants of changing vowels,
with bursts of noise for consonants and rests between phrases.  The band
(drums, bass, pad, plucked chords) repeats a bar of drums and a chord
progression in the key of the melody.  All draws come from one seeded generator.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import librosa
import numpy as np
import soundfile
from scipy import signal

from svs.errors import DataError, SettingsError
from svs.runtime.files import written

RATE = 44100
STEMS = ("drums", "bass", "other", "vocals")
ARTIST = "Synthetic Singers"
REAL_SONG = "The Easton Ellises - Falcon 69"  # the excerpt that comes with stempeg

SHORTEST_SECONDS = 2.0
LOWEST_RATE = 16000

# Formants 1 to 4 of a man's a, i and u in Hz (after Peterson & Barney 1952), and their bandwidths.
_FORMANTS = np.array([[730, 1090, 2440, 3200], [290, 2290, 3010, 3400], [320, 870, 2240, 3150]])
_BANDWIDTHS = np.array([80, 100, 130, 180])


class _Score(NamedTuple):
    """What the players of one song share.  A pitch is a MIDI note number; a pitch class is a pitch modulo 12."""

    rng: np.random.Generator
    rate: int  # Hz
    seconds: float
    eighth: float  # seconds of an eighth note
    scale: np.ndarray  # pitch classes, (7,), from the tonic on
    roots: Sequence[int]  # scale degrees of the chords
    chord_eighths: int  # eighth notes of a chord

    def starts(self, eighths: float) -> np.ndarray:
        """Return the times in seconds of notes that last so many eighths."""
        return np.arange(0, self.seconds, eighths * self.eighth)

    def chord(self, seconds: float, lowest: int) -> np.ndarray:
        """Return the triad that sounds at a time, its pitches in the octave from `lowest` on."""
        index = math.floor(seconds / self.eighth / self.chord_eighths + 1e-6)
        classes = self.scale[(self.roots[index % len(self.roots)] + np.array([0, 2, 4])) % 7]
        return lowest + (classes - lowest) % 12

    def time(self, seconds: float) -> np.ndarray:
        """Return the time of each sample of so many seconds."""
        return np.arange(round(seconds * self.rate)) / self.rate


def song(seed: int | Sequence[int], seconds: float, rate: int = RATE) -> dict[str, np.ndarray]:
    """Compose and synthesise a song.

    Parameters
    ----------
    seed : int or sequence of int
        Not negative.  Equal arguments give equal samples.
    seconds : float
        Length of the song, at least `SHORTEST_SECONDS`.
    rate : int
        Sample rate in Hz, at least `LOWEST_RATE`.

    Returns
    -------
    dict of str to ndarray, int16, shape (round(seconds * rate), 2)
        The stems, by the names in `STEMS`.  Their sum, the mixture, fits into
        int16.  Vocals are zero between phrases; a song of eight seconds or
        more rests for at least one second.

    Raises
    ------
    SettingsError
        The song would be too short, or its sample rate too low.
    """
    if not seconds >= SHORTEST_SECONDS or rate < LOWEST_RATE:
        least = f"{SHORTEST_SECONDS} s at {LOWEST_RATE} Hz"
        raise SettingsError(f"a song takes at least {least}, not {seconds} s at {rate} Hz; ask for more")
    rng = np.random.default_rng(seed)
    eighth = 30 / rng.uniform(84, 132)
    scale = librosa.key_to_degrees(f"{rng.choice(list('CDEFGAB'))}:{rng.choice(['maj', 'min'])}")
    roots = [0, *rng.choice([2, 3, 4, 5], 3, replace=False)]
    score = _Score(rng, rate, seconds, eighth, scale, roots, int(rng.choice([4, 8])))
    stems = {name: np.zeros((round(seconds * rate), 2)) for name in STEMS}
    for name, play in zip(STEMS, (_drums, _bass, _other, _vocals), strict=True):
        for start, sound in play(score):
            part = stems[name][round(start * rate) :][: len(sound)]
            part += sound[: len(part)]
    return _master(score, stems)


def write_song(folder: Path, stems: Mapping[str, np.ndarray], rate: int) -> None:
    """Write a track as MUSDB18-HQ does: a folder of five 16-bit wav files, which appears whole.

    Parameters
    ----------
    folder : Path
        The track's folder, which is replaced; its name is the track's name.
    stems : mapping of str to ndarray, int16, shape (samples, 2)
        As `song` returns them.  A "mixture" among them is written instead of
        their sum.
    rate : int
        Sample rate in Hz.
    """
    with written(folder) as temporary:
        temporary.mkdir()
        for name, track in {"mixture": sum(stems[stem] for stem in STEMS), **stems}.items():
            soundfile.write(temporary / f"{name}.wav", track, rate, subtype="PCM_16")


def write_stempeg_song(folder: Path) -> str:
    """Write the excerpt of a real song that comes with stempeg, as `write_song` does.

    Its mixture is a stream of its own and, by lossy coding, not the sum of the stems.

    Parameters
    ----------
    folder : Path
        The track's folder, which is replaced.

    Returns
    -------
    str
        The song's name, `REAL_SONG`.

    Raises
    ------
    DataError
        ffmpeg is missing.
    """
    # stempeg looks for both programs when it is imported, and raises where one is missing.
    for program in ("ffmpeg", "ffprobe"):
        if shutil.which(program) is None:
            raise DataError(f"{program} is needed to decode the real song; install ffmpeg, or set real_song to false")
    import stempeg

    streams, rate = stempeg.read_stems(stempeg.example_stem_path())
    samples = np.clip(np.rint(streams * 32768), -32768, 32767).astype(np.int16)
    write_song(folder, dict(zip(("mixture", *STEMS), samples, strict=True)), rate)
    return REAL_SONG


def write_dataset(
    root: Path,
    *,
    seed: int,
    train: int,
    valid: int,
    test: int,
    train_seconds: float,
    test_seconds: float,
    real_song: bool = True,
    progress: Callable[[Iterable], Iterable] = iter,
) -> dict[str, list[str]]:
    """Write a data set in the layout of MUSDB18-HQ.

    A track depends on the seed, its split, its number in the split and its
    length.  It stays the same when a split grows or shrinks.

    Parameters
    ----------
    root : Path
        Gets `train/<track>/*.wav` (the tracks of train and valid) and
        `test/<track>/*.wav`.  Tracks that exist are replaced.
    seed : int
        Not negative.
    train, valid, test : int
        Numbers of synthetic tracks.
    train_seconds, test_seconds : float
        Length of a training or validation track, and of a test track.
    real_song : bool
        Whether the song of `write_stempeg_song` joins the test tracks.
    progress : callable
        Gets the list of synthetic tracks and iterates over it, as `tqdm.tqdm` does.

    Returns
    -------
    dict of str to list of str
        The names of the tracks of "train", "valid" and "test".

    Raises
    ------
    SettingsError
        A length is below `SHORTEST_SECONDS`.
    DataError
        The real song is wanted, and ffmpeg is missing.
    """
    names, jobs = {}, []
    splits = ("train", train, train_seconds), ("valid", valid, train_seconds), ("test", test, test_seconds)
    for key, (split, count, seconds) in enumerate(splits):
        subset = root / ("test" if split == "test" else "train")
        names[split] = [f"{ARTIST} - {split.title()} {number + 1:02d}" for number in range(count)]
        jobs += [(subset / name, (seed, key, number), seconds) for number, name in enumerate(names[split])]
    for folder, address, seconds in progress(jobs):
        write_song(folder, song(address, seconds), RATE)
    if real_song:
        names["test"].append(write_stempeg_song(root / "test" / REAL_SONG))
    return names


def is_generated(track: str) -> bool:
    """Tell from its name whether a track of `write_dataset`'s data set was generated, not recorded."""
    return track.startswith(f"{ARTIST} - ")


def _master(score: _Score, stems: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Balance the stems, scale their sum below full scale, round to int16."""
    rng, mixed, fade = score.rng, {}, np.clip((score.seconds - score.time(score.seconds)) / 0.02, 0, 1)[:, None]
    highpass = signal.butter(2, 25, "highpass", fs=score.rate, output="sos")
    for name, decibels in {"drums": 0.0, "bass": -2.0, "other": -1.0}.items():
        stem = signal.sosfilt(highpass, stems[name], axis=0) * fade
        mixed[name] = stem / _rms(stem) * librosa.db_to_amplitude(decibels + rng.uniform(-2, 2))
    # While it sings, the voice is about as loud as the band.
    level = _rms(sum(mixed.values())) * librosa.db_to_amplitude(rng.uniform(-1.5, 3))
    mixed["vocals"] = stems["vocals"] / _rms(stems["vocals"][stems["vocals"].any(axis=1)]) * level
    peak = max(np.abs(track).max() for track in (*mixed.values(), sum(mixed.values())))
    scale = 32767 * librosa.db_to_amplitude(rng.uniform(-3.5, -1)) / peak
    return {name: np.rint(stem * scale).astype(np.int16) for name, stem in mixed.items()}


def _drums(score: _Score) -> Iterator[tuple[float, np.ndarray]]:
    """Repeat a bar of sixteen steps of kick, snare and hi-hat."""
    rng, time = score.rng, score.time(0.3)
    kick = signal.chirp(time, rng.uniform(120, 200), 0.3, 45, "logarithmic") * np.exp(-time / 0.1)
    rattle = _noise(score, (len(time), 2), 900) * np.exp(-time / rng.uniform(0.05, 0.09))[:, None]
    body = np.sin(2 * np.pi * rng.uniform(170, 230) * time) * np.exp(-time / 0.05)
    hat = _noise(score, len(time), 6500) * np.exp(-time / rng.uniform(0.02, 0.05))
    bar = np.zeros((16, 3))
    bar[[0, 8, *rng.choice([3, 6, 7, 10, 11, 14], 2, replace=False)], 0] = 1.0
    bar[[4, 12], 1] = 0.7
    bar[:: rng.integers(1, 3), 2] = 0.25
    sounds = [_pan(kick, 0), 0.7 * rattle + _pan(body, 0), _pan(hat, rng.uniform(-0.6, 0.6))]
    for step, start in enumerate(score.starts(0.5)):
        for sound, level in zip(sounds, bar[step % 16], strict=True):
            yield start, sound * level * rng.uniform(0.85, 1)


def _bass(score: _Score) -> Iterator[tuple[float, np.ndarray]]:
    """Play a pattern of four notes of the chord."""
    rng = score.rng
    eighths, cutoff, decay = int(rng.integers(1, 3)), rng.uniform(150, 400), rng.uniform(0.3, 0.8)
    pattern = rng.choice([0, 0, 0, 1, 2], 4)
    for index, start in enumerate(score.starts(eighths)):
        pitch = score.chord(start, 30)[pattern[index % 4]]
        yield start, _pan(_tone(score, pitch, 0.95 * eighths * score.eighth, cutoff, 0.006, decay), 0)


def _other(score: _Score) -> Iterator[tuple[float, np.ndarray]]:
    """Play pad chords, wide by detuning, and plucked broken chords that alternate between the sides."""
    rng = score.rng
    cutoff, detune, length = rng.uniform(400, 1200), rng.uniform(0.02, 0.06), score.chord_eighths * score.eighth
    for start in score.starts(score.chord_eighths):
        for pitch in score.chord(start, 52):
            sides = [_tone(score, pitch + apart, length, cutoff, 0.1) for apart in (-detune, detune)]
            yield start, np.column_stack(sides)
    cutoff, decay, level = rng.uniform(1500, 4000), rng.uniform(0.15, 0.4), rng.uniform(0.5, 2)
    order, side = rng.permutation([0, 1, 2, 1]), rng.choice([-0.8, 0.8])
    for index, start in enumerate(score.starts(rng.choice([0.5, 1]))):
        pitch = score.chord(start, 64)[order[index % 4]]
        sound = _tone(score, pitch, 2 * decay, cutoff, 0.003, decay) * level * rng.uniform(0.6, 1)
        yield start, _pan(sound, side * (-1) ** index)


def _vocals(score: _Score) -> Iterator[tuple[float, np.ndarray]]:
    """Sing a phrase of about two thirds of every six seconds, and rest before or after it."""
    singer, rests_first = _Singer(score), score.rng.random() < 0.5
    cycles, length = np.linspace(0, score.seconds, max(1, round(score.seconds / 6)), endpoint=False, retstep=True)
    for cycle in cycles:
        sung = length * score.rng.uniform(0.66, 0.77)
        begin = cycle + rests_first * (length - sung)
        first = math.ceil(begin / score.eighth)
        start, voice = first * score.eighth, singer.sing(first, math.floor((begin + sung) / score.eighth) - first)
        yield start, _pan(voice, 0)
        # With two equal channels, BSS Eval's problem would be singular: an echo, later than its 512 taps, on one side.
        yield start + 0.023, _pan(0.2 * voice, -1)


class _Singer:
    """A source-filter model of a voice.  What is drawn here stays the same through one song."""

    def __init__(self, score: _Score):
        rng = score.rng
        female = rng.random() < 0.5
        self.score = score
        self.lowest = 57 if female else 48  # MIDI number
        self.formants = _FORMANTS * rng.uniform(0.95, 1.06) * (1.17 if female else 1)
        self.opening = rng.uniform(0.6, 0.85)  # part of the period in which the glottis opens
        self.vibrato = rng.uniform(5.0, 6.5), rng.uniform(0.3, 0.7)  # Hz, semitones

    def sing(self, first: int, eighths: int) -> np.ndarray:
        """Return a phrase that starts at an eighth note of the song, (samples,), silent at its end."""
        rng, time = self.score.rng, self.score.time(eighths * self.score.eighth)
        starts, pitches = self._melody(first, eighths)
        source, vowels = self._source(time, starts, pitches), rng.integers(len(self.formants), size=len(starts))
        voice = np.zeros(len(time))
        for vowel in np.unique(vowels):
            weight = _glide(time, starts, vowels == vowel, 0.08, vowels[0] == vowel)
            for centre, width in zip(self.formants[vowel], _BANDWIDTHS, strict=True):
                voice += weight * signal.lfilter(*signal.iirpeak(centre, centre / width, self.score.rate), source)
        loudness = np.append(rng.uniform(0.6, 1, len(starts)), 0)
        voice *= _glide(time, np.append(starts, time[-1] - 0.08), loudness, 0.06, 0) / _rms(voice)
        for start in starts[rng.random(len(starts)) < 0.6]:
            consonant = self._consonant()
            part = voice[round(start * self.score.rate) :][: len(consonant)]
            part[:] = part * (1 - signal.windows.tukey(len(part), 0.3)) + consonant
        return voice

    def _melody(self, first: int, eighths: int) -> tuple[np.ndarray, np.ndarray]:
        """Walk randomly on the scale: the starts of the notes in seconds, and their pitches."""
        score, rng = self.score, self.score.rng
        lengths = rng.choice([1, 1, 2, 2, 2, 3, 4], eighths)
        starts = np.cumsum(lengths) - lengths
        ladder = [pitch for pitch in range(self.lowest, self.lowest + 18) if pitch % 12 in score.scale]
        walk = len(ladder) // 2 + np.cumsum(rng.choice([-2, -1, -1, 0, 1, 1, 2], eighths))
        pitches = np.array(ladder + ladder[::-1])[walk % (2 * len(ladder))]
        for note in np.flatnonzero(lengths > 1):  # long notes belong to the chord
            tones = score.chord((first + starts[note]) * score.eighth, pitches[note] - 6)
            pitches[note] = tones[np.argmin(np.abs(tones - pitches[note]))]
        return starts[starts < eighths] * score.eighth, pitches[starts < eighths]

    def _source(self, time: np.ndarray, starts: np.ndarray, pitches: np.ndarray) -> np.ndarray:
        """Return triangular pulses of glottal flow, with vibrato, drift and breath, as the lips radiate them."""
        rate, depth = self.vibrato
        held = np.diff(starts, append=time[-1]) > 1.5 * self.score.eighth
        vibrato = _glide(time, starts + 0.15, depth * held, 0.15, 0) * np.sin(2 * np.pi * rate * time)
        drift = 0.05 * np.interp(time, time[::10000], self.score.rng.standard_normal(len(time[::10000])))
        midi = _glide(time, starts, pitches, 0.1, pitches[0] - 1.5) + vibrato + drift
        flow = signal.sawtooth(2 * np.pi * np.cumsum(librosa.midi_to_hz(midi)) / self.score.rate, self.opening)
        return np.gradient(flow) + 0.02 * _rms(np.gradient(flow)) * self.score.rng.standard_normal(len(time))

    def _consonant(self) -> np.ndarray:
        """Return a hiss (s, sh) or, after a closure of 40 ms, a burst (t, k)."""
        time, rng = self.score.time(0.12), self.score.rng
        burst = np.where(time > 0.04, np.exp((0.04 - time) / 0.01), 0)
        envelope = 0.3 * signal.windows.hann(len(time)) if rng.random() < 0.5 else 0.6 * burst
        return _noise(self.score, len(time), rng.choice([1500, 2500, 4500])) * envelope


def _glide(time: np.ndarray, starts: np.ndarray, values: np.ndarray, seconds: float, before: float) -> np.ndarray:
    """Hold each value from its start to the next one, and move to it linearly in the given seconds."""
    knots = np.column_stack([starts, starts + seconds]).ravel()
    return np.interp(time, knots, np.repeat([before, *values], 2)[1:-1])


def _tone(score: _Score, pitch: float, seconds: float, cutoff: float, fade: float, decay: float = np.inf) -> np.ndarray:
    """Return a sawtooth through a lowpass filter, faded at both ends."""
    time = score.time(seconds)
    wave = signal.sawtooth(2 * np.pi * librosa.midi_to_hz(pitch) * time)
    wave = signal.lfilter(*signal.butter(2, cutoff, fs=score.rate), wave)
    return wave * np.exp(-time / decay) * signal.windows.tukey(len(time), 2 * fade / seconds)


def _noise(score: _Score, shape: int | tuple[int, int], above: float) -> np.ndarray:
    """Return noise of RMS 1 above a frequency in Hz."""
    highpass = signal.butter(4, above, "highpass", fs=score.rate, output="sos")
    noise = signal.sosfilt(highpass, score.rng.standard_normal(shape), axis=0)
    return noise / _rms(noise)


def _pan(mono: np.ndarray, side: float) -> np.ndarray:
    """Place sound between -1, left, and 1, right, at constant power: (samples, 2)."""
    angle = (side + 1) * np.pi / 4
    return mono[:, None] * np.array([np.cos(angle), np.sin(angle)])


def _rms(sound: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(sound))))
