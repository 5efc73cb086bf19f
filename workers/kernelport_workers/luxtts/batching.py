"""Group jobs into batches of similar length inside a memory budget."""

from __future__ import annotations

from collections.abc import Sequence

from kernelport_workers.luxtts.config import ZipformerConfig

_LEAST_FILL = 0.8


def batch_bytes(config: ZipformerConfig, jobs: int, frames: int, item_size: int = 4) -> int:
    """Estimate the peak memory in bytes of one decoder step on ``jobs`` items of ``frames`` frames.

    Attention weights grow with the square of the length; a few hidden layers' worth of activations with the length.
    """
    attention = config.num_heads * frames * frames
    activations = frames * (4 * config.feedforward_dim + 8 * config.dim)
    return jobs * (attention + activations) * item_size


def plan_batches(
    frames: Sequence[int], config: ZipformerConfig, budget: int, max_batch: int, item_size: int = 4
) -> list[list[int]]:
    """Group item indices so that no batch exceeds the budget, nor wastes more than a fifth of an item on padding.

    Args:
        frames: Length of every item.
        config: Dimensions of the decoder.
        budget: Bytes for one batch; a single item is always allowed.
        max_batch: Most items per batch.
        item_size: Bytes of one number.

    Returns:
        Batches of indices, longest items first.
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(frames)), key=lambda i: -frames[i]):
        if batches:
            longest = frames[batches[-1][0]]
            size = len(batches[-1]) + 1
            fits = size <= max_batch and batch_bytes(config, size, longest, item_size) <= budget
            if fits and frames[index] >= _LEAST_FILL * longest:
                batches[-1].append(index)
                continue
        batches.append([index])
    return batches
