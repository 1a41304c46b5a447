"""Stage `summarize`: one tidy table of all per-track scores, for each protocol."""

from svs import availability, paths, scores, settings, summary
from svs.running import log, main


def run() -> None:
    methods = list(settings.load().methods)      # the list, not the folder: an old method's scores may still lie there
    for protocol, name in ((scores.BSSEVAL, "scores.csv"), (scores.SEED, "scores_seed.csv")):
        table = summary.gather(paths.SCORES, methods, protocol)
        summary.write_table(paths.METRICS / name, table)
        log.info("protocol %s, median over %d tracks in dB\n%s", protocol, table["track"].nunique(),
                 summary.ranking(table))
    for method in methods:
        if reason := availability.reason(paths.SCORES / method):
            log.warning("absent: %s (%s)", method, reason)


if __name__ == "__main__":
    main(run)
