#!/bin/sh
# Build the wheel, install it into a fresh environment of every Python that is found, and separate a song there, outside
# the checkout and without a project.  Nothing of the pipeline may be installed with it.
set -eu
cd "$(dirname "$0")/.."
checkout=$PWD
unset PYTHONPATH SVS_PROJECT

say() { printf '%s\n' "wheel: $*" >&2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM

# A Python of a version, on the PATH or of pyenv.
find_python() {
    for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1."*/bin/python; do
        if "$candidate" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$1')" >/dev/null 2>&1; then
            printf '%s\n' "$candidate"
            return 0
        fi
    done
    return 1
}

# Install and separate with the Python $2, in a folder of its own called $1.
check() {
    here=$folder/$1
    "$2" -m venv "$here/venv"
    bin=$here/venv/bin
    "$bin/python" -m pip install --disable-pip-version-check --quiet "$folder"/*.whl
    "$bin/python" -m pip list --disable-pip-version-check 2>/dev/null > "$here/packages"
    if grep -iE '^(tensorflow|keras|torch|dvc|musdb|museval|zarr|pandas) ' "$here/packages"; then
        say "Python $1: the core must not install these"
        return 1
    fi
    cd "$here"
    methods=hpss,spleeter_finetuned
    if "$bin/svs" fetch --quiet; then
        methods=hpss,spleeter_finetuned,spleeter
    else
        say "Python $1: without the weights of spleeter"
    fi
    "$bin/svs" separate "$song" -o out -m "$methods" --quiet
    "$bin/python" - "$song" <<'PYTHON'
import pathlib, sys
import numpy as np, soundfile
from svs.audio.reading import decode

with decode.open_recording(pathlib.Path(sys.argv[1])) as recording:
    mixture = recording.read(0, recording.samples)
for folder in pathlib.Path("out").glob("*/*"):
    vocals, rest = (soundfile.read(folder / f"{name}.wav", always_2d=True)[0] for name in ("vocals", "accompaniment"))
    np.testing.assert_allclose(vocals + rest, mixture, atol=1e-5)
    share = np.square(vocals).sum() / np.square(mixture).sum()
    assert 0.001 < share < 1, f"{folder}: the vocals have {share} of the energy"
PYTHON
    size=$(du -sm "$here/venv" | cut -f1)
    say "Python $1: $methods separated $(basename "$song"); the environment has $size MB"
}

python3 -m pip wheel --disable-pip-version-check --quiet --no-deps --wheel-dir "$folder" .
song=$(find "$checkout/../shared/data/musdb18-7/test" -name '*.mp4' 2>/dev/null | sort | head -n 1)
if [ -z "$song" ]; then
    song=$folder/song.wav
    ffmpeg -v error -f lavfi -i "sine=220:d=10" -f lavfi -i "anoisesrc=a=0.05:d=10" -filter_complex amix "$song"
fi

running="" failed=0
for version in 3.10 3.12 3.13; do
    if python=$(find_python "$version"); then
        check "$version" "$python" &
        running="$running $!"
    else
        say "Python $version: skipped, it is neither on the PATH nor in pyenv"
    fi
done
for job in $running; do
    wait "$job" || failed=1
done
exit "$failed"
