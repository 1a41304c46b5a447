"""Stage `score_vad`: the voice activity net on the test tracks, beside an always-singing baseline."""

from functools import partial

from svs import dataset, files, paths, settings
from svs.running import log, log_parameters, main, progress


def run() -> None:
    from svs import vocal_activity

    parameters = settings.load()
    log_parameters(vad=parameters.extract.vad)
    data = dataset.opened(parameters, paths.MANIFEST, paths.DATASETS)
    metrics = vocal_activity.evaluate(paths.VAD, data, parameters.extract.vad,
                                      partial(progress, unit="track", desc="vad"))
    files.write_json(paths.METRICS / "vad.json", metrics)
    log.info("vad: balanced accuracy %.3f, AUROC %.3f (always singing: 0.500)",
             metrics["net"]["balanced_accuracy"], metrics["net"]["auroc"])


if __name__ == "__main__":
    main(run)
