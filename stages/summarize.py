"""Stage `summarize`: tidy tables of all scores, and of ours against the published ones."""

from svs import separators
from svs.config import paths, schema
from svs.evaluation import museval_json, paired
from svs.evaluation import tables as evaluation_tables
from svs.evaluation.published import OUTPERFORMED
from svs.runtime import unavailable
from svs.runtime.process import log, main


def run() -> None:
    parameters = schema.load()
    methods = list(parameters.methods)  # the list, not the folder: an old method's scores may still lie there
    bleeds = {method: evaluation_tables.bleed_metrics(paths.SCORES / method)["level"] for method in methods}
    tables = {}
    for protocol, name in (
        (museval_json.BSSEVAL, "scores.csv"),
        (museval_json.DISSERTATION, "scores_dissertation.csv"),
    ):
        table = tables[protocol] = evaluation_tables.gather(paths.SCORES, methods, protocol)
        evaluation_tables.write_table(paths.METRICS / name, table)
        log.info(
            "protocol %s, median over %d tracks in dB (bleed: the vocal estimate where nobody sings, beside the "
            "mixture)\n%s",
            protocol,
            table["track"].nunique(),
            evaluation_tables.ranking(table, bleeds),
        )
    evaluation_tables.write_table(
        paths.METRICS / "frames.csv", evaluation_tables.second_table(paths.SCORES, methods, parameters.score)
    )
    absent = unavailable.reason(paths.PUBLISHED)
    systems = evaluation_tables.systems(paths.PUBLISHED)
    published = evaluation_tables.published_table(paths.PUBLISHED, systems)
    evaluation_tables.write_table(paths.METRICS / "published.csv", published)
    comparison = paired.against_published(paths.SCORES, methods, paths.PUBLISHED, systems, parameters.seed)
    evaluation_tables.write_table(paths.METRICS / "paired.csv", comparison)
    if systems:
        ours = tables[museval_json.BSSEVAL]
        best = evaluation_tables.best(
            [method for method in methods if method not in separators.of_kind(separators.Kind.ORACLE)], ours
        )
        log.info(
            "beside the systems of SiSEC18 on the same seconds, medians over tracks in dB\n%s",
            paired.standing(ours, published, comparison, best),
        )
        log.info(
            "the systems that the dissertation names: vocals SDR of ours less theirs, median over tracks in dB "
            "(* the 95 %% interval excludes zero)\n%s",
            paired.outcome(comparison, OUTPERFORMED, "vocals"),
        )
    if absent:
        log.warning("published systems: left out (%s)", absent)
    for method in methods:
        if reason := unavailable.reason(paths.SCORES / method):
            log.warning("absent: %s (%s)", method, reason)


if __name__ == "__main__":
    main(run)
