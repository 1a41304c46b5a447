"""What tests share: the option --slow, real previews where they are, small data sets and settings."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from svs.config import schema
from svs.data import inspection, locate
from svs.errors import UnavailableError
from tests.helpers import REPOSITORY, shared

# A folder of MUSDB18's 7-second previews; beside the repository where nothing else is said.
PREVIEWS = Path(os.environ.get("SVS_PREVIEWS", REPOSITORY.parent / "shared" / "data" / "musdb18-7"))


_GIVEN = {name: os.environ.get(name) for name in ("SVS_WEIGHTS", "SVS_OFFLINE")}

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    # A run in the background ignores Ctrl-C, and so would every program that the tests start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
if (
    hasattr(signal, "SIGHUP")
    and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    and threading.current_thread() is threading.main_thread()
):
    # And one under nohup the end of its terminal.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the slow tests too")
    parser.addoption("--until", type=float, help="no test begins after this time (seconds since 1970)")


_LONGEST = (
    "test_pipeline_again.py",
    "test_pipeline.py",
    "test_own_songs.py",
    "test_memory.py",
    "test_unet_separator.py",
    "test_loop.py",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--slow"):
        skip = pytest.mark.skip(reason="slow: run with --slow")
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(skip)
    # The files that take minutes first: at the end, all other cores would wait for the one that has the last of them.
    items.sort(key=lambda item: _LONGEST.index(item.path.name) if item.path.name in _LONGEST else len(_LONGEST))


@pytest.hookimpl(tryfirst=True)  # before its fixtures, which are what takes long
def pytest_runtest_setup(item: pytest.Item) -> None:
    until = item.config.getoption("--until")
    if until is not None and time.time() > until:
        pytest.skip("the time that was given to the tests (--until) is over")


@pytest.fixture(scope="session")
def previews() -> Path:
    """The folder of MUSDB18's previews (`train` and `test` of .stem.mp4 files)."""
    if not (PREVIEWS / "train").is_dir():
        pytest.skip(f"no MUSDB18 previews at {PREVIEWS}; name a folder with SVS_PREVIEWS")
    return PREVIEWS


@pytest.fixture(scope="session", autouse=True)
def _no_weights_of_others(tmp_path_factory: pytest.TempPathFactory):
    """No test depends on the weights that this user has, and none fetches any, unless it says so."""
    with pytest.MonkeyPatch.context() as patch:
        # One for all workers: the pipeline keeps the reason why a method could not run, which names it.
        patch.setenv("SVS_WEIGHTS", str(shared(tmp_path_factory) / "weights"))
        patch.setenv("SVS_OFFLINE", "1")
        yield


@pytest.fixture(scope="session")
def published_weights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with Deezer's weights of spleeter: those that the user has; with --slow they are fetched."""
    from svs.data import spleeter_weights
    from tests.helpers.spleeter import save_npz

    supplied = REPOSITORY / "models" / "weights" / "spleeter"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in _GIVEN.items():
            patch.delenv(name) if value is None else patch.setenv(name, value)
        if not spleeter_weights.at_hand(supplied) and not request.config.getoption("--slow"):
            pytest.skip("the weights of spleeter are not available; --slow fetches them")
        try:
            weights = spleeter_weights.load(supplied)
        except UnavailableError as error:
            pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("published")
    save_npz(folder / spleeter_weights.KEPT, weights)
    return folder


@pytest.fixture(scope="session")
def settings() -> schema.Settings:
    """The repository's own params.yaml."""
    return schema.load(REPOSITORY / "params.yaml")


@pytest.fixture(scope="session")
def small(settings: schema.Settings) -> schema.Settings:
    """Settings with spectrograms of 257 bins, so that networks are small."""
    representation = {"sample_rate": 22050, "frame_size": 512, "win_length": 512, "hop_length": 256}
    extract = settings.extract.model_copy(
        update={
            "masks": settings.extract.masks.model_copy(update=representation),
            "vad": settings.extract.vad.model_copy(update=representation),
        }
    )
    return settings.model_copy(update={"extract": extract})


@pytest.fixture(scope="session")
def tiny_set(settings: schema.Settings, tmp_path_factory: pytest.TempPathFactory):
    """Folder and manifest of a generated data set: 2 training, 1 validation, 1 test track of 3 s."""
    tiny = settings.download.tiny.model_copy(
        update={"train": 2, "valid": 1, "test": 1, "train_seconds": 3.0, "test_seconds": 3.0, "real_song": False}
    )
    download = settings.download.model_copy(update={"tiny": tiny})
    folder = locate.locate(download, 7, tmp_path_factory.mktemp("musdb"))
    return folder, inspection.inspect(download, 7, folder)


_SWITCHES = (
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
    """Chromium, headless; without it or without playwright, the test is skipped with that reason."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install 'svs[test]'")
    chromium = _chromium()
    if chromium is None:
        pytest.skip("no chromium on the PATH; name one with SVS_CHROMIUM")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=list(_SWITCHES))
        yield browser
        browser.close()
