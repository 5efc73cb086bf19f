"""Vocos-style vocoder: log-mel features to 48 kHz audio, with an inverse Fourier transform head at each rate.

The 24 kHz head gives the low band (resampled to 48 kHz by a fixed polyphase filter); an upsampler and a second head
give the band above ``crossover_hz``. Group normalisation and the band merge see the whole utterance, so cutting one
changes every sample. Utterances of different length share a batch: whatever looks at neighbours is given the
``lengths`` of all rows, and sees zeros behind an utterance's end, as it does when it runs alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from kernelport_workers.luxtts.config import HOP_LENGTH, N_FFT, OUTPUT_SAMPLE_RATE, SAMPLE_RATE, VocoderConfig
from kernelport_workers.luxtts.ops import Linear

Length = TypeVar("Length", int, Tensor)

_NORM_EPS = 1e-6
_GROUPS = 32
_MAX_MAGNITUDE = 100.0
_RATE_FACTOR = OUTPUT_SAMPLE_RATE // SAMPLE_RATE
_RESAMPLE_HALF_WIDTH = 7
_CROSSOVER_HALF_BINS = 4


def outside(lengths: Tensor | None, size: int) -> Tensor | None:
    """Where rows of so many ``lengths`` (B,) have ended, bool (B, size); None where none has."""
    return None if lengths is None else _ended(lengths, size)


def _ended(lengths: Tensor, size: int) -> Tensor:
    return torch.arange(size, device=lengths.device) >= lengths[:, None]


def zeroed(x: Tensor, ended: Tensor | None) -> Tensor:
    """x (B, C, L) with zeros where rows have ended (B, L)."""
    return x if ended is None else x.masked_fill(ended[:, None], 0.0)


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, layer norm, two linear maps around a GELU, scaled residual; (B, C, L) to (B, C, L)."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=_NORM_EPS)
        self.pwconv1 = Linear(dim, hidden)
        self.pwconv2 = Linear(hidden, dim)
        self.gamma = nn.Parameter(torch.empty(dim))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.norm(self.dwconv(x).transpose(1, 2))
        hidden = self.pwconv2(F.gelu(self.pwconv1(hidden)))
        residual: Tensor = (self.gamma * hidden).transpose(1, 2)
        return x + residual


class Backbone(nn.Module):
    """Mel features (B, M, L) to hidden frames (B, L, C); each frame depends on 27 frames either side."""

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        dim = config.dim
        self.embed = nn.Conv1d(config.input_channels, dim, 7, padding=3)
        self.norm = nn.LayerNorm(dim, eps=_NORM_EPS)
        self.convnext = nn.ModuleList(ConvNeXtBlock(dim, config.intermediate_dim) for _ in range(config.num_layers))
        self.final_layer_norm = nn.LayerNorm(dim, eps=_NORM_EPS)

    def forward(self, mel: Tensor, lengths: Tensor | None = None) -> Tensor:
        ended = outside(lengths, mel.shape[-1])
        x = self.norm(self.embed(zeroed(mel, ended)).transpose(1, 2)).transpose(1, 2)
        for block in self.convnext:
            x = block(zeroed(x, ended))
        normed: Tensor = self.final_layer_norm(x.transpose(1, 2))
        return normed


class FourierHead(nn.Module):
    """Frames (B, L, C) to a waveform (B, (L-1)*256) through log magnitude, phase and an inverse transform.

    A frame's 1024 samples overlap those of the next three; each sum is divided by that of the squared windows.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.out = Linear(dim, N_FFT + 2)
        self.register_buffer("window", torch.hann_window(N_FFT, device="cpu"), persistent=False)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        log_magnitude, phase = self.out(x).chunk(2, dim=-1)
        spectrum = torch.polar(log_magnitude.exp().clamp_(max=_MAX_MAGNITUDE), phase)
        window: Tensor = self.get_buffer("window")
        frames = torch.fft.irfft(spectrum, n=N_FFT).mul_(window)
        squares = window.square().expand(1, x.shape[1], -1)
        if lengths is None:
            return _overlap_added(frames).div_(_overlap_added(squares))
        ended = _ended(lengths, x.shape[1])[..., None]
        frames, squares = frames.masked_fill_(ended, 0.0), squares.masked_fill(ended, 0.0)
        audio = _overlap_added(frames).div_(_overlap_added(squares))
        return audio.masked_fill_(_ended((lengths - 1) * HOP_LENGTH, audio.shape[1]), 0.0)


def _overlap_added(frames: Tensor) -> Tensor:
    """Sum frames (B, L, 1024), each 256 samples after the last, without the first and last 512, as (B, (L-1)*256)."""
    batch, count, _ = frames.shape
    parts = frames.view(batch, count, -1, HOP_LENGTH)
    hops = frames.new_zeros(batch, count + parts.shape[2] - 1, HOP_LENGTH)
    for index in range(parts.shape[2]):
        hops[:, index : index + count] += parts[:, :, index]
    edge = parts.shape[2] // 2
    return hops[:, edge : edge + count - 1].flatten(1)


class Snake(nn.Module):
    """Periodic activation x + sin(alpha x)^2 / alpha, alpha per channel; (B, C, L)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.empty(1, dim, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + (self.alpha * x).sin().square() / (self.alpha + 1e-9)


class GroupNorm(nn.GroupNorm):
    """Group normalisation of x (B, C, L) over the frames that have not ended."""

    def __init__(self, dim: int) -> None:
        super().__init__(_GROUPS, dim, eps=_NORM_EPS)

    def forward(self, input: Tensor, ended: Tensor | None = None) -> Tensor:
        if ended is None:
            return super().forward(input)
        groups = input.reshape(input.shape[0], self.num_groups, -1, input.shape[2])
        inside = (~ended)[:, None, None].to(input.dtype)
        count = inside.sum(dim=-1, keepdim=True) * groups.shape[2]
        centred = groups - (groups * inside).sum(dim=(2, 3), keepdim=True) / count
        variance = (centred.square() * inside).sum(dim=(2, 3), keepdim=True) / count
        normed = (centred * (variance + self.eps).rsqrt()).flatten(1, 2)
        scaled: Tensor = normed * self.weight[:, None] + self.bias[:, None]
        return scaled


class ResBlock(nn.Module):
    """Twice group norm, Snake and a convolution over three frames, plus the input."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm1 = GroupNorm(dim)
        self.snake1 = Snake(dim)
        self.conv1 = nn.Conv1d(dim, dim, 3, padding=1)
        self.norm2 = GroupNorm(dim)
        self.snake2 = Snake(dim)
        self.conv2 = nn.Conv1d(dim, dim, 3, padding=1)

    def forward(self, x: Tensor, ended: Tensor | None = None) -> Tensor:
        hidden = self.conv1(zeroed(self.snake1(self.norm1(x, ended)), ended))
        residual: Tensor = self.conv2(zeroed(self.snake2(self.norm2(hidden, ended)), ended))
        return x + residual


class TransposedConv(nn.ConvTranspose1d):
    """Transposed convolution as one plain convolution per output phase.

    oneDNN's own gives other bits with another number of threads, and an item must not depend on how it is run.
    """

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        stride, padding, length = self.stride[0], int(self.padding[0]), self.length(input.shape[-1])
        phases = []
        for phase in range(stride):
            # Output stride*m + phase is the sum over q of input[m + shift - q] times tap first + stride*q.
            shift, first = divmod(phase + padding, stride)
            taps = self.weight[:, :, first::stride].flip(-1).transpose(0, 1)
            count = -(-(length - phase) // stride)
            left, right = taps.shape[-1] - 1 - shift, count + shift - input.shape[-1]
            phases.append(F.conv1d(F.pad(input, (left, right)), taps, self.bias))
        longest = phases[0].shape[-1]
        padded = [F.pad(each, (0, longest - each.shape[-1])) for each in phases]
        return torch.stack(padded, dim=-1).flatten(2)[..., :length]

    def length(self, frames: Length) -> Length:
        """Frames that come of so many."""
        return (frames - 1) * self.stride[0] - 2 * int(self.padding[0]) + self.kernel_size[0]


class Upsampler(nn.Module):
    """Transposed convolutions and residual blocks: (B, L, C) to (B, 2L+1, C) at the published factors."""

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        sizes = [config.dim >> level for level in range(len(config.upsample_factors) + 1)]
        self.upsample_layers = nn.ModuleList(
            TransposedConv(sizes[level], sizes[level + 1], kernel, stride=factor, padding=(kernel - factor) // 2)
            for level, (factor, kernel) in enumerate(zip(config.upsample_factors, config.upsample_kernels, strict=True))
        )
        self.resnet_blocks = nn.ModuleList(ResBlock(size) for size in sizes[1:])
        self.out_proj = Linear(sizes[-1], config.dim)
        self.final_snake = Snake(config.dim)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """The frames, and how many each row has now."""
        hidden = x.transpose(1, 2)
        for upsample, block in zip(self.upsample_layers, self.resnet_blocks, strict=True):
            hidden = upsample(zeroed(hidden, outside(lengths, hidden.shape[-1])))
            if lengths is not None:
                assert isinstance(upsample, TransposedConv)  # noqa: S101
                lengths = upsample.length(lengths)
            hidden = block(hidden, outside(lengths, hidden.shape[-1]))
        hidden = self.out_proj(hidden.transpose(1, 2)).transpose(1, 2)
        return self.final_snake(hidden).transpose(1, 2), lengths


def resampling_kernel() -> Tensor:
    """Windowed-sinc kernel (2, 1, 15) for twice the rate: roll-off 0.99, six zero crossings, squared cosine window."""
    rolloff, zeros = 0.99, 6.0
    taps = torch.arange(-_RESAMPLE_HALF_WIDTH, _RESAMPLE_HALF_WIDTH + 1, dtype=torch.float64)
    phases = torch.arange(2, dtype=torch.float64)[:, None] / 2.0
    t = (rolloff * (taps - phases)).clamp(-zeros, zeros)
    kernel = rolloff * torch.sinc(t) * torch.cos(t * (math.pi / (2.0 * zeros))).square()
    return kernel.float()[:, None]


def double_rate(x: Tensor, kernel: Tensor) -> Tensor:
    """Resample (B, n) at 24 kHz to (B, 2n) at 48 kHz with :func:`resampling_kernel`."""
    padded = F.pad(x[:, None], (_RESAMPLE_HALF_WIDTH, _RESAMPLE_HALF_WIDTH + 1))
    return F.conv1d(padded, kernel).transpose(1, 2).flatten(1)[:, : 2 * x.shape[1]]


def merge_bands(high: Tensor, low: Tensor, crossover_hz: float) -> Tensor:
    """Take frequencies above ``crossover_hz`` from ``high`` and the rest from ``low``, both (B, n) at 48 kHz."""
    samples = low.shape[-1]
    bins = samples // 2 + 1
    centre = int(crossover_hz / (OUTPUT_SAMPLE_RATE / 2) * bins)
    ramp = torch.linspace(0.0, 1.0, 2 * _CROSSOVER_HALF_BINS, device=low.device)
    mask = torch.zeros(bins, device=low.device)
    start = centre - _CROSSOVER_HALF_BINS
    mask[start : start + ramp.shape[0]] = 3.0 * ramp**2 - 2.0 * ramp**3
    mask[start + ramp.shape[0] :] = 1.0
    if low.device.type == "cpu":
        # torch's transform of so long a signal gives other bits with another number of threads.
        low_bins, high_bins = (np.fft.rfft(band.numpy()) for band in (low, high))
        merged_bins = low_bins + (high_bins - low_bins) * mask.numpy()
        return torch.from_numpy(np.fft.irfft(merged_bins, n=samples))
    low_spectrum = torch.fft.rfft(low)
    merged = torch.lerp(low_spectrum, torch.fft.rfft(high), mask.to(low_spectrum.dtype))
    audio: Tensor = torch.fft.irfft(merged, n=samples)
    return audio


class Vocoder(nn.Module):
    """Log-mel features (B, 100, L), L >= 2, natural log and unscaled, to audio (B, (L-1)*512) at 48 kHz.

    Always float32. A checkpoint without the upsampler (the 24 kHz vocoder of ZipVoice) gives the smooth output only.
    """

    def __init__(self, config: VocoderConfig, crossover_hz: float = 12_000.0) -> None:
        super().__init__()
        self.crossover_hz = crossover_hz
        self.backbone = Backbone(config)
        self.head = FourierHead(config.dim)
        self.wideband = bool(config.upsample_factors)
        if self.wideband:
            self.upsampler = Upsampler(config)
            self.head_48k = FourierHead(config.dim)
        self.register_buffer("resampling", resampling_kernel(), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.get_buffer("resampling").device

    def forward(self, mel: Tensor, smooth: bool = False) -> Tensor:
        """Generate audio; ``smooth`` skips the 48 kHz branch, leaving a signal band-limited to about 12 kHz."""
        low, high = self._bands(mel, smooth)
        return low if high is None else merge_bands(high, low, self.crossover_hz)

    def batch(self, mels: Sequence[Tensor], smooth: bool = False) -> list[Tensor]:
        """Generate the audio (n,) of each of several features (100, L), which is that of each alone, to rounding."""
        lengths = [mel.shape[-1] for mel in mels]
        if len(set(lengths)) == 1:
            return list(self(torch.stack(list(mels)), smooth))
        padded = pad_sequence([mel.T for mel in mels], batch_first=True).transpose(1, 2)
        counts = torch.tensor(lengths)
        if padded.device.type == "cuda":
            counts = counts.pin_memory()
        low, high = self._bands(padded, smooth, counts.to(padded.device, non_blocking=True))
        samples = [(length - 1) * HOP_LENGTH * _RATE_FACTOR for length in lengths]
        lows = [low[row : row + 1, :count] for row, count in enumerate(samples)]
        if high is None:
            return [each[0] for each in lows]
        highs = [high[row : row + 1, :count] for row, count in enumerate(samples)]
        return [merge_bands(*bands, self.crossover_hz)[0] for bands in zip(highs, lows, strict=True)]

    def _bands(self, mel: Tensor, smooth: bool, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """The low band and, unless it is all there is, the high one, each (B, (L-1)*512)."""
        frames = self.backbone(mel, lengths)
        low = double_rate(self.head(frames, lengths), self.get_buffer("resampling"))
        if smooth or not self.wideband:
            return low, None
        high = self.head_48k(*self.upsampler(frames, lengths))[:, : low.shape[1]]
        return low, high


def fold_weight_norm(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Replace weight-norm pairs (magnitude, direction) by plain weights; other entries are kept.

    Accepts ``NAME.parametrizations.weight.original0/1`` and ``NAME.weight_g/weight_v``; the norm runs over all
    dimensions but the first.
    """
    folded = dict(state)
    for suffixes in (
        (".parametrizations.weight.original0", ".parametrizations.weight.original1"),
        (".weight_g", ".weight_v"),
    ):
        for key in [key for key in folded if key.endswith(suffixes[0])]:
            name = key.removesuffix(suffixes[0])
            magnitude, direction = folded.pop(key), folded.pop(name + suffixes[1])
            folded[f"{name}.weight"] = torch._weight_norm(direction, magnitude, 0)
    return folded
