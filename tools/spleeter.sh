#!/bin/sh
# Make spleeter's own environment from requirements-spleeter.txt: tools/spleeter.sh [--check] [FOLDER]
# FOLDER is .venv-spleeter by default.  You can run it at any time: it does nothing if the environment is complete, and
# starts again if it was interrupted or the lock has changed.  With --check, the exit status says whether it is complete.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
lock=$root/requirements-spleeter.txt

check=
if [ "${1:-}" = --check ]; then check=1; shift; fi
venv=${1:-$root/.venv-spleeter}
stamp=$venv/.svs-complete
mark=$venv/.svs-spleeter      # marks a folder that this script made, even if incomplete

say() { printf '%s\n' "svs setup: $*" >&2; }
stop() { say "$*"; exit 1; }

wanted=$(cksum < "$lock")
ready() { [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && "$venv/bin/python" -c '' >/dev/null 2>&1; }
if [ -n "$check" ]; then ready; exit; fi
ready && exit 0

# One setup at a time: a second one waits for the first.
if command -v flock >/dev/null 2>&1 && [ -z "${SVS_SPLEETER_LOCKED:-}" ]; then
    mkdir -p "$(dirname "$venv")" || stop "can't write to $(dirname "$venv")"
    export SVS_SPLEETER_LOCKED=1
    exec flock "$venv.lock" "$0" "$venv"
fi

find_python() {
    for candidate in "${PYTHON:-}" python3.11 python3 python; do
        [ -n "$candidate" ] || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' >/dev/null 2>&1; then
            printf '%s\n' "$candidate"
            return 0
        fi
    done
    return 1
}

if [ -e "$venv" ] && [ ! -e "$mark" ] && [ -n "$(ls -A "$venv")" ]; then
    stop "$venv exists, but was not made by tools/spleeter.sh; name another folder"
fi
python=$(find_python) ||
    stop "Python 3.11 is missing; install it (Debian, Ubuntu: apt-get install python3.11 python3.11-venv) or name it: make spleeter PYTHON=/path/to/python3.11"
rm -rf "$venv"
{ mkdir -p "$venv" && : > "$mark"; } 2>/dev/null || stop "can't write to $venv"
"$python" -m venv "$venv" >/dev/null 2>&1 ||
    stop "Python's venv module is missing; install it (Debian, Ubuntu: apt-get install python3.11-venv)"

# Not compiled: the first import compiles the few modules that are used, which is faster.
say "installing spleeter into $venv (about 2.4 GB, 1 to 5 minutes)"
"$venv/bin/python" -I -m pip install --disable-pip-version-check --no-compile --quiet -r "$lock" >&2 &
pip=$!
trap 'kill "$pip" 2>/dev/null; exit 130' INT TERM HUP
turns=0
while kill -0 "$pip" 2>/dev/null; do
    sleep 1
    turns=$((turns + 1))
    [ $((turns % 20)) != 0 ] || say "$(du -sm "$venv" | cut -f 1) of about 2400 MB installed"
done
wait "$pip" || stop "spleeter's packages could not be installed; see pip's message above, and run again"
trap - INT TERM HUP
"$venv/bin/python" -I -m pip check --disable-pip-version-check >&2 || stop "the installed packages do not fit together"
"$venv/bin/python" -I -c 'import spleeter.separator' >/dev/null 2>&1 || stop "spleeter is installed but can't be imported"
printf '%s' "$wanted" > "$stamp"
say "spleeter is installed"
