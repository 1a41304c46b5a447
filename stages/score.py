"""Stage `score@METHOD`: museval's BSS Eval v4 of every test track, and the method's medians."""

import sys

from svs import availability, dataset, files, paths, scores, scoring, settings, summary
from svs.running import log, log_parameters, main


def run(method: str) -> None:
    parameters = settings.load()
    log_parameters(score=parameters.score)
    separated = paths.ESTIMATES / method
    if reason := availability.reason(separated):
        log.warning("%s has no estimates: %s", method, reason)
        availability.record(paths.SCORES / method, method, reason)
        for folder in (paths.METRICS, paths.METRICS / scores.SEED):
            files.write_json(folder / f"{method}.json", summary.NO_METRICS)
        return
    data = dataset.opened(parameters, paths.MANIFEST, paths.DATASETS)
    scratch = files.Scratch(paths.SCRATCH, f"score-{method}",
                            files.fingerprint(parameters.score, inputs=[paths.MANIFEST, separated]))
    scoring.score_method(data, separated, parameters.score, scratch.path, method)
    files.publish(scratch.path, paths.SCORES / method)
    scratch.done()
    for protocol, folder in ((scores.BSSEVAL, paths.METRICS), (scores.SEED, paths.METRICS / scores.SEED)):
        metrics = summary.method_metrics(summary.track_table(paths.SCORES / method, method, protocol))
        if protocol == scores.BSSEVAL:
            metrics["leak"] = summary.leak_metrics(paths.SCORES / method)
        files.write_json(folder / f"{method}.json", metrics)
        log.info("%s, protocol %s: median SDR of vocals %s dB, of accompaniment %s dB", method, protocol,
                 metrics["vocals"]["SDR"]["median"], metrics["accompaniment"]["SDR"]["median"])


if __name__ == "__main__":
    main(run, sys.argv[1])
