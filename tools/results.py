"""The results on real music: python tools/results.py [--from PROJECT | --check]

`results/` holds the tables of the last run of the profile `sample` or `full`, without audio, and what made them; and
figures of the literature.  README's table and figure, the Results page and the Literature page are generated from it.

  --from PROJECT   take the tables of PROJECT (a folder in which the pipeline ran) first
  --check          write nothing; fail if README or the page differ from what `results/` says
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd

from svs import separators
from svs.config import paths, schema
from svs.errors import DataError, SVSError
from svs.evaluation import paired, published
from svs.evaluation.tables import medians, read_table
from svs.runtime.files import read_json, write_json, write_text

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results"
TABLES = ("scores", "published", "paired")
COLUMNS = ["method", "track", "target", "SDR"]
FIGURE = "docs/images/sdr_boxplot_previews.png"
RULER = "museval"  # of our tables, as literature.csv calls it
COMPARED = "STL1"  # the Wave-U-Net, beside SiSEC18's best
TRAINED_ON = {
    "spleeter_finetuned": "Deezer's own songs, then 80 excerpts",
    "spleeter": "Deezer's own songs",
    "unet_separator": "94 excerpts, 10.6 minutes",
    "cnn_separator": "73 of these excerpts",
    "cnn_deep_separator": "73 of these excerpts",
}


def take(project: Path) -> None:
    """Copy the tables of a run, with its profile, its commit and what differs from it."""
    settings = schema.load(project / paths.PARAMS)
    if settings.profile == "tiny":
        raise DataError(
            f"{project}: its profile is tiny, whose songs are generated; run `dvc exp run -S profile=sample`"
        )
    scores = read_table(project / paths.METRICS / "scores.csv", COLUMNS)
    RESULTS.mkdir(exist_ok=True)
    for name in TABLES:
        shutil.copy(project / paths.METRICS / f"{name}.csv", RESULTS / f"{name}.csv")
    changed = [
        line for line in _git(project, "diff", "--name-only", "HEAD", "--", "*.py", "*.yaml").splitlines() if line
    ]
    run = {
        "profile": settings.profile,
        "commit": _git(project, "rev-parse", "--short=7", "HEAD"),
        "changed_since_the_commit": changed,
        "seconds": [settings.score.passage.start, settings.score.passage.duration],
        "tracks": int(scores["track"].nunique()),
        "methods": list(dict.fromkeys(scores["method"])),
    }
    write_json(RESULTS / "run.json", run)


def draw() -> None:
    """README's figure: every method and system of `results/` that has a score of each track."""
    from svs.figures import scores as figures
    from svs.figures import style

    run = read_json(RESULTS / "run.json")
    scores, systems = (read_table(RESULTS / f"{name}.csv", COLUMNS) for name in ("scores", "published"))
    note = f"profile {run['profile']}, {run['tracks']} test tracks; commit {run['commit']}; points are tracks"
    figure = figures.sdr_boxplot(scores, f"{note}\n{figures.published_note(systems)}", systems)
    style.save(figure, ROOT / FIGURE)


def _git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def generated() -> dict[Path, str]:
    """README and the Results page as `results/` has them."""
    run = read_json(RESULTS / "run.json")
    scores, systems = (read_table(RESULTS / f"{name}.csv", COLUMNS) for name in ("scores", "published"))
    earlier = pd.read_csv(RESULTS / "earlier.csv")
    earlier = earlier[~earlier["method"].isin(run["methods"])]
    return {
        ROOT / "README.md": filled(ROOT / "README.md", short_table(run, scores, systems, earlier)),
        ROOT / "docs/results.md": filled(ROOT / "docs/results.md", long_table(run, scores, systems)),
        ROOT / "docs/literature.md": filled(ROOT / "docs/literature.md", literature(run, scores, systems, earlier)),
    }


def filled(page: Path, block: str) -> str:
    """The text of a page with its block of results replaced."""
    text = page.read_text(encoding="utf-8")
    marks = r"(<!-- results: made by tools/results.py -->\n).*(<!-- end -->)"
    if not re.search(marks, text, re.DOTALL):
        raise DataError(f"{page}: expected the two comments around the table of results")
    return re.sub(marks, lambda found: f"{found[1]}\n{block}\n{found[2]}", text, flags=re.DOTALL)


def short_table(run: dict, scores: pd.DataFrame, systems: pd.DataFrame, earlier: pd.DataFrame) -> str:
    """Our methods beside two published systems: medians over tracks in dB, best vocals first."""
    ours, theirs = medians(scores), medians(systems)
    best = next(iter(theirs.drop(index=[*published.ORACLES, published.FLOOR], errors="ignore").index), "")
    rows = []
    for method, (vocals, rest) in ours.drop(index="oracle_ibm", errors="ignore").iterrows():
        about = {"oracle_irm": " (ideal ratio mask, a ceiling)", "mixture": " (a floor)"}
        rows.append((vocals, rest, f"`{method}`{about.get(method, '')}", TRAINED_ON.get(method, "–"), run["commit"]))
    for row in earlier.itertuples():
        rows.append((row.vocals, row.accompaniment, f"`{row.method}`", TRAINED_ON[row.method.split()[0]], row.commit))
    for system, about in ((best, "SiSEC18's best"), (COMPARED, "SiSEC18's Wave-U-Net")):
        if system in theirs.index:
            rows.append((*theirs.loc[system], f"{about} ({system})", "100 whole songs or more", "published"))
    lines = ["| method | vocals | accompaniment | trained on | commit |", "| --- | ---: | ---: | --- | --- |"]
    for vocals, rest, name, data, commit in sorted(rows, key=lambda row: -row[0]):
        lines.append(f"| {name} | {vocals:.2f} | {rest:.2f} | {data} | {commit} |")
    return "\n".join(lines) + "\n"


def long_table(run: dict, scores: pd.DataFrame, systems: pd.DataFrame) -> str:
    """Every method and published system, and the best method of ours against each."""
    comparison = read_table(RESULTS / "paired.csv", ["method", "system", "target", "difference", "low", "high"])
    methods = [method for method in run["methods"] if method not in separators.of_kind(separators.Kind.ORACLE)]
    changed = run["changed_since_the_commit"]
    note = f", with changes in {', '.join(f'`{name}`' for name in changed)}" if changed else ""
    start, seconds = run["seconds"]
    heard = "all of each" if seconds is None else f"{seconds:g} s of each"
    text = paired.standing(scores, systems, comparison, methods)
    text = "\n".join(line.rstrip() for line in text.splitlines())
    return (
        f"Profile `{run['profile']}`, commit {run['commit']}{note}: {run['tracks']} test tracks, {heard} "
        f"from second {start:g}. Median SDR in dB; then the paired differences of our best method, with their 95 % "
        f"interval.\n\n```\n{text}\n```\n"
    )


def literature(run: dict, scores: pd.DataFrame, systems: pd.DataFrame, earlier: pd.DataFrame) -> str:
    """Published figures by year, then our methods, best vocals first; those of another ruler than ours are greyed."""
    rows = pd.read_csv(
        RESULTS / "literature.csv", dtype=str, keep_default_na=False
    )  # with the digits that are published
    ours, theirs = medians(scores), medians(systems)
    rows = rows.sort_values("year", kind="stable")
    start, seconds = run["seconds"]
    here = "all of it" if seconds is None else f"{seconds:g} s from second {start:g}"
    lines = [
        f"The last two columns: {run['tracks']} test tracks, {here} of each (commit {run['commit']}).\n",
        "| system | year | trained on | scored on | ruler | vocals | accompaniment | mean of four stems "
        "| vocals, same seconds | accompaniment, same seconds |",
        f"| --- |{' --- |' * 4}{' ---: |' * 5}",
    ]
    for row in rows.itertuples():
        name = f"[{row.system}]({row.source})"
        same = theirs.loc[row.submission] if row.submission in theirs.index else (float("nan"),) * 2
        figures = [row.vocals, row.accompaniment, row.four_stems, *map(_figure, same)]
        cells = [name, row.year, row.trained_on, row.data, row.ruler, *figures]
        lines.append(_line(cells if row.ruler == RULER else [cells[0], *map(_greyed, cells[1:])]))
    ours = ours.drop(index=list(separators.of_kind(separators.Kind.ORACLE)), errors="ignore")
    ours = pd.concat([ours, earlier.set_index("method")[list(ours)]]).sort_values("vocals", ascending=False)
    for method, both in ours.iterrows():
        about = [f"`{method}`", "", TRAINED_ON.get(method.split()[0], "–"), "", RULER, "", "", ""]
        lines.append(_line([*about, *map(_figure, both)]))
    return "\n".join(lines) + "\n"


def _figure(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.2f}"


def _greyed(cell: str) -> str:
    return cell and f'<span class="greyed">{cell}</span>'


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="project", type=Path, help="the folder of a finished run")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page is stale")
    given = parser.parse_args()
    try:
        if given.project:
            take(given.project)
        stale = {page: text for page, text in generated().items() if page.read_text(encoding="utf-8") != text}
    except SVSError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if given.check:
        for page in stale:
            print(f"{page.relative_to(ROOT)}: differs from results/; run `make results`", file=sys.stderr)
        return int(bool(stale))
    for page, text in stale.items():
        write_text(page, text)
        print(page.relative_to(ROOT))
    draw()
    return 0


if __name__ == "__main__":
    sys.exit(main())
