"""Stage `train@MODEL`: a network that predicts the vocals' mask (mode SVS)."""

import sys

from svs import files, paths, settings
from svs.running import log, log_parameters, main


def run(name: str) -> None:
    from svs import training
    from svs.models import archive

    parameters = settings.load()
    options, start = parameters.train[name], parameters.models[name]
    log_parameters(train={name: options}, start=start, seed=parameters.seed)
    group = paths.STORE / "svs"
    scratch = files.Scratch(paths.SCRATCH, f"train-{name}",
                            files.fingerprint(options, parameters.seed, inputs=[group, start]))
    model, card = training.train(name, group, "SVS", options, parameters.seed, scratch,
                                 initial=start if start.is_dir() else None,
                                 curve=paths.CURVES / f"{name}.csv", logs=paths.LOGS / name)
    archive.save(paths.MODELS / name, model, card)
    files.write_json(paths.METRICS / "training" / f"{name}.json", training.metrics(card))
    scratch.done()
    log.info("%s: validation loss %.4f after epoch %d", name, card["val_loss"], card["best_epoch"])


if __name__ == "__main__":
    main(run, sys.argv[1])
