#!/bin/sh
# Show what changed between a revision and the workspace: tools/compare.sh [REV] [FOLDER]
# REV is by default the first that exists of origin/main, main and HEAD; FOLDER is build/compare.
# DVC compares metrics, parameters and plots.  `svs compare` adds the change track by track, with its interval, and
# the boxplots of both revisions in one figure.  Writes into FOLDER
#   comment.md    all of it, as GitHub's Markdown
#   compare.md, compare.png, plots/index.html
set -eu
cd "$(dirname "$0")/.."
PATH=$PWD/.venv/bin:$PATH
export PATH DVC_NO_ANALYTICS=1

say() { printf '%s\n' "compare: $*" >&2; }

revision=${1:-}
folder=${2:-build/compare}
if [ -z "$revision" ]; then
    for candidate in origin/main main HEAD; do
        if git rev-parse --verify --quiet "$candidate^{commit}" >/dev/null; then
            revision=$candidate
            break
        fi
    done
    [ -n "$revision" ] || { say "there is no commit to compare with; name one: tools/compare.sh REV"; exit 1; }
    say "no revision named: comparing with $revision"
fi

rm -rf "$folder"
mkdir -p "$folder"
# First, because it has the best messages about a wrong revision.  Exit code 3: no common scores; DVC's diffs say why.
python -m svs.cli compare --against "$revision" --output "$folder" --quiet 2>"$folder/compare.log" || {
    code=$?
    cat "$folder/compare.log" >&2
    [ "$code" = 3 ] || exit "$code"
    sed 's/^error: /Nothing to compare: /' "$folder/compare.log" > "$folder/compare.md"
}
rm "$folder/compare.log"

# A table of DVC's, folded and cut: a comment on GitHub holds 65,536 characters.
folded() {
    printf '\n<details><summary><code>%s</code></summary>\n\n' "$*"
    "$@" > "$folder/table.md"
    # Without a difference it is empty, or only a head of two lines.
    if [ "$(grep -c '^|' "$folder/table.md")" -gt 2 ]; then head -n 350 "$folder/table.md"; else echo 'no difference'; fi
    [ "$(wc -l < "$folder/table.md")" -le 350 ] || printf '\n…and more: run the command.\n'
    rm "$folder/table.md"
    printf '\n</details>\n'
}
{
    printf '## Scores against %s\n\n' "$revision"
    cat "$folder/compare.md"
    folded dvc params diff --md "$revision"
    folded dvc metrics diff --md "$revision"
} > "$folder/comment.md"
dvc plots diff "$revision" --out "$folder/plots" >/dev/null
say "$folder/comment.md"
