"""Stage `download`: get the data set, look into every track, write the manifest."""

from collections import Counter

from svs.config import paths, schema
from svs.data import inspection, locate
from svs.runtime.process import log, log_parameters, main


def run() -> None:
    parameters = schema.load()
    log_parameters(download=parameters.download)
    folders = locate.locate_each(parameters.download, parameters.seed, paths.DATASETS)
    manifest = inspection.inspect_each(parameters.download, parameters.seed, folders)
    manifest.require("train", "valid", "test")
    manifest.refuse_leaks()
    manifest.save(paths.MANIFEST)
    for name, tracks in manifest.datasets.items():
        of = Counter(track.split for track in tracks)
        counts = ", ".join(f"{of[split]} {split}" for split in ("train", "valid", "test", "unused"))
        log.info("%s: %s tracks, %.0f s", name, counts, sum(track.seconds for track in tracks))


if __name__ == "__main__":
    main(run)
