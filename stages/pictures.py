"""Stage `pictures`: spectrograms and masks of every test track, and the trained nets."""

from functools import partial

from svs.config import paths, schema
from svs.data import dataset
from svs.figures import networks, spectrograms, style
from svs.runtime import unavailable
from svs.runtime.parallel import over_tracks
from svs.runtime.process import log, main


def run() -> None:
    parameters = schema.load()
    data = dataset.open_dataset(parameters)
    tracks = data.manifest.split("test")
    methods = [method for method in parameters.methods if not unavailable.reason(paths.ESTIMATES / method)]
    (paths.PLOTS / "networks").mkdir(parents=True, exist_ok=True)  # an output, also where no network is trained
    for model in parameters.models:
        if figure := networks.network(paths.MODELS / model / "model.keras"):
            style.save(figure, paths.PLOTS / "networks" / f"{model}.png")
    draw = partial(
        spectrograms.draw_track,
        data=data.bare(),
        estimates=paths.ESTIMATES,
        methods=methods,
        folder=paths.PLOTS / "tracks",
        settings=parameters.plots,
    )
    over_tracks(draw, tracks, [track.name for track in tracks], desc="pictures")
    log.info("pictures of %d tracks in %s/", len(tracks), paths.PLOTS / "tracks")


if __name__ == "__main__":
    main(run)
