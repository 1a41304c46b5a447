"""`svs inspect`: what it says of a folder, and when its exit code is not 0."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.command import call, wav

pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture
def songs(tmp_path):
    """Three songs of an album each, of odd stems."""
    for number, name in enumerate(("one", "two", "three")):
        random = np.random.default_rng(number)
        for stem in ("lead vox", "band"):
            wav(tmp_path / "songs" / f"album {name}" / name / f"{stem}.wav", random.normal(0, 0.1, (8000, 1)), 16000)
    return tmp_path / "songs"


def test_a_good_folder(songs, home, capsys):
    assert call("inspect", songs, "--project", home) == 0
    said = capsys.readouterr().out
    assert f"{songs}: layout folders, 3 tracks, 1.5 s" in said
    assert "train      1 tracks       0.5 s  16000 Hz, 1 channels" in said
    assert "valid      1 tracks" in said and "test       1 tracks" in said and "wrong" not in said


def test_what_is_wrong(songs, home, capsys):
    (songs / "album two" / "two" / "band.wav").write_text("no audio")
    assert call("inspect", songs, "--project", home) == 3
    ran = capsys.readouterr()
    assert "album two - two: " in ran.out and "band.wav: expected a wav file" in ran.out
    assert "there is no" in ran.out
    assert "2 problems at which the pipeline would stop" in ran.err and ran.err.count("error: ") == 1


def test_the_layout_is_named(songs, home, capsys):
    assert call("inspect", songs, "--layout", "mir1k", "--project", home) == 3
    assert "no tracks; the layout mir1k expects SINGER_SONG_CLIP.wav files" in capsys.readouterr().err
    assert call("inspect", songs, "--layout", "nope", "--project", home) == 2
    assert "nope: no such layout; expected auto or one of" in capsys.readouterr().err


def test_the_data_sets_of_the_project(songs, home, capsys):
    """Without a folder: every set, and what two of them share."""
    random = np.random.default_rng(0)
    for stem in ("vocals", "band"):  # the vocals of the song `one` of the first set
        wav(home / "choir" / "solo" / f"{stem}.wav", random.normal(0, 0.1, (8000, 1)), 16000)
    sets = ["profile=own", f"profiles.own.download.path={songs}", "download.sets.choir.path=choir"]
    words = [word for one in sets for word in ("-S", one)]
    assert call("inspect", *words, "-S", "download.sets.choir.split.by=test", "--project", home) in (0, 3)
    ran = capsys.readouterr()
    assert f"{songs}: layout folders, 3 tracks" in ran.out and f"{home / 'choir'}: layout folders, 1 tracks" in ran.out
    trained = "solo" in ran.out.split("what is wrong")[-1]
    one = next(line for line in ran.out.splitlines() if line.startswith("album one - one"))
    assert trained == (one.split()[4] != "test")
    # Nobody is scored on the choir: its song may be that of another set.
    assert (
        call(
            "inspect", *words, "-S", "download.sets.choir.split.by=test", "-S", "download.scored=own", "--project", home
        )
        == 0
    )
    assert "has the decoded" not in capsys.readouterr().out
