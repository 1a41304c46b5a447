"""Stage `pretrain`: the deep net as an autoencoder of vocal excerpts (mode DAE)."""

from svs.config import paths, schema
from svs.runtime import files
from svs.runtime.process import log, log_parameters, main


def run() -> None:
    from svs import networks
    from svs.networks import archive
    from svs.training import loop, on_excerpts

    parameters = schema.load()
    options = parameters.pretrain
    log_parameters(pretrain=options, seed=parameters.seed)
    group = paths.STORE / "masks"
    name = "cnn_deep_separator"
    code = [on_excerpts.__name__, networks.find_network(name).build.__module__]
    mark = files.fingerprint(options, parameters.seed, inputs=[group], code=code)
    scratch = files.Scratch(paths.SCRATCH, "pretrain", mark)
    curve, logs = paths.CURVES / "autoencoder.csv", paths.LOGS / "autoencoder"
    model, card = on_excerpts.train(name, group, "DAE", options, parameters.seed, scratch, curve=curve, logs=logs)
    archive.save(paths.AUTOENCODER, model, card)
    files.write_json(paths.METRICS / "training" / "autoencoder.json", loop.metrics(card))
    scratch.done()
    log.info("autoencoder: validation loss %.4f after epoch %d", card["val_loss"], card["best_epoch"])


if __name__ == "__main__":
    main(run)
