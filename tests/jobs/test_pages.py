"""How items are packed into pages and cut into batches."""

import random

import pytest

from kernelport.config.deployments import Batching
from kernelport.internal.v1.job_store_pb2 import Page
from kernelport.jobs.pages import PAGE_ITEMS, pack
from kernelport.signature import tensor_spec
from kernelport.stacking import Stacking
from kernelport.v1 import inference_pb2
from kernelport.v1 import job_pb2 as pb
from tests.jobs.calls import spoken, tiny

ROWS = Stacking([tensor_spec("x", inference_pb2.F32, ["N", "C", "H", "W"])])


@pytest.mark.parametrize("max_batch", [8, 32])
def test_a_padded_batch_of_mixed_lines_wastes_at_most_a_twentieth(max_batch: int) -> None:
    rng = random.Random(0)
    texts = ["x" * min(1500, 5 + int(rng.expovariate(1 / 120))) for _ in range(PAGE_ITEMS)]
    packed = pack([spoken(str(place), text) for place, text in enumerate(texts)], 0, Batching(max_batch=max_batch))
    lengths = _lengths(packed.page)
    useful = sum(lengths)
    padded = sum(count * max(lengths[first : first + count]) for first, count, _ in packed.slices)
    arrival = sum(
        len(batch) * max(map(len, batch))
        for batch in (texts[first : first + max_batch] for first in range(0, len(texts), max_batch))
    )
    assert padded / useful - 1 <= 0.05
    assert arrival / useful - 1 > 0.5, "the corpus is one that arrival order wastes much on"
    assert packed.cost == useful


def test_slices_cover_every_item_once_and_places_lead_back_to_the_order_of_submission() -> None:
    items = [spoken(str(place), "x" * (1 + place * 7 % 50)) for place in range(100)]
    packed = pack(items, 300, Batching(max_batch=8))
    page = Page.FromString(packed.page)
    covered = [position for first, count, _ in packed.slices for position in range(first, first + count)]
    assert covered == list(range(100))
    back = sorted(zip(page.places, page.items, strict=True))
    assert [pb.NewItem.FromString(item).id for _, item in back] == [str(place) for place in range(100)]
    assert page.first_index == 300


def test_items_that_cannot_be_stacked_share_no_batch() -> None:
    items = [tiny(str(place), width=4 if place % 2 else 8) for place in range(20)]
    packed = pack(items, 0, Batching(), ROWS)
    page = Page.FromString(packed.page)
    widths = [
        {pb.NewItem.FromString(item).inputs[0].shape[-1] for item in page.items[first : first + count]}
        for first, count, _ in packed.slices
    ]
    assert sorted(widths, key=str) == [{4}, {8}]


def test_items_that_run_alone_are_in_batches_of_their_own() -> None:
    items = [tiny(str(place), width=place % 2) for place in range(6)]  # every other one is empty
    packed = pack(items, 0, Batching(), ROWS)
    page = Page.FromString(packed.page)
    widths = [
        {pb.NewItem.FromString(item).inputs[0].shape[-1] for item in page.items[first : first + count]}
        for first, count, _ in packed.slices
    ]
    assert sorted(widths, key=str) == [{0}, {1}]


def _lengths(page: bytes) -> list[int]:
    return [len(pb.NewItem.FromString(item).inputs[0].data) for item in Page.FromString(page).items]
