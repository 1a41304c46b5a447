"""Stage `pretrain`: the deep net as an autoencoder of vocal excerpts (mode DAE)."""

from svs.config import paths, schema
from svs.runtime import files
from svs.runtime.process import log, log_parameters, main


def run() -> None:
    from svs.networks import archive
    from svs.training import loop, on_excerpts

    parameters = schema.load()
    options = parameters.pretrain
    log_parameters(pretrain=options, seed=parameters.seed)
    group = paths.STORE / "masks"
    scratch = files.Scratch(paths.SCRATCH, "pretrain", files.fingerprint(options, parameters.seed, inputs=[group]))
    model, card = on_excerpts.train(
        "cnn_deep_separator",
        group,
        "DAE",
        options,
        parameters.seed,
        scratch,
        curve=paths.CURVES / "autoencoder.csv",
        logs=paths.LOGS / "autoencoder",
    )
    archive.save(paths.AUTOENCODER, model, card)
    files.write_json(paths.METRICS / "training" / "autoencoder.json", loop.metrics(card))
    scratch.done()
    log.info("autoencoder: validation loss %.4f after epoch %d", card["val_loss"], card["best_epoch"])


if __name__ == "__main__":
    main(run)
