"""Training on several devices of one machine: every batch is split over them (`tf.distribute.MirroredStrategy`).

SVS_DEVICES says how many: a number, or `all`.  Without it training takes one
device, as Keras does.  It is no parameter of the pipeline: a batch keeps its
size and its excerpts, each device computes its share, gradients are summed and
batch normalisation sees the whole batch, so that the losses are those of one
device but for rounding and the draw of dropout (each device draws for its share).

Only on the TensorFlow backend, on devices of one kind: GPUs where there are
some, otherwise (virtual) CPUs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from svs.errors import SettingsError
from svs.runtime.process import log, quietly

with quietly():
    import keras

if TYPE_CHECKING:
    import tensorflow

VARIABLE = "SVS_DEVICES"
_PROCESSOR = Path("/proc/cpuinfo")  # Linux's, which says what the processor can do
_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}  # what it calls bfloat16 arithmetic on x86, and on ARM


def strategy(batch_size: int) -> tensorflow.distribute.Strategy | None:
    """How a batch (of so many excerpts over all devices) is spread as the environment asks; None for one device.

    Raises
    ------
    SettingsError
        There are not so many devices, the backend is another, or a batch can't be split evenly.
    """
    wanted = os.environ.get(VARIABLE, "").strip() or "1"
    if wanted == "1":
        return None
    if wanted != "all" and not (wanted.isdecimal() and int(wanted) > 0):
        raise SettingsError(f"{VARIABLE}={wanted}: expected a number of devices, or `all`")
    if keras.backend.backend() != "tensorflow":
        raise SettingsError(
            f"{VARIABLE}={wanted}: several devices need the TensorFlow backend, not "
            f"{keras.backend.backend()}; unset KERAS_BACKEND or {VARIABLE}"
        )
    import tensorflow

    there = tensorflow.config.list_logical_devices("GPU") or tensorflow.config.list_logical_devices("CPU")
    number = len(there) if wanted == "all" else int(wanted)
    if number > len(there):
        raise SettingsError(
            f"{VARIABLE}={wanted}: TensorFlow sees {len(there)} ({there[0].device_type}); "
            f"choose at most so many, or unset {VARIABLE}"
        )
    if number == 1:
        return None
    if batch_size % number:
        raise SettingsError(
            f"{VARIABLE}={wanted}: batches of {batch_size} excerpts can't be shared evenly by {number} "
            "devices; choose another number, or another batch_size"
        )
    log.info("%d devices, %d excerpts of each batch on each", number, batch_size // number)
    return tensorflow.distribute.MirroredStrategy([device.name for device in there[:number]])


def emulates_bfloat16() -> bool:
    """Whether training would run on a processor without instructions for bfloat16, which takes longer than float32.

    False where it can't be known: on another backend than TensorFlow, with a GPU, or where the system doesn't say.
    """
    if keras.backend.backend() != "tensorflow" or not _PROCESSOR.is_file():
        return False
    import tensorflow

    listed = re.search("^(?:flags|Features)[^:]*:(.*)", _PROCESSOR.read_text(encoding="utf-8"), re.MULTILINE)
    able = listed is None or _BFLOAT16.intersection(listed[1].split())
    return not able and not tensorflow.config.list_physical_devices("GPU")


@contextmanager
def synchronised(model: Any) -> Iterator[None]:
    """Batch normalisation over all devices' shares inside.

    Afterwards it is as before: what is saved says nothing of the machine it was trained on.
    """
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in layers:
        layer.synchronized = True
    try:
        yield
    finally:
        for layer in layers:
            layer.synchronized = False
