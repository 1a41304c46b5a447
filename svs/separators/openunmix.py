"""Open-unmix: bidirectional LSTMs that its authors trained (Stöter et al. 2019), and its Wiener filter.

`umx`, `umxhq` and `umxl` separate music (44.1 kHz stereo), `umxse` separates speech from noise (16 kHz mono; Uhlich &
Mitsufuji 2020).  The networks, their sizes and the filter come from the package `openunmix`.  Two things differ: files
of weights are checked (checksum, nothing but tensors), and two weaknesses of the filter are avoided (`estimate`).

An LSTM has no finite context, so a chunked estimate differs from that of the whole song, the less the more context it
has.  The difference depends on the weights: with the default context (7 s) it is -105 dB of the vocals for random
weights, and -15 dB for wide open forget gates.  The authors train on excerpts of 6 s, so the published weights have
little reason to look further.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from svs.config.schema import Count, Group, Representation
from svs.data import pretrained
from svs.errors import ModelError
from svs.separators.base import Level, MaskSeparator, Stems, in_pairs
from svs.separators.method import Kind, Method

if TYPE_CHECKING:
    import torch

# Record on Zenodo, and a file for each target; the first target counts as vocals.  As in all files of PyTorch's hub,
# the eight digits in a name are the first ones of the file's sha256.
RECORDS = {
    "umx": ("3370486", ("vocals-c8df74a5.pth", "drums-5a48008b.pth", "bass-646024d3.pth", "other-f8e132cc.pth")),
    "umxhq": ("3370489", ("vocals-b62c91ce.pth", "drums-9619578f.pth", "bass-8d85a5bd.pth", "other-b52fbbf7.pth")),
    "umxl": ("5069601", ("vocals-bccbd9aa.pth", "drums-69e0ebd4.pth", "bass-2ca1ce51.pth", "other-c8c5b3e6.pth")),
    "umxse": ("3786908", ("speech_f5e0d9f9.pth", "noise_04a6fc2d.pth")),
}
# Buffers of the networks of 2019, which are still in their files.
_OBSOLETE = ("sample_rate", "stft.window", "transform.0.window")
_TINY = 1e-20


class Options(Group):
    """Open-unmix: the model, its Wiener filter, and the context of a chunk in seconds."""

    model: Literal["umx", "umxhq", "umxl", "umxse"]
    targets: Literal["vocals", "all"]
    niter: Count
    wiener_window: Annotated[float, Field(ge=0.1, le=60)]
    context: Annotated[float, Field(ge=0, le=60)]
    level: Level


def remotes(model: str) -> dict[str, pretrained.Remote]:
    """The files of a model's weights by target, as published."""
    record, names = RECORDS[model]
    return {
        # TARGET-DIGITS.pth
        name[:-13]: pretrained.Remote(name, f"https://zenodo.org/records/{record}/files/{name}", name[-12:-4])
        for name in names
    }


def needed(options: Options) -> dict[str, pretrained.Remote]:
    """The files of weights that the options need, by target: the first is that of the vocals."""
    files = remotes(options.model)
    return dict(list(files.items())[: 1 if options.targets == "vocals" else None])


class OpenUnmix(MaskSeparator):
    """Parameters
    ----------
    options : Options
    folder : Path
        Weights that the user supplied.

    Raises
    ------
    UnavailableError
        Weights are missing and can't be downloaded.
    ModelError
        A file is damaged, or holds no weights of this model.
    """

    name = "openunmix"
    uses_all_cores = True

    def __init__(self, options: Options, folder: Path):
        files = needed(options)
        paths = pretrained.find_weights(self.name, list(files.values()), folder)
        separator = getattr(_package(), options.model)(targets=list(files), pretrained=False)
        self._separator, self._networks = separator, list(separator.target_models.values())
        for network, path in zip(self._networks, paths, strict=True):
            _fill(network, path, options.model)
        separator.freeze()  # no gradients, no dropout, no statistics of the batch
        self._niter, self.level = options.niter, options.level
        # The filter needs a second source beside a single target: the rest of the mixture.
        self._residual = options.niter > 0 and len(files) == 1
        rate, size, hop = round(float(separator.sample_rate)), separator.stft.n_fft, separator.stft.n_hop
        self._window = max(1, round(options.wiener_window * rate / hop))
        # A chunk begins where a window of the Wiener filter does: the filter then sees the same frames as in the song.
        super().__init__(
            Representation(sample_rate=rate, frame_size=size, win_length=size, hop_length=hop),
            frames_of_context=-(-round(options.context * rate) // hop),
            frame_alignment=self._window if options.niter else 1,
        )

    def vocals(
        self, mixture: np.ndarray, rate: int, references: Stems | None = None, wanted: slice | None = None
    ) -> np.ndarray:
        if self._networks[0].fc3.out_features == 2 * self._networks[0].nb_output_bins:  # stereo
            return in_pairs(self._separate, mixture.T).T
        return np.concatenate([self._separate(channel[None]) for channel in mixture.T]).T

    def _separate(self, audio: np.ndarray) -> np.ndarray:
        """Vocals of audio at the networks' rate and channels, through their own STFT, which reflects the edges."""
        import torch

        channels, samples = audio.shape
        length = max(samples, self.representation.frame_size)  # enough to reflect
        padded = np.zeros((channels, length), dtype=np.float32)
        padded[:, :samples] = audio
        with torch.inference_mode():
            mixture = torch.view_as_complex(self._separator.stft(torch.from_numpy(padded)[None])[0])
            estimate = torch.from_numpy(self.estimate(mixture.numpy(), {}))
            vocals = self._separator.istft(torch.view_as_real(estimate)[None], length=length)[0]
        return vocals.numpy()[:, :samples]

    def estimate(self, mixture: np.ndarray, references: Stems) -> np.ndarray:
        """Vocals' spectrogram from the mixture's, both complex64 (channels, bins, frames).

        The Wiener filter runs in double precision.  It inverts 2 x 2 matrices that are nearly singular if both channels
        are equal; the error of single precision is then only 25 dB below the mixture.  No bin is exactly zero: the
        filter would replace it by one, so that a silent channel or a silent beginning would spoil its statistics.
        """
        import torch
        from openunmix.filtering import wiener

        with torch.inference_mode():
            heard = torch.from_numpy(mixture)
            level = heard.abs()[None]
            sources = torch.stack([network(level)[0] for network in self._networks], dim=-1)
            sources = sources.permute(2, 1, 0, 3).double()  # frames, bins, channels, sources
            mixed = torch.view_as_real(heard).permute(2, 1, 0, 3).double()  # frames, bins, channels, (re, im)
            mixed[..., 0] += (mixed == 0).all(dim=-1) * _TINY
            parts = zip(sources.split(self._window), mixed.split(self._window), strict=True)
            vocals = torch.cat([wiener(part, of, self._niter, residual=self._residual)[..., 0] for part, of in parts])
            return torch.view_as_complex(vocals.permute(2, 1, 0, 3).float().contiguous()).numpy()


def _package() -> ModuleType:
    """The package `openunmix`, even if the installed torchaudio, by which it only resamples, does not fit torch."""
    try:
        import torchaudio  # noqa: F401
    except OSError:
        sys.modules["torchaudio"] = ModuleType("torchaudio")
    import openunmix

    if sys.modules["torchaudio"].__spec__ is None:
        del sys.modules["torchaudio"]  # others may look for the real one
    return openunmix


def _fill(network: torch.nn.Module, path: Path, model: str) -> None:
    """Load a file of weights into its network: all of them, and tensors only."""
    import torch

    advice = "delete it to have it downloaded, or supply the published file"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # anything: the file is not trusted.  Its own message advises to unpickle all of it
        raise ModelError(
            f"{path}: expected weights of {model}, but the file is damaged or holds more than tensors "
            f"({type(error).__name__}); {advice}"
        ) from None
    try:
        network.load_state_dict({key: value for key, value in state.items() if key not in _OBSOLETE})
    except (AttributeError, TypeError, RuntimeError) as error:
        problem = (str(error).splitlines()[1:] or [str(error)])[0].strip()
        raise ModelError(f"{path}: these are no weights of {model} ({problem[:150]}); {advice}") from None


ABOUT = "open-unmix: bidirectional LSTM, pretrained on MUSDB18 (umx, umxhq, umxl) or speech (umxse)"
METHODS = {
    "openunmix": Method(
        Kind.PRETRAINED,
        ABOUT,
        Options,
        lambda name, options, needs, settings: OpenUnmix(options, needs),
        trained_on="MUSDB18 (umx, umxhq), more music (umxl), or speech (umxse)",
    )
}
