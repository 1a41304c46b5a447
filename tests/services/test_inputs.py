"""What is named to be separated: files beside svs's own results, standard input, and names that mean nothing."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from svs.errors import SettingsError
from svs.services import inputs
from svs.services.inputs import Input, open_inputs
from tests.helpers.command import music, wav


def named(*arguments, output=None):
    with open_inputs(list(map(str, arguments)), output) as (found, errors):
        return [str(one) for one in found], [str(error) for error in errors]


def test_results_are_no_recordings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.wav", "out/a/hpss/vocals.wav", "out/a/hpss/other.wav", "stems/vocals.wav"):
        wav(tmp_path / name, music(0.01))
    (tmp_path / "out/a/hpss/result.json").write_text("{}")
    expected = ["a.wav", "out/a/hpss/other.wav", "stems/vocals.wav"]
    assert named(".") == named("**/*.wav") == (expected, [])
    result = "out/a/hpss/vocals.wav"
    assert named(result, "a.wav") == (["a.wav", result], [])
    found, (error,) = named("out/a/hpss/voc*.wav")
    assert not found and "found only what svs separated before" in error


@pytest.mark.parametrize("content", ["{}", "no JSON", "[]", '{"files": 3}'])
def test_a_file_of_others_that_is_called_like_a_request(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wav(tmp_path / "song.wav", music(0.01))
    (tmp_path / "song.result.json").write_text(content)
    assert named(".") == (["song.wav"], [])


def test_a_name_as_long_as_a_file_system_takes(tmp_path, monkeypatch):
    """The request that could lie beside it would have a name that is too long."""
    monkeypatch.chdir(tmp_path)
    long = f"{'a' * 251}.wav"
    (tmp_path / long).touch()
    assert named(".") == ([long], [])


def test_what_means_nothing_does_not_stop_the_rest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.wav").touch()
    found, errors = named("b.wav", "a.wav", "https://example.org/c.wav")
    assert found == ["a.wav"]
    assert [error.partition(":")[0] for error in errors] == ["b.wav", "https"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_standard_input_is_a_file_while_it_is_needed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.wav").touch()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"sound")))
    with open_inputs(["-", "a.wav", "-"], None) as ((file, one), errors):
        assert not errors and file == Input(Path("a.wav"), "a")
        assert (str(one), one.name, one.path.read_bytes()) == ("stdin", "stdin", b"sound")
    assert not one.path.exists()


def test_standard_input_that_has_nothing(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    assert named("-") == (
        [],
        ["stdin: expected a recording, it is empty (0 bytes); see what should have written to it"],
    )
    monkeypatch.setattr("sys.stdin", Terminal())
    with pytest.raises(SettingsError, match="standard input is a terminal; pipe a recording"):
        named("-")


def test_standard_input_that_does_not_fit(tmp_path, monkeypatch):
    class Full(io.BytesIO):
        def read(self, *_):
            raise OSError(28, os.strerror(28))

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(Full()))
    monkeypatch.setattr(inputs.tempfile, "tempdir", str(tmp_path))
    _, (error,) = named("-")
    assert error.startswith(f"stdin: can't keep it in {tmp_path} (No space left on device); free some space or set TMP")
    assert list(tmp_path.iterdir()) == []
