"""params.yaml: every profile resolves, and what is wrong in it is named by its dotted key."""

import copy
import shutil

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pydantic import ValidationError

from svs import networks, separators
from svs.config.schema import load, merge, read, resolve
from svs.errors import ModelError, SettingsError
from tests.helpers import REPOSITORY

PARAMS = REPOSITORY / "params.yaml"
RAW = read(PARAMS)
FEW = examples(deadline=None, max_examples=50, database=None, derandomize=True)


def changed(*changes, profile="tiny"):
    """A copy of params.yaml with values set by dotted key."""
    raw = copy.deepcopy(RAW)
    raw["profile"] = profile
    for dotted, value in changes:
        *groups, key = dotted.split(".")
        group = raw
        for name in groups:
            group = group.setdefault(name, {})
        group[key] = value
    return raw


def refusal(raw):
    with pytest.raises(SettingsError) as caught:
        settings = resolve(raw)
        separators.validate(settings)
        networks.validate(settings)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("profile", sorted(RAW["profiles"]))
def test_every_profile_resolves(profile):
    settings = resolve(changed(profile=profile))
    assert settings.profile == profile
    assert settings.download.dataset == profile
    assert set(settings.models) <= set(settings.train)
    for method in settings.methods:
        assert separators.options(method, settings)


def test_the_full_profile_is_the_seeds_schedule():
    settings = resolve(changed(profile="full"))
    small, deep, auto = (
        networks.training("cnn_separator", settings),
        networks.training("cnn_deep_separator", settings),
        settings.pretrain,
    )
    assert [draw.excerpts.per_track for draw in (small, deep, auto)] == [550, 500, 100]
    assert [run.epochs for run in (small, deep, auto)] == [200, 200, 50]
    assert {run.batch_size for run in (small, deep, auto)} == {128}
    assert [run.learning_rate for run in (small, deep, auto)] == [1e-3, 1e-3, 1e-5]
    assert {run.label_smoothing for run in (small, deep)} == {0.02}
    assert [small.label_width, deep.label_width] == [1, 9]
    extract = settings.extract.masks
    assert (extract.frame_size, extract.win_length, extract.hop_length, extract.width) == (4096, 2048, 512, 9)
    assert extract.bins == 2049
    assert (
        separators.options("cnn_separator", settings).gate
        == separators.options("cnn_deep_separator", settings).gate
        == 0.15
    )
    assert settings.download.exclude_from_training == ("Music Delta",)


def test_a_profile_changes_only_what_it_says():
    for profile in RAW["profiles"]:
        settings = resolve(changed(profile=profile))
        shared = RAW["train"]["excerpts"]
        said = RAW["profiles"][profile]["train"]["excerpts"]
        for key in ("learning_rate", "batch_size", "patience", "label_smoothing"):
            assert getattr(networks.training("cnn_separator", settings), key) == said.get(key, shared[key])
        assert networks.training("cnn_separator", settings).excerpts.start_point == 0.0
        assert settings.score.dissertation.passage.start == 30.0


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        # unknown keys, at every depth
        ("extras", 1, "there is no such parameter"),
        ("download.dataste", "tiny", "there is no such parameter"),
        ("extract.masks.hop_lenght", 512, "there is no such parameter"),
        ("train.cnn_separator.excerpts.per_trak", 5, "there is no such parameter"),
        ("separate.cnn_separator.gates", 0.1, "there is no such parameter"),
        # impossible values
        ("seed", -1, "greater than or equal to 0 (got -1)"),
        ("seed", 2**32, "less than 4294967296"),
        ("seed", "twenty", "valid integer"),
        ("download.validation_fraction", 0.0, "greater than 0"),
        ("download.validation_fraction", 1.0, "less than 1"),
        ("download.on_bad_track", "ignore", "'error' or 'skip' (got 'ignore')"),
        ("download.on_silent_vocals", "drop", "'error', 'skip' or 'keep' (got 'drop')"),
        ("download.sample_rate", 0, "greater than or equal to 8000"),
        ("download.tiny.train_seconds", 1.0, "greater than or equal to 2"),
        ("download.tiny.train", 0, "greater than 0"),
        ("extract.modes.0", "SVD", "'SVS', 'DAE', 'VAD' or 'MIX' (got 'SVD')"),
        ("extract.store.dtype", "float64", "'float16' or 'float32'"),
        (
            "extract.masks",
            {**RAW["extract"]["masks"], "win_length": 8192},
            "win_length 8192 is longer than frame_size 4096",
        ),
        ("extract.masks", {**RAW["extract"]["masks"], "hop_length": 1025}, "hop_length 1025 is more than half"),
        ("extract.masks", {**RAW["extract"]["masks"], "frame_size": 4097}, "frame_size 4097 is odd"),
        ("extract.masks", {**RAW["extract"]["masks"], "width": 8}, "width 8 is even"),
        ("extract.masks.sample_rate", 7999, "greater than or equal to 8000"),
        ("extract.masks.voiced_above", 3.0, "less than or equal to 0"),
        ("extract.vad.level_percentile", 101.0, "less than or equal to 100"),
        ("extract.vad.margin", -1.0, "greater than or equal to 0"),
        ("pretrain.learning_rate", 0.0, "greater than 0"),
        ("pretrain.epochs", 2.5, "valid integer"),
        ("train.cnn_separator.learning_rate", float("nan"), "finite number"),
        ("train.cnn_separator.epochs", 0, "greater than 0"),
        ("train.cnn_separator.label_smoothing", 0.5, "less than 0.5"),
        ("train.cnn_deep_separator.batch_size", -4, "greater than 0"),
        ("vad.patience", None, "valid integer"),
        ("vad.excerpts.start_point", -0.5, "greater than or equal to 0"),
        ("separate.common.chunk", 0.5, "greater than or equal to 2"),
        ("separate.cnn_separator.gate", 1.0, "less than 1"),
        ("separate.cnn_separator.mask", "medium", "'soft' or 'hard'"),
        ("separate.cnn_separator.channels", "left", "'shared' or 'each'"),
        ("separate.cnn_separator.hop", 0, "greater than or equal to 1"),
        ("separate.cnn_separator.wiener", -1, "greater than or equal to 0"),
        ("separate.mixture.share", 1.5, "less than or equal to 1"),
        ("score.window", 0.0, "greater than 0"),
        ("score.passage.duration", 0.0, "greater than 0"),
        ("plots.dynamic_range", -70.0, "greater than 0"),
    ],
)
def test_bad_values_are_named(key, value, says):
    """The value stands in the profile, which is laid over the shared groups."""
    raw = changed()
    if key == "extract.modes.0":
        raw["profiles"]["tiny"]["extract"] = {"modes": [value]}
    else:
        raw = merge(raw, {"profiles": {"tiny": nested(key, value)}})
    message = refusal(raw)
    assert f"{key}: " in message
    assert says in message


def nested(dotted, value):
    for key in reversed(dotted.split(".")):
        value = {key: value}
    return value


def test_start_after_stop():
    message = refusal(changed(("vad.excerpts.start_point", 5.0), ("vad.excerpts.stop_point", 5.0)))
    assert "vad.excerpts: stop_point 5.0 s is not after start_point 5.0 s" in message


def test_a_missing_group_is_named():
    raw = changed()
    for group in (raw["profiles"]["tiny"]["vad"], raw["profiles"]["tiny"]["train"]["excerpts"]):
        del group["epochs"]
    assert "vad.epochs: expected a value" in refusal(raw)


def test_all_problems_at_once():
    message = refusal(changed(("seed", -1), ("vad.patience", 0)))
    assert "seed: " in message and "vad.patience: " in message


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"dataset": "tiny", "tiny": None}, "dataset tiny needs the group `tiny`"),
        ({"dataset": "sample", "tiny": None}, "dataset sample needs a `path` or an `archive`"),
        (
            {"dataset": "full", "archive": {"url": "ftp://x/y.zip", "checksum": "md5:" + "0" * 32}},
            "download.archive.url",
        ),
        ({"dataset": "full", "archive": {"url": "https://x/y.zip", "checksum": "md5:12"}}, "download.archive.checksum"),
    ],
)
def test_data_sets_need_a_source(change, says):
    raw = changed()
    raw["profiles"]["tiny"]["download"] = change
    assert says in refusal(raw)


def test_a_network_needs_what_its_training_takes():
    raw = changed()
    raw["train"] = {"excerpts": {}}
    raw["profiles"]["tiny"]["train"] = {"cnn_separator": {}}
    with pytest.raises(SettingsError, match=r"train\.cnn_separator\.epochs: expected a value"):
        networks.training(
            "cnn_separator",
            resolve(merge(raw, {"pretrain": RAW["train"]["excerpts"]} | {"vad": RAW["train"]["excerpts"]})),
        )


def test_a_group_that_methods_share_is_checked_with_each_of_them():
    assert "separate.cnn_separator.gates: there is no such parameter" in refusal(changed(("separate.cnn.gates", 0.1)))


def test_a_group_that_belongs_to_nothing():
    assert "unet: no such method" in refusal(changed(("separate.unet", {"gate": 0.5})))
    with pytest.raises(ModelError, match="unet: no such network"):
        networks.validate(resolve(changed(("train.unet", {"epochs": 1}))))


def test_without_wiring_no_method_takes_part(tmp_path):
    shutil.copy(PARAMS, tmp_path)
    assert load(tmp_path / "params.yaml").methods == {}


@pytest.mark.parametrize("name", ["tinny", None, 3, ["tiny"], {"a": 1}])
def test_an_unknown_profile_is_told_the_known_ones(name):
    raw = changed()
    raw["profile"] = name
    message = refusal(raw)
    assert message.startswith(f"profile: {name!r} is not one of full, own, sample, tiny")


@pytest.mark.parametrize("text", ["", "[]", "profile", "3"])
def test_params_that_are_no_mapping(text, tmp_path):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(SettingsError, match="expected a mapping of groups"):
        load(tmp_path / "params.yaml")


@pytest.mark.parametrize("profiles", [None, {}, ["tiny"]])
def test_no_profiles(profiles):
    assert "profile" in refusal(changed(("profiles", profiles)))


def test_a_missing_file(tmp_path):
    with pytest.raises(SettingsError, match=r"params\.yaml: no such file; run from the root of the repository"):
        load(tmp_path / "params.yaml")


@pytest.mark.parametrize("text", ["profile: [tiny", "a: b: c", "\tseed: 1"])
def test_broken_yaml(tmp_path, text):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        load(tmp_path / "params.yaml")
    assert "not valid YAML" in str(caught.value) and "line 1" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_load_reads_what_resolve_gives():
    assert load(PARAMS) == resolve(RAW)


def test_settings_are_frozen(settings):
    for group, key in (
        (settings, "seed"),
        (settings.download, "dataset"),
        (settings.extract.masks, "hop_length"),
        (networks.training("cnn_separator", settings), "epochs"),
        (separators.options("mixture", settings), "share"),
    ):
        before = getattr(group, key)
        with pytest.raises(ValidationError, match="frozen"):
            setattr(group, key, before)


TREES = st.recursive(
    st.none() | st.integers(0, 3) | st.lists(st.integers(0, 3), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=8,
)


def leaves(tree, prefix=()):
    if not isinstance(tree, dict) or not tree:
        return {prefix: tree}
    return {path: leaf for key, value in tree.items() for path, leaf in leaves(value, (*prefix, key)).items()}


@FEW
@given(TREES, TREES)
def test_merge_lays_over_and_touches_nothing(base, over):
    before = copy.deepcopy((base, over))
    merged = merge(base, over)
    assert (base, over) == before
    if over == {} and isinstance(base, dict):
        assert merged == base
        return
    found = leaves(merged)
    for path, leaf in leaves(over).items():
        if leaf != {}:  # an empty mapping changes nothing in a mapping
            assert found[path] == leaf
    for path, leaf in leaves(base).items():
        if isinstance(over, dict) and path and path[0] not in over:
            assert found[path] == leaf


def test_merge_replaces_lists_and_keeps_siblings():
    base = {"a": {"x": 1, "y": [1, 2]}, "b": 2}
    assert merge(base, {"a": {"y": [3]}}) == {"a": {"x": 1, "y": [3]}, "b": 2}
    assert merge(base, {"a": None}) == {"a": None, "b": 2}


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("extract.vad.width", 24, "width 24 is even"),
        ("train.cnn_separator.label_width", 11, "train.cnn_separator.label_width: expected an odd number"),
        ("train.cnn_separator.label_width", 2, "train.cnn_separator.label_width: expected an odd number"),
        ("train.cnn_separator.batch_size", True, "train.cnn_separator.batch_size"),
        ("train.cnn_separator.batch_size", "3", "train.cnn_separator.batch_size"),
    ],
)
def test_widths_fit_and_numbers_are_numbers(key, value, named):
    raw = changed((key, value))
    assert named in refusal(raw)


def test_a_folder_or_bytes_instead_of_yaml(tmp_path):
    with pytest.raises(SettingsError, match="expected a YAML file in UTF-8"):
        load(tmp_path)
    (tmp_path / "params.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="params.yaml: "):
        load(tmp_path / "params.yaml")
