"""Batches stay inside the memory budget, lose nothing, and compute little that is nobody's."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pytest

from kernelport_workers.luxtts.batching import batch_bytes, plan_batches
from kernelport_workers.luxtts.bench.random_checkpoint import MODEL
from kernelport_workers.luxtts.config import ModelConfig

CONFIG = ModelConfig.from_mapping({"model": MODEL, "feature": {}}, vocab_size=360).fm_decoder
BUDGET = 40 << 30
"""Half of the memory of a large GPU."""


def fits(jobs: int, frames: int) -> bool:
    return batch_bytes(CONFIG, jobs, frames, 2, fused=True) <= BUDGET


def padding(frames: Sequence[int], batches: Sequence[Sequence[int]]) -> float:
    """Share of the computed frames that are no item's."""
    return 1 - sum(frames) / sum(len(batch) * max(frames[index] for index in batch) for batch in batches)


@pytest.mark.parametrize("max_batch", [1, 4, 64])
def test_every_item_is_in_one_batch_within_all_limits(max_batch: int) -> None:
    frames = np.random.default_rng(0).integers(50, 2_000, 1_000).tolist()
    budget = batch_bytes(CONFIG, 6, 1_000)
    batches = plan_batches(
        frames, CONFIG, lambda jobs, longest: batch_bytes(CONFIG, jobs, longest) <= budget, max_batch
    )
    assert sorted(index for batch in batches for index in batch) == list(range(1_000))
    for batch in batches:
        assert len(batch) <= max_batch
        assert len(batch) == 1 or batch_bytes(CONFIG, len(batch), max(frames[index] for index in batch)) <= budget


def test_equal_items_fill_the_budget() -> None:
    budget = batch_bytes(CONFIG, 4, 100)
    batches = plan_batches([100] * 10, CONFIG, lambda jobs, frames: batch_bytes(CONFIG, jobs, frames) <= budget, 64)
    assert sorted(map(len, batches)) == [2, 4, 4]


@pytest.mark.parametrize(
    "seconds",
    [
        np.random.default_rng(1).lognormal(np.log(4.0), 0.6, 2_000).clip(1.0, 15.0),
        np.random.default_rng(2).uniform(1.0, 15.0, 500),
        np.random.default_rng(3).choice([2.0, 9.0], 300),
    ],
    ids=["sentences", "evenly spread", "two lengths"],
)
def test_a_backlog_has_less_than_a_twentieth_of_padding(seconds: Sequence[float]) -> None:
    frames = [469 + int(each * 93.75) for each in seconds]
    assert padding(frames, plan_batches(frames, CONFIG, fits, 64)) < 0.05


def test_few_items_share_a_batch_where_that_costs_less_than_starting_another() -> None:
    assert [len(batch) for batch in plan_batches([900, 1_000, 950], CONFIG, fits, 64)] == [3]
    assert plan_batches([700, 4_000, 700], CONFIG, fits, 64) == [[1], [0, 2]]


def test_an_item_above_the_budget_runs_alone() -> None:
    assert plan_batches([5_000, 5_000], CONFIG, lambda jobs, frames: False, max_batch=8) == [[0], [1]]


def test_a_kernel_that_stores_no_weights_leaves_memory_for_more_items() -> None:
    stored, fused = (batch_bytes(CONFIG, 64, 1_874, 2, fused=each) for each in (False, True))
    assert stored > 3 * fused


def test_planning_takes_about_as_long_as_it_has_items() -> None:
    def seconds(count: int) -> float:
        frames = np.random.default_rng(4).integers(500, 1_900, count).tolist()
        began = time.process_time()
        plan_batches(frames, CONFIG, fits, 64)
        return time.process_time() - began

    assert seconds(8_000) < 20 * seconds(1_000) + 0.1
