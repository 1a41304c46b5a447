"""Typed settings: `params.yaml`, parsed and validated once.

`load` merges the section of the chosen profile over the shared groups and returns `Settings`.  An unknown key or an
impossible value raises `svs.errors.SettingsError`, which names each key.  params.yaml has a comment with the meaning of
every parameter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from svs.errors import SettingsError

Positive = Annotated[int, Field(gt=0, strict=True)]  # strict: `true` and "3" are not numbers
Count = Annotated[int, Field(ge=0, strict=True)]
Seconds = Annotated[float, Field(ge=0)]
PositiveSeconds = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[int, Field(ge=8000, le=192000)]  # Hz
FrameSize = Annotated[int, Field(ge=64, le=65536)]  # samples
Url = Annotated[str, Field(pattern=r"^https?://")]
# What scores beside BSS Eval v4 (`svs.evaluation.rulers`).
Ruler = Literal["uSDR", "SI_SDR", "log_WMSE", "MR_STFT", "bsseval_v3", "bsseval_v3_frames"]
# The numbers that a training computes with.  Weights, their updates and losses are always float32.
Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]

WIRING = "wiring.yaml"  # beside params.yaml: the methods and models of the pipeline
WIRED = ("methods", "models", "enhancers")  # what it lists


class Group(BaseModel):
    """A group of parameters: unknown keys are errors, values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


AnyGroup = TypeVar("AnyGroup", bound=Group)


class Archive(Group):
    """An archive to download, and the checksum that its publisher gives."""

    url: Url
    checksum: Annotated[str, Field(pattern=r"^(md5:[0-9a-f]{32}|sha256:[0-9a-f]{64})$")]


class Tiny(Group):
    """The generated data set: number of tracks of each split, and length of a track (s)."""

    train: Positive
    valid: Positive
    test: Positive
    train_seconds: Annotated[float, Field(ge=2, le=600)]
    test_seconds: Annotated[float, Field(ge=2, le=600)]
    real_song: bool


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*$")]  # of a data set: it names folders
Weights = dict[Name, Annotated[float, Field(ge=0)]]  # of data sets by name; 1 where none is named


class Split(Group):
    """How tracks are split (`svs.data.splits`): the rule, the share that is tested, lists of tracks and groups."""

    by: Literal["own", "group", "fraction", "list", "train", "test"]
    test_fraction: Annotated[float, Field(gt=0, lt=1)]
    test: tuple[str, ...]
    valid: tuple[str, ...]


class FurtherSet(Group):
    """A data set beside the first one: its source, its layout and its splits; `Download` says the rest for all."""

    layout: str = "auto"
    layouts: dict[str, Any] = {}
    path: Path | None = None
    archive: Archive | None = None
    split: Split


class Download(Group):
    """The data sets, their layouts and sources, sample rate (Hz) and splits, and what to do with defects.

    `length_tolerance` (ms) is how much stems of a track may differ in length.
    """

    dataset: Name
    sets: dict[Name, FurtherSet]
    trained: tuple[str, ...] | None
    scored: tuple[str, ...] | None
    layout: str
    layouts: dict[str, Any]
    path: Path | None = None
    archive: Archive | None = None
    tiny: Tiny | None = None
    sample_rate: Rate | None
    length_tolerance: Annotated[float, Field(ge=0)]
    split: Split
    exclude_from_training: tuple[str, ...]
    validation_fraction: Annotated[float, Field(gt=0, lt=1)]
    on_bad_track: Literal["error", "skip"]
    on_silent_vocals: Literal["error", "skip", "keep"]

    @model_validator(mode="before")
    @classmethod
    def _splits(cls, given: Any) -> Any:
        """The splits of further sets, laid over the shares of the first one; a single name as a list."""
        if not isinstance(given, dict):
            return given
        given = {**given, **{key: [given[key]] for key in ("trained", "scored") if isinstance(given.get(key), str)}}
        if not isinstance(sets := given.get("sets"), dict):
            return given
        base = merge(given.get("split"), {"by": "own", "test": (), "valid": ()})
        laid = {
            name: {**one, "split": merge(base, one.get("split", {}))} if isinstance(one, dict) else one
            for name, one in sets.items()
        }
        return {**given, "sets": laid}

    @model_validator(mode="after")
    def _source(self) -> Download:
        for one in self.each():
            if one.dataset == "tiny" and one.tiny is None:
                raise ValueError("dataset tiny needs the group `tiny`")
            if one.dataset != "tiny" and one.path is None and one.archive is None:
                raise ValueError(f"dataset {one.dataset} needs a `path` or an `archive`")
        names = [one.dataset for one in self.each()]
        if len(set(names)) < len(names):
            raise ValueError(
                f"sets {', '.join(self.sets)}: expected other names than that of the first, {self.dataset}"
            )
        for key, chosen in (("trained", self.trained), ("scored", self.scored)):
            if chosen is not None and (not chosen or set(chosen) - set(names)):
                raise ValueError(f"{key} {list(chosen)}: expected one or more of {', '.join(names)}, or null for all")
        return self

    def keeps(self, dataset: str, split: str) -> bool:
        """Whether the tracks of a split of a data set are used: test tracks are scored, others are trained on."""
        chosen = self.scored if split == "test" else self.trained
        return chosen is None or dataset in chosen

    def each(self) -> list[Download]:
        """The settings of every data set by itself, the first one first."""
        alone: dict[str, Any] = {"sets": {}, "trained": None, "scored": None}
        further = [{"dataset": name, **vars(one)} for name, one in self.sets.items()]
        return [self.model_copy(update={**alone, **one}) for one in ({}, *further)]


class Representation(Group):
    """A short-time Fourier transform: sample rate (Hz); FFT, window and hop (samples).

    The rate may be that of any recording.
    """

    sample_rate: Annotated[int, Field(gt=0)]
    frame_size: Annotated[int, Field(gt=0)]
    win_length: Annotated[int, Field(gt=0)]
    hop_length: Positive

    @model_validator(mode="after")
    def _fits(self) -> Representation:
        if self.win_length > self.frame_size:
            raise ValueError(f"win_length {self.win_length} is longer than frame_size {self.frame_size}")
        if self.hop_length > self.win_length // 2:
            raise ValueError(
                f"hop_length {self.hop_length} is more than half of win_length {self.win_length}: "
                "the STFT could not be inverted"
            )
        return self

    @property
    def bins(self) -> int:
        """Frequencies of a spectrum, 0 Hz and half the sample rate among them."""
        return self.frame_size // 2 + 1


class ChosenRepresentation(Representation):
    """A representation as a parameter, whose rate and sizes have limits."""

    sample_rate: Rate
    frame_size: FrameSize
    win_length: FrameSize

    @model_validator(mode="after")
    def _even(self) -> ChosenRepresentation:
        if self.frame_size % 2:  # of a whole number of hops, the STFT would have one frame less than said
            raise ValueError(f"frame_size {self.frame_size} is odd: expected an even number of samples")
        return self


class Excerpts(ChosenRepresentation):
    """The spectrogram that excerpts are cut from, and the width of an excerpt (frames)."""

    width: Annotated[int, Field(ge=1, le=999, strict=True)]

    @model_validator(mode="after")
    def _odd(self) -> Excerpts:
        if self.width % 2 == 0:
            raise ValueError(f"width {self.width} is even: an excerpt needs a centre frame")
        return self


class MaskExcerpts(Excerpts):
    """Spectrograms and masks of the modes SVS and DAE; level of a vocal excerpt (dB)."""

    voiced_above: Annotated[float, Field(le=0)]


class VADExcerpts(Excerpts):
    """Spectrograms and voice activity labels of the mode VAD: times in s, levels in dB, a percentile in %."""

    level_window: PositiveSeconds
    level_floor: Annotated[float, Field(le=0)]
    level_range: Annotated[float, Field(gt=0)]
    level_percentile: Annotated[float, Field(gt=0, le=100)]
    smoothing: Seconds
    margin: Annotated[float, Field(ge=0)]


class Store(Group):
    """The store on disk: number type, frames of a chunk, level of zstd."""

    dtype: Literal["float16", "float32"]
    chunk_frames: Annotated[int, Field(ge=16)]
    compression: Annotated[int, Field(ge=1, le=19)]


class StemsKept(Group):
    """Audio of the stems for training mixtures: sample rate (Hz)."""

    sample_rate: Rate


class Extract(Group):
    """The dissertation's preprocess_data_tool, and the stems for networks that are trained on mixtures."""

    modes: tuple[Literal["SVS", "DAE", "VAD", "MIX"], ...]
    store: Store
    masks: MaskExcerpts
    vad: VADExcerpts
    stems: StemsKept


class Draw(Group):
    """The excerpts that a training draws: their number for each track, and the passage of their centres (s).

    `weights` of data sets multiply the number.
    """

    per_track: Positive
    valid_per_track: Positive
    weights: Weights = {}
    start_point: Seconds
    stop_point: PositiveSeconds | None

    @model_validator(mode="after")
    def _ordered(self) -> Draw:
        if self.stop_point is not None and self.stop_point <= self.start_point:
            raise ValueError(f"stop_point {self.stop_point} s is not after start_point {self.start_point} s")
        return self


class ExcerptTraining(Group):
    """One training on excerpts: batches in excerpts, `patience` in epochs, the label in frames."""

    epochs: Positive
    batch_size: Positive
    learning_rate: Annotated[float, Field(gt=0, lt=1)]
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)]
    input_gain: Annotated[float, Field(gt=0)]
    patience: Positive
    precision: Precision = "float32"
    label_width: Positive | None = None
    excerpts: Draw


class MixtureTraining(Group):
    """One training on mixtures that are made while it runs: batches in mixtures, `loss_floor` in dB.

    `start` names the weights that it starts from: published ones that fit the network (`svs.networks.Network.weights`),
    or the folder of a trained network with the same shapes.  None: drawn from the seed.  `weights` of data sets say how
    often their songs are drawn.

    A network of mixtures extends it: it says the type of its size (`network`), and gives `bins`, `frames_multiple` and
    `context`.  `logarithmic` says whether it hears log magnitudes, or magnitudes.
    """

    epochs: Positive
    mixes: Positive
    batch_size: Positive
    frames: Positive
    learning_rate: Annotated[float, Field(gt=0, lt=1)]
    warm_up: Count
    patience: Positive
    loss_floor: Annotated[float, Field(lt=0)]
    songs: tuple[Literal["train", "unused", "valid"], ...]
    keep: Literal["best", "last"]
    precision: Precision = "float32"
    representation: ChosenRepresentation
    network: Group
    other_song: Share
    weights: Weights = {}
    start: str | None = None
    logarithmic: ClassVar[bool] = True

    @model_validator(mode="after")
    def _fits(self) -> MixtureTraining:
        if self.mixes % self.batch_size:
            raise ValueError(f"mixes {self.mixes}: expected a multiple of the batch_size, {self.batch_size}")
        if "train" not in self.songs or len(set(self.songs)) != len(self.songs):
            raise ValueError(f"songs {list(self.songs)}: expected train, and optionally unused and valid, each once")
        if "valid" in self.songs and self.keep == "best":
            raise ValueError("keep best: songs that are trained on can't choose the epoch; keep the last")
        return self

    @property
    def bins(self) -> int:
        """Bins that the network takes and masks, from 0 Hz up."""
        raise NotImplementedError

    @property
    def frames_multiple(self) -> int:
        """A passage has a multiple of so many frames."""
        raise NotImplementedError

    @property
    def context(self) -> int:
        """Frames on either side that the mask of a frame depends on."""
        raise NotImplementedError


class MethodWiring(Group):
    """A line of wiring.yaml: what the method reads (a trained model, weights, the store), or its code."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    needs: Path


class ModelWiring(Group):
    """A line of wiring.yaml: the group of the store that a training reads, and its start (a trained model, or code)."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    store: Path
    start: Path


class SeparateCommon(Group):
    """Options of all methods: the chunk that is separated at a time (s)."""

    chunk: Annotated[float, Field(ge=2)]


class Separate(Group):
    """Options of all methods, and those of each method under its name (`svs.separators.options` parses them)."""

    model_config = ConfigDict(extra="allow", frozen=True)

    common: SeparateCommon

    def of(self, method: str) -> Any:
        """The options of a method as they stand in params.yaml."""
        return (self.model_extra or {}).get(method, {})


class Passage(Group):
    """A part of each track: start and duration (s); no duration means to the end."""

    start: Seconds
    duration: PositiveSeconds | None


class Enhancer(Group):
    """The default of a command that enhances: methods, the best one first, and how much of the noise is taken out."""

    methods: Annotated[tuple[str, ...], Field(min_length=1)]
    strength: Share


class Enhance(Group):
    """The defaults of `svs voice` and `svs respiratory`."""

    voice: Enhancer
    respiratory: Enhancer


class NoisyKind(Group):
    """Recordings of voices or of breathing: folder of clean ones, length (s), noises, SNRs (dB)."""

    folder: Path | None
    seconds: Annotated[float, Field(ge=2, le=600)]
    noises: tuple[Literal["white", "pink", "hum", "babble", "music"], ...]
    snrs: Annotated[tuple[Annotated[float, Field(ge=-60, le=60)], ...], Field(min_length=1)]


class Noisy(Group):
    """Recordings in noise, made by rule: sample rates (Hz), reverberation time (s), generated sources of each kind."""

    noise: Path | None
    rates: Annotated[tuple[Rate, ...], Field(min_length=1)] | None
    reverberation: Annotated[float, Field(ge=0, le=3)]
    sources: Annotated[int, Field(ge=2, le=1000, strict=True)]
    voice: NoisyKind
    respiratory: NoisyKind


class ScoreEnhanced(Group):
    """Scores of the methods for voice and breath: whether DNSMOS, which takes long, is among them."""

    dnsmos: bool


class DissertationProtocol(ChosenRepresentation):
    """How the dissertation scored: references rebuilt through an STFT, and the passage that is scored."""

    passage: Passage


class FramesOfV3(Group):
    """BSS Eval v3 by frames: their window and hop (s)."""

    window: PositiveSeconds
    hop: PositiveSeconds


class Score(Group):
    """BSS Eval v4: window and hop of its frames (s), the passage that is scored, and the rulers beside it."""

    engine: Literal["fast", "museval"]
    rulers: tuple[Ruler, ...]
    window: PositiveSeconds
    hop: PositiveSeconds
    bsseval_v3: FramesOfV3
    passage: Passage
    dissertation: DissertationProtocol

    @model_validator(mode="after")
    def _once(self) -> Score:
        if len(set(self.rulers)) < len(self.rulers):
            raise ValueError(f"rulers {list(self.rulers)}: expected each ruler once")
        return self


class Reference(Group):
    """Published scores: their source, and the largest difference between our MIX and theirs on a track (dB)."""

    source: Literal["none", "sisec18"]
    path: Path | None = None
    url: Url
    checksum: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")] | None = None
    tolerance: Annotated[float, Field(gt=0)]


class Gate(Group):
    """When scores count as worse: tolerance (dB)."""

    tolerance: Annotated[float, Field(ge=0)]


class Plots(Group):
    """Pictures of tracks: length (s), highest frequency (Hz), STFT frame (samples), dynamic range (dB)."""

    picture_seconds: PositiveSeconds
    picture_max_frequency: Annotated[float, Field(gt=0)]
    picture_frame_size: FrameSize
    dynamic_range: Annotated[float, Field(gt=0)]


class Report(Group):
    """The report: length of a passage (s), bit rate of its audio (kbit/s), and whose audio it includes."""

    passage: Annotated[float, Field(ge=1, le=600)]
    bitrate: Literal[96, 128, 160, 192, 256, 320]
    audio: Literal["all", "generated", "none"]


class Settings(Group):
    """Everything in `params.yaml`, with the chosen profile merged in."""

    profile: str
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    methods: dict[str, MethodWiring] = {}
    models: dict[str, ModelWiring] = {}
    enhancers: dict[str, MethodWiring] = {}
    download: Download
    extract: Extract
    pretrain: ExcerptTraining
    train: dict[str, Any]
    vad: ExcerptTraining
    separate: Separate
    enhance: Enhance
    noisy: Noisy
    score_enhanced: ScoreEnhanced
    score: Score
    reference: Reference
    gate: Gate
    plots: Plots
    report: Report


def merge(base: Any, over: Any) -> Any:
    """`over` laid over `base`: mappings are merged key by key, other values are replaced."""
    if isinstance(base, dict) and isinstance(over, dict):
        return base | {key: merge(base[key], value) if key in base else value for key, value in over.items()}
    return over


def resolve(raw: dict[str, Any], over: Mapping[str, Any] | None = None) -> Settings:
    """Settings of the profile that `raw` (the content of `params.yaml`) names.

    Parameters
    ----------
    raw : dict
    over : mapping, optional
        Laid over the groups and the profile.

    Raises
    ------
    SettingsError
        The profile does not exist, a key is unknown, or a value is impossible.
    """
    raw = dict(raw)
    profiles = raw.pop("profiles", None)
    profiles = profiles if isinstance(profiles, dict) else {}
    name = raw.get("profile")
    if not profiles:
        raise SettingsError("expected the parameters of svs, found no `profiles`; see the file in the repository")
    if name not in list(profiles):  # by equality: what YAML gives may not be hashable
        raise SettingsError(
            f"profile: {name!r} is not one of {', '.join(sorted(map(str, profiles)))}; "
            "add it under `profiles` or choose one of these"
        )
    given = merge(merge(raw, profiles[name] or {}), dict(over or {}))
    shared = given["train"].get("excerpts", {}) if isinstance(given.get("train"), dict) else {}
    for group in ("pretrain", "vad"):
        given[group] = merge(shared, given.get(group))
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        raise SettingsError(f"profile {name}: {_described(error)}") from None


def parsed(group: type[AnyGroup], name: str, given: Any) -> AnyGroup:
    """A part of the parameters as a typed group.

    Parameters
    ----------
    group : a subclass of `Group`
    name : str
        The key of the part, for messages: `separate.hpss`.
    given : mapping, or a group that has been parsed

    Raises
    ------
    SettingsError
        A key is unknown, or a value is impossible.
    """
    if isinstance(given, group):
        return given
    try:
        return group.model_validate(given)
    except ValidationError as error:
        raise SettingsError(_described(error, name)) from None


def changed(group: AnyGroup, name: str, **values: Any) -> AnyGroup:
    """A group with other values, validated; `None` leaves a value as it is.  Name and errors: as of `parsed`."""
    given = {key: value for key, value in values.items() if value is not None}
    return parsed(type(group), name, group.model_dump() | given)


_WORDS = {  # pydantic's, and ours
    "Value error, ": "",
    "Input should be a valid dictionary or instance of": "expected the group",
    "Input should be": "expected",
    "Extra inputs are not permitted": "there is no such parameter",
    "Field required": "expected a value, found none",
}


def _described(error: ValidationError, name: str = "") -> str:
    """Every problem in a few words, with its key; `name` is the key of the whole."""
    lines = []
    for problem in error.errors():
        key = ".".join([*([name] if name else []), *map(str, problem["loc"])])
        message = re.sub(r", unable to .*", "", problem["msg"])
        for theirs, ours in _WORDS.items():
            message = message.replace(theirs, ours)
        told = problem["type"] in ("missing", "value_error", "extra_forbidden") or isinstance(problem["input"], dict)
        came = "" if told else f" (got {problem['input']!r})"
        lines.append(f"{key}: {message}{came}" if key else f"{message}{came}")
    return "; ".join(lines)


def read(path: Path) -> dict[str, Any]:
    """The content of `params.yaml`, with what a `wiring.yaml` beside it lists.

    Raises
    ------
    SettingsError
        A file is missing or is not YAML.
    """
    content, wiring = _read_yaml(path), path.with_name(WIRING)
    found = _read_yaml(wiring) if wiring.is_file() else {}
    return {key: found[key] for key in WIRED if key in found} | content


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such file; run from the root of the repository") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: expected a YAML file in UTF-8, could not read it ({error})") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: expected a mapping of groups; see the file in the repository")
    return content


def load(path: Path = Path("params.yaml")) -> Settings:
    """Read, merge and validate `params.yaml`.  Errors: as of `read` and `resolve`; they name the file."""
    content = read(path)
    try:
        return resolve(content)
    except SettingsError as error:
        raise SettingsError(f"{path}, {error}") from None
