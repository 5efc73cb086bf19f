"""Group jobs into batches: the least arithmetic, padding included, inside a memory budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kernelport_workers.luxtts.config import ZipformerConfig

# What starting a batch costs a GPU in each step, as arithmetic: some hundred kernels that wait for each other, 2 ms.
_BATCH_FLOPS = 4e11


def step_flops(config: ZipformerConfig, frames: int) -> float:
    """Multiply-adds, times two, of one decoder step on one item of ``frames`` frames (matrix products only)."""
    dim, hidden, heads = config.dim, config.feedforward_dim, config.num_heads
    nonlin = 3 * dim // 4
    scores = heads * (2 * config.query_head_dim + config.pos_head_dim)
    values = heads * config.value_head_dim
    per_frame = 2 * dim * (hidden * 3 // 4 + hidden + hidden * 5 // 4) + dim * scores + 4 * dim * values
    per_frame += 4 * dim * nonlin + 2 * 3 * dim * dim
    per_pair = heads * (config.query_head_dim + 2 * config.pos_head_dim) + 2 * values + nonlin
    total = 0.0
    for factor, layers, kernel in zip(config.downsampling, config.num_layers, config.conv_kernels, strict=True):
        length = -(-frames // factor)
        total += layers * (length * (per_frame + 2 * dim * kernel) + length * length * per_pair)
    return 2.0 * (total + frames * dim * (config.in_dim + config.out_dim))


def batch_bytes(config: ZipformerConfig, jobs: int, frames: int, item_size: int = 4, *, fused: bool = False) -> int:
    """Estimate the peak memory in bytes of one decoder step on ``jobs`` items of ``frames`` frames.

    Args:
        item_size: Bytes of one number of the activations: a few hidden layers' worth, growing with the length.
        fused: Whether a kernel keeps attention weights out of memory. They grow with the square of the length, are
            float32, and are copied where activations are smaller.
    """
    weight_size = 0 if fused else 4 + (item_size if item_size < 4 else 0)
    attention = config.num_heads * frames * frames * weight_size
    activations = frames * (4 * config.feedforward_dim + 8 * config.dim) * item_size
    return jobs * (attention + activations)


def plan_batches(
    frames: Sequence[int], config: ZipformerConfig, fits: Callable[[int, int], bool], max_batch: int
) -> list[list[int]]:
    """Group item indices so that all batches together cost least, each counted as large as its longest item makes it.

    Args:
        frames: Length of every item.
        config: Dimensions of the decoder.
        fits: Whether so many items of so many frames fit into memory; a single item is always allowed.
        max_batch: Most items per batch.

    Returns:
        Batches of indices, longest items first.
    """
    order = sorted(range(len(frames)), key=lambda index: -frames[index])
    if max_batch == 1:
        return [[index] for index in order]
    flops = {length: step_flops(config, length) for length in set(frames)}
    # Of the items from each place on: the least cost, and how many the first of their batches takes.
    costs = [0.0] * (len(order) + 1)
    sizes = [1] * len(order)
    for start in reversed(range(len(order))):
        longest = frames[order[start]]
        best = float("inf")
        for size in range(1, min(max_batch, len(order) - start) + 1):
            if size > 1 and not fits(size, longest):
                break
            cost = _BATCH_FLOPS + size * flops[longest] + costs[start + size]
            if cost < best:
                best, sizes[start] = cost, size
        costs[start] = best
    batches, start = [], 0
    while start < len(order):
        batches.append(order[start : start + sizes[start]])
        start += sizes[start]
    return batches
