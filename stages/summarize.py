"""Stage `summarize`: tidy tables of all scores, and of ours against the published ones."""

from svs import separators
from svs.config import paths, schema
from svs.evaluation import denoised, paired, summary, tables
from svs.evaluation.museval_json import BSSEVAL, DISSERTATION
from svs.runtime import files, unavailable
from svs.runtime.process import log, main


def run() -> None:
    parameters = schema.load()
    methods = list(parameters.methods)  # the list, not the folder: an old method's scores may still lie there
    scores = {protocol: tables.gather(paths.SCORES, methods, protocol) for protocol in (BSSEVAL, DISSERTATION)}
    heading = (
        "%sprotocol %s, median over %d tracks in dB (bleed: vocals while nobody sings, relative to the mixture)\n%s"
    )
    for protocol, table in scores.items():
        for name, rows in tables.by_dataset(table).items():
            bleeds = {method: tables.bleed_metrics(paths.SCORES / method, name)["level"] for method in methods}
            of = f"{name}, " if name else ""
            log.info(heading, of, protocol, rows["track"].nunique(), tables.ranking(rows, bleeds))
    systems = tables.systems(paths.PUBLISHED)
    published = tables.published_table(paths.PUBLISHED, systems)
    comparison = paired.against_published(paths.SCORES, methods, paths.PUBLISHED, systems, parameters.seed)
    noisy = denoised.table(paths.DENOISED_SCORES, list(parameters.enhancers))
    floor = denoised.against_floor(noisy, parameters.seed)
    if len(floor):
        log.info(
            "voices and breathing in noise, SI-SDR in dB against the recording as it is\n%s", denoised.as_text(floor)
        )
    for name, table in {
        "denoise": noisy,
        "denoise_paired": floor,
        "scores": scores[BSSEVAL],
        "scores_dissertation": scores[DISSERTATION],
        "frames": tables.second_table(paths.SCORES, methods, parameters.score),
        "published": published,
        "paired": comparison,
    }.items():
        tables.write_table(paths.METRICS / f"{name}.csv", table)
    found = summary.table(scores[BSSEVAL], summary.cards(parameters), parameters.seed)
    files.write_text(paths.METRICS / "summary.md", summary.as_markdown(found))
    files.write_text(paths.METRICS / "summary.tex", summary.as_latex(found))
    if systems:
        scored = [method for method in methods if method not in separators.of_kind(separators.Kind.ORACLE)]
        beside = tables.beside(scores[BSSEVAL], published)
        standing = paired.standing(beside, published, comparison, scored)
        log.info("beside the systems of SiSEC18 on the same seconds, medians over tracks in dB\n%s", standing)
    folders = {"published systems": paths.PUBLISHED} | {method: paths.SCORES / method for method in methods}
    for name, folder in folders.items():
        if reason := unavailable.reason(folder):
            log.warning("absent: %s (%s)", name, reason)


if __name__ == "__main__":
    main(run)
