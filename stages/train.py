"""Stage `train@MODEL`: a network that predicts the vocals' mask (mode SVS, or on mixtures)."""

import sys

from svs.config import paths, schema
from svs.runtime import files
from svs.runtime.process import log, log_parameters, main


def run(name: str) -> None:
    from svs import networks
    from svs.networks import archive
    from svs.training import loop, on_excerpts, on_mixtures

    parameters = schema.load()
    networks.validate(parameters)
    options, source = networks.training(name, parameters), parameters.models[name]
    log_parameters(train={name: options}, models={name: source}, seed=parameters.seed)
    scratch = files.Scratch(
        paths.SCRATCH, f"train-{name}", files.fingerprint(options, parameters.seed, inputs=[source.store, source.start])
    )
    kept = {"curve": paths.CURVES / f"{name}.csv", "logs": paths.LOGS / name}
    if isinstance(options, schema.MixtureTraining):
        model, card = on_mixtures.train_on_mixes(name, source.store, options, parameters.seed, scratch, **kept)
    else:
        model, card = on_excerpts.train(
            name,
            source.store,
            "SVS",
            options,
            parameters.seed,
            scratch,
            initial=source.start if source.start.is_dir() else None,
            **kept,
        )
    archive.save(paths.MODELS / name, model, card)
    files.write_json(paths.METRICS / "training" / f"{name}.json", loop.metrics(card))
    scratch.done()
    log.info("%s: validation loss %.4f after epoch %d", name, card["val_loss"], card["best_epoch"])


if __name__ == "__main__":
    main(run, sys.argv[1])
