"""What makes a decoder fast on a CPU: smaller numbers in its linear layers, and less to do around them.

Weights become int8 with a scale for each row, or bfloat16; inputs are rounded alike as they come, for each block of
frames by itself. All else stays float32.
"""

from __future__ import annotations

import warnings
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernelport_workers.luxtts import ops
from kernelport_workers.luxtts.attention import AttentionWeights, NonlinAttention, SelfAttention
from kernelport_workers.luxtts.decoder import FlowDecoder
from kernelport_workers.luxtts.zipformer import ConvolutionModule, FeedForward

CpuPrecision = Literal["float32", "bfloat16", "int8"]

CPU_PATHS: dict[str, CpuPrecision] = {"torch": "float32", "torch-bf16": "bfloat16", "torch-int8": "int8"}
"""The precision of each compute path of PyTorch on a CPU."""

_LARGEST_INT8 = 127


def has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 faster than float32."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def has_int8() -> bool:
    """Whether this torch multiplies int8 on this CPU with a scale for each row of weights."""
    return bool({"onednn", "x86", "fbgemm"} & set(torch.backends.quantized.supported_engines))


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
        scales = weight.abs().amax(dim=1).clamp_(min=1e-12) / _LARGEST_INT8
        engine = torch.backends.quantized.engine
        # The packed weights know who packed them: the setting is for this moment only.
        torch.backends.quantized.engine = next(
            name for name in ("onednn", "x86", "fbgemm") if name in torch.backends.quantized.supported_engines
        )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                zeros = torch.zeros(len(weight), dtype=torch.int64)
                rounded = torch.quantize_per_channel(weight.float(), scales, zeros, 0, torch.qint8)
            self._packed = torch.ops.quantized.linear_prepack(rounded, bias.float())
        finally:
            torch.backends.quantized.engine = engine

    def forward(self, x: Tensor) -> Tensor:
        product: Tensor = torch.ops.quantized.linear_dynamic(x, self._packed)
        return product


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
