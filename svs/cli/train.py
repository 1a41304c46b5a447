"""`svs train`: train a network on a store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from svs.cli import options
from svs.cli.excerpts import (
    UNDERSCORES,
    checked_label_width,
    checked_mode,
    refuse_excerpt_options,
    require_free,
    scratch_beside,
)
from svs.cli.options import app
from svs.errors import DataError, ModelError, SettingsError

if TYPE_CHECKING:
    from svs.config.project import Project
    from svs.features.store import Default, Stems
    from svs.runtime.files import Scratch


@app.command(context_settings=UNDERSCORES)
def train(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the trained model is called.")],
    store: Annotated[Path, typer.Argument(metavar="STORE", help="What `svs extract` or the pipeline made.")],
    mode: Annotated[
        str,
        typer.Argument(
            metavar="MODE",
            help="SVS (separation) | DAE (autoencoder) | VAD (voice activity) | MIX (separation, on random mixtures).",
        ),
    ],
    epochs: Annotated[
        int | None, typer.Option("--epochs", "-e", min=1, help="At most.", show_default="params.yaml")
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", "-b", min=1, help="Excerpts or mixtures of a step.", show_default="params.yaml"),
    ] = None,
    mixes: Annotated[
        int | None, typer.Option("--mixes", min=1, help="Mixtures of an epoch (mode MIX).", show_default="the store's")
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(
            "--network",
            "-n",
            help="cnn_separator | cnn_deep_separator | either with _valid | vad | unet_separator.",
            show_default="NAME, or what suits the mode and the label",
        ),
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(
            "--init", help="Folder of a trained model (mode DAE) whose weights are the start.", show_default=False
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the model.", show_default="models/NAME")
    ] = None,
    label_width: Annotated[
        int | None, typer.Option("--label-width", "-ow", help="Frames of a label, odd.", show_default="the store's")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="Of Adam.", show_default="params.yaml")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Of every random draw.", show_default="params.yaml")
    ] = None,
    overwrite: options.Overwrite = False,
    project: options.ProjectFolder = None,
    overrides: options.Overrides = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Train a network on a store: the dissertation's train.py.

    Writes model.keras, model.json, curve.csv and metrics.json into one folder.  Interrupted, the same command goes on
    after the last whole epoch.  Parameters are those of params.yaml (train.NETWORK, pretrain or vad), then what the
    store was made with, then --set, then the options here.
    """
    from svs import networks
    from svs.config import paths
    from svs.features import store as feature_store
    from svs.features.store import Spectrograms, Stems

    mode = checked_mode(mode)
    if name in ("", ".", "..") or "/" in name or "\\" in name:
        raise SettingsError(f"name {name!r}: expected the name of a folder; say where with --output")
    group = store / feature_store.GROUP_OF_MODE[mode]
    kept = feature_store.kept(group) if group.is_dir() else None
    if not group.is_dir() or kept is not None and kept.mode != mode:
        raise DataError(
            f"{store}: expected a store for mode {mode}, "
            + (f"it was made for {kept.mode}" if kept else "found none")
            + f"; make one: svs extract DATA OUT ITERATIONS {mode}"
        )
    label = label_width if label_width is not None else kept.label_width if kept else None
    network = _network(network, name, mode, label)
    section = {"DAE": "pretrain", "VAD": "vad"}.get(mode, f"train.{network}")
    given = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    if mode == "MIX":
        refuse_excerpt_options(label_width=label_width, init=init)
        given["mixes"] = mixes
        batch = batch_size or networks.training(network, options.open_project(project).settings).batch_size
        store_says = _of_the_stems(kept, section, Stems(group), batch)
    else:
        if mixes is not None:
            raise SettingsError(
                f"--mixes: mode {mode} has no mixtures, ITERATIONS of `svs extract` are its excerpts; leave it out"
            )
        width = Spectrograms(group).representation["width"]
        given["label_width"] = label_width
        store_says = _of_the_store(kept, section)
    laid = [
        *store_says,
        *(overrides or ()),
        *(f"{section}.{key}={value!r}" for key, value in given.items() if value is not None),
        *([] if seed is None else [f"seed={seed}"]),
    ]
    here = options.open_project(project, laid)
    settings = here.settings
    training = {"DAE": settings.pretrain, "VAD": settings.vad}.get(mode) or networks.training(network, settings)
    if mode != "MIX":
        training = training.model_copy(
            update={"label_width": None if mode == "VAD" else checked_label_width(mode, training.label_width, width)}
        )
    if init is not None and not (init / "model.keras").is_file():
        raise ModelError(f"{init}: expected a folder with model.keras that svs trained; leave --init out to start anew")
    out = output if output is not None else here.path(paths.MODELS) / name
    require_free(out, overwrite, "model.keras", "a trained model")
    inputs = [group, *([] if init is None else [init])]
    trainer = "svs.training.on_mixtures" if mode == "MIX" else "svs.training.on_excerpts"
    code = [trainer, networks.find_network(network).build.__module__]
    parts = network, mode, training, settings.seed
    with options.resumable(), scratch_beside(out, *parts, inputs=inputs, code=code) as scratch:
        logs = here.path(paths.LOGS) / name if os.access(here.home, os.W_OK) else None
        metrics = _train(network, group, mode, training, settings.seed, scratch, init, out, logs)
    if not quiet:
        print(
            f"{out}: {network}, mode {mode}; validation loss {metrics['val_loss']:.4f} after epoch "
            f"{metrics['best_epoch']} of {metrics['epochs']}"
        )
        print(_how_to_use(here, out, network, mode))


def _network(given: str | None, name: str, mode: str, label: int | None) -> str:
    """The network of a training: the one given, or the one of the training's name, or the one that suits its mode."""
    from svs.networks import networks

    every = networks()
    if given is None:
        suits = {"DAE": "cnn_deep_separator", "VAD": "vad", "MIX": "unet_separator"}.get(
            mode, "cnn_separator" if label == 1 else "cnn_deep_separator"
        )
        given = name.casefold() if name.casefold() in every else suits
    if given not in every:
        raise SettingsError(f"--network {given}: no such network; expected one of {', '.join(every)}")
    suit = [
        one for one, network in every.items() if (one == "vad", network.on_mixtures) == (mode == "VAD", mode == "MIX")
    ]
    if given not in suit:
        raise SettingsError(
            f"the network {given} can't be trained in mode {mode}, which has {', '.join(suit)}; choose "
            "another --network, mode or name"
        )
    return given


def _of_the_store(kept: Default | None, section: str) -> list[str]:
    """What the store was made with, as parameters."""
    # How wide an excerpt is the store says; whether a label fits into it is looked at later.
    laid = ["extract.masks.width=999"]
    if kept is not None:
        laid += [
            f"{section}.excerpts.per_track={kept.per_track}",
            f"{section}.excerpts.valid_per_track={kept.valid_per_track}",
            f"{section}.excerpts.start_point={kept.start_point!r}",
        ]
        if kept.label_width is not None:
            laid.append(f"{section}.label_width={kept.label_width}")
    return laid


def _of_the_stems(kept: Default | None, section: str, stems: Stems, batch: int) -> list[str]:
    """What a store of stems was made with, as parameters: its rate, and whole batches of its sets of mixtures."""
    laid = [f"{section}.representation.sample_rate={stems.rate}"]
    if kept is not None:
        mixes = kept.per_track * len(stems.tracks("train", "unused"))
        laid.append(f"{section}.mixes={-(-mixes // batch) * batch}")
    return laid


def _train(
    network: str,
    group: Path,
    mode: str,
    training: Any,
    seed: int,
    scratch: Scratch,
    init: Path | None,
    out: Path,
    logs: Path | None,
) -> dict[str, Any]:
    import shutil

    from svs import networks
    from svs.runtime import files
    from svs.runtime.process import quietly

    networks.choose_backend(network)
    with quietly():  # TensorFlow's greeting
        from svs.networks import archive
        from svs.training import loop, on_excerpts, on_mixtures

    curve = scratch.path / "curve.csv"
    if mode == "MIX":
        model, card = on_mixtures.train_on_mixes(network, group, training, seed, scratch, curve=curve, logs=logs)
    else:
        model, card = on_excerpts.train(
            network, group, mode, training, seed, scratch, initial=init, curve=curve, logs=logs
        )
    metrics = loop.metrics(card)
    with files.written(out) as temporary:
        archive.save(temporary, model, card)
        shutil.copyfile(curve, temporary / curve.name)
        files.write_json(temporary / "metrics.json", metrics)
    return metrics


def _how_to_use(here: Project, out: Path, network: str, mode: str) -> str:
    if mode == "DAE":
        return f"start a training from it: svs train NAME STORE SVS --network {network} --init {out}"
    from svs import separators
    from svs.config import paths

    if mode == "VAD":
        at_home = out.resolve() == here.path(paths.VAD).resolve()
        return "use it: svs vad SONG" if at_home else f"`svs vad` takes it from {here.path(paths.VAD)}; copy it there"
    wanted = here.path(separators.needs(network, here.settings))
    word = "" if out.resolve() == wanted.resolve() else f" -S methods.{network}.needs={out.resolve()}"
    return f"use it: svs separate SONG -m {network}{word}"
