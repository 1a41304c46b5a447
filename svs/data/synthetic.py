"""Small songs made from nothing, laid out like MUSDB18-HQ.

A song is four stems.  The voice adds up the harmonics of a glottal source that moving formants shape: it glides, has
vibrato, changes vowels and falls silent between phrases.  The band is drums, bass, and chords (a pad and plucked notes)
that share its key and tempo.  Every song comes from its seed alone: the same seed gives the same samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import librosa
import numpy as np
import soundfile
from scipy import signal

from svs.data.musdb import decode_stems, require_ffmpeg
from svs.errors import SettingsError
from svs.runtime.parallel import over_tracks
from svs.stems import STREAMS

RATE = 44100
STEMS = STREAMS[1:]
ARTIST = "Synthetic Singers"  # of every song that is generated
REAL_SONG = "The Easton Ellises - Falcon 69"  # the excerpt that comes with stempeg

SHORTEST_SECONDS = 2.0
LOWEST_RATE = 16000

_PROGRESSIONS = {  # scale degrees of the roots of the chords, by key
    "maj": ((0, 4, 5, 3), (0, 5, 3, 4), (5, 3, 0, 4), (0, 3, 1, 4)),
    "min": ((0, 5, 2, 6), (0, 3, 5, 4), (0, 6, 5, 6), (0, 2, 6, 3)),
}

_CURVES = 200  # values per second of the voice's pitch, loudness and formants
_VOICE_BAND = 6500.0  # Hz
_BANDWIDTHS = np.array([70.0, 90.0, 130.0, 180.0, 240.0])
_FORMANTS = np.array(  # Hz, of a man (Peterson & Barney 1952)
    [
        [730, 1090, 2440, 3200, 3700],  # a
        [530, 1840, 2480, 3250, 3700],  # e
        [290, 2290, 3010, 3400, 3800],  # i
        [570, 840, 2410, 3150, 3650],  # o
        [320, 870, 2240, 3150, 3650],  # u
    ]
)
_CONSONANTS = np.array(  # seconds of closure and of noise, band of the noise (Hz), its level relative to the voice
    [
        [0.0, 0.11, 4800, 9500, 0.30],  # s
        [0.0, 0.12, 2200, 6500, 0.32],  # sh
        [0.04, 0.04, 3000, 8500, 0.60],  # t
        [0.04, 0.04, 1400, 3800, 0.60],  # k
    ]
)
# The singer stands in a small room: one echo on either side, in seconds, later than BSS Eval's filters reach (512
# samples).  Without it both channels would be equal, and the references that scores are fitted to singular.
_ECHOES = {-1: 0.023, 1: 0.031}
_ECHO = 0.15  # relative to the voice


class _Score(NamedTuple):
    """What the players of one song share.  Pitches are MIDI numbers, times are beats if nothing else is said."""

    rng: np.random.Generator
    rate: int  # Hz
    seconds: float
    beat: float  # seconds
    scale: np.ndarray  # the seven pitch classes of the key, from the tonic on
    roots: tuple[int, ...]  # scale degrees of the chords
    chord_beats: int

    def beats(self, each: float) -> np.ndarray:
        """The starts of notes that last `each`."""
        return np.arange(0, self.seconds / self.beat, each)

    def chord(self, beat: float, lowest: int) -> np.ndarray:
        """Root, third and fifth of the chord that sounds at a beat, in the octave from `lowest` on."""
        root = self.roots[int(beat // self.chord_beats) % len(self.roots)]
        return lowest + (self.scale[(root + np.array([0, 2, 4])) % 7] - lowest) % 12

    def time(self, seconds: float) -> np.ndarray:
        """The time in seconds of each sample of a sound."""
        return np.arange(round(seconds * self.rate)) / self.rate


def song(seed: int | Sequence[int], seconds: float, rate: int = RATE) -> dict[str, np.ndarray]:
    """Compose, play and sing a song.

    Parameters
    ----------
    seed : int or sequence of int
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
    if not seconds >= SHORTEST_SECONDS or rate < LOWEST_RATE:
        least = f"{SHORTEST_SECONDS:g} s at {LOWEST_RATE} Hz"
        raise SettingsError(f"a song takes at least {least}, not {seconds:g} s at {rate} Hz: ask for more")
    rng = np.random.default_rng(seed)
    key = str(rng.choice(list(_PROGRESSIONS)))
    score = _Score(
        rng,
        rate,
        seconds,
        beat=60 / rng.uniform(84, 132),
        scale=(librosa.key_to_degrees(f"C:{key}") + rng.integers(12)) % 12,
        roots=_PROGRESSIONS[key][rng.integers(4)],
        chord_beats=int(rng.choice([2, 4])),
    )
    drums, bass, pad, plucks, vocals = (_play(score, notes) for notes in (_drums, _bass, _pad, _plucks, _vocals))
    share = rng.uniform(0.25, 0.75)
    other = share * pad / _rms(pad) + (1 - share) * plucks / _rms(plucks)
    return _master(score, {"drums": drums, "bass": bass, "other": other}, vocals)


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
    require_ffmpeg()  # stempeg raises at import where it is missing
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
    jobs: list[tuple[Path, tuple[int, ...], float]] = []
    for key, (split, (count, seconds)) in enumerate(plans.items()):
        names[split] = [f"{ARTIST} - {split.title()} {number + 1:02d}" for number in range(count)]
        folder = root / ("test" if split == "test" else "train")
        jobs += [(folder / name, (seed, key, number), seconds) for number, name in enumerate(names[split])]
    over_tracks(
        _write, jobs, [folder.name for folder, *_ in jobs], desc="generate", seconds=[seconds for *_, seconds in jobs]
    )
    if real_song:
        names["test"].append(write_stempeg_song(root / "test" / REAL_SONG))
    return names


def _write(job: tuple[Path, tuple[int, ...], float]) -> None:
    folder, seed, seconds = job
    write_song(folder, song(seed, seconds))


def is_generated(track: str) -> bool:
    """Was a track of this name in `write_dataset`'s data set generated, not recorded?"""
    return track.startswith(f"{ARTIST} - ")


def _play(score: _Score, notes: Callable[[_Score], Iterable[tuple[float, np.ndarray]]]) -> np.ndarray:
    """Add up the sounds of a player, (samples, 2), each from its beat on and as far as the song goes."""
    track = np.zeros((round(score.seconds * score.rate), 2))
    for beat, sound in notes(score):
        part = track[round(beat * score.beat * score.rate) :][: len(sound)]
        part += sound[: len(part)]
    return track


def _master(score: _Score, band: Mapping[str, np.ndarray], vocals: np.ndarray) -> dict[str, np.ndarray]:
    """Balance the stems, scale their sum below full scale and round to int16."""
    rng, mixed = score.rng, {}
    highpass = signal.butter(2, 25, "highpass", fs=score.rate, output="sos")
    fade = np.minimum(1, np.arange(len(vocals))[::-1, None] / (0.02 * score.rate))
    for name, level in {"drums": 0.0, "bass": -2.0, "other": -1.0}.items():
        stem = signal.sosfilt(highpass, band[name], axis=0) * fade
        mixed[name] = stem * librosa.db_to_amplitude(level + rng.uniform(-2, 2)) / _rms(stem)
    # While it sings, the voice is a little louder than the band.
    loudness = _rms(sum(mixed.values())) * librosa.db_to_amplitude(rng.uniform(1.3, 2.7))
    mixed["vocals"] = vocals * fade * loudness / _rms(vocals[vocals.any(axis=1)])
    # Stems may cancel each other, so each of them has to fit as well.
    peak = max(np.abs(track).max() for track in (*mixed.values(), sum(mixed.values())))
    scale = 32767 * librosa.db_to_amplitude(rng.uniform(-3.5, -1.0)) / peak
    return {name: np.rint(stem * scale).astype(np.int16) for name, stem in mixed.items()}


def _drums(score: _Score) -> Iterator[tuple[float, np.ndarray]]:
    """A bar of sixteen steps, again and again: kick, snare, closed and open hi-hat."""
    rng, time = score.rng, score.time(0.32)
    drop = rng.uniform(44, 58) + rng.uniform(90, 160) * np.exp(-time / 0.03)
    kick = np.sin(2 * np.pi * np.cumsum(drop) / score.rate) * np.exp(-time / 0.11)
    kick += 0.15 * rng.standard_normal(len(time)) * np.exp(-time / 0.002)
    skin = np.sin(2 * np.pi * rng.uniform(170, 230) * time) * np.exp(-time / 0.05)
    rattle = _noise(score, (len(time), 2), 900, 9000) * np.exp(-time / rng.uniform(0.05, 0.09))[:, None]
    hats = [
        _pan(_noise(score, len(time), 6500, 15000) * np.exp(-time / rng.uniform(*decay)), rng.uniform(*side))
        for decay, side in (((0.02, 0.04), (0.2, 0.6)), ((0.1, 0.2), (-0.6, -0.2)))
    ]
    sounds = [_pan(kick, 0), 0.5 * skin[:, None] + 0.7 * rattle, *hats]
    levels = np.zeros((16, 4))
    levels[[0, 8, *rng.choice([3, 6, 7, 10, 11, 14], 2, replace=False)], 0] = 1.0
    levels[[4, 12], 1] = 0.7
    levels[:: rng.choice([1, 2]), 2] = 0.16
    levels[::4, 2] = 0.27
    levels[rng.choice([6, 14]), 2:] = 0, 0.3
    for step, beat in enumerate(score.beats(0.25)):
        for sound, level in zip(sounds, levels[step % 16], strict=True):
            if level:
                yield beat, sound * _edges(time, 0.001, 0.02)[:, None] * level * rng.uniform(0.85, 1.0)


def _bass(score: _Score) -> Iterator[tuple[float, np.ndarray]]:
    """Four notes, again and again: the root and the fifth of the chord, 46 to 87 Hz."""
    rng, each = score.rng, float(score.rng.choice([0.5, 1]))
    pattern = ((0, 0, 0, 0), (0, 0, 2, 0), (0, 0, 0, 2))[rng.integers(3)]
    tilt, ring = rng.uniform(1.3, 1.9), rng.uniform(0.35, 0.8)
    for note, beat in enumerate(score.beats(each)):
        pitch = score.chord(beat, 30)[pattern[note % 4]]
        yield beat, _pan(_string(score, pitch, 0.95 * each * score.beat, tilt, 0.006, 0.03, ring), 0)


def _pad(score: _Score) -> Iterator[tuple[float, np.ndarray]]:
    """The chords held; the two sides play slightly apart in pitch, which is wide."""
    rng = score.rng
    tilt, skip, detune = rng.uniform(1.0, 1.6), int(rng.choice([1, 2])), rng.uniform(0.02, 0.06)
    for beat in score.beats(score.chord_beats):
        for pitch in score.chord(beat, 52):
            seconds = score.chord_beats * score.beat
            sides = [_string(score, pitch + apart, seconds, tilt, 0.12, 0.1, skip=skip) for apart in (-detune, detune)]
            yield beat, np.stack(sides, axis=1)


def _plucks(score: _Score) -> Iterator[tuple[float, np.ndarray]]:
    """The chords broken into eighth notes, from side to side."""
    rng = score.rng
    tilt, ring, order, side = rng.uniform(0.8, 1.5), rng.uniform(0.15, 0.4), rng.permutation(4), rng.choice([-1, 1])
    for note, beat in enumerate(score.beats(0.5)):
        chord = np.sort(score.chord(beat, 64))
        place = order[note % 4]
        sound = _string(score, (*chord, chord[0] + 12)[place], min(2.5 * ring, 1.0), tilt, 0.003, 0.05, ring)
        yield beat, _pan(sound * rng.uniform(0.6, 1.0), side * (0.85, -0.6, 0.5, -0.85)[place])


def _vocals(score: _Score) -> Iterator[tuple[float, np.ndarray]]:
    """About six seconds after each other, a phrase and a rest (or a rest and a phrase), on the grid of eighth notes."""
    rng, singer, count = score.rng, _Singer(score), max(1, round(score.seconds / 6))
    cycle = 2 * score.seconds / score.beat / count  # eighth notes
    rests_first = rng.random() < 0.5
    for index in range(count):
        # From eight seconds on a cycle lasts 4.5 seconds or more, so each of its rests is longer than a second.
        sung = cycle * rng.uniform(0.66, 0.77)
        first = math.ceil((index + 1) * cycle - sung if rests_first else index * cycle)
        voice = singer.sing(first, min(math.floor((index + 1) * cycle) - first, math.floor(sung)))
        yield first / 2, np.stack([voice, voice], axis=1)
        for side, delay in _ECHOES.items():
            yield first / 2 + delay / score.beat, _pan(_ECHO * voice, side)


class _Singer:
    """A voice: what stays the same through one song."""

    def __init__(self, score: _Score):
        self.score, rng = score, score.rng
        female = rng.random() < 0.5
        lowest = 57 if female else 48
        self.ladder = [pitch for pitch in range(lowest, lowest + 18) if pitch % 12 in score.scale]
        self.formants = _FORMANTS * (1.18 if female else 1) * rng.uniform(0.95, 1.06)
        self.tilt = rng.uniform(1.45, 1.95)  # of the glottal source, as a power of the harmonic: 9 to 12 dB an octave
        self.vibrato_rate = rng.uniform(5.0, 6.5)  # Hz
        self.vibrato_depth = rng.uniform(0.3, 0.65)  # semitones
        self.glide = rng.uniform(0.07, 0.13)  # seconds
        self.breath = rng.uniform(0.015, 0.045)  # relative to the voice

    def sing(self, first: int, eighths: int) -> np.ndarray:
        """A phrase that starts at an eighth note of the song, mono, (samples,), silent at both ends."""
        score, rng = self.score, self.score.rng
        starts, pitches = self._melody(first, eighths)
        seconds = eighths * score.beat / 2
        lengths = np.diff(starts, append=seconds)
        time, curve = score.time(seconds), np.arange(math.ceil(seconds * _CURVES) + 1) / _CURVES
        note = np.searchsorted(starts, curve, side="right") - 1  # that sounds at each point of the curves
        since = curve - starts[note]
        consonants = rng.integers(2 * len(_CONSONANTS), size=len(starts))  # or, as often, none
        spoken = [(index, *_CONSONANTS[kind]) for index, kind in enumerate(consonants) if kind < len(_CONSONANTS)]
        unvoiced = np.zeros(len(starts))
        for index, closure, length, *_ in spoken:
            unvoiced[index] = min(closure + length, 0.5 * lengths[index])

        midi = self._pitch(curve, since, pitches[note])
        loudness = rng.uniform(0.7, 1.0, len(starts))[note] * (since >= unvoiced[note])
        voicing = np.interp(time, curve, _smooth(loudness * np.interp(since / lengths[note], [0.7, 1], [1, 0.6]), 0.05))
        vowels = self.formants[rng.integers(len(self.formants), size=len(starts))][note]
        formants = np.array([np.exp(_smooth(np.log(formant), 0.08)) for formant in vowels.T])
        hertz = librosa.midi_to_hz(midi)
        phase = 2 * np.pi * np.cumsum(np.interp(time, curve, hertz)) / score.rate
        voice = voicing * _tone(phase, (np.interp(time, curve, row) for row in self._spectrum(hertz, formants)))
        level = _rms(voice[voicing > 0.5])
        # Air passes while the glottis is open, so breath beats with the pitch.
        voice += self.breath * level * _noise(score, len(time), 900, 8000) * voicing * (0.6 + 0.4 * np.cos(phase))
        for index, closure, _, low, high, loud in spoken:
            burst = score.time(unvoiced[index] - closure)
            decay = np.exp(-burst / 0.01) * _edges(burst, 0.001, 0.01) if closure else _edges(burst, 0.03, 0.03)
            part = voice[round((starts[index] + closure) * score.rate) :][: len(burst)]
            part += (loud * level * _noise(score, len(burst), low, high) * decay)[: len(part)]
        return voice * _edges(time, 0.005, 0.1)

    def _melody(self, first: int, eighths: int) -> tuple[np.ndarray, np.ndarray]:
        """Walk on the scale: the starts of the notes in seconds, and their pitches."""
        score, rng = self.score, self.score.rng
        lengths = rng.choice([1, 1, 2, 2, 2, 3, 4], eighths)
        starts = np.cumsum(lengths) - lengths
        walk = len(self.ladder) // 2 + np.cumsum(rng.choice([-2, -1, -1, 0, 1, 1, 2], eighths))
        pitches = np.array(self.ladder + self.ladder[-2:0:-1])[walk % (2 * len(self.ladder) - 2)]
        for note in np.flatnonzero(lengths > 1):  # long notes belong to the chord
            chord = score.chord((first + starts[note]) / 2, pitches[note] - 6)
            pitches[note] = min(chord, key=lambda pitch: abs(pitch - pitches[note]))
        return starts[starts < eighths] * score.beat / 2, pitches[starts < eighths]

    def _pitch(self, curve: np.ndarray, since: np.ndarray, held: np.ndarray) -> np.ndarray:
        """The pitch with glides, a scoop into the phrase, drift, and vibrato that sets in late on each note."""
        rng = self.score.rng
        drift, wander = (_smooth(rng.standard_normal(len(curve)), 0.3) for _ in range(2))
        cycles = np.cumsum(self.vibrato_rate * (1 + 0.05 * wander)) / _CURVES + rng.random()
        depth = self.vibrato_depth * _smooth(np.clip((since - 0.18) / 0.2, 0, 1), 0.05)
        scoop = rng.uniform(0.5, 1.8) * np.exp(-curve / 0.05)
        return _smooth(held, self.glide) - scoop + 0.2 * drift + depth * np.sin(2 * np.pi * cycles)

    def _spectrum(self, hertz: np.ndarray, formants: np.ndarray) -> np.ndarray:
        """Complex amplitudes, (harmonics, points of the curves), by formants in Hz (formants, points)."""
        # Singers open the mouth on high notes: below the pitch, the first formant would have nothing to sound.
        formants[0] = np.maximum(formants[0], 1.05 * hertz)
        formants[1] = np.maximum(formants[1], 1.25 * formants[0])
        limit = min(_VOICE_BAND, 0.45 * self.score.rate)
        harmonics = np.arange(1, math.ceil(limit / hertz.min()) + 1)[:, None]
        # The lips radiate a rising spectrum, 6 dB an octave.
        tract = harmonics ** (1 - self.tilt) * np.ones(hertz.shape, complex)
        for centre, width in zip(formants, _BANDWIDTHS, strict=True):
            tract *= centre**2 / (centre**2 - (harmonics * hertz) ** 2 + 1j * width * harmonics * hertz)
        # Four times as loud does not sound natural for one vowel of a line.
        power = np.sqrt(np.sum(np.abs(tract) ** 2, axis=0))
        return tract * np.clip((limit - harmonics * hertz) / 500, 0, 1) / power**0.7


def _smooth(curve: np.ndarray, seconds: float) -> np.ndarray:
    """Average a curve over a Hann window, ends held."""
    window = signal.windows.hann(2 * round(seconds * _CURVES / 2) + 3)
    return np.convolve(np.pad(curve, len(window) // 2, mode="edge"), window / window.sum(), mode="valid")


def _string(
    score: _Score,
    pitch: float,
    seconds: float,
    tilt: float,
    attack: float,
    release: float,
    ring: float = np.inf,
    skip: int = 1,
) -> np.ndarray:
    """A note of eight harmonics (skip 2: the odd ones) that fall with the power `tilt` and ring for so many seconds."""
    time = score.time(seconds)
    levels = np.zeros(8)
    levels[::skip] = np.arange(1, 9.0)[::skip] ** -tilt
    # An imaginary phase lets the upper harmonics die first, as those of a plucked string do.
    phase = 2 * np.pi * (librosa.midi_to_hz(pitch) * time + score.rng.random()) + 0.5j * time / ring
    return _tone(phase, levels) * np.exp(-0.5 * time / ring) * _edges(time, attack, release)


def _tone(phase: np.ndarray, amplitudes: Iterable[float | np.ndarray]) -> np.ndarray:
    """Add up harmonics of a phase in radians, the first being the pitch."""
    # A power of the first harmonic costs a multiplication; a cosine costs ten.
    turn = np.exp(1j * phase)
    harmonic = np.ones_like(turn)
    total = np.zeros(len(phase))
    for amplitude in amplitudes:
        harmonic *= turn
        total += np.real(amplitude * harmonic)
    return total


def _noise(score: _Score, shape: int | tuple[int, int], low: float, high: float) -> np.ndarray:
    """Noise of RMS 1 between two frequencies in Hz."""
    high = min(high, 0.48 * score.rate)
    sos = signal.butter(3, (min(low, 0.6 * high), high), "bandpass", fs=score.rate, output="sos")
    noise = signal.sosfilt(sos, score.rng.standard_normal(shape), axis=0)
    return noise / _rms(noise)


def _edges(time: np.ndarray, attack: float, release: float) -> np.ndarray:
    """An envelope that rises from and falls to exact zero, in so many seconds."""
    return np.minimum(1, time / attack) * np.minimum(1, time[::-1] / release)


def _pan(mono: np.ndarray, side: float) -> np.ndarray:
    """Stereo, (samples, 2), from -1, left, to 1, right, equally loud."""
    angle = (side + 1) * np.pi / 4
    return mono[:, None] * np.array([np.cos(angle), np.sin(angle)])


def _rms(sound: np.ndarray) -> float:
    return max(float(np.sqrt(np.mean(np.square(sound)))), 1e-12)
