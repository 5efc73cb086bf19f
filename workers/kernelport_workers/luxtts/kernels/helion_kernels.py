"""Fused kernels for a GPU, written in Helion. With HELION_INTERPRET=1 set before the import they run on a CPU."""

import helion
import helion.language as hl
import torch
from torch import Tensor

_MASKED_SCORE = -1000.0


@helion.kernel(static_shapes=False)  # type: ignore[untyped-decorator]
def norm_bypass(origin: Tensor, x: Tensor, bias: Tensor, log_scale: Tensor, bypass_scale: Tensor) -> Tensor:
    """BiasNorm of x (N, C), then the bypass from origin (N, C); bias and bypass_scale (C,), log_scale (1,)."""
    rows, channels = x.size()
    out = torch.empty_like(x)
    for row in hl.tile(rows):
        values = x[row, :].to(torch.float32)
        centred = values - bias[:].to(torch.float32)[None, :]
        scale = torch.exp(log_scale[0].to(torch.float32)) * torch.rsqrt((centred * centred).sum(dim=1) / channels)
        before = origin[row, :].to(torch.float32)
        blended = before + (values * scale[:, None] - before) * bypass_scale[:].to(torch.float32)[None, :]
        out[row, :] = blended.to(x.dtype)
    return out


@helion.kernel(static_shapes=False)  # type: ignore[untyped-decorator]
def linear_swoosh_l(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """SwooshL of x (M, K) @ weight (N, K).T + bias (N,), as (M, N)."""
    rows, inner = x.size()
    columns = weight.size(0)
    out = torch.empty([rows, columns], dtype=x.dtype, device=x.device)
    for row, column in hl.tile([rows, columns]):
        total = hl.zeros([row, column], dtype=torch.float32)
        for k in hl.tile(inner):
            total = total + hl.dot(x[row, k], weight[column, k].T, out_dtype=torch.float32)
        total = total + bias[column].to(torch.float32)[None, :]
        shifted = total - 4.0
        softplus = torch.clamp(shifted, min=0.0) + torch.log(1.0 + torch.exp(-torch.abs(shifted)))
        out[row, column] = (softplus - 0.08 * total - 0.035).to(x.dtype)
    return out


@helion.kernel(static_shapes=False)  # type: ignore[untyped-decorator]
def attention(query: Tensor, key: Tensor, position: Tensor, table: Tensor, masked: Tensor, values: Tensor) -> Tensor:
    """Values (G, T, V) averaged with the softmax over j of q_i k_j + p_i r_(j-i), as (G, T, V).

    Scores and sums are float32 whatever the type of the arguments, and no score goes to memory.

    Args:
        query: (G, T, D), G being items times heads.
        key: (G, T, D).
        position: (G, T, P).
        table: the projected position table of each head, flattened from (H, 2T-1, P).
        masked: (G, T), 1 where a key is padding, which scores -1000, and 0 elsewhere.
        values: (G, T, V).
    """
    groups, time, depth = values.size()
    width = hl.specialize(position.size(2))
    span = (2 * time - 1) * width
    heads = table.size(0) // span
    out = torch.empty_like(values)
    for group, row, part in hl.tile([groups, time, depth], block_size=[1, None, None]):
        start = (group.begin % heads) * span
        queries = query[group.begin, row, :]
        maximum = hl.full([row], float("-inf"), dtype=torch.float32)
        total = hl.zeros([row], dtype=torch.float32)
        mixed = hl.zeros([row, part], dtype=torch.float32)
        for column in hl.tile(time):
            scores = hl.dot(queries, key[group.begin, column, :].T, out_dtype=torch.float32)
            offset = start + (column.index[None, :] - row.index[:, None] + (time - 1)) * width
            for each in hl.static_range(width):
                shifted = hl.load(table, [offset + each]).to(torch.float32)
                scores = scores + position[group.begin, row, each].to(torch.float32)[:, None] * shifted
            scores = torch.where(masked[group.begin, column][None, :] > 0, _MASKED_SCORE, scores)
            new_maximum = torch.maximum(maximum, torch.amax(scores, dim=1))
            kept = torch.exp(maximum - new_maximum)
            weights = torch.exp(scores - new_maximum[:, None])
            total = total * kept + weights.sum(dim=1)
            products = hl.dot(weights.to(values.dtype), values[group.begin, column, part], out_dtype=torch.float32)
            mixed = mixed * kept[:, None] + products
            maximum = new_maximum
        out[group.begin, row, part] = (mixed / total[:, None]).to(values.dtype)
    return out
