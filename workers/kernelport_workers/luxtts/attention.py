"""Attention with relative positions: weights for three modules of a layer, stored or made anew by a kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from kernelport_workers.luxtts import ops
from kernelport_workers.luxtts.config import ZipformerConfig
from kernelport_workers.luxtts.kernels import EAGER, Fused
from kernelport_workers.luxtts.ops import Linear

_MASKED_SCORE = -1000.0
_CPU_ROWS, _GPU_ROWS = 128, 512
"""Query rows whose scores are made at a time."""


@dataclass(slots=True)
class Frames:
    """What every layer needs to know about the time axis of one batch.

    Attributes:
        positions: Relative position table (2T'-1, pos_dim) for at least as many frames as the batch has.
        mask: Padding mask (B, T), or None when nothing is padded.
        scratch: Flat buffer for attention weights, kept from layer to layer and from step to step because
            fresh pages cost more than filling them.
    """

    positions: Tensor
    mask: Tensor | None
    scratch: Tensor

    @classmethod
    def of(cls, like: Tensor, length: int, pos_dim: int, mask: Tensor | None = None) -> Frames:
        """Describe a batch of ``length`` frames on the device and in the type of ``like``."""
        positions = ops.relative_positions(length, pos_dim).to(like.device, like.dtype)
        return cls(positions, mask, torch.empty(0, device=like.device))

    def weights(self, batch: int, heads: int, time: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return an uninitialised (batch * heads, time, time) tensor, valid until the next call."""
        size = batch * heads * time * time
        if self.scratch.numel() < size or self.scratch.dtype != dtype:
            self.scratch = self.scratch.new_empty(size, dtype=dtype)
        return self.scratch[:size].view(batch * heads, time, time)

    def table(self, time: int) -> Tensor:
        """Rows of the position table for ``time`` frames, (2*time-1, pos_dim)."""
        centre = self.positions.shape[0] // 2
        return self.positions[centre - time + 1 : centre + time]

    def downsampled(self, factor: int) -> Frames:
        """Return the same batch at 1/factor of the frame rate, sharing the table and the buffer."""
        return Frames(self.positions, None if self.mask is None else self.mask[:, ::factor], self.scratch)


class Attention(Protocol):
    """What one layer's attention does with values; the same in three of its modules."""

    def mix(self, values: Tensor) -> Tensor:
        """Average values (B, H', T, V) with the weights of the first H' heads, as (B, H', T, V)."""


@dataclass(slots=True)
class StoredAttention:
    """Weights (B, H, T, T) in memory, overwritten by the next layer."""

    weights: Tensor

    def mix(self, values: Tensor) -> Tensor:
        """See :meth:`Attention.mix`."""
        return ops.matmul(self.weights[:, : values.shape[1]], values.to(self.weights.dtype)).to(values.dtype)


@dataclass(slots=True)
class FusedAttention:
    """What weights follow from; a kernel makes them anew for each use and stores none.

    Attributes:
        kernel: See :func:`~kernelport_workers.luxtts.kernels.helion_kernels.attention`.
        query: (B, H, T, D); ``key`` alike, and ``position`` (B, H, T, P).
        table: Projected position table (H, 2T-1, P).
        masked: (B, T), 1 on padding and 0 elsewhere.
    """

    kernel: Callable[..., Tensor]
    query: Tensor
    key: Tensor
    position: Tensor
    table: Tensor
    masked: Tensor

    def mix(self, values: Tensor) -> Tensor:
        """See :meth:`Attention.mix`."""
        heads = values.shape[1]
        per_head = (self.query, self.key, self.position)
        groups = [each[:, :heads].flatten(0, 1) for each in per_head]
        masked = self.masked.repeat_interleave(heads, dim=0)
        mixed = self.kernel(*groups, self.table[:heads].flatten(), masked, values.flatten(0, 1).contiguous())
        return mixed.view_as(values)


class AttentionWeights(nn.Module):
    """Relative-position attention; scores are not divided by the root of the head size, and masked keys score -1000.

    Scores and softmax are float32 in every type: float16 would overflow, bfloat16 would lose what tells scores apart.
    """

    fused: Fused = EAGER
    stored: torch.dtype | None = None
    """Type in which weights are stored; None for that of the activations."""

    def __init__(self, config: ZipformerConfig) -> None:
        super().__init__()
        self.heads = config.num_heads
        self.sizes = [config.num_heads * size for size in (config.query_head_dim,) * 2 + (config.pos_head_dim,)]
        self.in_proj = Linear(config.dim, sum(self.sizes))
        self.linear_pos = Linear(config.pos_dim, self.sizes[2], bias=False)

    def forward(self, x: Tensor, frames: Frames) -> Attention:
        """Attention of x (B, T, C)."""
        query, key, pos = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.in_proj(x).split(self.sizes, dim=-1)
        )
        table = self.linear_pos(frames.table(x.shape[1])).unflatten(-1, (self.heads, -1)).transpose(0, 1)
        if self.fused.attention is None:
            query, key, pos, table = (each.float() for each in (query, key, pos, table))
            if x.device.type == "cpu":
                return StoredAttention(_cpu_weights(query, key, pos, table, frames, self.stored or x.dtype))
            return StoredAttention(_gpu_weights(query, key, pos, table, frames).to(x.dtype))
        masked = x.new_zeros(x.shape[:2]) if frames.mask is None else frames.mask.to(x.dtype)
        return FusedAttention(self.fused.attention, query, key, pos, table, masked)


def _cpu_weights(query: Tensor, key: Tensor, pos: Tensor, table: Tensor, frames: Frames, dtype: torch.dtype) -> Tensor:
    """Weights (B, H, T, T) of query and key (B, H, T, D), pos (B, H, T, P) and table (H, 2T-1, P).

    A block of query rows at a time, all of which stays in cache until its weights are done.
    """
    batch, heads, time, _ = query.shape
    query, key, pos, table = (each.contiguous() for each in (query, key, pos, table))
    weights = frames.weights(batch, heads, time, dtype)
    for item in range(batch):
        masked = None if frames.mask is None else frames.mask[item]
        for head in range(heads):
            rows = weights[item * heads + head]
            for start in range(0, time, _CPU_ROWS):
                stop = min(start + _CPU_ROWS, time)
                offsets = table[head, time - stop : 2 * time - 1 - start]
                scores = ops.linear(query[item, head, start:stop], key[item, head])
                by_offset = ops.linear(pos[item, head, start:stop], offsets)
                scores += _relative_scores(by_offset[None], time)[0]
                if masked is not None:
                    scores.masked_fill_(masked, _MASKED_SCORE)
                rows[start:stop] = torch.softmax(scores, dim=-1)
    return weights.view(batch, heads, time, time)


def _gpu_weights(query: Tensor, key: Tensor, pos: Tensor, table: Tensor, frames: Frames) -> Tensor:
    """As :func:`_cpu_weights`, for all items and heads at a time."""
    batch, heads, time, _ = query.shape
    query, key, pos = (each.flatten(0, 1) for each in (query, key, pos))
    key, table = key.transpose(1, 2), table.transpose(1, 2).repeat(batch, 1, 1)
    weights = frames.weights(batch, heads, time)
    masked = None if frames.mask is None else frames.mask.repeat_interleave(heads, dim=0)[:, None, :]
    # A block of query rows halves the number of position scores.
    for start in range(0, time, _GPU_ROWS):
        stop = min(start + _GPU_ROWS, time)
        scores = weights[:, start:stop]
        shifted = _relative_scores(torch.bmm(pos[:, start:stop], table[:, :, time - stop : 2 * time - 1 - start]), time)
        torch.baddbmm(shifted, query[:, start:stop], key, out=scores)
        if masked is not None:
            scores.masked_fill_(masked, _MASKED_SCORE)
        torch.softmax(scores, dim=-1, out=scores)
    return weights.view(batch, heads, time, time)


def _relative_scores(scores: Tensor, keys: int) -> Tensor:
    """Scores of n rows by offset (G, n, keys+n-1), read along the diagonals as (G, n, keys)."""
    groups, rows, width = scores.shape
    return scores.as_strided((groups, rows, keys), (rows * width, width - 1, 1), rows - 1)


class SelfAttention(nn.Module):
    """Values projected per head, averaged with given attention weights, projected back."""

    def __init__(self, config: ZipformerConfig) -> None:
        super().__init__()
        self.heads = config.num_heads
        self.in_proj = Linear(config.dim, config.num_heads * config.value_head_dim)
        self.out_proj = Linear(config.num_heads * config.value_head_dim, config.dim)

    def forward(self, x: Tensor, attention: Attention) -> Tensor:
        values = self.in_proj(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        mixed = attention.mix(values).transpose(1, 2).flatten(2)
        projected: Tensor = self.out_proj(mixed)
        return projected


class NonlinAttention(nn.Module):
    """Gated values averaged with the first head's attention weights, gated again."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        hidden = 3 * dim // 4
        self.in_proj = Linear(dim, 3 * hidden)
        self.out_proj = Linear(hidden, dim)

    def forward(self, x: Tensor, attention: Attention) -> Tensor:
        gate, values, output_gate = self.in_proj(x).chunk(3, dim=-1)
        mixed = attention.mix((values * gate.tanh())[:, None])[:, 0]
        projected: Tensor = self.out_proj(mixed.mul_(output_gate))
        return projected
