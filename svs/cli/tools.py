"""`svs extract`, `svs train`, `svs score`, `svs methods`: the seed's tools, and what there is to choose from."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from svs.cli import options
from svs.cli.options import app
from svs.errors import DataError, ModelError, SettingsError, SVSError
from svs.running import log

if TYPE_CHECKING:
    from svs.dataset import Manifest
    from svs.draws import Default
    from svs.files import Scratch
    from svs.project import Project
    from svs.settings import AnyTraining, Extract
    from svs.store import Stems

# The seed wrote --frame_size.
UNDERSCORES = {"token_normalize_func": lambda name: name.replace("_", "-")}
_VALIDATION = 5        # of the excerpts of a training track, one in so many is drawn of a validation track


@app.command(context_settings=UNDERSCORES)
def extract(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder of MUSDB18 or MUSDB18-HQ (train/ and test/).")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The store (zarr) to make.")],
    iterations: Annotated[int, typer.Argument(
        metavar="ITERATIONS", min=1, help="Sets of excerpts (MIX: of mixtures, in every epoch), one of each song.")],
    mode: Annotated[str, typer.Argument(
        metavar="MODE", help="SVS (mixture, mask) | DAE (vocals) | VAD (mixture, sung or not) | MIX (the stems' audio, "
                             "to be mixed).")],
    frame_size: Annotated[int | None, typer.Option("--frame-size", "-f", help="Samples of the FFT.",
                                                   show_default="params.yaml")] = None,
    hop_length: Annotated[int | None, typer.Option("--hop-length", "-H", help="Samples between frames.",
                                                   show_default="params.yaml")] = None,
    win_length: Annotated[int | None, typer.Option("--win-length", "-w", help="Samples of the Hann window.",
                                                   show_default="params.yaml")] = None,
    sample_rate: Annotated[int | None, typer.Option("--sample-rate", "-sr", help="Hz.",
                                                    show_default="params.yaml")] = None,
    width: Annotated[int | None, typer.Option("--width", "-iw", help="Frames of an excerpt, odd.",
                                              show_default="params.yaml")] = None,
    start_point: Annotated[float, typer.Option("--start-point", "-sp", min=0.0,
                                               help="Seconds into each song at which excerpts begin.")] = 0.0,
    label_width: Annotated[int | None, typer.Option("--label-width", "-ow", help="Frames of a label, odd.",
                                                    show_default="the width")] = None,
    overwrite: options.Overwrite = False,
    project: options.Project = None,
    overrides: options.Overrides = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Training data from MUSDB18: the seed's preprocess_data_tool.

    Whole spectrograms are stored, and an excerpt is cut when a training reads it: ITERATIONS, the start point and the
    label width stay with the store, and `svs train` uses them.  Interrupted, the same command goes on.
    """
    from svs import dataset, draws, settings
    from svs import project as projects

    mode = _mode(mode)
    here = projects.find(project, overrides or ())
    group = draws.GROUP_OF_MODE[mode]
    cut = {"frame_size": frame_size, "hop_length": hop_length, "win_length": win_length, "width": width}
    if mode == "MIX":
        _no_excerpts(start_point=start_point or None, label_width=label_width, **cut)
        cut = {}
    kept = settings.changed(getattr(here.settings.extract, group), f"extract.{group}", sample_rate=sample_rate, **cut)
    wanted = here.settings.extract.model_copy(update={"modes": (mode,), group: kept})
    draw = draws.Default(mode, iterations, max(1, round(iterations / _VALIDATION)), start_point,
                         None if mode == "MIX" else _label_width(mode, label_width, kept.width))
    _free(out, overwrite, "zarr.json", "a store of spectrograms")
    with options.resumable():
        place, validation = dataset.at(data)
        manifest = dataset.inspect(here.settings.download, here.settings.seed, place, validation,
                                   lambda subset, name: subset == "train")
        manifest.require("train", "valid")
        with _scratch(out, wanted, [repr(track) for track in manifest.tracks]) as scratch:
            counts = _extract(dataset.Dataset(place, manifest), wanted, out, draw, scratch)
        if not quiet:
            print(_described(out, draw, manifest, counts, wanted))


def _mode(given: str) -> str:
    from svs.draws import MODES

    if given.upper() not in MODES:
        raise SettingsError(f"mode {given}: expected one of {', '.join(MODES)}")
    return given.upper()


def _no_excerpts(**given: Any) -> None:
    """Refuse what is said of excerpts in the mode that has none."""
    if wrong := [f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None]:
        raise SettingsError(f"{', '.join(wrong)}: mode MIX keeps whole stems, of which passages are cut while a "
                            "network is trained from its beginning (train.NETWORK in params.yaml); leave it out")


def _label_width(mode: str, given: int | None, width: int) -> int | None:
    if mode == "VAD":
        if given is not None:
            raise SettingsError("--label-width: in mode VAD the label is that of the centre frame; leave it out")
        return None
    label = width if given is None else given
    if not 1 <= label <= width or label % 2 == 0:
        raise SettingsError(f"--label-width {label}: expected an odd number of frames up to the width, {width}")
    return label


def _free(out: Path, overwrite: bool, mark: str, what: str) -> None:
    """Refuse an output that exists; with --overwrite, one that isn't of the kind to be replaced."""
    if not out.exists() and not out.is_symlink():
        return
    if not overwrite:
        raise DataError(f"{out}: is there already; choose another name, or --overwrite")
    if not (out / mark).is_file():
        raise DataError(f"{out}: expected {what} to overwrite, found something else; choose another name")


@contextmanager
def _scratch(out: Path, *parts: Any, inputs: Sequence[Path] = ()) -> Iterator[Scratch]:
    """Where an interrupted run goes on from, hidden beside its output; gone when the run is done."""
    from svs import files, service

    work = f".{out.name}.partial"
    with service.only_one(out.parent / work):
        scratch = files.Scratch(out.parent, work, files.fingerprint(*parts, inputs=inputs))
        try:
            yield scratch
            scratch.done()
        finally:
            with suppress(OSError):        # nothing to go on from, or it is done
                scratch.path.rmdir()
                scratch.path.parent.rmdir()


def _extract(data: Any, wanted: Extract, out: Path, draw: Default, scratch: Scratch) -> dict[str, dict[str, int]]:
    """Write the store; returns what a training will draw of each track, by split: excerpts, or mixtures an epoch."""
    from svs import draws, extraction, files, store

    with files.written(out) as temporary:
        extraction.extract(data, wanted, temporary, scratch)
        group = temporary / draws.GROUP_OF_MODE[draw.mode]
        if draw.mode == "MIX":
            stems = store.Stems(group)
            draws.keep(group, draw)
            return {split: dict.fromkeys(stems.tracks(*names), draw.per_track)
                    for split, names in (("train", ("train", "unused")), ("valid", ("valid",)))}
        spectrograms = store.Spectrograms(group)
        counts = {}
        for split, most in (("train", draw.per_track), ("valid", draw.valid_per_track)):
            frames = draws.available(spectrograms, draw.mode, split, draw.start_point)
            counts[split] = {track: min(most, count) for track, count in frames.items()}
            if not any(counts[split].values()):
                raise DataError(f"no excerpt of mode {draw.mode} after second {draw.start_point:g} in any track of "
                                f"split {split}; choose an earlier --start-point")
        draws.keep(group, draw)
    return counts


def _described(out: Path, draw: Default, manifest: Manifest, counts: dict[str, dict[str, int]],
               wanted: Extract) -> str:
    from svs.draws import GROUP_OF_MODE

    if draw.mode == "MIX":
        songs, few = len(counts["train"]), len(manifest.split("train"))
        more = f" ({songs - few} of which the other modes leave out)" if songs > few else ""
        return "\n".join([f"{out}: the stems of {songs} training songs{more} at {wanted.stems.sample_rate} Hz "
                          f"(mode MIX)", f"{draw.per_track} sets of {songs} mixtures in every epoch, and "
                          f"{len(counts['valid'])} other songs as they are for validation"])
    excerpts = getattr(wanted, GROUP_OF_MODE[draw.mode])
    songs = len(manifest.split("train"))
    label = (songs, 1) if draw.mode == "VAD" else (songs, excerpts.bins, draw.label_width)
    lines = [f"{out}: {draw.per_track} sets of {songs} excerpts, one of each training song (mode {draw.mode})",
             f"Input shape for set: {(songs, excerpts.bins, excerpts.width)}",
             f"Output shape for each set: {label}",
             f"{sum(counts['train'].values())} excerpts for training, {sum(counts['valid'].values())} of "
             f"{len(manifest.split('valid'))} other songs for validation"]
    short = [track for track, count in counts["train"].items() if count < draw.per_track]
    if short:
        lines.append(f"{len(short)} songs are too short for {draw.per_track} excerpts and give all they have: "
                     + "; ".join(short[:5]))
    return "\n".join(lines)


@app.command(context_settings=UNDERSCORES)
def train(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the trained model is called.")],
    store: Annotated[Path, typer.Argument(metavar="STORE", help="What `svs extract` or the pipeline made.")],
    mode: Annotated[str, typer.Argument(
        metavar="MODE", help="SVS (separation) | DAE (autoencoder) | VAD (voice activity) | MIX (separation, on random "
                             "mixtures).")],
    epochs: Annotated[int | None, typer.Option("--epochs", "-e", min=1, help="At most.",
                                               show_default="params.yaml")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", "-b", min=1, help="Excerpts or mixtures of a step.",
                                                   show_default="params.yaml")] = None,
    mixes: Annotated[int | None, typer.Option("--mixes", min=1, help="Mixtures of an epoch (mode MIX).",
                                              show_default="the store's")] = None,
    network: Annotated[str | None, typer.Option(
        "--network", "-n", help="cnn_separator | cnn_deep_separator | either with _valid | vad | unet_separator.",
        show_default="NAME, or what suits the mode and the label")] = None,
    init: Annotated[Path | None, typer.Option(
        "--init", help="Folder of a trained model (mode DAE) whose weights are the start.", show_default=False)] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder of the model.",
                                                show_default="models/NAME")] = None,
    label_width: Annotated[int | None, typer.Option("--label-width", "-ow", help="Frames of a label, odd.",
                                                    show_default="the store's")] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", help="Of Adam.",
                                                        show_default="params.yaml")] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Of every random draw.",
                                             show_default="params.yaml")] = None,
    overwrite: options.Overwrite = False,
    project: options.Project = None,
    overrides: options.Overrides = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Train a network on a store: the seed's train.py.

    Writes model.keras, model.json, curve.csv and metrics.json into one folder.  Interrupted, the same command goes on
    after the last whole epoch.  Parameters are those of params.yaml (train.NETWORK, pretrain or vad), then what the
    store was made with, then --set, then the options here.
    """
    from svs import draws, paths
    from svs import project as projects
    from svs.store import Spectrograms, Stems

    mode = _mode(mode)
    if name in ("", ".", "..") or "/" in name or "\\" in name:
        raise SettingsError(f"name {name!r}: expected the name of a folder; say where with --output")
    group = store / draws.GROUP_OF_MODE[mode]
    kept = draws.kept(group) if group.is_dir() else None
    if not group.is_dir() or kept is not None and kept.mode != mode:
        raise DataError(f"{store}: expected a store for mode {mode}, " + (f"it was made for {kept.mode}" if kept else
                        "found none") + f"; make one: svs extract DATA OUT ITERATIONS {mode}")
    label = label_width if label_width is not None else kept.label_width if kept else None
    network = _network(network, name, mode, label)
    section = {"DAE": "pretrain", "VAD": "vad"}.get(mode, f"train.{network}")
    given = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    if mode == "MIX":
        _no_excerpts(label_width=label_width, init=init)
        given["mixes"] = mixes
        batch = batch_size or _trainable(projects.find(project), network).batch_size
        store_says = _of_the_stems(kept, section, Stems(group), batch)
    else:
        if mixes is not None:
            raise SettingsError(f"--mixes: mode {mode} has no mixtures, ITERATIONS of `svs extract` are its excerpts; "
                                "leave it out")
        width = Spectrograms(group).representation["width"]
        given["label_width"] = label_width
        store_says = _of_the_store(kept, section)
    laid = [*store_says, *(overrides or ()),
            *(f"{section}.{key}={value!r}" for key, value in given.items() if value is not None),
            *([] if seed is None else [f"seed={seed}"])]
    here = projects.find(project, laid)
    settings = here.settings
    training = {"DAE": settings.pretrain, "VAD": settings.vad}.get(mode) or _trainable(here, network)
    if mode != "MIX":
        training = training.model_copy(update={"label_width": None if mode == "VAD" else
                                               _label_width(mode, training.label_width, width)})
    if init is not None and not (init / "model.keras").is_file():
        raise ModelError(f"{init}: expected a folder with model.keras that svs trained; leave --init out to start anew")
    out = output if output is not None else here.path(paths.MODELS) / name
    _free(out, overwrite, "model.keras", "a trained model")
    inputs = [group, *([] if init is None else [init])]
    with options.resumable(), _scratch(out, network, mode, training, settings.seed, inputs=inputs) as scratch:
        logs = here.path(paths.LOGS) / name if os.access(here.home, os.W_OK) else None
        metrics = _train(network, group, mode, training, settings.seed, scratch, init, out, logs)
    if not quiet:
        print(f"{out}: {network}, mode {mode}; validation loss {metrics['val_loss']:.4f} after epoch "
              f"{metrics['best_epoch']} of {metrics['epochs']}")
        print(_how_to_use(here, out, network, mode))


def _trainable(here: Project, network: str) -> AnyTraining:
    if network not in here.settings.train:
        raise SettingsError(f"train.{network}: params.yaml has no such group; add it")
    return here.settings.train[network]


def _network(given: str | None, name: str, mode: str, label: int | None) -> str:
    from svs.models import ON_MIXES, REGISTRY

    every = (*REGISTRY, *ON_MIXES)
    if given is None:
        suits = {"DAE": "cnn_deep_separator", "VAD": "vad", "MIX": ON_MIXES[0]}.get(
            mode, "cnn_separator" if label == 1 else "cnn_deep_separator")
        given = name.casefold() if name.casefold() in every else suits
    if given not in every:
        raise SettingsError(f"--network {given}: no such network; expected one of {', '.join(every)}")
    own = {"VAD": ("vad",), "MIX": ON_MIXES}         # networks that have a mode to themselves
    suit = own.get(mode, tuple(one for one in every if not any(one in names for names in own.values())))
    if given not in suit:
        raise SettingsError(f"the network {given} can't be trained in mode {mode}, which has {', '.join(suit)}; choose "
                            "another --network, mode or name")
    return given


def _of_the_store(kept: Default | None, section: str) -> list[str]:
    """What the store was made with, as parameters."""
    # How wide an excerpt is the store says; whether a label fits into it is looked at later.
    laid = ["extract.svs.width=999"]
    if kept is not None:
        laid += [f"{section}.excerpts.per_track={kept.per_track}",
                 f"{section}.excerpts.valid_per_track={kept.valid_per_track}",
                 f"{section}.excerpts.start_point={kept.start_point!r}"]
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


def _train(network: str, group: Path, mode: str, training: Any, seed: int, scratch: Scratch, init: Path | None,
           out: Path, logs: Path | None) -> dict[str, Any]:
    import shutil

    from svs import files
    from svs.running import quietly

    with quietly():        # TensorFlow's greeting
        from svs import mix_training
        from svs import training as trainer
        from svs.models import archive

    curve = scratch.path / "curve.csv"
    if mode == "MIX":
        model, card = mix_training.train_on_mixes(network, group, training, seed, scratch, curve=curve, logs=logs)
    else:
        model, card = trainer.train(network, group, mode, training, seed, scratch, initial=init, curve=curve,
                                    logs=logs)
    metrics = trainer.metrics(card)
    with files.written(out) as temporary:
        archive.save(temporary, model, card)
        shutil.copyfile(curve, temporary / curve.name)
        files.write_json(temporary / "metrics.json", metrics)
    return metrics


def _how_to_use(here: Project, out: Path, network: str, mode: str) -> str:
    if mode == "DAE":
        return f"start a training from it: svs train NAME STORE SVS --network {network} --init {out}"
    from svs import paths, separators

    if mode == "VAD":
        at_home = out.resolve() == here.path(paths.VAD).resolve()
        return "use it: svs vad SONG" if at_home else f"`svs vad` takes it from {here.path(paths.VAD)}; copy it there"
    wanted = here.path(separators.needs(network, here.settings))
    word = "" if out.resolve() == wanted.resolve() else f" -S methods.{network}={out.resolve()}"
    return f"use it: svs separate SONG -m {network}{word}"


@app.command()
def score(
    methods: Annotated[list[str] | None, typer.Argument(
        metavar="METHOD", help="Methods of `svs methods`, or of the folder of --estimates.",
        show_default=False)] = None,
    musdb: Annotated[Path | None, typer.Option(help="Folder of MUSDB18 or MUSDB18-HQ (train/ and test/).",
                                               show_default="the project's data set")] = None,
    output: options.Output = Path("scored"),
    estimates: Annotated[Path | None, typer.Option(
        help="Score what is there already: test/TRACK/{vocals,accompaniment}.wav, or folders of that.",
        show_default=False)] = None,
    tracks: Annotated[list[str] | None, typer.Option(
        "--tracks", "-t", help="The first so many, or a name or a part of it; again for several.",
        show_default="all test tracks")] = None,
    start: Annotated[float | None, typer.Option(min=0.0, help="Second of each track at which scoring starts.",
                                                show_default="params.yaml")] = None,
    duration: Annotated[float | None, typer.Option(min=0.001, help="Seconds that are scored.",
                                                   show_default="params.yaml")] = None,
    protocol: Annotated[str, typer.Option(
        help="bsseval (stereo, the whole track) | seed (mono, 22,050 Hz, 60 s from second 30).")] = "bsseval",
    weights: options.Weights = None,
    overwrite: options.Overwrite = False,
    project: options.Project = None,
    overrides: options.Overrides = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Separate every test track by every METHOD and score it: the seed's test_service.

    OUTPUT/METHOD/test/TRACK/{vocals,accompaniment}.wav, OUTPUT/scores/ (museval's JSON), OUTPUT/scores.csv and
    OUTPUT/sdr_boxplot.{png,svg}.  Tracks that are done are skipped.  Whole tracks are separated, whatever passage is
    scored.
    """
    from svs import dataset, paths, separators, service
    from svs import project as projects
    from svs.cli.separate import Request, split_methods
    from svs.scores import PROTOCOLS, SEED

    if protocol not in PROTOCOLS:
        raise SettingsError(f"--protocol {protocol}: expected one of {', '.join(PROTOCOLS)}")
    passage = "score.seed_protocol.passage" if protocol == SEED else "score.passage"
    laid = [*Request(weights=weights, overrides=list(overrides or ())).all_overrides(),
            *(f"{passage}.{key}={value!r}" for key, value in (("start", start), ("duration", duration))
              if value is not None)]
    here = projects.find(project, laid)
    wanted = split_methods(methods) if methods else []
    if estimates is None and not wanted:
        raise SettingsError("name one method or more (`svs methods` lists them), or --estimates")
    unknown = [method for method in wanted if method not in separators.REGISTRY] if estimates is None else []
    if unknown:
        raise SettingsError(f"{unknown[0]}: no such method; expected one of {', '.join(separators.REGISTRY)}")
    folders = _estimates(estimates, wanted, output) if estimates is not None else \
        {method: output / method for method in wanted}
    with options.resumable():
        folder = musdb if musdb is not None else dataset.present(here.settings, here.path(paths.DATASETS))
        with service.only_one(output):
            code = _compare(here, folder, folders, estimates is None, output, tracks or (), protocol, overwrite, quiet)
    if code:
        raise typer.Exit(code)


def _estimates(folder: Path, wanted: list[str], output: Path) -> dict[str, Path]:
    """Folders of estimates by method; one folder alone takes the method's name that is given."""
    from svs import comparison

    found = comparison.methods_below(folder)
    if (folder / "test").is_dir():
        if len(wanted) > 1:
            raise SettingsError(f"{folder} holds the estimates of one method, but {len(wanted)} are named")
        return {(wanted or list(found))[0]: folder}
    missing = [method for method in wanted if method not in found]
    if missing:
        raise DataError(f"{folder}: no estimates of {', '.join(missing)}; it holds {', '.join(found)}")
    return {method: found[method] for method in wanted or found}


def _compare(here: Project, musdb: Path, folders: dict[str, Path], make: bool, output: Path, wanted: Sequence[str],
             protocol: str, overwrite: bool, quiet: bool) -> int:
    from svs import comparison, separators

    data = comparison.opened(here, musdb, wanted)
    tracks = data.manifest.split("test")
    failed: dict[str, SVSError] = {}
    for method, folder in folders.items():
        try:
            if make:
                separator = separators.build(method, here.settings, here.home)
                done = comparison.separate(data, separator, here, folder, overwrite=overwrite)
                log.info("%s: %d tracks separated, %d were there already", method, done, len(tracks) - done)
                del separator
            done = comparison.score(data, folder, method, here.settings.score, protocol, output / "scores" / method,
                                    overwrite=overwrite)
            log.info("%s: %d tracks scored, %d were there already", method, done, len(tracks) - done)
        except SVSError as error:
            if len(folders) == 1:
                raise
            log.warning("%s is left out: %s", method, error)
            failed[method] = error
    scored = [method for method in folders if method not in failed]
    if scored:
        note = f"{len(tracks)} test tracks of {musdb.resolve().name}; protocol {protocol}; points are tracks"
        text = comparison.report(output, scored, tracks, protocol, note)
        if not quiet:
            print(f"median over {len(tracks)} tracks in dB, protocol {protocol}\n{text}")
    for method, error in failed.items():
        print(f"error: {method} was left out: {error}", file=sys.stderr)
    return next(iter(failed.values())).exit_code if failed else 0


@app.command()
def methods(
    weights: options.Weights = None,
    project: options.Project = None,
    overrides: options.Overrides = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Every separation method, and whether it can run here."""
    from svs import doctor, separators
    from svs import project as projects
    from svs.cli.separate import Request

    here = projects.find(project, Request(weights=weights, overrides=list(overrides or ())).all_overrides())
    states = {method: doctor.method(method, here) for method in separators.REGISTRY}
    column = max(map(len, states))
    chosen = doctor.default(here)
    for method, check in states.items():
        word = " (the default)" if method == chosen else ""
        print(f"{method:<{column}}  {'ready  ' if check.ok else 'missing'}  {separators.REGISTRY[method]}{word}")
        if check.advice:
            print(f"{'':<{column}}           {check.advice}")
