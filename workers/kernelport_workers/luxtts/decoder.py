"""The flow-matching decoder: predicts the velocity of noisy features given text and reference features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kernelport_workers.luxtts import ops
from kernelport_workers.luxtts.attention import Frames
from kernelport_workers.luxtts.config import GUIDANCE_EMBED_DIM, ZipformerConfig
from kernelport_workers.luxtts.ops import Linear
from kernelport_workers.luxtts.zipformer import DownsampledStack, Zipformer, ZipformerStack


class TimeEmbedding(nn.Sequential):
    """Linear, SwooshR, Linear on a sinusoidal embedding (B, D)."""

    def __init__(self, dim: int) -> None:
        super().__init__(Linear(dim, 2 * dim), nn.Identity(), Linear(2 * dim, dim))

    def forward(self, input: Tensor) -> Tensor:
        projected: Tensor = self[2](ops.swoosh_r(self[0](input)))
        return projected


class FlowDecoder(Zipformer):
    """Velocity network v(x, t | text, reference, guidance)."""

    def __init__(self, config: ZipformerConfig) -> None:
        super().__init__(config)
        if config.time_embed_dim is None:
            raise ValueError("time_embed_dim: the flow decoder needs one")
        self.time_embed = TimeEmbedding(config.time_embed_dim)
        self.guidance_scale_embed = Linear(GUIDANCE_EMBED_DIM, config.time_embed_dim, bias=False)

    def embed_time(self, times: Sequence[float], guidance: float) -> Tensor:
        """Embed solver times in [0, 1] together with one guidance scale as (len(times), time_embed_dim)."""
        weight = self.guidance_scale_embed.weight
        t = torch.tensor(times, dtype=torch.float32, device=weight.device)
        time = ops.sinusoidal_embedding(t, weight.shape[0]).to(weight.dtype)
        scale = ops.sinusoidal_embedding(torch.full_like(t, guidance), GUIDANCE_EMBED_DIM).to(weight.dtype)
        embedded: Tensor = self.time_embed(time + self.guidance_scale_embed(scale))
        return embedded

    def time_vectors(self, times: Sequence[float], guidance: float) -> list[list[Tensor]]:
        """Vectors that depend on time and guidance only, so that one schedule computes them once.

        Returns:
            For every time, one vector (dim,) per stack.
        """
        embedded = self.embed_time(times, guidance)
        stacks = [stack for stack in self.encoders if isinstance(stack, ZipformerStack | DownsampledStack)]
        per_stack = [stack.time_projection(embedded) for stack in stacks]
        return [[vectors[step] for vectors in per_stack] for step in range(len(times))]

    def project_condition(self, text_condition: Tensor, speech_condition: Tensor) -> Tensor:
        """Input projection of the columns that stay constant over the steps: two (B, N, F) to (B, N, dim)."""
        columns = self.in_proj.weight[:, self.config.out_dim :]
        return ops.linear(
            torch.cat([text_condition, speech_condition], dim=-1), columns.contiguous(), self.in_proj.bias
        )

    def project_input(self, x: Tensor, condition: Tensor) -> Tensor:
        """Input projection (B, N, dim) of the state x (B, N, F), given the condition's share of it."""
        columns = self.in_proj.weight[:, : self.config.out_dim].contiguous()
        return condition + ops.linear(x.to(condition.dtype), columns)

    def forward(self, x: Tensor, condition: Tensor, times: Sequence[Tensor], frames: Frames) -> Tensor:
        """Velocity (B, N, F) of x (B, N, F) given :meth:`project_condition` and one row of :meth:`time_vectors`."""
        return self.run_stacks(self.project_input(x, condition), frames, times)
