"""Stage `plots`: boxplots of scores and training curves, from the tracked tables alone."""

import pandas as pd

from svs.config import paths, schema
from svs.figures import improvements, style, training
from svs.figures import scores as figure_scores
from svs.runtime import files
from svs.runtime.process import log, main

TEXTS = dict.fromkeys(("method", "dataset", "track", "target", "recording"), str)


def table(name: str) -> pd.DataFrame:
    """A table of `metrics/`; a data set or a track may be called 2018, or NA."""
    return pd.read_csv(paths.METRICS / f"{name}.csv", dtype=TEXTS, keep_default_na=False, na_values=[""])


def run() -> None:
    parameters = schema.load()
    scores, seed, published = map(table, ("scores", "scores_dissertation", "published"))
    absent = [method for method in parameters.methods if method not in set(scores["method"])]
    left_out = f"; absent, could not run here: {', '.join(absent)}" if absent else ""
    data = f"profile {parameters.profile}, {scores['track'].nunique()} test tracks"
    ours = f"{data}; BSS Eval v4; points are tracks{left_out}\n{figure_scores.published_note(published)}"
    as_the_dissertation = f"{data}; the dissertation's protocol: mono, 22 kHz; points are tracks{left_out}"
    for suffix in ("png", "svg"):
        style.save(figure_scores.sdr_boxplot(scores, ours, published), paths.PLOTS / f"sdr_boxplot.{suffix}")
        style.save(
            figure_scores.sdr_boxplot(seed, as_the_dissertation), paths.PLOTS / f"sdr_boxplot_dissertation.{suffix}"
        )
    style.save(figure_scores.measures_boxplot(scores, f"BSS Eval v4, {data}"), paths.PLOTS / "measures_boxplot.png")
    denoised = table("denoise")
    title = f"SI-SDR improvement, profile {parameters.profile}: {denoised['recording'].nunique()} recordings in noise"
    style.save(improvements.improvement_boxplot(denoised, title), paths.PLOTS / "denoise_boxplot.png")
    curves = {name: pd.read_csv(paths.CURVES / f"{name}.csv") for name in ("autoencoder", *parameters.models, "vad")}
    results = {name: files.read_json(paths.METRICS / "training" / f"{name}.json") for name in curves}
    published = {
        name: result["val_loss_of_the_dissertation"]
        for name, result in results.items()
        if "val_loss_of_the_dissertation" in result
    }
    style.save(training.training_curves(curves, published), paths.PLOTS / "training_curves.png")
    log.info("boxplots and training curves in %s/", paths.PLOTS)


if __name__ == "__main__":
    main(run)
