"""Stage `score@METHOD`: museval's BSS Eval v4 of every test track, and the method's medians."""

import sys

from svs.config import paths, schema
from svs.data import dataset
from svs.evaluation import museval_json, score, tables
from svs.runtime import files, unavailable
from svs.runtime.process import log, log_parameters, main


def run(method: str) -> None:
    parameters = schema.load()
    log_parameters(score=parameters.score)
    separated = paths.ESTIMATES / method
    if reason := unavailable.reason(separated):
        log.warning("%s has no estimates: %s", method, reason)
        unavailable.record(paths.SCORES / method, method, reason)
        for folder in (paths.METRICS, paths.METRICS / museval_json.DISSERTATION):
            files.write_json(folder / f"{method}.json", tables.NO_METRICS)
        return
    data = dataset.open_dataset(parameters, paths.MANIFEST, paths.DATASETS)
    scratch = files.Scratch(
        paths.SCRATCH, f"score-{method}", files.fingerprint(parameters.score, inputs=[paths.MANIFEST, separated])
    )
    score.score_method(data, separated, parameters.score, scratch.path, method)
    files.publish(scratch.path, paths.SCORES / method)
    scratch.done()
    for protocol, folder in (
        (museval_json.BSSEVAL, paths.METRICS),
        (museval_json.DISSERTATION, paths.METRICS / museval_json.DISSERTATION),
    ):
        metrics = tables.method_metrics(tables.track_table(paths.SCORES / method, method, protocol))
        if protocol == museval_json.BSSEVAL:
            metrics["bleed"] = tables.bleed_metrics(paths.SCORES / method)
        files.write_json(folder / f"{method}.json", metrics)
        log.info(
            "%s, protocol %s: median SDR of vocals %s dB, of accompaniment %s dB",
            method,
            protocol,
            metrics["vocals"]["SDR"]["median"],
            metrics["accompaniment"]["SDR"]["median"],
        )


if __name__ == "__main__":
    main(run, sys.argv[1])
