"""Stage `reference`: the scores that SiSEC18 published, on the seconds that ours are scored on."""

from svs.config import paths, schema
from svs.data import dataset
from svs.errors import UnavailableError
from svs.evaluation import sisec18, tables
from svs.runtime import unavailable
from svs.runtime.process import log, log_parameters, main


def run() -> None:
    parameters = schema.load()
    log_parameters(reference=parameters.reference)
    try:
        path = sisec18.located(parameters.reference)
        data = dataset.open_dataset(parameters)
        places = sisec18.bring_in(data, path, parameters.reference, parameters.score, paths.PUBLISHED)
    except UnavailableError as error:
        # The rest of the pipeline goes on, and says that they are left out.
        log.warning("the published systems are left out: %s", error)
        unavailable.record(paths.PUBLISHED, "published systems", str(error))
        return
    log.info(
        "%d published systems on %d tracks; largest deviation of MIX %.3f dB",
        len(tables.systems(paths.PUBLISHED)),
        len(places),
        max(place.deviation for place in places),
    )


if __name__ == "__main__":
    main(run)
