"""Packs submitted items into pages, and cuts pages into slices that waste little when they are padded."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kernelport.config.deployments import Batching
from kernelport.internal.v1.job_store_pb2 import Page
from kernelport.items import expected_cost
from kernelport.stacking import ANY, RunSize, Share, Stacking
from kernelport.v1.inference_pb2 import Tensor
from kernelport.v1.job_pb2 import NewItem

# The window in which items are sorted. A batch of 32 out of 2,048 sorted items holds lengths that are close.
PAGE_ITEMS = 2048
PAGE_BYTES = 4 * 2**20
# What padding may add to the cost of one slice: over a large page it hardly costs a batch more, and it keeps the few
# long lines of a small job from having short ones padded to their length.
MOST_WASTE = 0.2
_DIGEST_BYTES = 8

Slice = tuple[int, int, int]
"""First position in the page, number of items, cost."""


@dataclass(frozen=True)
class Packed:
    """A page ready for the job store.

    Attributes:
        page: a serialized Page.
        digests: of the items' ids, in the order of submission.
        slices: the page cut into batches.
    """

    page: bytes
    digests: list[bytes]
    slices: list[Slice]

    @property
    def slices_json(self) -> str:
        """The slices as the script `append` takes them."""
        return json.dumps(self.slices)

    @property
    def cost(self) -> int:
        """Of all its items."""
        return sum(cost for _, _, cost in self.slices)


def id_digest(item_id: str) -> bytes:
    """Stands for an item's id in the job store: 8 bytes, so a million ids collide with a chance of 3 in 10^8."""
    return hashlib.blake2b(item_id.encode(), digest_size=_DIGEST_BYTES).digest()


def pack(
    items: Sequence[NewItem],
    first_index: int,
    limits: Batching,
    stacking: Stacking | None = None,
    shared: Sequence[Tensor] = (),
) -> Packed:
    """Packs consecutive items into one page, the most expensive first, and cuts it.

    Args:
        first_index: the first item's place in the job.
        limits: of a slice.
        stacking: how items are stacked, where that is known: those that may share a run come together. Otherwise what a
            slice has of them is stacked by the worker that takes it.
        shared: inputs of every item that has none of the name.
    """
    costs = [expected_cost(item.inputs) for item in items]
    shares = [stacking.share(_inputs(item, shared)) if stacking else ANY for item in items]
    order = sorted(range(len(items)), key=lambda place: (shares[place].group or (), -costs[place]))
    page = Page(
        items=[items[place].SerializeToString() for place in order],
        places=order,
        first_index=first_index,
    )
    slices = list(_cut([(shares[place], costs[place]) for place in order], limits))
    return Packed(page.SerializeToString(), [id_digest(item.id) for item in items], slices)


def _cut(sorted_items: Sequence[tuple[Share, int]], limits: Batching) -> Iterator[Slice]:
    first = cost = 0
    run = RunSize(limits)
    for position, (share, each) in enumerate(sorted_items):
        first_share, longest = sorted_items[first]
        wastes_little = (position - first + 1) * longest <= (1 + MOST_WASTE) * (cost + each)
        if not (share.group == first_share.group and wastes_little and run.admits(share, each)):
            yield first, position - first, cost
            first, cost, run = position, 0, RunSize(limits)
            run.admits(share, each)
        cost += each
    if sorted_items:
        yield first, len(sorted_items) - first, cost


def _inputs(item: NewItem, shared: Sequence[Tensor]) -> list[Tensor]:
    own = {tensor.name for tensor in item.inputs}
    return [*item.inputs, *(tensor for tensor in shared if tensor.name not in own)]
