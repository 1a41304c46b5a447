"""Stage `summarize`: tidy tables of all scores, and of ours against the published ones."""

from svs import availability, paired, paths, scores, separators, settings, summary
from svs.published import OUTPERFORMED
from svs.running import log, main


def run() -> None:
    parameters = settings.load()
    methods = list(parameters.methods)      # the list, not the folder: an old method's scores may still lie there
    leaks = {method: summary.leak_metrics(paths.SCORES / method)["level"] for method in methods}
    tables = {}
    for protocol, name in ((scores.BSSEVAL, "scores.csv"), (scores.SEED, "scores_seed.csv")):
        table = tables[protocol] = summary.gather(paths.SCORES, methods, protocol)
        summary.write_table(paths.METRICS / name, table)
        log.info("protocol %s, median over %d tracks in dB (leak: the vocal estimate where nobody sings, beside the "
                 "mixture)\n%s", protocol, table["track"].nunique(), summary.ranking(table, leaks))
    summary.write_table(paths.METRICS / "frames.csv", summary.second_table(paths.SCORES, methods, parameters.score))
    absent = availability.reason(paths.PUBLISHED)
    systems = summary.systems(paths.PUBLISHED)
    published = summary.published_table(paths.PUBLISHED, systems)
    summary.write_table(paths.METRICS / "published.csv", published)
    comparison = paired.against_published(paths.SCORES, methods, paths.PUBLISHED, systems, parameters.seed)
    summary.write_table(paths.METRICS / "paired.csv", comparison)
    if systems:
        ours = tables[scores.BSSEVAL]
        best = summary.best([method for method in methods if method not in separators.ORACLES], ours)
        log.info("beside the systems of SiSEC18 on the same seconds, medians over tracks in dB\n%s",
                 paired.standing(ours, published, comparison, best))
        log.info("the systems that the dissertation names: vocals SDR of ours less theirs, median over tracks in dB "
                 "(* the 95 %% interval excludes zero)\n%s", paired.outcome(comparison, OUTPERFORMED, "vocals"))
    if absent:
        log.warning("published systems: left out (%s)", absent)
    for method in methods:
        if reason := availability.reason(paths.SCORES / method):
            log.warning("absent: %s (%s)", method, reason)


if __name__ == "__main__":
    main(run)
