"""The acoustic model a second time, as plain eager functions of the state dictionary.

Nothing is fused, folded or computed ahead: this is the baseline that the bench compares against, the oracle of the
tests, and the source of the ONNX export, whose operators it therefore keeps elementary. One utterance length at a
time, no padding mask.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from kernelport_workers.luxtts.config import GUIDANCE_EMBED_DIM, ModelConfig, ZipformerConfig


class Parameters:
    """Tensors of one part of the network, looked up below a dotted prefix."""

    def __init__(self, tensors: Mapping[str, Tensor], prefix: str = "") -> None:
        self._tensors = tensors
        self._prefix = prefix

    def __truediv__(self, name: str) -> Parameters:
        return Parameters(self._tensors, f"{self._prefix}{name}.")

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[self._prefix + name]

    def __contains__(self, name: str) -> bool:
        return self._prefix + name in self._tensors


class ReferenceModel:
    """Text encoder and decoder of a checkpoint; ``tensors`` holds the full state dictionary."""

    def __init__(self, config: ModelConfig, tensors: Mapping[str, Tensor]) -> None:
        self.config = config
        self.tensors = tensors
        self.weights = Parameters(tensors)

    def encode_text(self, ids: Tensor) -> Tensor:
        """Encode token ids (B, S) and one pad token as (B, S+1, F); the pad row is attended by nobody."""
        ids = F.pad(ids, (0, 1), value=self.config.pad_id)
        masked = torch.arange(ids.shape[1], device=ids.device) == ids.shape[1] - 1
        embedded = F.embedding(ids, self.weights["embed.weight"])
        return _zipformer(self.weights / "text_encoder", self.config.text_encoder, embedded, None, masked)

    def velocity(self, t: Tensor, x: Tensor, text: Tensor, speech: Tensor, guidance: Tensor) -> Tensor:
        """Velocity (B, N, F) at scalar time t with scalar guidance; x, text and speech are (B, N, F)."""
        config, weights = self.config.fm_decoder, self.weights / "fm_decoder"
        dim = config.time_embed_dim or 0
        scale = F.linear(_sinusoids(guidance, GUIDANCE_EMBED_DIM), weights["guidance_scale_embed.weight"])
        embedded = _linear(weights / "time_embed.0", _sinusoids(t, dim) + scale)
        embedded = _linear(weights / "time_embed.2", _swoosh(embedded, 1.0, 0.313261687))
        return _zipformer(weights, config, torch.cat([x, text, speech], dim=2), embedded, None)


def _zipformer(
    weights: Parameters, config: ZipformerConfig, x: Tensor, time: Tensor | None, masked: Tensor | None
) -> Tensor:
    x = _linear(weights / "in_proj", x)
    for index, factor in enumerate(config.downsampling):
        outer = weights / f"encoders.{index}"
        if factor == 1:
            x = _stack(outer, config, index, x, time, masked)
        else:
            coarse = _stack(outer / "encoder", config, index, _downsample(outer, x, factor), time, masked)
            batch, length, dim = coarse.shape
            fine = coarse[:, :, None].expand(batch, length, factor, dim).reshape(batch, length * factor, dim)
            x = _bypass(outer / "out_combiner", x, fine[:, : x.shape[1]])
    return _linear(weights / "out_proj", x)


def _downsample(weights: Parameters, x: Tensor, factor: int) -> Tensor:
    batch, length, dim = x.shape
    groups = (length + factor - 1) // factor
    last = x[:, -1:].expand(batch, groups * factor - length, dim)
    return (
        torch.cat([x, last], dim=1).reshape(batch, groups, factor, dim)
        * weights["downsample.bias"].softmax(dim=0)[:, None]
    ).sum(dim=2)


def _stack(
    weights: Parameters, config: ZipformerConfig, index: int, x: Tensor, time: Tensor | None, masked: Tensor | None
) -> Tensor:
    vector = None if time is None else _linear(weights / "time_emb.1", _swoosh(time, 1.0, 0.313261687))
    positions = _positions(x.shape[1], config.pos_dim, x.device)
    for layer in range(config.num_layers[index]):
        x = _layer(weights / f"layers.{layer}", config, x, positions, vector, masked)
    return x


def _layer(
    weights: Parameters,
    config: ZipformerConfig,
    origin: Tensor,
    positions: Tensor,
    vector: Tensor | None,
    masked: Tensor | None,
) -> Tensor:
    def timed(x: Tensor) -> Tensor:
        return x if vector is None else x + vector

    attention = _attention_weights(weights / "self_attn_weights", config, origin, positions, masked)
    x = timed(origin)
    x = x + _feed_forward(weights / "feed_forward1", x)
    x = x + _nonlin_attention(weights / "nonlin_attention", x, attention[:, 0])
    x = timed(x + _self_attention(weights / "self_attn1", config, x, attention))
    x = x + _convolution(weights / "conv_module1", x, masked)
    x = x + _feed_forward(weights / "feed_forward2", x)
    x = _bypass(weights / "bypass_mid", origin, x)
    x = timed(x + _self_attention(weights / "self_attn2", config, x, attention))
    x = x + _convolution(weights / "conv_module2", x, masked)
    x = x + _feed_forward(weights / "feed_forward3", x)
    norm = weights / "norm"
    x = x * norm["log_scale"].exp() * (x - norm["bias"]).pow(2).mean(dim=2, keepdim=True).pow(-0.5)
    return _bypass(weights / "bypass", origin, x)


def _attention_weights(
    weights: Parameters, config: ZipformerConfig, x: Tensor, positions: Tensor, masked: Tensor | None
) -> Tensor:
    batch, time, _ = x.shape
    heads, width = config.num_heads, config.num_heads * config.query_head_dim
    projected = _linear(weights / "in_proj", x)
    query = projected[:, :, :width].reshape(batch, time, heads, -1).permute(0, 2, 1, 3)
    key = projected[:, :, width : 2 * width].reshape(batch, time, heads, -1).permute(0, 2, 3, 1)
    pos = projected[:, :, 2 * width :].reshape(batch, time, heads, -1).permute(0, 2, 1, 3)
    table = F.linear(positions, weights["linear_pos.weight"]).reshape(2 * time - 1, heads, -1).permute(1, 2, 0)
    by_offset = torch.matmul(pos, table)
    if torch.onnx.is_in_onnx_export():
        index = torch.arange(time)[None, :] - torch.arange(time)[:, None] + (time - 1)
        relative = by_offset.gather(3, index.expand(batch, heads, time, time))
    else:
        stride = by_offset.stride()
        relative = by_offset.as_strided((batch, heads, time, time), (stride[0], stride[1], stride[2] - 1, 1), time - 1)
    scores = torch.matmul(query, key) + relative
    if masked is not None:
        scores = scores.masked_fill(masked, -1000.0)
    return scores.softmax(dim=3)


def _self_attention(weights: Parameters, config: ZipformerConfig, x: Tensor, attention: Tensor) -> Tensor:
    batch, time, _ = x.shape
    values = _linear(weights / "in_proj", x).reshape(batch, time, config.num_heads, -1).permute(0, 2, 1, 3)
    mixed = torch.matmul(attention, values).permute(0, 2, 1, 3).reshape(batch, time, -1)
    return _linear(weights / "out_proj", mixed)


def _nonlin_attention(weights: Parameters, x: Tensor, attention: Tensor) -> Tensor:
    gate, values, output_gate = _linear(weights / "in_proj", x).chunk(3, dim=2)
    return _linear(weights / "out_proj", torch.matmul(attention, values * gate.tanh()) * output_gate)


def _feed_forward(weights: Parameters, x: Tensor) -> Tensor:
    return _linear(weights / "out_proj", _swoosh(_linear(weights / "in_proj", x), 4.0, 0.035))


def _convolution(weights: Parameters, x: Tensor, masked: Tensor | None) -> Tensor:
    values, gate = _linear(weights / "in_proj", x).chunk(2, dim=2)
    gated = values * gate.sigmoid()
    if masked is not None:
        gated = gated.masked_fill(masked[:, None], 0.0)
    kernel = weights["depthwise_conv.weight"]
    padding = kernel.shape[2] // 2
    bias, groups = weights["depthwise_conv.bias"], kernel.shape[0]
    convolved = F.conv1d(gated.permute(0, 2, 1), kernel, bias, padding=padding, groups=groups)
    return _linear(weights / "out_proj", _swoosh(convolved.permute(0, 2, 1), 1.0, 0.313261687))


def _swoosh(x: Tensor, shift: float, offset: float) -> Tensor:
    shifted = x - shift
    soft = (1.0 + shifted.exp()).log()
    return torch.where(soft == math.inf, shifted, soft) - 0.08 * x - offset


def _bypass(weights: Parameters, origin: Tensor, x: Tensor) -> Tensor:
    return origin + (x - origin) * weights["bypass_scale"]


def _linear(weights: Parameters, x: Tensor) -> Tensor:
    return F.linear(x, weights["weight"], weights["bias"])


def _sinusoids(t: Tensor, dim: int) -> Tensor:
    half = dim // 2
    phase = t.float() * torch.exp(torch.arange(half, device=t.device).float() * (-math.log(10000.0) / half))
    return torch.cat([phase.cos(), phase.sin()])


def _positions(length: int, dim: int, device: torch.device) -> Tensor:
    offsets = torch.arange(2 * length - 1, device=device).float() - (length - 1)
    scale = math.sqrt(dim)
    compressed = scale * offsets.sign() * ((offsets.abs() + scale).log() - math.log(scale))
    angle = (compressed * (2.0 * math.pi / dim)).atan()[:, None] * torch.arange(1, dim // 2 + 1, device=device).float()
    table = torch.stack([angle.cos(), angle.sin()], dim=2).reshape(2 * length - 1, dim)
    return torch.cat([table[:, :-1], torch.ones_like(table[:, :1])], dim=1)
