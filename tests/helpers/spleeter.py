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
    } | {"global_step": np.int64(0)}  # the Estimator looks for it
    tf.raw_ops.SaveV2(
        prefix=str(folder / "model"),
        tensor_names=list(found),
        shape_and_slices=[""] * len(found),
        tensors=list(found.values()),
    )
    (folder / "checkpoint").write_bytes(FILES["checkpoint"])


def upstream(
    weights: spleeter_weights.Weights,
    audio: np.ndarray,
    separation_exponent: float = 2.0,
    mask_extension: str = "zeros",
) -> np.ndarray:
    """Vocals of stereo audio at 44.1 kHz, after the text of spleeter's code, with torch and numpy alone.

    `spleeter.model.EstimatorSpecBuilder`: a frame of zeros in front, `tf.signal.stft` with `pad_end`, segments of 512
    frames, the mask of the networks, and a sum of windowed frames times 2/3.
    """
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(4096) / 4096)
    frames = -(-(len(audio) + 4096) // 1024)
    padded = np.zeros((frames * 1024 + 4096, 2))
    padded[4096 : 4096 + len(audio)] = audio
    places = [slice(frame * 1024, frame * 1024 + 4096) for frame in range(frames)]
    spectrum = np.stack([np.fft.rfft(padded[place] * window[:, None], axis=0) for place in places])
    segments = np.zeros((-(-frames // 512) * 512, 1024, 2), np.float32)
    segments[:frames] = np.abs(spectrum[:, :1024])
    vocals, rest = (
        np.concatenate([_u_net(weights[stem], segment) for segment in segments.reshape(-1, 512, 1024, 2)])[:frames]
        ** separation_exponent
        for stem in weights
    )
    mask = (vocals + 0.5e-10) / (vocals + rest + 1e-10)
    above = mask.mean(axis=1, keepdims=True) * (mask_extension == "average")
    masked = spectrum * np.concatenate([mask, np.repeat(above, 1025, axis=1)], axis=1)
    estimate = np.zeros_like(padded)
    for place, frame in zip(places, masked, strict=True):
        estimate[place] += np.fft.irfft(frame, axis=0) * window[:, None] * 2 / 3
    return estimate[4096 : 4096 + len(audio)].astype(np.float32)


def _u_net(arrays: dict[str, np.ndarray], magnitude: np.ndarray) -> np.ndarray:
    """`spleeter.model.functions.unet.apply_unet` of (512, 1024, 2)."""
    import torch
    from torch.nn import functional as F

    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        parts = (tensors[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *parts, eps=1e-3)

    given = x = torch.from_numpy(magnitude).permute(2, 0, 1)[None]
    skips = []
    with torch.inference_mode():
        for level in range(1, 7):
            name = f"down{level}_conv.1"
            x = F.conv2d(F.pad(x, (1, 2, 1, 2)), tensors[f"{name}.weight"], tensors[f"{name}.bias"], stride=2)
            skips.append(x)
            if level < 6:
                x = F.leaky_relu(norm(x, f"down{level}_act.0"), 0.2)
        for level in range(1, 7):
            x = x if level == 1 else torch.cat([skips[6 - level], x], dim=1)
            x = F.conv_transpose2d(x, tensors[f"up{level}.0.weight"], tensors[f"up{level}.0.bias"], stride=2)
            x = norm(F.relu(x[..., 1:-2, 1:-2]), f"up{level}.3")
        x = F.conv2d(F.pad(x, (3, 3, 3, 3)), tensors["up7.0.weight"], tensors["up7.0.bias"], dilation=2)
        return (torch.sigmoid(x) * given)[0].permute(1, 2, 0).numpy()
