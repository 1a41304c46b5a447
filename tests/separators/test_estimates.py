"""Estimates of many tracks: the same bytes one after the other and side by side, and what an interruption leaves."""

from __future__ import annotations

import json
from functools import partial

import pytest

from svs import separators
from svs.data.dataset import Dataset
from svs.runtime.files import Scratch
from svs.separators import estimates
from svs.separators.estimates import separate_all, separate_tracks


@pytest.fixture(scope="module")
def data(tiny_set):
    return Dataset(*tiny_set)


def wavs(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.wav"))}


def test_side_by_side_gives_the_same_bytes(data, settings, tmp_path):
    build = partial(separators.build, "hpss", settings)
    tracks = data.manifest.tracks
    separate_tracks(data, tracks, build(), 1.0, tmp_path / "one")
    separate_tracks(data, tracks, build(), 1.0, tmp_path / "beside", build)
    assert wavs(tmp_path / "one") == wavs(tmp_path / "beside") and len(wavs(tmp_path / "one")) == 2 * len(tracks)


def test_a_request_is_kept_beside_the_estimates(data, settings, tmp_path):
    (track,) = data.manifest.split("test")
    separator = separators.build("mixture", settings)
    separate_tracks(data, [track], separator, 1.0, tmp_path, requests={track.name: {"chunk": 1.0}})
    found = estimates.place(tmp_path, track)
    assert sorted(path.name for path in found.iterdir()) == ["accompaniment.wav", "result.json", "vocals.wav"]
    assert json.loads((found / estimates.REQUEST).read_text()) == {"chunk": 1.0}


def test_what_is_finished_is_kept_for_the_next_run(data, settings, tmp_path, monkeypatch):
    (track,) = data.manifest.split("test")
    scratch = Scratch(tmp_path, "work", "1")
    separator = separators.build("mixture", settings)
    separate_tracks(data, [track], separator, 1.0, scratch.path)
    monkeypatch.setattr(estimates, "separate_to", None)
    assert separate_all(data, separator, 1.0, tmp_path / "done", scratch) == pytest.approx(track.seconds)
    assert wavs(tmp_path / "done") == wavs(scratch.path)


def test_an_error_leaves_no_half_of_a_track(data, settings, tmp_path, monkeypatch):
    (track,) = data.manifest.split("test")
    monkeypatch.setattr(estimates, "separate_to", lambda folder, *_: (folder.mkdir(), 1 / 0))
    with pytest.raises(ZeroDivisionError):
        separate_tracks(data, [track], separators.build("mixture", settings), 1.0, tmp_path)
    assert not any(path.is_file() for path in tmp_path.rglob("*")) and not estimates.place(tmp_path, track).exists()
