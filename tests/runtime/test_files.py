"""Files appear whole or not at all; fingerprints know settings, inputs and nothing else."""

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import pytest

from svs import networks
from svs.errors import DataError
from svs.runtime.files import (
    _HOST,
    Scratch,
    files_below,
    fingerprint,
    publish,
    read_json,
    sha256,
    write_json,
    write_text,
    written,
)
from tests.helpers import REPOSITORY

needs_grimp = pytest.mark.skipif(find_spec("grimp") is None, reason="no grimp: pip install 'svs[pipeline]'")


def names(folder):
    return sorted(item.name for item in folder.iterdir())


def tree(folder):
    return {str(item.relative_to(folder)): item.read_text() for item in folder.rglob("*") if item.is_file()}


def fill(folder, **texts):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text)


def test_a_file_appears_when_the_block_is_over(tmp_path):
    target = tmp_path / "new" / "folder" / "a.txt"
    with written(target) as temporary:
        temporary.write_text("all of it")
        assert not target.exists()
        assert temporary.name == "a.txt"  # writers that go by the suffix see it
    assert target.read_text() == "all of it"
    assert names(target.parent) == ["a.txt"]


def test_a_file_replaces_the_old_one(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with written(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
        assert (tmp_path / "a.txt").read_text() == "old"
    assert tree(tmp_path) == {"a.txt": "new"}


def test_a_folder_replaces_the_old_one_with_all_it_held(tmp_path):
    fill(tmp_path / "set", gone="x", kept="old")
    with written(tmp_path / "set") as temporary:
        fill(temporary / "deep", kept="new")
        assert tree(tmp_path / "set") == {"gone": "x", "kept": "old"}
    assert tree(tmp_path / "set") == {"deep/kept": "new"}
    assert names(tmp_path) == ["set"]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), PermissionError(errno.EACCES, "no")])
@pytest.mark.parametrize("as_folder", [False, True])
def test_an_exception_leaves_the_old_content_and_no_litter(tmp_path, error, as_folder):
    target = tmp_path / "target"
    if as_folder:
        fill(target, a="old")
    else:
        target.write_text("old")
    with pytest.raises(type(error)) as caught, written(target) as temporary:
        if as_folder:
            fill(temporary, a="half")
        else:
            temporary.write_text("half")
        raise error
    assert caught.value is error
    assert names(tmp_path) == ["target"]
    assert (target / "a" if as_folder else target).read_text() == "old"


def test_a_block_that_writes_nothing_is_an_error_and_keeps_the_old(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(FileNotFoundError), written(tmp_path / "a.txt"):
        pass
    assert tree(tmp_path) == {"a.txt": "old"}


@pytest.mark.parametrize(
    "number, said", [(errno.ENOSPC, "the disk is full"), (errno.EFBIG, "a file reached the limit")]
)
def test_a_full_disk_is_said_in_plain_words(tmp_path, number, said):
    (tmp_path / "a.txt").write_text("old")
    with (
        pytest.raises(DataError, match=rf"a\.txt: {said}.* \(\d+ MiB free\); free some space") as caught,
        written(tmp_path / "a.txt") as temporary,
    ):
        temporary.write_text("half")
        raise OSError(number, os.strerror(number))
    assert "\n" not in str(caught.value)
    assert tree(tmp_path) == {"a.txt": "old"}


@pytest.mark.parametrize("first", ["new", ".a.txt"])
def test_a_disk_without_room_for_a_folder(tmp_path, first, monkeypatch):
    """A new folder takes a block too, so a full disk or a quota may show there first."""
    made = Path.mkdir

    def refused(path, *arguments, **options):
        if path.name.startswith(first):
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        made(path, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(DataError, match=r"a\.txt: the quota of the disk is used up"):
        write_text(tmp_path / "new" / "a.txt", "all of it")
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_disk_that_is_really_full(tmp_path):
    with pytest.raises(DataError, match="the disk is full"), written(tmp_path / "a.txt") as temporary:
        os.symlink("/dev/full", temporary)
        with open(temporary, "w") as file:
            file.write("x" * 10_000)
    assert names(tmp_path) == []


def test_files_whose_long_names_begin_alike_are_written_at_once(tmp_path):
    """As threads do with the tracks of a data set."""
    targets = [tmp_path / (240 * "a" + end) for end in ("b", "c")]
    with written(targets[0]) as one, written(targets[1]) as two:
        two.write_text("two")
        one.write_text("one")
    assert [target.read_text() for target in targets] == ["one", "two"]


def test_a_reader_never_sees_half_a_file(tmp_path):
    """One thread writes versions, this one reads: always a whole version."""
    target = tmp_path / "a.txt"
    versions = [letter * 200_000 for letter in "ab"]
    write_text(target, versions[0])
    done = threading.Event()

    def write():
        for turn in range(40):
            write_text(target, versions[turn % 2])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not done.is_set():
        seen.add(target.read_text())
    writer.join()
    assert seen <= set(versions)


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="no waitid here")
def test_what_a_killed_process_left_goes_away_and_a_living_ones_stays(tmp_path):
    """Also while the killed one's parent has not yet collected it."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    left, living = (tmp_path / f".thing.{process}@{_HOST}.unfinished" for process in (child.pid, os.getppid()))
    for holder in (left, living):
        holder.mkdir()
    try:
        with written(tmp_path / "thing") as temporary:
            temporary.write_text("whole")
        assert not left.exists() and living.exists()
    finally:
        child.wait()


def test_json(tmp_path):
    nan, infinite = float("nan"), float("inf")
    write_json(tmp_path / "a.json", {"b": nan, "a": [1.5, infinite, (-infinite, "ü")], "c": {"z": None, 1: True}})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"a": [1.5, None, [None, "ü"]], "b": None, "c": {"1": True, "z": None}}
    assert text.index('"a"') < text.index('"b"') < text.index('"c"') and text.endswith("}\n")
    assert "ü" in text and "NaN" not in text and "Infinity" not in text
    write_json(tmp_path / "b.json", {"c": {1: True, "z": None}, "a": [1.5, infinite, (-infinite, "ü")], "b": nan})
    assert (tmp_path / "b.json").read_bytes() == (tmp_path / "a.json").read_bytes()
    assert read_json(tmp_path / "a.json")["a"][0] == 1.5


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no such file; run `dvc repro` first"),
        ("{", "not valid JSON .*delete it and run `dvc repro`"),
        ("", "not valid JSON"),
    ],
)
def test_json_that_cannot_be_read(tmp_path, content, says):
    if content is not None:
        (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match=rf"a\.json: {says}"):
        read_json(tmp_path / "a.json")


def test_json_that_cannot_be_written_leaves_the_old(tmp_path):
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    assert tree(tmp_path) == {"a.json": "1\n"}


def test_sha256_is_of_the_contents_in_order(tmp_path):
    fill(tmp_path, a="x" * 3_000_000, b="y")
    both = hashlib.sha256(b"x" * 3_000_000 + b"y").hexdigest()
    assert sha256([tmp_path / "a", tmp_path / "b"]) == both
    assert sha256([tmp_path / "b", tmp_path / "a"]) != both


def test_files_below_in_a_fixed_order(tmp_path):
    for name in ("b", "a/z", "a/b/c", "c"):
        fill((tmp_path / name).parent, **{Path(name).name: ""})
    assert [str(path.relative_to(tmp_path)) for path in files_below(tmp_path)] == ["a/b/c", "a/z", "b", "c"]
    assert files_below(tmp_path / "b") == [tmp_path / "b"]


@needs_grimp
def test_a_fingerprint_knows_parameters_and_inputs(tmp_path, settings):
    fill(tmp_path / "in", a="1")
    training = networks.training("cnn_separator", settings)
    base = fingerprint("train", training, inputs=[tmp_path / "in"])
    assert len(base) == 16 and set(base) <= set("0123456789abcdef")
    assert fingerprint("train", training.model_copy(), inputs=[tmp_path / "in"]) == base
    others = {
        "parameter": fingerprint("train", training.model_copy(update={"epochs": 999}), inputs=[tmp_path / "in"]),
        "name": fingerprint("pretrain", training, inputs=[tmp_path / "in"]),
        "no input": fingerprint("train", training),
    }
    fill(tmp_path / "in", a="2")
    others["content"] = fingerprint("train", training, inputs=[tmp_path / "in"])
    (tmp_path / "in" / "a").rename(tmp_path / "in" / "b")
    others["file name"] = fingerprint("train", training, inputs=[tmp_path / "in"])
    fill(tmp_path / "in", c="")
    others["another file"] = fingerprint("train", training, inputs=[tmp_path / "in"])
    assert len({base, *others.values()}) == len(others) + 1


@needs_grimp
def test_a_fingerprint_does_not_know_where_or_when(tmp_path):
    for place in ("here", "there"):
        fill(tmp_path / place, a="1", b="2")
    os.utime(tmp_path / "there" / "a", (1, 1))
    assert fingerprint(1, inputs=[tmp_path / "here"]) == fingerprint(1, inputs=[tmp_path / "there"])
    assert fingerprint(1, inputs=[tmp_path / "here" / "a"]) == fingerprint(1, inputs=[tmp_path / "there" / "a"])


@needs_grimp
def test_a_fingerprint_is_the_same_in_every_process(tmp_path):
    script = (
        "from svs.config import schema; from svs.runtime import files; s = schema.load(); "
        "print(files.fingerprint('x', s, s.train, {'b': 1, 'a': 2}))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", script],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1 and len(found.pop().strip()) == 16


EDIT = """
from svs.runtime.files import fingerprint
training = ["svs.training.on_excerpts", "svs.networks.cnn_separator"]
print(fingerprint("x", code=training), fingerprint("x", code=["svs.separators.hpss"]), fingerprint("x"))
"""


@needs_grimp
def test_a_fingerprint_knows_the_code_that_is_used_and_no_other(tmp_path):
    """Of a training, of a method, and of everything, in a copy of svs whose files are edited one after the other."""
    shutil.copytree(REPOSITORY / "svs", tmp_path / "svs", ignore=shutil.ignore_patterns("__pycache__"))

    def edited(path: str) -> list[bool]:
        """Which of the three fingerprints an edit of a file changes."""
        before = prints()
        with open(tmp_path / path, "a") as file:
            file.write("# edited\n")
        return [old != new for old, new in zip(before, prints(), strict=True)]

    def prints() -> list[str]:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        run = subprocess.run(
            [sys.executable, "-c", EDIT], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert run.returncode == 0, run.stderr
        return run.stdout.split()

    assert edited("svs/training/loop.py") == [True, False, True]  # imported by the training
    assert edited("svs/networks/layers.py") == [True, False, True]  # imported inside a function of the network
    assert edited("svs/dsp/stft.py") == [False, True, True]
    assert edited("svs/networks/unet_separator.py") == [False, False, True]  # another network
    assert edited("svs/config/schema.py") == [False, False, True]  # its values count, not its code


def test_publish_replaces_and_keeps_the_source(tmp_path):
    fill(tmp_path / "work" / "deep", a="new")
    fill(tmp_path / "out", old="x")
    publish(tmp_path / "work", tmp_path / "out")
    assert tree(tmp_path / "out") == {"deep/a": "new"} == tree(tmp_path / "work")
    assert names(tmp_path) == ["out", "work"]


def test_scratch_is_found_again_and_removed_with_its_siblings(tmp_path):
    fill(Scratch(tmp_path, "train", "one").path, state="half")
    again = Scratch(tmp_path, "train", "one")
    assert tree(again.path) == {"state": "half"}
    older, elsewhere = Scratch(tmp_path, "train", "two"), Scratch(tmp_path, "separate", "one")
    assert not list(older.path.iterdir())
    again.done()
    assert names(tmp_path) == ["separate"]
    assert elsewhere.path.is_dir()
    again.done()  # once more does no harm
