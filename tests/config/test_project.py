"""Where a command finds its parameters, and what is laid over them."""

from __future__ import annotations

import pytest

from svs import separators
from svs.config.project import find_project
from svs.errors import SettingsError
from tests.helpers.command import REPOSITORY, project


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.delenv("SVS_PROJECT", raising=False)
    return project(tmp_path / "home")


def test_the_folder_given(home, monkeypatch):
    assert find_project(home).home == home
    monkeypatch.chdir(home.parent)
    assert find_project("home").home == home
    monkeypatch.setenv("HOME", str(home.parent))
    assert find_project("~/home").home == home
    assert find_project(home).path("models/x") == home / "models" / "x"


def test_the_environment(home, tmp_path, monkeypatch):
    monkeypatch.setenv("SVS_PROJECT", str(home))
    assert find_project().home == home
    other = project(tmp_path / "other")
    assert find_project(other).home == other


def test_the_working_directory_and_those_above(home, monkeypatch):
    below = home / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    # Parameters alone are anybody's: a checkout has the pipeline beside them.
    assert find_project().home == REPOSITORY
    (home / "dvc.yaml").touch()
    assert find_project().home == home


def test_the_checkout_that_svs_is_from(tmp_path, monkeypatch):
    monkeypatch.delenv("SVS_PROJECT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert find_project().home == REPOSITORY


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_no_project(name, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SettingsError, match=f"{name}: expected a folder that holds params.yaml"):
        find_project(tmp_path / name)
    monkeypatch.setenv("SVS_PROJECT", str(tmp_path / name))
    with pytest.raises(SettingsError, match=f"{name}: expected a folder that holds params.yaml"):
        find_project()


def test_overrides(home):
    came = find_project(
        home,
        [
            "separate.mixture.share=0.5",
            "separate.common.chunk = 12.5",
            "profile=full",
            "separate.repet_sim.variant=librosa",
            "methods.openunmix.needs=some where",
            "separate.mixture.share=0.75",
        ],
    ).settings
    assert (separators.options("mixture", came).share, came.separate.common.chunk, came.profile) == (0.75, 12.5, "full")
    assert (
        separators.options("repet_sim", came).variant == "librosa"
        and str(came.methods["openunmix"].needs) == "some where"
    )


def test_a_profile_is_laid_over_an_override(home):
    """What a profile says itself is changed there."""
    assert find_project(home, ["profiles.tiny.vad.epochs=3"]).settings.vad.epochs == 3


@pytest.mark.parametrize(
    "override, match",
    [
        ("seed", "'seed': expected KEY=VALUE"),
        ("=3", "expected KEY=VALUE"),
        ("a..b=3", "expected KEY=VALUE"),
        ("", "expected KEY=VALUE"),
        ("seed=[", "is not a value of YAML"),
        ("seed=three", "seed: "),
        ("seed=", "seed: "),
        ("magic=1", "magic: "),
        ("separate=1", "separate: "),
        ("profile=none", "profile: 'none'"),
    ],
)
def test_impossible_overrides(override, match, home):
    with pytest.raises(SettingsError, match=match) as caught:
        find_project(home, [override])
    assert "\n" not in str(caught.value)
