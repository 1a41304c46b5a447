"""Stage `train@MODEL`: a network that predicts the vocals' mask (mode SVS, or on mixtures)."""

import sys
from pathlib import Path

from svs.config import paths, schema
from svs.runtime import files
from svs.runtime.process import log, log_parameters, main


def run(name: str) -> None:
    from svs import networks

    networks.choose_backend(name)  # before the next lines import Keras
    from svs.networks import archive
    from svs.training import loop, on_excerpts, on_mixtures

    parameters = schema.load()
    networks.validate(parameters)
    options, source, seed = networks.training(name, parameters), parameters.models[name], parameters.seed
    log_parameters(train={name: options}, models={name: source}, seed=seed)
    mixed = isinstance(options, schema.MixtureTraining)
    code = [(on_mixtures if mixed else on_excerpts).__name__, networks.find_network(name).build.__module__]
    inputs = [source.store, source.start]
    if mixed and options.start and Path(options.start).exists():  # a trained net
        inputs.append(Path(options.start))
    mark = files.fingerprint(options, seed, inputs=inputs, code=code)
    scratch = files.Scratch(paths.SCRATCH, f"train-{name}", mark)
    curve, logs = paths.CURVES / f"{name}.csv", paths.LOGS / name
    if mixed:
        model, card = on_mixtures.train_on_mixes(name, source.store, options, seed, scratch, curve=curve, logs=logs)
    else:
        start = source.start if source.start.is_dir() else None
        model, card = on_excerpts.train(
            name, source.store, "SVS", options, seed, scratch, initial=start, curve=curve, logs=logs
        )
    archive.save(paths.MODELS / name, model, card)
    files.write_json(paths.METRICS / "training" / f"{name}.json", loop.metrics(card))
    scratch.done()
    log.info("%s: validation loss %.4f after epoch %d", name, card["val_loss"], card["best_epoch"])


if __name__ == "__main__":
    main(run, sys.argv[1])
