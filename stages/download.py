"""Stage `download`: get the data set, look into every track, write the manifest."""

from svs import dataset, paths, settings
from svs.running import log, log_parameters, main


def run() -> None:
    parameters = settings.load()
    log_parameters(download=parameters.download)
    folder, validation = dataset.locate(parameters.download, parameters.seed, paths.DATASETS)
    manifest = dataset.inspect(parameters.download, parameters.seed, folder, validation)
    manifest.require("train", "valid", "test")
    manifest.save(paths.MANIFEST)
    counts = ", ".join(f"{len(manifest.split(split))} {split}" for split in ("train", "valid", "test", "unused"))
    log.info("%s: %s tracks, %.0f s", manifest.dataset, counts, sum(track.seconds for track in manifest.tracks))


if __name__ == "__main__":
    main(run)
