"""Stage `score_denoise@METHOD`: the rulers of speech enhancement, of every recording in noise and in the median."""

import sys

from svs.config import paths, schema
from svs.evaluation import speech
from svs.runtime import files, unavailable
from svs.runtime.process import log, main


def run(method: str) -> None:
    parameters = schema.load()
    estimates, scores = paths.DENOISED / method, paths.DENOISED_SCORES / method
    metrics = paths.METRICS / "denoise" / f"{method}.json"
    if reason := unavailable.reason(estimates):
        log.warning("%s has no estimates: %s", method, reason)
        unavailable.record(scores, method, reason)
        files.write_json(metrics, {"recordings": 0})
        return
    rows = speech.score(paths.NOISY, estimates, method, parameters.score_enhanced.dnsmos)
    with files.written(scores) as temporary:
        files.write_json(temporary / "scores.json", rows)
    found = speech.metrics(rows)
    files.write_json(metrics, found)
    for kind in dict.fromkeys(row["kind"] for row in rows):
        median = found[kind]["SI_SDR_IMPROVEMENT"]["median"]
        log.info("%s, %s: SI-SDR better by %s dB in the median", method, kind, median)


if __name__ == "__main__":
    main(run, sys.argv[1])
