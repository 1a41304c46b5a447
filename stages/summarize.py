"""Stage `summarize`: one tidy table of all per-track scores, for each protocol."""

from svs import paths, scores, settings, summary
from svs.running import log, main


def run() -> None:
    methods = list(settings.load().methods)      # the list, not the folder: an old method's scores may still lie there
    for protocol, name in ((scores.BSSEVAL, "scores.csv"), (scores.SEED, "scores_seed.csv")):
        table = summary.gather(paths.SCORES, methods, protocol)
        summary.write_table(paths.METRICS / name, table)
        log.info("protocol %s, median over %d tracks in dB\n%s", protocol, table["track"].nunique(),
                 summary.ranking(table))


if __name__ == "__main__":
    main(run)
