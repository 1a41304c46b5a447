"""Stage `extract`: spectrograms, masks and labels of the training tracks into one zarr store."""

from svs.config import paths, schema
from svs.data import dataset
from svs.features import extraction
from svs.runtime import files
from svs.runtime.process import log, log_parameters, main


def run() -> None:
    parameters = schema.load()
    log_parameters(extract=parameters.extract)
    data = dataset.open_dataset(parameters, paths.MANIFEST, paths.DATASETS)
    mark = files.fingerprint(parameters.extract, inputs=[paths.MANIFEST], code=[extraction.__name__])
    scratch = files.Scratch(paths.SCRATCH, "extract", mark)
    counts = extraction.extract(data, parameters.extract, paths.STORE, scratch)
    scratch.done()
    log.info("frames to centre excerpts on: %s", ", ".join(f"{mode} {count}" for mode, count in counts.items()))


if __name__ == "__main__":
    main(run)
