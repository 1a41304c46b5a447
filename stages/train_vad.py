"""Stage `train_vad`: the voice activity net (mode VAD)."""

from svs.config import paths, schema
from svs.runtime import files
from svs.runtime.process import log, log_parameters, main


def run() -> None:
    from svs import networks
    from svs.networks import archive
    from svs.training import loop, on_excerpts

    parameters = schema.load()
    options = parameters.vad
    log_parameters(vad=options, seed=parameters.seed)
    group = paths.STORE / "vad"
    code = [on_excerpts.__name__, networks.find_network("vad").build.__module__]
    mark = files.fingerprint(options, parameters.seed, inputs=[group], code=code)
    scratch = files.Scratch(paths.SCRATCH, "train-vad", mark)
    curve, logs = paths.CURVES / "vad.csv", paths.LOGS / "vad"
    model, card = on_excerpts.train("vad", group, "VAD", options, parameters.seed, scratch, curve=curve, logs=logs)
    archive.save(paths.VAD, model, card)
    files.write_json(paths.METRICS / "training" / "vad.json", loop.metrics(card))
    scratch.done()
    log.info("vad: validation loss %.4f after epoch %d", card["val_loss"], card["best_epoch"])


if __name__ == "__main__":
    main(run)
