"""Stage `pictures`: spectrograms and masks of every test track, and the trained nets."""

from functools import partial

from svs import availability, dataset, paths, plots, settings
from svs.running import each_in_parallel, log, main


def run() -> None:
    parameters = settings.load()
    data = dataset.opened(parameters, paths.MANIFEST, paths.DATASETS)
    tracks = data.manifest.split("test")
    methods = [method for method in parameters.methods if not availability.reason(paths.ESTIMATES / method)]
    for model in parameters.models:
        plots.save(plots.network(paths.MODELS / model / "model.keras"), paths.PLOTS / "networks" / f"{model}.png")
    draw = partial(plots.draw_track, data=data.bare(), estimates=paths.ESTIMATES, methods=methods,
                   folder=paths.PLOTS / "tracks", settings=parameters.plots)
    each_in_parallel(draw, tracks, unit="track", desc="pictures")
    log.info("pictures of %d tracks in %s/", len(tracks), paths.PLOTS / "tracks")


if __name__ == "__main__":
    main(run)
