"""The menu of `svs separate`, driven through a pseudo-terminal as a person at a keyboard does."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest
import yaml

from tests.helpers.command import REPOSITORY, below, music, project, read, svs, wav, whole

ENTER, DOWN, SPACE, INTERRUPT, END, ERASE = "\r", "\x1b[B", " ", "\x03", "\x04", "\x7f" * 40
_CODES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[()][A-Z0-9]|\r")


class Terminal:
    """A command in a pseudo-terminal of 40 by 160 characters."""

    def __init__(self, *words, cwd):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "svs.cli", *map(str, words)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=cwd,
            env={**os.environ, "TERM": "xterm", "PYTHONPATH": str(REPOSITORY), "PROMPT_TOOLKIT_NO_CPR": "1"},
            start_new_session=True,
        )
        os.close(slave)
        self.text, self._seen = "", 0

    def _more(self, seconds):
        if not select.select([self.master], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:  # the other end is closed
            return False
        self.text += data.decode(errors="replace")
        return bool(data)

    def shown(self):
        return _CODES.sub("", self.text)

    def answer(self, question, *keys, seconds=90):
        """Wait for a question, then press keys."""
        begun = time.monotonic()
        while question not in self.shown()[self._seen :]:
            assert self._more(0.2) and time.monotonic() - begun < seconds, self.shown()
        self._seen = self.shown().rindex(question) + len(question)
        for key in keys:
            time.sleep(0.15)  # a person is not faster
            os.write(self.master, key.encode())

    def ended(self, seconds=120):
        begun = time.monotonic()
        while self._more(0.2):
            assert time.monotonic() - begun < seconds, self.shown()
            if self.process.poll() is not None and not select.select([self.master], [], [], 0)[0]:
                break
        return self.process.wait(30)

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        os.close(self.master)


@pytest.fixture
def terminal():
    opened = []

    def start(*words, cwd):
        opened.append(Terminal(*words, cwd=cwd))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory, tiny_set):
    """A project whose data set is a tiny one that is there."""
    folder = project(tmp_path_factory.mktemp("project"))
    content = yaml.safe_load((folder / "params.yaml").read_text())
    content["profiles"]["sample"]["download"]["path"] = str(tiny_set[0])
    content["profile"] = "sample"
    (folder / "params.yaml").write_text(yaml.safe_dump(content))
    return folder


def printed_command(terminal):
    line = next(line for line in terminal.shown().splitlines() if line.startswith("svs separate "))
    return shlex.split(line)


def test_a_track(place, home, tiny_set, terminal):
    menu = terminal("separate", "--project", home, "--no-picture", "-m", "mixture", cwd=place)
    menu.answer("What shall be separated?", ENTER)  # a test track
    menu.answer("Track", ENTER)
    menu.answer("Methods", ENTER)  # the flag's choice is ticked
    menu.answer("Start in seconds", ERASE, "0.5", ENTER)
    menu.answer("Duration in seconds", "1.25", ENTER)
    menu.answer("Folder of the results", ERASE, "my results", ENTER)
    assert menu.ended() == 0, menu.shown()
    track = tiny_set[1].split("test")[0].name
    words = printed_command(menu)
    assert words == [
        "svs",
        "separate",
        "--track",
        track,
        "--method",
        "mixture",
        "--output",
        "my results",
        "--start",
        "0.5",
        "--duration",
        "1.25",
        "--no-picture",
        "--project",
        str(home),
    ]
    mixture, rate = read(tiny_set[0] / "test" / track / "mixture.wav")
    whole(place / "my results" / track / "mixture", mixture[round(0.5 * rate) : round(1.75 * rate)], rate)
    assert "BSS Eval v4" in menu.shown()
    before = {name: (place / name).stat().st_mtime_ns for name in below(place) if "/mixture/" in name}
    ran = svs(*words[1:])
    assert ran.code == 0 and "(was there already)" in ran.err
    assert {name: (place / name).stat().st_mtime_ns for name in before} == before


def test_a_recording_of_ones_own(place, home, terminal, monkeypatch):
    wav(place / "it's a song.wav", music(1.0))
    menu = terminal("separate", "--project", home, "--no-picture", "-m", "hpss", cwd=place)
    menu.answer("What shall be separated?", DOWN, ENTER)
    menu.answer("Path of the recording", "no such.wav", ENTER)
    menu.answer("there is no such file", ERASE, "it's a song.wav", ENTER)
    menu.answer("Methods", ENTER)
    assert "oracle" not in menu.shown()  # without the truth there is none
    menu.answer("Start in seconds", ERASE)
    menu.answer("for instance 30", "-1", ENTER, ERASE, "0", ENTER)  # there is no second -1
    menu.answer("Duration in seconds", ENTER)
    menu.answer("Folder of the results", ENTER)
    assert menu.ended() == 0, menu.shown()
    words = printed_command(menu)
    assert words == [
        "svs",
        "separate",
        "it's a song.wav",
        "--method",
        "hpss",
        "--output",
        "separated",
        "--no-picture",
        "--project",
        str(home),
    ]
    whole(place / "separated" / "it's a song" / "hpss", music(1.0), 44100)
    assert "(was there already)" in svs(*words[1:]).err


@pytest.mark.slow
def test_our_nets_are_asked_about_the_wiener_filter(place, home, terminal, tmp_path_factory):
    """And a net that is damaged is told in one line."""
    wav(place / "a.wav", music(0.5))
    net = tmp_path_factory.mktemp("trained") / "project"
    shutil.copytree(home, net)
    (net / "models" / "cnn_separator").mkdir(parents=True)
    (net / "models" / "cnn_separator" / "model.onnx").write_text("no net")
    (net / "models" / "cnn_separator" / "model.json").write_text('{"val_loss": 0.5, "best_epoch": 1, "epochs": 1}')
    menu = terminal("separate", "--project", net, cwd=place)
    menu.answer("What shall be separated?", DOWN, ENTER)
    menu.answer("Path of the recording", "a.wav", ENTER)
    menu.answer("Methods", " ", DOWN, " ", ENTER)  # cnn_separator in place of the net in the package
    menu.answer("Start in seconds", ENTER)
    menu.answer("Duration in seconds", ENTER)
    menu.answer("Folder of the results", ENTER)
    menu.answer("Wiener filter", "y")
    assert menu.ended() == 5
    assert "--wiener" in printed_command(menu)
    assert "error: " in menu.shown() and "not a model that ONNX Runtime" in menu.shown()
    assert "Traceback" not in menu.shown()
    assert "unet_separator: U-Net on the stereo spectrogram of whole passages" in menu.shown()
    assert menu.shown().count("(not trained)") >= 4
    assert not (place / "separated").exists()


def test_leaving_the_menu(place, home, terminal):
    menu = terminal("separate", "--project", home, cwd=place)
    menu.answer("What shall be separated?", INTERRUPT)
    assert menu.ended() == 130
    assert "Traceback" not in menu.shown() and os.listdir(place) == []


@pytest.mark.parametrize("key", [INTERRUPT, END])
def test_without_a_data_set_a_path_is_asked_for(key, place, terminal, tmp_path_factory):
    folder = project(tmp_path_factory.mktemp("project"))
    content = yaml.safe_load((folder / "params.yaml").read_text())
    content["profile"] = "full"
    (folder / "params.yaml").write_text(yaml.safe_dump(content))
    menu = terminal("separate", "--project", folder, cwd=place)
    menu.answer("no test tracks to choose from")
    menu.answer("Path of the recording", key)
    assert menu.ended() == 130 and "Traceback" not in menu.shown()


def test_without_a_terminal_there_is_no_menu(place, home, monkeypatch):
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO())
    ran = svs("separate", "--project", home)
    assert ran.code == 2 and ran.lines() == [
        "error: name a song, a folder, or a --track; in a terminal `svs separate` shows a menu"
    ]
