"""Stage `report`: the page of all results, with what every test track sounds like."""

from pathlib import Path

from svs.config import paths, schema
from svs.report.build import build
from svs.runtime.process import log_parameters, main


def run() -> None:
    parameters = schema.load()
    log_parameters(report=parameters.report)
    build(Path(), parameters, paths.PLOTS / "report")


if __name__ == "__main__":
    main(run)
