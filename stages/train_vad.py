"""Stage `train_vad`: the voice activity net (mode VAD)."""

from svs import files, paths, settings
from svs.running import log, log_parameters, main


def run() -> None:
    from svs import training
    from svs.models import archive

    parameters = settings.load()
    options = parameters.vad
    log_parameters(vad=options, seed=parameters.seed)
    group = paths.STORE / "vad"
    scratch = files.Scratch(paths.SCRATCH, "train-vad",
                            files.fingerprint(options, parameters.seed, inputs=[group]))
    model, card = training.train("vad", group, "VAD", options, parameters.seed, scratch,
                                 curve=paths.CURVES / "vad.csv", logs=paths.LOGS / "vad")
    archive.save(paths.VAD, model, card)
    files.write_json(paths.METRICS / "training" / "vad.json", training.metrics(card))
    scratch.done()
    log.info("vad: validation loss %.4f after epoch %d", card["val_loss"], card["best_epoch"])


if __name__ == "__main__":
    main(run)
