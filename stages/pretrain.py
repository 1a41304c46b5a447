"""Stage `pretrain`: the deep net as an autoencoder of vocal excerpts (mode DAE)."""

from svs import files, paths, settings
from svs.running import log, log_parameters, main


def run() -> None:
    from svs import training
    from svs.models import archive

    parameters = settings.load()
    options = parameters.pretrain
    log_parameters(pretrain=options, seed=parameters.seed)
    group = paths.STORE / "svs"
    scratch = files.Scratch(paths.SCRATCH, "pretrain",
                            files.fingerprint(options, parameters.seed, inputs=[group]))
    model, card = training.train("cnn_deep_separator", group, "DAE", options, parameters.seed, scratch,
                                 curve=paths.CURVES / "autoencoder.csv", logs=paths.LOGS / "autoencoder")
    archive.save(paths.AUTOENCODER, model, card)
    files.write_json(paths.METRICS / "training" / "autoencoder.json", training.metrics(card))
    scratch.done()
    log.info("autoencoder: validation loss %.4f after epoch %d", card["val_loss"], card["best_epoch"])


if __name__ == "__main__":
    main(run)
