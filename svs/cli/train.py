"""`svs train`: train a network on a store."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from svs.cli import options
from svs.cli.excerpts import Mode, checked_label_width, refuse_excerpt_options, require_free, scratch_beside
from svs.errors import DataError, ModelError, SettingsError
from svs.runtime.process import quietly

if TYPE_CHECKING:
    from svs.config.project import Project
    from svs.features.store import DrawDefaults

_SECTIONS = {"DAE": "pretrain", "VAD": "vad"}  # of params.yaml, by mode; of the others train.NETWORK


@dataclass(kw_only=True)
class Training(options.Tuned):
    """The options of `svs train`."""

    name: Annotated[str, Argument(help="What the trained model is called.")]
    store: Annotated[Path, Argument(help="What `svs extract` or the pipeline made.")]
    mode: Annotated[
        Mode,
        Argument(help="SVS (separation) | DAE (autoencoder) | VAD (voice activity) | MIX (separation, on mixtures)."),
    ]
    epochs: Annotated[int | None, options.tuned("-e", min=1, help="At most.")] = None
    batch_size: Annotated[int | None, options.tuned("-b", min=1, help="Excerpts or mixtures of a step.")] = None
    mixes: Annotated[int | None, Option(min=1, help="Of an epoch (mode MIX).", show_default="the store's")] = None
    network: Annotated[
        str | None,
        Option(
            "-n",
            help="cnn_separator | cnn_deep_separator | either with _valid | vad | unet_separator | spleeter_finetuned.",
            show_default="NAME, or what suits the mode and the label",
        ),
    ] = None
    init: Annotated[
        Path | None, Option(help="Folder of a trained model (for SVS, of mode DAE), whose weights are the start.")
    ] = None
    output: Annotated[Path | None, Option("-o", help="Folder of the model.", show_default="models/NAME")] = None
    label_width: Annotated[int | None, Option("-ow", help="Frames of a label, odd.", show_default="the store's")] = None
    learning_rate: Annotated[float | None, options.tuned(help="Of Adam.")] = None
    seed: Annotated[int | None, options.tuned(min=0, help="Of every random draw.")] = None
    overwrite: options.Overwrite = False


def train(given: Training) -> None:
    """Train a network on a store: the dissertation's train.py.

    Writes model.onnx, model.keras, model.json, curve.csv and metrics.json into one folder.  Interrupted, the same
    command continues after the last whole epoch.  Parameters are those of params.yaml (train.NETWORK, pretrain or vad),
    then what the store was made with, then --set, then the options here.
    """
    from svs.config import paths
    from svs.networks import choose_backend, find_network
    from svs.runtime import files

    mode = given.mode
    if given.name in ("", ".", "..") or "/" in given.name or "\\" in given.name:
        raise SettingsError(f"name {given.name!r}: expected the name of a folder; say where with --output")
    group, kept = _group(given.store, mode)
    label = given.label_width if given.label_width is not None else kept.label_width if kept else None
    network = _network(given.network, given.name, mode, label)
    here, training = _parameters(given, network, mode, group, kept)
    init = given.init
    if init is not None and not (init / "model.keras").is_file():
        raise ModelError(f"{init}: expected a folder with model.keras that svs trained; leave --init out to start anew")
    out = given.output if given.output is not None else here.path(paths.MODELS) / given.name
    require_free(out, given.overwrite, "model.keras", "a trained model")
    begun = here.home / str(init.absolute() if init else getattr(training, "start", None))
    seed = here.settings.seed
    inputs = [group, *([begun] if begun.exists() else [])]
    trainer = "svs.training.on_mixtures" if mode == "MIX" else "svs.training.on_excerpts"
    code = [trainer, find_network(network).build.__module__]
    with scratch_beside(out, network, mode, training, seed, inputs=inputs, code=code) as scratch:
        choose_backend(network)  # before the next lines import Keras
        with quietly():  # TensorFlow's greeting
            from svs.networks import archive
            from svs.training import loop, on_excerpts, on_mixtures

        curve, logs = scratch.path / "curve.csv", here.path(paths.LOGS) / given.name
        kept_there: dict[str, Any] = {"curve": curve, "logs": logs if os.access(here.home, os.W_OK) else None}
        if mode == "MIX":
            kept_there["home"] = here.home
            model, card = on_mixtures.train_on_mixes(network, group, training, seed, scratch, **kept_there)
        else:
            model, card = on_excerpts.train(network, group, mode, training, seed, scratch, initial=init, **kept_there)
        metrics = loop.metrics(card)
        with files.written(out) as temporary:
            archive.save(temporary, model, card)
            shutil.copyfile(curve, temporary / curve.name)
            files.write_json(temporary / "metrics.json", metrics)
    given.say(
        f"{out}: {network}, mode {mode}; validation loss {metrics['val_loss']:.4f} after epoch "
        f"{metrics['best_epoch']} of {metrics['epochs']}\n{_how_to_use(here, out, network, mode)}"
    )


def _group(store: Path, mode: str) -> tuple[Path, DrawDefaults | None]:
    """The part of a store that a mode reads, and what `svs extract` kept in it."""
    from svs.features import store as feature_store

    group = store / feature_store.GROUP_OF_MODE[mode]
    kept = feature_store.DrawDefaults.load(group) if group.is_dir() else None
    if not group.is_dir() or (kept is not None and kept.mode != mode):
        found = f"it was made for {kept.mode}" if kept else "found none"
        raise DataError(
            f"{store}: expected a store for mode {mode}, {found}; make one: svs extract DATA OUT ITERATIONS {mode}"
        )
    return group, kept


def _network(given: str | None, name: str, mode: str, label: int | None) -> str:
    """The network of a training: the one given, or the one of the training's name, or the one that suits its mode."""
    from svs.networks import networks

    if given is None:
        suits = {"DAE": "cnn_deep_separator", "VAD": "vad", "MIX": "unet_separator"}.get(
            mode, "cnn_separator" if label == 1 else "cnn_deep_separator"
        )
        given = name.casefold() if name.casefold() in networks() else suits
    kind = (mode == "VAD", mode == "MIX")
    suit = [one for one, network in networks().items() if (one == "vad", network.on_mixtures) == kind]
    if given not in suit:
        raise SettingsError(
            f"the network {given} can't be trained in mode {mode}, which has {', '.join(suit)}; choose "
            "another --network, mode or name"
        )
    return given


def _parameters(
    given: Training, network: str, mode: str, group: Path, kept: DrawDefaults | None
) -> tuple[Project, Any]:
    """The project and the parameters of the training: those of params.yaml, the store, --set and the options."""
    from svs import networks
    from svs.features import store

    section = _SECTIONS.get(mode, f"train.{network}")
    asked = {name: getattr(given, name) for name in ("epochs", "batch_size", "learning_rate", "mixes", "label_width")}
    said: list[str] = []
    if mode == "MIX":
        refuse_excerpt_options(label_width=given.label_width)
        said += options.assignments(section, start=None if given.init is None else str(given.init.absolute()))
        stems = store.Stems(group)
        said += options.assignments(f"{section}.representation", sample_rate=stems.rate)
        if kept is not None:
            batch = given.batch_size or networks.training(network, given.open().settings).batch_size
            mixes = kept.per_track * len(stems.tracks("train", "unused"))
            said += options.assignments(section, mixes=-(-mixes // batch) * batch)  # whole batches
    else:
        if given.mixes is not None:
            raise SettingsError(
                f"--mixes: mode {mode} has no mixtures, ITERATIONS of `svs extract` are its excerpts; leave it out"
            )
        # The store tells how wide an excerpt is; `checked_label_width` below holds the label against that.
        said += ["extract.masks.width=999"]
        if kept is not None:
            drawn = {name: getattr(kept, name) for name in ("per_track", "valid_per_track", "start_point")}
            said += options.assignments(f"{section}.excerpts", **drawn)
            said += options.assignments(section, label_width=kept.label_width)
    seed = [] if given.seed is None else [f"seed={given.seed}"]
    here = given.open(said, [*options.assignments(section, **asked), *seed])
    training = getattr(here.settings, section, None) or networks.training(network, here.settings)
    if mode != "MIX":
        width = store.Spectrograms(group).representation["width"]
        label = None if mode == "VAD" else checked_label_width(mode, training.label_width, width)
        training = training.model_copy(update={"label_width": label})
    return here, training


def _how_to_use(here: Project, out: Path, network: str, mode: str) -> str:
    from svs import separators
    from svs.config import paths

    if mode == "DAE":
        return f"start a training from it: svs train NAME STORE SVS --network {network} --init {out}"
    if mode == "VAD":
        at_home = out.resolve() == here.path(paths.VAD).resolve()
        return "use it: svs vad SONG" if at_home else f"`svs vad` takes it from {here.path(paths.VAD)}; copy it there"
    wanted = here.path(separators.needs(network, here.settings))
    word = "" if out.resolve() == wanted.resolve() else f" -S methods.{network}.needs={out.resolve()}"
    return f"use it: svs separate SONG -m {network}{word}"
