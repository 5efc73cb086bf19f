"""The Zipformer: multi-rate stacks of layers that share one set of attention weights between three modules.

Tensors are (batch, time, channels). Parameter names are those of the published checkpoints. A padding mask is
boolean (batch, time), true on padded frames; ``None`` means that every frame is real and skips all mask work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernelport_workers.luxtts import ops
from kernelport_workers.luxtts.attention import AttentionWeights, Frames, NonlinAttention, SelfAttention
from kernelport_workers.luxtts.config import ZipformerConfig
from kernelport_workers.luxtts.kernels import EAGER, Fused
from kernelport_workers.luxtts.ops import Linear

_BLOCK_FRAMES = 512


class BiasNorm(nn.Module):
    """Scale by the root mean square of ``x - bias``: x * exp(log_scale) / rms(x - bias)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.empty(()))
        self.bias = nn.Parameter(torch.empty(dim))

    def forward(self, x: Tensor) -> Tensor:
        norm: Tensor = torch.linalg.vector_norm(x - self.bias, dim=-1, keepdim=True, dtype=torch.float32)
        scale = self.log_scale.float().exp() * x.shape[-1] ** 0.5
        scaled: Tensor = x * (scale / norm).to(x.dtype)
        return scaled


class Bypass(nn.Module):
    """Per-channel interpolation from ``origin`` to ``x``: origin + (x - origin) * scale."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.bypass_scale = nn.Parameter(torch.empty(dim))

    def forward(self, origin: Tensor, x: Tensor) -> Tensor:
        return torch.lerp(origin, x, self.bypass_scale)


class FeedForward(nn.Module):
    """Linear, SwooshL, Linear."""

    fused: Fused = EAGER
    activation: Callable[[Tensor], Tensor] = staticmethod(ops.swoosh_l)

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.in_proj = Linear(dim, hidden)
        self.out_proj = Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.fused.linear_swoosh_l
        if kernel is not None:
            flat = kernel(x.flatten(0, -2), self.in_proj.weight, self.in_proj.bias)
            projected: Tensor = self.out_proj(flat.view(*x.shape[:-1], -1))
            return projected
        if x.device.type != "cpu":
            projected = self.out_proj(self.activation(self.in_proj(x)))
            return projected
        # What a block of frames makes between the layers stays in cache.
        flat = x.flatten(0, -2)
        blocks = [flat[start : start + _BLOCK_FRAMES] for start in range(0, len(flat), _BLOCK_FRAMES)]
        out = torch.cat([self.out_proj(self.activation(self.in_proj(block))) for block in blocks])
        return out.view(*x.shape[:-1], -1)


class ConvolutionModule(nn.Module):
    """Gated linear unit, depthwise convolution over time, SwooshR, Linear."""

    activation: Callable[[Tensor], Tensor] = staticmethod(ops.swoosh_r)

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        self.in_proj = Linear(dim, 2 * dim)
        self.depthwise_conv = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.out_proj = Linear(dim, dim)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        gated = F.glu(self.in_proj(x), dim=-1)
        if mask is not None:
            gated.masked_fill_(mask[..., None], 0.0)
        conv = self.depthwise_conv
        # (B, T, C) seen as a channels-last image of height 1: no transposition, and a vectorised kernel.
        image = F.conv2d(
            gated.transpose(1, 2).unsqueeze(2),
            conv.weight.unsqueeze(2),
            conv.bias,
            padding=(0, conv.kernel_size[0] // 2),
            groups=conv.groups,
        )
        projected: Tensor = self.out_proj(self.activation(image.squeeze(2).transpose(1, 2)))
        return projected


class ZipformerLayer(nn.Module):
    """One layer; the attention weights come from its input before the time vector is added."""

    fused: Fused = EAGER

    def __init__(self, config: ZipformerConfig, kernel: int) -> None:
        super().__init__()
        dim, hidden = config.dim, config.feedforward_dim
        self.bypass = Bypass(dim)
        self.bypass_mid = Bypass(dim)
        self.norm = BiasNorm(dim)
        self.self_attn_weights = AttentionWeights(config)
        self.self_attn1 = SelfAttention(config)
        self.self_attn2 = SelfAttention(config)
        self.feed_forward1 = FeedForward(dim, hidden * 3 // 4)
        self.feed_forward2 = FeedForward(dim, hidden)
        self.feed_forward3 = FeedForward(dim, hidden * 5 // 4)
        self.nonlin_attention = NonlinAttention(dim)
        self.conv_module1 = ConvolutionModule(dim, kernel)
        self.conv_module2 = ConvolutionModule(dim, kernel)

    def forward(self, origin: Tensor, frames: Frames, time_vector: Tensor | None) -> Tensor:
        """Map (B, T, C) to (B, T, C); ``time_vector`` (C,) is added at three places when given."""
        attention = self.self_attn_weights(origin, frames)
        x = origin.clone() if time_vector is None else origin + time_vector
        x += self.feed_forward1(x)
        x += self.nonlin_attention(x, attention)
        x += self.self_attn1(x, attention)
        if time_vector is not None:
            x += time_vector
        x += self.conv_module1(x, frames.mask)
        x += self.feed_forward2(x)
        x = self.bypass_mid(origin, x)
        x += self.self_attn2(x, attention)
        if time_vector is not None:
            x += time_vector
        x += self.conv_module2(x, frames.mask)
        x += self.feed_forward3(x)
        return ops.norm_bypass(self.fused.norm_bypass, self.norm, self.bypass, origin, x)


class TimeProjection(nn.Sequential):
    """SwooshR then Linear: the shared time embedding (D,) to one stack's vector (C,)."""

    def __init__(self, time_embed_dim: int, dim: int) -> None:
        super().__init__(nn.Identity(), Linear(time_embed_dim, dim))

    def forward(self, input: Tensor) -> Tensor:
        projected: Tensor = self[1](ops.swoosh_r(input))
        return projected


class ZipformerStack(nn.Module):
    """Layers at one frame rate."""

    def __init__(self, config: ZipformerConfig, index: int) -> None:
        super().__init__()
        if config.time_embed_dim is not None:
            self.time_emb = TimeProjection(config.time_embed_dim, config.dim)
        kernel = config.conv_kernels[index]
        self.layers = nn.ModuleList(ZipformerLayer(config, kernel) for _ in range(config.num_layers[index]))

    @property
    def time_projection(self) -> TimeProjection:
        """Projection of the time embedding to this stack's vector."""
        return self.time_emb

    def forward(self, x: Tensor, frames: Frames, time_vector: Tensor | None) -> Tensor:
        for layer in self.layers:
            x = layer(x, frames, time_vector)
        return x


class Downsample(nn.Module):
    """Weighted mean of every ``factor`` frames; the last real frame is repeated to fill the last group."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.empty(factor))

    def forward(self, x: Tensor) -> Tensor:
        factor = self.bias.shape[0]
        missing = -x.shape[1] % factor
        if missing:
            x = torch.cat([x, x[:, -1:].expand(-1, missing, -1)], dim=1)
        groups = x.reshape(x.shape[0], -1, factor, x.shape[2])
        weights = self.bias.softmax(dim=0)
        return torch.einsum("btfc,f->btc", groups, weights)


def upsample(x: Tensor, factor: int) -> Tensor:
    """Repeat every frame of (B, T, C) ``factor`` times."""
    return x.repeat_interleave(factor, dim=1, output_size=x.shape[1] * factor)


class DownsampledStack(nn.Module):
    """A stack run at 1/factor of the frame rate, repeated back and blended with its input."""

    def __init__(self, config: ZipformerConfig, index: int) -> None:
        super().__init__()
        self.factor = config.downsampling[index]
        self.downsample = Downsample(self.factor)
        self.encoder = ZipformerStack(config, index)
        self.out_combiner = Bypass(config.dim)

    @property
    def time_projection(self) -> TimeProjection:
        """Projection of the time embedding to this stack's vector."""
        return self.encoder.time_emb

    def forward(self, x: Tensor, frames: Frames, time_vector: Tensor | None) -> Tensor:
        source = x if frames.mask is None else _repeat_last_real_frame(x, frames.mask)
        coarse = self.encoder(self.downsample(source), frames.downsampled(self.factor), time_vector)
        combined: Tensor = self.out_combiner(x, upsample(coarse, self.factor)[:, : x.shape[1]])
        return combined


def _repeat_last_real_frame(x: Tensor, mask: Tensor) -> Tensor:
    """Overwrite padded frames with the item's last real one, so that padding never enters a group of real frames."""
    frames = torch.arange(x.shape[1], device=x.device)
    last = (~mask).sum(dim=1, keepdim=True) - 1
    index = torch.minimum(frames, last)
    return x.gather(1, index[..., None].expand_as(x))


class Zipformer(nn.Module):
    """Input projection, stacks in series, output projection."""

    def __init__(self, config: ZipformerConfig) -> None:
        super().__init__()
        self.config = config
        self._fused = EAGER
        self.in_proj = Linear(config.in_dim, config.dim)
        self.encoders = nn.ModuleList(
            ZipformerStack(config, index) if factor == 1 else DownsampledStack(config, index)
            for index, factor in enumerate(config.downsampling)
        )
        self.out_proj = Linear(config.dim, config.out_dim)

    def use(self, fused: Fused) -> None:
        """Run with the given kernels from now on."""
        if fused is self._fused:
            return
        self._fused = fused
        for module in self.modules():
            if isinstance(module, FeedForward | AttentionWeights | ZipformerLayer):
                module.fused = fused

    def run_stacks(self, x: Tensor, frames: Frames, times: Sequence[Tensor] | None) -> Tensor:
        """Run every stack on projected input (B, T, dim), then the output projection.

        Args:
            x: Projected input.
            frames: Positions and padding of the T frames.
            times: One vector (dim,) per stack, or None for a network without time conditioning.

        Returns:
            (B, T, out_dim). Padded frames hold no meaningful value.
        """
        for index, encoder in enumerate(self.encoders):
            x = encoder(x, frames, None if times is None else times[index])
        projected: Tensor = self.out_proj(x)
        return projected
