"""What makes a decoder fast on a CPU: smaller numbers in its linear layers, and less to do around them.

Weights become int8 with a scale for each row, or bfloat16; inputs are rounded alike as they come, for each block of
frames by itself. All else stays float32.
"""

from __future__ import annotations

import functools
import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernelport_workers.luxtts import ops
from kernelport_workers.luxtts.attention import AttentionWeights, NonlinAttention, SelfAttention
from kernelport_workers.luxtts.decoder import FlowDecoder
from kernelport_workers.luxtts.streams import stream_count
from kernelport_workers.luxtts.zipformer import ConvolutionModule, FeedForward

CpuPrecision = Literal["float32", "bfloat16", "int8"]

CPU_PATHS: dict[str, CpuPrecision] = {"torch": "float32", "torch-bf16": "bfloat16", "torch-int8": "int8"}
"""The precision of each compute path of PyTorch on a CPU."""

_LARGEST_INT8, _LARGEST_BYTE = 127, 255
_LEAST_SCALE = 1e-30
_ROUNDING = 1.5 * 2**23


def has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 faster than float32."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def has_int8() -> bool:
    """Whether this torch multiplies int8 on this CPU with a scale for each row of weights."""
    return torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call,no-any-return]


def streams_for(precision: CpuPrecision) -> int:
    """How many items at a time make the most of this CPU, each with the bits that it has alone on all cores.

    What an adapted int8 decoder leaves in float32 has the same sums on any number of threads; larger products do not.
    """
    return stream_count() if precision == "int8" else 1


@functools.cache
def _largest_input() -> int:
    """The largest byte that an input may be for every sum to come out right.

    A CPU without VNNI adds two products in 16 bits, which two of 255 times 127 do not fit into, and saturates unsaid.
    """
    rows = torch.full((16, 64), _LARGEST_BYTE, dtype=torch.uint8)
    packed = torch.ops.onednn.qlinear_prepack(torch.full((16, 64), _LARGEST_INT8, dtype=torch.int8), None)
    right = rows.shape[1] * _LARGEST_BYTE * _LARGEST_INT8
    sums = _int8_product(rows, 1.0, 0, packed, torch.ones(16), torch.zeros(16, dtype=torch.int32))
    return _LARGEST_BYTE if bool((sums == right).all()) else _LARGEST_INT8


def _int8_product(
    x: Tensor, scale: float, zero: int, packed: Tensor, scales: Tensor, zeros: Tensor, bias: Tensor | None = None
) -> Tensor:
    product: Tensor = torch.ops.onednn.qlinear_pointwise(
        x, scale, zero, packed, scales, zeros, bias, 1.0, 0, torch.float32, "none", [], ""
    )
    return product


class Bfloat16Linear(nn.Module):
    """A linear layer with weights and inputs in bfloat16; sums and output are float32."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight.bfloat16(), persistent=False)
        self.register_buffer("bias", bias.float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        product = F.linear(x.bfloat16(), self.get_buffer("weight"))
        return product.float().add_(self.get_buffer("bias"))


class Int8Linear(nn.Module):
    """A linear layer with int8 weights, a scale for each output, and inputs as bytes with one scale a call."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        scales = weight.float().abs().amax(dim=1).clamp_(min=_LEAST_SCALE) / _LARGEST_INT8
        rounded = (weight.float() / scales[:, None]).round_().to(torch.int8)
        self._packed = torch.ops.onednn.qlinear_prepack(rounded, None)
        self._scales, self._zeros = scales, torch.zeros(len(weight), dtype=torch.int32)
        self._bias = bias.float()

    def forward(self, x: Tensor) -> Tensor:
        least, most = (bound.item() for bound in x.aminmax())
        least, most = min(least, 0.0), max(most, 0.0)
        if not math.isfinite(most - least):
            return x.new_full((*x.shape[:-1], len(self._bias)), math.nan)
        scale = max((most - least) / (_largest_input() - 1), _LEAST_SCALE)
        zero = round(-least / scale)
        # A float as large as _ROUNDING has no bits for fractions: its last ones are the nearest integer.
        rounded = torch.add(x.new_tensor(_ROUNDING + zero), x, alpha=1.0 / scale)
        inputs = rounded.view(torch.int32).to(torch.uint8)
        return _int8_product(inputs, scale, zero, self._packed, self._scales, self._zeros, self._bias)


@torch.no_grad()
def adapt(decoder: FlowDecoder, precision: CpuPrecision) -> None:
    """Change a float32 decoder on a CPU to run fast there.

    What attention weights follow from stays float32, as do the projections around the stacks.

    Raises:
        RuntimeError: torch has no int8 products on this CPU.
    """
    if precision == "int8" and not has_int8():
        raise RuntimeError("torch has no int8 products on this CPU: use float32 or bfloat16")
    for module in decoder.modules():
        if isinstance(module, FeedForward):
            module.in_proj.bias.sub_(ops.SWOOSH_L_SHIFT)
            _fold_offset(module.out_proj, ops.SWOOSH_L_SHIFT, ops.SWOOSH_L_OFFSET)
            module.activation = ops.shifted_swoosh
        elif isinstance(module, ConvolutionModule):
            bias = module.depthwise_conv.bias
            assert bias is not None  # noqa: S101
            bias.sub_(ops.SWOOSH_R_SHIFT)
            _fold_offset(module.out_proj, ops.SWOOSH_R_SHIFT, ops.SWOOSH_R_OFFSET)
            module.activation = ops.shifted_swoosh
    if precision == "float32":
        return
    kind = Int8Linear if precision == "int8" else Bfloat16Linear
    for module in decoder.modules():
        if isinstance(module, AttentionWeights) and has_bfloat16():
            module.stored = torch.bfloat16
        if isinstance(module, FeedForward | ConvolutionModule | NonlinAttention | SelfAttention):
            for name in ("in_proj", "out_proj"):
                linear = module.get_submodule(name)
                setattr(module, name, kind(linear.get_parameter("weight"), linear.get_parameter("bias")))


def _fold_offset(following: nn.Linear, shift: float, offset: float) -> None:
    """Take what is constant in a Swoosh of an unshifted input out of it, and into the bias of the layer behind."""
    following.bias.sub_((ops.SWOOSH_SLOPE * shift + offset) * following.weight.sum(dim=1))
