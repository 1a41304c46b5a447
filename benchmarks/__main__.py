"""Every step beside its baseline, in one run: a table with the ratios and their limits.

    python -m benchmarks [--music FOLDER] [--json FILE] [--only extraction training inference scoring]
    python -m benchmarks --compare OLD.json NEW.json

FOLDER holds MUSDB18 or its previews as .stem.mp4 (train/ and test/).  A ratio is
ours beside the baseline, measured in turns in the same process (one for each
step) on the same cores, so that other work on the machine troubles both; above 1 ours is faster.
The exit code is 1 where a ratio is below its limit.  Two files are compared by
their ratios, which two machines have more in common than seconds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

from benchmarks.steps import STEPS, Row, rows_of
from svs.errors import SVSError
from svs.runtime.files import read_json, write_json
from svs.runtime.parallel import cores
from svs.runtime.process import log, main

_HEADER = f"{'step':62}{'baseline':>14}{'ours':>14}{'ratio':>8}{'limit':>7}"


def measured(options: argparse.Namespace) -> Iterator[Row]:
    if "training" in options.only and "extraction" not in options.only and options.store is None:
        raise SVSError("training is measured on a store; measure extraction too, or name one with --store")
    with tempfile.TemporaryDirectory() as temporary:
        own = Path(temporary) / "store"
        for step in STEPS:
            if step in options.only:
                store = options.store if step == "training" and options.store else own
                # A process for each: the threads that one step's libraries leave behind take the next one's cores.
                with ProcessPoolExecutor(1, get_context("spawn")) as process:
                    yield from process.submit(rows_of, step, options.music, options.rounds, store).result()


def compared(old: dict, new: dict) -> str:
    """Ratios of two runs, side by side."""
    before, after = ({row["step"]: row for row in run["rows"]} for run in (old, new))
    lines = [f"{'step':62}{'before':>9}{'after':>9}{'change':>9}{'limit':>7}"]
    for step in dict.fromkeys([*before, *after]):
        ratios = [side[step]["ratio"] if step in side else None for side in (before, after)]
        change = "-" if None in ratios else f"{100 * (ratios[1] / ratios[0] - 1):+.0f}%"
        limit = (after.get(step) or before[step])["limit"]
        lines.append(
            f"{step:62}"
            + "".join(("-" if ratio is None else f"{ratio:.2f}").rjust(9) for ratio in ratios)
            + change.rjust(9)
            + ("-" if limit is None else f"{limit:g}").rjust(7)
        )
    return "\n".join(lines)


def run(arguments: list[str]) -> None:
    from benchmarks.bsseval import PREVIEWS

    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--music", type=Path, default=PREVIEWS)
    parser.add_argument("--store", type=Path, help="for training (default: the one that extraction leaves)")
    parser.add_argument("--only", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--compare", type=Path, nargs=2, metavar=("OLD", "NEW"), help="two such files; no measuring")
    options = parser.parse_args(arguments)
    if options.compare:
        print(compared(*map(read_json, options.compare)))
        return
    log.info("%d cores", cores())
    rows = []
    print(_HEADER)
    for row in measured(options):
        rows.append(row)
        print(row.text(), flush=True)
    if options.json:
        write_json(options.json, {"cores": cores(), "rows": [asdict(row) for row in rows]})
    sys.exit(0 if all(row.reached for row in rows) else 1)


if __name__ == "__main__":
    main(run, sys.argv[1:])
