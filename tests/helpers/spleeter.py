"""Weights of spleeter for tests: random ones, and files that hold them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from svs.data import spleeter_weights

FILES = {
    "checkpoint": b'model_checkpoint_path: "model"\nall_model_checkpoint_paths: "model"\n',
    "model.index": b"index",
    "model.data-00000-of-00001": b"data",
    "model.meta": b"meta",
}


def put(folder: Path, *, without: str = "", **changes: bytes) -> Path:
    """Files that look like a checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in FILES.items():
        if name != without:
            (folder / name).write_bytes(changes.get(name.replace(".", "_"), content))
    return folder


def random_weights(seed: int = 1) -> spleeter_weights.Weights:
    """Weights of the real shapes, by which masks take all values."""
    generator = np.random.default_rng(seed)
    filters = (16, 32, 64, 128, 256, 512)

    def layer(*shape: int, outputs: int, fan_in: float) -> dict[str, np.ndarray]:
        kernel = generator.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / fan_in))
        return {"weight": kernel, "bias": generator.normal(0, 0.1, outputs).astype("f4")}

    def norm(size: int) -> dict[str, np.ndarray]:
        return {
            "weight": generator.uniform(0.5, 1.5, size).astype("f4"),
            "bias": generator.normal(0, 0.3, size).astype("f4"),
            "running_mean": generator.normal(0, 0.3, size).astype("f4"),
            "running_var": generator.uniform(0.5, 2, size).astype("f4"),
        }

    weights: spleeter_weights.Weights = {}
    for stem in spleeter_weights.STEMS:
        layers = {}
        for level, (before, after) in enumerate(zip((2, *filters), filters, strict=False), 1):
            layers[f"down{level}_conv.1"] = layer(after, before, 5, 5, outputs=after, fan_in=25 * before)
            layers[f"down{level}_act.0"] = norm(after)
        for level, after in enumerate((256, 128, 64, 32, 16, 1), 1):
            before = 512 if level == 1 else 4 * after if after > 1 else 32
            layers[f"up{level}.0"] = layer(before, after, 5, 5, outputs=after, fan_in=6 * before)
            layers[f"up{level}.3"] = norm(after)
        layers["up7.0"] = layer(2, 1, 4, 4, outputs=2, fan_in=8)
        weights[stem] = {f"{name}.{part}": array for name, parts in layers.items() for part, array in parts.items()}
    return weights


def save_npz(path: Path, weights: spleeter_weights.Weights) -> None:
    np.savez(path, **{f"{stem}/{name}": array for stem, arrays in weights.items() for name, array in arrays.items()})


def save_checkpoint(folder: Path, weights: spleeter_weights.Weights) -> None:
    """A checkpoint of TensorFlow under the names of spleeter's own graph."""
    import tensorflow as tf

    folder.mkdir(parents=True, exist_ok=True)
    found = {
        variable: weights[stem][name].transpose(2, 3, 1, 0) if weights[stem][name].ndim == 4 else weights[stem][name]
        for number, stem in enumerate(weights)
        for name, variable in spleeter_weights.variables(number).items()
    }
    tf.raw_ops.SaveV2(
        prefix=str(folder / "model"),
        tensor_names=list(found),
        shape_and_slices=[""] * len(found),
        tensors=list(found.values()),
    )
    (folder / "checkpoint").write_bytes(FILES["checkpoint"])
