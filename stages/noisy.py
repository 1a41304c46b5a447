"""Stage `noisy`: recordings of voices and of breathing in noise, made by rule."""

from svs.config import paths, schema
from svs.data import noisy
from svs.runtime.process import log, log_parameters, main


def run() -> None:
    parameters = schema.load()
    log_parameters(noisy=parameters.noisy, seed=parameters.seed)
    made = noisy.write(paths.NOISY, noisy.recordings(parameters.noisy, parameters.seed, ("test",)))
    sources = {(entry.kind, entry.source) for entry in made}
    log.info("%d recordings of %d sources in %s", len(made), len(sources), paths.NOISY)


if __name__ == "__main__":
    main(run)
