"""Stage `pictures`: spectrograms and masks of every test track, and the trained nets."""

from svs import availability, dataset, paths, plots, settings
from svs.audio import WavSource
from svs.running import log, main, progress


def run() -> None:
    parameters = settings.load()
    data = dataset.opened(parameters, paths.MANIFEST, paths.DATASETS)
    tracks = data.manifest.split("test")
    methods = [method for method in parameters.methods if not availability.reason(paths.ESTIMATES / method)]
    for model in parameters.models:
        plots.save(plots.network(paths.MODELS / model / "model.keras"), paths.PLOTS / "networks" / f"{model}.png")
    for track in progress(tracks, unit="track", desc="pictures"):
        vocals = {method: WavSource(paths.ESTIMATES / method / track.subset / track.name / "vocals.wav")
                  for method in methods}
        with data.open(track, ("mixture", "vocals")) as sources:
            figure = plots.separation_picture(track.name, sources["mixture"], sources["vocals"], vocals,
                                              parameters.plots)
        plots.save(figure, paths.PLOTS / "tracks" / f"{track.name}.png")
    log.info("pictures of %d tracks in %s/", len(tracks), paths.PLOTS / "tracks")


if __name__ == "__main__":
    main(run)
