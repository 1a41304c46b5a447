"""Stage `score_vad`: the voice activity net on the test tracks, beside an always-singing baseline."""

from svs.config import paths, schema
from svs.data import dataset
from svs.runtime import files
from svs.runtime.process import log, log_parameters, main


def run() -> None:
    from svs.vad import evaluate

    parameters = schema.load()
    log_parameters(vad=parameters.extract.vad)
    data = dataset.open_dataset(parameters)
    metrics = evaluate.evaluate(paths.VAD, data, parameters.extract.vad)
    files.write_json(paths.METRICS / "vad.json", metrics)
    log.info(
        "vad: balanced accuracy %.3f, AUROC %.3f (always singing: 0.500)",
        metrics["net"]["balanced_accuracy"],
        metrics["net"]["auroc"],
    )


if __name__ == "__main__":
    main(run)
