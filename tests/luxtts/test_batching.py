"""Batches stay inside the memory budget, lose nothing and waste little."""

from __future__ import annotations

import numpy as np
import pytest

from kernelport_workers.luxtts.batching import batch_bytes, plan_batches
from kernelport_workers.luxtts.decoder import FlowDecoder
from kernelport_workers.luxtts.text_encoder import TextModel

Acoustic = tuple[TextModel, FlowDecoder]


@pytest.mark.parametrize("max_batch", [1, 4, 64])
def test_every_item_is_in_one_batch_within_all_limits(acoustic: Acoustic, max_batch: int) -> None:
    config = acoustic[1].config
    frames = np.random.default_rng(0).integers(50, 2_000, 1_000).tolist()
    budget = batch_bytes(config, 6, 1_000)
    batches = plan_batches(frames, config, budget, max_batch)
    assert sorted(index for batch in batches for index in batch) == list(range(1_000))
    for batch in batches:
        lengths = [frames[index] for index in batch]
        assert len(batch) <= max_batch
        assert len(batch) == 1 or batch_bytes(config, len(batch), max(lengths)) <= budget
        assert min(lengths) >= 0.8 * max(lengths)


def test_equal_items_fill_batches(acoustic: Acoustic) -> None:
    config = acoustic[1].config
    batches = plan_batches([100] * 10, config, batch_bytes(config, 4, 100), max_batch=64)
    assert [len(batch) for batch in batches] == [4, 4, 2]


def test_an_item_above_the_budget_runs_alone(acoustic: Acoustic) -> None:
    assert plan_batches([5_000, 5_000], acoustic[1].config, 1, max_batch=8) == [[0], [1]]
