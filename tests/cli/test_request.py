"""The command line that stands for a request."""

from __future__ import annotations

import shlex
from pathlib import Path

from tests.helpers.command import svs


def test_the_command_of_a_request_asks_for_the_same(place, monkeypatch):
    from svs.cli import separate as cli_separate
    from svs.cli.request import Request

    asked = []
    monkeypatch.setattr(cli_separate, "run", lambda request, *_: asked.append(request))
    given = Request(
        songs=["-a b.wav", "it's.mp3", "~x"],
        tracks=["A - B"],
        methods=["hpss", "mixture"],
        output=Path("-out put"),
        start=1234.5678,
        duration=0.25,
        codec="flac",
        wiener=True,
        hpss=True,
        reference=Path("r.wav"),
        musdb=Path("m"),
        weights=Path("w"),
        overwrite=True,
        picture=False,
        project=Path("p"),
        overrides=["seed=3"],
    )
    for request in (given, Request(songs=["a.wav"]), Request(tracks=["x"])):
        words = shlex.split(request.command())
        assert words[:2] == ["svs", "separate"]
        assert svs(*words[1:]).code == 0
        came = asked.pop()
        assert [Path(song) for song in came.songs] == [Path(song) for song in request.songs]
        came.songs = request.songs
        assert came == request
