"""Small songs made from nothing, laid out like MUSDB18-HQ.

A song is four stems.  The voice is a glottal pulse train shaped by moving
formants, so it glides, has vibrato, changes vowels and falls silent between
phrases; the accompaniment is drums, bass and chords that share its key and
tempo.  Every song comes from its seed alone: the same seed gives the same
samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from scipy import signal

from svs.audio import ffmpeg
from svs.data.musdb import decode_stems
from svs.errors import SettingsError
from svs.stems import STREAMS

RATE = 44100
STEMS = STREAMS[1:]
ARTIST = "Synthetic Singers"  # of every song that is generated
REAL_SONG = "The Easton Ellises - Falcon 69"  # the excerpt that comes with stempeg

SHORTEST_SECONDS = 2.0
LOWEST_RATE = 16000

_MAJOR = (0, 2, 4, 5, 7, 9, 11)
_MINOR = (0, 2, 3, 5, 7, 8, 10)
_MAJOR_PROGRESSIONS = ((0, 4, 5, 3), (0, 5, 3, 4), (5, 3, 0, 4), (0, 3, 1, 4))
_MINOR_PROGRESSIONS = ((0, 5, 2, 6), (0, 3, 5, 4), (0, 6, 5, 6), (0, 2, 6, 3))

# The singer stands in the middle of a small room: one echo on either side, later
# than BSS Eval's filters reach (512 samples).  Without it both channels would be
# equal, and the references that scores are fitted to singular.
_ROOM = 0.15
_ECHOES = (0.023, 0.031)

_FRAMES_PER_SECOND = 200
_VOICE_BAND = 6500.0
_BANDWIDTHS = np.array([70.0, 90.0, 130.0, 180.0, 240.0])
_FORMANTS = {
    "male": np.array(
        [
            [730, 1090, 2440, 3200, 3700],  # a
            [530, 1840, 2480, 3250, 3700],  # e
            [290, 2290, 3010, 3400, 3800],  # i
            [570, 840, 2410, 3150, 3650],  # o
            [320, 870, 2240, 3150, 3650],  # u
        ],
        dtype=float,
    ),
    "female": np.array(
        [
            [850, 1220, 2810, 3800, 4700],  # a
            [610, 2230, 2990, 3850, 4750],  # e
            [350, 2700, 3310, 3900, 4800],  # i
            [590, 920, 2710, 3750, 4650],  # o
            [390, 950, 2670, 3700, 4600],  # u
        ],
        dtype=float,
    ),
}
_NASAL = np.array([260.0, 1300.0, 2300.0, 3200.0, 3800.0])
_SUNG_MIDI = {"male": (48, 65), "female": (57, 74)}


class _Hiss(NamedTuple):
    """An unvoiced consonant: silence, then noise in a band."""

    closure: float  # seconds
    length: float  # seconds
    band: tuple[float, float]  # Hz
    level: float  # against the voice's RMS
    decays: bool


_HISSES = {
    "s": _Hiss(0.0, 0.11, (4800.0, 9500.0), 0.30, decays=False),
    "sh": _Hiss(0.0, 0.12, (2200.0, 6500.0), 0.32, decays=False),
    "t": _Hiss(0.04, 0.04, (3000.0, 8500.0), 0.60, decays=True),
    "k": _Hiss(0.04, 0.04, (1400.0, 3800.0), 0.60, decays=True),
}
_ONSETS = ("s", "sh", "t", "k", "nasal", "nasal", "vowel", "vowel")


class _Score(NamedTuple):
    """What the stems of one song agree on."""

    beat: float  # seconds
    tonic: int  # MIDI number, 36 to 47
    scale: tuple[int, ...]  # semitones above the tonic
    progression: tuple[int, ...]  # scale degrees of the chord roots
    chord_beats: int
    seconds: float

    def pitch(self, degree: int) -> int:
        """Return the MIDI number of a scale degree, octaves included."""
        octave, step = divmod(degree, len(self.scale))
        return self.tonic + 12 * octave + self.scale[step]

    def chord(self, beat: int) -> int:
        """Return the scale degree of the chord that sounds in a beat."""
        return self.progression[beat // self.chord_beats % len(self.progression)]


class _Note(NamedTuple):
    start: float  # seconds from the phrase's start
    length: float  # seconds
    midi: int


def song(seed: int, seconds: float, rate: int = RATE) -> dict[str, np.ndarray]:
    """Compose, play and sing a song.

    Parameters
    ----------
    seed : int
        Not negative.  The song depends on nothing but these three arguments.
    seconds : float
        Length of the song, at least `SHORTEST_SECONDS`.
    rate : int
        Samples a second, at least `LOWEST_RATE`.

    Returns
    -------
    dict of str to ndarray, int16, shape (round(seconds * rate), 2)
        The stems, by the names in `STEMS`.  Their sum never leaves int16, so
        it is the mixture.  Vocals are zero between phrases; a song of eight
        seconds or more rests for at least one second.

    Raises
    ------
    SettingsError
        The song would be too short or its rate too low.
    """
    if not seconds >= SHORTEST_SECONDS:
        raise SettingsError(
            f"a song takes at least {SHORTEST_SECONDS:g} seconds, not {seconds:g}: ask for a longer one"
        )
    if rate < LOWEST_RATE:
        raise SettingsError(f"a song takes at least {LOWEST_RATE} samples a second, not {rate}: ask for a higher rate")
    rng = np.random.default_rng(seed)
    samples = round(seconds * rate)
    score = _compose(rng, seconds)
    stems = {
        "drums": _drums(rng, score, samples, rate),
        "bass": _bass(rng, score, samples, rate),
        "other": _other(rng, score, samples, rate),
        "vocals": _vocals(rng, score, samples, rate),
    }
    return _master(rng, stems, rate)


def write_song(folder: Path, stems: Mapping[str, np.ndarray], rate: int = RATE) -> None:
    """Write a track as MUSDB18-HQ does: five 16-bit wav files in a folder, which is created.

    Parameters
    ----------
    folder : Path
        The track's folder; its name is the track's name.
    stems : mapping of str to ndarray, int16, shape (samples, 2)
        As `song` gives them; the mixture is their sum.
    rate : int
        Sample rate in Hz.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, track in {"mixture": sum(stems.values()), **stems}.items():
        soundfile.write(folder / f"{name}.wav", track, rate, subtype="PCM_16")


def write_stempeg_song(folder: Path) -> str:
    """Write the excerpt of a real song that comes with stempeg, as `write_song` does; return the song's name.

    Its mixture is a stream of its own, coded with loss as the stems are, and not equal to their sum.

    Raises
    ------
    DataError
        ffmpeg is missing or fails.
    """
    ffmpeg.require_ffmpeg()  # stempeg raises at import where it is missing
    import stempeg

    folder.mkdir(parents=True, exist_ok=True)
    decode_stems(Path(stempeg.example_stem_path()), STREAMS, folder)
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
    """Write a whole data set in MUSDB18-HQ's layout.

    The samples of a track depend on the seed, its split, its number in the split and its length.

    Parameters
    ----------
    root : Path
        Gets ``train/<track>/*.wav`` (of train and valid) and ``test/<track>/*.wav``.
    seed : int
        Not negative.
    train, valid, test : int
        Numbers of synthetic tracks.
    train_seconds, test_seconds : float
        Length of a training or validation track; of a test track.
    real_song : bool
        Whether the excerpt that comes with stempeg joins the test tracks.
    progress : callable
        Gets the list of synthetic tracks and iterates over it, as `tqdm.tqdm` does.

    Returns
    -------
    dict of str to list of str
        The names of the tracks of "train", "valid" and "test".

    Raises
    ------
    SettingsError, DataError
        As `song` and `write_stempeg_song`.
    """
    plans = {"train": (train, train_seconds), "valid": (valid, train_seconds), "test": (test, test_seconds)}
    names: dict[str, list[str]] = {}
    jobs: list[tuple[Path, int, float]] = []
    for key, (split, (count, seconds)) in enumerate(plans.items()):
        names[split] = [f"{ARTIST} - {split.title()} {number + 1:02d}" for number in range(count)]
        folder = root / ("test" if split == "test" else "train")
        jobs += [(folder / name, _track_seed(seed, key, number), seconds) for number, name in enumerate(names[split])]
    for folder, track_seed, seconds in progress(jobs):
        write_song(folder, song(track_seed, seconds))
    if real_song:
        names["test"].append(write_stempeg_song(root / "test" / REAL_SONG))
    return names


def is_generated(track: str) -> bool:
    """Was a track of this name in `write_dataset`'s data set generated, not recorded?"""
    return track.startswith(f"{ARTIST} - ")


def _track_seed(seed: int, split: int, number: int) -> int:
    # A spawn key is a track's address, so no track's seed depends on how many
    # tracks stand before it.
    address = np.random.SeedSequence(seed, spawn_key=(split, number))
    return int(address.generate_state(1, np.uint64)[0])


def _compose(rng: np.random.Generator, seconds: float) -> _Score:
    minor = rng.random() < 0.5
    progressions = _MINOR_PROGRESSIONS if minor else _MAJOR_PROGRESSIONS
    return _Score(
        beat=60 / rng.uniform(84, 132),
        tonic=int(rng.integers(36, 48)),
        scale=_MINOR if minor else _MAJOR,
        progression=progressions[rng.integers(len(progressions))],
        chord_beats=int(rng.choice([2, 4])),
        seconds=seconds,
    )


def _master(rng: np.random.Generator, stems: Mapping[str, np.ndarray], rate: int) -> dict[str, np.ndarray]:
    """Balance float stems, scale their sum below full scale and quantise."""
    balance = {"drums": 0.0, "bass": -2.0, "other": -1.0}  # dB
    highpass = signal.butter(2, 25, "highpass", fs=rate, output="sos")
    fade = _edges(len(stems["drums"]), 0.0, 0.02, rate)[:, None]
    mixed = {}
    for name, level in balance.items():
        stem = signal.sosfilt(highpass, stems[name], axis=0) * fade
        mixed[name] = stem * _decibels(level + rng.uniform(-2, 2)) / _rms(stem)
    accompaniment = sum(mixed.values())
    vocals = stems["vocals"] * fade
    sung = vocals[vocals.any(axis=1)]
    gain = _decibels(rng.uniform(-2.5, 2.5)) * _rms(accompaniment) / _rms(sung)
    mixed["vocals"] = vocals * gain

    # Stems may cancel each other, so each of them has to fit as well.
    tracks = [*mixed.values(), sum(mixed.values())]
    peak = max(np.abs(track).max() for track in tracks)
    scale = 32767 * _decibels(rng.uniform(-3.5, -1.0)) / peak
    return {name: np.rint(mixed[name] * scale).astype(np.int16) for name in STEMS}


# ---------------------------------------------------------------- accompaniment


def _drums(rng: np.random.Generator, score: _Score, samples: int, rate: int) -> np.ndarray:
    kick = _pan(_kick(rng, rate), 0.0)
    snare = _snare(rng, rate)
    closed = _pan(_hat(rng, rng.uniform(0.02, 0.04), rate), rng.uniform(0.2, 0.6))
    opened = _pan(_hat(rng, rng.uniform(0.1, 0.2), rate), rng.uniform(-0.6, -0.2))
    hat_every = int(rng.choice([1, 2, 2]))
    kicks = {0, 8} | set(rng.choice([3, 6, 7, 10, 11, 14], 2, replace=False).tolist())
    opens_at = int(rng.choice([6, 14, 16]))
    track = np.zeros((samples, 2))
    sixteenth = score.beat / 4
    for step in range(math.ceil(score.seconds / sixteenth)):
        at = round(step * sixteenth * rate)
        place = step % 16
        if place in kicks:
            _place(track, kick * rng.uniform(0.85, 1.0), at)
        if place in (4, 12):
            _place(track, snare * rng.uniform(0.6, 0.75), at)
        if place == opens_at:
            _place(track, opened * 0.3, at)
        elif place % hat_every == 0:
            accent = 1.0 if place % 4 == 0 else 0.6
            _place(track, closed * (0.3 * accent * rng.uniform(0.7, 1.0)), at)
    return track


def _kick(rng: np.random.Generator, rate: int) -> np.ndarray:
    time = np.arange(round(0.32 * rate)) / rate
    low, drop = rng.uniform(44, 58), rng.uniform(90, 160)
    pitch = low + drop * np.exp(-time / 0.03)
    body = np.sin(2 * np.pi * np.cumsum(pitch) / rate) * np.exp(-time / 0.11)
    click = rng.standard_normal(len(time)) * np.exp(-time / 0.002)
    return (body + 0.15 * click) * _edges(len(time), 0.001, 0.02, rate)


def _snare(rng: np.random.Generator, rate: int) -> np.ndarray:
    time = np.arange(round(0.25 * rate)) / rate
    tone = np.sin(2 * np.pi * rng.uniform(170, 230) * time) * np.exp(-time / 0.05)
    rattle = _band_noise(rng, (len(time), 2), (900.0, 9000.0), rate)
    rattle *= np.exp(-time / rng.uniform(0.05, 0.09))[:, None]
    envelope = _edges(len(time), 0.001, 0.02, rate)
    return (0.5 * tone[:, None] + 0.7 * rattle) * envelope[:, None]


def _hat(rng: np.random.Generator, decay: float, rate: int) -> np.ndarray:
    length = round(5 * decay * rate)
    noise = _band_noise(rng, length, (6500.0, 15000.0), rate)
    ring = np.exp(-np.arange(length) / (decay * rate))
    return noise * ring * _edges(length, 0.0005, decay, rate)


def _bass(rng: np.random.Generator, score: _Score, samples: int, rate: int) -> np.ndarray:
    pattern = ((0, 0, 0, 0), (0, 0, 4, 0), (0, 7, 0, 4))[rng.integers(3)]
    per_beat = int(rng.choice([1, 2]))
    harmonics = np.arange(1, 8.0) ** -rng.uniform(1.3, 1.9)
    ring = rng.uniform(0.35, 0.8)
    track = np.zeros((samples, 2))
    length = score.beat / per_beat
    for note in range(math.ceil(score.seconds / length)):
        degree = score.chord(note // per_beat) + pattern[note % len(pattern)]
        midi = score.pitch(degree)
        midi -= 12 * ((midi - 30) // 12)  # between 30 and 41: 46 to 87 Hz
        time = np.arange(round(0.95 * length * rate)) / rate
        # The upper harmonics of a plucked string die first.
        levels = [level * np.exp(-time / (ring / (1 + 0.4 * k))) for k, level in enumerate(harmonics)]
        sound = _tone(2 * np.pi * _hertz(midi) * time, levels)
        sound *= _edges(len(time), 0.006, 0.03, rate)
        _place(track, _pan(sound, 0.0), round(note * length * rate))
    return track


def _other(rng: np.random.Generator, score: _Score, samples: int, rate: int) -> np.ndarray:
    pad_share = rng.uniform(0.25, 0.75)
    pad = _pad(rng, score, samples, rate)
    plucks = _plucks(rng, score, samples, rate)
    return pad_share * pad / _rms(pad) + (1 - pad_share) * plucks / _rms(plucks)


def _pad(rng: np.random.Generator, score: _Score, samples: int, rate: int) -> np.ndarray:
    tilt = rng.uniform(1.0, 1.6)
    skip = int(rng.choice([1, 2]))  # 2 leaves odd harmonics: a hollow sound
    detune = rng.uniform(2, 6) / 100  # semitones
    levels = np.zeros(9)
    levels[::skip] = np.arange(1, 10.0)[::skip] ** -tilt
    track = np.zeros((samples, 2))
    length = score.chord_beats * score.beat
    for index in range(math.ceil(score.seconds / length)):
        start = round(index * length * rate)
        count = min(round(length * rate), samples - start)
        if count <= 0:
            break
        time = np.arange(count) / rate
        envelope = _edges(count, 0.12, 0.1, rate)
        for midi in _chord_notes(score, index * score.chord_beats):
            # The two sides play slightly apart in pitch, which is wide.
            for side, apart in enumerate((-detune, detune)):
                start_phase = rng.uniform(0, 2 * np.pi)
                phase = 2 * np.pi * _hertz(midi + apart) * time + start_phase
                track[start : start + count, side] += _tone(phase, levels) * envelope
    return track


def _plucks(rng: np.random.Generator, score: _Score, samples: int, rate: int) -> np.ndarray:
    per_beat = int(rng.choice([2, 2, 4]))
    ring = rng.uniform(0.15, 0.4)
    tilt = rng.uniform(0.8, 1.5)
    order = rng.permutation(4)
    side = rng.choice([-1.0, 1.0])
    track = np.zeros((samples, 2))
    length = score.beat / per_beat
    time = np.arange(round(min(2.5 * ring, 1.0) * rate)) / rate
    envelope = _edges(len(time), 0.003, 0.05, rate)
    levels = [(k + 1.0) ** -tilt * np.exp(-time * (1 + 0.6 * k) / ring) for k in range(7)]
    sounds: dict[int, np.ndarray] = {}
    for note in range(math.ceil(score.seconds / length)):
        chord = _chord_notes(score, note // per_beat)
        place = int(order[note % 4])
        midi = (*chord, chord[0] + 12)[place] + 12
        if midi not in sounds:
            phase = 2 * np.pi * _hertz(midi) * time
            sounds[midi] = _tone(phase, levels) * envelope
        pan = side * (0.85, -0.6, 0.5, -0.85)[place]
        _place(
            track,
            _pan(sounds[midi] * rng.uniform(0.6, 1.0), pan),
            round(note * length * rate),
        )
    return track


def _chord_notes(score: _Score, beat: int) -> tuple[int, int, int]:
    """Return a triad as MIDI numbers, each folded into one octave above 52."""
    root = score.chord(beat)
    folded = ((score.pitch(root + third) - 52) % 12 + 52 for third in (0, 2, 4))
    low, middle, high = sorted(folded)
    return low, middle, high


# ------------------------------------------------------------------------ voice


def _vocals(rng: np.random.Generator, score: _Score, samples: int, rate: int) -> np.ndarray:
    singer = _Singer.draw(rng)
    track = np.zeros((samples, 2))
    for start, steps in _phrases(rng, score):
        notes = _melody(rng, score, start, steps, singer.sex)
        sound = singer.sing(rng, notes, rate)
        _place(track, np.repeat(sound[:, None], 2, axis=1), round(start * rate))
    return track + _ROOM * np.stack(
        [_delayed(track[:, side], delay, rate) for side, delay in enumerate(_ECHOES)],
        axis=1,
    )


def _delayed(sound: np.ndarray, seconds: float, rate: int) -> np.ndarray:
    late = round(seconds * rate)
    return np.concatenate([np.zeros(late), sound[:-late]])


def _phrases(rng: np.random.Generator, score: _Score) -> list[tuple[float, int]]:
    """Return each phrase's start in seconds and its length in eighth notes."""
    eighth = score.beat / 2
    count = max(1, round(score.seconds / 6))
    cycle = score.seconds / count
    rests_first = rng.random() < 0.5
    phrases = []
    for index in range(count):
        # From eight seconds on a cycle lasts 4.5 seconds or more.  The share
        # that is never sung is then longer than a second, and the first cycle,
        # which starts on the grid, rests for all of it.
        sung = cycle * rng.uniform(0.66, 0.77)
        begin, end = index * cycle, (index + 1) * cycle
        if rests_first:
            begin = end - sung
        first = math.ceil(begin / eighth - 1e-9)
        steps = min(math.floor(end / eighth) - first, math.floor(sung / eighth))
        phrases.append((first * eighth, steps))
    return phrases


def _melody(rng: np.random.Generator, score: _Score, start: float, steps: int, sex: str) -> list[_Note]:
    eighth = score.beat / 2
    low, high = _SUNG_MIDI[sex]
    in_scale = {(score.tonic + step) % 12 for step in score.scale}
    ladder = [midi for midi in range(low, high + 1) if midi % 12 in in_scale]
    rung = int(rng.integers(len(ladder) // 3, 2 * len(ladder) // 3 + 1))
    notes = []
    at = 0
    while at < steps:
        left = steps - at
        length = int(rng.choice([1, 1, 2, 2, 2, 3, 4]))
        if left - length < 3:  # a phrase ends on a long note
            length = left if left <= 4 else left - 3
        move = int(rng.choice([-2, -1, -1, 0, 1, 1, 2]))
        middle = (len(ladder) - 1) / 2
        if abs(rung + move - middle) > rng.uniform(0.5, 1.0) * middle:
            move = -move
        rung = min(max(rung + move, 0), len(ladder) - 1)
        if length > 1:
            chord = _chord_notes(score, round((start / eighth + at) / 2))
            classes = {midi % 12 for midi in chord}
            consonant = [i for i, midi in enumerate(ladder) if midi % 12 in classes]
            rung = min(consonant, key=lambda i: abs(i - rung))
        notes.append(_Note(at * eighth, length * eighth, ladder[rung]))
        at += length
    return notes


class _Singer(NamedTuple):
    """A voice: what stays the same through one song."""

    sex: str
    formants: np.ndarray  # Hz, (vowels, formants)
    tilt: float  # how the glottal source falls, as a power of the harmonic
    vibrato_rate: float  # Hz
    vibrato_depth: float  # semitones
    vibrato_delay: float  # seconds
    glide: float  # seconds
    breath: float  # against the voice's RMS

    @classmethod
    def draw(cls, rng: np.random.Generator) -> _Singer:
        sex = ("male", "female")[rng.integers(2)]
        return cls(
            sex=sex,
            formants=_FORMANTS[sex] * rng.uniform(0.95, 1.06),
            tilt=rng.uniform(1.45, 1.95),  # 9 to 12 dB an octave
            vibrato_rate=rng.uniform(5.0, 6.5),
            vibrato_depth=rng.uniform(0.3, 0.65),
            vibrato_delay=rng.uniform(0.12, 0.25),
            glide=rng.uniform(0.07, 0.13),
            breath=rng.uniform(0.015, 0.045),
        )

    def sing(self, rng: np.random.Generator, notes: Sequence[_Note], rate: int) -> np.ndarray:
        """Return a phrase, mono, shape (samples,), silent at both ends."""
        seconds = notes[-1].start + notes[-1].length
        frames = np.arange(math.ceil(seconds * _FRAMES_PER_SECOND) + 1) / _FRAMES_PER_SECOND
        time = np.arange(round(seconds * rate)) / rate
        onsets = [str(onset) for onset in rng.choice(_ONSETS, len(notes))]

        pitch = np.asarray(_hertz(self._pitch(rng, notes, frames)))
        loudness = self._loudness(rng, notes, onsets, frames)
        formants = self._articulation(rng, notes, onsets, frames, pitch)
        voicing = np.interp(time, frames, loudness)
        phase = 2 * np.pi * np.cumsum(np.interp(time, frames, pitch)) / rate

        spectrum = self._spectrum(pitch, formants, rate)
        voice = _tone(phase, (np.interp(time, frames, row) for row in spectrum))
        voice *= voicing
        level = _rms(voice[voicing > 0.5])
        # Air passes while the glottis is open, so breath beats with the pitch.
        noise = _band_noise(rng, len(time), (900.0, 8000.0), rate)
        air = noise * voicing * (0.6 + 0.4 * np.cos(phase))
        sound = voice + self.breath * level * air
        for note, onset in zip(notes, onsets, strict=True):
            if onset in _HISSES:
                hiss = _hiss(rng, _HISSES[onset], note.length, rate)
                _place(sound, hiss * level, round(note.start * rate))
        return sound * _edges(len(sound), 0.005, 0.1, rate)

    def _pitch(self, rng: np.random.Generator, notes: Sequence[_Note], frames: np.ndarray) -> np.ndarray:
        """Return the pitch of each frame as a MIDI number."""
        target = _held(notes, frames, [note.midi for note in notes])
        midi = _smooth(target, self.glide)
        midi -= rng.uniform(0.5, 1.8) * np.exp(-frames / 0.05)  # scoops into it
        drift = _smooth(rng.standard_normal(len(frames)), 0.3)
        midi += 0.08 * drift / max(np.abs(drift).max(), 1e-9)
        depth = np.zeros(len(frames))
        for note in notes:
            since = frames - note.start
            inside = (since >= 0) & (since < note.length)
            swell = np.clip((since - self.vibrato_delay) / 0.2, 0, 1)
            depth[inside] = swell[inside]
        wander = 1 + 0.05 * _smooth(rng.standard_normal(len(frames)), 0.2)
        cycles = np.cumsum(self.vibrato_rate * wander) / _FRAMES_PER_SECOND
        vibrato = np.sin(2 * np.pi * (cycles + rng.random()))
        return midi + self.vibrato_depth * _smooth(depth, 0.05) * vibrato

    def _loudness(
        self,
        rng: np.random.Generator,
        notes: Sequence[_Note],
        onsets: Sequence[str],
        frames: np.ndarray,
    ) -> np.ndarray:
        """Return how strongly the voice sounds in each frame, 0 to about 1."""
        loudness = _held(notes, frames, rng.uniform(0.7, 1.0, len(notes)))
        for note, onset in zip(notes, onsets, strict=True):
            since = frames - note.start
            if onset in _HISSES:
                hiss = _HISSES[onset]
                unvoiced = min(hiss.closure + hiss.length, 0.5 * note.length)
                loudness[(since >= 0) & (since < unvoiced)] = 0.0
            elif onset == "nasal":
                loudness[(since >= 0) & (since < 0.07)] *= 0.35
            else:
                loudness[(since >= 0) & (since < 0.03)] *= 0.6
            late = (since >= 0.7 * note.length) & (since < note.length)
            loudness[late] *= 1 - 0.4 * (since[late] / note.length - 0.7) / 0.3
        return _smooth(loudness, 0.05)

    def _articulation(
        self,
        rng: np.random.Generator,
        notes: Sequence[_Note],
        onsets: Sequence[str],
        frames: np.ndarray,
        pitch: np.ndarray,
    ) -> np.ndarray:
        """Return the formants in Hz, shape (formants, frames)."""
        vowels = rng.integers(len(self.formants), size=len(notes))
        rows = []
        for formant in range(self.formants.shape[1]):
            row = _held(notes, frames, self.formants[vowels, formant])
            for note, onset in zip(notes, onsets, strict=True):
                since = frames - note.start
                if onset == "nasal":
                    row[(since >= 0) & (since < 0.07)] = _NASAL[formant]
            rows.append(np.exp(_smooth(np.log(row), 0.08)))
        formants = np.array(rows)
        # Singers open the mouth on high notes: below the pitch, the first
        # formant would have nothing to sound.
        formants[0] = np.maximum(formants[0], 1.05 * pitch)
        formants[1] = np.maximum(formants[1], 1.25 * formants[0])
        return formants

    def _spectrum(self, pitch: np.ndarray, formants: np.ndarray, rate: int) -> np.ndarray:
        """Return complex amplitudes, shape (harmonics, frames)."""
        limit = min(_VOICE_BAND, 0.45 * rate)
        harmonics = np.arange(1, math.ceil(limit / pitch.min()) + 1)[:, None]
        hertz = harmonics * pitch
        # The lips radiate a rising spectrum, 6 dB an octave.
        tract = harmonics ** (1 - self.tilt) * np.ones_like(hertz, dtype=complex)
        for centre, width in zip(formants, _BANDWIDTHS, strict=True):
            tract *= centre**2 / (centre**2 - hertz**2 + 1j * width * hertz)
        # Four times as loud does not sound natural for one vowel of a line.
        power = np.sqrt(np.sum(np.abs(tract) ** 2, axis=0))
        tract *= np.clip((limit - hertz) / 500, 0, 1) / power**0.7
        return tract


def _hiss(rng: np.random.Generator, consonant: _Hiss, longest: float, rate: int) -> np.ndarray:
    """Return an unvoiced consonant, relative to a voice of RMS 1."""
    closure = round(consonant.closure * rate)
    length = round(min(consonant.length, 0.5 * longest - consonant.closure) * rate)
    noise = consonant.level * _band_noise(rng, length, consonant.band, rate)
    if consonant.decays:
        noise *= np.exp(-np.arange(length) / (0.25 * length))
        noise *= _edges(length, 0.001, 0.01, rate)
    else:
        noise *= _edges(length, 0.03, 0.03, rate)
    return np.concatenate([np.zeros(closure), noise])


def _held(notes: Sequence[_Note], frames: np.ndarray, values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return each note's value at the frames it spans."""
    starts = np.array([note.start for note in notes])
    index = np.searchsorted(starts, frames, side="right") - 1
    return np.asarray(values, dtype=float)[index]


def _smooth(curve: np.ndarray, seconds: float) -> np.ndarray:
    """Average a curve of frames over a Hann window, ends held."""
    window = signal.windows.hann(2 * round(seconds * _FRAMES_PER_SECOND / 2) + 3)
    margin = len(window) // 2
    padded = np.pad(curve, margin, mode="edge")
    return np.convolve(padded, window / window.sum(), mode="valid")


# ----------------------------------------------------------------------- sounds


def _tone(phase: np.ndarray, amplitudes: Iterable[float | complex | np.ndarray]) -> np.ndarray:
    """Add up harmonics of a phase in radians, the first being the pitch."""
    # A power of the first harmonic costs a multiplication; a cosine costs ten.
    turn = np.exp(1j * phase)
    harmonic = np.ones_like(turn)
    total = np.zeros(len(phase))
    for amplitude in amplitudes:
        harmonic *= turn
        if np.any(amplitude):
            total += np.real(amplitude * harmonic)
    return total


def _band_noise(
    rng: np.random.Generator,
    shape: int | tuple[int, int],
    band: tuple[float, float],
    rate: int,
) -> np.ndarray:
    """Return noise of RMS 1 between two frequencies in Hz."""
    high = min(band[1], 0.48 * rate)
    low = min(band[0], 0.6 * high)
    sos = signal.butter(3, (low, high), "bandpass", fs=rate, output="sos")
    noise = signal.sosfilt(sos, rng.standard_normal(shape), axis=0)
    return noise / _rms(noise)


def _edges(samples: int, attack: float, release: float, rate: int) -> np.ndarray:
    """Return an envelope that rises from and falls to exact zero."""
    rise = min(round(attack * rate), samples // 2)
    fall = min(round(release * rate), samples - rise)
    envelope = np.ones(samples)
    envelope[:rise] = 0.5 - 0.5 * np.cos(np.pi * np.arange(rise) / rise)
    envelope[samples - fall :] = 0.5 + 0.5 * np.cos(np.pi * np.arange(1, fall + 1) / fall)
    return envelope


def _pan(mono: np.ndarray, side: float) -> np.ndarray:
    """Return shape (samples, 2), from -1, left, to 1, right, equally loud."""
    angle = (side + 1) * np.pi / 4
    return mono[:, None] * np.array([np.cos(angle), np.sin(angle)])


def _place(track: np.ndarray, sound: np.ndarray, at: int) -> None:
    """Add a sound to a track from a sample on, as far as the track goes."""
    room = max(len(track) - at, 0)
    track[at : at + len(sound)] += sound[:room]


def _hertz(midi: float | np.ndarray) -> float | np.ndarray:
    return 440.0 * 2.0 ** ((midi - 69) / 12)


def _decibels(level: float) -> float:
    return 10.0 ** (level / 20)


def _rms(sound: np.ndarray) -> float:
    return max(float(np.sqrt(np.mean(np.square(sound)))), 1e-12)
