"""Stage `separate@METHOD`: vocals and accompaniment of every test track, in chunks."""

import sys

from svs import dataset, files, paths, settings
from svs.running import log, log_parameters, main


def run(method: str) -> None:
    from svs import estimates, separators

    parameters = settings.load()
    options = parameters.separate.of(method)
    log_parameters(separate={method: options}, common=parameters.separate.common)
    data = dataset.opened(parameters, paths.MANIFEST, paths.DATASETS)
    scratch = files.Scratch(paths.SCRATCH, f"separate-{method}",
                            files.fingerprint(method, options, parameters.separate.common,
                                              inputs=[paths.MANIFEST, parameters.methods[method]]))
    separator = separators.build(method, parameters)
    seconds = estimates.separate_all(data, separator, parameters.separate.common.chunk,
                                     paths.ESTIMATES / method, scratch)
    scratch.done()
    log.info("%s: %.0f s of music separated", method, seconds)


if __name__ == "__main__":
    main(run, sys.argv[1])
