"""The web page: its jobs, its HTML, its server, and the page in a real headless Chromium."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
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
from svs.app import server, work
from svs.app.work import Desk, Job, Wish
from svs.config.project import Project, find_project
from svs.errors import SettingsError, SVSError, UnavailableError
from svs.separators.base import Separator
from svs.services import recordings
from svs.services.recordings import Result
from tests.helpers import REPOSITORY
from tests.helpers.command import assert_refused, svs
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
    desk = Desk(project, tmp_path / "results", 0.1)
    yield desk
    desk.close()


# Methods, limits, wishes


def test_methods_tell_what_is_missing(project: Project, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("SVS_OFFLINE", "1")
    monkeypatch.setenv("SVS_WEIGHTS", str(tmp_path / "weights"))
    missing = work.missing(dataclasses.replace(project, home=tmp_path))  # nothing was trained there
    trained_or_pretrained = separators.of_kind(separators.Kind.NET, separators.Kind.PRETRAINED)
    # Their weights come with svs, or with the packages that run them.
    packaged = {"spleeter_finetuned", "deepfilternet", "rnnoise", "speech_blend"}
    assert set(missing) == set(trained_or_pretrained) - packaged
    assert "model.onnx" in missing["cnn_separator"] and "dvc repro" in missing["cnn_separator"]
    assert str(tmp_path) not in missing["cnn_separator"]
    assert "weights" in missing["openunmix"] and "SVS_OFFLINE" not in missing["openunmix"]


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf")])
def test_impossible_limits_are_refused(project: Project, tmp_path: Path, minutes: float):
    with pytest.raises(SettingsError, match="--max-minutes"):
        Desk(project, tmp_path, minutes)


@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        (None, {}, "no song yet"),
        ("song.wav", {"methods": ()}, "No method is chosen"),
        ("song.wav", {"start": -1.0}, "start: expected seconds from 0"),
        ("song.wav", {"start": 100.0}, "choose an earlier start"),
        ("song.wav", {"duration": -1.0}, "duration: expected seconds"),
        ("song.wav", {"duration": float("nan")}, "duration: expected seconds"),
        ("song.wav", {"codec": "exe"}, "no such format"),
        ("song.wav", {"methods": ("magic",)}, "no such method"),
        ("notes.mp3", {}, "no audio or video file"),
        ("empty.wav", {}, "0 bytes"),
        ("nan.wav", {}, "NaN or infinity at 0.500 s"),
        ("long.wav", {"duration": 0.0}, "the passage is longer than 00:06"),
        ("long.wav", {"duration": 7.0}, "the passage is longer than 00:06"),
    ],
)
def test_impossible_wishes_are_refused_in_words(desk: Desk, folder: Path, file, change, says: str):
    job = _done(desk, dataclasses.replace(Wish(folder / file if file else None, ("mixture",)), **change))
    assert says in job.error and "\n" not in job.error and str(folder) not in job.error
    assert job.results == []


@pytest.mark.parametrize(("start", "duration", "seconds"), [(0.0, 5.0, 5), (4.0, 0.0, 4), (4.0, 30.0, 4)])
def test_a_short_passage_of_a_long_recording_is_welcome(desk: Desk, folder: Path, start, duration, seconds):
    job = _done(desk, Wish(folder / "long.wav", ("mixture",), start, duration))
    assert job.error is None and job.seconds == seconds


def _done(desk: Desk, wish: Wish) -> Job:
    job = desk.start("somebody", wish)
    assert job.wait(120)
    return job


def test_filters_are_laid_over_the_nets_alone(project: Project):
    changed = Wish(None, (), wiener=2, hpss=True).project(project).settings.separate
    assert (changed.of("cnn")["wiener"], changed.of("cnn")["hpss"]) == (2, True)
    assert changed.of("repet_sim") == project.settings.separate.of("repet_sim")


# Jobs


def test_a_job_leaves_files_that_add_up_to_the_mixture(desk: Desk, folder: Path):
    job = _done(desk, Wish(folder / "song.wav", ("mixture",), start=1.0, duration=1.0))
    assert job.error is None and not job.cancelled and job.share == 1 and job.seconds == 1
    place = job.folder / "song"
    mixture, vocals, accompaniment = (
        sf.read(place / name, dtype="float32")[0]
        for name in ("mixture.wav", "mixture/vocals.wav", "mixture/accompaniment.wav")
    )
    original, _ = sf.read(folder / "song.wav", dtype="float32")
    assert np.array_equal(mixture, original[RATE : 2 * RATE])
    assert np.abs(vocals + accompaniment - mixture).max() < 1e-6
    with zipfile.ZipFile(job.folder / work.ARCHIVE) as content:
        files = {str(path.relative_to(job.folder)): path for path in place.rglob("*") if path.is_file()}
        assert content.testzip() is None and set(content.namelist()) == set(files)
        assert content.read("song/mixture/vocals.wav") == files["song/mixture/vocals.wav"].read_bytes()


def test_a_reference_gives_scores(page_module, desk: Desk, folder: Path):
    job = _done(desk, Wish(folder / "song.wav", ("mixture",), reference=folder / "vocals.wav"))
    assert job.error is None and (job.folder / "song" / "mixture" / "scores.json").is_file()
    html = page_module.HTML.job(job)
    assert "SDR" in html and html.count("<td>") == 8


def test_one_method_that_fails_leaves_the_others_alone(page_module, desk: Desk, folder: Path, monkeypatch):
    def build(name, settings, home, device):
        if name == "hpss":
            raise UnavailableError("hpss: it has the hiccups")
        return original(name, settings, home)

    original = separators.build
    monkeypatch.setattr(separators, "build", build)
    job = _done(desk, Wish(folder / "song.wav", ("hpss", "mixture")))
    failed, made = job.results
    assert job.error is None and str(failed.error) == "hpss: it has the hiccups" and made.error is None
    html = page_module.HTML.job(job)
    assert "hiccups" in html and html.count("<audio") == 3


def test_a_defect_shows_no_traceback(desk: Desk, folder: Path, monkeypatch):
    monkeypatch.setattr(separators, "build", lambda *_: 1 / 0)
    job = _done(desk, Wish(folder / "song.wav", ("mixture",)))
    assert "ZeroDivisionError" in job.error and "Traceback" not in job.error and "\n" not in job.error


class _Slow(Separator):
    """Separates when it is told to."""

    name = "mixture"

    def __init__(self):
        self.reached, self.go = threading.Event(), threading.Event()

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


def test_a_job_that_is_cancelled_stops_and_leaves_no_estimate(desk: Desk, folder: Path, slow: _Slow):
    job = desk.start("somebody", Wish(folder / "song.wav", ("mixture",)))
    assert slow.reached.wait(30)
    desk.cancel("another")
    assert not job.cancelled
    desk.cancel("somebody")
    slow.go.set()
    assert job.wait(30) and job.cancelled and job.error is None and job.results == []
    assert [path.name for path in job.folder.rglob("*") if path.is_file()] == ["mixture.wav"]


def test_one_job_works_at_a_time_and_one_that_waits_can_be_cancelled(desk: Desk, folder: Path, slow: _Slow):
    first = desk.start("first", Wish(folder / "song.wav", ("mixture",)))
    assert slow.reached.wait(30)
    second, third = (desk.start(name, Wish(folder / "song.wav", ("mixture",))) for name in ("second", "third"))
    assert not second.wait(0.3) and "Waiting" in second.words
    desk.cancel("third")
    assert third.wait(5) and third.results == []
    slow.go.set()
    assert first.wait(30) and second.wait(30) and first.error is second.error is None


def test_a_voice_in_noise_has_other_files_and_the_options_of_its_command(desk: Desk, folder: Path):
    wish = Wish(folder / "song.wav", ("wiener_noise",), duration=1.0, kind="respiratory")
    settings = wish.project(desk.project).settings
    assert separators.options("wiener_noise", settings).search == 8.0
    job = _done(desk, wish)
    assert job.error is None
    written = {path.name: sf.read(path)[0] for path in job.results[0].folder.glob("*.wav")}
    assert sorted(written) == ["enhanced.wav", "residual.wav"]
    mixture, _ = sf.read(job.folder / job.song / "mixture.wav")
    np.testing.assert_allclose(written["enhanced.wav"] + written["residual.wav"], mixture, atol=1e-6)
    full, _ = sf.read(
        _done(desk, dataclasses.replace(wish, kind="song")).results[0].folder / "vocals.wav"
    )  # other options, full strength
    assert np.abs(written["residual.wav"]).sum() < np.abs(mixture - full).sum()


def test_a_form_with_mistakes_is_told_at_once(desk: Desk, folder: Path, slow: _Slow):
    desk.start("first", Wish(folder / "song.wav", ("mixture",)))
    assert slow.reached.wait(30)
    second = desk.start("second", Wish(None, ()))
    assert second.wait(5) and "no song" in second.error


def test_a_visitors_files_go_with_the_next_job_and_with_the_visitor(desk: Desk, folder: Path):
    wish = Wish(folder / "song.wav", ("mixture",), duration=0.2)
    first, second = _done(desk, wish), _done(desk, wish)
    assert not first.folder.exists() and second.folder.exists()
    desk.leave("somebody")
    assert not second.folder.exists()


def test_a_visitor_who_leaves_stops_the_job(desk: Desk, folder: Path, slow: _Slow):
    job = desk.start("somebody", Wish(folder / "song.wav", ("mixture",)))
    assert slow.reached.wait(30)
    desk.leave("somebody")
    slow.go.set()
    assert job.wait(30) and not job.folder.exists()


# HTML


@pytest.fixture
def page_module():
    pytest.importorskip("gradio", reason="no gradio: pip install 'svs[app]'")
    from svs.app import page as app_page

    return app_page


def test_what_comes_from_outside_is_escaped(page_module, desk: Desk, folder: Path, tmp_path: Path):
    evil = '<img src=x onerror="alert(1)">'
    path = tmp_path / f"{evil}.wav"
    shutil.copy(folder / "song.wav", path)
    job = _done(desk, Wish(path, ("mixture",), duration=0.2))
    assert job.error is None
    job.results.append(Result(evil, evil, job.folder, error=SVSError(evil)))
    pages = [page_module.HTML.job(job)]
    job.error = evil
    pages.append(page_module.HTML.job(job))
    for html in pages:
        assert "&lt;img" in html and "<img src=x" not in html and 'onerror="' not in html


def test_progress_tells_share_method_and_time_left(page_module, desk: Desk, folder: Path, slow: _Slow, monkeypatch):
    job = desk.start("somebody", Wish(folder / "song.wav", ("mixture", "hpss")))
    assert slow.reached.wait(30)
    job.share = 0.4
    monkeypatch.setattr(Job, "elapsed", 60)
    html = page_module.HTML.job(job)
    assert "mixture (1 of 2)" in html and 'aria-valuenow="40"' in html and "01:00" in html and "01:30 left" in html


def test_medians_leave_missing_frames_out(page_module):
    assert page_module._median(np.array([1.0, np.nan, 3.0, np.inf])) == "2.00"
    assert page_module._median(np.array([np.nan])) == "–"


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


def test_without_gradio_one_line_says_what_to_install(monkeypatch, project: Project):
    monkeypatch.setattr("svs.runtime.extras.find_spec", lambda name: None)
    ran = svs("app", "--no-open", "--project", project.home)
    assert_refused(
        ran, r"^error: gradio is not installed; pip install 'svs\[app\]' installs it$", UnavailableError.exit_code
    )


class _Served:
    """`svs app` in a process of its own."""

    def __init__(self, temporary: Path, *arguments: str):
        temporary.mkdir(exist_ok=True)
        environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(REPOSITORY)}
        home = project_without_nets(temporary.parent / f"{temporary.name}.project")
        command = [sys.executable, "-m", "svs.cli", "app", "--no-open", "--project", str(home), *arguments]
        self.temporary = temporary
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
                urllib.request.urlopen(self.url + "favicon.ico").close()
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


def test_the_served_page_loads_nothing_from_outside(served: _Served):
    status, html, headers = served.get("")
    assert status == 200 and "<gradio-app" in html
    assert not re.search(r"""<(?:script|link)[^>]*(?:src|href)=["'](?:https?:)?//""", html)
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "http" not in headers["content-security-policy"]
    assert '"analytics_enabled":false' in html
    _, css, _ = served.get("theme.css")
    assert not re.search(r"""@import|url\(\s*["']?(?:https?:)?//""", css)


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("", {"Host": "evil.example"}, 400),
        ("", {"Host": "localhost.evil.example"}, 400),
        ("", {"Host": "["}, 400),
        ("", {"Host": "192.168.0.7:7860"}, 400),
        ("", {"Host": "localhost:1"}, 200),
        ("", {"Host": "[::1]:1"}, 200),
        ("", {"Origin": "http://evil.example"}, 403),
        ("", {"Origin": "null"}, 403),
        ("results/x/../../../etc/passwd", {}, 404),
        ("results/..%2F..%2Fuploads", {}, 404),
        ("results/", {}, 404),
        ("gradio_api/file=/etc/passwd", {}, 403),
        ("gradio_api/file=svs/../../etc/passwd", {}, 403),
        ("gradio_api/file=" + str(REPOSITORY / "params.yaml"), {}, 403),
        ("docs", {}, 404),
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
    for box in page.locator(".svs-method").all():
        box.locator("input").set_checked(box.locator(".label-text").inner_text() in methods)


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
    missing = page.get_by_text("models/unet_separator/model.onnx")
    assert not missing.is_visible()
    page.get_by_text("Not available here").click()
    missing.wait_for()
    page.locator("#svs-go").click()
    page.locator("[role=progressbar]").wait_for()
    page.locator("audio").first.evaluate("player => { player.mark = 1 }")  # as soon as a method is ready
    page.get_by_text("Ready in").wait_for()
    assert page.locator("audio").first.evaluate("player => player.mark") == 1  # a player that plays goes on
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
        assert content.testzip() is None and len(content.namelist()) == 9

    # Another job takes the place of this one.
    old = mixture.get_attribute("src")
    _choose(page, "mixture")
    page.get_by_label("MP3").check()
    page.get_by_label("Duration").fill("1")
    page.locator("#svs-go").click()
    page.locator("audio[src*='mixture.mp3']").first.wait_for()
    page.get_by_text("Ready in").wait_for()
    assert page.locator("audio").count() == 3
    assert page.request.get(page.url + old).status == 404


def test_refused_files_and_wishes_are_explained_in_words(page, folder: Path):
    status = page.locator("#svs-view")

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
    _drop(page, folder / "long.wav", says="00:08 · 8 kHz · mono")
    page.get_by_label("Duration").fill("0")
    refused("long.wav: the passage is longer than 00:06")
    page.get_by_label("Start").fill("100")
    refused("choose an earlier start")
    page.get_by_label("Start").fill("0")
    _choose(page)
    refused("No method is chosen")
    assert page.locator("audio").count() == 0


def test_cancel(page, folder: Path):
    _drop(page, folder / "song.wav", says="44.1 kHz · stereo")
    _choose(page, "repet_sim", "knn_median", "hpss", "mixture")
    page.locator("#svs-go").click()
    page.locator("[role=progressbar]").wait_for()
    assert page.locator("#svs-go").is_disabled()
    page.locator("#svs-stop").click()
    page.get_by_text("Cancelled.").wait_for()
    assert page.locator("#svs-go").is_enabled() and page.locator("#svs-stop").is_disabled()


def test_a_page_that_is_closed_leaves_no_results(page, served: _Served, folder: Path):
    _drop(page, folder / "song.wav", says="44.1 kHz · stereo")
    _choose(page, "repet_sim")
    page.locator("#svs-go").click()
    page.get_by_text("repet_sim:").wait_for()
    page.close()
    _until(lambda: not _results(served))


def test_a_files_name_is_text(page, folder: Path, tmp_path: Path):
    path = tmp_path / "${alert(1)} {{x}} <img src=x onerror=alert(2)>.wav"
    shutil.copy(folder / "song.wav", path)
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    _drop(page, path, says="44.1 kHz · stereo")
    _choose(page, "mixture")
    page.locator("#svs-go").click()
    page.get_by_text("Ready in").wait_for()
    assert page.locator("img[src=x]").count() == 0 and "alert(1)" in page.locator("#svs-view h2").inner_text()


def _results(served: _Served) -> list[Path]:
    return [path for path in served.temporary.glob("svs-app-*/results/**/*") if path.is_file()]


def _until(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


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
    page.get_by_text("Not available here").click()
    page.locator(".svs-missing").wait_for()
    page.evaluate("""document.querySelector('.svs-missing li').append(' models/' + 'long_name_'.repeat(20))""")
    assert page.evaluate("(e => e.scrollWidth <= e.clientWidth)(document.querySelector('.svs-missing'))")
    context.close()
