"""BSS Eval: museval's own figures on real music, its frames, and what it cannot score."""

from __future__ import annotations

import tracemalloc
import warnings
from itertools import combinations

import museval
import numpy as np
import pytest
import scipy.linalg
import scipy.signal
import stempeg
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from svs.audio.sources import WavSource
from svs.data.synthetic import write_stempeg_song
from svs.errors import DataError
from svs.evaluation.museval_json import MEASURES
from svs.evaluation.scoring.bsseval import _frames, evaluate
from svs.stems import STREAMS

RATE = 44100
ALIKE = 60.0  # dB; above, a ratio says how a program rounds


@pytest.fixture(autouse=True)
def one_thread():
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    """Three seconds of the song that comes with stempeg: float64 (streams, samples, channels)."""
    folder = tmp_path_factory.mktemp("song") / "song"
    write_stempeg_song(folder)
    start = 2 * RATE
    return np.stack(
        [WavSource(folder / f"{stream}.wav").read(start, start + 3 * RATE + 5000) for stream in STREAMS]
    ).astype(np.float64)


def two(streams: np.ndarray) -> np.ndarray:
    """Vocals and accompaniment."""
    return np.stack([streams[4], streams[1:4].sum(axis=0)])


def mono(audio: np.ndarray) -> np.ndarray:
    return audio.mean(axis=2, keepdims=True)


def leaky(references: np.ndarray, seed=0) -> np.ndarray:
    """Estimates with something of everything: filtered, with interference and noise."""
    others = references.sum(axis=0) - references
    filtered = scipy.signal.lfilter([0.9, 0.2, -0.1], 1, references, axis=1)
    level = 0.1 * references.std()
    return filtered + 0.2 * others + np.random.default_rng(seed).normal(0, level, references.shape)


def masked(references: np.ndarray) -> np.ndarray:
    """Estimates by soft masks: what separators give, and artifacts that are no noise."""
    spectra = scipy.signal.stft(references, nperseg=2048, axis=1)[2]  # (sources, bins, channels, frames)
    power = np.abs(spectra) ** 2 + 1e-12
    estimates = scipy.signal.istft(power / power.sum(axis=0) * spectra.sum(axis=0), nperseg=2048, freq_axis=1)[1]
    return estimates.swapaxes(1, 2)[:, : references.shape[1]]


def museval_scores(references, estimates, win, hop, solver=None) -> np.ndarray:
    """museval's (measures, sources, frames), with its solver replaced if one is given."""
    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        patch.setattr(np.linalg, "linalg", np.linalg, raising=False)  # a name that numpy 2 dropped
        if solver is not None:
            patch.setattr(np.linalg, "solve", solver)
        return np.stack(museval.evaluate(references, estimates, win=win, hop=hop, padding=False))


def symmetric(matrix, right):
    """Another exact solver than museval's."""
    with warnings.catch_warnings(action="ignore", category=scipy.linalg.LinAlgWarning):
        return scipy.linalg.solve(matrix, right, assume_a="sym")


def reordered(matrix, right):
    """The same equations in the opposite order: LU as museval's, with other pivots."""
    with warnings.catch_warnings(action="ignore", category=scipy.linalg.LinAlgWarning):
        return scipy.linalg.solve(matrix[::-1, ::-1], right[::-1], assume_a="gen")[::-1]


def difference(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """The largest difference of each measure in dB."""
    assert one.shape == two.shape
    np.testing.assert_array_equal(np.isnan(one), np.isnan(two))
    compared = ~np.isnan(one) & ~((one > ALIKE) & (two > ALIKE))
    return np.array([np.max(np.abs(a[c] - b[c]), initial=0.0) for a, b, c in zip(one, two, compared, strict=True)])


def assert_as_museval(references, estimates, win=RATE, hop=RATE) -> np.ndarray:
    ours = np.stack(evaluate(references, estimates, win, hop))
    assert ours.dtype == np.float64
    theirs = museval_scores(references, estimates, win, hop)
    differences = difference(ours, theirs)
    assert differences[0] <= 1e-6
    if differences.max() > 1e-4:
        moved = [
            difference(museval_scores(references, estimates, win, hop, solver), theirs)
            for solver in (symmetric, reordered)
        ]
        allowed = np.maximum(1e-4, 10 * np.max(moved, axis=0))
        assert (differences[1:] <= allowed[1:]).all(), list(zip(MEASURES, differences, allowed, strict=True))
    return ours


# museval's figures on real music


@pytest.mark.parametrize("channels", ["mono", "stereo"])
@pytest.mark.parametrize("estimated", [leaky, masked])
def test_vocals_and_accompaniment(song, channels, estimated):
    references = two(song) if channels == "stereo" else mono(two(song))
    scores = assert_as_museval(references, estimated(references))
    assert scores.shape == (4, 2, 3) and np.isfinite(scores).all()
    # The measures differ from each other: none can stand in another's place.
    assert all(np.abs(one - other).max() > 0.1 for one, other in combinations(scores, 2))


@pytest.mark.parametrize("channels", ["mono", pytest.param("stereo", marks=pytest.mark.slow)])
def test_four_stems(song, channels):
    references = song[1:, :RATE] if channels == "stereo" else mono(song[1:, : 2 * RATE])
    scores = assert_as_museval(references, leaky(references), win=RATE // 2, hop=RATE // 2)
    assert len(scores[0]) == 4 and np.isfinite(scores).all()


def preview(path) -> np.ndarray:
    return two(stempeg.read_stems(str(path))[0].astype(np.float64))


@pytest.mark.parametrize(
    "track, estimated",
    [
        ("test/Arise - *", masked),
        ("test/The Long Wait - *", leaky),
        ("train/James May - All Souls Moon*", leaky),  # a voice in the centre: its two channels are equal
    ],
)
def test_previews(previews, track, estimated):
    path = next(previews.glob(f"{track}.stem.mp4"), None)
    if path is None:
        pytest.skip(f"no {track} among the previews")
    references = preview(path)
    assert_as_museval(references, estimated(references))


@pytest.mark.slow
@pytest.mark.parametrize("estimated", [leaky, masked])
def test_every_24th_preview(previews, estimated):
    """museval takes seconds for each, and as long again for each other solver: all of them would be half an hour."""
    for path in sorted(previews.glob("*/*.stem.mp4"))[::24]:
        references = preview(path)
        if references.any(axis=(1, 2)).all():
            assert_as_museval(references, estimated(references))


# Frames


@pytest.mark.parametrize(
    "win, hop",
    [
        (RATE, RATE // 2),  # overlapping
        (20000, 30000),  # with gaps
        (30000, 13001),  # no common measure
        (60000.0, 1.5 * 20001),  # fractions
        (60000, 60000),  # longer than what is transformed at a time
        (1e9, RATE),
        (np.inf, np.inf),  # the whole signal
    ],
)
def test_frames_are_museval_s(song, win, hop):
    references = mono(two(song))
    assert_as_museval(references, leaky(references), win, hop)


@pytest.mark.parametrize("win", [100, 511, 512, 2000])
def test_short_frames(song, win):
    references = mono(two(song))[:, :6100]
    assert_as_museval(references, leaky(references), win, win)


@given(
    st.integers(1, 5000),
    st.one_of(st.integers(1, 3000), st.floats(1, 3000)),
    st.one_of(st.integers(1, 3000), st.floats(1, 3000)),
)
def test_frames_of_any_length(samples, win, hop):
    theirs = museval.metrics.Framing(win, hop, samples)
    assert _frames(samples, win, hop) == [(frame.start, frame.stop) for frame in theirs]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("samples", [1, 100, 512, 1000, 3000, 30000])
def test_very_short_audio(song, samples, channels):
    """Shorter than a frame, and shorter than the filters."""
    references = two(song)[:, RATE : RATE + samples, :channels]
    assert_as_museval(references, leaky(references))


def test_no_audio_at_all():
    scores = evaluate(np.zeros((2, 0, 2)), np.zeros((2, 0, 2)))
    assert all(score.shape == (2, 1) and np.isnan(score).all() for score in scores)


# Silence


@pytest.mark.parametrize("which", ["reference", "estimate"])
def test_a_silent_passage(song, which):
    references = mono(two(song))
    estimates = leaky(references)
    (references if which == "reference" else estimates)[0, 30000:100000] = 0.0
    scores = assert_as_museval(references, estimates)
    assert np.isnan(scores[:, :, 1]).all() and np.isfinite(scores[:, :, [0, 2]]).all()


def test_a_frame_in_antiphase_is_silent_as_in_museval(song):
    references = two(song)
    estimates = leaky(references)
    references[0, :RATE, 1] = -references[0, :RATE, 0]
    scores = assert_as_museval(references, estimates)
    assert np.isnan(scores[:, :, 0]).all() and np.isfinite(scores[:, :, 1:]).all()


@pytest.mark.parametrize("source", [0, 1])
@pytest.mark.parametrize("which", ["reference", "estimate"])
def test_a_target_that_is_silent_throughout(song, which, source):
    references = two(song)
    estimates = leaky(references)
    (references if which == "reference" else estimates)[source] = 0.0
    with pytest.raises(ValueError, match="non-silent"):
        museval_scores(references, estimates, RATE, RATE)
    for win, hop in ((RATE, RATE), (RATE, RATE // 2)):
        frames = museval.metrics.Framing(win, hop, references.shape[1]).nwin
        for score in evaluate(references, estimates, win, hop):
            assert score.shape == (2, frames) and np.isnan(score).all()


def test_a_silent_channel(song):
    """Panned hard: its rows of the equations are zero."""
    references = two(song)
    estimates = leaky(references)
    references[0, :, 1] = 0.0
    assert np.isfinite(assert_as_museval(references, estimates)).all()


# Estimates and references that make it difficult


@pytest.mark.parametrize("perfect", [[0], [1], [0, 1]])
def test_an_estimate_equal_to_its_reference(song, perfect):
    references = two(song)
    estimates = leaky(references)
    estimates[perfect] = references[perfect]
    scores = assert_as_museval(references, estimates)
    assert np.isposinf(scores[0][perfect]).all()
    assert np.isfinite(scores[1:]).all() and (scores[1:, perfect] > 100).all()


def test_the_mixture_as_every_estimate(song):
    """No artifacts: the estimate is the sum of the references."""
    references = two(song)
    scores = assert_as_museval(references, references.sum(axis=0) / np.array([2, 3])[:, None, None])
    assert (scores[3] > 100).all() and (scores[2] < ALIKE).all()


def test_a_centred_track(song):
    """Two equal channels: museval's matrix is singular to the last bit, and so is ours."""
    references = mono(two(song)).repeat(2, axis=2)
    assert np.isfinite(assert_as_museval(references, leaky(references))).all()


def test_references_that_are_equal(song):
    references = two(song)
    references[1] = references[0]
    assert np.isfinite(assert_as_museval(references, leaky(two(song)))).all()


def band_limited(audio: np.ndarray, cutoff: float) -> np.ndarray:
    """Nothing above the cutoff (Hz), to the last bit."""
    spectra = np.fft.rfft(audio, axis=1)
    spectra[:, round(cutoff * audio.shape[1] / RATE) :] = 0.0
    return np.fft.irfft(spectra, audio.shape[1], axis=1)


def test_band_limited_audio_in_16_bits(song):
    """As a file holds it, its rounding fills the band."""
    references = np.round(32768 * band_limited(two(song), 11025)) / 32768
    assert np.isfinite(assert_as_museval(references, masked(references))).all()


@pytest.mark.parametrize("channels", ["mono", "stereo"])
def test_band_limited_references(song, channels):
    """The equations are singular: museval's SIR and SAR (and ISR of stereo) are what rounding makes them."""
    references, estimates = band_limited(two(song), 11025), masked(two(song))
    if channels == "mono":
        references, estimates = mono(references), mono(estimates)
    ours, theirs = np.stack(evaluate(references, estimates)), museval_scores(references, estimates, RATE, RATE)
    assert np.isfinite(ours).all()
    differences = difference(ours, theirs)
    assert differences[0] <= 1e-6
    assert channels == "stereo" or differences[1] <= 1e-4


def test_a_single_source(song):
    references = song[:1]
    scores = assert_as_museval(references, leaky(references))
    assert (scores[2] > 100).all()  # nobody interferes


# Properties


@pytest.fixture(scope="module")
def scored(song):
    references = mono(two(song))
    estimates = leaky(references)
    return references, estimates, np.stack(evaluate(references, estimates))


def test_sdr_is_its_formula(song):
    references = two(song)
    estimates = masked(references)
    scores = evaluate(references, estimates)
    for frame in range(3):
        part = slice(frame * RATE, (frame + 1) * RATE)
        true, error = (np.sum(x[:, part] ** 2, axis=(1, 2)) for x in (references, estimates - references))
        np.testing.assert_allclose(scores[0][:, frame], 10 * np.log10(true / error), atol=1e-9)


def test_louder_audio_scores_the_same(scored):
    references, estimates, scores = scored
    np.testing.assert_allclose(evaluate(30000 * references, 30000 * estimates), scores, atol=1e-6)


def test_gain_of_an_estimate_changes_neither_sir_nor_sar(scored):
    references, estimates, scores = scored
    louder = np.stack(evaluate(references, 3 * estimates))
    np.testing.assert_allclose(louder[2:], scores[2:], atol=1e-6)
    assert (np.abs(louder[:2] - scores[:2]) > 0.1).all()


def test_order_of_sources_and_channels(song):
    references = song[1:4, :30000]
    estimates = leaky(references)
    scores = np.stack(evaluate(references, estimates, 10000, 10000))
    order = [2, 0, 1]
    np.testing.assert_allclose(evaluate(references[order], estimates[order], 10000, 10000), scores[:, order], atol=1e-5)
    swapped = evaluate(references[..., ::-1], estimates[..., ::-1], 10000, 10000)
    np.testing.assert_allclose(swapped, scores, atol=1e-5)


def test_interference_and_filtering_are_told_apart():
    """Known answers: white noise, a known share of the other source, of a filter and of noise."""
    random = np.random.default_rng(0)
    references, fresh = random.normal(size=(2, 4 * RATE, 1)), random.normal(size=(2, 4 * RATE, 1))
    scores = np.stack(evaluate(references, references + 0.1 * references[::-1], RATE, RATE))
    np.testing.assert_allclose(scores[2], 20, atol=0.5)
    assert (scores[1] > 25).all() and (scores[3] > 100).all()
    delayed = np.roll(references, 5, axis=1)
    scores = np.stack(evaluate(references, references + 0.1 * delayed, RATE, RATE))
    np.testing.assert_allclose(scores[1], 20, atol=0.5)
    assert (scores[2] > 30).all() and (scores[3] > 30).all()
    scores = np.stack(evaluate(references, references + 0.1 * fresh, RATE, RATE))
    np.testing.assert_allclose(scores[3], 20, atol=0.5)
    assert (scores[1:3] > 25).all()


def test_what_goes_in(scored):
    """Single precision, integers, two dimensions; nothing is written into."""
    references, estimates, scores = scored
    integers = [np.round(20000 * audio).astype(np.int16) for audio in scored[:2]]
    exact = evaluate(*[audio.astype(np.float64) for audio in integers])
    np.testing.assert_array_equal(evaluate(*integers), exact)
    np.testing.assert_array_equal(evaluate(*[audio.astype(np.float32) for audio in integers]), exact)
    before = references.copy(), estimates.copy()
    np.testing.assert_allclose(evaluate(references[..., 0], estimates[..., 0]), scores, rtol=1e-9)
    np.testing.assert_array_equal(references, before[0])
    np.testing.assert_array_equal(estimates, before[1])


def test_shapes_that_differ_are_refused():
    audio = np.ones((2, 1000, 2))
    with pytest.raises(DataError, match="separate and score the same track"):
        evaluate(audio, audio[:, :-1])


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", [0, 1])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_samples_that_are_not_finite_are_refused(scored, where, value):
    audio = [array.copy() for array in scored[:2]]
    audio[where][1, 5000] = value
    with pytest.raises(DataError, match="not finite"):
        evaluate(*audio)


@pytest.mark.parametrize("hop", [RATE, RATE // 2])
def test_memory_hardly_grows_with_the_track(hop):
    peaks, sizes = [], []
    for seconds in (10, 40):
        audio = np.random.default_rng(0).normal(size=(4, seconds * RATE, 1)).astype(np.float32)
        tracemalloc.start()
        try:
            evaluate(audio[:2], audio[2:], RATE, hop)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        sizes.append(audio.nbytes)
    assert peaks[1] - peaks[0] < 0.1 * (sizes[1] - sizes[0])
