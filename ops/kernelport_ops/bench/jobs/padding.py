"""What padding batches to their longest item adds, as jobs cut them and as lines come."""

from typing import Any

from kernelport.config.deployments import Batching
from kernelport.jobs.pages import PAGE_ITEMS, pack
from kernelport_ops.bench.jobs.calls import spoken
from kernelport_ops.bench.texts import mixed_lines

BATCHES = (8, 16, 32)


def measure(lines: int) -> dict[str, Any]:
    """The waste over a corpus of lines of mixed lengths: padded over useful length, less 1."""
    texts = mixed_lines(lines)
    return {
        "lines": lines,
        "shortest": min(map(len, texts)),
        "longest": max(map(len, texts)),
        "waste": {
            str(batch): {"jobs": _as_cut(texts, batch), "arrival_order": _as_they_come(texts, batch)}
            for batch in BATCHES
        },
    }


def _as_cut(texts: list[str], max_batch: int) -> float:
    useful = padded = 0
    for first in range(0, len(texts), PAGE_ITEMS):
        page = texts[first : first + PAGE_ITEMS]
        packed = pack(
            [spoken(str(number), text) for number, text in enumerate(page)], first, Batching(max_batch=max_batch)
        )
        lengths = sorted((len(text.encode()) for text in page), reverse=True)
        for start, count, cost in packed.slices:
            useful += cost
            padded += count * lengths[start]
    return padded / useful - 1


def _as_they_come(texts: list[str], max_batch: int) -> float:
    batches = [texts[first : first + max_batch] for first in range(0, len(texts), max_batch)]
    useful = sum(len(text.encode()) for text in texts)
    padded = sum(len(batch) * max(len(text.encode()) for text in batch) for batch in batches)
    return padded / useful - 1
