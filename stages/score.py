"""Stage `score@METHOD`: BSS Eval v4 of every test track, by both protocols, and the method's medians."""

import sys

from svs.config import paths, schema
from svs.data import dataset
from svs.evaluation import tables
from svs.evaluation.museval_json import BSSEVAL, DISSERTATION
from svs.evaluation.scoring import score
from svs.runtime import files, unavailable
from svs.runtime.process import log, log_parameters, main

FOLDERS = {BSSEVAL: paths.METRICS, DISSERTATION: paths.METRICS / DISSERTATION}


def run(method: str) -> None:
    parameters = schema.load()
    log_parameters(score=parameters.score)
    separated, scores = paths.ESTIMATES / method, paths.SCORES / method
    if reason := unavailable.reason(separated):
        log.warning("%s has no estimates: %s", method, reason)
        unavailable.record(scores, method, reason)
        for folder in FOLDERS.values():
            files.write_json(folder / f"{method}.json", tables.NO_METRICS)
        return
    data = dataset.open_dataset(parameters)
    mark = files.fingerprint(parameters.score, inputs=[paths.MANIFEST, separated], code=[score.__name__])
    scratch = files.Scratch(paths.SCRATCH, f"score-{method}", mark)
    score.score_method(data, separated, parameters.score, scratch.path, method)
    files.publish(scratch.path, scores)
    scratch.done()
    for protocol, folder in FOLDERS.items():
        found = {}
        for name, rows in tables.by_dataset(tables.track_table(scores, method, protocol)).items():
            found[name] = metrics = tables.method_metrics(rows)
            if protocol == BSSEVAL:
                metrics["bleed"] = tables.bleed_metrics(scores, name)
            medians = [metrics[target]["SDR"]["median"] for target in ("vocals", "accompaniment")]
            of = f"{name}, " if name else ""
            log.info(
                "%s, %sprotocol %s: median SDR of vocals %s dB, of accompaniment %s dB", method, of, protocol, *medians
            )
        files.write_json(folder / f"{method}.json", found.get("", found))


if __name__ == "__main__":
    main(run, sys.argv[1])
