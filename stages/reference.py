"""Stage `reference`: the scores that SiSEC18 published, on the seconds that ours are scored on."""

from svs import availability, dataset, paths, reference, settings, summary
from svs.errors import UnavailableError
from svs.running import log, log_parameters, main


def run() -> None:
    parameters = settings.load()
    log_parameters(reference=parameters.reference)
    try:
        path = reference.located(parameters.reference)
        data = dataset.opened(parameters, paths.MANIFEST, paths.DATASETS)
        places = reference.bring_in(data, path, parameters.reference, parameters.score, paths.PUBLISHED)
    except UnavailableError as error:
        # The rest of the pipeline goes on, and says that they are left out.
        log.warning("the published systems are left out: %s", error)
        availability.record(paths.PUBLISHED, "published systems", str(error))
        return
    log.info("%d published systems on %d tracks; largest deviation of MIX %.3f dB",
             len(summary.systems(paths.PUBLISHED)), len(places), max(place.deviation for place in places))


if __name__ == "__main__":
    main(run)
