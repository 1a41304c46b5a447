"""The synthetic songs are songs, and lie on disk as MUSDB18-HQ does."""

import shutil

import musdb
import numpy as np
import pytest
import soundfile
import stempeg

from svs.data import synthetic
from svs.errors import DataError, SettingsError

SEEDS = (1, 2, 3, 4)
SECONDS = 10.0
FILES = ["bass.wav", "drums.wav", "mixture.wav", "other.wav", "vocals.wav"]


@pytest.fixture(scope="module")
def songs():
    return [synthetic.song(seed, SECONDS) for seed in SEEDS]


@pytest.fixture
def stems():
    return synthetic.song(1, 2.0)


def floats(stem):
    return stem.astype(np.float64) / 32768


def rms(sound):
    return np.sqrt(np.mean(np.square(sound)))


def decibels(ratio):
    return 20 * np.log10(ratio)


def accompaniment(stems):
    return sum(floats(stems[name]) for name in ("drums", "bass", "other"))


def longest_run(flags):
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return max(edges[1::2] - edges[::2], default=0)


def pitch_track(voice):
    """Return f0 in Hz and how periodic the voice is, 0 to 1, every 10 ms."""
    size, hop = 2048, 441
    frames = np.lib.stride_tricks.sliding_window_view(voice, size)[::hop]
    frames = frames - frames.mean(axis=1, keepdims=True)
    power = np.abs(np.fft.rfft(frames, 2 * size)) ** 2
    alike = np.fft.irfft(power)[:, : size // 2]
    # A frame overlaps less with itself the farther it is moved.
    alike *= size / (size - np.arange(size // 2))
    energy = alike[:, 0]
    alike /= np.maximum(energy, 1e-12)[:, None]
    low, high = synthetic.RATE // 800, synthetic.RATE // 70
    clarity = np.where(energy > 1e-6, alike[:, low:high].max(axis=1), 0)
    # The first peak that is nearly the best one is the pitch, not its octave.
    inner = alike[:, low:high]
    peaks = (inner >= alike[:, low - 1 : high - 1]) & (inner >= alike[:, low + 1 : high + 1])
    lag = np.argmax(peaks & (inner > 0.93 * clarity[:, None]), axis=1) + low
    rows = np.arange(len(lag))
    left, top, right = (alike[rows, lag + move] for move in (-1, 0, 1))
    bend = left - 2 * top + right
    shift = np.where(bend < 0, (left - right) / np.where(bend < 0, 2 * bend, 1), 0)
    return synthetic.RATE / (lag + shift), clarity


def vibratos(hertz, clarity):
    """Return rate in Hz and depth in semitones of each 0.6 s held on a note."""
    span = 60
    found = []
    for start in range(0, len(hertz) - span, 10):
        piece = slice(start, start + span)
        if clarity[piece].min() < 0.85:
            continue
        semitones = 12 * np.log2(hertz[piece])
        if np.ptp(semitones) > 1.6:
            continue
        time_ = np.arange(span)
        semitones = semitones - np.polyval(np.polyfit(time_, semitones, 2), time_)
        spectrum = np.abs(np.fft.rfft(semitones * np.hanning(span), 1024))
        peak = int(np.argmax(spectrum))
        found.append((peak * 100 / 1024, spectrum[peak] * 4 / span))
    return np.array(found).reshape(-1, 2)


def test_a_seed_gives_one_song_and_another_seed_another():
    first, again, other = (synthetic.song(seed, 2.0) for seed in (7, 7, 8))
    assert tuple(first) == synthetic.STEMS
    for name in synthetic.STEMS:
        assert first[name].tobytes() == again[name].tobytes()
        assert first[name].tobytes() != other[name].tobytes()


def test_global_random_state_is_neither_read_nor_moved():
    np.random.seed(1)
    first = synthetic.song(7, 2.0)
    drawn = np.random.random()
    np.random.seed(1)
    assert drawn == np.random.random()
    np.random.seed(2)
    assert np.array_equal(first["vocals"], synthetic.song(7, 2.0)["vocals"])


@pytest.mark.parametrize(("seconds", "rate"), [(2.0, 44100), (2.5004, 22050), (3.0, 48000), (2.0, 16000)])
def test_shape_and_type_follow_length_and_rate(seconds, rate):
    for stem in synthetic.song(0, seconds, rate).values():
        assert stem.dtype == np.int16
        assert stem.shape == (round(seconds * rate), 2)
        assert stem.any()


@pytest.mark.parametrize(("seconds", "rate"), [(1.9, 44100), (float("nan"), 44100), (5.0, 8000)])
def test_impossible_songs_are_refused(seconds, rate):
    with pytest.raises(SettingsError, match="a song takes at least"):
        synthetic.song(0, seconds, rate)


def test_the_mixture_has_headroom_and_no_stem_an_offset(songs):
    for stems in songs:
        mixture = sum(stem.astype(np.int32) for stem in stems.values())
        assert -6.0 < decibels(np.abs(mixture).max() / 32768) < -0.5
        for stem in stems.values():
            assert np.abs(stem.mean(axis=0)).max() < 1  # of 32768


def test_the_voice_rests_in_exact_silence_and_sings_most_of_the_time(songs):
    for stems in songs:
        silent = ~stems["vocals"].any(axis=1)
        assert longest_run(silent) >= synthetic.RATE
        assert 0.52 < 1 - silent.mean() < 0.78


def test_phrases_fade_out_without_a_click(songs):
    for stems in songs:
        voice = floats(stems["vocals"])[:, 0]
        sounding = np.flatnonzero(voice)
        until_next = np.diff(sounding, append=len(voice) + synthetic.RATE)
        ends = sounding[until_next > synthetic.RATE // 2]
        assert len(ends) >= 2
        for end in ends:
            last = voice[max(end - 10, 0) : end + 1]
            assert np.abs(last).max() < 0.01 * np.abs(voice).max()


def test_eight_seconds_rest_for_a_second_and_five_are_mostly_sung():
    for seed in range(3):
        for seconds in (8.0, 9.0):  # one long phrase, two short ones
            silent = ~synthetic.song(seed, seconds, 16000)["vocals"].any(axis=1)
            assert longest_run(silent) >= 16000
        vocals = synthetic.song(seed, 5.0)["vocals"].any(axis=1)
        sung = vocals.reshape(5, synthetic.RATE).mean(axis=1) > 0.1
        assert sung.sum() >= 3


def test_the_accompaniment_plays_on_while_the_voice_rests(songs):
    for stems in songs:
        silent = ~stems["vocals"].any(axis=1)
        backing = accompaniment(stems)
        assert abs(decibels(rms(backing[silent]) / rms(backing[~silent]))) < 6


def test_the_voice_is_central_and_the_accompaniment_wide(songs):
    for stems in songs:
        vocals, backing = floats(stems["vocals"]), accompaniment(stems)
        wide = decibels(rms(vocals[:, 0] - vocals[:, 1]) / rms(vocals.sum(axis=1)))
        assert -40 < wide < -16  # in the middle, but no two equal channels
        side, middle = backing[:, 0] - backing[:, 1], backing.sum(axis=1)
        assert decibels(rms(side) / rms(middle)) > -12


def test_voice_and_accompaniment_are_about_as_loud(songs):
    levels = []
    for stems in songs:
        vocals = floats(stems["vocals"])
        sung = vocals[vocals.any(axis=1)]
        levels.append(decibels(rms(sung) / rms(accompaniment(stems))))
    assert min(levels) > -3 and max(levels) < 3
    assert np.ptp(levels) > 1


def test_the_voice_lies_where_voices_lie(songs):
    frequencies = np.fft.rfftfreq(round(SECONDS * synthetic.RATE), 1 / synthetic.RATE)
    voiced = (frequencies > 200) & (frequencies < 5000)
    shares = []
    for stems in songs:
        power = np.abs(np.fft.rfft(floats(stems["vocals"])[:, 0])) ** 2
        shares.append(power[voiced].sum() / power.sum())
    assert min(shares) > 0.6
    assert np.median(shares) > 0.9


def test_the_voice_is_sung_with_vibrato(songs):
    everything = []
    for stems in songs:
        hertz, clarity = pitch_track(floats(stems["vocals"])[:, 0])
        sounding = clarity > 0
        voiced = clarity > 0.85
        assert voiced.sum() > 0.6 * sounding.sum()
        low, high = np.percentile(hertz[voiced], [2, 98])
        assert low > 100 and high < 700
        assert high / low > 2 ** (2 / 12)  # a melody, not a drone
        everything.append(vibratos(hertz, clarity))
    rates, depths = np.concatenate(everything).T
    assert len(rates) >= 20
    assert np.mean((rates > 4.4) & (rates < 7.2)) > 0.8
    assert 0.15 < np.median(depths) < 1.0


def test_noise_and_steady_tones_would_not_pass_for_singing():
    rng = np.random.default_rng(0)
    _, clarity = pitch_track(0.1 * rng.standard_normal(2 * synthetic.RATE))
    assert np.mean(clarity > 0.85) < 0.05
    tone = 0.1 * np.sin(2 * np.pi * 220 * np.arange(2 * synthetic.RATE) / synthetic.RATE)
    hertz, clarity = pitch_track(tone)
    assert np.allclose(hertz, 220, rtol=1e-3)
    assert vibratos(hertz, clarity)[:, 1].max() < 0.05


def test_the_vowels_change_under_the_voice(songs):
    # Formants move energy between bands that a fixed timbre would leave alone.
    for stems in songs:
        voice = floats(stems["vocals"])[:, 0]
        _, clarity = pitch_track(voice)
        frames = np.lib.stride_tricks.sliding_window_view(voice, 2048)[::441]
        power = np.abs(np.fft.rfft(frames[clarity > 0.85] * np.hanning(2048))) ** 2
        bands = np.array([power[:, 30:80].sum(1), power[:, 5:25].sum(1)])
        ratio = 10 * np.log10(bands[0] / bands[1])
        assert np.ptp(np.percentile(ratio, [5, 95])) > 6


def test_a_written_song_is_five_files_that_add_up(tmp_path, stems):
    folder = tmp_path / "deep" / "Someone - Something"
    synthetic.write_song(folder, stems, 44100)
    assert sorted(file.name for file in folder.iterdir()) == FILES
    assert [entry.name for entry in folder.parent.iterdir()] == [folder.name]
    read = {}
    for file in folder.iterdir():
        info = soundfile.info(file)
        assert (info.format, info.subtype) == ("WAV", "PCM_16")
        assert (info.samplerate, info.channels) == (44100, 2)
        read[file.stem] = soundfile.read(file, dtype="int16")[0].astype(np.int32)
    for name, stem in stems.items():
        assert np.array_equal(read[name], stem)
    assert np.array_equal(read["mixture"], sum(read[name] for name in synthetic.STEMS))


def test_the_real_song_is_what_stempeg_reads(tmp_path):
    folder = tmp_path / "song"
    assert synthetic.write_stempeg_song(folder) == "The Easton Ellises - Falcon 69"
    assert sorted(file.name for file in folder.iterdir()) == FILES
    streams, rate = stempeg.read_stems(stempeg.example_stem_path())
    expected = np.clip(np.rint(streams * 32768), -32768, 32767)
    for name, stream in zip(("mixture", *synthetic.STEMS), expected, strict=True):
        samples, file_rate = soundfile.read(folder / f"{name}.wav", dtype="int16")
        assert file_rate == rate == 44100
        assert np.array_equal(samples, stream)
    # The header of a plain WAV file, with nothing between it and the samples:
    # no dates and no versions.
    header = (folder / "vocals.wav").read_bytes()[:44]
    assert header[36:40] == b"data"


def test_a_real_song_that_cannot_be_decoded_is_a_data_error(tmp_path, monkeypatch):
    broken = tmp_path / "Broken - Song.stem.mp4"
    broken.write_bytes(b"not a film" * 100)
    monkeypatch.setattr(stempeg, "example_stem_path", lambda: str(broken))
    with pytest.raises(DataError, match="truncated or no mp4") as caught:
        synthetic.write_stempeg_song(tmp_path / "out" / "song")
    assert "\n" not in str(caught.value)


def test_without_ffmpeg_the_real_song_is_a_data_error(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("ffmpeg") is None
    with pytest.raises(DataError, match="there is no ffmpeg"):
        synthetic.write_stempeg_song(tmp_path / "song")


def dataset(root, **changes):
    settings = {
        "seed": 5,
        "train": 2,
        "valid": 1,
        "test": 1,
        "train_seconds": 2.0,
        "test_seconds": 2.5,
    }
    return synthetic.write_dataset(root, **(settings | changes))


def test_musdb_reads_the_data_set(tmp_path):
    names = dataset(tmp_path)
    assert names == {
        "train": ["Synthetic Singers - Train 01", "Synthetic Singers - Train 02"],
        "valid": ["Synthetic Singers - Valid 01"],
        "test": ["Synthetic Singers - Test 01", "The Easton Ellises - Falcon 69"],
    }
    train = musdb.DB(str(tmp_path), is_wav=True, subsets="train")
    test = musdb.DB(str(tmp_path), is_wav=True, subsets="test")
    assert sorted(t.name for t in train) == sorted(names["train"] + names["valid"])
    assert sorted(t.name for t in test) == sorted(names["test"])
    tracks = {track.name: track for track in [*train, *test]}
    assert tracks[names["train"][0]].audio.shape == (round(2.0 * 44100), 2)
    track = tracks[names["test"][0]]
    mixture = track.audio
    assert track.rate == 44100
    assert mixture.shape == (round(2.5 * 44100), 2)
    total = sum(track.sources[stem].audio for stem in synthetic.STEMS)
    assert np.array_equal(mixture, total)


def test_a_track_depends_on_its_place_alone(tmp_path):
    def vocals(root):
        return {file.parent.name: file.read_bytes() for file in root.glob("*/*/vocals.wav")}

    names = dataset(tmp_path / "small", real_song=False)
    assert names["test"] == ["Synthetic Singers - Test 01"]
    small = vocals(tmp_path / "small")
    assert len(small) == len(set(small.values())) == 4

    dataset(tmp_path / "large", train=3, valid=2, test=2, real_song=False)
    large = vocals(tmp_path / "large")
    assert len(large) == 7
    assert {name: large[name] for name in small} == small

    other = tmp_path / "other"
    dataset(other, seed=6, real_song=False)
    assert not set(vocals(other).values()) & set(small.values())
    dataset(other, real_song=False)
    assert vocals(other) == small
