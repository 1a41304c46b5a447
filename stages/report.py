"""Stage `report`: the page of all results, with what every test track sounds like."""

from pathlib import Path

from svs import paths, settings
from svs.report.build import build
from svs.running import log_parameters, main


def run() -> None:
    parameters = settings.load()
    log_parameters(report=parameters.report)
    build(Path(), parameters, paths.PLOTS / "report")


if __name__ == "__main__":
    main(run)
