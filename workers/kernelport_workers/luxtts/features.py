"""Log-mel features of 24 kHz audio and loudness."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from kernelport_workers.luxtts.config import HOP_LENGTH, N_FFT, SAMPLE_RATE

MIN_SAMPLES = N_FFT // 2 + 1
"""Shortest audio the reflected edges of the transform allow."""

_MEL_BINS = 100
_MEL_FLOOR = 1e-7


def mel_filterbank() -> Tensor:
    """Triangular filters (513, 100) without normalisation, evenly spaced in HTK mel from 0 Hz to 12 kHz."""
    top = 2595.0 * math.log10(1.0 + SAMPLE_RATE / 2 / 700.0)
    edges = 700.0 * (10.0 ** (torch.linspace(0.0, top, _MEL_BINS + 2) / 2595.0) - 1.0)
    frequencies = torch.linspace(0.0, SAMPLE_RATE / 2, N_FFT // 2 + 1)
    slopes = edges[None, :] - frequencies[:, None]
    rising = -slopes[:, :-2] / (edges[1:-1] - edges[:-2])
    falling = slopes[:, 2:] / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp_(min=0.0)


def frame_count(samples: int) -> int:
    """Feature frames of ``samples`` at 24 kHz: one per 256, rounded half up."""
    return (samples + HOP_LENGTH // 2) // HOP_LENGTH


def log_mel(wave: Tensor) -> Tensor:
    """Natural-log mel magnitudes of mono 24 kHz audio (n,), n > 512, as (frames, 100)."""
    window, filters = _constants()
    spectrum = torch.stft(
        wave, N_FFT, HOP_LENGTH, N_FFT, window, center=True, pad_mode="reflect", return_complex=True
    ).abs()
    mel = (spectrum.T @ filters).clamp_(min=_MEL_FLOOR).log_()
    return mel[: frame_count(wave.shape[0])]


def rms(wave: Tensor) -> float:
    """Root mean square of a waveform."""
    return float(wave.square().mean().sqrt())


def raise_to(wave: Tensor, target: float) -> tuple[Tensor, float]:
    """Amplify audio whose root mean square is below ``target``; never attenuate.

    Returns:
        The audio and its root mean square before.
    """
    level = rms(wave)
    return (wave * (target / level) if 0.0 < level < target else wave), level


@functools.cache
def _constants() -> tuple[Tensor, Tensor]:
    return torch.hann_window(N_FFT), mel_filterbank()
