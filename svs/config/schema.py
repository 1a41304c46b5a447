"""Typed settings: `params.yaml`, parsed and validated once.

`load` merges the section of the chosen profile over the shared groups and
returns `Settings`.  An unknown key or an impossible value raises
`svs.errors.SettingsError` with one line for each, naming the key.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from svs.errors import SettingsError

Positive = Annotated[int, Field(gt=0, strict=True)]      # strict: `true` and "3" are no numbers
Count = Annotated[int, Field(ge=0, strict=True)]
Seconds = Annotated[float, Field(ge=0)]
PositiveSeconds = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
# Numbers that a training computes with; weights, their updates and losses are float32 in all of them.
Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Group = TypeVar("Group", bound=_Group)


class Archive(_Group):
    """An archive to download, and the checksum that its publisher gives."""

    url: Annotated[str, Field(pattern=r"^https?://")]
    checksum: Annotated[str, Field(pattern=r"^(md5:[0-9a-f]{32}|sha256:[0-9a-f]{64})$")]


class Tiny(_Group):
    """The generated data set: number of tracks of each split, and seconds of a track."""

    train: Positive
    valid: Positive
    test: Positive
    train_seconds: Annotated[float, Field(ge=2, le=600)]
    test_seconds: Annotated[float, Field(ge=2, le=600)]
    real_song: bool


class Download(_Group):
    """Which data set, where from, and what to do with tracks that are not as they should be."""

    dataset: Literal["tiny", "sample", "full"]
    path: Path | None = None
    archive: Archive | None = None
    tiny: Tiny | None = None
    sample_rate: Positive
    exclude_from_training: tuple[str, ...]
    validation_fraction: Annotated[float, Field(gt=0, lt=1)]
    on_bad_track: Literal["error", "skip"]
    on_silent_vocals: Literal["error", "skip", "keep"]

    @model_validator(mode="after")
    def _source(self) -> Download:
        if self.dataset == "tiny" and self.tiny is None:
            raise ValueError("dataset tiny needs the group `tiny`")
        if self.dataset != "tiny" and self.path is None and self.archive is None:
            raise ValueError(f"dataset {self.dataset} needs a `path` or an `archive`")
        return self


class Representation(_Group):
    """A short-time Fourier transform: rate in Hz, the rest in samples."""

    sample_rate: Annotated[int, Field(ge=8000, le=192000)]
    frame_size: Annotated[int, Field(ge=64, le=65536)]
    win_length: Annotated[int, Field(ge=64, le=65536)]
    hop_length: Positive

    @model_validator(mode="after")
    def _fits(self) -> Representation:
        if self.win_length > self.frame_size:
            raise ValueError(f"win_length {self.win_length} is longer than frame_size {self.frame_size}")
        if self.hop_length > self.win_length // 2:
            raise ValueError(f"hop_length {self.hop_length} is more than half of win_length {self.win_length}: "
                             "the STFT could not be inverted")
        return self

    @property
    def bins(self) -> int:
        return self.frame_size // 2 + 1

    def tuned(self, semitones: float) -> Representation:
        """The transform in which a song is seen this much higher than it is: longer frames, as many to a second.

        Each partial falls into the bin of one that is higher by `semitones`
        (to the nearest length that is a multiple of 1/64 of the frame: an FFT
        is fast at those).

        Raises
        ------
        ValueError
            The frame is too short for its hop.
        """
        shares = round(64 * 2 ** (semitones / 12))
        return Representation(sample_rate=self.sample_rate, frame_size=shares * self.frame_size // 64,
                              win_length=shares * self.win_length // 64, hop_length=self.hop_length)


class Excerpts(Representation):
    """What excerpts are cut from: a spectrogram, and how many of its frames an excerpt has."""

    width: Annotated[int, Field(ge=1, le=999, strict=True)]

    @model_validator(mode="after")
    def _odd(self) -> Excerpts:
        if self.width % 2 == 0:
            raise ValueError(f"width {self.width} is even: an excerpt needs a centre frame")
        return self


class SVSExcerpts(Excerpts):
    """Spectrograms and masks of the modes SVS and DAE."""

    voiced_above: Annotated[float, Field(le=0)]


class VADExcerpts(Excerpts):
    """Spectrograms and voice activity labels of the mode VAD."""

    level_window: PositiveSeconds
    level_floor: Annotated[float, Field(le=0)]
    level_range: Annotated[float, Field(gt=0)]
    level_percentile: Annotated[float, Field(gt=0, le=100)]
    smoothing: Seconds
    margin: Annotated[float, Field(ge=0)]


class Store(_Group):
    """How spectrograms are kept on disk."""

    dtype: Literal["float16", "float32"]
    chunk_frames: Annotated[int, Field(ge=16)]
    compression: Annotated[int, Field(ge=1, le=19)]


class StemsKept(_Group):
    """Audio of the stems, of which training mixtures are made: Hz."""

    sample_rate: Annotated[int, Field(ge=8000, le=192000)]


class Extract(_Group):
    """The seed's preprocess_data_tool, and the stems themselves for nets that are trained on mixes."""

    modes: tuple[Literal["SVS", "DAE", "VAD", "MIX"], ...]
    store: Store
    svs: SVSExcerpts
    vad: VADExcerpts
    stems: StemsKept


class Draw(_Group):
    """How many excerpts of each track a training draws, and from where."""

    per_track: Positive
    valid_per_track: Positive
    start_point: Seconds
    stop_point: PositiveSeconds | None

    @model_validator(mode="after")
    def _ordered(self) -> Draw:
        if self.stop_point is not None and self.stop_point <= self.start_point:
            raise ValueError(f"stop_point {self.stop_point} s is not after start_point {self.start_point} s")
        return self


class Training(_Group):
    """One training: Adam's learning rate, epochs, excerpts in a batch."""

    epochs: Positive
    batch_size: Positive
    learning_rate: Annotated[float, Field(gt=0, lt=1)]
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)]
    input_gain: Annotated[float, Field(gt=0)]
    patience: Positive
    precision: Precision = "float32"
    label_width: Positive | None = None
    excerpts: Draw


class FullBand(_Group):
    """Size of the nets that see all bins at once: nets, channels, layers."""

    members: Annotated[int, Field(ge=0, le=8)]
    channels: Positive
    bottleneck: Positive
    blocks: Annotated[int, Field(ge=1, le=8)]


class UNet(_Group):
    """Size of the U-Nets, and of the full-band nets beside them: nets, Hz, bins, layers."""

    members: Annotated[int, Field(ge=0, le=8)]
    max_frequency: Annotated[float, Field(gt=0)]
    fold: Positive
    channels: Positive
    growth: Count
    levels: Annotated[int, Field(ge=1, le=6)]
    blocks: Positive
    convolutions: Positive
    bottleneck: Positive
    dropout: Annotated[float, Field(ge=0, lt=1)]
    full_band: FullBand

    @model_validator(mode="after")
    def _some(self) -> UNet:
        if not self.members + self.full_band.members:
            raise ValueError("members 0 and full_band.members 0: expected one net at least")
        return self


class MixTraining(_Group):
    """A training on mixtures that are made while it runs."""

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
    representation: Representation
    other_song: Share
    network: UNet

    @model_validator(mode="after")
    def _even(self) -> MixTraining:
        multiple = 2 ** self.network.levels
        if self.frames % multiple:
            raise ValueError(f"frames {self.frames}: expected a multiple of {multiple} ({self.network.levels} levels)")
        if self.mixes % self.batch_size:
            raise ValueError(f"mixes {self.mixes}: expected a multiple of the batch_size, {self.batch_size}")
        if "train" not in self.songs or len(set(self.songs)) != len(self.songs):
            raise ValueError(f"songs {list(self.songs)}: expected train, and unused or valid where they take part too")
        if "valid" in self.songs and self.keep == "best":
            raise ValueError("keep best: validation songs that are trained on can't choose the epoch; keep the last")
        return self

    @property
    def bins(self) -> int:
        """Bins from 0 Hz up that the network takes and masks: those below `max_frequency`, as many as fold."""
        multiple = self.network.fold * 2 ** self.network.levels
        there = self.representation.bins
        wanted = min(there, int(self.network.max_frequency * self.representation.frame_size
                                / self.representation.sample_rate) + 1)
        return min(-(-wanted // multiple), there // multiple) * multiple


def _kind_of_training(given: Any) -> str:
    """Whether a training is on excerpts or on mixtures: the latter says `other_song`."""
    mixed = isinstance(given, MixTraining) or isinstance(given, dict) and "other_song" in given
    return "mixes" if mixed else "excerpts"


AnyTraining = Annotated[Annotated[Training, Tag("excerpts")] | Annotated[MixTraining, Tag("mixes")],
                        Discriminator(_kind_of_training)]


class ModelSource(_Group):
    """What a training is made of: a group of the store, what reads it, more code, and its start (a model or code)."""

    store: Path
    reader: Path
    code: Path
    start: Path


class UNetOptions(_Group):
    """The U-Net's mask is taken as it is."""

    semitones: Annotated[tuple[Annotated[float, Field(ge=-6, le=6)], ...], Field(min_length=1)]


class CNNOptions(_Group):
    """What a trained network's mask goes through on its way to audio."""

    gate: Annotated[float, Field(ge=0, lt=1)]
    mask: Literal["soft", "hard"]
    channels: Literal["shared", "each"]
    hop: Annotated[int, Field(ge=1)]
    batch_size: Positive
    hpss: bool
    wiener: Count


class OracleOptions(_Group):
    channels: Literal["shared", "each"]


class RatioOptions(_Group):
    """Oracle ratio mask."""

    channels: Literal["shared", "each"]
    power: Annotated[float, Field(gt=0, le=4)]


class MixtureOptions(_Group):
    share: Share


class RepetSimAuthors(_Group):
    """REPET-SIM by its authors: seconds, cosine similarity, frames, Hz."""

    window: Annotated[float, Field(ge=0.005, le=0.3)]
    threshold: Annotated[float, Field(ge=0, le=1)]
    distance: PositiveSeconds
    number: Positive
    cutoff: Annotated[float, Field(ge=0)]


class RepetSimLibrosa(_Group):
    """REPET-SIM in librosa's gallery: seconds, windows over a sample, seconds, exponent, factor."""

    window: Annotated[float, Field(ge=0.005, le=0.3)]
    overlap: Literal[2, 4, 8]
    width: PositiveSeconds
    keep: Literal["earliest", "nearest"]
    power: Annotated[float, Field(gt=0, le=8)]
    margin: Annotated[float, Field(ge=1)]


class RepetSimOptions(_Group):
    """REPET-SIM: which variant, how far it looks, and the parameters of both."""

    variant: Literal["authors", "librosa"]
    reach: Annotated[float, Field(ge=1, le=600)]
    authors: RepetSimAuthors
    librosa: RepetSimLibrosa


class KnnMedianOptions(_Group):
    """Nearest neighbours and median filtering."""

    reach: Annotated[float, Field(ge=1, le=600)]
    window: Annotated[float, Field(ge=0.005, le=0.3)]
    overlap: Literal[2, 4, 8]
    neighbours: Positive
    tolerance: Annotated[float, Field(gt=0)]
    cutoff: Annotated[float, Field(ge=0)]


class HpssPass(_Group):
    """One pass of median filtering: seconds, windows over a sample, frames, bins, exponent, factor."""

    window: Annotated[float, Field(ge=0.005, le=0.6)]
    overlap: Literal[2, 4, 8]
    frames: Annotated[int, Field(ge=3, le=999)]
    bins: Annotated[int, Field(ge=3, le=999)]
    power: Annotated[float, Field(gt=0, le=8)]
    margin: Annotated[float, Field(ge=1)]


class HpssTwoStage(_Group):
    long: HpssPass
    short: HpssPass


class HpssOptions(_Group):
    """Harmonic/percussive separation by median filtering: which variant, Hz, and the parameters of both."""

    variant: Literal["two_stage", "harmonic"]
    cutoff: Annotated[float, Field(ge=0)]
    two_stage: HpssTwoStage
    harmonic: HpssPass


class OpenUnmixOptions(_Group):
    """Open-unmix: which of its authors' models, its Wiener filter, and what a chunk sees of the song around it."""

    model: Literal["umx", "umxhq", "umxl", "umxse"]
    targets: Literal["vocals", "all"]
    niter: Count
    wiener_window: Annotated[float, Field(ge=0.1, le=60)]
    context: Annotated[float, Field(ge=0, le=60)]


class SpleeterOptions(_Group):
    """Spleeter, 2 stems: where it lives, and how its two spectrograms become a mask."""

    environment: Path
    install: bool
    separation_exponent: Annotated[float, Field(gt=0, le=8)]
    mask_extension: Literal["zeros", "average"]


class SeparateCommon(_Group):
    chunk: Annotated[float, Field(ge=2)]


class Separate(_Group):
    """Options of every method, and what all of them share."""

    common: SeparateCommon
    cnn_separator: CNNOptions
    cnn_deep_separator: CNNOptions
    unet_separator: UNetOptions
    cnn_separator_valid: CNNOptions
    cnn_deep_separator_valid: CNNOptions
    repet_sim: RepetSimOptions
    knn_median: KnnMedianOptions
    hpss: HpssOptions
    openunmix: OpenUnmixOptions
    spleeter: SpleeterOptions
    oracle_ibm: OracleOptions
    oracle_irm: RatioOptions
    mixture: MixtureOptions

    def of(self, method: str) -> BaseModel:
        try:
            return getattr(self, method)
        except AttributeError:
            raise SettingsError(f"separate.{method}: no options for this method; expected one of "
                                + ", ".join(sorted(set(type(self).model_fields) - {"common"}))) from None


# The methods that are nets trained here.
NETS = tuple(name for name, options in Separate.model_fields.items() if options.annotation is CNNOptions)


class Passage(_Group):
    start: Seconds
    duration: PositiveSeconds | None


class SeedProtocol(Representation):
    passage: Passage


class Score(_Group):
    """BSS Eval v4: seconds of a frame and between frames, and what is scored."""

    engine: Literal["fast", "museval"]
    window: PositiveSeconds
    hop: PositiveSeconds
    passage: Passage
    seed_protocol: SeedProtocol


class Reference(_Group):
    """Published scores to stand beside ours: where from, and how closely a track must agree with the published one."""

    source: Literal["none", "sisec18"]
    path: Path | None = None
    url: Annotated[str, Field(pattern=r"^https?://")]
    checksum: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")] | None = None
    tolerance: Annotated[float, Field(gt=0)]


class Gate(_Group):
    """When scores count as worse: dB."""

    tolerance: Annotated[float, Field(ge=0)]


class Plots(_Group):
    picture_seconds: PositiveSeconds
    picture_max_frequency: Annotated[float, Field(gt=0)]
    picture_frame_size: Annotated[int, Field(ge=64, le=65536)]
    dynamic_range: Annotated[float, Field(gt=0)]


class Report(_Group):
    """The report: seconds of a passage, kbit/s of its audio, and which tracks can be heard."""

    passage: Annotated[float, Field(ge=1, le=600)]
    bitrate: Literal[96, 128, 160, 192, 256, 320]
    audio: Literal["all", "generated", "none"]


class Settings(_Group):
    """Everything in `params.yaml`, with the chosen profile merged in."""

    profile: str
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    methods: dict[str, Path]
    models: dict[str, ModelSource]
    download: Download
    extract: Extract
    pretrain: Training
    train: dict[str, AnyTraining]
    vad: Training
    separate: Separate
    score: Score
    reference: Reference
    gate: Gate
    plots: Plots
    report: Report

    @model_validator(mode="after")
    def _known(self) -> Settings:
        for model in self.models:
            if model not in self.train:
                raise ValueError(f"models.{model}: the group train.{model} is missing")
        for model, training in self.train.items():
            width = training.label_width if isinstance(training, Training) else None
            if width is not None and (width > self.extract.svs.width or width % 2 == 0):
                raise ValueError(f"train.{model}.label_width: expected an odd number of frames up to the excerpt's "
                                 f"{self.extract.svs.width} (extract.svs.width), got {width}")
        return self


def merge(base: Any, over: Any) -> Any:
    """`over` laid over `base`: mappings are merged key by key, anything else replaces."""
    if isinstance(base, dict) and isinstance(over, dict):
        merged = dict(base)
        for key, value in over.items():
            merged[key] = merge(base[key], value) if key in base else value
        return merged
    return over


def resolve(raw: dict[str, Any], over: Mapping[str, Any] | None = None) -> Settings:
    """Settings of the profile that `raw` (the content of `params.yaml`) names.

    Parameters
    ----------
    raw : dict
    over : mapping, optional
        Laid over the groups after the profile was, so that it wins.

    Raises
    ------
    SettingsError
        A profile that is not there, an unknown key, an impossible value.
    """
    if not isinstance(raw, dict):
        raise SettingsError("params.yaml: expected a mapping of groups; see the file in the repository")
    raw = dict(raw)
    profiles = raw.pop("profiles", None)
    profiles = profiles if isinstance(profiles, dict) else {}
    name = raw.get("profile")
    if name not in list(profiles):      # by equality: what YAML gives may not be hashable
        raise SettingsError(f"profile: {name!r} is not one of {', '.join(sorted(map(str, profiles))) or 'none'}; "
                            "add it under `profiles` or choose one of these")
    try:
        return Settings.model_validate(merge(merge(raw, profiles[name] or {}), dict(over or {})))
    except ValidationError as error:
        raise SettingsError(f"params.yaml, profile {name}: " + _told(error)) from None


def changed(group: Group, name: str, **values: Any) -> Group:
    """A group with other values, validated anew; `None` leaves a value as it is.

    Parameters
    ----------
    group : a group of `Settings`
    name : str
        What the group is called in messages.
    **values

    Raises
    ------
    SettingsError
        A value is impossible.
    """
    given = {key: value for key, value in values.items() if value is not None}
    try:
        return type(group).model_validate({**group.model_dump(), **given})
    except ValidationError as error:
        raise SettingsError(f"{name}: {_told(error)}") from None


def _told(error: ValidationError) -> str:
    """Every problem in a few words, with the key that it is about."""
    lines = []
    for problem in error.errors():
        # Pydantic names the kind of training after its name.
        where = [str(part) for part in problem["loc"]]
        key = ".".join(where[:2] + where[3:] if where[:1] == ["train"] else where)
        message = problem["msg"].removeprefix("Value error, ")
        came = problem.get("input")
        came = "" if problem["type"] in ("missing", "value_error") or isinstance(came, dict) else f" (got {came!r})"
        lines.append(f"{key}: {message}{came}" if key else f"{message}{came}")
    return "; ".join(lines)


def read(path: Path) -> dict[str, Any]:
    """The content of `params.yaml` as it stands, profiles and all.

    Raises
    ------
    SettingsError
        The file is missing or is not YAML.
    """
    try:
        return yaml.safe_load(Path(path).read_text())
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such file; run from the root of the repository") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: expected a YAML file in UTF-8, could not read it ({error})") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None


def load(path: Path = Path("params.yaml")) -> Settings:
    """Read, merge and validate `params.yaml`.

    Raises
    ------
    SettingsError
        The file is missing, is not YAML, or `resolve` refuses its content.
    """
    return resolve(read(path))
