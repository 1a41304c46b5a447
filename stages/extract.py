"""Stage `extract`: spectrograms, masks and labels of the training tracks into one zarr store."""

from svs import dataset, extraction, files, paths, settings
from svs.running import log, log_parameters, main


def run() -> None:
    parameters = settings.load()
    log_parameters(extract=parameters.extract)
    data = dataset.opened(parameters, paths.MANIFEST, paths.DATASETS)
    scratch = files.Scratch(paths.SCRATCH, "extract",
                            files.fingerprint(parameters.extract, inputs=[paths.MANIFEST]))
    counts = extraction.extract(data, parameters.extract, paths.STORE, scratch)
    scratch.done()
    log.info("frames to centre excerpts on: %s", ", ".join(f"{mode} {count}" for mode, count in counts.items()))


if __name__ == "__main__":
    main(run)
