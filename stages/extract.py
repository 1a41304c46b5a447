"""Stage `extract`: spectrograms, masks and labels of the training tracks into one zarr store."""

from svs.config import paths, schema
from svs.data import dataset
from svs.features import extraction, store
from svs.runtime import files
from svs.runtime.process import log, log_parameters, main


def run() -> None:
    parameters = schema.load()
    log_parameters(extract=parameters.extract)
    data = dataset.open_dataset(parameters)
    mark = files.fingerprint(parameters.extract, inputs=[paths.MANIFEST], code=[extraction.__name__])
    scratch = files.Scratch(paths.SCRATCH, "extract", mark)
    counts = extraction.extract(data, parameters.extract, paths.STORE, scratch)
    for group in store.GROUPS:  # DVC expects every output, also of a mode that extract.modes leaves out
        (paths.STORE / group).mkdir(exist_ok=True)
    scratch.done()
    log.info("frames to centre excerpts on: %s", ", ".join(f"{mode} {count}" for mode, count in counts.items()))


if __name__ == "__main__":
    main(run)
