"""Stage `plots`: boxplots of scores, training curves, a picture of every test track and of every net."""

import pandas as pd

from svs import availability, dataset, paths, plots, settings
from svs.audio import WavSource
from svs.published import SEED_VAL_LOSS
from svs.running import log, main, progress


def run() -> None:
    parameters = settings.load()
    data = dataset.opened(parameters, paths.MANIFEST, paths.DATASETS)
    tracks = data.manifest.split("test")
    absent = [method for method in parameters.methods if availability.reason(paths.ESTIMATES / method)]
    methods = [method for method in parameters.methods if method not in absent]
    left_out = f"; absent, could not run here: {', '.join(absent)}" if absent else ""
    for table, name, protocol in (("scores.csv", "sdr_boxplot", "BSS Eval v4, stereo stems"),
                                  ("scores_seed.csv", "sdr_boxplot_seed", "the dissertation's protocol: mono, 22 kHz")):
        note = f"data set {data.manifest.dataset}, {len(tracks)} test tracks; {protocol}; points are tracks{left_out}"
        for suffix in ("png", "svg"):
            figure = plots.sdr_boxplot(pd.read_csv(paths.METRICS / table), note)
            plots.save(figure, paths.PLOTS / f"{name}.{suffix}")
    names = ["autoencoder", *parameters.models, "vad"]
    curves = {name: pd.read_csv(paths.CURVES / f"{name}.csv") for name in names}
    plots.save(plots.training_curves(curves, SEED_VAL_LOSS), paths.PLOTS / "training_curves.png")
    for model in parameters.models:
        plots.save(plots.network(paths.MODELS / model / "model.keras"), paths.PLOTS / "networks" / f"{model}.png")
    for track in progress(tracks, unit="track", desc="pictures"):
        vocals = {method: WavSource(paths.ESTIMATES / method / track.subset / track.name / "vocals.wav")
                  for method in methods}
        with data.open(track, ("mixture", "vocals")) as sources:
            figure = plots.separation_picture(track.name, sources["mixture"], sources["vocals"], vocals,
                                              parameters.plots)
        plots.save(figure, paths.PLOTS / "tracks" / f"{track.name}.png")
    log.info("boxplots, curves and %d pictures in %s/", len(tracks), paths.PLOTS)


if __name__ == "__main__":
    main(run)
