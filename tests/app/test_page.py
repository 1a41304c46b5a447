"""The web page: what it does without a browser, its server, and the page in a real headless Chromium."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import stempeg

from svs import separators
from svs.app import guard, markup, server, work
from svs.app.work import Desk, Limits, Method, Piece, Progress, Wish
from svs.config.project import Project, find_project
from svs.errors import SettingsError, SVSError, UnavailableError
from svs.services import recordings
from tests.helpers import REPOSITORY
from tests.helpers.command import project as project_without_nets

RATE = 44100


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings that work, and ones that don't."""
    folder = tmp_path_factory.mktemp("recordings")
    for name, stream in (("song.wav", 0), ("vocals.wav", 4)):  # 3 s of a real song, and its true vocals
        subprocess.run(
            [
                "ffmpeg",
                "-v",
                "error",
                "-ss",
                "2",
                "-i",
                stempeg.example_stem_path(),
                "-map",
                f"0:{stream}",
                "-t",
                "3",
                folder / name,
            ],
            check=True,
        )
    (folder / "notes.mp3").write_text("this is a text, whatever it is called\n")
    (folder / "empty.wav").touch()
    sf.write(folder / "long.wav", 0.1 * np.sin(np.arange(8 * 8000) * 0.3), 8000)
    broken = np.full((RATE, 2), 0.1, dtype=np.float32)
    broken[RATE // 2, 0] = np.nan
    sf.write(folder / "nan.wav", broken, RATE, subtype="FLOAT")
    return folder


@pytest.fixture(scope="module")
def project() -> Project:
    return find_project(REPOSITORY)


@pytest.fixture
def desk(project: Project, tmp_path: Path, monkeypatch):
    """A desk that does not stop to draw."""
    monkeypatch.setattr(recordings, "draw", lambda path, *_: path.write_bytes(b"a picture"))
    desk = Desk(project, Limits(0.1), tmp_path / "results")
    yield desk
    desk.close()


# Methods, limits, wishes


def test_methods_are_all_but_the_oracles_and_tell_what_is_missing(project: Project, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("SVS_OFFLINE", "1")
    monkeypatch.setenv("SVS_WEIGHTS", str(tmp_path / "weights"))
    bare = work.methods(dataclasses.replace(project, home=tmp_path))  # nothing was trained there
    assert [method.name for method in bare] == [
        name for name in separators.methods() if name not in separators.of_kind(separators.Kind.ORACLE)
    ]
    missing = {method.name: method.missing for method in bare}
    assert missing["mixture"] is None and missing["repet_sim"] is None
    assert "model.keras" in missing["cnn_separator"] and "dvc repro" in missing["cnn_separator"]
    assert str(tmp_path) not in missing["cnn_separator"]
    texts = {method.name: method.text for method in bare}
    assert texts["hpss"][0] == "H" and texts["cnn_separator_valid"].startswith("cnn_separator ")
    assert "weights" in missing["openunmix"] and "SVS_OFFLINE" not in missing["openunmix"]
    assert work.default(bare) == ["repet_sim"]


def test_the_nets_are_chosen_where_they_are_trained():
    offered = [Method("cnn_separator", ""), Method("cnn_deep_separator", "", "not trained"), Method("repet_sim", "")]
    assert work.default(offered) == ["cnn_separator"]
    assert work.default([*offered, Method("unet_separator", "")]) == ["unet_separator"]


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf")])
def test_impossible_limits_are_refused(minutes: float):
    with pytest.raises(SettingsError, match="--max-minutes"):
        Limits(minutes)


@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        (None, {}, "no song yet"),
        ("song.wav", {"methods": ()}, "No method is chosen"),
        ("song.wav", {"start": -1.0}, "start: expected seconds from 0"),
        ("song.wav", {"duration": float("nan")}, "duration: expected seconds from 0"),
        ("song.wav", {"codec": "exe"}, "no such format"),
        ("song.wav", {"methods": ("magic",)}, "no such method"),
        ("notes.mp3", {}, "no audio or video file"),
        ("empty.wav", {}, "0 bytes"),
        ("long.wav", {"duration": 0.0}, "0:08 long, this page separates up to 0:06"),
        ("long.wav", {"duration": 7.0}, "0:07 long"),
    ],
)
def test_impossible_wishes_are_refused_in_words(folder: Path, tmp_path: Path, file, change, says: str):
    wish = dataclasses.replace(Wish(folder / file if file else None, ("mixture",)), **change)
    with pytest.raises(SVSError, match=says) as caught:
        wish.order(tmp_path, Limits(0.1))
    assert "\n" not in str(caught.value)
    assert str(folder) not in work.plain(str(caught.value), wish)


def test_a_short_passage_of_a_long_recording_is_welcome(folder: Path, tmp_path: Path):
    wish = Wish(folder / "long.wav", ("mixture",))
    assert dataclasses.replace(wish, duration=5.0).order(tmp_path, Limits(0.1)).duration == 5
    assert dataclasses.replace(wish, start=4.0, duration=0.0).order(tmp_path, Limits(0.1)).start == 4
    assert dataclasses.replace(wish, start=4.0, duration=30.0).order(tmp_path, Limits(0.1)).start == 4


def test_filters_are_laid_over_the_nets_alone(project: Project):
    changed = Wish(None, (), wiener=2, hpss=True).project(project).settings.separate
    assert (changed.of("cnn")["wiener"], changed.of("cnn")["hpss"]) == (2, True)
    assert changed.of("repet_sim") == project.settings.separate.of("repet_sim")
    assert Wish(None, (), wiener=999).project(project).settings.separate.of("cnn")["wiener"] == work.WIENER


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (7, "0:07"), (4.08, "4.1 s"), (205, "3:25"), (3723, "1:02:03"), (59.99, "1:00")]
)
def test_clock(seconds: float, text: str):
    assert work.clock(seconds) == text


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("A song.mp3", "A song"),
        ("...wav", "song"),
        ("Straße & Café (1).flac", "Straße & Café (1)"),
        ("a:b*c?.wav", "a_b_c_"),
        ("x" * 300 + ".wav", "x" * 120),
        ("line\nbreak.wav", "line_break"),
    ],
)
def test_any_file_gives_a_song_a_folder_of_its_own(name: str, expected: str):
    assert work._song_name(Path("/uploads") / name) == expected


# Runs


def test_a_run_leaves_files_that_add_up_to_the_mixture(desk: Desk, folder: Path):
    run = desk.start("somebody", Wish(folder / "song.wav", ("mixture",), start=1.0, duration=1.0))
    assert run.wait(60) and run.error is None and not run.cancelled
    assert set(run.files) == {
        "mixture.wav",
        "mixture/vocals.wav",
        "mixture/accompaniment.wav",
        "mixture/spectrogram.png",
    }
    mixture, vocals, accompaniment = (
        sf.read(run.files[name], dtype="float32")[0]
        for name in ("mixture.wav", "mixture/vocals.wav", "mixture/accompaniment.wav")
    )
    original, _ = sf.read(folder / "song.wav", dtype="float32")
    assert np.array_equal(mixture, original[RATE : 2 * RATE])
    assert np.abs(vocals + accompaniment - mixture).max() < 1e-6
    assert run.progress.share == 1 and run.seconds == 1


def test_a_reference_gives_scores(desk: Desk, folder: Path):
    run = desk.start("somebody", Wish(folder / "song.wav", ("mixture",), reference=folder / "vocals.wav"))
    assert run.wait(120) and run.error is None
    html = markup.summary(run)
    assert "SDR" in html and html.count("<td>") == 8
    assert "mixture/scores.json" in run.files


def test_one_method_that_fails_leaves_the_others_alone(desk: Desk, folder: Path, monkeypatch):
    def build(name, settings, home):
        if name == "hpss":
            raise UnavailableError("hpss: it has the hiccups")
        return original(name, settings, home)

    original = separators.build
    monkeypatch.setattr(separators, "build", build)
    run = desk.start("somebody", Wish(folder / "song.wav", ("hpss", "mixture")))
    assert run.wait(60) and run.error is None
    failed, made = run.pieces
    assert failed.error == "hpss: it has the hiccups" and made.result is not None
    assert "hiccups" in markup.card(run, failed, "text")


def test_a_defect_shows_no_traceback(desk: Desk, folder: Path, monkeypatch):
    monkeypatch.setattr(separators, "build", lambda *_: 1 / 0)
    run = desk.start("somebody", Wish(folder / "song.wav", ("mixture",)))
    assert run.wait(60)
    assert "ZeroDivisionError" in run.error and "Traceback" not in run.error and "\n" not in run.error


@pytest.mark.parametrize(
    ("file", "change", "says"),
    [("nan.wav", {}, "NaN or infinity at 0.500 s"), ("song.wav", {"start": 100.0}, "choose an earlier start")],
)
def test_what_only_decoding_shows_is_said_too(desk: Desk, folder: Path, file: str, change: dict, says: str):
    run = desk.start("somebody", dataclasses.replace(Wish(folder / file, ("mixture",)), **change))
    assert run.wait(60)
    assert says in run.error and run.error.startswith(file)


class _Slow:
    """Separates when it is told to."""

    name, needs_references = "mixture", False

    def __init__(self):
        self.reached, self.go = threading.Event(), threading.Event()

    def alignment(self, rate: int) -> int:
        return 1

    def context(self, rate: int) -> int:
        return 0

    def vocals(self, mixture, rate, references=None, wanted=None):
        self.reached.set()
        assert self.go.wait(30)
        return mixture * np.float32(0.5)


@pytest.fixture
def slow(monkeypatch) -> _Slow:
    slow = _Slow()
    monkeypatch.setattr(separators, "build", lambda *_: slow)
    yield slow
    slow.go.set()


def test_a_run_that_is_cancelled_stops_and_leaves_no_estimate(desk: Desk, folder: Path, slow: _Slow):
    run = desk.start("somebody", Wish(folder / "song.wav", ("mixture",)))
    assert slow.reached.wait(30) and desk.busy("somebody") and not desk.busy("another")
    desk.cancel("another")
    assert not run.cancelled
    desk.cancel("somebody")
    slow.go.set()
    assert run.wait(30) and run.cancelled and run.error is None and run.pieces == []
    assert set(run.files) <= {"mixture.wav"}


def test_one_run_works_at_a_time(desk: Desk, folder: Path, slow: _Slow):
    first = desk.start("first", Wish(folder / "song.wav", ("mixture",)))
    assert slow.reached.wait(30)
    second = desk.start("second", Wish(folder / "song.wav", ("mixture",)))
    assert not second.wait(0.3) and "Waiting" in second.progress.words
    slow.go.set()
    assert first.wait(30) and second.wait(30) and first.error is second.error is None


def test_a_visitors_earlier_results_are_replaced_and_only_the_last_are_kept(desk: Desk, folder: Path, monkeypatch):
    monkeypatch.setattr(work, "KEPT", 2)
    runs = []
    for visitor in ("a", "a", "b", "c"):
        runs.append(desk.start(visitor, Wish(folder / "song.wav", ("mixture",), duration=0.2)))
        assert runs[-1].wait(60)
    assert [run.folder.exists() for run in runs] == [False, False, True, True]
    assert [desk.run(run.token) is run for run in runs] == [False, False, True, True]
    assert desk.run("anything") is None


def test_the_zip_holds_every_file(desk: Desk, folder: Path):
    run = desk.start("somebody", Wish(folder / "song.wav", ("mixture",), duration=0.5, codec="flac"))
    assert run.wait(60)
    with zipfile.ZipFile(io.BytesIO(b"".join(server.archive(run)))) as content:
        assert content.testzip() is None
        assert set(content.namelist()) == {f"song/{name}" for name in run.files}
        assert content.read("song/mixture/vocals.flac") == run.files["mixture/vocals.flac"].read_bytes()


# HTML


def test_what_comes_from_outside_is_escaped(desk: Desk, folder: Path, tmp_path: Path):
    evil = '<img src=x onerror="alert(1)">'
    path = tmp_path / f"{evil}.wav"
    shutil.copy(folder / "song.wav", path)
    run = desk.start("somebody", Wish(path, ("mixture",), duration=0.2))
    assert run.wait(60) and run.error is None
    pages = [
        markup.summary(run),
        markup.card(run, run.pieces[0], evil),
        markup.alert(evil),
        markup.file_line(evil),
        markup.progress(Progress(0.5, evil), 1.0),
        markup.card(run, Piece("mixture", error=evil), evil),
    ]
    for html in pages:
        assert "<img src=x" not in html and 'onerror="' not in html


def test_progress_tells_share_and_method():
    html = markup.progress(Progress(0.42, "hpss (2 of 3): separating"), 65)
    assert "42 %" in html and "hpss (2 of 3)" in html and 'aria-valuenow="42"' in html and "1:05" in html


def test_medians_leave_missing_frames_out():
    assert markup.median([1.0, np.nan, 3.0, np.inf]) == "2.00"
    assert markup.median([np.nan]) == "–"


# The guard


@pytest.mark.parametrize(
    ("host", "header", "known"),
    [
        ("127.0.0.1", "127.0.0.1:7860", True),
        ("127.0.0.1", "localhost:7860", True),
        ("127.0.0.1", "[::1]:7860", True),
        ("127.0.0.1", "evil.example:7860", False),
        ("127.0.0.1", "localhost.evil.example", False),
        ("127.0.0.1", "", False),
        ("127.0.0.1", "192.168.0.7:7860", False),
        ("127.0.0.1", "[", False),
        ("box.lan", "BOX.lan:7860", True),
        ("0.0.0.0", "192.168.0.7:7860", True),
        ("0.0.0.0", "evil.example", False),
        ("::", "[fe80::1]:7860", True),
    ],
)
def test_only_its_own_names_are_answered(host: str, header: str, known: bool):
    assert guard.Guard(None, host).known(header) is known


@pytest.mark.parametrize(
    ("headers", "path", "status"),
    [
        ({}, "/", None),
        ({"origin": "http://127.0.0.1:1"}, "/gradio_api/queue/join", None),
        ({"origin": "http://evil.example"}, "/gradio_api/queue/join", 403),
        ({"origin": "null"}, "/", 403),
        ({"origin": "http://127.0.0.1:2"}, "/gradio_api/upload", 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, "/results/a/b", 403),
        ({}, "/gradio_api/proxy=http://evil.example", 404),
        ({}, "/gradio_api/file=http://evil.example/", 404),
        ({}, "/gradio_api/run-history/connect", 404),
        ({}, "/gradio_api/run/predict", None),
    ],
)
def test_requests_of_other_sites_and_for_other_sites_are_refused(headers: dict, path: str, status: int | None):
    refusal = guard.Guard(None).refusal({"host": "127.0.0.1:1", **headers}, path)
    assert (refusal and refusal[0]) == status


def test_gradios_page_is_cleaned():
    html = guard.cleaned(
        '<head><meta property="og:image"\ncontent="https://raw.example/a" /><meta charset="utf-8" />'
        '<link rel="preconnect" href="https://fonts.gstatic.com"><link rel="manifest" href="/m.json">'
        '<script src="https://cdnjs.example/x.js"></script><script>1</script></head>',
        "N",
        "<i>",
    )
    assert "http" not in html and "manifest" not in html
    assert html == '<head><meta charset="utf-8" /><script nonce="N">1</script><i></head>'


# The server


def test_a_taken_port_leads_to_the_next(monkeypatch):
    with server.listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with server.listen("127.0.0.1", port) as second:
            assert port < second.getsockname()[1] < port + server.PORTS
        monkeypatch.setattr(server, "PORTS", 1)
        with pytest.raises(SettingsError, match="taken"):
            server.listen("127.0.0.1", port)


@pytest.mark.parametrize(("host", "port"), [("no.such.host.invalid", 7860), ("192.0.2.1", 7860), ("127.0.0.1", 70000)])
def test_impossible_addresses_are_refused(host: str, port: int):
    with pytest.raises(SettingsError, match="--host|--port"):
        server.listen(host, port)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:1/"),
        ("0.0.0.0", "http://127.0.0.1:1/"),
        ("::", "http://[::1]:1/"),
        ("::1", "http://[::1]:1/"),
    ],
)
def test_addresses(host: str, url: str):
    assert server.address(host, 1) == url


def test_without_gradio_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(UnavailableError, match=r"pip install 'svs\[app\]'"):
        server.require()


def test_the_workplace_is_left_as_it_was(monkeypatch):
    before, directory = dict(os.environ), tempfile.gettempdir()
    with server.workplace() as place:
        assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False" and os.environ["HF_HUB_OFFLINE"] == "1"
        assert Path(tempfile.mkdtemp()).is_relative_to(place)
    assert not place.exists() and dict(os.environ) == before and tempfile.gettempdir() == directory


class _Served:
    """`svs app` in a process of its own."""

    def __init__(self, temporary: Path, *arguments: str):
        temporary.mkdir(exist_ok=True)
        environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(REPOSITORY)}
        home = project_without_nets(temporary.parent / f"{temporary.name}.project")
        command = [sys.executable, "-m", "svs.cli", "app", "--no-open", "--project", str(home), *arguments]
        self.log = temporary.parent / f"{temporary.name}.log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        deadline = time.monotonic() + 120
        while not (found := re.search(r"http://\S+/", self.log.read_text())):
            assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)
        self.url = found[0]
        while True:
            try:
                urllib.request.urlopen(self.url + "svs/icon.svg").close()
                break
            except OSError:
                assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
                time.sleep(0.1)

    def get(self, path: str, **headers: str) -> tuple[int, str, dict[str, str]]:
        request = urllib.request.Request(self.url + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read().decode(errors="replace"), dict(answer.headers)
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace"), dict(error.headers)

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory):
    pytest.importorskip("gradio", reason="no gradio: pip install 'svs[app]'")
    temporary = tmp_path_factory.mktemp("served") / "tmp"
    served = _Served(temporary, "--port", "0", "--max-minutes", "0.1")
    yield served
    if served.process.poll() is None:
        served.end()
    said = served.log.read_text()
    assert "Traceback" not in said and "Error" not in said
    assert list(temporary.iterdir()) == []  # ended by SIGTERM, with files of several separations


def test_the_served_page_refers_to_nothing_outside(served: _Served):
    status, html, headers = served.get("")
    assert status == 200 and "<gradio-app" in html
    assert not re.search(r"""(?:src|href|content)=["'](?:https?:)?//""", html)
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe-inline" not in headers["content-security-policy"].split("script-src")[1].split(";")[0]
    assert '"analytics_enabled":false' in html
    _, css, _ = served.get("theme.css")
    assert not re.search(r"""@import|url\(\s*["']?(?:https?:)?//""", css)


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("", {"Host": "evil.example"}, 421),
        ("", {"Origin": "http://evil.example"}, 403),
        ("results/x/../../etc/passwd", {}, 404),
        ("results/x/all.zip", {}, 404),
        ("svs/..%2F..%2Fwork.py", {}, 404),
        ("gradio_api/file=/etc/passwd", {}, 403),
        ("gradio_api/file=http://127.0.0.1:1/", {}, 404),
        ("docs", {}, 404),
        ("gradio_api/file=" + str(REPOSITORY / "params.yaml"), {}, 403),
    ],
)
def test_the_server_refuses(served: _Served, path: str, headers: dict, status: int):
    assert served.get(path, **headers)[0] == status


def test_an_address_of_others_is_warned_of_and_sigterm_clears_up(tmp_path: Path):
    pytest.importorskip("gradio", reason="no gradio: pip install 'svs[app]'")
    served = _Served(tmp_path / "tmp", "--host", "0.0.0.0", "--port", "0")
    assert "warning: --host 0.0.0.0" in served.log.read_text()
    assert len(list((tmp_path / "tmp").glob("svs-app-*"))) == 1
    assert served.end() == 128 + signal.SIGTERM
    assert list((tmp_path / "tmp").iterdir()) == []


# The page in a browser

SWITCHES = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
)


def _chromium() -> str | None:
    named = os.environ.get("SVS_CHROMIUM")
    return named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install 'svs[test]'")
    chromium = _chromium()
    if chromium is None:
        pytest.skip("no chromium on the PATH; name one with SVS_CHROMIUM")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=list(SWITCHES))
        yield browser
        browser.close()


@pytest.fixture
def page(browser, served: _Served):
    """The page, opened; at the end nothing may have been asked of anybody else, and nothing have gone wrong."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(60_000)
    outside, errors = [], []
    page.on(
        "request",
        lambda request: (
            outside.append(request.url)
            if not request.url.startswith((served.url, "data:", f"blob:{served.url}"))
            else None
        ),
    )
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(served.url)
    page.wait_for_selector("#svs-go")
    yield page
    context.close()
    assert outside == [] and errors == []


def _choose(page, *methods: str) -> None:
    for box in page.locator(".svs-method input").all():
        name = box.locator("xpath=ancestor::*[contains(@class, 'svs-method')]").get_attribute("id")
        wanted = name.removeprefix("svs-method-") in methods
        if box.is_enabled() and box.is_checked() != wanted:
            box.set_checked(wanted)


def _drop(page, path: Path, says: str) -> None:
    """Upload a song in place of the one before, and wait until the page has looked at it and says so."""
    from playwright.sync_api import TimeoutError

    field = page.locator("#svs-song input[type=file]")
    if field.count() == 0:
        page.get_by_label("Clear", exact=True).first.click()
    # The file's name is no sign: as a whole it stands there only while the upload runs, which may be a moment.
    told = page.locator("#svs-about").get_by_text(says)
    for _ in range(8):
        # On a busy machine the page may be shown before its scripts listen: then the field stays, and is filled again.
        if field.count():
            with contextlib.suppress(TimeoutError):
                field.set_input_files(path, timeout=5_000)
        with contextlib.suppress(TimeoutError):
            told.wait_for(timeout=15_000)
            return
    told.wait_for(timeout=5_000)


def test_separate_listen_and_download(page, folder: Path, tmp_path: Path):
    _drop(page, folder / "song.wav", says="44.1 kHz · stereo")
    _choose(page, "mixture", "repet_sim")
    assert page.locator("#svs-stop").is_disabled()
    # What can't run is out of the way.
    assert page.locator("#svs-methods .svs-missing").count() == 0
    page.locator("#svs-method-unet_separator").wait_for(state="hidden")
    page.get_by_text("Not available here").click()
    page.get_by_text("models/unet_separator/model.keras").wait_for()
    page.locator("#svs-go").click()
    page.locator("#svs-status [role=progressbar]").wait_for()
    page.locator("#svs-status").get_by_text("Ready in").wait_for()
    assert page.locator("audio").count() == 6 and page.locator(".svs-picture img").count() == 2
    page.wait_for_function("[...document.querySelectorAll('.svs-picture img')].every(i => i.naturalWidth > 500)")
    page.wait_for_function("[...document.querySelectorAll('audio')].every(a => Math.abs(a.duration - 3) < 0.01)")

    mixture, vocals = (
        page.get_by_label(f"Play the {name}", exact=True).first for name in ("mixture", "vocals by repet_sim")
    )
    mixture.evaluate("player => player.play()")
    page.wait_for_function("document.querySelector('audio').currentTime > 0.3")
    vocals.evaluate("player => player.play()")  # goes on where the other was, which falls silent
    page.wait_for_timeout(300)
    assert mixture.evaluate("player => player.paused") and not vocals.evaluate("player => player.paused")
    assert vocals.evaluate("player => player.currentTime") > 0.3

    heard = {}
    for name in ("mixture", "vocals by repet_sim", "accompaniment by repet_sim"):
        with page.expect_download() as download:
            page.get_by_label(f"Download the {name}", exact=True).first.click()
        heard[name], _ = sf.read(download.value.path(), dtype="float32")
    assert download.value.suggested_filename == "song - repet_sim - accompaniment.wav"
    assert heard["mixture"].shape == (3 * RATE, 2) and np.abs(heard["vocals by repet_sim"]).max() > 0.01
    assert np.abs(heard["vocals by repet_sim"] + heard["accompaniment by repet_sim"] - heard["mixture"]).max() < 1e-6
    with page.expect_download() as download:
        page.get_by_text("Download everything").click()
    with zipfile.ZipFile(download.value.path()) as content:
        assert content.testzip() is None and len(content.namelist()) == 7

    # Another run takes the place of this one.
    old = mixture.get_attribute("src")
    _choose(page, "mixture")
    page.get_by_label("MP3").check()
    page.get_by_label("Duration").fill("1")
    page.locator("#svs-go").click()
    page.locator("audio[src*='mixture.mp3']").first.wait_for()
    page.locator("#svs-status").get_by_text("Ready in").wait_for()
    assert page.locator("audio").count() == 3
    assert page.request.get(page.url + old).status == 404


def test_refused_files_and_wishes_are_explained_in_words(page, folder: Path):
    status = page.locator("#svs-status")

    def refused(says: str) -> None:
        page.locator("#svs-go").click()
        status.get_by_text(says).wait_for()
        assert status.locator("[role=alert]").count() == 1
        assert "Traceback" not in page.content() and "svs-app-" not in page.inner_text("body")

    _choose(page, "mixture")
    refused("There is no song yet")
    _drop(page, folder / "notes.mp3", says="it is no audio or video file")
    refused("notes.mp3: expected a recording")
    _drop(page, folder / "empty.wav", says="the file is empty (0 bytes)")
    refused("the file is empty (0 bytes)")
    _drop(page, folder / "nan.wav", says="44.1 kHz")
    refused("found NaN or infinity at 0.500 s")
    _drop(page, folder / "long.wav", says="0:08 · 8 kHz · mono")
    page.get_by_label("Duration").fill("0")
    refused("long.wav: the passage is 0:08 long, this page separates up to 0:06")
    page.get_by_label("Start").fill("100")
    refused("choose an earlier start")
    page.get_by_label("Start").fill("0")
    _choose(page)
    refused("No method is chosen")
    assert page.locator("audio").count() == 0


def test_too_large_an_upload_is_refused(page, folder: Path, tmp_path: Path):
    large = tmp_path / "large.wav"
    with open(large, "wb") as file:
        file.truncate(Limits(0.1).bytes + 10_000_000)
    page.set_input_files("#svs-song input[type=file]", large)
    page.get_by_role("alert").get_by_text("large.wav: the file is too large, 60 MB; this page takes").wait_for()
    assert page.locator("#svs-song").get_by_text("Drop File Here").is_visible()
    _drop(page, folder / "song.wav", says="44.1 kHz · stereo")
    assert page.get_by_role("alert").count() == 0


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
def test_nothing_is_cut_off(browser, served: _Served, width: int, scheme: str):
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page = context.new_page()
    page.goto(served.url)
    page.wait_for_selector("#svs-go")
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    light = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0] > 128")
    assert light == (scheme == "light")
    nameless = page.evaluate("""[...document.querySelectorAll('input:not([type=file]), button')].filter(e =>
        e.offsetParent && !(e.labels && e.labels.length) && !e.innerText && !e.ariaLabel && !e.title).length""")
    assert nameless == 0
    context.close()
