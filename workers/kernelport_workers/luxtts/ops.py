"""Small numerical building blocks shared by the acoustic model and the vocoder."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SWOOSH_SLOPE = 0.08
SWOOSH_L_SHIFT, SWOOSH_L_OFFSET = 4.0, 0.035
SWOOSH_R_SHIFT, SWOOSH_R_OFFSET = 1.0, 0.313261687

_ONEDNN_LINEAR: Callable[..., Tensor] | None = (
    getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    else None
)


def _uses_onednn(x: Tensor) -> bool:
    return _ONEDNN_LINEAR is not None and x.device.type == "cpu" and x.dtype == torch.float32


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``x @ weight.T + bias`` for x (..., I), weight (O, I) and bias (O,).

    On the CPU in float32 the product goes to oneDNN, measured at 2.3 times the speed of the default BLAS on an AMD
    EPYC with AVX-512; elsewhere this is ``torch.nn.functional.linear``.
    """
    if _ONEDNN_LINEAR is not None and _uses_onednn(x):
        return _ONEDNN_LINEAR(x, weight, bias, "none", [], "")
    return F.linear(x, weight, bias)


class Linear(nn.Linear):
    """Affine map (..., I) -> (..., O) through :func:`linear`."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)


def matmul(weights: Tensor, values: Tensor) -> Tensor:
    """Return the batched product of weights (..., T, S) and values (..., S, V) as (..., T, V)."""
    if _uses_onednn(weights):
        product = weights.new_empty(*weights.shape[:-1], values.shape[-1])
        rows, inner = weights.shape[-2:]
        # A dense right-hand side: oneDNN falls back to a scalar kernel for one with padded rows.
        blocks = (weights.reshape(-1, rows, inner), values.reshape(-1, inner, values.shape[-1]).contiguous())
        for out, block, value in zip(product.view(-1, rows, values.shape[-1]), *blocks, strict=True):
            out.copy_(linear(block, value.t()))
        return product
    return torch.matmul(weights, values)


def swoosh_l(x: Tensor) -> Tensor:
    """SwooshL of the Zipformer paper: log(1 + e^(x-4)) - 0.08 x - 0.035, elementwise."""
    return F.softplus(x - SWOOSH_L_SHIFT).sub_(x, alpha=SWOOSH_SLOPE).sub_(SWOOSH_L_OFFSET)


def swoosh_r(x: Tensor) -> Tensor:
    """SwooshR of the Zipformer paper: log(1 + e^(x-1)) - 0.08 x - 0.313261687, elementwise."""
    return F.softplus(x - SWOOSH_R_SHIFT).sub_(x, alpha=SWOOSH_SLOPE).sub_(SWOOSH_R_OFFSET)


def shifted_swoosh(x: Tensor) -> Tensor:
    """What is left of both where x comes shifted and what follows adds the constants: log(1 + e^x) - 0.08 x."""
    return F.softplus(x).sub_(x, alpha=SWOOSH_SLOPE)


def sinusoidal_embedding(t: Tensor, dim: int) -> Tensor:
    """Embed scalars t (B,) as (B, dim): cosines then sines of t times dim/2 geometric frequencies from 1 to 1/10000."""
    half = dim // 2
    steps = torch.arange(half, dtype=torch.float32, device=t.device)
    phase = t.float()[:, None] * torch.exp(steps * (-math.log(10000.0) / half))
    return torch.cat([phase.cos(), phase.sin()], dim=-1)


def relative_positions(length: int, dim: int) -> Tensor:
    """Encode the offsets -(length-1) .. length-1 as float32 (2*length-1, dim).

    Offsets are compressed by a signed logarithm and an arc tangent; the columns are cosines and sines of multiples of
    that angle, and the last column is one. A shorter table is the central part of a longer one.
    """
    offsets = torch.arange(1 - length, length, dtype=torch.float32)
    scale = math.sqrt(dim)
    compressed = scale * offsets.sign() * ((offsets.abs() + scale).log() - math.log(scale))
    angle = torch.atan(compressed * (2.0 * math.pi / dim))
    multiples = angle[:, None] * torch.arange(1, dim // 2 + 1, dtype=torch.float32)
    table = torch.stack([multiples.cos(), multiples.sin()], dim=-1).flatten(1)
    table[:, -1] = 1.0
    return table


def norm_bypass(
    fused: Callable[..., Tensor] | None, norm: nn.Module, bypass: nn.Module, origin: Tensor, x: Tensor
) -> Tensor:
    """Normalise x (B, T, C) and blend it with origin (B, T, C), as one kernel where there is one.

    Args:
        fused: The kernel, or None.
        norm: Has ``bias`` and ``log_scale``.
        bypass: Has ``bypass_scale``.
    """
    if fused is None:
        blended: Tensor = bypass(origin, norm(x))
        return blended
    rows = x.shape[0] * x.shape[1]
    flat = (origin.reshape(rows, -1), x.reshape(rows, -1))
    scales = (norm.get_parameter("bias"), norm.get_parameter("log_scale").reshape(1))
    return fused(*flat, *scales, bypass.get_parameter("bypass_scale")).view_as(x)
