"""Utterances of different length that share the vocoder's batch sound as each does alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kernelport_workers.luxtts.config import HOP_LENGTH, N_FFT
from kernelport_workers.luxtts.vocoder import GroupNorm, Vocoder, outside
from tests.luxtts.conftest import relative_error


def mels(*lengths: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(100, length, generator=generator) * 2 - 3 for length in lengths]


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("lengths", [(40, 2, 17, 39), (9, 9), (3, 80)])
@torch.inference_mode()
def test_a_batch_gives_what_each_gives_alone(vocoder: Vocoder, lengths: tuple[int, ...], smooth: bool) -> None:
    items = mels(*lengths)
    for item, found in zip(items, vocoder.batch(items, smooth), strict=True):
        assert relative_error(found, vocoder(item[None], smooth)[0]) < 2e-5


@torch.inference_mode()
def test_batch_mates_of_any_loudness_do_not_reach_an_utterance(vocoder: Vocoder) -> None:
    quiet, loud = mels(31, 44)
    alone = vocoder(quiet[None])[0]
    for mate in (loud, loud + 20, torch.full_like(loud, 40.0)):
        assert relative_error(vocoder.batch([quiet, mate])[0], alone) < 2e-5


@pytest.mark.parametrize("frames", [2, 3, 50])
@torch.inference_mode()
def test_the_head_is_the_inverse_transform_of_its_spectrum(vocoder: Vocoder, frames: int) -> None:
    hidden = torch.randn(2, frames, vocoder.head.out.in_features, generator=torch.Generator().manual_seed(1))
    log_magnitude, phase = vocoder.head.out(hidden).transpose(1, 2).chunk(2, dim=1)
    spectrum = torch.polar(log_magnitude.exp().clamp(max=100.0), phase)
    expected = torch.istft(spectrum, N_FFT, HOP_LENGTH, N_FFT, torch.hann_window(N_FFT), center=True)
    assert relative_error(vocoder.head(hidden), expected) < 1e-5


def test_group_norm_over_a_part_of_a_row_is_that_of_the_part() -> None:
    norm = GroupNorm(64)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = torch.randn(2, 64, 20, generator=torch.Generator().manual_seed(2)) + 5
    found = norm(x, outside(torch.tensor([20, 7]), 20))
    assert relative_error(found[0].detach(), norm(x[:1])[0].detach()) < 1e-5
    assert relative_error(found[1, :, :7].detach(), norm(x[1:, :, :7])[0].detach()) < 1e-5
