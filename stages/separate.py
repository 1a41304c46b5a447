"""Stage `separate@METHOD`: vocals and accompaniment of every test track, in chunks."""

import sys
from functools import partial
from pathlib import Path

from svs.config import paths, schema
from svs.data import dataset
from svs.errors import UnavailableError
from svs.runtime import files, unavailable
from svs.runtime.process import log, log_parameters, main


def run(method: str) -> None:
    from svs import separators
    from svs.separators import estimates

    parameters = schema.load()
    separators.validate(parameters)
    options = separators.options(method, parameters)
    log_parameters(separate={method: options}, common=parameters.separate.common)
    data = dataset.open_dataset(parameters)
    mark = files.fingerprint(
        method,
        options,
        parameters.separate.common,
        inputs=[paths.MANIFEST, parameters.methods[method].needs],
        code=[separators.find_method(method).build.__module__, estimates.__name__],
    )
    try:
        separator = separators.build(method, parameters)
    except UnavailableError as error:
        # The rest of the pipeline goes on; what this method waits for is a dependency of this stage.
        log.warning("%s is left out: %s", method, error)
        unavailable.record(paths.ESTIMATES / method, method, str(error))
        return
    scratch = files.Scratch(paths.SCRATCH, f"separate-{method}", mark)
    chunk, again = parameters.separate.common.chunk, partial(separators.build, method, parameters, Path().absolute())
    seconds = estimates.separate_all(data, separator, chunk, paths.ESTIMATES / method, scratch, again)
    scratch.done()
    log.info("%s: %.0f s of music separated", method, seconds)


if __name__ == "__main__":
    main(run, sys.argv[1])
