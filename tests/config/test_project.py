"""Where a command finds its parameters, and what is laid over them."""

from __future__ import annotations

import re

import pytest

from svs import networks, separators
from svs.config import paths
from svs.config.project import find_model, find_project
from svs.errors import SettingsError, SVSError
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


def test_a_project_may_hold_only_what_it_changes(home):
    wired = find_project(home).settings
    (home / "params.yaml").write_text("separate:\n  mixture: {share: 0.5}\n")
    (home / "wiring.yaml").write_text("methods:\n  mixture: {needs: x}\n")
    came = find_project(home, ["separate.common.chunk=7"]).settings
    assert (separators.options("mixture", came).share, came.separate.common.chunk, came.seed) == (0.5, 7.0, wired.seed)
    assert list(came.methods) == ["mixture"] and came.models == wired.models


def test_a_net_is_looked_for_in_the_project_the_users_folder_and_the_package(tmp_path, monkeypatch):
    net, home = paths.MODELS / "weights/spleeter", tmp_path / "home"
    monkeypatch.setattr(paths, "user_data", lambda: tmp_path / "user")
    monkeypatch.setattr("svs.config.project.PACKAGE", tmp_path / "svs")
    places = [tmp_path / "svs" / net, tmp_path / "user" / net, home / net]
    assert find_model(home, net) == home / net  # where it would be put
    (home / net).mkdir(parents=True)
    (home / net / "README.md").touch()
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
        (place / "weights.npz").touch()
        assert find_model(home, net) == place


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
    "override, reason",
    [
        ("seed", "expected KEY=VALUE"),
        ("=3", "expected KEY=VALUE"),
        ("a..b=3", "expected KEY=VALUE"),
        ("", "expected KEY=VALUE"),
        ("seed=[", "'[' is not a value of YAML"),
        ("seed=three", "expected a valid integer (got 'three')"),
        ("seed=", "expected a valid integer (got None)"),
        ("separate=1", "expected the group Separate (got 1)"),
        ("profile=none", "'none' is not one of full, own, sample, tiny"),
        ("extract.masks.width=8", "extract.masks: width 8 is even"),
        ("magic=1", "there is no such parameter"),
        ("sed=3", "there is no such parameter; the nearest key is seed"),
        ("gates.tolerance=1", "gates: there is no such parameter; the nearest key is gate.tolerance"),
        ("download.on_bad_trak=skip", "there is no such parameter; the nearest key is download.on_bad_track"),
        ("download.pth=x", "there is no such parameter; the nearest key is download.path"),
        ("profiles.tiny.vad.epoch=3", "vad.epoch: there is no such parameter; the nearest key is profiles.tiny.vad.ep"),
    ],
)
def test_impossible_overrides(override, reason, home):
    """The message blames the override, though others stand before and after it."""
    with pytest.raises(SettingsError) as caught:
        find_project(home, ["seed=3", override, "vad.epochs=2"])
    assert str(caught.value).startswith(f"{override}: {reason}")
    assert "\n" not in str(caught.value) and "params.yaml" not in str(caught.value)


@pytest.mark.parametrize(
    "override, reason",
    [
        ("separate.repet_sim.rech=5", "there is no such parameter; the nearest key is separate.repet_sim.reach"),
        ("cnn_separator.gate=0.3", "cnn_separator: there is no such parameter; the nearest key is separate.cnn.gate"),
        (
            "separate.cnn_separator.gat=0.3",
            "there is no such parameter; the nearest key is separate.cnn_separator.gate",
        ),
        ("separate.mixture.share=2", "expected less than or equal to 1 (got 2)"),
        ("separate.magic=1", "magic: no such method; expected one of"),
    ],
)
def test_what_a_check_finds_is_blamed_on_the_override_too(override, reason, home):
    with pytest.raises(SettingsError) as caught:
        find_project(home, [override, "seed=3"], separators.validate)
    assert str(caught.value).startswith(f"{override}: {reason}")


@pytest.mark.parametrize(
    "old, new, reason",
    [
        ("seed: 20", "seed: x", "profile tiny: seed: expected a valid integer"),
        ("seed: 20", "seed: [x", "not valid YAML"),
        ("profile: tiny", "profile: tinny", "profile: 'tinny' is not one of full, own, sample, tiny"),
        ("share: 0.25", "share: 7", "separate.mixture.share: expected less than or equal to 1"),
    ],
)
def test_what_is_wrong_in_the_file_names_the_file(old, new, reason, home):
    """Whatever the overrides are."""
    text = (home / "params.yaml").read_text()
    assert old in text
    (home / "params.yaml").write_text(text.replace(old, new))
    with pytest.raises(SettingsError) as caught:
        find_project(home, ["vad.epochs=2"], separators.validate)
    assert re.match(rf"{re.escape(str(home / 'params.yaml'))}[,:] {re.escape(reason)}", str(caught.value))


FOREIGN = {
    "parameters of another project": "train:\n  lr: 0.1\nseed: 3\n",
    "an empty file": "",
    "a list": "- 1\n- 2\n",
    "broken YAML": "train: [1\n",
    "no text": b"\xff\xfe\x00binary",
    "groups of the same names, indented": "all:\n  profiles: 1\n  separate: 2\n",
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_another_project_of_dvc_is_passed_over(content, home, monkeypatch):
    (home / "dvc.yaml").touch()
    other = home / "other" / "deep"
    other.mkdir(parents=True)
    (other.parent / "dvc.yaml").write_text("stages: {}\n")
    (other.parent / "params.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.chdir(other)
    assert find_project().home == home  # the nearest of svs
    (home / "dvc.yaml").unlink()
    assert find_project().home == REPOSITORY
    with pytest.raises(SVSError, match=re.escape(str(other.parent / "params.yaml"))):
        find_project(other.parent, (), networks.validate)  # named, it is an error of that file


def test_broken_parameters_of_svs_are_not_passed_over(home, monkeypatch):
    (home / "dvc.yaml").touch()
    (home / "wiring.yaml").unlink()
    (home / "params.yaml").write_text((home / "params.yaml").read_text().replace("seed: 20", "seed: [20"))
    monkeypatch.chdir(home)
    with pytest.raises(SettingsError, match=r"home/params.yaml: not valid YAML"):
        find_project()
