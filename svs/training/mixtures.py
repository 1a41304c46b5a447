"""Training mixtures, made while training runs: vocals of one song over the accompaniment of another.

Random mixing makes more of little data (Uhlich et al. 2017).  Passages are cut anywhere.  Levels stay as they were
recorded, because they help to tell the voice from the rest.  Every mixture depends on the seed, the epoch and its place
in the epoch alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import keras
import numpy as np

from svs.config.schema import MixtureTraining, Representation
from svs.dsp.stft import log_magnitude, stft, window_sum
from svs.errors import DataError
from svs.features.store import Stems
from svs.stems import VOCALS


class _OfStems(keras.utils.PyDataset):
    """Batches of passages of the songs of some splits."""

    def __init__(self, stems: Stems, splits: Sequence[str], settings: MixtureTraining):
        # As in `svs.training.excerpts.Batches`: two threads that read ahead, in order.
        super().__init__(workers=2, max_queue_size=4)
        self._stems, self._settings = stems, settings
        self._samples = (settings.frames - 1) * settings.representation.hop_length
        self._tracks = [track for track in stems.tracks(*splits) if stems.samples(track) >= self._samples]
        if not self._tracks:
            raise DataError(
                f"no track of {', '.join(splits)} is as long as a passage of {self._samples / stems.rate:.2f} s; "
                "choose fewer frames"
            )

    def sound(self, place: tuple[str, int], stems: Iterable[str]) -> np.ndarray:
        """The sum of stems at a place (track, first sample): float32 (samples, 2)."""
        track, start = place
        return np.add.reduce([self._stems.read(track, stem, start, start + self._samples) for stem in stems])

    def rest(self, place: tuple[str, int]) -> np.ndarray:
        """The accompaniment at a place: float32 (samples, 2)."""
        return self.sound(place, self._stems.parts(place[0]))

    def batch(self, pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets from vocals and accompaniment."""
        vocals, accompaniment = (np.stack(part) for part in zip(*pairs, strict=True))
        return targets(vocals + accompaniment, vocals, self._settings)


class Mixes(_OfStems):
    """Batches of training mixtures.

    Parameters
    ----------
    stems : Stems
    splits : sequence of str
        Their songs are mixed.
    settings : MixtureTraining
    seed : int

    Raises
    ------
    DataError
        No song is as long as a passage, there is no data set that a weight names, or all weights are 0.

    Notes
    -----
    A batch is x float32 (n, frames, bins, 2), what the network hears of the mixtures, and y float32
    (n, frames, bins, 2, 3): see `targets`.
    """

    def __init__(self, stems: Stems, splits: Sequence[str], settings: MixtureTraining, seed: int):
        super().__init__(stems, splits, settings)
        self._seed, self.epoch = seed, 0
        weights = stems.weights("MIX", settings.weights)
        shares = np.cumsum([weights[track] for track in self._tracks])
        if not shares[-1]:
            raise DataError(f"weights {settings.weights}: expected one above 0; no song would be drawn")
        self._shares = shares / shares[-1] if settings.weights else None

    def __len__(self) -> int:
        return self._settings.mixes // self._settings.batch_size

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        size = self._settings.batch_size
        return self.batch([self.mix(self.epoch, number) for number in range(index * size, (index + 1) * size)])

    def mix(self, epoch: int, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Vocals and accompaniment of one mixture, float32 (samples, 2) each."""
        random = np.random.default_rng([self._seed, 3, epoch, number])
        place = self._place(random)
        vocals = self.sound(place, [VOCALS])
        if random.random() < self._settings.other_song:
            place = self._place(random)
        return vocals, self.rest(place)

    def _place(self, random: np.random.Generator) -> tuple[str, int]:
        """A passage of any song, drawn by its weight: its name and first sample."""
        if self._shares is None:
            number = int(random.integers(len(self._tracks)))
        else:
            number = int(np.searchsorted(self._shares, random.random(), side="right"))
        track = self._tracks[number]
        return track, int(random.integers(self._stems.samples(track) - self._samples + 1))


class Passages(_OfStems):
    """All songs of some splits, cut into passages one after the other: for validation.

    Parameters, batches: as of `Mixes`.  A remainder at the end of a song is left out, and so is a song that is shorter
    than a passage.
    """

    def __init__(self, stems: Stems, splits: Sequence[str], settings: MixtureTraining):
        super().__init__(stems, splits, settings)
        last = {track: stems.samples(track) - self._samples for track in self._tracks}
        self.places = [(track, start) for track in last for start in range(0, last[track] + 1, self._samples)]

    def __len__(self) -> int:
        return -(-len(self.places) // self._settings.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        size = self._settings.batch_size
        chosen = self.places[index * size : (index + 1) * size]
        return self.batch([(self.sound(place, [VOCALS]), self.rest(place)) for place in chosen])


def spectra(audio: np.ndarray, settings: MixtureTraining) -> np.ndarray:
    """Scaled complex spectrograms (..., frames, bins, channels) of audio (..., samples, channels), the lowest bins."""
    representation: Representation = settings.representation
    spectrum = stft(np.ascontiguousarray(np.moveaxis(audio, -1, -2)), representation)[..., : settings.bins, :]
    return np.moveaxis(spectrum, -3, -1).swapaxes(-3, -2) * np.float32(1 / window_sum(representation))


def targets(mixture: np.ndarray, vocals: np.ndarray, settings: MixtureTraining) -> tuple[np.ndarray, np.ndarray]:
    """Inputs of the network and targets of its loss (`svs.training.on_mixtures.ErrorToMixture`).

    Parameters
    ----------
    mixture, vocals : float32 (n, samples, 2)

    Returns
    -------
    x : float32 (n, frames, bins, 2)
        |X| or its logarithm (`settings.logarithmic`); X is the mixture's scaled spectrogram.
    y : float32 (n, frames, bins, 2, 3)
        |X|^2, Re(X V*) and |V|^2.  The error of a real mask m is |V - m X|^2 = |V|^2 - 2 m Re(X V*) + m^2 |X|^2.
    """
    x, v = spectra(mixture, settings), spectra(vocals, settings)
    level = np.abs(x)
    return log_magnitude(level) if settings.logarithmic else level, np.stack(
        [level * level, x.real * v.real + x.imag * v.imag, v.real * v.real + v.imag * v.imag], axis=-1
    )
