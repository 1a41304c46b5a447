"""Stage `download`: get the data set, look into every track, write the manifest."""

from svs.config import paths, schema
from svs.data import inspection, locate
from svs.runtime.process import log, log_parameters, main


def run() -> None:
    parameters = schema.load()
    log_parameters(download=parameters.download)
    folder = locate.locate(parameters.download, parameters.seed, paths.DATASETS)
    manifest = inspection.inspect(parameters.download, parameters.seed, folder)
    manifest.require("train", "valid", "test")
    manifest.refuse_leaks()
    manifest.save(paths.MANIFEST)
    counts = ", ".join(f"{len(manifest.split(split))} {split}" for split in ("train", "valid", "test", "unused"))
    log.info("%s: %s tracks, %.0f s", manifest.dataset, counts, sum(track.seconds for track in manifest.tracks))


if __name__ == "__main__":
    main(run)
