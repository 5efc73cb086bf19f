"""What whoever sends, stores or runs the items of a job reckons with: their expected cost, and their digest."""

import hashlib
from collections.abc import Iterable

from kernelport.v1.inference_pb2 import Tensor
from kernelport.v1.job_pb2 import NewItem

TEXT_INPUT = "text"
NO_ITEMS = b""
"""The digest of none."""


def expected_cost(inputs: Iterable[Tensor]) -> int:
    """What running an item may take, in bytes: of its `text` when it has one, else of all its inputs."""
    total = 0
    for tensor in inputs:
        if tensor.name == TEXT_INPUT:
            return len(tensor.data)
        total += len(tensor.data)
    return total


def running_digests(before: bytes, items: Iterable[NewItem | bytes]) -> list[bytes]:
    """The digest after each of some items: SHA-256 of the digest before it and the serialized item. It tells one
    submission from another, in whatever messages its items come.

    Args:
        before: the digest of all items before these; NO_ITEMS at the beginning.
        items: in the order of submission, as messages or serialized.
    """
    digests = []
    for item in items:
        serialized = item if isinstance(item, bytes) else item.SerializeToString()
        before = hashlib.sha256(before + serialized).digest()
        digests.append(before)
    return digests
