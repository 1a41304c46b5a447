"""Recordings of a voice, or of breathing, in noise: made by rule from clean ones and a seed.

The clean sources are recordings of speakers or of breathing from a folder, or generated: the voice of
`svs.data.synthetic`, and noise that a breath's rhythm and spectrum shape.  Each source is mixed with every noise at
every SNR.  Sources are split: methods are chosen on those of the split `train`, and scored on those of `test`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import soundfile
from scipy import signal

from svs.audio.convert import resample
from svs.audio.sources import WavWriter
from svs.config.schema import Noisy
from svs.data import synthetic
from svs.data.noisy_set import KINDS, LIST, Entry
from svs.errors import DataError, SettingsError
from svs.runtime.files import is_foreign, write_json, written
from svs.runtime.unavailable import package

_LEVEL = 0.05  # RMS of a clean source; full scale is 1
_PAUSE = 0.05, 0.35  # s between the recordings that an utterance is joined from
_TALKERS = 4  # in babble
_HARMONICS = 40  # of hum
# Speakers are many enough to alternate; of recordings of breathing the first one is for choosing.
_TRAIN = {"voice": slice(None, None, 2), "respiratory": slice(0, 1)}
_ROOM = np.array([5.0, 4.0, 2.8])  # m
_WALL = 0.6  # m from any wall to the source and to the microphone, at least

Source = Callable[[int], tuple[np.ndarray, int]]  # from the number of a take to its samples (samples,) and their rate


@dataclass(frozen=True)
class Recording:
    """A recording, and the clean source in it: float32 (samples,)."""

    entry: Entry
    mixture: np.ndarray
    clean: np.ndarray


def recordings(
    settings: Noisy, seed: int, splits: Sequence[str] = ("train", "test"), kinds: Sequence[str] = KINDS
) -> Iterator[Recording]:
    """Make the recordings one after another.

    Parameters
    ----------
    settings : Noisy
    seed : int
    splits, kinds : sequences of str
        Those that are wanted; the others change nothing.

    Raises
    ------
    DataError
        A folder has no recordings, or a speaker says less than a recording is long.
    UnavailableError, SettingsError
        Reverberation is wanted, but pyroomacoustics is not installed, or no room has so much or so little.
    """
    for kind in kinds:
        plan, sources = getattr(settings, kind), _sources(settings, kind, seed)
        train = list(sources)[_TRAIN[kind]]
        for index, (source, take) in enumerate(sources.items()):
            split = "train" if source in train else "test"
            if split not in splits:
                continue
            audio, own = take(0)
            rate = settings.rates[index % len(settings.rates)] if settings.rates else own
            draw = (seed, KINDS.index(kind), index)
            clean = _at(audio, own, rate, round(plan.seconds * rate))
            if settings.reverberation:
                clean = reverberant(clean, rate, settings.reverberation, np.random.default_rng(draw))
            clean *= np.float32(_LEVEL / _rms(clean))
            for noise, sound in _noises(settings, kind, source, draw, rate, len(clean)):
                for snr in plan.snrs:
                    yield Recording(Entry(kind, source, split, noise, snr, rate), mixed(clean, sound, snr), clean)


def write(folder: Path, made: Iterator[Recording]) -> list[Entry]:
    """Write recordings as float wav, `NAME/{mixture,clean}.wav`, and their list; the folder appears whole."""
    entries = []
    with written(folder) as temporary:
        for recording in made:
            entry, place = recording.entry, temporary / recording.entry.name
            if place.exists():
                raise DataError(
                    f"{entry.name}: expected another name for each recording and noise, two make this one; rename one"
                )
            place.mkdir(parents=True)
            for name, audio in (("mixture", recording.mixture), ("clean", recording.clean)):
                with WavWriter(place / f"{name}.wav", entry.rate, 1) as file:
                    file.write(audio[:, None])
            entries.append(entry)
        write_json(temporary / LIST, [asdict(entry) for entry in entries])
    return entries


def mixed(clean: np.ndarray, noise: np.ndarray, snr: float) -> np.ndarray:
    """A source with noise at an SNR in dB over the whole of it: float32 (samples,)."""
    return (clean + _rms(clean) / _rms(noise) * 10 ** (-snr / 20) * noise).astype(np.float32)


def white(samples: int, generator: np.random.Generator) -> np.ndarray:
    """Noise with a flat spectrum."""
    return generator.normal(size=samples)


def pink(samples: int, generator: np.random.Generator) -> np.ndarray:
    """Noise whose power falls by 3 dB an octave."""
    spectrum = np.fft.rfft(generator.normal(size=samples))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[0] = 0
    return np.fft.irfft(spectrum, samples)


def hum(samples: int, generator: np.random.Generator, rate: int) -> np.ndarray:
    """Hum of the mains, at 50 or 60 Hz, with harmonics that fall by 6 dB an octave."""
    mains, time = generator.choice([50, 60]), np.arange(samples) / rate
    harmonics = [number for number in range(1, _HARMONICS + 1) if number * mains < rate / 2]
    phases = generator.uniform(0, 2 * np.pi, len(harmonics))
    waves = (
        np.sin(2 * np.pi * number * mains * time + phase) / number
        for number, phase in zip(harmonics, phases, strict=True)
    )
    return np.sum(list(waves), axis=0)


def breathing(seconds: float, rate: int, generator: np.random.Generator) -> np.ndarray:
    """A model of breathing: noise of two bands, louder and brighter while air goes in, then a pause.

    About 18 breaths a minute; energy from 150 to 1500 Hz, as over the trachea (Gavriely et al., J. Appl. Physiol.
    50(2), 1981).
    """
    sound = np.zeros(round(seconds * rate))
    bands = {"in": (300, 1500), "out": (150, 900)}
    noises = {
        name: signal.sosfilt(
            signal.butter(2, band, "bandpass", fs=rate, output="sos"), generator.normal(size=len(sound))
        )
        for name, band in bands.items()
    }
    place = 0.0
    while place < seconds:
        for name, length, loud in (
            ("in", generator.uniform(1.0, 1.4), 1.0),
            ("out", generator.uniform(1.1, 1.6), 0.6),
        ):
            first, last = round(place * rate), min(round((place + length) * rate), len(sound))
            envelope = loud * np.sin(np.pi * np.arange(last - first) / (length * rate)) ** 2
            sound[first:last] += envelope * noises[name][first:last] / _rms(noises[name])
            place = min(place + length, seconds)
        place += generator.uniform(0.3, 0.9)
    return sound


def utterance(files: Sequence[Path], seconds: float, *draw: int) -> tuple[np.ndarray, int]:
    """Recordings of one speaker in random order, equally loud, with short pauses: (samples,), and their rate in Hz.

    `draw` is the seed of the order and of the pauses.

    Raises
    ------
    DataError
        They last less than `seconds`, or differ in rate.
    """
    generator = np.random.default_rng(draw)
    pieces: list[np.ndarray] = []
    rates = set()
    for index in generator.permutation(len(files)):
        audio, rate = _heard(files[index])
        rates.add(rate)
        pause = np.zeros(int(generator.uniform(*_PAUSE) * rate), np.float32)
        pieces += [_LEVEL * audio.mean(axis=1) / np.float32(_rms(audio)), pause]
        if sum(map(len, pieces)) >= seconds * rate and len(rates) == 1:
            return np.concatenate(pieces)[: round(seconds * rate)], rate
    raise DataError(
        f"{files[0].parent}: expected {seconds:g} s of each speaker at one sample rate; with {files[0].name} "
        f"go {sum(map(len, pieces)) / max(rates):.1f} s at {', '.join(map(str, sorted(rates)))} Hz"
    )


def reverberant(audio: np.ndarray, rate: int, seconds: float, generator: np.random.Generator) -> np.ndarray:
    """A source (samples,) as a microphone in a room with that reverberation time (RT60) gets it, without the delay.

    The room is simulated by image sources (pyroomacoustics).

    Raises
    ------
    UnavailableError
        pyroomacoustics is not installed.
    SettingsError
        No walls of that room give this time.
    """
    rooms = package("pyroomacoustics", "rooms")
    try:
        absorption, order = rooms.inverse_sabine(seconds, _ROOM)
    except ValueError as error:
        raise SettingsError(f"noisy.reverberation: {seconds:g} s: {error}; expected about 0.1 to 1 s") from None
    room = rooms.ShoeBox(_ROOM, fs=rate, materials=rooms.Material(absorption), max_order=order)
    room.add_source(generator.uniform(_WALL, _ROOM - _WALL))
    room.add_microphone(generator.uniform(_WALL, _ROOM - _WALL))
    room.compute_rir()
    response = room.rir[0][0]
    heard = signal.fftconvolve(audio, response[np.argmax(np.abs(response)) :])
    return heard[: len(audio)].astype(np.float32)


def _sources(settings: Noisy, kind: str, seed: int) -> Mapping[str, Source]:
    """The clean sources of a kind by name."""
    plan = getattr(settings, kind)
    folder, seconds = plan.folder, plan.seconds
    if folder is None:
        name, make = ("voice", _sung) if kind == "voice" else ("breath", _breathed)
        return {f"{name} {index + 1}": partial(make, seconds, seed, index) for index in range(settings.sources)}
    files = _wavs(folder, f"noisy.{kind}.folder")
    if kind == "respiratory":
        names = [path.stem for path in files]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise DataError(
                f"{folder}: expected another name for each recording, found {', '.join(twice)} twice; rename one"
            )
        return {path.stem: partial(_passage, path, seconds) for path in files}
    speakers: dict[str, list[Path]] = {}
    for path in files:
        parts = path.stem.split("_")
        name = path.parent.name if path.parent != Path(folder) else parts[1] if len(parts) == 3 else path.stem
        speakers.setdefault(name, []).append(path)
    return {
        name: partial(utterance, speakers[name], seconds, seed, index) for index, name in enumerate(sorted(speakers))
    }


def _wavs(folder: Path, key: str) -> list[Path]:
    """The recordings in a folder and below."""
    files = [path for path in sorted(Path(folder).rglob("*.wav")) if not is_foreign(path.name)]
    if not files:
        raise DataError(f"{folder}: expected recordings, *.wav; name another folder in {key}")
    return files


def _heard(path: Path, seconds: float | None = None) -> tuple[np.ndarray, int]:
    """Samples of a recording that is not silent, (samples, channels), and their rate in Hz; of its middle `seconds`."""
    try:
        with soundfile.SoundFile(path) as file:
            length = file.frames if seconds is None else round(seconds * file.samplerate)
            if file.frames < length:
                raise DataError(f"{path}: expected {seconds:g} s or more, got {file.frames / file.samplerate:.1f} s")
            file.seek((file.frames - length) // 2)  # the middle: at the ends somebody handles the device
            audio, rate = file.read(length, dtype="float32", always_2d=True), file.samplerate
    except soundfile.LibsndfileError as error:
        raise DataError(f"{path}: expected a wav file, could not read it ({error}); take it out") from None
    if not audio.any():
        raise DataError(f"{path}: expected a recording with sound, got silence; take it out of the folder")
    return audio, rate


def _passage(path: Path, seconds: float, take: int) -> tuple[np.ndarray, int]:
    audio, rate = _heard(path, seconds)
    return audio.mean(axis=1), rate


def _sung(seconds: float, *draw: int) -> tuple[np.ndarray, int]:
    return _song(seconds, *draw)[0], synthetic.RATE


def _breathed(seconds: float, *draw: int) -> tuple[np.ndarray, int]:
    return breathing(seconds, synthetic.RATE, np.random.default_rng(draw)), synthetic.RATE


@cache
def _song(seconds: float, *draw: int) -> tuple[np.ndarray, np.ndarray]:
    """Voice and band of a song of `svs.data.synthetic`, each (samples,)."""
    stems = synthetic.song(draw, seconds)
    voice, *band = (stems[name].astype(np.float32).mean(axis=1) for name in ("vocals", "drums", "bass", "other"))
    return voice, np.sum(band, axis=0)


def _noises(
    settings: Noisy, kind: str, source: str, draw: tuple[int, ...], rate: int, samples: int
) -> Iterator[tuple[str, np.ndarray]]:
    """The noises of a recording by name, (samples,) each."""
    for number, name in enumerate(getattr(settings, kind).noises):
        generator = np.random.default_rng((*draw, number))
        if name == "white":
            yield name, white(samples, generator)
        elif name == "pink":
            yield name, pink(samples, generator)
        elif name == "hum":
            yield name, hum(samples, generator, rate)
        elif name == "music":
            band = _song(max(samples / rate, synthetic.SHORTEST_SECONDS), *draw, number)[1]
            yield name, _at(band, synthetic.RATE, rate, samples)
        else:
            voices = _sources(settings, "voice", draw[0])
            around = [*voices] if source not in voices else [*voices][[*voices].index(source) + 1 :] + [*voices]
            others = [voices[other] for other in around if other != source][:_TALKERS]
            if not others:
                raise DataError(
                    f"{settings.voice.folder}: expected two or more speakers for babble, found {source} alone: "
                    f"add one, or leave babble out of noisy.{kind}.noises"
                )
            yield name, np.sum([_at(*other(1), rate, samples) for other in others], axis=0)
    if settings.noise is not None:
        for number, path in enumerate(_wavs(settings.noise, "noisy.noise")):
            audio, own = _heard(path)
            generator = np.random.default_rng((*draw, 0, number))
            yield path.stem, _at(np.roll(audio.mean(axis=1), generator.integers(len(audio))), own, rate, samples)


def _at(audio: np.ndarray, own: int, rate: int, samples: int) -> np.ndarray:
    """A sound (n,) at another rate, repeated or cut to `samples`: float32."""
    return np.resize(resample(audio[:, None].astype(np.float32), own, rate)[:, 0], samples)


def _rms(audio: np.ndarray) -> float:
    """Root of the mean power; DataError if a recording is silent."""
    found = float(np.sqrt(np.mean(np.square(audio, dtype=np.float64))))
    if not found > 0:
        raise DataError("expected a recording with sound, got silence; take it out of the folder")
    return found
