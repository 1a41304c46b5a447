"""Methods by name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from svs import separators
from svs.config.schema import MethodWiring
from svs.errors import DataError, ModelError, SettingsError
from tests.helpers import REPOSITORY

ELSEWHERE = {
    "openunmix",
    "spleeter",
    "spleeter_finetuned",
    "cnn_separator_valid",
    "cnn_deep_separator_valid",
    "unet_separator",
}
ELSEWHERE |= {"speech_blend", "deepfilternet", "rnnoise", "wiener_noise", "spectral_gate"}  # test_speech.py


def test_every_method_is_built_from_the_settings(settings, small, nets, tmp_path):
    needs = {
        **settings.methods,
        "cnn_separator": MethodWiring(needs=nets[1]),
        "cnn_deep_separator": MethodWiring(needs=nets[9]),
    }
    assert set(settings.methods) | ELSEWHERE == set(separators.methods())
    with_needs = small.model_copy(update={"methods": needs})
    for name in set(separators.methods()) - ELSEWHERE:
        separator = separators.build(name, with_needs)
        assert separator.name == name and separator.needs_references == (
            name in separators.of_kind(separators.Kind.ORACLE)
        )
    # The ceilings have the spectrogram that the networks are trained on.
    assert {
        separators.build(name, with_needs).representation.frame_size
        for name in separators.of_kind(separators.Kind.ORACLE)
    } == {512}
    with pytest.raises(SettingsError, match="umx: no such method"):
        separators.build("umx", with_needs)
    with pytest.raises((ModelError, DataError)):
        separators.build(
            "cnn_separator", settings.model_copy(update={"methods": {"cnn_separator": MethodWiring(needs=tmp_path)}})
        )


def test_listing_the_methods_imports_no_deep_learning_library():
    """It takes seconds to import one, and `svs --help` lists the methods."""
    code = "import sys; from svs import separators; separators.methods(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert not {"keras", "tensorflow", "torch"} & set(done.stdout.split())
