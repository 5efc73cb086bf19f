"""Packs submitted items into pages, and cuts pages into slices that waste little when they are padded."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from kernelport.internal.v1.job_store_pb2 import Page
from kernelport.v1.inference_pb2 import Tensor
from kernelport.v1.job_pb2 import NewItem

# The window in which items are sorted. A batch of 32 out of 2,048 sorted items holds lengths that are close.
PAGE_ITEMS = 2048
PAGE_BYTES = 4 * 2**20
# What padding may add to the cost of one slice: over a large page it hardly costs a batch more, and it keeps the few
# long lines of a small job from having short ones padded to their length.
MOST_WASTE = 0.2
TEXT_INPUT = "text"
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


def expected_cost(inputs: Iterable[Tensor]) -> int:
    """What running an item may take, in bytes: of its `text` when it has one, else of all its inputs."""
    total = 0
    for tensor in inputs:
        if tensor.name == TEXT_INPUT:
            return len(tensor.data)
        total += len(tensor.data)
    return total


def id_digest(item_id: str) -> bytes:
    """Stands for an item's id in the job store: 8 bytes, so a million ids collide with a chance of 3 in 10^8."""
    return hashlib.blake2b(item_id.encode(), digest_size=_DIGEST_BYTES).digest()


def pack(items: Sequence[NewItem], first_index: int, max_batch: int, stackable: bool) -> Packed:
    """Packs consecutive items into one page, the most expensive first, and cuts it.

    Args:
        first_index: the first item's place in the job.
        max_batch: the most items of a slice.
        stackable: whether only inputs of equal shapes past the first axis can share a run; such items come together.
    """
    costs = [expected_cost(item.inputs) for item in items]
    groups = [_group(item) if stackable else () for item in items]
    order = sorted(range(len(items)), key=lambda place: (groups[place], -costs[place]))
    page = Page(
        items=[items[place].SerializeToString() for place in order],
        places=order,
        first_index=first_index,
    )
    slices = list(_cut([(groups[place], costs[place]) for place in order], max_batch))
    return Packed(page.SerializeToString(), [id_digest(item.id) for item in items], slices)


def _cut(sorted_items: Sequence[tuple[object, int]], max_batch: int) -> Iterator[Slice]:
    first = cost = 0
    for position, (group, each) in enumerate(sorted_items):
        count, (first_group, longest) = position - first, sorted_items[first]
        too_short = (count + 1) * longest > (1 + MOST_WASTE) * (cost + each)
        if count and (count == max_batch or group != first_group or too_short):
            yield first, count, cost
            first, cost = position, 0
        cost += each
    if sorted_items:
        yield first, len(sorted_items) - first, cost


def _group(item: NewItem) -> tuple[tuple[str, int, tuple[int, ...]], ...]:
    return tuple(sorted((tensor.name, tensor.dtype, tuple(tensor.shape[1:])) for tensor in item.inputs))
