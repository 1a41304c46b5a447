"""Open-unmix: bidirectional LSTMs that its authors trained (Stöter et al. 2019), and its Wiener filter.

`umx`, `umxhq` and `umxl` separate music (44.1 kHz stereo), `umxse` speech from
noise (16 kHz mono; Uhlich & Mitsufuji 2020).  The networks, their sizes and
the filter are those of the package `openunmix`.  What is done here in its
stead: weights come with a checksum and may hold nothing but tensors, and two
weaknesses of the filter are kept away from the estimate (`estimate`).

An LSTM has no finite context, so an estimate made in chunks differs from that
of the whole song, the less the more context it has.  How much depends on the
weights: -105 dB of the vocals with random ones at the default context (7 s),
-15 dB with forget gates opened wide.  The authors' training script takes
excerpts of 6 s, so little can have taught the published ones to look further.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from svs.audio.convert import resample
from svs.config.schema import Count, Group, Representation, Settings
from svs.data import pretrained
from svs.errors import ModelError
from svs.separators.base import MaskSeparator, in_pairs
from svs.separators.method import Kind, Method

# Record on Zenodo, and a file for each target, what we call vocals first.  The digits in a
# name are the first of the file's sha256, as in all files of PyTorch's hub.
RECORDS = {
    "umx": ("3370486", ("vocals-c8df74a5.pth", "drums-5a48008b.pth", "bass-646024d3.pth", "other-f8e132cc.pth")),
    "umxhq": ("3370489", ("vocals-b62c91ce.pth", "drums-9619578f.pth", "bass-8d85a5bd.pth", "other-b52fbbf7.pth")),
    "umxl": ("5069601", ("vocals-bccbd9aa.pth", "drums-69e0ebd4.pth", "bass-2ca1ce51.pth", "other-c8c5b3e6.pth")),
    "umxse": ("3786908", ("speech_f5e0d9f9.pth", "noise_04a6fc2d.pth")),
}
# Buffers that the networks of 2019 still had, and their files have.
_BYGONE = ("sample_rate", "stft.window", "transform.0.window")
_NOUGHT = 1e-20


class Options(Group):
    """Open-unmix: which of its authors' models, its Wiener filter, and what a chunk sees of the song around it."""

    model: Literal["umx", "umxhq", "umxl", "umxse"]
    targets: Literal["vocals", "all"]
    niter: Count
    wiener_window: Annotated[float, Field(ge=0.1, le=60)]
    context: Annotated[float, Field(ge=0, le=60)]


def remotes(model: str) -> dict[str, pretrained.Remote]:
    """The files of a model's weights by target, as published."""
    record, names = RECORDS[model]
    files = {}
    for name in names:
        target, digits = re.fullmatch(r"([a-z]+)[-_]([0-9a-f]{8})\.pth", name).groups()
        files[target] = pretrained.Remote(name, f"https://zenodo.org/records/{record}/files/{name}", digits)
    return files


class OpenUnmix(MaskSeparator):
    """Parameters
    ----------
    options : Options
    folder : Path
        Weights that a person supplied.

    Raises
    ------
    UnavailableError
        The weights can't be had.
    ModelError
        The weights are damaged, or are no weights of this model.
    """

    name = "openunmix"
    uses_all_cores = True

    def __init__(self, options: Options, folder: Path):
        files = remotes(options.model)
        if options.targets == "vocals":
            files = dict(list(files.items())[:1])
        paths = pretrained.find_weights(self.name, list(files.values()), folder)
        package = _package()
        separator = getattr(package, options.model)(targets=list(files), pretrained=False)
        for network, path in zip(separator.target_models.values(), paths, strict=True):
            _fill(network, path, options.model)
        separator.freeze()  # no gradients; neither dropout nor the batch's own statistics
        self._separator, self._niter = separator, options.niter
        self._networks = list(separator.target_models.values())
        # A single target needs a second source for the filter: all the rest.
        self._residual = options.niter > 0 and len(files) == 1
        rate, hop = round(float(separator.sample_rate)), separator.stft.n_hop
        self._window = max(1, round(options.wiener_window * rate / hop))
        # Chunks begin where a window of the Wiener filter does, so that it sees the frames that it sees in the song.
        super().__init__(
            Representation(
                sample_rate=rate, frame_size=separator.stft.n_fft, win_length=separator.stft.n_fft, hop_length=hop
            ),
            frames_of_context=-(-round(options.context * rate) // hop),
            frame_alignment=self._window if options.niter else 1,
        )

    def vocals(
        self,
        mixture: np.ndarray,
        rate: int,
        references: Mapping[str, np.ndarray] | None = None,
        wanted: slice | None = None,
    ) -> np.ndarray:
        ours = self.representation.sample_rate
        audio = resample(mixture, rate, ours)
        stereo = self._networks[0].fc3.out_features == 2 * self._networks[0].nb_output_bins
        if stereo:
            estimate = in_pairs(self._separate, audio)
        else:
            estimate = np.concatenate([self._separate(channel[:, None]) for channel in audio.T], axis=1)
        back = resample(np.ascontiguousarray(estimate), ours, rate)[: len(mixture)]
        return np.pad(back, ((0, len(mixture) - len(back)), (0, 0)))

    def _separate(self, audio: np.ndarray) -> np.ndarray:
        """Vocals of audio at the networks' own rate and channels, through their own STFT (its edges are reflected)."""
        import torch

        length = max(len(audio), self.representation.frame_size)  # there must be something to reflect
        padded = np.zeros((audio.shape[1], length), dtype=np.float32)
        padded[:, : len(audio)] = audio.T
        with torch.inference_mode():
            mixture = torch.view_as_complex(self._separator.stft(torch.from_numpy(padded)[None])[0])
            estimate = torch.from_numpy(self.estimate(mixture.numpy(), {}))
            vocals = self._separator.istft(torch.view_as_real(estimate)[None], length=length)[0]
        return vocals.numpy()[:, : len(audio)].T

    def estimate(self, mixture: np.ndarray, references: Mapping[str, np.ndarray]) -> np.ndarray:
        """Vocals' spectrogram from the mixture's, both complex64 (channels, bins, frames).

        The Wiener filter runs in double precision: it inverts 2 x 2 matrices
        that are all but singular where both channels are the same, and in
        single precision the error is as loud as 25 dB below the mixture.  And
        no bin is exactly zero: the filter would take it for one, so a silent
        channel or a silent beginning spoils its statistics.
        """
        import torch
        from openunmix.filtering import wiener

        with torch.inference_mode():
            heard = torch.from_numpy(mixture)
            level = heard.abs()[None]
            sources = torch.stack([network(level)[0] for network in self._networks], dim=-1)
            sources = sources.permute(2, 1, 0, 3).double()  # frames, bins, channels, sources
            mixed = torch.view_as_real(heard).permute(2, 1, 0, 3).double()  # frames, bins, channels, (re, im)
            mixed[..., 0] += (mixed == 0).all(dim=-1) * _NOUGHT
            vocals = torch.cat(
                [
                    wiener(part, of, self._niter, residual=self._residual)[..., 0]
                    for part, of in zip(sources.split(self._window), mixed.split(self._window), strict=True)
                ]
            )
            return torch.view_as_complex(vocals.permute(2, 1, 0, 3).float().contiguous()).numpy()


def _package() -> ModuleType:
    """The package `openunmix`, also where torchaudio is not made for this torch.

    It imports torchaudio for resampling alone, which is done elsewhere here.
    """
    try:
        import torchaudio  # noqa: F401
    except OSError:
        sys.modules["torchaudio"] = ModuleType("torchaudio")
        try:
            import openunmix
        finally:
            del sys.modules["torchaudio"]  # others may look for the real one
        return openunmix
    import openunmix

    return openunmix


def _fill(network, path: Path, model: str) -> None:
    """Load a file of weights into its network: all of them, and tensors only."""
    import torch

    advice = "delete it to have it downloaded, or supply the published file"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a file made by anybody sets off; its message advises to unpickle anything
        raise ModelError(
            f"{path}: expected weights of {model}, but the file is damaged or holds more than tensors "
            f"({type(error).__name__}); {advice}"
        ) from None
    try:
        network.load_state_dict({key: value for key, value in state.items() if key not in _BYGONE})
    except (AttributeError, TypeError, RuntimeError) as error:
        problem = (str(error).splitlines()[1:] or [str(error)])[0].strip()
        raise ModelError(f"{path}: these are no weights of {model} ({problem[:150]}); {advice}") from None


def build(name: str, options: Options, needs: Path, settings: Settings) -> OpenUnmix:
    return OpenUnmix(options, needs)


METHODS = {
    "openunmix": Method(
        Kind.PRETRAINED,
        "open-unmix: bidirectional LSTM, pretrained on MUSDB18 (umx, umxhq, umxl) or speech (umxse)",
        Options,
        build,
    )
}
