"""Scores: museval's own figures, NaN where nothing sounds, and the dissertation's protocol as it was."""

from __future__ import annotations

import json
import os

import jsonschema
import musdb
import museval
import numpy as np
import pytest

from svs.audio.sources import ArraySource, WavSource
from svs.config.schema import Passage
from svs.data.dataset import Dataset, Manifest, Track
from svs.data.inspection import inspect
from svs.data.synthetic import write_stempeg_song
from svs.errors import DataError
from svs.evaluation.museval_json import DISSERTATION, MEASURES, PROTOCOLS, museval_json, read_scores
from svs.evaluation.scoring.score import bleed, evaluate, score_method, score_sources
from svs.evaluation.tables import bleed_metrics
from svs.stems import ACCOMPANIMENT, STREAMS, TARGETS
from tests.helpers.command import wav
from tests.helpers.datasets import listed

RATE = 8000  # of the noise: scores don't depend on it, time does


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The real song in MUSDB18-HQ's layout: folder, name, and its stems."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "train").mkdir()
    name = write_stempeg_song(folder / "test" / "song")
    (folder / "test" / "song").rename(folder / "test" / name)
    stems = {stream: WavSource(folder / "test" / name / f"{stream}.wav") for stream in STREAMS}
    stems = {stream: source.read(0, source.samples) for stream, source in stems.items()}
    stems["accompaniment"] = sum(stems[stem] for stem in ACCOMPANIMENT)
    return folder, name, stems


def noise(seconds=3.0, channels=2, seed=0) -> np.ndarray:
    """References (2, samples, channels)."""
    return np.random.default_rng(seed).normal(0, 0.1, (2, round(seconds * RATE), channels))


def disturbed(references: np.ndarray, seed=1) -> np.ndarray:
    leak = 0.3 * references[::-1] + 0.05 * np.random.default_rng(seed).normal(0, 0.1, references.shape)
    return references + leak


def sdr(true: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    """SDR of every second, by its formula."""
    count = len(true) // RATE
    true, error = (x[: count * RATE].reshape(count, -1) for x in (true, true - estimate))
    return 10 * np.log10(np.sum(true**2, axis=1) / np.sum(error**2, axis=1))


@pytest.mark.timeout(300)
def test_museval_says_the_same_of_a_real_song(real, settings, tmp_path):
    folder, name, stems = real
    estimates = {"vocals": 0.8 * stems["vocals"] + 0.2 * stems["accompaniment"]}
    estimates["accompaniment"] = stems["mixture"] - estimates["vocals"]
    (track,) = musdb.DB(root=str(folder), is_wav=True, subsets="test")
    assert track.name == name
    theirs = museval.eval_mus_track(track, estimates, output_dir=str(tmp_path))
    as_sources = [{target: ArraySource(audio[target], 44100) for target in TARGETS} for audio in (stems, estimates)]
    expected = {target["name"]: target["frames"] for target in theirs.scores["targets"]}
    assert set(expected) == set(TARGETS)
    written = read_scores(tmp_path / "test" / f"{name}.json")
    for engine in ("fast", "museval"):
        ours = score_sources(*as_sources, settings.score.model_copy(update={"engine": engine}), "bsseval")
        assert_museval_s(ours, expected, len(stems["vocals"]) // 44100)
        # And our JSON is what museval wrote, but for its last digit and the version.
        (tmp_path / "ours.json").write_text(museval_json(name, ours, settings.score))
        again = read_scores(tmp_path / "ours.json")
        for target in TARGETS:
            for measure in MEASURES:
                np.testing.assert_allclose(
                    np.minimum(again[target][measure], 60), np.minimum(written[target][measure], 60), atol=2e-4
                )


def assert_museval_s(ours, expected, seconds: int) -> None:
    for index, target in enumerate(TARGETS):
        assert len(expected[target]) == ours["SDR"].shape[1] == seconds
        for measure in MEASURES:
            figures = [float(frame["metrics"][measure]) for frame in expected[target]]
            # museval rounds to 5 decimals.  It adds the stems up in double precision, we in single.
            # Above 60 dB rounding decides (the estimates are sums of the stems: there are no artifacts).
            np.testing.assert_allclose(
                np.minimum(ours[measure][index], 60), np.minimum(figures, 60), atol=1e-4, err_msg=f"{target} {measure}"
            )


def test_sdr_of_the_floor_is_its_formula():
    references = noise()
    mixture = references.sum(axis=0)
    estimates = np.stack([mixture / 4, mixture * 3 / 4])
    scores = evaluate(references, estimates, RATE, RATE)
    assert set(scores) == set(MEASURES) and all(value.shape == (2, 3) for value in scores.values())
    for index in (0, 1):
        np.testing.assert_allclose(scores["SDR"][index], sdr(references[index], estimates[index]), atol=1e-6)
    # Independent noise of equal power: |v - (v + a)/4|^2 = 9/16 + 1/16 of |v|^2.
    np.testing.assert_allclose(scores["SDR"], -10 * np.log10(10 / 16), atol=0.3)


@pytest.mark.parametrize("which", ["reference", "estimate"])
@pytest.mark.parametrize("source", [0, 1])
def test_a_silent_second_is_nan_for_both_targets(which, source):
    references = noise()
    estimates = disturbed(references)
    silent = references if which == "reference" else estimates
    silent[source, RATE : 2 * RATE] = 0
    scores = evaluate(references, estimates, RATE, RATE)
    for measure in MEASURES:
        assert np.isnan(scores[measure][:, 1]).all()
        assert np.isfinite(scores[measure][:, [0, 2]]).all()


@pytest.mark.parametrize("which", ["reference", "estimate"])
@pytest.mark.parametrize("source", [0, 1])
def test_a_silent_track_is_nan_throughout(which, source):
    references = noise(2.6)
    estimates = disturbed(references)
    (references if which == "reference" else estimates)[source] = 0
    scores = evaluate(references, estimates, RATE, RATE)
    for measure in MEASURES:
        assert scores[measure].shape == (2, 2) and np.isnan(scores[measure]).all()


@pytest.mark.parametrize("engine", ["fast", "museval"])
def test_a_stem_in_antiphase_is_silent(engine):
    """Its channels sum to nothing, and museval takes that sum."""
    references = noise(2.6)
    references[0, :, 1] = -references[0, :, 0]
    scores = evaluate(references, disturbed(noise(2.6)), RATE, RATE, engine)
    assert all(scores[measure].shape == (2, 2) and np.isnan(scores[measure]).all() for measure in MEASURES)


def test_silence_gives_as_many_frames_as_sound():
    for seconds, hop in ((0.5, RATE), (1.0, RATE), (1.5, RATE // 2), (2.2, RATE)):
        references = noise(seconds)
        sounding = evaluate(references, disturbed(references), RATE, hop)
        references[0] = 0
        silent = evaluate(references, disturbed(references), RATE, hop)
        assert silent["SDR"].shape == sounding["SDR"].shape


def test_a_centred_mono_track_does_not_fail():
    """Two equal channels make museval's systems of equations singular."""
    references = noise(2.0, channels=1).repeat(2, axis=2)
    estimates = disturbed(references)
    estimates[..., 1] = estimates[..., 0]
    scores = evaluate(references, estimates, RATE, RATE)
    for index in (0, 1):
        np.testing.assert_allclose(scores["SDR"][index], sdr(references[index], estimates[index]), atol=1e-6)
    assert all(np.isfinite(value).all() for value in scores.values())


def test_linearly_dependent_sources_do_not_fail():
    """Both references the same: exactly singular."""
    references = noise(2.0)
    references[1] = references[0]
    scores = evaluate(references, disturbed(references), RATE, RATE)
    assert np.isfinite(scores["SDR"]).all()


def test_a_perfect_estimate(settings, tmp_path):
    references = noise(2.0)
    scores = evaluate(references, references.copy(), RATE, RATE)
    assert (scores["SDR"] > 100).all()
    (tmp_path / "perfect.json").write_text(museval_json("perfect", scores, settings.score))
    # museval has no infinity: it writes NaN.
    assert np.isnan(read_scores(tmp_path / "perfect.json")["vocals"]["SDR"]).all()


def test_shapes_that_differ_are_refused():
    references = noise()
    with pytest.raises(DataError, match="separate and score the same track"):
        evaluate(references, references[:, :-1], RATE, RATE)
    with pytest.raises(DataError):
        evaluate(references, references[..., :1], RATE, RATE)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("difference", [-4000, 4000])
def test_lengths_that_differ_are_refused(settings, protocol, difference):
    """Longer or shorter: nobody's estimate is cut or padded in silence."""
    audio = noise(2.0).astype(np.float32)
    references = {target: ArraySource(audio[index], RATE) for index, target in enumerate(TARGETS)}
    other = noise(2.0 + difference / RATE, seed=1).astype(np.float32)
    estimates = {target: ArraySource(other[index], RATE) for index, target in enumerate(TARGETS)}
    with pytest.raises(DataError):
        score_sources(references, estimates, settings.score, protocol)


# museval's JSON


def test_museval_reads_our_json(settings, tmp_path):
    references = noise(3.0)
    references[0, RATE : 2 * RATE] = 0
    scores = evaluate(references, disturbed(references), RATE, RATE)
    text = museval_json("A - B", scores, settings.score)
    store = museval.TrackStore("A - B")
    jsonschema.validate(json.loads(text), store.schema)
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "A - B.json").write_text(text)
    table = museval.json2df(json.loads(text), "A - B")
    assert len(table) == 2 * 3 * 4
    for index, target in enumerate(TARGETS):
        for measure in MEASURES:
            rows = table[(table.target == target) & (table.metric == measure)].sort_values("time")
            np.testing.assert_allclose(rows.score.astype(float), scores[measure][index], atol=1e-5)
            assert rows.time.tolist() == [0, 1, 2]
    gathered = museval.EvalStore()
    gathered.add_eval_dir(str(tmp_path))
    medians = gathered.agg_frames_tracks_scores()
    for index, target in enumerate(TARGETS):
        for measure in MEASURES:
            assert medians[target][measure] == pytest.approx(np.nanmedian(scores[measure][index]), abs=1e-4)
    back = read_scores(tmp_path / "test" / "A - B.json")
    for index, target in enumerate(TARGETS):
        for measure in MEASURES:
            np.testing.assert_allclose(back[target][measure], scores[measure][index], atol=1e-5)


@pytest.mark.parametrize("content", [None, "", "{}", '{"targets": [{"name": "vocals"}]}', '{"targets": [1]}'])
def test_a_damaged_json_is_a_data_error(tmp_path, content):
    path = tmp_path / "scores.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match="scores.json"):
        read_scores(path)


# The dissertation's protocol


class Watched(ArraySource):
    """A source that remembers what was read of it."""

    read_from = None

    def read(self, start, stop):
        self.read_from = (start, stop)
        return super().read(start, stop)


def sources(seconds: float, kind=Watched) -> tuple[dict, dict]:
    references = noise(seconds).astype(np.float32)
    estimates = disturbed(references).astype(np.float32)
    return tuple(
        {target: kind(audio[index], RATE) for index, target in enumerate(TARGETS)} for audio in (references, estimates)
    )


@pytest.mark.parametrize("seconds, first, last", [(33, 30, 33), (93, 30, 90), (30, 0, 30), (5, 0, 5)])
def test_passage_of_the_dissertations_protocol(settings, monkeypatch, seconds, first, last):
    """What is read, and what reaches museval; the scoring itself would take a minute here."""
    from svs.evaluation.scoring import score

    seen = {}

    def remember(references, estimates, window, hop, engine):
        seen.update(references=references, estimates=estimates, window=window, hop=hop)
        return {}

    monkeypatch.setattr(score, "evaluate", remember)
    references, estimates = sources(seconds)
    score_sources(references, estimates, settings.score, DISSERTATION)
    for source in (*references.values(), *estimates.values()):
        assert source.read_from == (first * RATE, last * RATE)
    # Mono, at 22,050 Hz, frames of one second.
    assert seen["references"].shape == seen["estimates"].shape == (2, (last - first) * 22050, 1)
    assert seen["window"] == seen["hop"] == 22050
    # The estimate is resampled alone; the reference went through the STFT as well, which changes next to nothing.
    import soxr

    whole = estimates["vocals"].read(first * RATE, last * RATE).mean(axis=1)
    np.testing.assert_allclose(seen["estimates"][0, :, 0], soxr.resample(whole, RATE, 22050), atol=1e-5)
    whole = references["vocals"].read(first * RATE, last * RATE).mean(axis=1)
    difference = np.abs(seen["references"][0, :, 0] - soxr.resample(whole, RATE, 22050))
    assert 0 < difference[:-512].max() < 1e-4
    # The other protocol takes everything as it is.
    score_sources(references, estimates, settings.score, "bsseval")
    assert seen["references"].shape == (2, seconds * RATE, 2) and seen["window"] == RATE


def test_scores_by_the_dissertations_protocol(settings):
    references, estimates = sources(3, ArraySource)
    scores = score_sources(references, estimates, settings.score, DISSERTATION)
    assert scores["SDR"].shape == (2, 3) and np.isfinite(scores["SDR"]).all()
    for index, target in enumerate(TARGETS):
        single = [source[target].read(0, 3 * RATE).mean(axis=1)[:, None] for source in (references, estimates)]
        np.testing.assert_allclose(scores["SDR"][index], sdr(*single), atol=0.1)


def test_passage_of_our_protocol(settings):
    references, estimates = sources(4)
    chosen = settings.score.model_copy(update={"passage": Passage(start=1.0, duration=2.0)})
    scores = score_sources(references, estimates, chosen, "bsseval")
    assert references["vocals"].read_from == estimates["accompaniment"].read_from == (RATE, 3 * RATE)
    assert scores["SDR"].shape == (2, 2)
    late = settings.score.model_copy(update={"passage": Passage(start=4.0, duration=None)})
    with pytest.raises(DataError, match="ends before second 4.0"):
        score_sources(references, estimates, late, "bsseval")


# A method


@pytest.fixture(scope="module")
def scored(tmp_path_factory, settings):
    """A data set with one short test track, and estimates of it."""
    root = tmp_path_factory.mktemp("scored")
    random = np.random.default_rng(3)
    for subset, track in (("train", "one"), ("train", "two"), ("test", "a test track")):
        stems = {stem: random.normal(0, 0.05, (round(1.5 * RATE), 2)) for stem in ("vocals", *ACCOMPANIMENT)}
        stems["mixture"] = sum(stems.values())
        for name, audio in stems.items():
            wav(root / "music" / subset / track / f"{name}.wav", audio, RATE)
    for target, share in (("vocals", 0.25), ("accompaniment", 0.75)):
        wav(root / "estimates" / "test" / "a test track" / f"{target}.wav", share * stems["mixture"], RATE)
    return Dataset(root / "music", inspect(listed(settings.download, "two"), 1, root / "music")), root / "estimates"


def contents(folder) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor")
def test_one_process_or_two_give_the_same_files(scored, settings, tmp_path):
    dataset, estimates = scored
    score_method(dataset, estimates, settings.score, tmp_path / "two", "floor")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        score_method(dataset, estimates, settings.score, tmp_path / "one", "floor")
    finally:
        os.sched_setaffinity(0, before)
    assert set(contents(tmp_path / "one")) == {
        f"{folder}/test/a test track.json" for folder in (*PROTOCOLS, "bleed", "rulers")
    }
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_what_is_scored_is_not_scored_again(scored, settings, tmp_path):
    dataset, estimates = scored
    done = tmp_path / "bsseval" / "test" / "a test track.json"
    done.parent.mkdir(parents=True)
    done.write_text("finished")
    score_method(dataset, estimates, settings.score, tmp_path, "floor")
    assert done.read_text() == "finished"
    seed = tmp_path / "dissertation" / "test" / "a test track.json"
    came = read_scores(seed)
    assert np.isfinite(came["vocals"]["SDR"]).all()
    # Nothing left to do: not even the music is needed.
    elsewhere = Dataset(tmp_path / "nowhere", dataset.manifest)
    score_method(elsewhere, tmp_path / "nowhere", settings.score, tmp_path, "floor")


def test_missing_estimates_are_a_data_error(scored, settings, tmp_path):
    dataset, _ = scored
    with pytest.raises(DataError, match="vocals.wav"):
        score_method(dataset, tmp_path / "none", settings.score, tmp_path / "scores", "floor")


def test_only_test_tracks_are_scored(scored, settings, tmp_path):
    dataset, estimates = scored
    nothing = Manifest("tiny", [Track("t", "train", 10, RATE, 2, "", False)])
    score_method(Dataset(dataset.folder, nothing), estimates, settings.score, tmp_path, "floor")
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("share, level", [(0.25, -12.0412), (1.0, 0.0), (0.0, None)])
def test_leak_is_what_is_called_vocals_where_nobody_sings(settings, tmp_path, share, level):
    """Two of four seconds are silent, one but for a whisper of -90 dBFS; the level is that of the mixture's share."""
    vocals, rest = noise(4.0)
    vocals[:RATE] = 0
    vocals[RATE : 2 * RATE] = 3e-5
    mixture = vocals + rest
    estimates = {
        "vocals": ArraySource(share * mixture, RATE),
        "accompaniment": ArraySource((1 - share) * mixture, RATE),
    }
    found = bleed(ArraySource(vocals, RATE), estimates, settings.score)
    assert found["seconds"] == 2.0
    assert found["mixture"] == pytest.approx(np.square(mixture[: 2 * RATE]).sum(), rel=1e-5)
    (tmp_path / "bleed" / "test").mkdir(parents=True)
    for name in "ab":
        (tmp_path / "bleed" / "test" / f"{name}.json").write_text(json.dumps(found))
    metrics = bleed_metrics(tmp_path)
    assert metrics["seconds"] == 4.0
    assert metrics["level"] == (None if level is None else pytest.approx(level, abs=1e-4))


def test_no_silent_second_no_leak(settings, tmp_path):
    vocals, rest = noise()
    estimates = {"vocals": ArraySource(rest, RATE), "accompaniment": ArraySource(vocals, RATE)}
    found = bleed(ArraySource(vocals, RATE), estimates, settings.score)
    assert found == {"seconds": 0.0, "vocals": 0.0, "mixture": 0.0}
    (tmp_path / "bleed" / "test").mkdir(parents=True)
    (tmp_path / "bleed" / "test" / "a.json").write_text(json.dumps(found))
    assert bleed_metrics(tmp_path) == {"level": None, "seconds": 0.0}
