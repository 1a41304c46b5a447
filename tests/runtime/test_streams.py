"""Standard streams that are closed, full, or not read."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.helpers import REPOSITORY

# What a program does: prints much or little, copies a file, fails, tells something on standard error.
WORK = {
    "a line": "print('result')",
    "much": "print('result\\n' * 50000)",
    "flushed": "print('result', flush=True)",
    "a file": "copy_to_output(Path(__file__))",
    "both": "(log.info('told'), print('result'))",
    "an error": "(_ for _ in ()).throw(DataError('a.wav: no'))",
    "a code": "print('result') or sys.exit(7)",
    "words": "log.info('told')",
    "many words": "[log.info('told') for _ in range(5000)]",
    "a name": r"print('caf\udce9 \u6b4c')",
    "a child": "subprocess.run('echo result; echo told >&2', shell=True)",
}
FULL = "error: standard output: can't write to it (No space left on device); send it to a file or a program\n"
CLOSED = FULL.replace("No space left on device", "Bad file descriptor")
# What is done; redirections; exit code; standard output where it is read; standard error where it is read.
CASES = [
    ("a line", "", 0, "result\n", ""),
    ("a line", ">/dev/full", 1, "", FULL),
    ("a line", ">&-", 1, "", CLOSED),
    ("a line", "2>&-", 0, "result\n", ""),
    ("a line", "2>/dev/full", 0, "result\n", ""),
    ("a line", ">&- 2>&- <&-", 1, "", ""),
    ("much", ">/dev/full", 1, "", FULL),
    ("much", "| head -1", 141, "result\n", ""),
    ("flushed", ">/dev/full", 1, "", FULL),
    ("a file", ">/dev/full", 1, "", FULL),
    ("both", "2>&1 >/dev/null | cat", 0, "told\n", ""),
    ("an error", "2>&-", 3, "", ""),
    ("an error", "", 3, "", "error: a.wav: no\n"),
    ("a code", "", 7, "result\n", ""),
    ("a code", ">/dev/full", 1, "", FULL),
    ("words", ">&-", 0, "", "told\n"),
    ("words", "2>/dev/full", 0, "", ""),
    ("many words", "2>&1 | head -1", 0, "told\n", ""),
    ("a name", "", 0, "caf\\udce9 \u6b4c\n", ""),
    ("a child", "2>&-", 0, "result\n", ""),
    ("a child", ">&- 2>&- <&-", 0, "", ""),
]
SCRIPT = """
import os, subprocess, sys
from pathlib import Path
from svs.errors import DataError
from svs.runtime.process import log, main
from svs.runtime.streams import copy_to_output
main(lambda: {work})
"""


@pytest.mark.parametrize(("work", "streams", "code", "out", "err"), CASES)
def test_streams(work, streams, code, out, err, tmp_path):
    (tmp_path / "run.py").write_text(SCRIPT.format(work=WORK[work]), encoding="utf-8", errors="surrogatepass")
    done = subprocess.run(
        ["bash", "-c", f'"$0" run.py {streams}; exit "${{PIPESTATUS[0]}}"', sys.executable],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONIOENCODING": "utf-8:strict"},
        capture_output=True,
    )
    assert (done.returncode, done.stdout.decode(), done.stderr.decode()) == (code, out, err)


@pytest.mark.parametrize("locale", [{"LC_ALL": "C"}, {"LC_ALL": "POSIX", "PYTHONIOENCODING": "ascii"}])
def test_names_in_a_locale_without_their_characters(locale, tmp_path):
    """With Python's UTF-8 mode off: it is switched on, and arguments and files keep their bytes."""
    (tmp_path / "run.py").write_text(
        "import sys\nfrom pathlib import Path\nfrom svs.runtime.process import main\n"
        "main(lambda: (Path(sys.argv[1], '\u4eba').mkdir(), print(sys.argv[1])))\n"
    )
    name = "\u6b4c caf\udce9"
    (tmp_path / name).mkdir()
    done = subprocess.run(
        [sys.executable, "run.py", name],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", **locale},
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert [path.name for path in (tmp_path / name).iterdir()] == ["\u4eba"]
    assert b"caf" in done.stdout


@pytest.mark.parametrize("encoding", ["cp1251", "koi8-r", "cp1252", "ascii"])
def test_names_in_an_encoding_without_their_characters(encoding, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(SCRIPT.format(work=r"print('caf\xe9 \u044f \u6b4c')"))
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, program], env=environment, capture_output=True)
    expected = "caf\xe9 \u044f \u6b4c\n".encode(encoding, "backslashreplace")
    assert (done.returncode, done.stdout) == (0, expected), done.stderr
