#!/bin/sh
# What changed between a revision and the workspace: tools/compare.sh [REV] [FOLDER] (build/compare where nothing
# else is said).  DVC's own diffs of metrics, parameters and plots; of ours what DVC does not have, the change track by
# track with its interval and the boxplots of both revisions in one figure (`svs compare`).  Leaves in FOLDER
#   comment.md    all of it, as GitHub's Markdown
#   compare.md, compare.png, plots/index.html
# Without REV: origin/main, main or HEAD, whichever is there first.
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
# First, because it knows best what is wrong with a revision.  3: there is nothing to pair; DVC's diffs still say why.
python -m svs.cli compare --against "$revision" --output "$folder" --quiet 2>"$folder/compare.log" || {
    code=$?
    cat "$folder/compare.log" >&2
    [ "$code" = 3 ] || exit "$code"
    sed 's/^error: /Nothing to compare: /' "$folder/compare.log" > "$folder/compare.md"
}
rm "$folder/compare.log"

# A table of DVC's, folded; what is beyond GitHub's 65,536 characters for a comment is left to the command itself.
folded() {
    printf '\n<details><summary><code>%s</code></summary>\n\n' "$*"
    "$@" > "$folder/table.md"
    # Without a difference it is a head of two lines, or nothing.
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
