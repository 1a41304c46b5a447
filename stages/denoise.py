"""Stage `denoise@METHOD`: the voice, or the breathing, of every recording in noise by one method."""

import sys

from svs.config import paths, schema
from svs.errors import UnavailableError
from svs.runtime import unavailable
from svs.runtime.process import log, log_parameters, main


def run(method: str) -> None:
    from svs import separators
    from svs.services import enhancement

    parameters = schema.load()
    log_parameters(separate={method: separators.options(method, parameters)}, common=parameters.separate.common)

    def build(kind):
        return separators.build(method, enhancement.adapted(parameters, kind))

    try:
        chunk = parameters.separate.common.chunk
        seconds = enhancement.enhance_all(paths.NOISY, build, chunk, paths.DENOISED / method)
    except UnavailableError as error:
        # The rest of the pipeline goes on.
        log.warning("%s is left out: %s", method, error)
        unavailable.record(paths.DENOISED / method, method, str(error))
        return
    log.info("%s: %.0f s of recordings enhanced", method, seconds)


if __name__ == "__main__":
    main(run, sys.argv[1])
